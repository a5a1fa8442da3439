from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rankrag.contract import Contract, load_contract
from rankrag.errors import ConfigError, ContractError, ModelError
from rankrag.models.loading import layers_of
from rankrag.models.transformers import TransformersModel
from rankrag.rerank import judge
from rankrag.training import run
from rankrag.training.card import model_card
from rankrag.training.run import train
from rankrag.training.start import find_start, load_model
from rankrag.training.trainer import rate_share
from rankrag.types import Passage, Question

from ..conftest import TINY_LLAMA, save_random

pytestmark = pytest.mark.slow

METADATA = {"format": "pt"}


def losses_of(tmp_path, folder="run"):
    log = json.loads((tmp_path / folder / "log.json").read_text())
    return [entry["loss"] for entry in log if "loss" in entry]


def probability(directory):
    (judged,) = judge(TransformersModel(directory, dtype="float32"), [(Question("q", "why?"), Passage("p", "word 1"))])
    return judged.probability


def test_an_adapter_learns_and_opens_as_a_model_with_its_contract(tmp_path, config_of):
    adapter = train(config_of(max_steps=20))
    losses = losses_of(tmp_path)
    assert losses[-1] < losses[0] / 2
    assert adapter == tmp_path / "run/adapter"
    assert probability(adapter) > 0.9
    assert load_contract(adapter).format.history_turns == 7


def test_a_run_says_where_it_is_and_what_it_has_learnt_so_far(config_of):
    said, steps = [], []
    train(config_of(max_steps=4), say=said.append, say_steps=steps.append)
    assert said[-1].startswith("12 examples in 4 steps, ")
    assert [line.partition(",")[0] for line in steps] == ["step 1 of 4", "step 2 of 4", "step 4 of 4"]
    assert all("tokens/s" in line and "left" in line for line in steps)
    assert "loss_context_ranking" in steps[-1]


def test_a_second_run_reads_the_rows_of_the_first_unless_they_would_be_others(tmp_path, config_of, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("built again")

    train(config_of(max_steps=2))
    monkeypatch.setattr(run, "build_rows", refuse)
    train(config_of(max_steps=2, out=str(tmp_path / "second")))
    assert losses_of(tmp_path, "second") == losses_of(tmp_path)
    with pytest.raises(AssertionError, match="built again"):
        train(config_of(max_steps=2, out=str(tmp_path / "third"), label_weight=3.0))


def test_an_adapter_on_other_weights_than_its_own_is_refused(tmp_path, config_of, tiny_model_dir):
    base = tmp_path / "base"
    shutil.copytree(tiny_model_dir, base)
    adapter = train(config_of(model=str(base), max_steps=1))
    assert len(load_contract(adapter).base_sha256) == 64
    TransformersModel(adapter, dtype="float32")
    weights = load_file(base / "model.safetensors")
    save_file(weights | {"model.norm.weight": weights["model.norm.weight"] * 2}, base / "model.safetensors", METADATA)
    for use in (lambda: TransformersModel(adapter, dtype="float32"), lambda: find_start(config_of(model=str(adapter)))):
        with pytest.raises(ContractError, match=r"adapter: its base .* has weights .* was trained on"):
            use()


def test_with_top_layers_only_these_are_adapted_and_no_gradient_goes_below_them(tmp_path, config_of, tiny_model_dir):
    config = config_of(max_steps=20, lora={"top_layers": 1})
    model = load_model(config, find_start(config), bf16=False)
    layers = layers_of(model)
    found = model(input_ids=torch.tensor([[1, 2, 3]]), output_hidden_states=True)
    found.logits.sum().backward()
    assert [states.requires_grad for states in found.hidden_states[1:]] == [False, True]
    assert not any("lora_" in name for name, _ in layers[0].named_parameters())
    assert len([p for p in layers[1].parameters() if p.grad is not None]) == 2 * 7
    adapter = train(config)
    assert probability(adapter) > 0.9
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model_dir), adapter)
    after = plain.merge_and_unload().state_dict()
    before = AutoModelForCausalLM.from_pretrained(tiny_model_dir).state_dict()
    assert {".".join(n.split(".")[:3]) for n in before if not torch.equal(before[n], after[n])} == {"model.layers.1"}


