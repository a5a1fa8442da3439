"""The words of the house: what flows between the parts, as frozen values.

A record becomes a `Question`; a retriever gives a `Ranking` of `ScoredPassage`; templates turn question and passages
into a `Prompt`; a model scores or answers it; the pipeline returns an `Answer`. Training examples are `Example`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from string import ascii_uppercase
from typing import Literal

Style = Literal["plain", "short", "span", "long", "short_or_long", "arithmetic", "claim", "choice", "conversation"]
"""The kind of answer that a question asks for; it picks the wording of the prompt (paper, appendices C.2 and D)."""

SegmentKind = Literal["fixed", "text", "passage"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is "user" or "assistant"."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, with the turns before it (oldest first) and, where known, the answers that count as right.

    `options` are the texts of a multiple choice, lettered A, B, … in this order; then the answer is a letter.
    """

    id: str
    text: str
    history: tuple[Message, ...] = ()
    answers: tuple[str, ...] = ()
    style: Style = "short"
    options: tuple[str, ...] = ()

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters of the options, A first."""
        return tuple(ascii_uppercase[: len(self.options)])


@dataclass(frozen=True, slots=True)
class Source:
    """Where a passage stands: file or address, page (from 1) or heading, character offsets in the extracted text."""

    path: str
    page: int | None = None
    heading: str | None = None
    start: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        place = f", page {self.page}" if self.page is not None else ""
        place += f", “{self.heading}”" if self.heading else ""
        return self.path + place


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that is ranked and cited as a whole."""

    id: str
    text: str
    title: str = ""
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage with a score; higher is better. The scale belongs to whoever scored it (BM25, cosine, log-odds)."""

    passage: Passage
    score: float


Ranking = tuple[ScoredPassage, ...]
"""Passages, best first."""


class DataKind(StrEnum):
    """The five kinds of training data (paper, section 4.2 and table 1)."""

    SFT = "sft"
    CONTEXT_QA = "context_qa"
    RETRIEVAL_QA = "retrieval_qa"
    CONTEXT_RANKING = "context_ranking"
    RETRIEVAL_RANKING = "retrieval_ranking"


@dataclass(frozen=True, slots=True)
class Example:
    """One training example in the one form of all five kinds: question, contexts, target (paper, section 4.2)."""

    kind: DataKind
    source: str
    question: Question
    contexts: tuple[Passage, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt that is tokenised by itself.

    `fixed` is ours (templates, turn markers: special tokens count); `text` is the user's (never cut, special tokens
    are inert); `passage` is a document's (inert too, and the only kind that may be cut to fit).
    """

    kind: SegmentKind
    text: str


Prompt = tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """A sentence of an answer (character offsets), and the place in `Answer.contexts` of what supports it."""

    start: int
    end: int
    context: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent in each of the three steps (t1, t2, t3 of the paper's section 5.5)."""

    retrieve: float
    rerank: float
    generate: float


@dataclass(frozen=True, slots=True)
class StateUse:
    """Of the passage states that ranking wanted, how many a cache held, so that only the question was read."""

    found: int
    wanted: int

    def __sub__(self, earlier: StateUse) -> StateUse:
        """Return what came after an earlier count."""
        return StateUse(self.found - earlier.found, self.wanted - earlier.wanted)


@dataclass(frozen=True, slots=True)
class Answer:
    """The text and everything it came from.

    `retrieved` is what the retriever gave, `reranked` the same passages in the final order, `contexts` the passages
    that were in the prompt. `relevance` holds P(True) by passage id, as the model gave it; empty without reranking.
    `truncated` holds the ids of passages that were ranked by their beginning alone, `contexts_truncated` of those whose
    end the answer's prompt left out: they were longer than the contract's `passage_tokens`, or than the model had room.
    `states` says how many passages were ranked from kept states; None where the model keeps none.
    """

    question: Question
    text: str
    abstained: bool
    citations: tuple[Citation, ...]
    contexts: Ranking
    reranked: Ranking
    retrieved: Ranking
    timings: Timings
    relevance: dict[str, float] = field(default_factory=dict)
    states: StateUse | None = None
    truncated: frozenset[str] = frozenset()
    contexts_truncated: frozenset[str] = frozenset()

    @property
    def cited(self) -> tuple[Passage, ...]:
        """The passages that support the answer, in the order of their first citation."""
        return tuple(self.contexts[i].passage for i in dict.fromkeys(c.context for c in self.citations))
