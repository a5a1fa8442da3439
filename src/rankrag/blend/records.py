"""Rows of a question set, in the formats of docs/data.md, as records and passages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from rankrag.blend.pseudo_labels import labelled_chunks
from rankrag.blend.sft import instruction_record
from rankrag.blend.sources import Record
from rankrag.config import SourceConfig
from rankrag.data.files import Row
from rankrag.data.public import LeftOut
from rankrag.data.rows import as_choice, parse_history
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
    text, row_id = row.get("question", row.get("query")), row.get("id")
    if not isinstance(text, str) or not isinstance(row_id, str):
        raise DataError(f"{where}: no 'id' with 'question' or 'query' (found: {_found(row)}); see docs/data.md")
    answers = row.get("answers", [])
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise DataError(f"{where}: 'answers' must be a list of texts (found: {answers!r:.80})")
    history = parse_history(row.get("history", []), where)
    question = Question(row_id, text, history, tuple(answers), wanted.style)
    if wanted.style == "choice":
        question = as_choice(question, row, where)
    if "contexts" in row:
        return _of_document(wanted, question, _document(wanted, row, where), passages)
    positives, negatives = list(row.get("positive_ids", ())), list(row.get("negative_ids", ()))
    for passage, relevant in _candidates(row_id, row, where):
        passages[passage.id] = passage
        (positives if relevant else negatives).append(passage.id)
    negatives += [i for i in row.get("candidate_ids", ()) if i not in positives]
    return Record(question, tuple(positives), tuple(negatives), tuple(row.get("near_ids", ())))


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


def _document(wanted: SourceConfig, row: Row, where: str) -> Passage:
    """Return all contexts of a row as one passage, named by its content: questions of one document share it."""
    parts = row["contexts"]
    if not isinstance(parts, list) or not parts or not all(isinstance(p, dict) and "text" in p for p in parts):
        raise DataError(f"{where}: 'contexts' must be a list of objects with a 'text' (found: {parts!r:.80})")
    title = parts[0].get("title", "") if len(parts) == 1 else ""
    text = "\n\n".join(part["text"].strip() for part in parts)
    digest = hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()
    return Passage(f"{wanted.name}/{digest[:16]}", text, title)


def _candidates(row_id: str, row: dict[str, Any], where: str) -> Iterator[tuple[Passage, bool]]:
    for i, candidate in enumerate(row.get("candidates", ())):
        if not isinstance(candidate, dict) or "text" not in candidate or "label" not in candidate:
            raise DataError(f"{where}: candidate {i} needs 'text' and 'label' (found: {candidate!r:.80})")
        passage_id = candidate.get("id", f"{row_id}/c{i}")
        yield Passage(passage_id, candidate["text"], candidate.get("title", "")), bool(candidate["label"])


def _short_enough(wanted: SourceConfig, record: Record) -> Record:
    question = record.question
    if wanted.max_answer_words and len(question.answers[0].split()) > wanted.max_answer_words:
        raise LeftOut(f"reply longer than {wanted.max_answer_words} words")
    before = " ".join([m.content for m in question.history] + [question.text])
    if wanted.max_context_words and len(before.split()) > wanted.max_context_words:
        raise LeftOut(f"turns before the reply longer than {wanted.max_context_words} words")
    return record


def _found(row: Row) -> str:
    return ", ".join(sorted(row)) or "nothing"
