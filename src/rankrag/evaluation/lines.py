"""One line for each question of a system: what was retrieved, ranked, answered, cited, and the outcome.

Every figure of every report is derived from these lines (`questions.jsonl` in a system's folder). The passages that
they name are kept beside them, so that a report needs neither the index nor the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from rankrag.data.files import write_whole
from rankrag.data.journal import Journal
from rankrag.errors import DataError
from rankrag.types import Passage

FILE_NAME = "questions.jsonl"
PASSAGES = "passages.jsonl"

Ids = tuple[str, ...]

Outcome = Literal[
    "right", "not retrieved", "beyond k", "ranked away", "misread", "refused", "not known", "answered in vain", "failed"
]

OUTCOMES: dict[Outcome, str] = {
    "right": "the answer is right (if nothing is answered: the needed passages are among the k)",
    "not retrieved": "the needed passages are not among the N candidates of the first stage",
    "beyond k": "the question needs more passages than the k that are read",
    "ranked away": "the needed passages are among the N candidates, but not among the k that are read",
    "misread": "the needed passages were read, and the answer is wrong",
    "refused": "the needed passages were read, and no answer was given (closed book: no answer was given)",
    "not known": "the answer is wrong, without any passages (closed book)",
    "answered in vain": "no passage holds the answer, and one was given",
    "failed": "the model could not be asked; this counts as wrong",
}
"""Every outcome with its meaning, in the order of the report."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Time for one question: its retrieval, judging one of its passages, its answer; None if not measured."""

    t1: float | None = None
    t2: float | None = None
    t3: float | None = None


@dataclass(frozen=True, slots=True)
class QuestionLine:
    """Everything about one question in one system.

    Attributes:
        benchmark: name of the set.
        system: name of the system.
        id: the question's id.
        question: its text.
        history: earlier turns, "user: …" and "assistant: …".
        gold_answers: the right answers.
        gold: ids of the passages that hold the answer; for an unanswerable question, of its look-alikes.
        retrieved: ids of the N candidates in the first stage's order.
        reranked: the same ids in the final order.
        p_true: P(True) of each of `reranked`, None if it was not judged or the ranker gives no probability.
        contexts: ids of the k passages that were answered from.
        answer: the reply; None if the answer was withheld, or if the system does not answer.
        outcome: what became of the question.
        metrics: every metric by name, rankings in the final order.
        first: the ranking metrics in the first stage's order.
        seconds: the time it took.
        error: why the model could not be asked.
        reachable: the set's ranking metric for a perfect order of `retrieved`.
        withheld: whether no passage was relevant enough to answer from.
        cited: for each cited sentence of the answer, the place in `contexts` of the passage that supports it; None if
            the system does not cite.
    """

    benchmark: str
    system: str
    id: str
    question: str
    history: tuple[str, ...]
    gold_answers: tuple[str, ...]
    gold: Ids
    retrieved: Ids
    reranked: Ids
    p_true: tuple[float | None, ...]
    contexts: Ids
    answer: str | None
    outcome: Outcome
    metrics: dict[str, float]
    first: dict[str, float]
    seconds: Seconds = Seconds()
    error: str | None = None
    reachable: float | None = None
    withheld: bool = False
    cited: tuple[int, ...] | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the system answers this question, be it by withholding."""
        return self.answer is not None or self.withheld

    @property
    def cited_ids(self) -> Ids:
        """Ids of the cited passages, one for each cited sentence."""
        return tuple(self.contexts[place] for place in self.cited or ())


def save_lines(folder: Path, lines: Sequence[QuestionLine]) -> Path:
    """Write the lines of a system on a set in one step; return the file."""
    path = folder / FILE_NAME
    write_whole(path, "".join(_LINE.dump_json(line).decode() + "\n" for line in lines))
    return path


def read_question_lines(path: Path) -> list[QuestionLine]:
    """Return the lines of a file; `DataError` names a line that cannot be read."""
    try:
        rows = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run rankrag evaluate again") from None
    return [_parsed(row, f"{path}:{number}") for number, row in enumerate(rows, start=1)]


def save_passages(folder: Path, lines: Sequence[QuestionLine], passages: Mapping[str, Passage]) -> None:
    """Keep the passages that these lines name; a frozen run may lack a gold passage, which is then left out."""
    kept = _kept_passages(folder)
    named = dict.fromkeys(i for line in lines for i in (*line.gold, *line.retrieved))
    fresh = [passages[i] for i in named if i not in kept and i in passages]
    kept.append([{"id": p.id, "title": p.title, "text": p.text} for p in fresh])


def read_kept_passages(folder: Path) -> dict[str, Passage]:
    """Return the passages that were kept beside the lines, by id."""
    return dict(_kept_passages(folder))


def _kept_passages(folder: Path) -> Journal[str, Passage]:
    return Journal(folder / PASSAGES, lambda row: [(row["id"], Passage(row["id"], row["text"], row["title"]))])


_LINE = TypeAdapter(QuestionLine)


def _parsed(line: bytes, where: str) -> QuestionLine:
    try:
        return _LINE.validate_json(line)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        raise DataError(
            f"{where}: not a question's line ({place}: {found['msg']}); run rankrag evaluate again"
        ) from None
