from __future__ import annotations

import json
import shutil

import pytest
from transformers import AutoConfig

from rankrag.contract import save_contract
from rankrag.encoding import default_contract
from rankrag.errors import ConfigError, MissingExtraError
from rankrag.training import checks
from rankrag.training import start as start_module
from rankrag.training.checks import check_run
from rankrag.training.run import train
from rankrag.training.start import padded_tokenizer


@pytest.fixture
def model_with(tmp_path, tiny_model_dir, tokenizer_with):
    """Copy the tiny model with another tokenizer."""

    def make(*, chat_template=None, **specials):
        directory = shutil.copytree(tiny_model_dir, tmp_path / "model")
        for path in directory.glob("*token*"):
            path.unlink()
        (directory / "chat_template.jinja").unlink(missing_ok=True)
        tokenizer = tokenizer_with(chat_template)
        for name, value in specials.items():
            setattr(tokenizer, name, value)
        tokenizer.save_pretrained(directory)
        return directory

    return make


def test_all_problems_are_listed_in_one_error_before_any_weights_are_loaded(config_of, model_with, monkeypatch):
    monkeypatch.delattr("transformers.PreTrainedModel.from_pretrained")
    config = config_of(
        model=str(model_with(pad_token=None)), lora={"target_modules": ["q_prok", "lstm"]}, blend="nowhere"
    )
    with pytest.raises(ConfigError) as caught:
        train(config)
    lines = str(caught.value).splitlines()
    assert lines[0] == "this run cannot start, 5 problems:"
    expected = (
        "blend: nowhere/examples.jsonl.zst is not there; run `rankrag blend` first",
        "no module is called 'q_prok'; did you mean 'q_proj'?",
        "no module is called 'lstm'; the model has",
        "pad_token: this tokenizer has no padding token; name one of its tokens",
        "this tokenizer has no chat template",
    )
    assert all(text in line for text, line in zip(expected, lines[1:], strict=True))


def test_a_padding_token_can_be_named(config_of, model_with):
    config = config_of(model=str(model_with(pad_token=None)), turn_format="plain", pad_token="<|im_end|>")
    assert check_run(config).tokenizer.pad_token == "<|im_end|>"


def test_a_model_that_is_nowhere_is_reported_with_what_to_do(config_of, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"nobody/nothing cannot be opened .*a hub id needs a network connection"):
        check_run(config_of(model="nobody/nothing"))


def test_a_hub_that_is_not_reached_is_asked_once(tmp_path, config_of, monkeypatch):
    train(config_of(max_steps=1))
    path = tmp_path / "run/adapter/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "nobody/nothing"}))
    asked = []

    def asking(load):
        def ask(name, *rest, **options):
            if name != "nobody/nothing":
                return load(name, *rest, **options)
            asked.append(name)
            raise OSError("no route")

        return ask

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", asking(AutoConfig.from_pretrained))
    monkeypatch.setattr(checks, "padded_tokenizer", asking(checks.padded_tokenizer))
    for model in ("nobody/nothing", str(tmp_path / "run")):
        with pytest.raises(
            ConfigError, match=r"1 problem:\n.*the model of nobody/nothing cannot be opened \(no route\)"
        ):
            check_run(config_of(model=model, out=str(tmp_path / "two")))
    assert asked == ["nobody/nothing"] * 2


