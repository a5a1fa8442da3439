"""What the commands do with workers that hold a model without weights."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

import rankrag.cluster.model
from rankrag.cluster.documents import ClusterEncoder, IndexingCluster
from rankrag.cluster.model import ClusterModel, cluster_opener
from rankrag.documents.loading import load_documents
from rankrag.documents.workers import passages_in
from rankrag.errors import ConfigError, ModelError
from rankrag.models import SamplingParams
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..cli.conftest import index, model  # noqa: F401
from ..stub_encoder import StubEncoder


def test_questions_are_answered_by_workers(ray, run, index, model, tmp_path):  # noqa: F811
    questions, here, there = (tmp_path / name for name in ("questions.jsonl", "here.jsonl", "there.jsonl"))
    rows = [{"id": str(n), "question": f"Which river is long, {n}?"} for n in range(9)]
    questions.write_text("\n".join(map(json.dumps, rows)))
    asked = ("ask", "--questions", questions, "--index", index, "--retriever", "bm25")
    assert run(*asked, "--out", here) == 0
    assert run(*asked, "--out", there, "--set", "ray=auto") == 0
    found = [[json.loads(line) for line in path.read_text().splitlines()] for path in (here, there)]
    assert [row["id"] for row in found[1]] == [row["id"] for row in rows]
    for row in (*found[0], *found[1]):
        del row["timings"]
    assert found[0] == found[1]


def test_a_run_is_reranked_by_workers(ray, run, model, tmp_path):  # noqa: F811
    file, here, there = (tmp_path / name for name in ("candidates.jsonl", "here.jsonl", "there.jsonl"))
    rows = [{"id": str(n), "query": f"Which, {n}?", "candidates": ["a hill", "the Tagus"]} for n in range(40)]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert run("rerank", "--candidates", file, "--out", here) == 0
    assert run("rerank", "--candidates", file, "--out", there, "--ray", "auto") == 0
    assert there.read_bytes() == here.read_bytes()


@pytest.fixture
def opened(ray, model, monkeypatch) -> ClusterModel:  # noqa: F811
    monkeypatch.setattr(rankrag.cluster.model, "open_model", lambda *_, **__: model)
    return cluster_opener("auto", say=lambda _: None, device="cpu")("tiny")


def test_a_model_on_a_cluster_gives_what_the_model_gives(opened, model):  # noqa: F811
    assert opened.contract == model.contract
    assert (opened.info.calls_at_once, opened.info.states) == (2, None)
    prompts = [ranking_prompt(model.contract.format, Question("q", "?"), Passage("p", t)) for t in ("a", "the Tagus")]
    encoded, sampling = opened.encode(prompts), SamplingParams()
    assert encoded == model.encode(prompts)
    assert opened.choice_logprobs(encoded, ["True", "False"]) == model.choice_logprobs(encoded, ["True", "False"])
    assert opened.generate(encoded, sampling) == ["Tagus", "Tagus"]
    assert list(opened.stream(encoded[0], sampling)) == ["Tagus"]


def test_auto_is_no_model_for_a_cluster(opened):
    with pytest.raises(ConfigError, match="the nodes of a cluster may choose different models"):
        cluster_opener("auto", say=lambda _: None)("auto")


def test_passages_are_encoded_in_the_batches_of_one_process(ray, monkeypatch):
    calls = []

    class Counting(StubEncoder):
        def encode_passages(self, passages):
            calls.append(len(passages))
            return super().encode_passages(passages)

    monkeypatch.setattr("rankrag.cluster.documents.Encoder", lambda _: Counting())
    found: ClusterEncoder = IndexingCluster("auto", lambda _: None).encoder(None)
    assert (found.name, found.similarity) == (StubEncoder().name, StubEncoder().similarity)
    assert found.at_once == 64 * 4 * 2
    passages = [Passage(str(n), f"word{n}") for n in range(150)]
    assert (found.encode_passages(passages) == StubEncoder().encode_passages(passages)).all()
    assert sorted(calls) == [22, 64, 64]


def test_documents_are_read_by_workers_and_must_be_on_their_node(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("rankrag.cluster.documents.Readers", lambda _: partial(passages_in, ocr=False))  # no processes
    files = [tmp_path / f"{name}.md" for name in "abc"]
    for file in files:
        file.write_text(f"# {file.stem}\n\nSome words.\n")
    cluster = IndexingCluster("auto", lambda _: None)
    found = list(load_documents(files, {}, cluster.reading(ocr=False)))
    assert [Path(one.path).stem for one in found] == ["a", "b", "c"]
    assert all(one.passages for one in found)
    readers = cluster.reading(ocr=False).elsewhere
    assert readers
    with pytest.raises(ModelError, match=r"worker on .*none.md is not there; documents must be at the same place"):
        readers(tmp_path / "none.md")
