"""A source made of a user's own documents: a model writes questions about the passages of an index.

The rows have the form of docs/data.md, so the makers of examples take them as they are. A row that is left out is kept
with its reason, which the manifest counts. The models' replies are in a journal by the content of each passage: a
killed run goes on, and after a change of the documents only new passages are asked about.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rankrag.blend.mining import is_negative
from rankrag.blend.sources import QuestionSet, Record
from rankrag.blend.writing import Distinct, Written, disagree, sentences_to_ask, unfit, unsupported, write
from rankrag.config.blend import SourceConfig, WritingConfig
from rankrag.data.files import Row, write_rows
from rankrag.data.journal import Journal, content_key
from rankrag.data.progress import Progress, quiet
from rankrag.data.rows import write_passages
from rankrag.errors import DataError, ModelError
from rankrag.models import LanguageModel
from rankrag.retrieval import Retriever
from rankrag.templates import WRITE, WRITER
from rankrag.types import Passage, Question

NAME = "own"
ROWS_FILE, CORPUS_FILE, JOURNAL_FILE = "own.jsonl.zst", "own.corpus.jsonl.zst", "own.journal.jsonl"

_AT_ONCE = 8  # passages whose questions go to the models in one call
_GIVE_UP_AFTER = 40  # passages without one question that could be asked
_NEGATIVES = 12
_SEARCHED_AT_ONCE = 256


Asked = tuple[Passage, tuple[str, ...]]
"""A passage under its name in the blend, and the sentences that questions are written from."""


def own_source(wanted: WritingConfig, out: Path) -> SourceConfig:
    """Return the source that reads the rows of own documents in the folder `out`."""
    folder = out.absolute()
    return SourceConfig.model_validate(
        {
            "name": NAME,
            "rows": str(folder / ROWS_FILE),
            "corpus": str(folder / CORPUS_FILE),
            "licence": wanted.licence,
        }
    )


def write_own(
    wanted: WritingConfig,
    passages: Sequence[Passage],
    retriever: Retriever,
    writer: LanguageModel,
    reader: LanguageModel,
    out: Path,
    *,
    seed: int = 0,
    models: Sequence[str] = (),
    progress: Progress = quiet,
) -> Counter[str]:
    """Write rows and corpus of own documents into `out`; return how many questions were kept, and left out for what.

    `models` tells the weights of writer and reader apart in the journal. `DataError` if the index has nothing to ask
    about, or no question can be used; `ModelError` if the writer writes none.
    """
    names = named(passages)
    corpus = {p.id: replace(p, id=names[p.id]) for p in passages}
    asked = to_ask(wanted, list(corpus.values()), seed)
    settings = [WRITER, WRITE, asdict(writer.contract), asdict(reader.contract), *models]
    said = _said(asked, writer, reader, out / JOURNAL_FILE, settings, progress)
    rows = list(_rows(wanted, asked, said, retriever, corpus))
    write_rows(out / ROWS_FILE, rows)
    write_passages(out / CORPUS_FILE, corpus.values())
    counted = Counter(str(row.get("left_out", "kept")) for row in rows)
    if not counted["kept"]:
        why = ", ".join(f"{n} {reason}" for reason, n in counted.most_common())
        raise DataError(
            f"{wanted.model} wrote {len(rows)} questions about {len(asked)} passages and none can be used ({why}); "
            f"{out / ROWS_FILE} has them all; try a larger --model, or more --questions"
        )
    return counted


def named(passages: Sequence[Passage]) -> dict[str, str]:
    """Return the name that each passage, by id, has in the blend: own, its document, its number in the document.

    A document's name is its path below the folder of all documents, not its absolute path: names seed the drawing, and
    rows are published.
    """
    paths = {p.source.path for p in passages if p.source and os.path.isabs(p.source.path)}
    folder = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    numbers: Counter[str] = Counter()
    names = {}
    for passage in passages:
        document = passage.source.path if passage.source else passage.id
        document = os.path.relpath(document, folder) if document in paths else document
        names[passage.id] = f"{NAME}/{document}/{numbers[document]}"
        numbers[document] += 1
    return names


def to_ask(wanted: WritingConfig, passages: Sequence[Passage], seed: int) -> list[Asked]:
    """Return the passages to ask about with their sentences, in the order given; `DataError` if there is none."""
    if not passages:
        raise DataError(f"{wanted.index}: the index holds no passages; add documents with: rankrag index DOCUMENTS")
    rng = random.Random(f"{seed}/passages")
    found = [
        (p, sentences)
        for p in passages
        if len(p.text.split()) >= wanted.min_words
        and (sentences := sentences_to_ask(p, wanted.questions, random.Random(f"{seed}/{p.id}")))
    ]
    if not found:
        longest = max(len(p.text.split()) for p in passages)
        raise DataError(
            f"{wanted.index}: none of the {len(passages)} passages has {wanted.min_words} words and a whole sentence "
            f"(the longest has {longest} words); lower writing.min_words, or index longer documents"
        )
    if wanted.passages is None or wanted.passages >= len(found):
        return found
    return [found[place] for place in sorted(rng.sample(range(len(found)), wanted.passages))]


def _said(
    asked: Sequence[Asked],
    writer: LanguageModel,
    reader: LanguageModel,
    journal: Path,
    settings: Sequence[Any],
    progress: Progress,
) -> list[Row]:
    """Return the models' replies about each passage; those in the journal are not asked for again."""
    keys = [content_key([*settings, passage.title, passage.text, sentences]) for passage, sentences in asked]
    wanted = dict(zip(keys, asked, strict=True))
    known = Journal(journal, lambda row: [(row["key"], row)])

    def make(batch: Mapping[str, Asked]) -> list[Row]:
        done = [known[key] for key in wanted if key in known]
        if len(done) >= _GIVE_UP_AFTER and not any(map(_fit, done)):
            raise ModelError(
                f"the model wrote no question about {len(done)} passages (one reply: {_one_reply(done)!r}); "
                "name another with --model"
            )
        return _written(list(batch.items()), writer, reader)

    side_by_side, text = writer.info.calls_at_once, "Writing questions"
    known.fill(wanted, make, at_once=_AT_ONCE, side_by_side=side_by_side, progress=progress, text=text)
    return [known[key] for key in keys]


