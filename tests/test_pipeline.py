from __future__ import annotations

import pytest

from rankrag.config.answering import AskConfig
from rankrag.contract import Contract
from rankrag.errors import DataError
from rankrag.generate import answer_many
from rankrag.models import ModelInfo
from rankrag.models.fake import FakeLanguageModel
from rankrag.pipeline import RankRAG, next_turn, search_queries
from rankrag.rerank import BLOCK, Judgement, judge
from rankrag.templates import UNANSWERABLE
from rankrag.types import Answer, Message, Passage, Question, ScoredPassage, StateUse


class FakeRetriever:
    def __init__(self, ranking):
        self.ranking, self.queries = ranking, []

    def retrieve(self, queries, k):
        self.queries += queries
        return [self.ranking[:k] for _ in queries]


@pytest.fixture
def rivers(ranking_of):
    return FakeRetriever(ranking_of("The Ebro.", "The Duero.", "The Tagus.", "The Minho."))


def model(**fields):
    return FakeLanguageModel(yes_if="tagus", reply="The Tagus.", **fields)


def ids(ranking):
    return [c.passage.id for c in ranking]


def test_as_many_passages_are_answered_from_as_the_contract_says_and_are_there(rivers):
    contract = Contract(k=3)
    asked = [AskConfig(n=4), AskConfig(n=2), AskConfig(n=4, k=1)]
    assert [RankRAG(rivers, model(contract=contract), one).depth for one in asked] == [3, 2, 1]
    assert len(RankRAG(rivers, model(contract=contract), AskConfig(n=4)).ask("Which?").contexts) == 3


class FakeFilms:
    """Finds the film for the question and its director for any other query."""

    film = Passage("film", "Casablanca is by Michael Curtiz.", "Casablanca")
    others = (
        Passage("man", "He is the Tagus of film makers.", "Michael Curtiz"),
        *(Passage(f"o{i}", "") for i in range(9)),
    )

    def retrieve(self, queries, k):
        found = [[self.film] if "Casablanca" in query else self.others for query in queries]
        return [tuple(ScoredPassage(passage, 1.0) for passage in one[:k]) for one in found]


WHERE = "Where was the director of Casablanca born?"


@pytest.mark.parametrize("rounds", [2, "auto"])
def test_the_passages_of_both_rounds_are_judged_together(rounds):
    answer = RankRAG(FakeFilms(), model(), AskConfig(n=4, k=1, rounds=rounds)).ask(WHERE)
    assert ids(answer.retrieved) == ["film", "man", "o0", "o1", "o2"]
    assert ids(answer.contexts) == ["man"]
    assert set(answer.relevance) == set(ids(answer.retrieved))
    assert answer.second_round.found == {"man", "o0", "o1", "o2"}
    assert RankRAG(FakeFilms(), model(), AskConfig(n=4, k=1)).ask(WHERE).second_round is None


def test_judging_both_rounds_stops_once_the_top_is_settled():
    answer = RankRAG(FakeFilms(), model(), AskConfig(n=10, k=1, rounds=2, settled_from=0.0)).ask(WHERE)
    assert (len(answer.retrieved), len(answer.relevance)) == (11, BLOCK)
    assert ids(answer.contexts) == ["man"]


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_question_is_refused(rivers, text):
    with pytest.raises(DataError, match="empty"):
        RankRAG(rivers, model()).ask(text)


def test_an_answer_carries_everything_it_came_from(rivers):
    answer = RankRAG(rivers, model(), AskConfig(n=3, k=2)).ask("Which?")
    assert ids(answer.retrieved) == ["p0", "p1", "p2"]
    assert ids(answer.reranked) == ["p2", "p0", "p1"]
    assert ids(answer.contexts) == ["p2", "p0"]
    assert answer.relevance == pytest.approx({"p0": 0.1, "p1": 0.1, "p2": 0.9})
    assert (answer.text, answer.abstained, ids(answer.contexts)[answer.citations[0].context]) == (
        "The Tagus.",
        False,
        "p2",
    )
    assert min(answer.timings.retrieve, answer.timings.rerank, answer.timings.generate) >= 0


