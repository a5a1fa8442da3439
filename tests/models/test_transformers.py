from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rankrag.contract import Contract
from rankrag.encoding import plain_turns
from rankrag.errors import ContractError, ModelError
from rankrag.models import SamplingParams
from rankrag.models.transformers import TransformersModel
from rankrag.templates import Format, ranking_prompt
from rankrag.types import Passage, Question

from ..conftest import TINY_LLAMA, save_random

LABELS = ["True", "False"]


def opened(directory, **options):
    return TransformersModel(directory, device="cpu", dtype="float32", **options)


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    return opened(tiny_model_dir)


def prompts_of(model, count=5):
    return model.encode(
        [
            ranking_prompt(model.contract.format, Question("q", "why?"), Passage(str(i), "word " * (7 * i % 20 + 1)))
            for i in range(count)
        ]
    )


def slow_logprobs(model, prompt, labels):
    """One prompt at a time, logits at every place, no padding, no cache."""
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([prompt.ids])).logits[0, -1].double()
    ids = model.encoder.label_ids(labels)
    return torch.log_softmax(logits, -1)[ids].tolist()


def test_batched_scores_equal_the_slow_obvious_ones(model):
    prompts = prompts_of(model)
    for row, prompt in zip(model.choice_logprobs(prompts, LABELS), prompts, strict=True):
        assert row == pytest.approx(slow_logprobs(model, prompt, LABELS), abs=1e-4)


def test_scores_do_not_depend_on_the_order_of_prompts(model):
    prompts = prompts_of(model)
    back = model.choice_logprobs(prompts[::-1], LABELS)[::-1]
    for there, again in zip(model.choice_logprobs(prompts, LABELS), back, strict=True):
        assert there == pytest.approx(again, abs=1e-4)


def test_no_prompts_give_no_scores(model):
    assert model.choice_logprobs([], LABELS) == []


def test_other_choices_are_resolved_too(model):
    (row,) = model.choice_logprobs(prompts_of(model, 1), ["A", "B"])
    assert row == pytest.approx(slow_logprobs(model, prompts_of(model, 1)[0], ["A", "B"]), abs=1e-4)


def test_a_choice_that_is_several_tokens_is_a_contract_error(model):
    with pytest.raises(ContractError, match="Wahr"):
        model.choice_logprobs(prompts_of(model, 1), ["Wahr", "A"])


def test_padded_batches_stay_within_the_token_budget(tiny_model_dir, monkeypatch):
    model = opened(tiny_model_dir, tokens_per_batch=600)
    shapes, forward = [], model.model.model.forward

    def seen(**inputs):
        shapes.append(tuple(inputs["input_ids"].shape))
        return forward(**inputs)

    monkeypatch.setattr(model.model.model, "forward", seen)
    model.choice_logprobs(prompts_of(model, 8), LABELS)
    root, *shapes = shapes
    assert root[0] == 1
    assert sum(rows for rows, _ in shapes) == 8
    assert all(rows == 1 or rows * width <= 600 for rows, width in shapes)


def test_a_batch_generates_what_each_prompt_would_alone(model):
    params = SamplingParams(max_new_tokens=8)
    prompts = prompts_of(model, 3)
    assert model.generate(prompts, params) == [model.generate([p], params)[0] for p in prompts]


def test_streamed_pieces_join_to_what_is_generated(model):
    params = SamplingParams(max_new_tokens=12)
    (prompt,) = prompts_of(model, 1)
    assert "".join(model.stream(prompt, params)) == model.generate([prompt], params)[0]


def test_one_prompt_is_copied_from_in_fewer_passes_and_the_same_words(tokenizer, tmp_path, monkeypatch):
    echo = {"tie_word_embeddings": True, "initializer_range": 0.02}  # the likeliest next token is the last one
    contract = Contract(format=Format(turns=plain_turns(tokenizer)))
    model = opened(save_random("llama", tokenizer, tmp_path, **TINY_LLAMA | echo), contract=contract)
    params = SamplingParams(max_new_tokens=20)
    passes = []
    model.model.base_model.register_forward_hook(lambda *_: passes.append(1))
    found = [model.generate([prompt], params) for prompt in prompts_of(model)]
    copying = len(passes)
    passes.clear()
    monkeypatch.setattr(type(model), "_can_take_back", lambda *_: False)
    assert [model.generate([prompt], params) for prompt in prompts_of(model)] == found
    assert copying < 0.5 * len(passes)


