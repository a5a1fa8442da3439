"""Rows of a question set, in the formats of docs/data.md, as records and passages."""

from __future__ import annotations

import hashlib

from rankrag.blend.pseudo_labels import labelled_chunks
from rankrag.blend.sft import instruction_record
from rankrag.blend.sources import Record
from rankrag.config import SourceConfig
from rankrag.data.files import Row
from rankrag.data.rows import LeftOut, QuestionRow, parse_row
from rankrag.errors import DataError
from rankrag.types import DataKind, Passage, Question

MAX_ANSWER_WORDS = 40
"""Words of a QA target, unless the configuration says otherwise."""


def parse_record(wanted: SourceConfig, row: Row, where: str, passages: dict[str, Passage]) -> Record:
    """Return the record of a row and put the passages that it carries into `passages`.

    `DataError` names a row of no known form; `LeftOut` says why a row is passed over.
    """
    if "left_out" in row:
        raise LeftOut(str(row["left_out"]))
    if DataKind.SFT in wanted.kinds:
        return _short_enough(wanted, instruction_record(row, where))
    read = parse_row(row, where, wanted.style)
    if read.carried_as == "contexts":
        return _of_document(wanted, read.question, _document(wanted, read, where), passages)
    positives, negatives = list(read.positives), list(read.negatives)
    for place, carried in enumerate(read.carried):
        if carried.label is None:
            raise DataError(f"{where}: candidate {place} has no 'label': 1 if it is relevant, else 0")
        passages[carried.passage.id] = carried.passage
        (positives if carried.label else negatives).append(carried.passage.id)
    negatives += [i for i in read.candidates if i not in positives]
    return Record(read.question, tuple(positives), tuple(negatives), read.near)


def _of_document(wanted: SourceConfig, question: Question, document: Passage, passages: dict[str, Passage]) -> Record:
    """Return the record of a question with its own document: whole, or in chunks with pseudo-labels."""
    if wanted.max_context_words and len(document.text.split()) > wanted.max_context_words:
        raise LeftOut(f"document longer than {wanted.max_context_words} words")
    if wanted.chunk_words is None:
        passages[document.id] = document
        ids = (document.id,)
        return Record(question, ids) if question.answers else Record(question, (), near=ids)
    if not question.answers:
        raise LeftOut("no answer to label chunks by")
    chunks = labelled_chunks(
        document,
        question.answers,
        words=wanted.chunk_words,
        relevant_above=wanted.relevant_above,
        irrelevant_below=wanted.irrelevant_below,
    )
    passages.update((chunk.passage.id, chunk.passage) for chunk in chunks)
    of = {label: tuple(c.passage.id for c in chunks if c.label == label) for label in ("relevant", "irrelevant")}
    if not of["relevant"]:
        raise LeftOut("no chunk holds the answer")
    unclear = tuple(c.passage.id for c in chunks if c.label == "unclear")
    return Record(question, of["relevant"], of["irrelevant"], unclear=unclear)


def _document(wanted: SourceConfig, read: QuestionRow, where: str) -> Passage:
    """Return all contexts of a row as one passage, named by its content: questions of one document share it."""
    parts = [carried.passage for carried in read.carried]
    if not parts:
        raise DataError(f"{where}: 'contexts' must be a list of passages (found: none)")
    title = parts[0].title if len(parts) == 1 else ""
    text = "\n\n".join(part.text.strip() for part in parts)
    digest = hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()
    return Passage(f"{wanted.name}/{digest[:16]}", text, title)


def _short_enough(wanted: SourceConfig, record: Record) -> Record:
    question = record.question
    if wanted.max_answer_words and len(question.answers[0].split()) > wanted.max_answer_words:
        raise LeftOut(f"reply longer than {wanted.max_answer_words} words")
    before = " ".join([m.content for m in question.history] + [question.text])
    if wanted.max_context_words and len(before.split()) > wanted.max_context_words:
        raise LeftOut(f"turns before the reply longer than {wanted.max_context_words} words")
    return record
