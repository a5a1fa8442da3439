from __future__ import annotations

from dataclasses import replace

import pytest

from rankrag.evaluation.metrics import Interval
from rankrag.evaluation.report import render
from rankrag.evaluation.summary import (
    AnswerFigures,
    CitedFigures,
    ExampleFigures,
    FirstStageFigures,
    ReadingFigures,
    RefusalFigures,
    RerankedFigures,
    SetFigures,
    StoppingFigures,
    Summary,
)


def at(mean):
    return Interval(mean, mean - 0.1, mean + 0.1)


def reranked(metric, before, pure, blended, gap=0.5, retriever="bm25"):
    found = ({metric: at(before)}, {metric: at(pure)}, {metric: at(blended)})
    return RerankedFigures(retriever, 100, *found, 0.9, at(0.4), None if gap is None else at(gap))


SQUAD = SetFigures(
    "squad",
    "SQuAD",
    "R@1",
    (0.30, 0.60),
    (FirstStageFigures("bm25", "", 3346, {"R@1": at(0.75), "R@5": at(0.92)}),),
    (reranked("R@1", 0.7, 0.78, 0.8), reranked("R@1", 0.72, 0.78, 0.8, retriever="hybrid")),
    AnswerFigures(100, *map(at, (0.5, 0.6, 0.4, 0.5, 0.1, 0.1))),
    ReadingFigures(
        100,
        at(0.55),
        at(0.65),
        CitedFigures(*map(at, (0.45, 0.56, 0.95, 0.88, 0.2))),
        CitedFigures(*map(at, (0.5, 0.6, 0.9, 0.86, 0.7))),
    ),
    RefusalFigures(True, 100, at(0.03), 0.01),
    (StoppingFigures(None, 20, at(0.8), 1, at(0.5)), StoppingFigures(2.0, 7.25, at(0.78), 0.95, None)),
)
FEVER = SetFigures(
    "fever_symmetric",
    "FEVER",
    "",
    None,
    answers=AnswerFigures(
        9,
        *map(at, (0.1, 0.1, 0.2, 0.2, 0.1, 0.1)),
        own={"FEVER accuracy": at(0.7)},
        own_first_stage={"FEVER accuracy": at(0.6)},
    ),
)
SUMMARY = Summary("rankrag evaluate --out run", "2 cores", "2026-01-02", "mini", 20, 5, 0, 0.4, -1.5, "all", (SQUAD,))


def test_the_head_says_how_the_figures_were_made():
    text = render(SUMMARY)
    assert text.startswith("# Results\n\nMade by `rankrag evaluate --out run` on 2 cores, 2026-01-02.\n\n")
    assert "`mini`. It reranks N = 20 passages and answers from k = 5" in text
    assert "threshold of abstention -1.50 (log-odds), conversations searched by all turns" in text


@pytest.mark.parametrize(
    "line",
    [
        "| SQuAD | BM25 | 3346 | 0.750 [0.650, 0.850] | 0.920 [0.820, 1.020] |  |  |  |  |",
        "| SQuAD | BM25 | 100 | R@1 | 0.700 [0.600, 0.800] | 0.780 [0.680, 0.880] | 0.800 [0.700, 0.900] | 0.900 |",
        "| SQuAD | BM25 | R@1 | 0.400 [0.300, 0.500] | 0.500 [0.400, 0.600] | ≥ 0.30, 0.60 | CPU | CPU |",
        "| SQuAD | hybrid | R@1 | 0.400 [0.300, 0.500] | 0.500 [0.400, 0.600] |  |  |  |",
        "| SQuAD | hybrid | P(True) | 0.780 [0.680, 0.880] |  |  |  |  |  |",
        "| SQuAD | 100 | 0.400 [0.300, 0.500] | 0.500 [0.400, 0.600] | 0.500 [0.400, 0.600] | 0.600 [0.500, 0.700] "
        "| 0.100 [0.000, 0.200] |",
        "| SQuAD | 100 | 0.550 [0.450, 0.650] | 0.650 [0.550, 0.750] | 0.450 [0.350, 0.550] | 0.560 [0.460, 0.660] "
        "| 0.500 [0.400, 0.600] | 0.600 [0.500, 0.700] | EM ≥ 0.50 | yes |",
        "| SQuAD | all | 20.0 | 0.800 [0.700, 0.900] | 1.00 | 0.500 [0.400, 0.600] |",
        "| SQuAD | 2 | 7.2 | 0.780 [0.680, 0.880] | 0.95 | - |",
        "| SQuAD | the best 5 of them | 0.900 [0.800, 1.000] | 0.860 [0.760, 0.960] | 0.700 [0.600, 0.800] "
        "| both ≥ 0.85 | yes |",
        "| SQuAD | all five | 0.950 [0.850, 1.050] | 0.880 [0.780, 0.980] | 0.200 [0.100, 0.300] | both ≥ 0.85 | yes |",
        "| SQuAD | yes | 100 | 0.030 [-0.070, 0.130] | 0.010 |  |  |",
    ],
)
def test_every_table_has_its_row(line):
    assert line in render(SUMMARY).splitlines()


