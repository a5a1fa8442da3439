from __future__ import annotations

from pathlib import Path

import pytest

from experiments.ablation.study import AblationConfig, hard_only, open_study
from rankrag.config.schema import load_config
from rankrag.errors import ConfigError

FULL = {"title": "full recipe"}


def recipe_of(study, name="full"):
    return next(row.recipe for row in study.rows if row.name == name)


def test_all_problems_are_listed_at_once(study_of):
    rows = {
        "full": FULL,
        "a": {"title": "a", "keep": {"rivrs": 0.5, "chat/context_qa": 0}},
        "b": {"title": "b", "model_of": "ful"},
        "c": {"title": "c", "paper": "w/o RQAA"},
        "d": {"title": "d", "model_of": "full", "split_lists": True},
    }
    with pytest.raises(ConfigError) as raised:
        study_of(rows, questions={"squat": 3}, k=9)
    assert str(raised.value).split("\n  - ")[1:] == [
        "questions: 'squat' is no set with answers",
        "k: 9 passages to answer from are more than the 3 that are retrieved",
        "row 'a': keep: 'chat/context_qa' is neither a kind nor a source of the blend",
        "row 'a': keep: 'rivrs' is neither a kind nor a source of the blend",
        "row 'b': model_of: 'ful' is no row with a model of its own",
        "row 'c': paper: 'w/o RQAA' is no row of table 3; there are RankRAG 8B, w/o reranking, w/o RQA, w/o RAR, "
        "RAFT-style, Stage-I only",
        "row 'd': model_of: the model is another row's, so data and training cannot differ; leave them out",
    ]


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
    rows = {"full": FULL, "heavy": {"title": "heavy labels", "train": {"label_weight": 3.0}}}
    study = study_of(rows, train_keys={"decay_steps": 7})
    assert [recipe_of(study, name).train.label_weight for name in rows] == [2.0, 3.0]
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
    assert hard.hard == rivers.hard + rivers.random
    assert hard.random == 0


def test_the_shipped_study_can_be_opened_and_has_the_rows_of_every_claim(monkeypatch, tmp_path):
    monkeypatch.chdir(Path(__file__).parents[3])
    monkeypatch.setenv("RANKRAG_DATA", str(tmp_path))
    study = open_study(load_config(AblationConfig, Path("configs/ablation/mini.yaml")))
    names = {row.name for row in study.rows}
    assert names >= {"full", "ranking_only", "no_ranking", "ranking_10", "ranking_1", "untrained", "stage1_only"}
    assert {row.recipe.tokens for row in study.rows if row.recipe} == {(40 + 100) * 24576}
    assert sum(study.config.questions.values()) >= 300
