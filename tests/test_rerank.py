from __future__ import annotations

import gc
import math
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankrag.contract import Contract
from rankrag.errors import ConfigError, ModelError
from rankrag.models.fake import FakeLanguageModel
from rankrag.models.parallel import ParallelModel
from rankrag.models.transformers import TransformersModel
from rankrag.rerank import (
    AT_ONCE,
    BLOCK,
    NEVER,
    Judgement,
    bound_of,
    decide,
    judge,
    judge_all,
    judge_until_settled,
    probability,
    settled,
    settled_after,
)
from rankrag.types import Passage, Question, ScoredPassage, Segment

QUESTION = Question("q", "Which river?")
LOG_ODDS = st.integers(-3, 3).map(float)
JUDGEMENTS = st.lists(st.builds(Judgement, LOG_ODDS, st.floats(0, 1), LOG_ODDS, st.booleans()), max_size=12)


def ids(found):
    return [c.passage.id for c in found]


def rerank(model, question, candidates):
    (judged,) = judge_all(model, [(question, candidates)])
    return decide(candidates, judged, model.contract, 1).ranking


def ranking(*texts):
    return tuple(ScoredPassage(Passage(f"p{i}", text), float(-i)) for i, text in enumerate(texts))


def test_the_passage_the_model_finds_relevant_comes_first(ranking_of):
    assert ids(rerank(FakeLanguageModel(yes_if="tagus"), QUESTION, ranking_of("Ebro", "Tagus"))) == ["p1", "p0"]


def test_ties_keep_the_retrievers_order(ranking_of):
    assert ids(rerank(FakeLanguageModel(yes_if="nothing here"), QUESTION, ranking_of("a", "b"))) == ["p0", "p1"]


def test_a_score_that_is_not_a_number_is_an_error_that_names_the_pair(ranking_of):
    class Broken(FakeLanguageModel):
        def choice_logprobs(self, prompts, choices):
            return [[-1.0, -2.0], [math.nan, math.nan]][: len(prompts)]

    with pytest.raises(ModelError, match=r"question 'q', passage 'p1': the model's score is not a number"):
        rerank(Broken(), QUESTION, ranking_of("a", "b"))


def test_no_candidates_give_an_empty_ranking():
    assert rerank(FakeLanguageModel(), QUESTION, ()) == ()


def test_a_score_is_the_log_odds_of_the_labels(ranking_of):
    (judged,) = judge(FakeLanguageModel(yes_if="a", sure=0.8), [(QUESTION, ranking_of("a")[0].passage)])
    assert judged.log_odds == pytest.approx(1.3862944)
    assert judged.probability == pytest.approx(0.8)


def test_a_judgement_says_where_only_the_beginning_of_a_passage_was_read(tiny_model_dir, ranking_of):
    model = TransformersModel(tiny_model_dir, device="cpu", dtype="float32")
    long, short = ranking_of("word " * 600, "word")
    pairs = [(QUESTION, long.passage), (QUESTION, short.passage)]
    for one in (model, ParallelModel([model])):
        assert [j.truncated for j in judge(one, pairs)] == [True, False]
    assert [j.truncated for j in judge(FakeLanguageModel(), pairs)] == [False, False]


@given(JUDGEMENTS, st.integers(0, 4))
def test_each_candidate_appears_once_and_scores_fall(judgements, unjudged):
    candidates = ranking(*["x"] * (len(judgements) + unjudged))
    found = decide(candidates, judgements, Contract(), 1).ranking
    assert sorted(ids(found)) == sorted(ids(candidates))
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert ids(found)[len(judgements) :] == ids(candidates)[len(judgements) :]


def test_the_encoders_share_counts_in_the_order(ranking_of):
    judged = [Judgement(1.0, 0.5), Judgement(0.5, 0.5, added=0.75), Judgement(0.0, 0.5)]
    found = decide(ranking_of("Ebro", "Duero", "Tagus"), judged, Contract(), 1).ranking
    assert [(c.passage.id, c.score) for c in found] == [("p1", 1.25), ("p0", 1.0), ("p2", 0.0)]


def test_ten_thousand_candidates_take_no_more_prompts_at_a_time_than_a_few_hundred():
    class Counting(FakeLanguageModel):
        alive: ClassVar[list[int]] = []

        def choice_logprobs(self, prompts, choices):
            rows = super().choice_logprobs(prompts, choices)
            self.prompts.clear()
            segments = [thing for thing in gc.get_objects() if type(thing) is Segment]
            self.alive.append(sum(segment.kind == "passage" for segment in segments))
            return rows

    model = Counting(yes_if="the Tagus")
    candidates = tuple(ScoredPassage(Passage(str(i), f"hill {i}"), -float(i)) for i in range(9_999))
    reranked = rerank(model, Question("q", "why?"), (*candidates, ScoredPassage(Passage("t", "the Tagus"), -1e5)))
    assert len(reranked) == 10_000
    assert reranked[0].passage.id == "t"
    assert max(model.alive) <= 2 * AT_ONCE