def one(**of):
    return render(replace(SUMMARY, sets=(replace(SQUAD, **of),)))


def test_a_target_that_was_missed_is_marked():
    assert "| ≥ 0.30, 0.60 | CPU | **none** |" in one(reranked=(reranked("R@1", 0.7, 0.7, 0.7, gap=0.29),))
    assert "| - | ≥ 0.30, 0.60 | CPU | **none** |" in one(reranked=(reranked("R@1", 0.7, 0.7, 0.7, gap=None),))
    assert "| ≥ 0.30, 0.60 | CPU | both |" in one(reranked=(reranked("R@1", 0.7, 0.7, 0.7, gap=0.6),))
    assert "| both ≥ 0.85 | **no** |" in one(
        reading=replace(SQUAD.reading, ranked=replace(SQUAD.reading.ranked, precision=None))
    )
    assert "| both ≥ 0.85 | **no** |" in one(
        reading=replace(SQUAD.reading, ranked=replace(SQUAD.reading.ranked, recall=at(0.84)))
    )


def test_the_target_of_hit_at_1_is_the_figure_itself():
    def hits(blended):
        row = reranked("hit@1", 0.26, 0.3, blended, gap=None)
        return one(name="msmarco", title="MS MARCO", metric="hit@1", target=(0.33, 0.38), reranked=(row,))

    assert "| hit@1 ≥ 0.33, 0.38 | **none** | CPU |" in hits(0.34)
    assert "| hit@1 ≥ 0.33, 0.38 | **none** | **none** |" in hits(0.32)


def test_the_mean_gain_of_three_sets_is_held_against_its_target():
    three = tuple(replace(SQUAD, name=name, title=name) for name in ("nq", "hotpotqa", "doc2dial"))
    text = render(replace(SUMMARY, sets=three))
    # Half-widths of .1 each: sqrt(3) * .1 / 3.
    assert "| mean |  | 0.100 [0.042, 0.158] | ≥ 0.028 and the interval above 0: yes |" in text
    assert "| mean |" not in render(replace(SUMMARY, sets=three[:2]))


def test_conversations_and_given_rankings_are_named():
    rows = (FirstStageFigures("dense", "all", 5, {}), FirstStageFigures("dense", "last", 5, {}))
    text = one(title="Doc2Dial", first_stages=rows)
    assert "| Doc2Dial | dense, all turns | 5 |" in text
    assert "| Doc2Dial | dense, the last turn | 5 |" in text
    given = one(name="trec_dl19", title="TREC", first_stages=(FirstStageFigures("bm25", "", 5, {}),))
    assert "| TREC | BM25 (given) | 5 |" in given


def test_refusals_of_unanswerable_questions_show_the_look_alikes():
    text = one(title="U", refusals=RefusalFigures(False, 9, at(0.8), 0.5, 0.9, at(0.7)))
    assert "| U | no | 9 | 0.800 [0.700, 0.900] | 0.500 | 0.900 | 0.700 [0.600, 0.800] |" in text
    none = one(title="U", refusals=RefusalFigures(False, 9, at(0.8), 0.5, 0.0, None))
    assert "| 0.500 | 0.000 | - |" in none


def test_examples_are_held_against_their_targets():
    good = render(replace(SUMMARY, examples=ExampleFigures(10, 8, 50, 3, 0.7, 0.8, 0.95)))
    assert "| unanswerable, refused | 8 of 10 | at least 80% | yes |" in good
    assert "| answerable, refused | 3 of 50 | at most 6% | yes |" in good
    assert "| first citation from the right file | 0.950 |  |  |" in good
    bad = render(replace(SUMMARY, examples=ExampleFigures(10, 7, 50, 4, 0.7, 0.8, None)))
    assert "| unanswerable, refused | 7 of 10 | at least 80% | **no** |" in bad
    assert "| answerable, refused | 4 of 50 | at most 6% | **no** |" in bad
    assert "first citation" not in bad


def test_what_was_not_measured_is_left_out():
    bare = Summary("", "", "2026-01-02", "", 20, 5, 0, 0.0, None, "last", (SetFigures("x", "X", "R@1", None),))
    assert render(bare).splitlines()[2] == "Made by `rankrag evaluate`, 2026-01-02."
    assert "## " not in render(bare)
    untuned = render(replace(SUMMARY, abstain_below=None))
    assert "threshold of abstention none" in untuned


def test_labels_are_shown_by_the_metric_of_their_set_alone():
    text = render(replace(SUMMARY, sets=(FEVER,)))
    assert "| FEVER | FEVER accuracy | 0.600 [0.500, 0.700] | 0.700 [0.600, 0.800] |" in text
    assert "EM without" not in text
    assert "### By the rules of each set" not in render(SUMMARY)
