"""The built-in systems of `rankrag evaluate`: the shipped pipeline, and what each of its steps is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


ANSWERS = "never withholds"
"""The system that the others differ from in one thing."""


def standard_systems(wanted: ComparisonConfig) -> tuple[System, ...]:
    """Return the built-in systems of a run; without a model ("none"), the first stages.

    The first system is what `rankrag ask` does: hybrid retrieval (the first of the run's retrievers, if hybrid is not
    among them), reranked as fitted until a passage settles it, withheld below the threshold. The others judge all.
    """
    retrievers, model = wanted.retrievers or ALL_RETRIEVERS, wanted.model
    if model == NOTHING:
        return first_stages(retrievers)
    best = "hybrid" if "hybrid" in retrievers else retrievers[0]
    name = Path(model).name if Path(model).is_dir() else model
    shipped = {"name": name, "model": model, "retriever": best, "n": wanted.n, "k": wanted.k}
    also_bm25 = best != "bm25" and "bm25" in retrievers
    whole = {**shipped, "abstain": False, "settled_from": None}
    others = [whole | one for one in _others(model, wanted.k, also_bm25=also_bm25)]
    return (*map(System.model_validate, [shipped, *others]), *first_stages(retrievers))


def _others(model: str, k: int | None, *, also_bm25: bool) -> list[dict[str, Any]]:
    """Return the other systems with a model: in what each differs from the first one, beside never withholding."""
    ranks = {"model": NOTHING, "ranker": f"model:{model}", "role": "order"}
    five = {"retriever": "five", "n": OTHERS + 1, "role": "reading"}
    stops = {"against": ANSWERS, "role": "stopping"}
    over_bm25 = [
        {"name": "bm25, reranked", **ranks, "retriever": "bm25"},
        {"name": "bm25, P(True) alone", **ranks, "retriever": "bm25", "similarity": False},
    ]
    return [
        {"name": ANSWERS},
        {"name": "not reranked", "ranker": NOTHING, "against": ANSWERS},
        {"name": "P(True) alone", **ranks, "similarity": False},
        *(over_bm25 if also_bm25 else ()),
        {"name": "gold passage", "retriever": "gold", "ranker": NOTHING, "n": 1, "k": 1, "role": "reading"},
        {"name": "best of five", **five, "k": k and min(k, OTHERS + 1)},
        {"name": "all five", **five, "ranker": NOTHING, "k": OTHERS + 1},
        {"name": "judges all", **stops},
        *({"name": f"stops at {bound:g}", **stops, "settled_from": bound} for bound in BOUNDS),
    ]


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
