from __future__ import annotations

import numpy as np
import pytest

from rankrag.retrieval import nearness as module
from rankrag.retrieval.nearness import Nearness
from rankrag.types import Passage

TAGUS, EBRO = Passage("t", "the tagus in lisbon"), Passage("e", "the ebro", title="Rivers")


def cosine(encoder, query, passage):
    (q,), (p,) = encoder.encode_queries([query]), encoder.encode_passages([passage])
    return float(q @ p / np.linalg.norm(q) / np.linalg.norm(p))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_each_question_gets_the_cosines_of_its_own_passages(new_encoder, similarity):
    encoder = new_encoder(similarity=similarity)
    found = Nearness(encoder).cosines([(("tagus",), (TAGUS, EBRO)), (("ebro",), (EBRO,)), (("x",), ())])
    assert found[0] == pytest.approx([cosine(encoder, "tagus", TAGUS), cosine(encoder, "tagus", EBRO)], abs=1e-6)
    assert found[1] == pytest.approx([cosine(encoder, "ebro", EBRO)], abs=1e-6)
    assert found[2] == []
    assert Nearness(encoder).cosines([]) == []


def test_of_several_queries_the_mean_counts_and_the_weight_multiplies(encoder):
    added = Nearness(encoder, 10.0).added(("tagus", "lisbon town"), (TAGUS,))
    assert added == pytest.approx([5 * (cosine(encoder, "tagus", TAGUS) + cosine(encoder, "lisbon town", TAGUS))])


def test_a_passage_is_encoded_once_while_it_is_kept(encoder, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 1)
    nearness = Nearness(encoder)
    nearness.added(("a",), (TAGUS, TAGUS))
    nearness.added(("b",), (TAGUS,))
    assert encoder.encoded == ["the tagus in lisbon"]
    nearness.added(("b",), (TAGUS, EBRO))  # more than are kept: those that were wanted longest ago go
    nearness.added(("b",), (EBRO,))
    assert encoder.encoded == ["the tagus in lisbon", "Rivers\nthe ebro"]
    nearness.added(("b",), (TAGUS,))
    assert encoder.encoded == ["the tagus in lisbon", "Rivers\nthe ebro", "the tagus in lisbon"]


def test_vectors_that_are_known_are_not_made(encoder):
    (vector,) = encoder.encode_queries(["the tagus in lisbon"])
    asked = []

    def known(passages):
        asked.append([p.id for p in passages])
        return {"the tagus in lisbon": 2 * vector}

    nearness = Nearness(encoder, 1.0, known)
    found = nearness.added(("tagus",), (TAGUS, EBRO))
    assert (asked, encoder.encoded) == ([["t", "e"]], ["Rivers\nthe ebro"])
    assert found == pytest.approx(Nearness(encoder).added(("tagus",), (TAGUS, EBRO)), abs=1e-6)
    nearness.added(("ebro",), (TAGUS, EBRO))
    assert asked == [["t", "e"]]