def test_without_reranking_the_retrievers_order_stays(rivers):
    answer = RankRAG(rivers, model(), AskConfig(rerank=False)).ask("Which?")
    assert answer.reranked == answer.retrieved
    assert answer.relevance == {}


def test_the_answer_is_withheld_below_the_threshold(rivers):
    answer = RankRAG(rivers, model(contract=Contract(abstain_below=5.0))).ask("Which?")
    assert (answer.text, answer.abstained, answer.citations) == (UNANSWERABLE, True, ())


def test_the_answer_is_given_from_the_threshold_on(rivers):
    assert not RankRAG(rivers, model(contract=Contract(abstain_below=2.0))).ask("Which?").abstained


def test_nothing_retrieved_means_no_answer():
    assert RankRAG(FakeRetriever(()), model()).ask("Which?").abstained


def test_a_refusal_of_the_model_is_an_abstention(rivers):
    answer = RankRAG(rivers, FakeLanguageModel(reply=UNANSWERABLE)).ask("Which?")
    assert (answer.abstained, answer.citations) == (True, ())


def test_an_answer_is_streamed_in_pieces_and_then_whole(rivers):
    *pieces, answer = RankRAG(rivers, model()).stream("Which?")
    assert pieces == ["The", " Tagus."]
    assert isinstance(answer, Answer)
    assert answer.text == "The Tagus."


class FakeNearness:
    """Adds to the last passage what makes up for the model's doubts, and a little to each one before."""

    def __init__(self):
        self.asked = []

    def added(self, queries, passages):
        self.asked.append((queries, [passage.id for passage in passages]))
        return [5.0 if passage.text == "The Minho." else 0.1 for passage in passages]


def test_what_nearness_adds_changes_the_order_but_neither_probability_nor_refusal(rivers):
    contract = Contract(abstain_below=3.0)
    pure = RankRAG(rivers, model(contract=contract), AskConfig(k=1)).ask("W?")
    near = RankRAG(rivers, model(contract=contract), AskConfig(k=1), nearness=FakeNearness()).ask("W?")
    assert (ids(pure.reranked)[0], ids(near.reranked)[:2]) == ("p2", ["p3", "p2"])
    assert near.relevance == pure.relevance
    # the model is sure of one passage by 2.2, which the threshold of 3 withholds; 5 more of another one do not count
    assert (pure.abstained, near.abstained) == (True, True)


def test_nearness_is_asked_what_the_retriever_is_asked_and_only_of_what_was_judged(ranking_of):
    nearness = FakeNearness()
    question = Question("q", "now?", (Message("user", "before"),))
    many = FakeRetriever(ranking_of("The Tagus.", *["The Ebro."] * 9))
    RankRAG(many, model(), AskConfig(n=10, k=1, history_query="last", settled_from=0.0), nearness=nearness).ask(
        question
    )
    assert nearness.asked == [(("now?",), ["p0", "p1", "p2", "p3", "p4"])]
    RankRAG(many, model(), AskConfig(n=2, k=1, history_query="both"), nearness=nearness).ask(question)
    assert nearness.asked[1][0] == ("now?", "before\nnow?")


def test_a_conversation_is_searched_by_all_turns_where_asked(rivers):
    question = Question("q", "now?", (Message("user", "before"),))
    RankRAG(rivers, model(), AskConfig(history_query="all")).ask(question)
    RankRAG(rivers, model()).ask(question)
    assert rivers.queries == ["before\nnow?", "now?"]


def test_the_search_query_is_the_last_turn_alone_by_default():
    assert search_queries(Question("q", "now?", (Message("user", "before"),)), "last") == ("now?",)


def test_a_search_query_may_say_who_spoke():
    talk = Question("q", "now?", (Message("user", "before?"), Message("assistant", "then")))
    assert search_queries(talk, "all") == ("before?\nthen\nnow?",)
    assert search_queries(talk, "speakers") == ("user: before?\nagent: then\nuser: now?",)


def test_both_are_the_last_turn_and_all_turns_but_one_where_there_is_no_history():
    talk = Question("q", "now?", (Message("user", "before?"),))
    assert search_queries(talk, "both") == ("now?", "before?\nnow?")
    assert search_queries(Question("q", "now?"), "both") == ("now?",)


