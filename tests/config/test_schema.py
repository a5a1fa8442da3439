from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rankrag.config.answering import AskConfig
from rankrag.config.blend import BlendConfig
from rankrag.config.evaluation import ComparisonConfig
from rankrag.config.schema import Schema, load_config
from rankrag.config.training import TrainConfig
from rankrag.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
SCHEMAS: dict[str, type[Schema]] = {"blend": BlendConfig, "train": TrainConfig, "eval": ComparisonConfig}
SHIPPED = sorted(p for folder in SCHEMAS for p in (CONFIGS / folder).glob("*.yaml"))
TRAIN = "model: m\nblend: b\nout: o\n"


@pytest.fixture
def yaml_of(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_shipped_file_loads(path, monkeypatch):
    monkeypatch.setenv("RANKRAG_DATA", "/data")
    assert load_config(SCHEMAS[path.parent.name], path)


def test_defaults_fill_what_a_file_leaves_out(yaml_of):
    assert load_config(TrainConfig, yaml_of(TRAIN)).lora.r == 32


def test_overrides_go_before_the_file(yaml_of):
    config = load_config(TrainConfig, yaml_of(TRAIN + "lora: {r: 8}\n"), ("lora.r=4", "seed=7", "model=n"))
    assert (config.lora.r, config.seed, config.model) == (4, 7, "n")


def test_an_override_without_an_equals_sign_is_refused(yaml_of):
    with pytest.raises(ConfigError, match="--set seed: must read key=value"):
        load_config(TrainConfig, yaml_of(TRAIN), ("seed",))


def test_all_problems_are_reported_together(yaml_of):
    with pytest.raises(ConfigError) as caught:
        load_config(TrainConfig, yaml_of("model: m\nblend: b\nsave_steps: 0\nlora: {r: many}\n"))
    assert all(name in str(caught.value) for name in ("out: ", "save_steps: ", "lora.r: ", "'many'"))


def test_an_unknown_key_is_refused_with_the_nearest_known_one(yaml_of):
    with pytest.raises(ConfigError, match="learning_rat: unknown key; did you mean 'learning_rate'"):
        load_config(TrainConfig, yaml_of(TRAIN + "learning_rat: 1\n"))


def test_a_retired_key_names_what_replaces_it(yaml_of):
    with pytest.raises(ConfigError, match="aux_layer: ranking is learnt after the last layer only; leave it out"):
        load_config(TrainConfig, yaml_of(TRAIN + "aux_layer: 3\n"))


def test_an_unknown_key_like_no_other_gets_no_guess(yaml_of):
    with pytest.raises(ConfigError, match=r"xqzw: unknown key; known keys are adam_betas, answer_weight"):
        load_config(TrainConfig, yaml_of(TRAIN + "xqzw: 1\n"))


def test_an_unknown_key_of_a_part_is_answered_with_the_keys_of_that_part(yaml_of):
    with pytest.raises(ConfigError, match=r"lora\.rank: unknown key; known keys are alpha, dropout, r, target_modules"):
        load_config(TrainConfig, yaml_of(TRAIN + "lora: {rank: 1}\n"))
    with pytest.raises(ConfigError, match=r"sources\.0\.hub\.nam: unknown key; did you mean 'name'"):
        load_config(BlendConfig, yaml_of("sources: [{name: s, hub: {nam: x}}]\n"))


def test_options_go_before_overrides_and_the_file_unless_they_were_not_given(yaml_of):
    config = load_config(AskConfig, yaml_of("n: 30\nk: 3\n"), ("n=40", "k=4"), options={"n": 50, "k": None})
    assert (config.n, config.k) == (50, 4)


def test_defaults_of_a_command_go_behind_the_file(yaml_of):
    assert load_config(AskConfig, None, defaults={"n": 100}).n == 100
    assert load_config(AskConfig, yaml_of("n: 30\n"), defaults={"n": 100}).n == 30


@pytest.mark.parametrize(
    ("text", "problem"),
    [("n: 3\nk: 4\n", "n=3, k=4: k must be at most n"), ("rerank: false\nsettled_from: 1\n", "exclude each other")],
)
def test_settings_that_contradict_each_other_are_refused(yaml_of, text, problem):
    with pytest.raises(ConfigError, match=problem):
        load_config(AskConfig, yaml_of(text))


def test_environment_variables_are_filled_in(yaml_of, monkeypatch):
    monkeypatch.setenv("RANKRAG_DATA", "/somewhere")
    config = load_config(BlendConfig, yaml_of("sources:\n  - {name: s, rows: '${RANKRAG_DATA}/r'}\n"))
    assert (config.data, config.sources[0].rows) == ("/somewhere", "/somewhere/r")


def test_an_environment_variable_that_is_not_set_is_named(yaml_of, monkeypatch):
    monkeypatch.delenv("RANKRAG_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"RANKRAG_DATA.*not set"):
        load_config(BlendConfig, yaml_of("sources: []\n"))


@pytest.mark.parametrize(("text", "problem"), [("a: [", "not readable"), ("- 1", "holds list")])
def test_a_file_that_is_not_keys_and_values_is_refused(yaml_of, text, problem):
    with pytest.raises(ConfigError, match=problem):
        load_config(TrainConfig, yaml_of(text))


def test_a_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none.yaml"):
        load_config(TrainConfig, tmp_path / "none.yaml")


def test_a_configuration_does_not_change(yaml_of):
    with pytest.raises(ValidationError):
        load_config(TrainConfig, yaml_of(TRAIN)).seed = 1


@pytest.mark.parametrize(
    "value", [{"n": 0}, {"k": 0}, {"history_query": "some"}, {"rounds": 3}, {"retriever": "magic"}]
)
def test_a_setting_of_a_question_that_nobody_knows_is_refused(value):
    with pytest.raises(ValidationError, match=next(iter(value))):
        AskConfig(**value)


def test_no_more_passages_are_answered_from_than_are_retrieved():
    with pytest.raises(ConfigError, match="n=2, k=3: k must be at most n"):
        AskConfig(n=2, k=3)


def test_a_key_leads_into_a_part_that_the_file_leaves_empty(yaml_of):
    file, asked = yaml_of("writing:\ndata: d\n"), {"writing.index": "ix", "writing.model": None}
    config = load_config(BlendConfig, file, ["writing.questions=3"], options=asked)
    assert (config.writing.index, config.writing.model, config.writing.questions) == ("ix", "rankrag-mini-base", 3)