def test_full_training_writes_a_plain_model_with_contract_and_tokenizer(tmp_path, config_of, tiny_model_dir):
    model = train(config_of(method="full", max_steps=12, learning_rate=0.003, gradient_checkpointing=True))
    assert model == tmp_path / "run/model"
    assert not (model / "adapter_config.json").exists()
    assert probability(model) > 0.9
    before, after = (AutoModelForCausalLM.from_pretrained(d).state_dict() for d in (tiny_model_dir, model))
    assert all(not torch.equal(before[name], after[name]) for name in before if "norm" not in name)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")  # of the reference, which stays tied
@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_of_tied_weights_scores_the_same_when_it_is_trained_loaded_and_merged(
    tmp_path, config_of, tokenizer, target
):
    base = save_random("llama", tokenizer, tmp_path / "tied", tie_word_embeddings=True, **TINY_LLAMA)
    lora = {"r": 4, "alpha": 64, "target_modules": [target]}
    adapter = train(config_of(model=str(base), max_steps=8, merge=True, lora=lora))
    trained = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    loaded, merged = (TransformersModel(folder, dtype="float32") for folder in (adapter, tmp_path / "run/model"))
    ids = torch.tensor([loaded.encoder.encode_target("True")])
    with torch.no_grad():
        logits = [model(ids).logits for model in (trained, loaded.model, merged.model)]
    assert torch.allclose(logits[0], logits[1], atol=1e-4)
    assert torch.allclose(logits[0], logits[2], atol=0.1)  # saved in half precision


def test_a_merged_model_scores_as_its_adapter_does(tmp_path, config_of):
    adapter = train(config_of(max_steps=8, merge=True))
    assert probability(tmp_path / "run/model") == pytest.approx(probability(adapter), abs=0.02)


def test_gradient_checkpointing_changes_no_result(tmp_path, config_of):
    train(config_of(out=str(tmp_path / "plain")))
    train(config_of(out=str(tmp_path / "again"), gradient_checkpointing=True))
    assert losses_of(tmp_path, "again") == losses_of(tmp_path, "plain")


def test_stage_two_goes_on_from_the_run_folder_of_stage_one(tmp_path, config_of):
    first = train(config_of())
    stage_two = {"model": str(tmp_path / "run"), "max_steps": 1, "learning_rate": 1e-9}
    second = train(config_of(out=str(tmp_path / "two"), **stage_two))
    before, after = (load_file(adapter / "adapter_model.safetensors") for adapter in (first, second))
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in before)
    whole = train(config_of(out=str(tmp_path / "whole"), method="full", **stage_two))
    assert probability(whole) == pytest.approx(probability(first), abs=0.02)
    third = train(config_of(out=str(tmp_path / "three"), **stage_two | {"model": str(tmp_path / "whole")}))
    assert json.loads((third / "adapter_config.json").read_text())["base_model_name_or_path"].endswith("whole/model")


def test_the_steps_batches_do_not_change_what_is_learnt(tmp_path, config_of, examples_of):
    examples = examples_of(passages=4, questions=3)
    settings = {"examples": examples, "examples_per_step": 6, "max_steps": 3, "learning_rate": 0.001}
    train(config_of(out=str(tmp_path / "small"), **settings))
    train(config_of(out=str(tmp_path / "large"), tokens_per_batch=3072, **settings))
    small, large = (load_file(tmp_path / out / "adapter/adapter_model.safetensors") for out in ("small", "large"))
    assert max(float((small[name].float() - large[name].float()).abs().max()) for name in small) < 1e-4


def test_the_log_has_the_loss_of_each_kind(tmp_path, config_of, mixed):
    train(config_of(examples=mixed, max_steps=6))
    log = json.loads((tmp_path / "run/log.json").read_text())
    kinds = {name.removeprefix("loss_") for entry in log for name in entry if name.startswith("loss_")}
    assert kinds == {"sft", "context_qa", "context_ranking"}


