"""Questions with gold passages, and the passages to search: the shared sets, cut to what one core can encode."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

from rankrag.data.files import located_rows
from rankrag.data.rows import QuestionRow, parse_row, read_passages
from rankrag.pipeline import search_queries
from rankrag.types import Passage, Question

SETS = {
    "squad": ("squad/squad", "dev"),
    "nq": ("openqa/nq_qed", "dev"),
    "hotpotqa": ("multihop/hotpotqa", "dev"),
    "2wiki": ("multihop/2wiki", "dev"),
    "popqa": ("openqa/popqa", "test"),
    "doc2dial": ("conversational/doc2dial", "dev"),
    "inscit": ("conversational/inscit", "dev"),
    "trec_dl19": ("ranking/trec_dl19", "test"),
    "trec_dl20": ("ranking/trec_dl20", "test"),
    "bioasq": ("biomedical/bioasq", "test"),
    "pubmedqa": ("biomedical/pubmedqa", "test"),
}
"""For each set its files in the shared data and the part to measure on; weights are fitted on the part `train`."""


@dataclass(frozen=True, slots=True)
class Searched:
    """Passages, the questions with their queries over them, and the places of each question's gold passages."""

    name: str
    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]
    queries: tuple[tuple[str, ...], ...]
    gold: tuple[frozenset[int], ...]


def load(data: Path, name: str, *, split: str = "", questions: int = 300, passages: int = 0) -> Searched:
    """Return questions of a set, drawn with seed 0, and its passages; of more than `passages` all gold ones and others.

    A turn of a conversation is asked alone and with the turns before it.
    """
    path, measured = SETS[name]
    rows = list(_rows(data / f"{path}.{split or measured}.jsonl.zst"))
    rows = random.Random(0).sample(rows, min(questions, len(rows)))
    found = list(read_passages(data / f"{path}.corpus.jsonl.zst"))
    wanted = {one for row in rows for one in row.positives}
    if passages:
        found.sort(key=lambda passage: (passage.id not in wanted, hashlib.md5(passage.id.encode()).digest()))
        found = found[: max(passages, len(wanted))]
    found.sort(key=lambda passage: passage.id)
    place = {passage.id: i for i, passage in enumerate(found)}
    gold = tuple(frozenset(place[one] for one in row.positives) for row in rows)
    asked = tuple(row.question for row in rows)
    return Searched(name, tuple(found), asked, tuple(search_queries(question, "both") for question in asked), gold)


def _rows(path: Path) -> list[QuestionRow]:
    parsed = [parse_row(row, where) for where, row in located_rows(path)]
    return [row for row in parsed if row.positives]
