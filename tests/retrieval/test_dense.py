from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import rankrag.retrieval.dense as dense
from rankrag.retrieval.dense import exact_search, vector_key


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