def test_progress_is_reported_after_each_step(config_of):
    seen = []
    train(config_of(max_steps=3), report=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_run_folder_says_how_to_make_it_again(tmp_path, config_of):
    config = config_of()
    adapter = train(config)
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text()) == config.model_dump(mode="json")
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["seed"] == 0
    assert len(record["blend_sha256"]) == len(record["blend_manifest_sha256"]) == 64
    assert {"torch", "transformers", "peft", "rankrag"} <= set(record["versions"])
    card = (adapter / "README.md").read_text()
    assert "| s | CC BY 4.0 | 12 context_ranking |" in card
    assert "base_model" not in card  # it is a directory here
    assert "\nlicense: other\n" in card  # the base's is not known
    assert "The most restrictive licence of them: CC BY 4.0 (s)." in card
    assert record["blend_sha256"][:16] in card
    assert list((tmp_path / "run/tensorboard").rglob("events.*"))


@pytest.mark.parametrize(("of_data", "name"), [("CC BY 4.0", "apache-2.0"), ("CC BY-SA 4.0", "cc-by-sa-4.0")])
def test_a_model_on_the_packaged_base_has_its_licence_unless_the_data_allow_less(tmp_path, config_of, of_data, name):
    config = config_of()
    record = {
        "base": "rankrag-mini-base",
        "blend_sha256": "",
        "versions": {"rankrag": "1"},
        "examples": {"sft": 3},
        "steps": 1,
    }
    manifest = {"sources": {"s": {"licence": of_data}}}
    (Path(config.blend) / "manifest.json").write_text(json.dumps(manifest))
    assert f"\nlicense: {name}\n" in model_card(config, record, Contract())


@pytest.mark.parametrize("manifest", [None, {"sources": ["s"]}])
def test_a_card_says_that_the_sources_of_a_blend_are_not_known(config_of, manifest):
    config = config_of()
    record = {"base": "b", "blend_sha256": "", "versions": {"rankrag": "1"}, "examples": {"sft": 6}, "steps": 2}
    path = Path(config.blend) / "manifest.json"
    path.unlink() if manifest is None else path.write_text(json.dumps(manifest))
    card = model_card(config, record, Contract())
    assert "its sources and their licences are not known" in card
    assert "| steps | 2, 3.0 examples each |" in card


def test_a_run_is_not_gone_on_with_under_another_configuration(tmp_path, config_of):
    train(config_of())
    with pytest.raises(ConfigError, match=r"another configuration \(learning_rate 0.01 → 0.5\)"):
        train(config_of(learning_rate=0.5))
    train(config_of(learning_rate=0.5, max_steps=2), resume=False)
    assert not (tmp_path / "run/checkpoint-6").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_checkpoint(tmp_path, config_of):
    with pytest.raises(ModelError, match=r"step \d+: the loss is nan; .*checkpoint-\d+ is whole"):
        train(config_of(method="full", learning_rate=1e30, save_steps=1, max_steps=30, max_grad_norm=1e30))
    kept = sorted((tmp_path / "run").glob("checkpoint-*"))
    assert kept
    assert not (tmp_path / "run/model").exists()


@pytest.mark.parametrize("keep", [1, 2])
def test_gradients_that_are_not_finite_are_never_applied_and_the_run_goes_on_from_before(
    tmp_path, config_of, monkeypatch, keep
):
    import rankrag.training.trainer as module

    step = itertools.count(1)

    def broken(found, batch):  # the root of 0 is 0, and its slope is infinite
        total, losses = batch_loss(found, batch)
        return (total + (found[0].sum() * 0).sqrt() if next(step) == 3 else total), losses

    config = config_of(method="full", learning_rate=1e-4, save_steps=1, max_steps=5, keep_checkpoints=keep)
    batch_loss = module.batch_loss
    monkeypatch.setattr(module, "batch_loss", broken)
    with pytest.raises(ModelError, match=r"step 2: the gradient norm is nan; .*checkpoint-2 is whole, the same"):
        train(config)
    kept = sorted((tmp_path / "run").glob("checkpoint-*"))
    assert [path.name for path in kept] == ["checkpoint-1", "checkpoint-2"][-keep:]
    for path in kept:
        assert all(weight.isfinite().all() for weight in load_file(path / "trained.safetensors").values())
    done, said = [], []
    model = train(config, say=said.append, report=lambda number, _total: done.append(number))
    assert done == [3, 4, 5]
    assert said[-1] == f"This run goes on from {tmp_path / 'run/checkpoint-2'}"
    assert all(weight.isfinite().all() for weight in load_file(model / "model.safetensors").values())


