"""Metrics that need a whole line: refusals, citations, what was read and judged.

To add one, decorate a function of (line, benchmark) with `line_metric`. It is None where a line does not have it: then
its mean is over the other lines. It is a column of the answers' table, unless a column of `tables.yaml` has its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

from rankrag.data.sets import Benchmark, Judged, TestSet
from rankrag.evaluation.lines import QuestionLine
from rankrag.evaluation.metrics import answer_scores, hit_at, ranking_scores, reachable, recall_at
from rankrag.evaluation.outcomes import outcome_of
from rankrag.evaluation.systems import System
from rankrag.generate import is_refusal

LineFunction = Callable[[QuestionLine, Benchmark], float | None]

LINE_METRICS: dict[str, LineFunction] = {}
"""By name."""


def line_metric(name: str) -> Callable[[LineFunction], LineFunction]:
    """Register a metric of whole lines under the name that it has in reports."""

    def register(function: LineFunction) -> LineFunction:
        LINE_METRICS[name] = function
        return function

    return register


@line_metric("refused")
def refused(line: QuestionLine, _: Benchmark) -> float | None:
    """Return 1 if a question got no answer, else 0."""
    return float(line.withheld or is_refusal(line.answer or "")) if line.is_answered else None


@line_metric("withheld")
def withheld(line: QuestionLine, _: Benchmark) -> float | None:
    """Return 1 if no passage reached the threshold, so that nothing was written, else 0."""
    return float(line.withheld) if line.is_answered else None


@line_metric("look-alike found")
def look_alike_found(line: QuestionLine, benchmark: Benchmark) -> float | None:
    """Return 1 if the passage that seems to answer an unanswerable question was retrieved, else 0."""
    known = benchmark.unanswerable and line.gold
    return hit_at(line.retrieved, line.gold, len(line.retrieved)) if known else None


@line_metric("refused despite look-alike")
def refused_despite_look_alike(line: QuestionLine, benchmark: Benchmark) -> float | None:
    """Return whether an unanswerable question was refused; None if its look-alike was not retrieved."""
    return refused(line, benchmark) if look_alike_found(line, benchmark) else None


@line_metric("citation precision")
def citation_precision(line: QuestionLine, benchmark: Benchmark) -> float | None:
    """Return the share of the citations that name a gold passage; None without citations."""
    gold = _cited_gold(line, benchmark)
    return fmean(gold) if gold else None


@line_metric("citation recall")
def citation_recall(line: QuestionLine, benchmark: Benchmark) -> float | None:
    """Return the share of the gold passages that are cited; a question without an answer counts 0."""
    cited = _cited_gold(line, benchmark)
    return None if cited is None else len(set(line.cited_ids) & set(line.gold)) / len(set(line.gold))


@line_metric("first citation gold")
def first_citation_gold(line: QuestionLine, benchmark: Benchmark) -> float | None:
    """Return 1 if the first citation names a gold passage, else 0; a question without an answer counts 0."""
    cited = _cited_gold(line, benchmark)
    return None if cited is None else float(cited[:1] == [True])


@line_metric("always [1]")
def always_first(line: QuestionLine, benchmark: Benchmark) -> float | None:
    """Return 1 if the first passage that was read is gold: the precision of a system that always cites [1]."""
    return None if _cited_gold(line, benchmark) is None else float(line.contexts[0] in line.gold)


@line_metric("gold read")
def gold_read(line: QuestionLine, benchmark: Benchmark) -> float | None:
    """Return the share of the gold passages among those that were read."""
    known = line.gold and line.contexts and not benchmark.unanswerable
    return recall_at(line.contexts, line.gold, len(line.contexts)) if known else None


@line_metric("judged")
def passages_judged(line: QuestionLine, _: Benchmark) -> float | None:
    """Return how many passages were judged; None if the ranker gives no probabilities."""
    return float(sum(p is not None for p in line.p_true)) or None


def with_scores(line: QuestionLine, system: System, test_set: TestSet, judged: Judged) -> QuestionLine:
    """Return the line of what happened to a question with all its metrics and its outcome."""
    question, benchmark = judged.question, test_set.benchmark
    ranked = not (system.closed_book or benchmark.unanswerable)
    first = ranking_scores(test_set, judged, line.retrieved) if ranked else {}
    final = ranking_scores(test_set, judged, line.reranked) if ranked and line.reranked != line.retrieved else first
    answered = line.is_answered and not benchmark.unanswerable
    scores = answer_scores(benchmark, line.answer or "", question.answers, question.letters) if answered else {}
    whole = replace(
        line,
        metrics=final | scores,
        first=first,
        reachable=reachable(test_set, judged, line.retrieved) if ranked else None,
        outcome=outcome_of(line, system, test_set, judged, scores),
    )
    return replace(whole, metrics=whole.metrics | line_scores(whole, benchmark))


def line_scores(line: QuestionLine, benchmark: Benchmark) -> dict[str, float]:
    """Return the metrics of this module that a line has, by name."""
    found = ((name, metric(line, benchmark)) for name, metric in LINE_METRICS.items())
    return {name: value for name, value in found if value is not None}


def _cited_gold(line: QuestionLine, benchmark: Benchmark) -> list[bool] | None:
    """Return whether each citation names a gold passage; None if the system does not cite or no gold is known."""
    known = line.cited is not None and line.gold and line.contexts and not benchmark.unanswerable
    return [name in line.gold for name in line.cited_ids] if known else None
