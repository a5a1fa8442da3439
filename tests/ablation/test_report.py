from __future__ import annotations

import random

import numpy as np
import pytest

from rankrag.ablation.claims import claims, verdict
from rankrag.ablation.paper import TABLE_3, mean_of_nine
from rankrag.ablation.report import render
from rankrag.ablation.results import Outcome, RowResult, check_pairs, load_result, save_result
from rankrag.errors import ConfigError, DataError
from rankrag.evaluation.statistics import Interval

ROWS = {
    "full": {"title": "full recipe", "paper": "RankRAG 8B"},
    "ranking_only": {"title": "ranking only"},
    "no_ranking": {"title": "no ranking", "rerank": False},
    "no_retrieval_qa": {"title": "no RQA", "paper": "w/o RQA"},
}


@pytest.fixture
def result_of():
    """Make up a row: shares of right orders and answers, and a loss."""

    def make(hit, f1, loss=1.0, *, rerank=True, questions=200):
        rng = random.Random(f"{hit}{f1}")
        tested = []
        for number in range(questions):
            right, answered = float(rng.random() < hit), float(rng.random() < f1)
            tested.append(Outcome("squad", f"q{number}", 0.0, right, 0.0, answered, 0.0, answered))
        losses = {f"i{n}": loss + n / 100 for n in range(30)}
        return RowResult("key", "2 cores", 1000, 90, rerank, tuple(tested), losses)

    return make


def test_rows_stand_with_their_figures_and_those_that_are_missing_are_not_run(study_of, result_of):
    results = {"full": result_of(0.8, 0.5), "no_ranking": result_of(0.3, 0.4)}
    text = render(study_of(ROWS), results, "rankrag ablate x.yaml")
    assert "Made by `rankrag ablate x.yaml` on 2 cores." in text
    assert "| ranking only | not run |  |  |  |  |  |  |" in text
    full = results["full"].values("hit@1")
    assert f"| full recipe | 1,000 | 90 | {sum(full) / 200:.3f} [" in text


def test_each_set_has_its_own_means(study_of, result_of):
    full = result_of(0.8, 0.5)
    text = render(study_of(ROWS), {"full": full}, "x").partition("## Set by set")[2].partition("\n## ")[0]
    sets = list(study_of(ROWS).config.questions)
    (row,) = (line for line in text.splitlines() if line.startswith("| full recipe |"))
    own = [np.mean(full.values(measure, "squad")) for measure in ("hit@1", "EM", "F1")]
    assert row.removesuffix(" |").split(" | ")[1 + 3 * sets.index("squad") :][:3] == [f"{of:.3f}" for of in own]
    assert "| BM25's order | " in text
    assert "No row has been run." in render(study_of(ROWS), {}, "x")


def test_differences_are_those_of_a_slow_obvious_bootstrap_and_test(study_of, result_of):
    results = {"full": result_of(0.6, 0.5), "no_ranking": result_of(0.5, 0.4)}
    text = render(study_of(ROWS), results, "x").partition("## Against the full recipe")[2]
    cells = next(line for line in text.splitlines() if line.startswith("| no ranking |")).split(" | ")
    found = [a - b for a, b in zip(results["no_ranking"].values("hit@1"), results["full"].values("hit@1"), strict=True)]
    rng = random.Random(1)
    means = sorted(sum(rng.choices(found, k=200)) / 200 for _ in range(4000))
    mean, low, high = (float(x) for x in cells[1].replace("[", "").replace("]", "").replace(",", "").split())
    assert mean == pytest.approx(sum(found) / 200, abs=5e-4)
    assert (low, high) == pytest.approx((means[100], means[3900]), abs=0.012)
    flips = [abs(sum(x * rng.choice((-1, 1)) for x in found)) >= abs(sum(found)) for _ in range(4000)]
    assert float(cells[2].replace("< ", "")) == pytest.approx(np.mean(flips), abs=0.02)


def test_the_papers_figures_stand_beside_ours(study_of, result_of):
    results = {"full": result_of(0.8, 0.5), "no_retrieval_qa": result_of(0.8, 0.4)}
    text = render(study_of(ROWS), results, "x").partition("## Beside the paper")[2]
    less = 100 * (np.mean(results["no_retrieval_qa"].values("F1")) - np.mean(results["full"].values("F1")))
    row = "| no RQA | w/o RQA | 49.4 | 82.0 | 55.1 | 35.6 | 31.8 | 92.1 | 39.4 | 46.8 | 32.4 | 51.6 | -1.0 |"
    assert f"{row} {less:+.1f} |" in text


def test_the_means_of_the_papers_table_are_those_it_prints():
    printed = {"RankRAG 8B": 52.6, "w/o RQA": 51.6, "w/o RAR": 51.8, "RAFT-style": 48.1, "Stage-I only": 42.2}
    assert {row: mean_of_nine(row) for row in printed} == pytest.approx(printed, abs=0.11)
    assert {len(of) for of in TABLE_3.values()} == {9}


def test_claims_are_decided_by_their_intervals(result_of):
    results = {
        "full": result_of(0.9, 0.6),
        "ranking_only": result_of(0.4, 0.61),
        "no_ranking": result_of(0.1, 0.2),
        "ranking_10": result_of(0.85, 0.5),
        "ranking_1": result_of(0.2, 0.5),
        "untrained": result_of(0.1, 0.1, loss=0.9),
        "stage1_only": result_of(0.1, 0.1, loss=0.96),
    }
    found = [claim.verdict for claim in claims(results)]
    expected = ["supported", "supported", "undecided", "supported", "not supported", "not supported", "supported"]
    assert found == expected
    del results["ranking_10"], results["untrained"]
    again = [claim.verdict for claim in claims(results)]
    assert again == [*expected[:3], "not run", "not supported", "not run", "supported"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.3, "supported"), (-0.3, -0.1, "not supported"), (-0.1, 0.1, "undecided"), (0.0, 0.1, "undecided")],
)
def test_an_interval_that_holds_the_bound_decides_nothing(low, high, expected):
    assert verdict(Interval((low + high) / 2, low, high), 0.0) == expected


def test_without_an_interval_nothing_is_decided():
    assert verdict(None, 0.5) == "undecided"


def test_answers_without_reranking_are_those_from_the_first_order(result_of):
    assert set(result_of(0.9, 0.9, rerank=False).values("F1")) == {0.0}
    assert set(result_of(0.9, 0.9, rerank=False).values("hit@1")) == {0.0, 1.0}


def test_a_result_is_read_as_it_was_written_under_its_key_alone(result_of, tmp_path):
    result = result_of(0.5, 0.5)
    save_result(result, tmp_path / "row.json")
    assert load_result(tmp_path / "row.json", "key") == result
    assert load_result(tmp_path / "row.json", "other") is None
    assert load_result(tmp_path / "none.json", "key") is None
    (tmp_path / "row.json").write_text("{}")
    with pytest.raises(DataError, match="delete it to test the row again"):
        load_result(tmp_path / "row.json", "key")


def test_rows_that_were_asked_other_questions_are_not_compared(result_of):
    with pytest.raises(ConfigError, match="rows b were tested on other questions than a"):
        check_pairs({"a": result_of(0.5, 0.5), "b": result_of(0.5, 0.5, questions=10)})