def decision_step_by_step(candidates, judgements, threshold, k):
    """The same decision written slowly: take the best judged candidate, again and again, then the others."""
    left = list(enumerate(judgements))
    order = []
    while left:
        best = left[0]
        for place, judgement in left:
            if judgement.log_odds + judgement.added > best[1].log_odds + best[1].added:
                best = (place, judgement)
        left.remove(best)
        order.append(candidates[best[0]].passage.id)
    order += [c.passage.id for c in candidates[len(judgements) :]]
    withheld = len(candidates) == 0
    if judgements and threshold is not None:
        withheld = all(judgement.log_odds < threshold for judgement in judgements)
    return order, order[:k], withheld


@given(JUDGEMENTS, st.integers(0, 4), st.none() | LOG_ODDS, st.integers(1, 14))
def test_a_decision_is_the_one_made_step_by_step(judgements, unjudged, threshold, k):
    count = len(judgements) + unjudged
    candidates = tuple(ScoredPassage(Passage(f"p{i}", "x"), -float(i)) for i in range(count))
    order, contexts, withheld = decision_step_by_step(candidates, judgements, threshold, k)
    found = decide(candidates, judgements, Contract(abstain_below=threshold), k)
    scores = [c.score for c in found.ranking]
    assert ids(found.ranking) == order
    assert ids(found.contexts) == contexts
    assert found.withheld == withheld
    assert found.relevance == {f"p{i}": j.probability for i, j in enumerate(judgements)}
    assert found.truncated == {f"p{i}" for i, j in enumerate(judgements) if j.truncated}
    assert scores == sorted(scores, reverse=True)


def test_without_judgements_the_retrievers_order_and_scores_stay(ranking_of):
    found = decide(ranking_of("Ebro", "Tagus"), (), Contract(abstain_below=9.0), 1)
    assert found.ranking == ranking_of("Ebro", "Tagus")
    assert not found.withheld


def test_the_encoders_share_moves_passages_but_never_the_threshold(ranking_of):
    judged = [Judgement(1.0, 0.7, added=0.0), Judgement(0.0, 0.5, added=5.0)]
    found = decide(ranking_of("Ebro", "Tagus"), judged, Contract(abstain_below=2.0), 1)
    assert ids(found.contexts) == ["p1"]
    assert found.withheld


SURE = math.log(0.9 / 0.1)


def until(model, retrieved, bound=0.0):
    return judge_until_settled(model, QUESTION, retrieved, bound)


def test_judging_stops_after_the_block_that_settles_it():
    model = FakeLanguageModel(yes_if="tagus")
    found = until(model, ranking(*["ebro"] * 6, "tagus", *["ebro"] * 20))
    assert len(found) == len(model.prompts) == 2 * BLOCK


def test_a_bound_that_nothing_reaches_judges_all():
    assert len(until(FakeLanguageModel(), ranking(*["ebro"] * 13), bound=100.0)) == 13


def test_one_passage_that_reaches_the_bound_settles_a_question():
    assert settled([0.0, SURE], SURE)
    assert not settled([0.0, SURE - 0.01], SURE)
    assert not settled([], SURE)


@given(st.lists(st.sampled_from(["tagus", "ebro"]), max_size=17))
def test_an_infinite_bound_judges_all(texts):
    retrieved, model = ranking(*texts), FakeLanguageModel(yes_if="tagus")
    assert until(model, retrieved, bound=NEVER) == judge(model, [(QUESTION, c.passage) for c in retrieved])


@given(st.lists(st.sampled_from(["tagus", "ebro"]), max_size=17), st.sampled_from([-9.0, 0.0, 9.0]))
def test_the_number_of_judged_passages_is_known_from_their_log_odds(texts, bound):
    retrieved, model = ranking(*texts), FakeLanguageModel(yes_if="tagus")
    log_odds = [j.log_odds for j in until(model, retrieved, bound=NEVER)]
    assert settled_after(log_odds, bound) == len(until(model, retrieved, bound=bound))


def test_the_fitted_bound_is_the_contracts():
    assert bound_of(Contract(settled_from=0.5, k=3), "fitted", 3) == 0.5
    assert bound_of(Contract(settled_from=0.5, k=3), 2.0, 3) == 2.0


@pytest.mark.parametrize(
    ("contract", "bound"),
    [
        (Contract(settled_from=0.5, k=3), None),
        (Contract(settled_from=0.5, k=1), "fitted"),
        (Contract(k=3), "fitted"),
        (Contract(k=3), math.inf),
    ],
)
def test_all_are_judged_where_no_bound_was_fitted_to_this_k(contract, bound):
    assert bound_of(contract, bound, 3) == NEVER


@pytest.mark.parametrize(("bound", "said"), [("3", "settled_from='3'"), (math.nan, "settled_from=nan")])
def test_a_bound_that_is_no_number_is_refused(bound, said):
    with pytest.raises(ConfigError, match=said):
        bound_of(Contract(), bound, 1)


def test_the_papers_score_is_the_probability_over_the_whole_vocabulary():
    assert probability("true", math.log(0.2), math.log(0.1)) == pytest.approx(0.2)


def test_true_vs_false_compares_the_two_labels_alone():
    assert probability("true_vs_false", math.log(0.2), math.log(0.1)) == pytest.approx(2 / 3)


def test_a_hopeless_passage_has_probability_zero():
    assert probability("true_vs_false", -5000.0, 0.0) == pytest.approx(0.0)