def test_the_next_turn_remembers_question_and_answer(rivers):
    answer = RankRAG(rivers, model()).ask("Which?")
    following = next_turn(answer.question, answer, "And then?")
    assert following.text == "And then?"
    assert following.style == "conversation"
    assert following.history == (Message("user", "Which?"), Message("assistant", "The Tagus."))


def test_an_answer_says_how_many_passages_were_known(rivers, monkeypatch):
    rag = RankRAG(rivers, FakeLanguageModel(yes_if="tagus", reply="The Tagus."), AskConfig(n=4, k=2))
    half_known = property(lambda fake: ModelInfo(states=StateUse(len(fake.prompts) // 2, len(fake.prompts))))
    monkeypatch.setattr(FakeLanguageModel, "info", half_known)
    rag.ask("Which river?")
    assert rag.ask("Which river is long?").states == StateUse(2, 4)


def test_a_model_that_keeps_no_states_says_nothing_of_them(rivers):
    assert RankRAG(rivers, model()).ask("Which river?").states is None


def test_only_as_many_passages_are_judged_as_settle_the_top_k(ranking_of):
    retriever = FakeRetriever(ranking_of("The Ebro.", "The Tagus.", *["The Minho."] * 8))
    answer = RankRAG(retriever, model(), AskConfig(n=10, k=1, settled_from=0.0)).ask("Which?")
    assert ids(answer.contexts) == ["p1"]
    assert len(answer.relevance) == BLOCK
    assert len(answer.reranked) == 10
    fitted = RankRAG(retriever, model(contract=Contract(settled_from=0.0, k=1)), AskConfig(n=10))
    assert len(fitted.ask("Which?").relevance) == BLOCK


@pytest.mark.parametrize("config", [AskConfig(n=10, k=2), AskConfig(n=10, settled_from=None)])
def test_all_are_judged_for_another_k_and_where_asked_for(ranking_of, config):
    retriever = FakeRetriever(ranking_of("The Tagus.", *["The Minho."] * 9))
    rag = RankRAG(retriever, model(contract=Contract(settled_from=0.0, k=1)), config)
    assert len(rag.ask("Which?").relevance) == 10


def test_a_larger_batch_is_cut_to_what_settles_the_question(rivers):
    rag = RankRAG(rivers, model(contract=Contract(settled_from=2.0, k=1)))
    judged = [Judgement(value, 0.5) for value in (0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0)]
    assert not rag.is_settled(judged)
    judged += [Judgement(0.0, 0.5)] * 5
    assert rag.is_settled(judged)
    assert len(rag.until_settled(judged)) == 2 * BLOCK


def test_the_answer_and_its_steps_called_one_by_one_agree(rivers):
    rag = RankRAG(rivers, model(contract=Contract(abstain_below=0.0)), AskConfig(n=4, k=2))
    question = Question("q", "Which?")
    found = rag.retrieve(question)
    retrieved = found.ranking
    decision = rag.decide(retrieved, judge(rag.model, [(question, c.passage) for c in retrieved]))
    (text,) = answer_many(rag.model, [(question, [c.passage for c in decision.contexts])])
    reply = rag.conclude(question, found, decision, text, prompt=None, times=(0, 0, 0), states=None)
    answer = rag.ask(question)
    assert (answer.retrieved, answer.reranked, answer.contexts) == (retrieved, decision.ranking, decision.contexts)
    assert (answer.text, answer.abstained, answer.citations) == (reply.text, reply.abstained, reply.citations)


def test_each_prompt_is_encoded_once(rivers, monkeypatch):
    encoded = []
    encode = FakeLanguageModel.encode

    def counting(self, prompts, **options):
        encoded.extend(prompts)
        return encode(self, prompts, **options)

    monkeypatch.setattr(FakeLanguageModel, "encode", counting)
    RankRAG(rivers, model(), AskConfig(n=4, k=2)).ask("Which?")
    assert len(encoded) == len(set(encoded)) == 4 + 1
