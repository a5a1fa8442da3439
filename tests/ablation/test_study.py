from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.ablation.study import hard_only, open_study
from rankrag.config.ablation import AblationConfig
from rankrag.config.schema import load_config
from rankrag.errors import ConfigError

FULL = {"title": "full recipe"}


def recipe_of(study, name="full"):
    return next(row.recipe for row in study.rows if row.name == name)


def test_all_problems_of_rows_and_files_are_listed_at_once(study_of):
    rows = {
        "full": FULL,
        "a": {"title": "a", "keep": {"rivrs": 0.5, "chat/context_qa": 0}},
        "b": {"title": "b", "model_of": "ful"},
        "c": {"title": "c", "paper": "w/o RQAA", "keep": {"rivers": 2}},
        "d": {"title": "d", "train": {"ranking_loss": "listwize"}},
        "e": {"title": "e", "keep": {"rivers": 0, "sft": 0}},
        "f": {"title": "f", "model_of": "full", "split_lists": True},
    }
    with pytest.raises(ConfigError) as raised:
        study_of(rows, weights={"rivers": 1.0, "chta": 0.5}, questions={"squat": 3}, k=9)
    problems = str(raised.value).split("\n  - ")[1:]
    expected = [
        "row 'a': keep: 'rivrs' (did you mean 'rivers'?) is neither a kind nor a source of the blend",
        "row 'a': keep: 'chat/context_qa': the source makes no 'context_qa', only sft",
        "row 'b': model_of: no row is called 'ful' (did you mean 'full'?)",
        "row 'c': paper: table 3 has no row 'w/o RQAA' (did you mean 'w/o RQA'?)",
        "row 'c': keep: 'rivers' is 2.0; it must lie between 0 and 1",
        "row 'd': ",
        "row 'e': keep: nothing of the blend is left",
        "row 'f': model_of: the model is another row's",
        "questions: no set with answers is called 'squat' (did you mean 'squad'?)",
        "k: 9 passages to answer from are more than the 3",
        "weights: 'chta' names no source; did you mean 'chat'?",
        "source 'chat' has no weight",
    ]
    found = [next((p for p in problems if part in p), None) for part in expected]
    assert dict(zip(expected, found, strict=True)) == {part: p for part, p in zip(expected, found, strict=True) if p}
    assert len(problems) == len(expected)


def test_the_full_recipe_must_be_there(study_of):
    with pytest.raises(ConfigError, match="rows: 'full' is missing"):
        study_of({"other": FULL})


def test_every_trained_row_sees_as_many_tokens(study_of):
    rows = {
        "full": FULL,
        "no_stage1": {"title": "without stage I", "start": "base"},
        "stage1_only": {"title": "stage I only", "data": "stage1"},
    }
    study = study_of(rows)
    assert {row.recipe.tokens for row in study.rows} == {(2 + 3) * 768}
    assert recipe_of(study, "no_stage1").start is None
    assert recipe_of(study, "stage1_only").start is recipe_of(study).start


def test_instructions_are_held_back_from_both_stages(study_of):
    study = study_of()
    assert study.instructions.held_back == recipe_of(study).blend.held_back == 0.3


def test_rows_take_what_the_study_and_they_themselves_set(study_of):
    rows = {"full": FULL, "listwise": {"title": "listwise", "train": {"ranking_loss": "listwise"}}}
    study = study_of(rows, train_keys={"decay_steps": 7})
    assert [recipe_of(study, name).train.ranking_loss for name in rows] == ["pointwise", "listwise"]
    assert recipe_of(study).train.decay_steps == recipe_of(study).start.train.decay_steps == 7


def test_a_digest_changes_with_what_is_learnt_and_with_nothing_else(study_of):
    own = recipe_of(study_of()).digest
    assert recipe_of(study_of(train_keys={"save_steps": 7})).digest == own
    assert recipe_of(study_of(n=2)).digest == own
    changed = [
        recipe_of(study_of(**fields)).digest
        for fields in ({"steps": 4}, {"stage1_steps": 3}, {"seed": 1}, {"blend_keys": {"seed": 1}})
    ]
    assert len({own, *changed}) == 5


def test_hard_negatives_take_the_place_of_random_ones(study_of):
    blend = recipe_of(study_of()).blend
    (rivers, _), (hard, _) = blend.sources, hard_only(blend).sources
    assert (hard.hard, hard.random) == (rivers.hard + rivers.random, 0)


def test_the_shipped_study_can_be_opened_and_has_the_rows_of_every_claim(monkeypatch, tmp_path):
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("RANKRAG_DATA", str(tmp_path))
    study = open_study(load_config(AblationConfig, Path("configs/ablation/mini.yaml")))
    names = {row.name for row in study.rows}
    assert names >= {"full", "ranking_only", "no_ranking", "ranking_10", "ranking_1", "untrained", "stage1_only"}
    assert {row.recipe.tokens for row in study.rows if row.recipe} == {(40 + 100) * 24576}
    assert sum(study.config.questions.values()) >= 300
