from __future__ import annotations

import pytest

from experiments.ablation.__main__ import main
from experiments.ablation.run import Lab, model_name
from rankrag.evaluation.aggregate import read_results


@pytest.fixture
def ablate(config_of, tmp_path, capsys):
    """Run the command line on a study in `runs`; return what it printed."""

    def call(*arguments, **study):
        config = config_of(**study)
        capsys.readouterr()
        main([str(config), "--out", str(tmp_path / "runs"), "--dtype", "float32", *map(str, arguments)])
        return capsys.readouterr()

    return call


def values_of(study, folder):
    return Lab(study, folder).values(read_results(folder / "questions"))


def test_rows_are_systems_and_nothing_is_done_twice(ablate, study_of, tmp_path):
    page, out = tmp_path / "docs" / "ablations.md", tmp_path / "runs"
    ablate("--report", page, "--row", "no_ranking")
    first = page.read_text(encoding="utf-8")
    assert "| full recipe | not run |" in first
    assert "| no ranking | 3,840 | BM25 | " in first  # 2 + 3 steps of 768 tokens
    ablate("--report", page)
    whole = page.read_text(encoding="utf-8")
    assert "not run" not in whole.partition("## The claims of the paper")[0]
    assert "| squad + SQuAD" in whole or "## Answers" in whole  # the evaluation of the rows
    assert len(list((out / "models").iterdir())) == 3  # stage I, full, no ranking: no_rerank has full's
    found = values_of(study_of(), out)
    assert found["no_rerank"]["hit@1"] == found["full"]["hit@1"]
    assert len(found["full"]["F1"]) == 6
    assert len(found["full"]["loss"]) == 5

    lines = {path: path.stat().st_mtime_ns for path in out.rglob("judgements.jsonl")}
    steps = ablate("--report", page).err
    assert "steps" not in steps
    assert "judging" not in steps
    assert lines == {path: path.stat().st_mtime_ns for path in out.rglob("judgements.jsonl")}


def test_rows_of_another_configuration_are_not_shown(ablate, study_of, tmp_path):
    row = {"full": {"title": "full recipe"}}
    ablate(rows=row)
    assert values_of(study_of(rows=row), tmp_path / "runs")
    assert not values_of(study_of(rows=row, steps=4), tmp_path / "runs")
    assert not values_of(study_of(rows=row, n=4), tmp_path / "runs")


def test_the_page_is_made_again_without_any_work(ablate, tmp_path):
    row = {"full": {"title": "full recipe"}, "other": {"title": "another", "paper": "w/o RQA"}}
    ablate("--row", "full", rows=row)
    for path in (tmp_path / "runs" / "models").iterdir():
        path.rename(path.with_name(f"away-{path.name}")) if "stage1" in path.name else None
    printed = ablate("--table", rows=row).out
    assert "| another | not run |" in printed
    assert "| another | w/o RQA | 49.4 |" in printed
    assert printed.count("**not run**") == 7


def test_a_row_that_is_not_there_is_named_with_the_rows_that_are(ablate, capsys):
    with pytest.raises(SystemExit, match="2"):
        ablate("--row", "ful")
    assert capsys.readouterr().err == "no row is called ful; there are full, no_ranking, no_rerank\n"


def test_the_base_is_tested_as_it_is(ablate, study_of, tmp_path):
    rows = {"full": {"title": "full"}, "untrained": {"title": "base", "data": "none"}}
    printed = ablate("--row", "untrained", rows=rows).out
    assert "| base | 0 | reranked | " in printed
    assert not list((tmp_path / "runs" / "models").glob("full-*"))
    (row,) = study_of(rows=rows).chosen(["untrained"])
    assert model_name(row) == "base"
