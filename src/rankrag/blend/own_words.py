"""Answers in a model's own words: a teacher reads the gold passages and replies as it would reply to a user.

A model that is trained on bare spans stops answering in sentences. So a teacher, best the untrained base itself,
answers the questions of a source in the wording of a conversation; a reply is kept if it agrees with the data set's
answer. The rows have the form of docs/data.md, with the reply as `reply`, and a journal keeps what the teacher said.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rankrag.blend.mining import Mined, mine
from rankrag.blend.sources import QuestionSet, Record
from rankrag.config.blend import SourceConfig
from rankrag.data.files import Row, write_rows
from rankrag.data.journal import Journal, content_key
from rankrag.data.progress import Progress, quiet
from rankrag.data.rows import write_passages
from rankrag.generate import is_refusal
from rankrag.matching import contains_any, normalise
from rankrag.models import LanguageModel, SamplingParams
from rankrag.templates import answer_prompt
from rankrag.types import Prompt

JOURNAL_FILE = "replies.journal.jsonl"

_AT_ONCE = 24  # questions in one call of the teacher
_BY_PASSAGE = 4  # questions of one passage share a prefix in training
_NEGATIVES = 8
_MAX_NEW_TOKENS = 80
_LONG = 8  # words from which a reference is a sentence, which no reply repeats word by word
_HELD = 0.5  # share of a long reference's words that a reply must hold
_PREAMBLE = re.compile(
    r"^(?:according to|based on) the (?:\w+ ){0,2}(?:passage|context|information|text)s?(?: provided| given)?"
    r"(?: in the (?:passage|context|text)s?)?, ",
    re.IGNORECASE,
)


def rows_file(name: str) -> str:
    """Return the file name of the rows with replies to the questions of a source."""
    return f"{name}.replies.jsonl.zst"


def corpus_file(name: str) -> str:
    """Return the file name of the passages of these rows."""
    return f"{name}.replies.corpus.jsonl.zst"


def replied(wanted: SourceConfig, out: Path) -> SourceConfig:
    """Return the source that reads the rows of `write_replies` instead of its own."""
    folder = out.absolute()
    rows = {"rows": str(folder / rows_file(wanted.name)), "corpus": str(folder / corpus_file(wanted.name))}
    return wanted.model_copy(update={**rows, "reader": "rankrag", "where": {}, "limit": None})


def write_replies(
    source: QuestionSet,
    teacher: LanguageModel,
    out: Path,
    *,
    questions: int,
    seed: int = 0,
    name: str = "",
    progress: Progress = quiet,
) -> Counter[str]:
    """Write rows with replies to some questions of a source, and their passages; return how many were kept, or why not.

    Args:
        source: the training part of a source; its questions are drawn passage by passage.
        teacher: replies to each question from its gold passages alone.
        out: folder of the blend.
        questions: how many questions the teacher is asked, at most.
        seed: of the questions drawn.
        name: tells the teacher's weights apart in the journal.
        progress: hears how many questions the teacher has answered.
    """
    records = drawn_by_passage(source, questions, random.Random(f"{seed}/{source.name}"))
    mined = mine(replace(source, records=tuple(records)), _NEGATIVES)
    prompts = [_prompt(source, teacher, record) for record in records]
    keys = [content_key([name, [segment.text for segment in prompt]]) for prompt in prompts]
    said = Journal(out / JOURNAL_FILE, lambda row: [(str(row["key"]), str(row["reply"]))])

    def ask(batch: Mapping[str, Prompt]) -> Iterator[Row]:
        encoded = teacher.encode(list(batch.values()), reserve=_MAX_NEW_TOKENS)
        replies = teacher.generate(encoded, SamplingParams(max_new_tokens=_MAX_NEW_TOKENS))
        return ({"key": key, "reply": reply} for key, reply in zip(batch, replies, strict=True))

    wanted = dict(zip(keys, prompts, strict=True))
    text, side_by_side = f"{source.name}: writing replies", teacher.info.calls_at_once
    said.fill(wanted, ask, at_once=_AT_ONCE, side_by_side=side_by_side, progress=progress, text=text)
    rows = list(_rows(records, mined, [said[key] for key in keys]))
    write_rows(out / rows_file(source.name), rows)
    write_passages(out / corpus_file(source.name), source.passages.values())
    return Counter(str(row.get("left_out", "kept")) for row in rows)


def drawn_by_passage(source: QuestionSet, questions: int, rng: random.Random) -> list[Record]:
    """Return up to `questions` answerable records, a few of each passage together, the passages in random order."""
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in source.records:
        if record.positives and record.question.answers:
            groups[record.positives].append(record)
    found: list[Record] = []
    for key in rng.sample(sorted(groups), len(groups)):
        if len(found) >= questions:
            break
        found += rng.sample(groups[key], min(_BY_PASSAGE, len(groups[key])))
    return found[:questions]


def without_preamble(reply: str) -> str:
    """Return a reply without a first clause that only names its source, as in "According to the passage, …"."""
    rest = _PREAMBLE.sub("", reply.strip(), count=1)
    return rest[:1].upper() + rest[1:]


def why_not(reply: str, answers: Sequence[str]) -> str:
    """Return why a reply cannot be learnt, "" if it can: it holds a short reference, or half of a long one's words."""
    if is_refusal(reply):
        return "the teacher refused"
    if reply[-1].isalnum() and len(reply.split()) > _MAX_NEW_TOKENS // 2:
        return "the reply is cut short"
    if contains_any(reply, answers):
        return ""
    words = set(normalise(reply).split())
    for reference in (normalise(answer).split() for answer in answers):
        if len(reference) >= _LONG and sum(word in words for word in reference) >= _HELD * len(reference):
            return ""
    return "reply and reference differ"


def _prompt(source: QuestionSet, teacher: LanguageModel, record: Record) -> Prompt:
    question = replace(record.question, style="conversation")
    return answer_prompt(teacher.contract.format, question, [source.passages[i] for i in record.positives])


def _rows(records: Sequence[Record], mined: Mined, replies: Sequence[str]) -> Iterator[Row]:
    """Yield a row for every question; one that is left out says why."""
    for record, found, said in zip(records, mined, replies, strict=True):
        question, reply = record.question, without_preamble(said)
        row: Row = {
            "id": question.id,
            "question": question.text,
            "history": [asdict(message) for message in question.history],
            "answers": list(question.answers),
            "positive_ids": list(record.positives),
            "candidate_ids": list(dict.fromkeys((*record.negatives, *found))),
            "reply": reply,
        }
        why = why_not(reply, question.answers)
        yield {**row, "left_out": why} if why else row
