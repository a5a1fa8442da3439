"""Frozen runs: what a retriever found, kept beside the data, so that nobody needs its index to check a number.

A run is `runs/NAME.trec` with `runs/NAME.passages.jsonl` (or `.jsonl.zst`), the passages that it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rankrag.evaluation.benchmarks import TestSet
from rankrag.journal import write_whole
from rankrag.jsonl import write_rows
from rankrag.runs import read_run, trec_lines
from rankrag.types import Passage, Question, ScoredPassage

Ids = tuple[str, ...]


def frozen_files(name: str, data: Path) -> tuple[Path, Path] | None:
    """Return the run of a set and the file of its passages, or None where they are not in the data folder."""
    run = _run_path(name, data)
    texts = [run.with_suffix(f".passages.jsonl{ending}") for ending in ("", ".zst")]
    found = [path for path in texts if path.is_file()]
    return (run, found[0]) if run.is_file() and found else None


def freeze(test_set: TestSet, rankings: Mapping[str, Sequence[str]], data: Path) -> Path:
    """Keep these ids by question as the first stage of a set, with the passages that they name; return the run.

    Scores in the file fall with the rank: the order is what counts.
    """
    run = _run_path(test_set.benchmark.name, data)
    named = dict.fromkeys(i for ids in rankings.values() for i in ids)
    passages = (test_set.passages[i] for i in named)
    write_rows(
        run.with_suffix(".passages.jsonl.zst"), ({"id": p.id, "title": p.title, "text": p.text} for p in passages)
    )
    lines = [
        line
        for of in test_set.questions
        for line in trec_lines(
            of.question,
            tuple(
                ScoredPassage(test_set.passages[i], -float(rank))
                for rank, i in enumerate(rankings.get(of.question.id, ()), start=1)
            ),
        )
    ]
    write_whole(run, "\n".join(lines) + "\n")
    return run


def read_frozen(run: Path, questions: Iterable[Question], passages: Mapping[str, Passage]) -> dict[str, Ids]:
    """Return the ids of a frozen run by question; a question that it lacks has an empty ranking."""
    known = {question.id: question for question in questions}
    found = {ranked.question.id: ranked.ids for ranked in read_run(run, known, passages)}
    return {name: found.get(name, ()) for name in known}


def _run_path(name: str, data: Path) -> Path:
    return data / "runs" / f"{name}.trec"
