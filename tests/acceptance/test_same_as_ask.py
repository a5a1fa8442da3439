"""rankrag-mini over the example documents: what `evaluate` measures is what `ask` does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from rankrag.evaluation.own_documents import own_documents
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import evaluate
from rankrag.evaluation.systems import System
from rankrag.models.family import MINI
from rankrag.models.prepared import resolve_model
from rankrag.opening import load, open_model
from rankrag.templates import UNANSWERABLE

pytestmark = pytest.mark.acceptance

EXAMPLES = Path(__file__).parents[2] / "examples"
ANSWERABLE, UNANSWERABLE_ONES = 24, 6
CLOSE = 0.001
"""Log-odds by which passages in other places may differ: a model adds in another order in a batch of another size."""


@pytest.fixture(scope="module")
def model():
    # In bfloat16 a question that is answered alone may get another token than in a batch, where two are nearly equal.
    return open_model(resolve_model(MINI), dtype="float32")


@pytest.fixture(scope="module")
def sets():
    """Thirty of the example questions, with all documents."""
    answerable, unanswerable = own_documents(EXAMPLES)
    return [
        replace(answerable, questions=answerable.questions[:ANSWERABLE]),
        replace(unanswerable, questions=unanswerable.questions[:UNANSWERABLE_ONES]),
    ]


def test_evaluate_gives_what_ask_gives(model, sets, tmp_path):
    system = System(name=MINI)
    openers = Openers(lambda name: (model, name))
    evaluation = evaluate(tmp_path, tmp_path / "run", [system], openers, sets=sets)
    (index,) = (tmp_path / "run" / "indexes").iterdir()
    rag = load(index, model=model)
    compared = 0
    for test_set in sets:
        lines = evaluation.lines(test_set.benchmark.name, MINI)
        for line, judged in zip(lines, test_set.questions, strict=True):
            answer = rag.ask(judged.question)
            refused = line.metrics["refused"] == 1.0
            assert line.retrieved == tuple(c.passage.id for c in answer.retrieved)
            scores = {c.passage.id: c.score for c in answer.reranked}
            assert set(line.reranked) == set(scores)
            assert all(scores[a] > scores[b] - CLOSE for a, b in pairwise(line.reranked))
            assert line.contexts == tuple(c.passage.id for c in answer.contexts)
            assert refused == answer.abstained
            assert (UNANSWERABLE if refused else line.answer) == answer.text
            assert line.cited == tuple(citation.context for citation in answer.citations)
            compared += 1
    assert compared == ANSWERABLE + UNANSWERABLE_ONES
