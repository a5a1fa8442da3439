from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from experiments.ablation.claims import CLAIMS, verdict
from experiments.ablation.report import render
from experiments.paper.numbers import TABLE_3, mean_of_nine
from rankrag.evaluation.aggregate import Evaluation
from rankrag.evaluation.description import RunDescription
from rankrag.evaluation.statistics import Interval
from rankrag.evaluation.systems import System

ROWS = {
    "full": {"title": "full recipe", "paper": "RankRAG 8B"},
    "ranking_only": {"title": "ranking only"},
    "no_ranking": {"title": "no ranking", "rerank": False},
    "no_retrieval_qa": {"title": "no RQA", "paper": "w/o RQA"},
}


def values(hit, f1, loss=1.0, questions=200):
    """Make up a row: shares of right orders and answers, and a loss."""
    rng = random.Random(f"{hit}{f1}")
    pairs = [(float(rng.random() < hit), float(rng.random() < f1)) for _ in range(questions)]
    losses = [loss + n / 100 for n in range(30)]
    return {"hit@1": [one for one, _ in pairs], "F1": [one for _, one in pairs], "loss": losses}


@pytest.fixture
def page(study_of):
    systems = (System(name="full", retriever="bm25"),)
    description = RunDescription("x", "", "2026-01-01", 0, systems, (), {"commit": "c0ffee"})
    return lambda found: render(study_of(ROWS), Evaluation(Path("run"), description, (), ()), found)


def test_rows_stand_with_their_figures_and_those_that_are_missing_are_not_run(page):
    full = values(0.8, 0.5)
    text = page({"full": full, "no_ranking": values(0.3, 0.4)})
    assert "| ranking only | not run |  |  |  |  |  |  |  |" in text
    assert f"| full recipe | 3,840 | reranked | {np.mean(full['hit@1']):.3f} [" in text
    assert text.startswith("# Ablations\n\nMade by `x`, 2026-01-01, at commit c0ffee.\n")
    assert "\n\n## The evaluation of all rows\n\nMade by `x`" in text


def test_differences_are_those_of_a_slow_obvious_bootstrap_and_test(page):
    found = {"full": values(0.6, 0.5), "no_ranking": values(0.5, 0.4)}
    cells = next(line for line in page(found).splitlines() if line.startswith("| no ranking |")).split(" | ")
    pairs = [a - b for a, b in zip(found["no_ranking"]["hit@1"], found["full"]["hit@1"], strict=True)]
    rng = random.Random(1)
    means = sorted(sum(rng.choices(pairs, k=200)) / 200 for _ in range(4000))
    mean, low, high = (float(x) for x in cells[3].replace("[", "").replace("]", "").replace(",", "").split())
    assert mean == pytest.approx(sum(pairs) / 200, abs=5e-4)
    assert low == pytest.approx(means[100], abs=0.012)
    assert high == pytest.approx(means[3900], abs=0.012)
    flips = [abs(sum(x * rng.choice((-1, 1)) for x in pairs)) >= abs(sum(pairs)) for _ in range(4000)]
    assert float(cells[4]) == pytest.approx(np.mean(flips), abs=0.02)


def test_the_papers_figures_stand_beside_ours(page):
    found = {"full": values(0.8, 0.5), "no_retrieval_qa": values(0.8, 0.4)}
    text = page(found).partition("## Beside table 3")[2]
    less = 100 * (np.mean(found["no_retrieval_qa"]["F1"]) - np.mean(found["full"]["F1"]))
    row = "| no RQA | w/o RQA | 49.4 | 82.0 | 55.1 | 35.6 | 31.8 | 92.1 | 39.4 | 46.8 | 32.4 | 51.6 | -1.0 |"
    assert f"{row} {less:+.1f} |" in text


def test_the_means_of_the_papers_table_are_those_it_prints():
    printed = {"RankRAG 8B": 52.6, "w/o RQA": 51.6, "w/o RAR": 51.8, "RAFT-style": 48.1, "Stage-I only": 42.2}
    assert {row: mean_of_nine(row) for row in printed} == pytest.approx(printed, abs=0.11)
    assert {len(figures) for figures in TABLE_3.values()} == {9}


def test_claims_are_decided_by_their_intervals():
    found = {
        "full": values(0.9, 0.6),
        "ranking_only": values(0.4, 0.61),
        "no_ranking": values(0.1, 0.2),
        "ranking_10": values(0.85, 0.5),
        "ranking_1": values(0.2, 0.5),
        "untrained": values(0.1, 0.1, loss=0.9),
        "stage1_only": values(0.1, 0.1, loss=0.96),
    }
    verdicts = [claim.decided(found)[1] for claim in CLAIMS]
    expected = ["supported", "supported", "undecided", "supported", "not supported", "not supported", "supported"]
    assert verdicts == expected
    del found["ranking_10"], found["untrained"]
    again = [claim.decided(found)[1] for claim in CLAIMS]
    assert again == [*expected[:3], "not run", "not supported", "not run", "supported"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.3, "supported"), (-0.3, -0.1, "not supported"), (-0.1, 0.1, "undecided"), (0.0, 0.1, "undecided")],
)
def test_an_interval_that_holds_the_bound_decides_nothing(low, high, expected):
    assert verdict(Interval((low + high) / 2, low, high), 0.0) == expected


def test_without_an_interval_nothing_is_decided():
    assert verdict(None, 0.5) == "undecided"
