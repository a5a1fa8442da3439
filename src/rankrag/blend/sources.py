"""What a question set is to the blend: records that name passages by id, and those passages; and how it is read.

Only passages that belong to the records are kept, so that a corpus shared with a dev split gives none of its passages
to training.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from rankrag.blend.licences import allows_commercial
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.files import Located, OnBadRow, Row, located_rows
from rankrag.data.hub import hub_rows
from rankrag.data.progress import Progress, quiet, watched
from rankrag.data.public import converted
from rankrag.data.rows import LeftOut, QuestionRow, parse_history, parse_id, parse_row, read_passages
from rankrag.errors import DataError, Mistakes
from rankrag.matching import ngram_recall
from rankrag.types import DataKind, Message, Passage, Question

FORBIDDEN = "licence forbids commercial use"
"""Why a row was dropped: its own licence, or that of its source, does not allow it or is not stated."""


@dataclass(frozen=True, slots=True)
class Record:
    """A question and the ids of passages that answer it, do not, only look as if they did (`near`), or may (`unclear`).

    An unclear passage is neither a positive nor a negative of the record. `reply` is what the model learns to say, in a
    teacher's words; if it is empty, the model learns to say a reference answer.
    """

    question: Question
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    reply: str = ""


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A named set of records and the passages they may use; `dropped` counts what was left out, by reason.

    `origin` has what the manifest says about rows that came from a hub: their hash and revision.
    """

    name: str
    records: tuple[Record, ...]
    passages: Mapping[str, Passage]
    dropped: Counter[str] = field(default_factory=Counter)
    origin: Mapping[str, str] = field(default_factory=dict)


def read_source(
    wanted: SourceConfig, data: Path, *, seed: int = 0, commercial: bool = False, progress: Progress = quiet
) -> QuestionSet:
    """Return a question set of the folder `data`, or of a hub; `seed` draws the rows if there is a limit.

    `commercial` leaves out rows whose licence does not allow such use. `DataError` names file and line of all rows that
    are not JSON, fit no format or name a passage that is not there.
    """
    dropped: Counter[str] = Counter()
    passages: dict[str, Passage] = {}
    records: list[Record] = []
    origin: dict[str, str] = {}
    mistakes = Mistakes()
    raw = watched(_raw_rows(wanted, data, origin, mistakes.add), progress, f"{wanted.name}: reading rows")
    rows = _kept(wanted, converted(wanted.reader, raw, dropped, mistakes.add), dropped, commercial)
    for where, row in _limited(rows, wanted.limit, random.Random(seed), dropped):
        with mistakes.caught():
            try:
                records.append(parse_record(wanted, row, where, passages))
            except LeftOut as reason:
                dropped[str(reason)] += 1
    readable = wanted.corpus is None
    if wanted.corpus:
        read = watched(read_passages(data / wanted.corpus), progress, f"{wanted.name}: reading passages")
        with mistakes.caught():
            passages |= _named_passages(read, records)
            readable = True
    for question, name in ((record.question, name) for record in records for name in record.positives):
        if readable and name not in passages:
            where = f"{wanted.rows}: question {question.id!r} names passage {name!r}"
            mistakes.add(f"{where}, which {wanted.corpus} does not hold")
    mistakes.raise_any()
    return QuestionSet(wanted.name, tuple(records), passages, dropped, origin)


def parse_record(wanted: SourceConfig, row: Row, where: str, passages: dict[str, Passage]) -> Record:
    """Return the record of a row and put the passages that it carries into `passages`.

    `DataError` names a row of no known form; `LeftOut` says why a row is skipped.
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
    return Record(read.question, tuple(positives), tuple(negatives), read.near, reply=str(row.get("reply", "")))


def instruction_record(row: Row, where: str) -> Record:
    """Return the record of a row of `messages`: the last reply is the answer, the turns before it are the history.

    A user's turn after the last reply is dropped. System messages stand before the user's first turn. `LeftOut` if
    nobody replies; `DataError` if the row has another form.
    """
    turns = row.get("messages")
    if row.get("id") is None or not isinstance(turns, list):
        raise DataError(f"{where}: no 'id' with 'messages' (found: {', '.join(sorted(row))}); see docs/data.md")
    system = [t["content"] for t in turns if isinstance(t, dict) and t.get("role") == "system" and t.get("content")]
    messages = list(parse_history([t for t in turns if not isinstance(t, dict) or t.get("role") != "system"], where))
    while messages and messages[-1].role == "user":
        messages.pop()
    if len(messages) < 2 or messages[-2].role != "user" or not messages[-1].content.strip():
        raise LeftOut("no reply to learn")
    *shown, reply = messages
    first = next(i for i, message in enumerate(shown) if message.role == "user")
    shown[first] = Message("user", "\n\n".join([*system, shown[first].content]))
    *history, asked = shown
    question = Question(parse_id(row["id"], where), asked.content, tuple(history), (reply.content,), "plain")
    return Record(question, ())


def document_of(passage_id: str) -> str:
    """Return the document part of an id of the form set/document/number, else ""."""
    return passage_id.rpartition("/")[0] if passage_id.count("/") >= 2 else ""


def is_drawn(name: str, share: float) -> bool:
    """Whether a name is in a share of all names that depends on nothing but the name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") < share * 2**32


