"""A question from beginning to end: retrieve N, rerank by P(True), keep k, answer, cite (paper, section 4.3).

`RankRAG.stream` calls one step after the other. Each step is a method of its own, so that an evaluation runs the same
steps, for many questions at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rankrag.citations import cite
from rankrag.config.answering import AskConfig
from rankrag.contract import HistoryQuery
from rankrag.encoding import EncodedPrompt
from rankrag.errors import ConfigError, DataError
from rankrag.generate import encode_answer, is_refusal, stream_answer
from rankrag.models import LanguageModel
from rankrag.rerank import (
    BLOCK,
    NEVER,
    Decision,
    Judgement,
    bound_of,
    decide,
    judge_all,
    judge_until_settled,
    settled,
    settled_after,
)
from rankrag.retrieval import Retriever
from rankrag.retrieval.rounds import Retrieved, search_rounds
from rankrag.templates import UNANSWERABLE
from rankrag.types import Answer, Message, Question, Ranking, StateUse, Timings

if TYPE_CHECKING:
    from rankrag.retrieval.nearness import Nearness


@dataclass(frozen=True, slots=True)
class RankRAG:
    """A retriever and a model that answer questions together.

    Attributes:
        retriever: the first stage; None if only given passages are reranked.
        model: ranks and answers.
        settings: how (`config.answering`); its names of parts do not count, since these are open.
        nearness: adds an encoder's share to the model's log-odds; None orders by the model alone, as in the paper.
    """

    retriever: Retriever | None
    model: LanguageModel
    settings: AskConfig = AskConfig()  # noqa: RUF009 - frozen
    nearness: Nearness | None = None

    def __post_init__(self) -> None:
        self.bound()

    @property
    def depth(self) -> int:
        """The number of passages to answer from."""
        return self.settings.k or min(self.settings.n, self.model.contract.k)

    def bound(self) -> float:
        """Return the log-odds that end judging; `ConfigError` if `settled_from` is not a number."""
        return bound_of(self.model.contract, self.settings.settled_from, self.depth)

    def ask(self, question: Question | str) -> Answer:
        """Return the answer with everything it came from; `DataError` if the question is empty or too long."""
        *_, answer = self.stream(question)
        assert isinstance(answer, Answer)
        return answer

    def stream(self, question: Question | str) -> Iterator[str | Answer]:
        """Yield the answer's text in pieces while it is written, and at the end the whole `Answer`."""
        question = Question("", question) if isinstance(question, str) else question
        if not question.text.strip():
            raise DataError("the question is empty; ask something")
        started, before = time.perf_counter(), self.model.info.states
        retrieved = self.retrieve(question)
        after_retrieval = time.perf_counter()
        decision = self.rerank(question, retrieved.ranking)
        after_rerank, after = time.perf_counter(), self.model.info.states
        text = UNANSWERABLE
        prompt: EncodedPrompt | None = None
        if decision.withheld:
            yield text
        else:
            text, prompt = "", encode_answer(self.model, question, [c.passage for c in decision.contexts])
            for piece in stream_answer(self.model, question, prompt):
                text += piece
                yield piece
        times = (started, after_retrieval, after_rerank)
        states = after - before if after and before else None
        yield self.conclude(question, retrieved, decision, text, prompt=prompt, times=times, states=states)

    def retrieve(self, question: Question) -> Retrieved:
        """Return the first stage's `n` passages, and as many from a second round if there is one."""
        if self.retriever is None:
            raise ConfigError("this pipeline has no retriever; it only reranks passages that it is given")
        asked, settings = (question.text, self.queries(question)), self.settings
        (found,) = search_rounds(self.retriever, [asked], settings.n, settings.rounds)
        return found

    def rerank(self, question: Question, retrieved: Ranking) -> Decision:
        """Return the final order, and what follows from it."""
        (decision,) = self.rerank_many([(question, retrieved)])
        return decision

    def rerank_many(self, asked: Sequence[tuple[Question, Ranking]]) -> list[Decision]:
        """Return the decision for each question; the model judges the passages of all questions together.

        It judges as many of the first passages as `settled_from` asks for. Without reranking, the retriever's order
        stays (the paper's ablation), and nothing is withheld for lack of relevance.
        """
        if not self.settings.rerank:
            return [self.decide(found, ()) for _, found in asked]
        bound = self.bound()
        if bound == NEVER:
            judged = judge_all(self.model, asked)
        else:
            judged = [judge_until_settled(self.model, *one, bound) for one in asked]
        final = self.with_nearness(asked, judged)
        return [self.decide(found, own) for (_, found), own in zip(asked, final, strict=True)]

    def is_settled(self, judged: Sequence[Judgement]) -> bool:
        """Whether no more need be judged (`settled_from`); looked at after whole blocks, as everywhere."""
        return settled([j.log_odds for j in judged[: len(judged) // BLOCK * BLOCK]], self.bound())

    def until_settled(self, judged: Sequence[Judgement]) -> Sequence[Judgement]:
        """Return the judgements that `rerank` would have made, of those that a larger batch brought."""
        return judged[: settled_after([j.log_odds for j in judged], self.bound())]

    def with_nearness(
        self, asked: Sequence[tuple[Question, Ranking]], judged: Sequence[Sequence[Judgement]]
    ) -> Sequence[Sequence[Judgement]]:
        """Return the judgements of the first passages with the encoder's share of their final scores."""
        if not self.nearness:
            return judged
        shared = []
        for (question, found), own in zip(asked, judged, strict=True):
            shares = self.nearness.added(self.queries(question), [c.passage for c in found[: len(own)]])
            shared.append([replace(j, added=share) for j, share in zip(own, shares, strict=True)])
        return shared

    def decide(self, retrieved: Ranking, judgements: Sequence[Judgement]) -> Decision:
        """Return what follows from these judgements of the first passages (`rerank.decide`)."""
        contract, below = self.model.contract, self.settings.abstain_below
        if below is not None:
            contract = replace(contract, abstain_below=None if below == "never" else below)
        return decide(retrieved, judgements, contract, self.depth)

    def conclude(
        self,
        question: Question,
        retrieved: Retrieved,
        decision: Decision,
        text: str,
        *,
        prompt: EncodedPrompt | None,
        times: tuple[float, float, float],
        states: StateUse | None,
    ) -> Answer:
        """Return what the steps of a question come to: a refusal in the one wording, or an answer with citations.

        Args:
            question: the question.
            retrieved: what was found.
            decision: what followed from the judgements.
            text: what was written, or the refusal.
            prompt: the prompt that it was written for; None if nothing was.
            times: when retrieving, reranking and writing began, by `time.perf_counter`.
            states: use of kept passage states in ranking.
        """
        abstained = is_refusal(text)
        citations = () if abstained else cite(self.model, question, text, decision.contexts, decision.relevance)
        ends = (*times[1:], time.perf_counter())
        cut = zip(decision.contexts, prompt.cut, strict=True) if prompt is not None else ()
        return Answer(
            question=question,
            text=UNANSWERABLE if abstained else text,
            abstained=abstained,
            citations=citations,
            contexts=decision.contexts,
            reranked=decision.ranking,
            retrieved=retrieved.ranking,
            timings=Timings(*(end - begin for begin, end in zip(times, ends, strict=True))),
            relevance=decision.relevance,
            states=states if decision.relevance else None,
            truncated=decision.truncated,
            contexts_truncated=frozenset(c.passage.id for c, is_cut in cut if is_cut),
            second_round=retrieved.second,
        )

    def queries(self, question: Question) -> tuple[str, ...]:
        """Return the queries that the retriever gets for a question."""
        return search_queries(question, self.settings.history_query or self.model.contract.history_query)


def search_queries(question: Question, history: HistoryQuery) -> tuple[str, ...]:
    """Return the queries for a question in a conversation, as `fusion.search` takes them.

    "last" searches for the question alone, "all" for all turns in one query, "both" for one and the other. "speakers"
    is "all" with the name of the speaker before each turn, as dragon-multiturn was trained (ChatQA).
    """
    turns = (*question.history, Message("user", question.text))
    if history == "speakers":
        return ("\n".join(f"{_SPEAKERS[turn.role]}: {turn.content}" for turn in turns),)
    whole = "\n".join(turn.content for turn in turns)
    return {"last": (question.text,), "all": (whole,), "both": tuple(dict.fromkeys((question.text, whole)))}[history]


_SPEAKERS = {"user": "user", "assistant": "agent"}


def next_turn(question: Question, answer: Answer, text: str) -> Question:
    """Return the next question of a conversation; the turns so far are its history."""
    turns = (*question.history, Message("user", question.text), Message("assistant", answer.text))
    return replace(question, text=text, history=turns, style="conversation")