def _written(batch: Sequence[tuple[str, Asked]], writer: LanguageModel, reader: LanguageModel) -> list[Row]:
    """Return a row of the journal for each passage; a passage that the models cannot take does not spoil the others."""
    try:
        found = write(writer, reader, [asked for _, asked in batch])
    except DataError as error:
        if len(batch) > 1:
            return [row for item in batch for row in _written([item], writer, reader)]
        ((key, (passage, _)),) = batch
        return [{"key": key, "passage": passage.id, "error": str(error)}]
    return [
        {"key": key, "passage": passage.id, "written": [asdict(w) for w in written]}
        for (key, (passage, _)), written in zip(batch, found, strict=True)
    ]


def _rows(
    wanted: WritingConfig,
    asked: Sequence[Asked],
    said: Sequence[Row],
    retriever: Retriever,
    corpus: Mapping[str, Passage],
) -> Iterator[Row]:
    """Yield a row for every question, in the order of the passages; one that is left out says why.

    `corpus` has the passages by the ids that the retriever knows them by.
    """
    kept, source = Distinct(), QuestionSet(NAME, (), {p.id: p for p in corpus.values()})
    entries = list(_entries(wanted, asked, said))
    for start in range(0, len(entries), _SEARCHED_AT_ONCE):
        part = entries[start : start + _SEARCHED_AT_ONCE]
        searched = ["" if "left_out" in row else row["question"] for _, row in part]
        found = retriever.retrieve(searched, max(wanted.found_within, _NEGATIVES))
        for (passage, row), ranking in zip(part, found, strict=True):
            ids = [corpus[c.passage.id].id if c.passage.id in corpus else "" for c in ranking]
            if "left_out" in row:
                yield row
            elif passage.id not in ids[: wanted.found_within]:
                yield row | {"left_out": f"passage is not among the first {wanted.found_within}"}
            elif not kept.add(row["question"]):
                yield row | {"left_out": "nearly equals another question"}
            else:
                answers = tuple(dict.fromkeys((row["reply"], row["proposed"])))
                record = Record(Question(row["id"], row["question"], answers=answers), (passage.id,))
                negatives = [i for i in ids if i and is_negative(source, record, i, "found")][:_NEGATIVES]
                yield row | {"answers": list(answers), "positive_ids": [passage.id], "negative_ids": negatives}


def _entries(wanted: WritingConfig, asked: Sequence[Asked], said: Sequence[Row]) -> Iterator[tuple[Passage, Row]]:
    """Yield each question with its passage; one that need not be searched for says why it is left out."""
    for (passage, _), reply in zip(asked, said, strict=True):
        if "error" in reply:
            why = "passage cannot be asked about"
            yield passage, {"id": f"{passage.id}/q0", "left_out": why, "error": reply["error"]}
        for number, fields in enumerate(reply.get("written", ())):
            w = Written(**fields)
            row = {"id": f"{passage.id}/q{number}", "question": w.question, **fields}
            why = _why(wanted, passage, w)
            yield passage, row | {"left_out": why} if why else row


def _why(wanted: WritingConfig, passage: Passage, written: Written) -> str:
    """Return why a question is left out without searching for it, "" if it is not."""
    why = unfit(written.question) or unsupported(written.question, written.proposed, passage.text)
    why = why or unsupported(written.question, written.reply, passage.text)
    if why:
        return why
    if max(len(a.split()) for a in (written.proposed, written.reply)) > wanted.max_answer_words:
        return f"answer longer than {wanted.max_answer_words} words"
    return "answers from sentence and passage differ" if disagree(written.proposed, written.reply) else ""


def _fit(row: Row) -> bool:
    return any(not unfit(written["question"]) for written in row.get("written", ()))


def _one_reply(rows: Any) -> str:
    return next((w["question"] for row in rows for w in row.get("written", ()) if w["question"]), "")
