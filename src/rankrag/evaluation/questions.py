"""One line for each question: what was retrieved, how it was reranked, what was answered, and what became of it.

These lines (`questions.jsonl` in a set's folder) come first; every aggregate, table and report is made from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rankrag.data.files import write_whole
from rankrag.data.journal import append_rows, read_journal
from rankrag.data.sets import Judged, TestSet
from rankrag.errors import DataError
from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.measuring import Rankings, metrics_of, reachable
from rankrag.evaluation.metrics import answer_scores, holds_answer, measure
from rankrag.evaluation.outcomes import Outcome, found_in, is_right, outcome, withheld_or_refused
from rankrag.evaluation.work import Judgements, finals, reordered
from rankrag.rerank import Judgement
from rankrag.types import Passage

FILE_NAME = "questions.jsonl"
PASSAGES = "passages.jsonl"

ANSWER_RECALL = (5, 10, 20)
"""Cuts of answer recall, "R@k" in the paper's tables 6 and 8: one of the first k passages contains an answer."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Time of one question: its retrieval, judging one of its passages, its answer; None where it was not taken."""

    t1: float | None = None
    t2: float | None = None
    t3: float | None = None


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """Everything about one question in one system.

    Attributes:
        benchmark: name of the set.
        system: name of the system.
        id: the question's id.
        question: its text.
        history: earlier turns, "user: …" and "assistant: …".
        gold_answers: answers that count as right.
        gold: ids of the passages that hold the answer; of an unanswerable question, those that only look like it.
        retrieved: ids of the first stage's N.
        reranked: the same in the final order.
        p_true: P(True) of each of `reranked`, None where the ranker gives no probability.
        contexts: ids of the k that were answered from.
        answer: what was answered; None where nothing is answered, or the answer was withheld for lack of relevance.
        outcome: what became of the question.
        metrics: value of each metric in the final order, in [0, 1].
        first: value of the ranking metrics in the first stage's order.
        seconds: time it took.
        error: why the question could not be put to the model.
        reachable: value of the set's ranking metric for a perfect order of `retrieved`; None where it has none.
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


@dataclass(frozen=True, slots=True)
class Told:
    """What a system told about one question: its reply (None: withheld, or nothing is answered), time, and failure."""

    reply: str | None = None
    seconds: Seconds = Seconds()
    error: str | None = None


def final_order(retrieved: Ids, judged: Mapping[str, Judgement] | None) -> Ids:
    """Return the passages in the ranker's order, or as they stood where there is no ranker."""
    return retrieved if judged is None else reordered(retrieved, finals(judged))


def results(
    test_set: TestSet,
    questions: Sequence[Judged],
    system: str,
    retrieved: Rankings,
    judged: Judgements | None,
    told: Mapping[str, Told],
    *,
    k: int,
    probabilities: bool = True,
    answers: bool = True,
    closed_book: bool = False,
) -> list[QuestionResult]:
    """Return one row for each question, in their order.

    Args:
        test_set: the set.
        questions: those of its questions that were asked.
        system: name of the system.
        retrieved: N ids of the first stage by question id.
        judged: what the ranker said of them; None where nothing was reranked.
        told: by question id.
        k: passages that were answered from.
        probabilities: whether the ranker's judgements are P(True).
        answers: whether the system answers.
        closed_book: whether it answers without passages.
    """
    benchmark = test_set.benchmark
    before = [retrieved[of.question.id] for of in questions]
    after = [
        final_order(ids, None if judged is None else judged[of.question.id])
        for ids, of in zip(before, questions, strict=True)
    ]
    ranks = not (closed_book or benchmark.unanswerable)
    nothing: list[dict[str, float]] = [{} for _ in questions]
    first, final = (
        _ranking_metrics(test_set, questions, rankings) if ranks else nothing for rankings in (before, after)
    )
    best: Sequence[float | None] = [None for _ in questions]
    if ranks and benchmark.metric is not None:
        best = reachable(test_set, benchmark.metric, questions, before)
    rows = []
    for of, found, order, at_first, at_last, at_best in zip(questions, before, after, first, final, best, strict=True):
        said, contexts = told[of.question.id], order[:k]
        metrics = dict(at_last)
        answered = answers and benchmark.style is not None
        refused = answered and withheld_or_refused(said.reply)
        scored = answered and not benchmark.unanswerable
        if scored:
            metrics |= answer_scores(benchmark.answer_metrics, said.reply or "", of.question.answers)
        if answered:
            metrics["refused"] = float(refused)
        all_needed = benchmark.metric == "all-gold@5"
        right = is_right(of.question, said.reply or "", metrics) if scored else found_in(of.gold, contexts, all_needed)
        became = outcome(
            right=right,
            refused=refused,
            retrieved=found,
            contexts=contexts,
            gold=_needed(of, found, test_set.passages),
            all_needed=all_needed,
            closed_book=closed_book,
            answerable=not benchmark.unanswerable,
        )
        rows.append(
            QuestionResult(
                benchmark.name,
                system,
                of.question.id,
                of.question.text,
                tuple(f"{m.role}: {m.content}" for m in of.question.history),
                of.question.answers,
                of.gold,
                found,
                order,
                tuple(
                    None if judged is None or not probabilities else round(judged[of.question.id][i].probability, 6)
                    for i in order
                ),
                contexts,
                said.reply if answered else None,
                "failed" if said.error else became,
                metrics,
                at_first,
                said.seconds,
                said.error,
                at_best,
            )
        )
    return rows


