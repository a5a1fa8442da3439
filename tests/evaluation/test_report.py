from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rankrag.evaluation.aggregate import Evaluation, PairFigures, SystemFigures
from rankrag.evaluation.calibration import Bin, Calibration, Risk
from rankrag.evaluation.description import RunDescription, SetDescription
from rankrag.evaluation.line_metrics import LINE_METRICS
from rankrag.evaluation.lines import Seconds
from rankrag.evaluation.report import render_report
from rankrag.evaluation.statistics import Interval
from rankrag.evaluation.systems import System
from rankrag.evaluation.tables import section


def at(mean):
    return Interval(mean, mean - 0.1, mean + 0.1)


def system(name, **values):
    return System(name=name, model="mini", retriever="bm25", k=5, **({"history_query": "last"} | values))


SYSTEMS = (
    system("mini"),
    system("plain", ranker="none"),
    system("gold", ranker="none", role="reading"),
    system("judges all", settled_from=None, role="stopping", against="mini"),
    system("stops at 2", settled_from=2.0, role="stopping", against="mini"),
    system("bm25 alone", ranker="none", role="first stage", history_query="all"),
)
SQUAD = SetDescription(
    "squad", "SQuAD", "squad-0", "R@1", "conversation", "dev", "own", 200, ("q",) * 100, {"no gold": 3}
)


def figures(name, **values):
    figures = {
        "R@1": at(0.8), "EM": at(0.5), "refused": at(0.1), "withheld": at(0.05), "judged": at(20.0),
        "gold read": at(0.9), "citation precision": at(0.7), "citation recall": at(0.6), "always [1]": at(0.4),
        "first citation gold": at(0.3),
    }  # fmt: skip
    found = SystemFigures(
        of_set=SQUAD,
        system=next((one for one in SYSTEMS if one.name == name), SYSTEMS[0]),
        questions=100,
        figures=figures,
        first={"R@1": at(0.7), "R@5": at(0.9)},
        outcomes={"right": 60, "misread": 30, "beyond k": 10},
        typical=Seconds(0.1, 0.02, 0.3),
        slow=Seconds(1.0, 0.2, 3.0),
        cost=1.0,
        reachable=0.95,
        gap=at(0.4),
        calibration=Calibration((Bin(2000, 0.6, 0.5),), (Risk(0.5, 0.1), Risk(1.0, 0.3)), 90),
    )
    return replace(found, **values)


FOUND = (
    figures("mini"),
    figures("plain", gap=None),
    figures("gold"),
    figures("judges all", same_contexts=1.0),
    figures("stops at 2", same_contexts=0.95, figures={**figures("mini").figures, "judged": at(7.25)}),
    figures("bm25 alone", questions=200),
)
EVALUATION = Evaluation(
    Path(),
    RunDescription("rankrag evaluate --out run", "2 cores", "2026-01-02", 0, SYSTEMS, (SQUAD,), {"rankrag": "1"}),
    FOUND,
    (PairFigures(SQUAD, "plain", "mini", "EM", at(-0.1), 0.04),),
)


@pytest.mark.parametrize(
    "line",
    [
        "Made by `rankrag evaluate --out run` on 2 cores, 2026-01-02.",
        "| mini | `mini` | model | bm25 | 20 | 5 | last | as fitted, stops at the fitted bound | below the threshold |",
        "| SQuAD | bm25, turns: all | all | 200 | 0.700 [0.600, 0.800] | 0.900 [0.800, 1.000] |",
        "| SQuAD | bm25, turns: last | N = 20 | 100 | 0.700 [0.600, 0.800] | 0.900 [0.800, 1.000] |",
        "| SQuAD | mini | bm25 | R@1 | 0.700 [0.600, 0.800] | 0.800 [0.700, 0.900] | 0.950 | 0.400 [0.300, 0.500] |",
        "| SQuAD | mini | 100 | 0.500 [0.400, 0.600] | 0.100 [0.000, 0.200] |",
        "| SQuAD | gold | 100 | 0.500 [0.400, 0.600] |",
        "| SQuAD | mini | 0.700 [0.600, 0.800] | 0.600 [0.500, 0.700] | 0.300 [0.200, 0.400] | 0.400 [0.300, 0.500] |",
        "| SQuAD | yes | mini | 0.100 [0.000, 0.200] | 0.050 [-0.050, 0.150] |",
        "| SQuAD | mini | 2,000 | 0.100 | 90 | 0.300 | 0.200 |",
        "| SQuAD | all are judged | 20.0 of 20 | 0.900 [0.800, 1.000] | 1.00 | EM 0.500 [0.400, 0.600] |",
        "| SQuAD | 2.0 | 7.2 of 20 | 0.900 [0.800, 1.000] | 0.95 | EM 0.500 [0.400, 0.600] |",
        "| SQuAD | plain | mini | EM | -0.100 [-0.200, +0.000] | 0.0400 |",
        "| SQuAD | mini | 100 | 60.0% (60) | 10.0% (10) | 30.0% (30) | misread |",
        "| SQuAD | mini | 0.100 (1.000) | 0.020 (0.200) | 0.300 (3.000) | 1.0 |",
    ],
)
def test_every_table_has_its_row(line):
    assert line in render_report(EVALUATION).splitlines()


def test_the_head_counts_questions_and_says_what_was_left_out():
    text = render_report(EVALUATION)
    assert text.startswith("# Results\n")
    assert "Questions: SQuAD 100 of 200; drawn with seed 0." in text
    assert "Left out: SQuAD 3 (no gold)." in text


def test_parts_without_figures_are_left_out():
    bare = replace(EVALUATION, systems=(), pairs=())
    assert [line for line in render_report(bare).splitlines() if line.startswith("## ")] == []


def test_a_given_ranking_is_named():
    given = replace(SQUAD, first_stage="dense by dragon-plus", style="short")
    text = render_report(replace(EVALUATION, systems=(figures("bm25 alone", of_set=given),)))
    assert "| SQuAD | dense by dragon-plus (given) | all | 100 |" in text


def test_refusals_of_unanswerable_questions_show_the_look_alikes():
    never = replace(SQUAD, unanswerable=True, metric="")
    found = figures(
        "mini", of_set=never, figures={"refused": at(0.8), "withheld": at(0.5), "look-alike found": at(0.9)}
    )
    text = render_report(replace(EVALUATION, systems=(found,)))
    assert "| SQuAD | no | mini | 0.800 [0.700, 0.900] | 0.500 [0.400, 0.600] | 0.900 [0.800, 1.000] |" in text


def test_a_table_has_no_empty_columns_and_is_nothing_without_rows():
    assert section("Text", ["a", "b"], [["1", ""], ["2", ""]]) == "Text\n\n| a |\n|---|\n| 1 |\n| 2 |"
    assert section("Text", ["a"], []) == ""


def test_a_line_metric_has_a_column_as_soon_as_it_is_registered(monkeypatch):
    def header(text):
        return next(line for line in text.splitlines() if line.startswith("| set | system | questions | EM |"))

    assert header(render_report(EVALUATION)) == "| set | system | questions | EM | refused |"
    monkeypatch.setitem(LINE_METRICS, "passages read", lambda line, _: float(len(line.contexts)))
    mini = figures("mini", figures={**figures("mini").figures, "passages read": at(3.0)})
    text = render_report(replace(EVALUATION, systems=(mini,)))
    assert header(text) == "| set | system | questions | EM | refused | passages read |"
    assert "| SQuAD | mini | 100 | 0.500 [0.400, 0.600] | 0.100 [0.000, 0.200] | 3.000 [2.900, 3.100] |" in text
