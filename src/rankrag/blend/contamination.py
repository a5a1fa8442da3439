"""Nothing of an evaluation set may be trained on: found by exact match and by 13-grams, counted, and removed.

A record is contaminated if its question, with the turns before it, is one of the set's or shares 13 words in a row with
one. Sets whose questions are stock phrases (`questions: false`, as for DROP) are not compared by question. A passage is
contaminated if more than half of its 13-grams (`max_overlap`) stand in the set's gold passages; a record goes with its
gold passage. A text with fewer than 13 words is one gram.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rankrag.blend.sources import QuestionSet, Record
from rankrag.config.blend import EvaluationConfig
from rankrag.data.files import Row, located_rows
from rankrag.data.progress import Progress, quiet, watched
from rankrag.data.rows import parse_asked, parse_ids, read_passages
from rankrag.errors import Mistakes
from rankrag.matching import normalise
from rankrag.types import Message

N = 13


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The marks of an evaluation set: its questions, their 13-grams, and those of its gold passages, as hashes."""

    name: str
    questions: frozenset[str]
    question_grams: frozenset[int]
    passage_grams: frozenset[int]


@dataclass(slots=True)
class Overlap:
    """The overlap of a source with one evaluation set: ids of records, by how they were found, and of passages."""

    same_question: set[str] = field(default_factory=set)
    shared_words: set[str] = field(default_factory=set)
    passages: set[str] = field(default_factory=set)

    def counts(self) -> dict[str, int]:
        """Return the three numbers as the manifest has them."""
        return {
            "same question": len(self.same_question),
            "13 words of a question": len(self.shared_words),
            "passages": len(self.passages),
        }


def evaluation_files(wanted: EvaluationConfig, data: Path) -> list[Path]:
    """Return the files that a set is read from."""
    return [data / name for name in (wanted.rows, wanted.corpus) if name]


def marks_of(wanted: EvaluationConfig, data: Path) -> EvaluationSet:
    """Return what to look for; of a corpus only the gold passages of the rows count."""
    questions: set[str] = set()
    texts: list[str] = []
    gold: set[str] = set()
    mistakes = Mistakes()
    for where, row in located_rows(data / wanted.rows, on_bad_row=mistakes.add):
        with mistakes.caught():
            asked = parse_asked(row, where)
            if wanted.questions:
                questions.add(_asked(*asked))
            gold.update(parse_ids(row, "positive_ids", where), parse_ids(row, "near_ids", where))
            texts += _own_texts(row)
    mistakes.raise_any()
    if wanted.corpus:
        texts += [p.text for p in read_passages(data / wanted.corpus) if p.id in gold]
    return EvaluationSet(
        wanted.rows,
        frozenset(questions),
        frozenset(gram for text in questions for gram in _long_grams(text)),
        frozenset(gram for text in texts for gram in grams(normalise(text))),
    )


def cleaned(
    source: QuestionSet, sets: Sequence[EvaluationSet], max_overlap: float, progress: Progress = quiet
) -> tuple[QuestionSet, dict[str, dict[str, int]]]:
    """Return a source without its overlap with evaluation sets, and what was found of each set in it."""
    counted = {}
    for one, overlap in zip(sets, overlaps(source, sets, max_overlap, progress), strict=True):
        if any((counts := overlap.counts()).values()):
            counted[one.name] = counts
            source = without(source, overlap)
    return source, counted


def overlaps(
    source: QuestionSet, sets: Sequence[EvaluationSet], max_overlap: float, progress: Progress = quiet
) -> list[Overlap]:
    """Return the overlap of a source with each evaluation set."""
    if not sets:
        return []
    found = [Overlap() for _ in sets]
    doing = f"{source.name}: comparing questions with evaluation sets"
    for record in watched(source.records, progress, doing, len(source.records)):
        text = _asked(record.question.history, record.question.text)
        runs = frozenset(_long_grams(text))
        for one, overlap in zip(sets, found, strict=True):
            if text and text in one.questions:
                overlap.same_question.add(record.question.id)
            elif not runs.isdisjoint(one.question_grams):
                overlap.shared_words.add(record.question.id)
    doing = f"{source.name}: comparing passages with evaluation sets"
    for passage in watched(source.passages.values(), progress, doing, len(source.passages)):
        listed = list(grams(normalise(passage.text)))
        for one, overlap in zip(sets, found, strict=True):
            hits = sum(gram in one.passage_grams for gram in listed)
            if hits and hits > max_overlap * len(listed):
                overlap.passages.add(passage.id)
    return found


def without(source: QuestionSet, found: Overlap) -> QuestionSet:
    """Return a source without its overlap with an evaluation set; `dropped` counts the losses."""
    kept: list[Record] = []
    for record in source.records:
        if record.question.id in found.same_question:
            source.dropped["question of an evaluation set"] += 1
        elif record.question.id in found.shared_words:
            source.dropped["13 words of an evaluation question"] += 1
        elif not found.passages.isdisjoint((*record.positives, *record.near)):
            source.dropped["gold passage of an evaluation set"] += 1
        else:
            negatives, unclear = (
                tuple(i for i in ids if i not in found.passages) for ids in (record.negatives, record.unclear)
            )
            kept.append(replace(record, negatives=negatives, unclear=unclear))
    if found.passages:
        source.dropped["passage of an evaluation set"] += len(found.passages)
    passages = {i: p for i, p in source.passages.items() if i not in found.passages}
    return replace(source, records=tuple(kept), passages=passages)


def grams(text: str) -> Iterator[int]:
    """Yield a hash for each run of 13 words of a normalised text; a shorter text is one run, an empty one none."""
    words = text.split()
    for start in range(max(1, len(words) - N + 1) if words else 0):
        yield hash(" ".join(words[start : start + N]))


def _long_grams(text: str) -> Iterator[int]:
    return grams(text) if text.count(" ") >= N - 1 else iter(())


def _asked(history: tuple[Message, ...], text: str) -> str:
    return normalise(" ".join([*(m.content for m in history), text]))


def _own_texts(row: Row) -> list[str]:
    """Return the passages that stand in a row: ours, a ranking set's candidates, and ChatRAG's with its gold chunk.

    Elsewhere `ctxs` are what some retriever found, which is not gold.
    """
    chatrag = row.get("ctxs", ()) if "messages" in row else ()
    found = [*(row.get("contexts") or ()), *(row.get("candidates") or ()), *chatrag, row.get("ground_truth_ctx")]
    texts = (c.get("text", c.get("ctx")) if isinstance(c, dict) else c for c in found)
    return [text for text in texts if isinstance(text, str)]
