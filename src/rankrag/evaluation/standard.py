"""The built-in systems of `rankrag evaluate`: the shipped pipeline, and what each of its steps is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankrag.config.evaluation import ComparisonConfig
from rankrag.contract import HistoryQuery
from rankrag.data.sets import Judged, TestSet
from rankrag.evaluation.systems import NOTHING, System

BOUNDS = (4.0, 3.0, 2.0, 1.0, 0.0)
"""Log-odds at which judging may stop: P(True) of 0.98, 0.95, 0.88, 0.73 and 0.5."""

FIRST_STAGE_N = 20
"""Passages of a first stage that are kept in its lines, enough for each of their metrics."""

ALL_RETRIEVERS = ("bm25", "dense", "hybrid")

OTHERS = 4
"""Passages beside the gold one in "five": the paper's lists hold five."""

_TURNS: dict[HistoryQuery, str] = {"last": "", "all": ", all turns", "both": ", last and all turns"}


def standard_systems(wanted: ComparisonConfig) -> tuple[System, ...]:
    """Return the built-in systems of a run; without a model ("none"), the first stages.

    The first system is what `rankrag ask` does: hybrid retrieval (the first of the run's retrievers, if hybrid is not
    among them), reranked as fitted, withheld below the threshold.
    """
    retrievers, model = wanted.retrievers or ALL_RETRIEVERS, wanted.model
    if model == NOTHING:
        return first_stages(retrievers)
    best = "hybrid" if "hybrid" in retrievers else retrievers[0]
    name = Path(model).name if Path(model).is_dir() else model
    shipped = System.model_validate({"name": name, "model": model, "retriever": best, "n": wanted.n, "k": wanted.k})
    answers = shipped.changed(name="never withholds", abstain=False)
    plain = answers.changed(name="not reranked", ranker=NOTHING, against=answers.name)
    return (
        shipped,
        answers,
        plain,
        *_orders(answers, retrievers),
        *_reading(answers),
        *_stopping(answers),
        *first_stages(retrievers),
    )


def first_stages(retrievers: Sequence[str]) -> tuple[System, ...]:
    """Return each retriever alone, for conversations searched by the last turn, by all turns, and by both."""
    alone = {"model": NOTHING, "ranker": NOTHING, "n": FIRST_STAGE_N, "abstain": False, "role": "first stage"}
    return tuple(
        System.model_validate(
            {**alone, "name": f"{retriever} alone{words}", "retriever": retriever, "history_query": turns}
        )
        for retriever in retrievers
        for turns, words in _TURNS.items()
    )


def _orders(answers: System, retrievers: Sequence[str]) -> list[System]:
    """Return the systems that only rank: by the model alone, and over BM25."""
    ranks = answers.changed(name="P(True) alone", model=NOTHING, ranker=f"model:{answers.model}", role="order")
    pure = [ranks.changed(similarity=False)]
    if answers.retriever == "bm25" or "bm25" not in retrievers:
        return pure
    over = ranks.changed(name="bm25, reranked", retriever="bm25")
    return [*pure, over, over.changed(name="bm25, P(True) alone", similarity=False)]


def _reading(answers: System) -> list[System]:
    """Return the systems that are given the gold passage: alone, and among four others, ranked or shuffled."""
    five = OTHERS + 1
    values = {"retriever": "five", "n": five, "role": "reading"}
    best = answers.changed(name="best of five", k=None if answers.k is None else min(answers.k, five), **values)
    return [
        answers.changed(name="gold passage", retriever="gold", ranker=NOTHING, n=1, k=1, role="reading"),
        best,
        answers.changed(name="all five", ranker=NOTHING, **{**values, "k": five}),
    ]


def _stopping(answers: System) -> list[System]:
    """Return the systems that judge five passages at a time, until the k-th best reaches a bound."""
    full = answers.changed(name="judges all", role="stopping", against=answers.name)
    return [full, *(full.changed(name=f"stops at {bound:g}", settled_from=bound) for bound in BOUNDS)]


def takes_part(system: System, test_set: TestSet, questions: Sequence[Judged], systems: Sequence[System]) -> bool:
    """Whether a system has anything to show on a set. Systems that are compared always have.

    If a set brings its only ranking, every retriever gives the same, and only the first system of a kind is kept.
    """
    benchmark, role = test_set.benchmark, system.role
    if role == "compared":
        return True
    if benchmark.unanswerable or (benchmark.metric is None and role != "reading"):
        return False
    if role == "reading":
        return benchmark.reading
    if role == "stopping":
        return all(judged.gold for judged in questions) and not benchmark.evidence
    if role == "first stage" and benchmark.style != "conversation" and system.history_query != "last":
        return False
    alike = [one.model_copy(update=_MADE_BY_RETRIEVER) for one in systems[: systems.index(system) + 1]]
    return not test_set.fixed or alike[-1] not in alike[:-1]


_MADE_BY_RETRIEVER = {"retriever": "bm25", "name": "", "encoder": None, "history_query": None}
"""What may differ between systems that are the same on a set with its only ranking."""
