from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankrag.contract import Contract
from rankrag.errors import ConfigError
from rankrag.fewer_passes import (
    BLOCK,
    NEVER,
    bound_of,
    judge_until_settled,
    named_in,
    rerank_in_windows,
    settled,
)
from rankrag.models.fake import FakeLanguageModel
from rankrag.pipeline import RankRAG
from rankrag.rerank import decide, judge
from rankrag.types import Passage, Question, ScoredPassage

QUESTION = Question("q", "Which river?")
SURE = math.log(0.9 / 0.1)


def ids(ranking):
    return [c.passage.id for c in ranking]


def ranking(*texts):
    return tuple(ScoredPassage(Passage(f"p{i}", text), float(-i)) for i, text in enumerate(texts))


def until(model, retrieved, **options):
    return judge_until_settled(model, QUESTION, retrieved, **{"k": 1, "bound": 0.0} | options)


def test_judging_stops_after_the_block_that_settles_the_top_k():
    model = FakeLanguageModel(yes_if="tagus")
    found = until(model, ranking(*["ebro"] * 6, "tagus", *["ebro"] * 20))
    assert len(found) == len(model.prompts) == 2 * BLOCK


def test_judging_goes_on_until_k_passages_reach_the_bound():
    retrieved = ranking("tagus", *["ebro"] * 11, "tagus", *["ebro"] * 20)
    assert len(until(FakeLanguageModel(yes_if="tagus"), retrieved, k=2)) == 3 * BLOCK


def test_a_bound_that_nothing_reaches_judges_all():
    assert len(until(FakeLanguageModel(), ranking(*["ebro"] * 13), bound=100.0)) == 13


def test_the_top_is_settled_once_its_last_log_odds_reach_the_bound():
    assert settled([0.0, SURE], 1, SURE)
    assert not settled([0.0, SURE], 2, SURE)
    assert not settled([SURE], 2, SURE)


@given(st.lists(st.sampled_from(["tagus", "ebro"]), max_size=17))
def test_an_infinite_bound_is_the_exact_order(texts):
    retrieved, model = ranking(*texts), FakeLanguageModel(yes_if="tagus")
    judged = until(model, retrieved, bound=NEVER)
    exact = judge(model, [(QUESTION, c.passage) for c in retrieved])
    assert judged == exact
    assert decide(retrieved, judged, model.contract, 1) == decide(retrieved, exact, model.contract, 1)


def naming(text):
    """Reply with the numbers of the passages of the prompt that hold a text, in the form of the training target."""

    def reply(prompt):
        passages = [segment.text for segment in prompt if segment.kind == "passage"]
        return ", ".join(f"Passage {i}" for i, passage in enumerate(passages, 1) if text in passage)

    return reply


def test_passages_that_a_window_names_come_first_in_the_retrievers_order():
    model = FakeLanguageModel(reply=naming("tagus"))
    retrieved = ranking("ebro", "tagus", "ebro", "ebro", "ebro", "ebro", "tagus")
    found = rerank_in_windows(model, QUESTION, retrieved)
    assert ids(found) == ["p1", "p6", "p0", "p2", "p3", "p4", "p5"]
    assert [c.score for c in found] == [1.0, 1.0, *[0.0] * 5]
    assert len(model.prompts) == 2


@given(st.lists(st.sampled_from(["tagus", "ebro"]), max_size=17))
def test_windows_of_five_lose_and_double_nothing(texts):
    model, retrieved = FakeLanguageModel(reply=naming("tagus")), ranking(*texts)
    found = rerank_in_windows(model, QUESTION, retrieved)
    assert sorted(ids(found)) == sorted(ids(retrieved))
    assert len(model.prompts) == math.ceil(len(texts) / 5)


@pytest.mark.parametrize("reply", ["none of them", "", "Passage 9, Passage 0"])
def test_a_reply_that_names_no_passage_of_the_window_moves_nothing(reply):
    retrieved = ranking("a", "b", "c")
    assert ids(rerank_in_windows(FakeLanguageModel(reply=reply), QUESTION, retrieved)) == ["p0", "p1", "p2"]


@pytest.mark.parametrize(("reply", "numbers"), [("Passage 1, Passage 3", {1, 3}), ("2, 5", {2, 5}), ("Sorry.", set())])
def test_a_reply_is_read_by_its_numbers(reply, numbers):
    assert named_in(reply) == numbers


class Retrieving:
    def __init__(self, *texts):
        self.found = ranking(*texts)

    def retrieve(self, queries, k):
        return [self.found[:k] for _ in queries]


RIVERS = Retrieving("ebro", "tagus", *["ebro"] * 8)


def test_the_pipeline_judges_no_more_than_settles_its_k():
    model = FakeLanguageModel(yes_if="tagus", reply="The Tagus.")
    answer = RankRAG(RIVERS, model, n=10, k=1, settled_from=0.0).ask("Which?")
    assert (answer.reranked[0].passage.id, len(answer.reranked), len(answer.relevance)) == ("p1", 10, BLOCK)
    assert not answer.abstained


def test_the_pipeline_reranks_in_windows():
    model = FakeLanguageModel(reply=naming("tagus"))
    answer = RankRAG(RIVERS, model, n=10, k=2, reranker="windows").ask("Which?")
    assert (ids(answer.contexts), answer.relevance) == (["p1", "p0"], {})


def test_the_fitted_bound_is_the_contract_s():
    model = FakeLanguageModel(yes_if="tagus", contract=Contract(settled_from=0.0))
    assert len(RankRAG(RIVERS, model, n=10, k=1, settled_from="fitted").ask("Which?").relevance) == BLOCK
    assert bound_of(model.contract, "fitted") == 0.0
    assert bound_of(model.contract, 2.0) == 2.0


def test_a_bound_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="no bound was fitted"):
        RankRAG(RIVERS, FakeLanguageModel(), settled_from="fitted")
    with pytest.raises(ConfigError, match="settled_from='3'"):
        RankRAG(RIVERS, FakeLanguageModel(), settled_from="3")
    with pytest.raises(ConfigError, match="settled_from=nan"):
        RankRAG(RIVERS, FakeLanguageModel(), settled_from=math.nan)
