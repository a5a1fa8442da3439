from __future__ import annotations

import json

import pytest

from rankrag.ablation.making import folder_of, made, result_of
from rankrag.ablation.run import results_of
from rankrag.training.checkpoints import all_checkpoints


def test_two_rows_are_made_tested_and_compared_and_nothing_is_done_twice(run, config_of, study_of, tmp_path, capsys):
    config, out, page = config_of(), tmp_path / "runs", tmp_path / "docs" / "ablations.md"
    command = ("ablate", config, "--out", out, "--report", page, "--dtype", "float32")
    assert run(*command, "--row", "no_ranking") == 0
    first = page.read_text(encoding="utf-8")
    assert "| full recipe | not run |" in first
    assert "| no ranking | 3,840 |" in first  # 2 + 3 steps of 768 tokens
    capsys.readouterr()
    assert run(*command) == 0
    said = capsys.readouterr().err
    assert "full: testing" in said
    assert "no_rerank: testing" not in said
    whole = page.read_text(encoding="utf-8")
    assert "not run" not in whole.partition("## The paper's claims")[0]
    assert len(list((out / "models").iterdir())) == 3  # stage I, full, no ranking: no_rerank has full's
    results = results_of(study_of(), out)
    assert results["no_rerank"].values("hit@1") == results["full"].values("hit@1")
    assert results["no_rerank"].values("F1") == [of.first_f1 for of in results["full"].tested]
    assert len(results["full"].tested) == 6
    assert len(results["full"].losses) == 5

    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run(*command) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert page.read_text(encoding="utf-8") == whole


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(study_of, tmp_path):
    study = study_of(train_keys={"save_steps": 1})
    recipe = study.rows[0].recipe
    said: list[str] = []

    def kill(done, total):
        if total == 3 and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(recipe, tmp_path / "runs", say=said.append, report=kill)
    assert all_checkpoints(folder_of(recipe, tmp_path / "runs") / "run")
    assert not result_of(recipe, tmp_path / "runs").exists()
    steps: list[int] = []
    made(recipe, tmp_path / "runs", say=said.append, report=lambda done, _: steps.append(done))
    assert steps[0] > 1  # not from the start, and stage I not at all
    assert result_of(recipe, tmp_path / "runs").is_dir()
    assert not all_checkpoints(folder_of(recipe, tmp_path / "runs") / "run")


def test_a_result_of_another_configuration_is_not_shown(run, config_of, study_of, tmp_path, capsys):
    config, out = config_of(rows={"full": {"title": "full recipe"}}), tmp_path / "runs"
    row = {"full": {"title": "full recipe"}}
    assert run("ablate", config, "--out", out, "--dtype", "float32") == 0
    assert results_of(study_of(rows=row), out)
    assert not results_of(study_of(rows=row, steps=4), out)
    assert not results_of(study_of(rows=row, n=4), out)


def test_the_table_alone_needs_neither_data_nor_a_model(run, config_of, tmp_path, capsys):
    config = config_of()
    assert run("ablate", config, "--out", tmp_path / "runs", "--table", "--set", "n=2", "--row", "full") == 0
    printed = capsys.readouterr().out
    assert f"Made by `rankrag ablate {config} --set n=2`." in printed
    assert "| no ranking | not run |" in printed
    assert "| RankRAG 8B | 50.6 |" in printed
    assert printed.count("**not run**") == 7


def test_a_row_that_is_not_there_is_named_with_the_rows_that_are(run, config_of, tmp_path, capsys):
    assert run("ablate", config_of(), "--out", tmp_path, "--row", "ful", "--row", "noranking") == 2
    printed = capsys.readouterr().err
    assert "'ful' (did you mean 'full'?); 'noranking' (did you mean 'no_ranking'?)" in printed
    assert "there are full, no_ranking, no_rerank" in printed


def test_the_base_is_tested_as_it_is(run, config_of, tmp_path):
    config = config_of(rows={"full": {"title": "full"}, "untrained": {"title": "base", "data": "none"}})
    out = tmp_path / "runs"
    assert run("ablate", config, "--out", out, "--row", "untrained", "--dtype", "float32") == 0
    found = json.loads((out / "rows" / "untrained.json").read_text(encoding="utf-8"))
    assert (found["tokens"], found["examples"]) == (0, 0)
    assert not (out / "models").exists()


def test_rows_in_eight_bits_are_refused(run, config_of, tmp_path, capsys):
    assert run("ablate", config_of(), "--out", tmp_path / "runs", "--dtype", "int8") == 2
    assert "--dtype int8: rows are compared in the number type they were trained in" in capsys.readouterr().err
