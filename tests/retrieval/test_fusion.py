from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankrag.retrieval.fusion import DEPTH, HybridRetriever, fuse, fuse_by_rank, search
from rankrag.types import Passage, ScoredPassage


def ranking(*names):
    return tuple(ScoredPassage(Passage(name, name), float(-i)) for i, name in enumerate(names))


class Fixed:
    def __init__(self, *names):
        self.names = names
        self.asked = []

    def retrieve(self, queries, k):
        self.asked.append(k)
        return [ranking(*self.names)[:k] for _ in queries]


def scored(**scores):
    return tuple(ScoredPassage(Passage(name, name), score) for name, score in scores.items())


def scores_of(ranking):
    return {scored.passage.id: scored.score for scored in ranking}


def test_by_rank_a_score_is_the_sum_of_reciprocal_ranks():
    fused = scores_of(fuse_by_rank([ranking("a", "b"), ranking("b")]))
    assert fused == {"a": pytest.approx(1 / 61), "b": pytest.approx(1 / 62 + 1 / 61)}


def test_by_rank_a_passage_that_both_find_comes_first(ids_of):
    assert ids_of(fuse_by_rank([ranking("a", "b"), ranking("c", "b")])) == ["b", "a", "c"]


def test_scores_count_as_shares_of_their_rankings_best():
    fused = scores_of(fuse([scored(a=8.0, b=2.0), scored(b=0.5, c=0.4)]))
    assert fused == {"a": 1, "b": pytest.approx(0.25 + 1), "c": pytest.approx(0.8)}


def test_in_a_full_ranking_shares_are_measured_from_the_passage_where_it_is_cut():
    full = scored(**{f"p{i}": 300.0 - i for i in range(DEPTH + 5)})
    fused = scores_of(fuse([full]))
    assert (fused["p0"], fused["p33"]) == (1, pytest.approx(66 / 99))
    assert [fused[f"p{i}"] for i in range(DEPTH - 1, DEPTH + 5)] == [0] * 6


def test_scores_below_zero_are_measured_from_the_last():
    assert scores_of(fuse([scored(a=1.0, b=-1.0, c=-3.0)])) == {"a": 1, "b": 0.5, "c": 0}


def test_equal_scores_all_count_whole():
    assert scores_of(fuse([scored(a=0.0, b=0.0)])) == {"a": 1, "b": 1}


def test_ties_keep_the_order_of_the_first_ranking(ids_of):
    for join in (fuse, fuse_by_rank):
        assert ids_of(join([ranking("x", "a"), ranking("a", "x")])) == ["x", "a"]
        assert ids_of(join([ranking("x"), ranking("a")])) == ["x", "a"]


def test_one_ranking_keeps_its_order(ids_of):
    assert ids_of(fuse([ranking("c", "a", "b")])) == ["c", "a", "b"]


def test_no_rankings_give_an_empty_one():
    assert fuse([]) == fuse([(), ()]) == ()


@given(st.lists(st.permutations("abcdef"), min_size=1, max_size=4))
def test_fusion_keeps_every_passage_once_best_first(orders):
    fused = fuse([ranking(*order) for order in orders])
    assert sorted(scored.passage.id for scored in fused) == list("abcdef")
    assert [scored.score for scored in fused] == sorted((scored.score for scored in fused), reverse=True)


def test_hybrid_asks_for_long_lists_and_cuts_afterwards(ids_of):
    first, second = Fixed("a", "b", "c"), Fixed("c", "b", "a")
    assert [ids_of(found) for found in HybridRetriever([first, second], depth=50).retrieve(["q", "r"], 1)] == [
        ["a"],
        ["a"],
    ]
    assert first.asked == second.asked == [50]


def test_hybrid_asks_for_k_when_that_is_more():
    first = Fixed("a")
    HybridRetriever([first], depth=5).retrieve(["q"], 9)
    assert first.asked == [9]


def test_hybrid_asks_both_at_once():
    """Each answers only when the other one is asked, too."""
    meeting = threading.Barrier(2, timeout=30)

    class Meeting(Fixed):
        def retrieve(self, queries, k):
            meeting.wait()
            return super().retrieve(queries, k)

    assert len(HybridRetriever([Meeting("a"), Meeting("b")]).retrieve(["q"], 2)[0]) == 2


def test_hybrid_raises_what_either_raises():
    class Failing:
        def retrieve(self, queries, k):
            raise OSError("gone")

    for parts in ([Failing(), Fixed("a")], [Fixed("a"), Failing()]):
        with pytest.raises(OSError, match="gone"):
            HybridRetriever(parts).retrieve(["q"], 2)


class Echo:
    """Finds passages named after the query."""

    def __init__(self, mark):
        self.mark = mark

    def retrieve(self, queries, k):
        return [ranking(*(f"{self.mark}{query}{i}" for i in range(2)), query)[:k] for query in queries]


def test_one_query_a_question_is_the_retrievers_own_ranking():
    assert search(Fixed("a", "b"), [("x",), ("y",)], 1) == [ranking("a"), ranking("a")]


def test_several_queries_of_a_question_are_fused_over_all_retrievers_alike():
    hybrid = HybridRetriever([Echo("l"), Echo("d")])
    talk, single = search(hybrid, [("p", "q"), ("r",)], 6)
    assert (
        talk
        == fuse(
            [ranking(*names) for names in (("lp0", "lp1", "p"), ("lq0", "lq1", "q"), ("dp0", "dp1", "p"))]
            + [ranking("dq0", "dq1", "q")]
        )[:6]
    )
    assert single == hybrid.retrieve(["r"], 6)[0]


def test_several_queries_of_one_retriever_are_fused():
    (found,) = search(Echo("l"), [("p", "q")], 3)
    assert found == fuse([ranking("lp0", "lp1", "p"), ranking("lq0", "lq1", "q")])[:3]