def save_results(folder: Path, rows: Sequence[QuestionResult]) -> Path:
    """Write one line for each question in one step; return the file."""
    path = folder / FILE_NAME
    write_whole(path, "".join(_ROW.dump_json(row).decode() + "\n" for row in rows))
    return path


def read_results(path: Path) -> list[QuestionResult]:
    """Return the rows of a file; `DataError` names a line that is none."""
    return [_parsed(line, f"{path}:{number}") for number, line in _lines(path)]


def save_passages(folder: Path, rows: Sequence[QuestionResult], passages: Mapping[str, Passage]) -> None:
    """Keep the passages that these rows name beside them, so that a report needs neither the index nor the data.

    Gold ones that are not known, as a frozen run may lack them, are left out.
    """
    path = folder / PASSAGES
    known = {row["id"] for row in read_journal(path)}
    named = dict.fromkeys(i for row in rows for i in (*row.gold, *row.retrieved))
    fresh = [passages[i] for i in named if i not in known and i in passages]
    append_rows(path, [{"id": p.id, "title": p.title, "text": p.text} for p in fresh])


def read_kept_passages(folder: Path) -> dict[str, Passage]:
    """Return the passages that were kept beside the rows, by id."""
    return {row["id"]: Passage(row["id"], row["text"], row["title"]) for row in read_journal(folder / PASSAGES)}


_ROW = TypeAdapter(QuestionResult)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        yield from enumerate(path.read_bytes().splitlines(), start=1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run rankrag evaluate again") from None


def _parsed(line: bytes, where: str) -> QuestionResult:
    try:
        return _ROW.validate_json(line)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        raise DataError(
            f"{where}: not a question's row ({place}: {found['msg']}); run rankrag evaluate again"
        ) from None


def _ranking_metrics(test_set: TestSet, questions: Sequence[Judged], rankings: Sequence[Ids]) -> list[dict[str, float]]:
    benchmark, passages = test_set.benchmark, test_set.passages
    columns = {name: measure(name, rankings, questions, passages) for name in metrics_of(benchmark)}
    rows: list[dict[str, float]] = [
        {name: values[i] for name, values in columns.items()} for i in range(len(questions))
    ]
    if benchmark.style in ("short", "span"):
        for row, of, ids in zip(rows, questions, rankings, strict=True):
            place = _first_answer(of.question.answers, [passages[i] for i in ids[: max(ANSWER_RECALL)]])
            row |= {f"answer-recall@{k}": float(place < k) for k in ANSWER_RECALL}
    return rows


def _first_answer(answers: Sequence[str], passages: Sequence[Passage]) -> float:
    """Return the place (from 0) of the first passage that contains an answer, infinity where none does."""
    return next((i for i, p in enumerate(passages) if holds_answer(p, answers)), float("inf"))


def _needed(of: Judged, retrieved: Ids, passages: Mapping[str, Passage]) -> Ids | None:
    """Return the passages that hold the answer: gold ones, else those with its words; None where it is but a label."""
    if of.gold or of.question.style in ("choice", "claim"):
        return of.gold or None
    return tuple(i for i in retrieved if holds_answer(passages[i], of.question.answers))
