"""Scores from kept states are those of prompts read whole, on every architecture; a bad cache costs no score."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace

import pytest
import torch

from rankrag.models import SamplingParams, packing, state_cache, state_folder
from rankrag.models.state_cache import StateCache, model_fingerprint, open_cache
from rankrag.models.state_folder import MARK, StateFolder
from rankrag.models.states import NOTHING, Before, State
from rankrag.models.transformers import TransformersModel
from rankrag.templates import answer_prompt, ranking_prompt
from rankrag.types import Message, Passage, Question, StateUse

from .test_packing import ARCHITECTURES, LABELS, SHARING, opened

QUESTIONS = [
    Question("a", "why?"),
    Question("b", "and which river is the longest of them all?"),
    Question("c", "why?", history=(Message("user", "so?"), Message("assistant", "yes"))),
    Question("d", "all of it", style="claim"),
]
PASSAGES = [Passage(f"p{i}", f"number {i} " * (5 * i % 7 + 1), title="a title" * (i % 2)) for i in range(5)]


@pytest.fixture(scope="module")
def llama(tokenizer, tmp_path_factory):
    return opened("llama", tokenizer, tmp_path_factory.mktemp("llama"))


@pytest.fixture
def model(llama):
    """The tiny Llama without a cache, to be given one."""
    return copy.copy(llama)


def prompts_of(model, questions=QUESTIONS, passages=PASSAGES):
    return model.encode([ranking_prompt(model.contract.format, q, p) for q in questions for p in passages])


def scores(model, prompts):
    return torch.tensor(model.choice_logprobs(prompts, LABELS))


def apart(found, expected):
    return float((found - expected).abs().max())


def on_disk(model, folder, said=None, **options):
    """Give the model a cache that has nothing in memory, as a new process has."""
    say = said.append if said is not None else pytest.fail
    owner = model_fingerprint(model.model, model.model.config.to_dict())
    model.states = StateCache(StateFolder(folder, owner, say=say, **options))
    return model


def write_states(model, folder, prompts):
    """Read prompts with a model that keeps states in a folder, and end it."""
    there = on_disk(copy.copy(model), folder)
    scores(there, prompts)
    there.states.write()


@pytest.mark.parametrize("name", sorted(SHARING))
def test_warm_scores_are_the_cold_ones(name, tokenizer, tmp_path):
    model = opened(name, tokenizer, tmp_path)
    prompts = prompts_of(model)
    cold = scores(model, prompts)
    model.states = StateCache()
    first, second = scores(model, prompts), scores(model, prompts)
    assert model.info.states == StateUse(found=5, wanted=10)
    assert cold.std() > 0.1
    assert apart(first, cold) < 1e-4
    assert apart(second, cold) < 1e-4


def test_only_the_question_is_read_where_all_passages_are_known(model, monkeypatch):
    model.states = StateCache()
    scores(model, prompts_of(model, QUESTIONS[:1]))
    read, forward = [], model.model.model.forward

    def seen(**inputs):
        read.append(inputs["input_ids"].numel())
        return forward(**inputs)

    monkeypatch.setattr(model.model.model, "forward", seen)
    prompts = prompts_of(model, QUESTIONS[1:2])
    scores(model, prompts)
    encoded = prompts
    assert sum(read) == sum(sum(map(len, e.segments[e.head :])) for e in encoded)


def test_known_and_new_passages_are_scored_together(model):
    prompts = prompts_of(model)
    cold = scores(model, prompts)
    model.states = StateCache()
    scores(model, prompts_of(model, QUESTIONS[:1], PASSAGES[1::2]))
    assert apart(scores(model, prompts), cold) < 1e-4
    assert model.info.states == StateUse(found=2, wanted=7)


def test_a_single_prompt_makes_and_finds_the_same_states(model):
    model.states = StateCache()
    (alone,) = (scores(model, prompts_of(model, QUESTIONS[:1], PASSAGES[:1])),)
    scores(model, prompts_of(model))
    assert model.info.states == StateUse(found=1, wanted=6)
    assert apart(scores(model, prompts_of(model, QUESTIONS[:1], PASSAGES[:1])), alone) < 1e-4


def test_memory_stays_within_its_bound_and_drops_what_was_used_longest_ago(model):
    layer = {0: (torch.zeros(1, 10, 5), torch.zeros(1, 10, 5))}  # 400 bytes
    cache = StateCache(memory_bytes=1000)
    for name in (1, 2):
        cache.put(State((name,), layer))
    assert cache.get(NOTHING, (1,))
    cache.put(State((3,), layer))
    assert [cache.get(NOTHING, (name,)) is not None for name in (1, 2, 3)] == [True, False, True]
    assert cache.held_bytes == 800


def test_a_list_longer_than_memory_still_finds_what_is_left_of_it(model):
    prompts = prompts_of(model)
    cold = scores(model, prompts)
    model.states = StateCache(memory_bytes=150_000)
    for _ in range(3):
        assert apart(scores(model, prompts), cold) < 1e-4
    assert 0 < model.info.states.found < 10


def test_a_state_that_is_gone_when_it_is_needed_is_computed(model, monkeypatch):
    prompts = prompts_of(model)
    cold = scores(model, prompts)
    model.states = StateCache()
    monkeypatch.setattr(model.states, "holds", lambda *_: True)
    assert apart(scores(model, prompts), cold) < 1e-4


def test_a_misplaced_state_is_seen(model, monkeypatch):
    prompts = prompts_of(model)
    cold = scores(model, prompts)
    model.states = StateCache()
    scores(model, prompts)
    lay_out = packing.lay_out

    def shifted(rows, pad_id, device="cpu"):
        laid = lay_out(rows, pad_id, device)
        return replace(laid, positions=laid.positions - 1)

    monkeypatch.setattr(packing, "lay_out", shifted)
    assert apart(scores(model, prompts), cold) > 1e-2


@pytest.mark.parametrize("name", sorted(SHARING))
def test_replies_are_the_same_behind_a_system_text_that_is_known(name, tokenizer, tmp_path, monkeypatch):
    model = opened(name, tokenizer, tmp_path)
    texts = [answer_prompt(model.contract.format, q, PASSAGES[: i + 1]) for i, q in enumerate(QUESTIONS)]
    prompts = model.encode(texts)
    model.tokens_per_batch = 10_000  # all in one batch: a prompt alone is read whole, and copied from
    params = SamplingParams(max_new_tokens=6)
    expected = model.generate(prompts, params)
    model.states = StateCache()
    assert model.generate(prompts[1:], params) == expected[1:]
    read, forward = [], model.model.base_model.forward

    def seen(*args, **inputs):
        read.append((args[0] if args else inputs["input_ids"]).shape)
        return forward(*args, **inputs)

    monkeypatch.setattr(model.model.base_model, "forward", seen)
    assert model.generate(prompts[1:], params) == expected[1:]
    encoded = prompts[1:]
    assert max(width for _, width in read) == max(len(e) - len(e.segments[0]) for e in encoded)
    assert "".join(model.stream(prompts[2], params)) == expected[2]
    assert model.generate(prompts, params) == expected  # the first begins otherwise


@pytest.mark.parametrize("length", [0, 3])
def test_one_state_before_all_rows_is_put_there_as_many_equal_ones_are(length):
    def state():
        torch.manual_seed(0)
        return State(tuple(range(length)), {0: (torch.randn(2, length, 4), torch.randn(2, length, 4))})

    keys, values = torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 4)
    one, equal = state(), [state() for _ in range(3)]
    found = Before([one] * 3, [()] * 3).update(keys, values, 0)
    expected = Before(equal, [()] * 3).update(keys, values, 0)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_question_first_shares_the_question_and_keeps_nothing(llama, model):
    form = replace(llama.contract.format, layout="question_first")
    prompts = model.encode([ranking_prompt(form, QUESTIONS[0], p) for p in PASSAGES])
    cold = scores(model, prompts)
    model.states = StateCache()
    assert apart(scores(model, prompts), cold) < 1e-4
    assert model.info.states == StateUse(0, 0)


def test_another_process_finds_the_states_on_disk(llama, tmp_path):
    prompts = prompts_of(llama)
    cold = scores(llama, prompts)
    write_states(llama, tmp_path / "states", prompts)
    again = on_disk(copy.copy(llama), tmp_path / "states")
    assert apart(scores(again, prompts), cold) < 1e-4
    assert again.info.states == StateUse(5, 5)
    assert not list(tmp_path.rglob("*.partial"))


def test_states_are_written_while_questions_go_on(model, tmp_path, monkeypatch):
    monkeypatch.setattr(state_cache, "WAITING_BYTES", 400_000)
    on_disk(model, tmp_path / "states")
    cold = scores(model, prompts_of(model))
    model.states._writer.join()
    assert list(tmp_path.rglob("*.safetensors"))
    assert apart(scores(model, prompts_of(model)), cold) < 1e-4


def test_a_disk_slower_than_the_model_gets_what_it_can_take(model, tmp_path, monkeypatch):
    monkeypatch.setattr(state_cache, "WAITING_BYTES", 100)
    on_disk(model, tmp_path / "states")
    scores(model, prompts_of(model))
    model.states.write()
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_another_model_never_takes_the_states_of_this_one(llama, tokenizer, tmp_path):
    prompts = prompts_of(llama)
    write_states(llama, tmp_path / "states", prompts)
    other = copy.copy(llama)
    other.model = copy.deepcopy(llama.model)
    with torch.no_grad():
        other.model.model.layers[0].self_attn.k_proj.weight += 0.01
    cold = scores(other, prompts)
    on_disk(other, tmp_path / "states")
    assert apart(scores(other, prompts), cold) < 1e-4
    assert other.info.states == StateUse(0, 5)


def test_a_file_under_another_name_or_half_a_file_is_not_used(llama, tmp_path):
    prompts = prompts_of(llama)
    cold = scores(llama, prompts)
    write_states(llama, tmp_path / "states", prompts)
    first, second, third, *_ = sorted(tmp_path.rglob("*.safetensors"))
    os.replace(first, second)
    third.write_bytes(third.read_bytes()[:1000])
    again = on_disk(copy.copy(llama), tmp_path / "states")
    assert apart(scores(again, prompts), cold) < 1e-4


def test_the_disk_stays_within_its_bound(model, tmp_path):
    said = []
    on_disk(model, tmp_path / "states", said, limit=150_000)
    scores(model, prompts_of(model))
    model.states.write()
    kept = list(tmp_path.rglob("*.safetensors"))
    assert 0 < sum(path.stat().st_size for path in kept) < 150_000 + 5_000 * len(kept)  # headers beside the tensors
    assert len(kept) < 6
    assert said == []


def test_a_folder_that_is_not_ours_is_left_alone(llama, model, tmp_path):
    (tmp_path / "letter.txt").write_text("dear diary", encoding="utf-8")
    said = []
    on_disk(model, tmp_path, said)
    for _ in range(2):
        scores(model, prompts_of(model))
    (line,) = said
    assert f"{tmp_path}: holds other things than passage states" in line
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    assert model.info.states == StateUse(5, 10)  # memory goes on


def test_a_folder_that_cannot_be_made_is_said_once(model, tmp_path):
    (tmp_path / "file").touch()
    said = []
    on_disk(model, tmp_path / "file" / "states", said)
    scores(model, prompts_of(model))
    (line,) = said
    assert "cannot be used for passage states (Not a directory); they stay in memory" in line


def test_a_read_only_folder_is_read_and_said_once(llama, model, tmp_path, monkeypatch):
    write_states(llama, tmp_path / "states", prompts_of(llama, passages=PASSAGES[:2]))
    cold = scores(llama, prompts_of(llama))

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(state_folder, "save_file", refuse)
    said = []
    on_disk(model, tmp_path / "states", said)
    assert apart(scores(model, prompts_of(model)), cold) < 1e-4
    assert model.info.states == StateUse(2, 5)
    model.states.write()
    (line,) = said
    assert "cannot be written (Read-only file system)" in line


def test_a_full_disk_is_said_once_and_leaves_no_half_a_file(llama, model, tmp_path, monkeypatch):
    cold = scores(llama, prompts_of(llama))

    def fill(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_folder, "save_file", fill)
    said = []
    on_disk(model, tmp_path / "states", said)
    assert apart(scores(model, prompts_of(model)), cold) < 1e-4
    model.states.write()
    (line,) = said
    assert "cannot be written (No space left on device)" in line
    assert [path.name for path in (tmp_path / "states").rglob("*") if path.is_file()] == [MARK]


def test_the_folder_says_that_it_is_ours(model, tmp_path):
    on_disk(model, tmp_path / "states")
    assert json.loads((tmp_path / "states" / MARK).read_text(encoding="utf-8")) == {"version": 1}


def test_a_cache_is_opened_by_the_name_a_user_gives(llama, tmp_path):
    assert open_cache("off", llama.model) is None
    assert open_cache("memory", llama.model).get(NOTHING, (1,)) is None
    there = open_cache(tmp_path / "states", llama.model)
    there.put(State((1,), {0: (torch.ones(1, 1, 2), torch.ones(1, 1, 2))}))
    there.write()
    assert open_cache(tmp_path / "states", llama.model).get(NOTHING, (1,)) is not None


def test_a_fingerprint_tells_models_apart(llama):
    config = llama.model.config.to_dict()
    changed = copy.deepcopy(llama.model)
    with torch.no_grad():
        changed.model.norm.weight[0] += 1
    assert model_fingerprint(llama.model, config) == model_fingerprint(
        copy.deepcopy(llama.model), config | {"_name_or_path": "x"}
    )
    assert model_fingerprint(llama.model, config) != model_fingerprint(changed, config)
    assert model_fingerprint(llama.model, config) != model_fingerprint(llama.model, config | {"rms_norm_eps": 0.1})


def test_architectures_that_cannot_share_keep_nothing(tokenizer, tmp_path):
    (name,) = set(ARCHITECTURES) - SHARING - {"mistral-short-window"}
    model = opened(name, tokenizer, tmp_path)
    model.states = StateCache()
    scores(model, prompts_of(model))
    assert model.info.states == StateUse(0, 0)
    assert isinstance(model, TransformersModel)
