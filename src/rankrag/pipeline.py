"""The whole road of a question: retrieve N, rerank by P(True), keep k, answer, cite (paper, section 4.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from rankrag.citations import cite
from rankrag.contract import HistoryQuery
from rankrag.errors import ConfigError, DataError
from rankrag.fewer_passes import NEVER, bound_of, judge_until_settled, rerank_in_windows
from rankrag.generate import contexts_cut, is_refusal, stream_answer
from rankrag.models import LanguageModel
from rankrag.rerank import Decision, Judgement, decide
from rankrag.retrieval import Retriever
from rankrag.retrieval.fusion import search
from rankrag.templates import UNANSWERABLE
from rankrag.types import Answer, Message, Question, Ranking, Timings

if TYPE_CHECKING:
    from rankrag.retrieval.nearness import Nearness

Reranker = Callable[[Question, Ranking], Ranking]


@dataclass(frozen=True, slots=True)
class RankRAG:
    """A retriever and a model that answer questions together.

    Attributes:
        retriever: the first stage.
        model: ranks and answers.
        n: passages that are retrieved and reranked (paper: 100 at 8B, 30 at 70B).
        k: passages that the answer is written from (paper: 5), at most `n`; None is the contract's.
        reranker: "model" reranks with `model`, "windows" in windows of five (`fewer_passes`); None keeps the
            retriever's order (the paper's ablation); a function takes its place. But for "model", nothing is withheld
            for lack of relevance.
        history_query: by which turns a conversation is searched (`search_queries`); None is the contract's.
        nearness: what an encoder adds to the model's log-odds in the final order; None is the paper's, the model alone.
        settled_from: judging stops once the k-th best passage reaches this log-odds, or the contract's for "fitted"
            (`fewer_passes`); by default all are judged.
    """

    retriever: Retriever
    model: LanguageModel
    n: int = 20
    k: int | None = None
    reranker: Reranker | str | None = "model"
    history_query: HistoryQuery | None = None
    nearness: Nearness | None = None
    settled_from: float | Literal["fitted"] = NEVER

    def __post_init__(self) -> None:
        if self.n < 1 or not 1 <= self.depth <= self.n:
            raise ConfigError(f"n={self.n}, k={self.k}: n must be at least 1 and k between 1 and n")
        if self.history_query not in (None, *get_args(HistoryQuery)):
            raise ConfigError(
                f"history_query={self.history_query!r}: must be {', '.join(get_args(HistoryQuery))} or None"
            )
        if isinstance(self.reranker, str) and self.reranker not in ("model", "windows"):
            raise ConfigError(f"reranker={self.reranker!r}: must be 'model', 'windows', None or a function")
        bound_of(self.model.contract, self.settled_from)

    @property
    def depth(self) -> int:
        """Passages that the answer is written from."""
        return self.model.contract.depth(self.n, self.k)

    def ask(self, question: Question | str) -> Answer:
        """Return the answer to a question with everything it came from; `DataError` if it is empty or too long."""
        *_, answer = self.stream(question)
        assert isinstance(answer, Answer)
        return answer

    def stream(self, question: Question | str) -> Iterator[str | Answer]:
        """Yield the answer's text in pieces while it is written, and at the end the whole `Answer`."""
        question = Question("", question) if isinstance(question, str) else question
        if not question.text.strip():
            raise DataError("the question is empty; ask something")
        started = time.perf_counter()
        retrieved = self.retrieve(question)
        after_retrieval = time.perf_counter()
        used = self.model.info.states
        decision = self.rerank(question, retrieved)
        after_rerank = time.perf_counter()
        use = self.model.info.states
        contexts = decision.contexts
        text, cut = "", frozenset[str]()
        if decision.withheld:
            yield UNANSWERABLE
        else:
            ends = contexts_cut(self.model, question, [c.passage for c in contexts])
            cut = frozenset(c.passage.id for c, one in zip(contexts, ends, strict=True) if one)
            for piece in stream_answer(self.model, question, [c.passage for c in contexts]):
                text += piece
                yield piece
        abstained = is_refusal(text)
        citations = () if abstained else cite(self.model, question, text, contexts, decision.relevance)
        yield Answer(
            question=question,
            text=UNANSWERABLE if abstained else text,
            abstained=abstained,
            citations=citations,
            contexts=contexts,
            reranked=decision.ranking,
            retrieved=retrieved,
            timings=Timings(
                after_retrieval - started, after_rerank - after_retrieval, time.perf_counter() - after_rerank
            ),
            relevance=decision.relevance,
            states=use - used if use and used and decision.relevance else None,
            truncated=decision.truncated,
            contexts_truncated=cut,
        )

    def retrieve(self, question: Question) -> Ranking:
        """Return the first stage's `n` passages."""
        (ranking,) = search(self.retriever, [self._queries(question)], self.n)
        return ranking

    def rerank(self, question: Question, retrieved: Ranking) -> Decision:
        """Return the final order and what follows from it."""
        contract = self.model.contract
        if callable(self.reranker):
            return decide(self.reranker(question, retrieved), (), contract, self.depth)
        if self.reranker == "windows":
            return decide(rerank_in_windows(self.model, question, retrieved), (), contract, self.depth)
        judged = self.judge(question, retrieved) if self.reranker else ()
        return decide(retrieved, judged, contract, self.depth)

    def judge(self, question: Question, retrieved: Ranking) -> Sequence[Judgement]:
        """Return the judgements of the first candidates, with the encoder's share of their final scores."""
        bound = bound_of(self.model.contract, self.settled_from)
        judged = judge_until_settled(self.model, question, retrieved, k=self.depth, bound=bound)
        return with_nearness(self.nearness, self._queries(question), retrieved, judged) if self.nearness else judged

    def _queries(self, question: Question) -> tuple[str, ...]:
        return search_queries(question, self.history_query or self.model.contract.history_query)


def with_nearness(
    nearness: Nearness, queries: Sequence[str], candidates: Ranking, judged: Sequence[Judgement]
) -> list[Judgement]:
    """Return the judgements of the first candidates with what their nearness to the question adds."""
    added = nearness.added(queries, [c.passage for c in candidates[: len(judged)]])
    return [replace(j, added=a) for j, a in zip(judged, added, strict=True)]


def search_queries(question: Question, history: HistoryQuery) -> tuple[str, ...]:
    """Return what the retriever is asked, for `fusion.search`: the question alone for "last", below all earlier turns
    for "all", one and the other for "both".

    "speakers" names who said what, as dragon-multiturn was trained (ChatQA).
    """
    turns = (*question.history, Message("user", question.text))
    if history == "speakers":
        return ("\n".join(f"{_SPEAKERS[turn.role]}: {turn.content}" for turn in turns),)
    whole = "\n".join(turn.content for turn in turns)
    return {"last": (question.text,), "all": (whole,), "both": tuple(dict.fromkeys((question.text, whole)))}[history]


_SPEAKERS = {"user": "user", "assistant": "agent"}


def next_turn(question: Question, answer: Answer, text: str) -> Question:
    """Return the question that follows in a conversation: the turns so far as its history."""
    turns = (*question.history, Message("user", question.text), Message("assistant", answer.text))
    return replace(question, text=text, history=turns, style="conversation")
