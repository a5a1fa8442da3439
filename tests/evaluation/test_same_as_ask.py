"""What is measured is what is shipped: the same questions through `RankRAG.ask` and through `evaluate`."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest

from rankrag.config.answering import AskConfig
from rankrag.contract import Contract, load_contract, save_contract
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.files import write_rows
from rankrag.data.load import load_set
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import Settings, evaluate
from rankrag.evaluation.systems import System
from rankrag.opening import load, open_model
from rankrag.templates import UNANSWERABLE
from tests.data.own_sets import PASSAGES, passage_rows
from tests.evaluation.conftest import golden
from tests.stub_encoder import StubEncoder

INDEXES = {"squad": "squad", "squad2_unanswerable": "squad", "doc2dial": "doc2dial"}
"""Sets, each with the name of its index in a run."""

FITTED = {
    "abstain_below": 0.0,
    "similarity_weight": 4.0,
    "similarity_encoder": "stub@1",
    "settled_from": 1.0,
    "history_query": "both",
    "k": 2,
}


class WordEncoder(StubEncoder):
    """Every word is a direction of its own, so that no two passages are equally near."""

    def encode_queries(self, texts):
        rows = [sum(self._word(word) for word in text.lower().split()) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def _word(self, word):
        return np.frombuffer(hashlib.sha256(word.encode()).digest(), np.uint8) / 128.0 - 1.0


@pytest.fixture
def encoder():
    return WordEncoder()


@pytest.fixture(scope="module")
def tiny(tiny_model_dir, tmp_path_factory):
    """A tiny random model with a contract that was fitted in every respect."""
    folder = shutil.copytree(tiny_model_dir, tmp_path_factory.mktemp("fitted") / "model")
    save_contract(replace(load_contract(folder) or Contract(), **FITTED), folder)
    return open_model(str(folder), device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run folder: its indexes are made once."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture
def same(data, run, encoder):
    """Ask the questions of all sets both ways and compare everything that comes of them."""

    def check(model, system, **asked):
        openers = Openers(lambda name: (model, name), lambda _: encoder)
        evaluation = evaluate(data, run, [system], openers, Settings(sample=0), sets=list(INDEXES))
        lines = {(name, line.id): line for name in INDEXES for line in evaluation.lines(name, system.name)}
        for name, index in INDEXES.items():
            rag = load(run / "indexes" / index, AskConfig(**asked), model=model, encoder=encoder)
            for judged in load_set(BENCHMARKS[name], data).questions:
                compare(lines[name, judged.question.id], rag.ask(judged.question))
        return lines

    return check


def compare(line, answer):
    assert line.retrieved == tuple(c.passage.id for c in answer.retrieved)
    assert line.reranked == tuple(c.passage.id for c in answer.reranked)
    assert line.contexts == tuple(c.passage.id for c in answer.contexts)
    probabilities = {i: p for i, p in zip(line.reranked, line.p_true, strict=True) if p is not None}
    assert probabilities == pytest.approx(answer.relevance, abs=1e-4)
    refused = line.metrics["refused"] == 1.0
    assert refused == answer.abstained
    assert (UNANSWERABLE if refused else line.answer) == answer.text
    assert line.cited == tuple(citation.context for citation in answer.citations)


def test_the_default_system_is_what_ask_does_by_default(same, tiny):
    same(tiny, System(name="shipped", model="m"))


def test_answers_are_withheld_and_cited_as_ask_does(same):
    contract = {**FITTED, "similarity_weight": 0.0, "similarity_encoder": ""}
    lines = same(golden(**contract), System(name="shipped", model="golden", retriever="bm25"), retriever="bm25")
    assert {line.withheld for line in lines.values()} == {True, False}
    assert any(line.cited for line in lines.values())


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ({"retriever": "bm25"}, {"retriever": "bm25"}),
        ({"n": 3, "k": 1, "retriever": "dense"}, {"n": 3, "k": 1, "retriever": "dense"}),
        ({"history_query": "last"}, {"history_query": "last"}),
        ({"settled_from": "fitted"}, {"settled_from": "fitted"}),
        ({"settled_from": -2.0, "k": 1}, {"settled_from": -2.0, "k": 1}),
        ({"ranker": "none"}, {"rerank": False}),
    ],
)
def test_the_same_settings_give_the_same_answers(same, tiny, values, asked):
    same(tiny, System(name="set", model="m", **values), **asked)


FILMS = (
    {"id": "s/film/0", "title": "Casablanca", "text": "Casablanca is a film directed by Michael Curtiz."},
    {"id": "s/man/0", "title": "Michael Curtiz", "text": "Michael Curtiz was born in Budapest, a golden town."},
)


@pytest.mark.parametrize("values", [{"rounds": 2}, {"rounds": "auto"}, {"rounds": 2, "retriever": "bm25", "n": 3}])
def test_two_rounds_find_the_same_passages_in_both(same, tiny, data, values):
    rows = passage_rows(PASSAGES) + list(FILMS)
    write_rows(data / "squad/squad.corpus.jsonl.zst", rows)
    asked = ("Where was the director of Casablanca born?", "Who directed Casablanca?", "tagus river", "nothing of it")
    questions = [
        {"id": f"q{i}", "question": text, "answers": ["golden"], "positive_ids": ["s/man/0"]}
        for i, text in enumerate(asked)
    ]
    write_rows(data / "squad/squad.dev.jsonl.zst", questions)
    values = {"n": 1, "k": 1, "history_query": "last"} | values
    lines = same(tiny, System(name="rounds", model="m", **values), **values)
    first = lines["squad", "q0"]
    assert first.retrieved[:2] == ("s/film/0", "s/man/0")
    if values["rounds"] == "auto":
        assert len(lines["squad", "q1"].retrieved) == 1
