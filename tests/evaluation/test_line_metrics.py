from __future__ import annotations

from rankrag.data.catalogue import BENCHMARKS
from rankrag.evaluation.line_metrics import line_scores
from rankrag.evaluation.lines import QuestionLine
from rankrag.templates import UNANSWERABLE


def line(**values):
    wanted = {
        "benchmark": "squad", "system": "m", "id": "q", "question": "?", "history": (), "gold_answers": ("x",),
        "gold": ("a", "b"), "retrieved": ("a", "b", "c"), "reranked": ("c", "a", "b"), "p_true": (0.9, 0.5, None),
        "contexts": ("c", "a"), "answer": "x", "outcome": "right", "metrics": {}, "first": {}, "cited": (1, 0),
    }  # fmt: skip
    return QuestionLine(**(wanted | values))


def line_metrics(benchmark="squad", **values):
    return line_scores(line(**values), BENCHMARKS[benchmark])


def test_citations_are_measured_against_gold_passages():
    found = line_metrics()
    assert found["citation precision"] == 0.5
    assert found["citation recall"] == 0.5
    assert found["first citation gold"] == 1.0
    assert found["always [1]"] == 0.0
    uncited = line_metrics(cited=())
    assert "citation precision" not in uncited
    assert uncited["citation recall"] == 0.0
    assert uncited["first citation gold"] == 0.0
    assert "citation recall" not in line_metrics(cited=None)
    assert "citation recall" not in line_metrics(gold=())


def test_refusals_and_reading_are_measured_line_by_line():
    found = line_metrics()
    assert found["refused"] == 0.0
    assert found["withheld"] == 0.0
    assert found["gold read"] == 0.5
    assert found["judged"] == 2.0
    assert line_metrics(answer=UNANSWERABLE)["refused"] == 1.0
    withheld = line_metrics(answer=None, withheld=True)
    assert withheld["refused"] == 1.0
    assert withheld["withheld"] == 1.0
    assert "refused" not in line_metrics(answer=None)
    never = line_metrics("squad2_unanswerable", gold=("z",))
    assert never["look-alike found"] == 0.0
    assert "refused despite look-alike" not in never
    assert line_metrics("squad2_unanswerable")["refused despite look-alike"] == 0.0