def test_weights_that_are_not_finite_are_no_checkpoint(tmp_path, config_of):
    with pytest.raises(ModelError, match=r"step 1: .* has weights that are not finite; no checkpoint was written yet"):
        train(config_of(method="full", learning_rate=1e39, save_steps=1, max_steps=1))
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    assert not (tmp_path / "run/model").exists()


def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(tmp_path, config_of, monkeypatch):
    import rankrag.training.trainer as module

    def full(tensors, path):
        if "checkpoint-6" in path:
            raise OSError(28, "No space left on device")
        save(tensors, path)

    save = module.save_file
    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(
        ModelError, match=r"step 6: the checkpoint cannot be written \(.*No space left.*checkpoint-3 is"
    ):
        train(config_of())
    assert not (tmp_path / "run/checkpoint-6").exists()


@pytest.mark.parametrize(("file", "left"), [("config.yaml", []), ("log.json", [3]), ("adapter.partial", [3, 6])])
def test_a_full_disk_before_or_after_the_steps_is_a_clear_error(tmp_path, config_of, monkeypatch, file, left):
    import rankrag.training.folder as module

    def full(path, *rest):
        if path.name.startswith(file.partition(".")[0]):
            raise OSError(28, "No space left on device")
        write(path, *rest)

    write, save = module.write_whole, module.save_contract
    monkeypatch.setattr(module, "write_whole", full)
    monkeypatch.setattr(module, "save_contract", lambda contract, path: full(path, contract) if left[1:] else save)
    with pytest.raises(ModelError, match=r"run: cannot be written \(No space left on device\); make room .* the same"):
        train(config_of())
    assert sorted(int(p.name.rpartition("-")[2]) for p in (tmp_path / "run").glob("checkpoint-*")) == left
    monkeypatch.undo()
    assert (train(config_of()) / "adapter_config.json").is_file()


def test_an_empty_blend_is_refused(tmp_path, config_of):
    from rankrag.data.examples import write_examples

    config = config_of()
    write_examples(tmp_path / "blend" / "examples.jsonl.zst", [])
    with pytest.raises(ConfigError, match="no examples"):
        train(config)


def test_the_cosine_ends_at_the_papers_final_rate(config_of):
    config = config_of(schedule="cosine", learning_rate=5e-6, final_rate_share=0.002, warmup_steps=0)
    rates = [config.learning_rate * rate_share(config, step, 1000) for step in range(1001)]
    assert rates[0] == 5e-6
    assert rates[500] == pytest.approx((5e-6 + 1e-8) / 2)
    assert rates[1000] == pytest.approx(1e-8)
    assert all(a >= b for a, b in itertools.pairwise(rates))


def test_the_linear_schedule_warms_up_stays_and_falls(config_of):
    config = config_of(warmup_steps=2, decay_steps=4, final_rate_share=0.1)
    shares = [rate_share(config, step, 10) for step in range(11)]
    assert shares == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.775, 0.55, 0.325, 0.1])
    assert math.isclose(shares[-1], 0.1)


def test_the_result_can_be_the_mean_of_the_newest_checkpoints(tmp_path, config_of):
    adapter = train(config_of(max_steps=6, save_steps=2, keep_checkpoints=3, average_checkpoints=2))
    last = [load_file(tmp_path / f"run/checkpoint-{step}/trained.safetensors") for step in (4, 6)]
    saved = load_file(adapter / "adapter_model.safetensors")
    for name, weight in last[0].items():
        own = name.removeprefix("causal.").replace(".default", "")
        mean = (weight + last[1][name]) / 2
        assert torch.allclose(saved[own].float(), mean, atol=1e-3)
        assert not torch.equal(weight, last[1][name])


def test_no_more_checkpoints_are_averaged_than_are_kept(config_of):
    with pytest.raises(ConfigError, match="average_checkpoints is 3, but keep_checkpoints is 2"):
        train(config_of(max_steps=6, keep_checkpoints=2, average_checkpoints=3))