def test_nothing_is_guessed_where_a_window_forgets(model, monkeypatch):
    encoded = prompts_of(model)[0]
    params = SamplingParams(max_new_tokens=5)
    assert "prompt_lookup_num_tokens" in model._inputs([encoded], params)
    assert "prompt_lookup_num_tokens" not in model._inputs([encoded], replace(params, temperature=1.0))
    monkeypatch.setattr(model.model.config, "sliding_window", len(encoded) + 5, raising=False)
    assert "prompt_lookup_num_tokens" not in model._inputs([encoded], params)


def test_a_text_does_not_begin_with_the_word_it_is_not_to(model, monkeypatch):
    prompts = prompts_of(model, 3)
    free, params = SamplingParams(max_new_tokens=6), SamplingParams(max_new_tokens=6, not_first="likeliest")
    row = model.next_logprobs(prompts[:1], list(range(len(model.tokenizer))))[0]
    monkeypatch.setattr(model.encoder, "label_ids", lambda words: [row.index(max(row))])
    alone = [model.generate([prompt], params)[0] for prompt in prompts]
    assert alone[0] != model.generate(prompts[:1], free)[0]
    assert model.generate(prompts, params) == alone
    assert "".join(model.stream(prompts[0], params)) == alone[0]


def test_a_stop_string_ends_the_text_and_is_cut_off(model):
    (prompt,) = prompts_of(model, 1)
    (whole,) = model.generate([prompt], SamplingParams(max_new_tokens=12))
    stop = whole[4:6]
    params = SamplingParams(max_new_tokens=12, stop=(stop,))
    (cut,) = model.generate([prompt], params)
    assert cut == whole[: whole.index(stop)].strip()
    assert "".join(model.stream(prompt, params)) == cut


def test_sampling_repeats_for_a_seed(model):
    params = SamplingParams(max_new_tokens=12, temperature=2.0, seed=3)
    prompts = prompts_of(model, 1)
    assert model.generate(prompts, params) == model.generate(prompts, params)
    assert model.generate(prompts, params) != model.generate(prompts, replace(params, seed=4))


def test_a_failure_while_streaming_reaches_the_caller(model, monkeypatch):
    for error, reaches in ((RuntimeError("shapes differ"), RuntimeError), (RuntimeError("out of memory"), ModelError)):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(model.model, "generate", fail)
        with pytest.raises(reaches, match=str(error)):
            list(model.stream(prompts_of(model, 1)[0], SamplingParams()))


def test_a_gpt2_is_opened_too(tokenizer, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=512)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = opened(tmp_path)
    prompts = prompts_of(model, 3)
    assert model.contract.max_tokens == 512
    for row, prompt in zip(model.choice_logprobs(prompts, LABELS), prompts, strict=True):
        assert row == pytest.approx(slow_logprobs(model, prompt, LABELS), abs=1e-4)


def test_a_directory_without_config_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match=r"no config.json"):
        opened(tmp_path)


def test_a_directory_without_tokenizer_is_a_model_error(tiny_model_dir, tmp_path):
    (tmp_path / "config.json").write_bytes((tiny_model_dir / "config.json").read_bytes())
    with pytest.raises(ModelError, match="tokenizer cannot be loaded"):
        opened(tmp_path)


def test_a_directory_without_weights_is_a_model_error(tiny_model_dir, tokenizer, tmp_path):
    (tmp_path / "config.json").write_bytes((tiny_model_dir / "config.json").read_bytes())
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="the model cannot be loaded"):
        opened(tmp_path)


def test_an_unknown_dtype_is_a_model_error(tiny_model_dir):
    with pytest.raises(ModelError, match="--dtype float7: unknown"):
        TransformersModel(tiny_model_dir, device="cpu", dtype="float7")


def test_an_unknown_device_is_a_model_error(tiny_model_dir):
    with pytest.raises(ModelError, match="--device abacus: not available"):
        TransformersModel(tiny_model_dir, device="abacus")
