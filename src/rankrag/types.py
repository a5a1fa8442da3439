"""The values that flow between the parts. All are frozen.

A row becomes a `Question`. A retriever returns a `Ranking` of `ScoredPassage`. Templates turn question and passages
into a `Prompt`, which a model scores or answers. The pipeline returns an `Answer`. A training example is an `Example`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from string import ascii_uppercase
from typing import Literal

Style = Literal["plain", "short", "span", "long", "short_or_long", "arithmetic", "claim", "choice", "conversation"]
"""The kind of answer; it picks the wording of the prompt (paper, appendices C.2 and D)."""

SegmentKind = Literal["fixed", "text", "passage"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is "user" or "assistant"."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its earlier turns, oldest first, and the accepted answers if they are known.

    `style` is the kind of answer asked for; None leaves it to the model (`Format.style`). `options` are the texts of a
    multiple choice, lettered A, B, … in this order. Then the answer is a letter. `items` are what a complete answer to
    a question for a list names.
    """

    id: str
    text: str
    history: tuple[Message, ...] = ()
    answers: tuple[str, ...] = ()
    style: Style | None = None
    options: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters of the options, A first."""
        return tuple(ascii_uppercase[: len(self.options)])


@dataclass(frozen=True, slots=True)
class Source:
    """Where a passage comes from: file or address, page (from 1) or heading, offsets in the extracted text."""

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
    """A passage with a score; higher is better. The scale depends on the scorer (BM25, cosine, log-odds)."""

    passage: Passage
    score: float


Ranking = tuple[ScoredPassage, ...]
"""Passages, best first."""


class DataKind(StrEnum):
    """The kinds of training data: the five of the paper (section 4.2 and table 1)."""

    SFT = "sft"
    CONTEXT_QA = "context_qa"
    RETRIEVAL_QA = "retrieval_qa"
    CONTEXT_RANKING = "context_ranking"
    RETRIEVAL_RANKING = "retrieval_ranking"


@dataclass(frozen=True, slots=True)
class Example:
    """A training example. All kinds have this form: question, contexts, target (paper, section 4.2)."""

    kind: DataKind
    source: str
    question: Question
    contexts: tuple[Passage, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt that is tokenised by itself.

    `fixed` is text of ours, in which special tokens count: templates and turn markers. `text` is the user's: it is
    never cut, and special tokens in it are plain text. `passage` is a document's: like `text`, but it may be cut.
    """

    kind: SegmentKind
    text: str


Prompt = tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """A sentence of an answer (character offsets), and the index of its passage in `Answer.contexts`."""

    start: int
    end: int
    context: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds for each of the three steps (t1, t2 and t3 in section 5.5 of the paper)."""

    retrieve: float
    rerank: float
    generate: float


@dataclass(frozen=True, slots=True)
class StateUse:
    """How many passage states were wanted, and how many were found in the cache: only the question was read then."""

    found: int
    wanted: int

    def __sub__(self, earlier: StateUse) -> StateUse:
        """Return the count since an earlier one."""
        return StateUse(self.found - earlier.found, self.wanted - earlier.wanted)


@dataclass(frozen=True, slots=True)
class SecondRound:
    """The queries of a second round of retrieval, and the ids of the passages that only it found."""

    queries: tuple[str, ...]
    found: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with everything it came from.

    Attributes:
        question: the question.
        text: the answer, or the refusal.
        abstained: the answer was withheld, or the model refused.
        citations: the sentences that passages support.
        contexts: the passages in the answer's prompt.
        reranked: all retrieved passages in the final order.
        retrieved: the same passages in the retriever's order.
        timings: seconds for each step.
        relevance: P(True) by passage id, as the model gave it; empty without reranking.
        states: use of kept passage states in ranking; None if the model keeps none.
        truncated: ids of the passages that were cut in their ranking prompt. A passage is cut if it is longer than the
            contract's `passage_tokens` or than the model has room for.
        contexts_truncated: ids of the passages that were cut in the answer's prompt.
        second_round: what a second round of retrieval searched for and found; None if there was one round.
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
    second_round: SecondRound | None = None

    @property
    def cited(self) -> tuple[Passage, ...]:
        """The passages that support the answer, by their first citation."""
        return tuple(self.contexts[i].passage for i in dict.fromkeys(c.context for c in self.citations))
