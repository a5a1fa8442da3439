"""The real rankrag-small, where its base is on this machine: it ranks, answers and has the contract of its package."""

from __future__ import annotations

import os

import pytest

from rankrag.data.files import cache_dir
from rankrag.generate import answer_many
from rankrag.models.family import base_of
from rankrag.models.prepared import is_prepared, prepare_model
from rankrag.models.transformers import TransformersModel
from rankrag.rerank import judge
from rankrag.types import Passage, Question

pytestmark = [pytest.mark.small, pytest.mark.slow]

PASSAGES = (
    Passage("tagus", "The Tagus rises in Spain, flows west for 1,007 km and reaches the Atlantic near Lisbon."),
    Passage("bread", "A sourdough is fed with flour and water every day, and the loaf is baked at 230 degrees."),
    Passage("elbe", "The Elbe rises in the Giant Mountains and flows into the North Sea at Cuxhaven."),
)


@pytest.fixture(scope="module")
def small():
    base = base_of("rankrag-small")
    at_hand = os.environ.get("RANKRAG_BASES") or (cache_dir() / base.file).is_file()
    if not (is_prepared("rankrag-small") or at_hand):
        pytest.skip(f"the base of rankrag-small is not here: rankrag models --add {base.file}")
    return TransformersModel(prepare_model("rankrag-small", print), device="cpu")


def test_the_passage_that_answers_scores_highest(small):
    question = Question("q", "Near which city does the Tagus reach the Atlantic?")
    odds = [j.log_odds for j in judge(small, [(question, passage) for passage in PASSAGES])]
    assert odds.index(max(odds)) == 0


def test_it_reads_the_answer_off_its_passages(small):
    (reply,) = answer_many(small, [(Question("q", "How long is the Tagus?"), PASSAGES)])
    assert "1,007" in reply


def test_its_contract_is_its_packages(small):
    assert small.contract.base_sha256 == base_of("rankrag-small").sha256
