"""The whole road of a question: retrieve N, rerank by P(True), keep k, answer, cite (paper, section 4.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rankrag.citations import cite
from rankrag.contract import HistoryQuery
from rankrag.errors import ConfigError, DataError
from rankrag.generate import is_refusal, stream_answer
from rankrag.models import LanguageModel, state_use
from rankrag.rerank import judge, ordered, with_first_stage
from rankrag.retrieval import Retriever
from rankrag.templates import UNANSWERABLE
from rankrag.types import Answer, Message, Question, Ranking, Timings

Reranker = Callable[[Question, Ranking], Ranking]


@dataclass(frozen=True, slots=True)
class RankRAG:
    """A retriever and a model that answer questions together.

    Attributes:
        retriever: the first stage.
        model: ranks and answers.
        n: passages that are retrieved and reranked (paper: 100 at 8B, 30 at 70B).
        k: passages that the answer is written from (paper: 5); at most `n`.
        reranker: "model" reranks with `model`; None keeps the retriever's order (the paper's ablation); a function
            takes its place, and then nothing is withheld for lack of relevance.
        history_query: whether a conversation is searched by its "last" turn or by "all" turns; None is the contract's.
        first_stage_weight: share of the first stage in the final order; None is the contract's, 0 the paper's.
    """

    retriever: Retriever
    model: LanguageModel
    n: int = 20
    k: int = 5
    reranker: Reranker | str | None = "model"
    history_query: HistoryQuery | None = None
    first_stage_weight: float | None = None

    def __post_init__(self) -> None:
        if self.n < 1 or not 1 <= self.k <= self.n:
            raise ConfigError(f"n={self.n}, k={self.k}: n must be at least 1 and k between 1 and n")
        if self.history_query not in (None, "last", "all"):
            raise ConfigError(f"history_query={self.history_query!r}: must be 'last', 'all' or None")
        if isinstance(self.reranker, str) and self.reranker != "model":
            raise ConfigError(f"reranker={self.reranker!r}: must be 'model', None or a function")

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
        used = state_use(self.model)
        reranked, relevance, relevant = self.rerank(question, retrieved)
        after_rerank = time.perf_counter()
        use = state_use(self.model)
        contexts = reranked[: self.k]
        text = ""
        if not relevant:
            yield UNANSWERABLE
        else:
            for piece in stream_answer(self.model, question, [c.passage for c in contexts]):
                text += piece
                yield piece
        abstained = is_refusal(text)
        citations = () if abstained else cite(self.model, question, text, contexts, relevance)
        yield Answer(
            question=question,
            text=UNANSWERABLE if abstained else text,
            abstained=abstained,
            citations=citations,
            contexts=contexts,
            reranked=reranked,
            retrieved=retrieved,
            timings=Timings(
                after_retrieval - started, after_rerank - after_retrieval, time.perf_counter() - after_rerank
            ),
            relevance=relevance,
            states=use - used if use and used and relevance else None,
        )

    def retrieve(self, question: Question) -> Ranking:
        """Return the first stage's `n` passages."""
        query = search_query(question, self.history_query or self.model.contract.history_query)
        (ranking,) = self.retriever.retrieve([query], self.n)
        return ranking

    def rerank(self, question: Question, retrieved: Ranking) -> tuple[Ranking, dict[str, float], bool]:
        """Return the new order, P(True) by passage id, and whether anything is relevant enough to answer from."""
        if self.reranker is None:
            return retrieved, {}, bool(retrieved)
        if callable(self.reranker):
            return self.reranker(question, retrieved), {}, bool(retrieved)
        contract = self.model.contract
        judged = judge(self.model, [(question, c.passage) for c in retrieved])
        relevance = {c.passage.id: j.probability for c, j in zip(retrieved, judged, strict=True)}
        weight = contract.first_stage_weight if self.first_stage_weight is None else self.first_stage_weight
        reranked = with_first_stage(ordered(retrieved, judged), retrieved, weight)
        best = max((j.log_odds for j in judged), default=float("-inf"))
        enough = contract.abstain_below is None or best >= contract.abstain_below
        return reranked, relevance, bool(retrieved) and enough


def search_query(question: Question, history: HistoryQuery) -> str:
    """Return what the retriever is asked: the question, below all earlier turns where `history` is "all"."""
    turns = question.history if history == "all" else ()
    return "\n".join([*(message.content for message in turns), question.text])


def next_turn(question: Question, answer: Answer, text: str) -> Question:
    """Return the question that follows in a conversation: the turns so far as its history."""
    turns = (*question.history, Message("user", question.text), Message("assistant", answer.text))
    return replace(question, text=text, history=turns, style="conversation")