def split_held_back(source: QuestionSet, share: float) -> tuple[QuestionSet, QuestionSet]:
    """Return (training part, held-back part) of a source; questions about one document go the same way."""
    kept = tuple(r for r in source.records if not _is_held_back(r, share))
    held = tuple(r for r in source.records if _is_held_back(r, share))
    return replace(source, records=kept), replace(source, records=held)


def held_back_part(config: BlendConfig, wanted: SourceConfig) -> QuestionSet:
    """Return the held-back questions of a source, for fitting thresholds and weights."""
    return split_held_back(read_source(wanted, Path(config.data), seed=config.seed), config.held_back)[1]


def _is_held_back(record: Record, share: float) -> bool:
    anchor = next(iter(record.positives or record.near), record.question.id)
    return is_drawn(document_of(anchor) or anchor, share)


def _raw_rows(wanted: SourceConfig, data: Path, origin: dict[str, str], on_bad_row: OnBadRow) -> Iterator[Located]:
    """Yield the rows of a source as they are published.

    For rows of a hub, `origin` gets the revision, if the hub says it, and after the last row the hash of all.
    """
    if wanted.hub is None:
        yield from located_rows(data / wanted.rows, on_bad_row=on_bad_row)
        return
    digest = hashlib.sha256()
    for where, row in hub_rows(wanted.hub, origin=origin):
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
        yield where, row
    origin["rows_sha256"] = digest.hexdigest()


def _kept(wanted: SourceConfig, rows: Iterable[Located], dropped: Counter[str], commercial: bool) -> Iterator[Located]:
    for where, row in rows:
        if any(str(row.get(name)) not in values for name, values in wanted.where.items()):
            dropped["not asked for (where)"] += 1
        elif commercial and not allows_commercial(str(row.get("licence") or wanted.licence)):
            dropped[FORBIDDEN] += 1
        else:
            yield where, row


def _limited(
    rows: Iterable[Located], limit: int | None, rng: random.Random, dropped: Counter[str]
) -> Iterable[Located]:
    """Return at most `limit` rows, each equally likely, in their order; memory holds no more than these."""
    if limit is None:
        return rows
    stream = enumerate(rows)
    found = list(islice(stream, limit))
    for number, row in stream:
        place = rng.randrange(number + 1)  # reservoir sampling
        if place < limit:
            found[place] = (number, row)
        dropped["beyond the limit"] += 1
    return (row for _, row in sorted(found, key=lambda item: item[0]))


def _named_passages(corpus: Iterable[Passage], records: Iterable[Record]) -> dict[str, Passage]:
    """Return the passages of a corpus that the records name, and the others of the same documents."""
    wanted = {i for record in records for i in (*record.positives, *record.negatives, *record.near)}
    documents = {d for d in map(document_of, wanted) if d}
    return {p.id: p for p in corpus if p.id in wanted or document_of(p.id) in documents}


def _document(wanted: SourceConfig, read: QuestionRow, where: str) -> Passage:
    """Return all contexts of a row as one passage, named by its content: questions about one document share it."""
    parts = [carried.passage for carried in read.carried]
    if not parts:
        raise DataError(f"{where}: 'contexts' must be a list of passages (found: none)")
    title = parts[0].title if len(parts) == 1 else ""
    text = "\n\n".join(part.text.strip() for part in parts)
    digest = hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()
    return Passage(f"{wanted.name}/{digest[:16]}", text, title)


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
    return _of_chunks(wanted, question, document, wanted.chunk_words, passages)


def _of_chunks(
    wanted: SourceConfig, question: Question, document: Passage, words: int, passages: dict[str, Passage]
) -> Record:
    """Return the record of a question whose document is cut into chunks of `words` words (paper, 4.2.1).

    A chunk is relevant or not by its best 4-gram recall of an answer; between the two thresholds that is unclear. Line
    breaks become spaces. `LeftOut` if no chunk is relevant.
    """
    labels: dict[str, list[str]] = {"relevant": [], "irrelevant": [], "unclear": []}
    found = document.text.split()
    chunks = {}
    for number, start in enumerate(range(0, len(found), words)):
        chunk = Passage(f"{document.id}/{number}", " ".join(found[start : start + words]), document.title)
        recall = max((ngram_recall(chunk.text, answer) for answer in question.answers), default=0.0)
        label = "relevant" if recall > wanted.relevant_above else "unclear"
        label = "irrelevant" if label == "unclear" and recall < wanted.irrelevant_below else label
        labels[label].append(chunk.id)
        chunks[chunk.id] = chunk
    passages |= chunks
    if not labels["relevant"]:
        raise LeftOut("no chunk holds the answer")
    relevant, irrelevant, unclear = map(tuple, labels.values())
    return Record(question, relevant, irrelevant, unclear=unclear)


def _short_enough(wanted: SourceConfig, record: Record) -> Record:
    question = record.question
    if wanted.max_answer_words and len(question.answers[0].split()) > wanted.max_answer_words:
        raise LeftOut(f"reply longer than {wanted.max_answer_words} words")
    before = " ".join([m.content for m in question.history] + [question.text])
    if wanted.max_context_words and len(before.split()) > wanted.max_context_words:
        raise LeftOut(f"turns before the reply longer than {wanted.max_context_words} words")
    return record