def test_stages_with_different_tokenizers_are_refused(tmp_path, config_of, tokenizer):
    train(config_of(max_steps=1))
    two = config_of(model=str(tmp_path / "run"), out=str(tmp_path / "two"))
    assert check_run(two).start.adapter == tmp_path / "run/adapter"
    record = json.loads((tmp_path / "run/run.json").read_text())
    tokenizer.backend_tokenizer.save(str(tmp_path / "run/adapter/tokenizer.json"))
    changed = json.loads((tmp_path / "run/adapter/tokenizer.json").read_text())
    changed["model"]["vocab"]["anew"] = len(changed["model"]["vocab"])
    (tmp_path / "run/adapter/tokenizer.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match=f"is not the one of the stage before .{record['tokenizer_sha256'][:12]}"):
        check_run(two)


def test_a_stage_that_is_not_finished_cannot_be_gone_on_from(tmp_path, config_of):
    train(config_of(max_steps=1))
    shutil.rmtree(tmp_path / "run/adapter")
    with pytest.raises(ConfigError, match="holds a run that is not finished"):
        check_run(config_of(model=str(tmp_path / "run"), out=str(tmp_path / "two")))


def test_a_stage_that_would_write_prompts_otherwise_is_refused_and_wordings_are_inherited(tmp_path, config_of):
    train(config_of(max_steps=1))
    path = tmp_path / "run/adapter/rankrag_config.json"
    path.write_text(path.read_text().replace("assess whether", "access whether"))
    stage = {"model": str(tmp_path / "run"), "out": str(tmp_path / "two")}
    assert "access whether" in check_run(config_of(**stage)).encoder.contract.format.wordings.rank
    with pytest.raises(ConfigError) as caught:
        check_run(config_of(**stage, turn_format="plain", layout="question_first", history_turns=3))
    for problem in (
        "turn_format: plain; set it to chat_template",
        "layout: question_first; set it to passage_first",
        "history_turns: 3; set it to 7",
    ):
        assert problem in str(caught.value)
    path.write_text(path.read_text().replace('"<|im_end|>"', '"<|other|>"'))
    with pytest.raises(ConfigError, match="the tokenizer's turn markers"):
        check_run(config_of(**stage))
    path.unlink()
    check_run(config_of(**stage, turn_format="plain"))


def test_a_packaged_model_is_held_to_its_own_prompts(tmp_path, config_of, monkeypatch):
    packaged = config_of().model
    shutil.copytree(packaged, tmp_path / "mini")
    save_contract(default_contract(padded_tokenizer(packaged, None)), tmp_path / "mini")
    monkeypatch.setattr("rankrag.models.prepared.prepare_model", lambda *_: tmp_path / "mini")
    check_run(config_of(model="rankrag-mini"))
    with pytest.raises(ConfigError, match="turn_format: plain; set it to chat_template"):
        check_run(config_of(model="rankrag-mini", turn_format="plain"))


def test_four_bits_need_a_gpu_and_bitsandbytes(config_of, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"2 problems:\n.*method: qlora needs a CUDA device.*\n.*called 'q_prok'"):
        check_run(config_of(method="qlora", lora={"target_modules": ["q_prok"]}))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(start_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "rankrag\[qlora\]"'):
        start_module.need_four_bits()


@pytest.fixture
def shape_of(tmp_path, tokenizer):
    """Write a model directory of another family, without weights."""

    def make(family, **fields):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        (tmp_path / "other").mkdir()
        tokenizer.save_pretrained(tmp_path / "other")
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
        sizes |= {"vocab_size": len(tokenizer), "intermediate_size": 16} | fields
        AutoConfig.for_model(family, **sizes).save_pretrained(tmp_path / "other")
        return str(tmp_path / "other")

    return make


def test_a_model_that_sees_fewer_tokens_back_than_an_example_may_have_is_refused(config_of, shape_of):
    for family in ("mistral", "gemma3_text"):
        model = shape_of(family, sliding_window=256)
        with pytest.raises(
            ConfigError, match=rf"max_tokens: 512 is more than the 256 tokens that a {family} sees back"
        ):
            check_run(config_of(model=model))
        check_run(config_of(model=model, max_tokens=256, tokens_per_batch=258))
    check_run(config_of(model=shape_of("qwen2", sliding_window=256)))  # none of its layers has the window


def test_attention_that_training_does_not_know_is_refused(config_of, shape_of, monkeypatch):
    with pytest.raises(ConfigError, match="the attention of a gpt_oss has sinks"):
        check_run(config_of(model=shape_of("gpt_oss", sliding_window=None, num_local_experts=2)))
    with pytest.raises(ConfigError, match=r"has layers \(linear_attention\) that mind no mask"):
        check_run(config_of(model=shape_of("qwen3_next", layer_types=["linear_attention", "full_attention"])))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(ConfigError, match=r"the attention of a gemma2 .* set compile to true"):
        check_run(config_of(model=shape_of("gemma2")))


def test_what_top_layers_cannot_be_is_said_before_any_weights_are_loaded(config_of, monkeypatch, tmp_path, tokenizer):
    monkeypatch.delattr("transformers.PreTrainedModel.from_pretrained")
    with pytest.raises(ConfigError, match=r"lora.top_layers: 3 is more than the model's 2 layers"):
        check_run(config_of(lora={"top_layers": 3}))
    with pytest.raises(ConfigError, match=r"none of the modules to adapt \(lm_head\) is in the last 1 layers"):
        check_run(config_of(lora={"top_layers": 1, "target_modules": ["lm_head"]}))
    (tmp_path / "other").mkdir()
    tokenizer.save_pretrained(tmp_path / "other")
    AutoConfig.for_model("gpt2", n_layer=3, n_embd=8, n_head=2).save_pretrained(tmp_path / "other")
    check_run(config_of(model=str(tmp_path / "other"), lora={"top_layers": 2}))


def test_what_shards_and_dev_figures_need_is_said_at_once(config_of, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    dev = {"examples": "nowhere.jsonl"}
    with pytest.raises(ConfigError) as caught:
        check_run(config_of(sharding="fsdp2", average_checkpoints=2, dev=dev))
    for problem in (
        "dev.examples: nowhere.jsonl is not there",
        "average_checkpoints needs whole checkpoints",
        "sharding: fsdp2 is for method: full; an adapter (lora) leaves the base whole",
        "sharding: fsdp2 needs several processes; start it with torchrun",
    ):
        assert problem in str(caught.value)
