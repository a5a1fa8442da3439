"""Frozen runs: what a retriever found, kept with its passages, so that nobody needs its index to check a number.

A run `NAME.trec` or `NAME.jsonl` is frozen if `NAME.passages.jsonl` (or `.jsonl.zst`) is beside it, with the passages
that it names. In a data folder's `runs/`, NAME is a set's, and the run is its first stage; `NAME.json` says
how it was made (`Origin`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rankrag.contract import HistoryQuery
from rankrag.data.files import write_whole
from rankrag.data.rows import write_passages
from rankrag.data.runs import read_run, trec_lines
from rankrag.data.sets import Benchmark, Judged, Origin
from rankrag.errors import ConfigError, DataError
from rankrag.types import Passage, Question, ScoredPassage

Ids = tuple[str, ...]


def passages_beside(run: Path) -> Path | None:
    """Return the file of a run's passages, or None if there is none."""
    texts = [run.with_suffix(f".passages.jsonl{ending}") for ending in ("", ".zst")]
    return next((path for path in texts if path.is_file()), None)


def keep_passages(run: Path, passages: Iterable[Passage]) -> Path:
    """Write the passages of a run beside it, in the place of any that are there; return their file."""
    path = run.with_suffix(".passages.jsonl.zst")
    write_passages(path, passages)
    run.with_suffix(".passages.jsonl").unlink(missing_ok=True)
    return path


def frozen_files(name: str, data: Path) -> tuple[Path, Path] | None:
    """Return the run of a set and the file of its passages, or None if they are not in the data folder."""
    run = _run_path(name, data)
    passages = passages_beside(run)
    return (run, passages) if run.is_file() and passages else None


def freeze(
    benchmark: Benchmark,
    questions: Sequence[Judged],
    rankings: Mapping[str, Sequence[str]],
    passages: Mapping[str, Passage],
    data: Path,
    origin: Origin,
) -> Path:
    """Keep these ids by question as the first stage of a set, with their passages and the gold ones; return the run.

    Scores in the file fall with the rank: the order is what counts. `ConfigError` if another run of the set is there.
    """
    run = _run_path(benchmark.name, data)
    lines = [
        line
        for judged in questions
        for ids in [rankings.get(judged.question.id, ())]
        for line in trec_lines(
            judged.question, tuple(ScoredPassage(passages[i], -float(rank)) for rank, i in enumerate(ids, start=1))
        )
    ]
    text = "".join(f"{line}\n" for line in lines)
    if run.is_file() and run.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{run}: another run of {benchmark.title} is there; delete it or freeze elsewhere")
    named = dict.fromkeys(i for judged in questions for i in (*rankings.get(judged.question.id, ()), *judged.gold))
    keep_passages(run, (passages[i] for i in named if i in passages))
    write_whole(run.with_suffix(".json"), _ORIGIN.dump_json(origin, indent=1).decode() + "\n")
    write_whole(run, text)
    return run


def origin_of(
    retriever: str, encoder: str | None, history: HistoryQuery, corpus: str, depth: int, questions: int
) -> Origin:
    """Return the origin of a run that is made now; `encoder` is the name of the encoder, if there is one."""
    vectors = encoder.partition("@")[0] if encoder and retriever != "bm25" else None
    return Origin(
        retriever=retriever,
        encoder=vectors,
        history=history,
        corpus=corpus,
        depth=depth,
        questions=questions,
        rankrag=version("rankrag"),
    )


def read_origin(run: Path) -> Origin | None:
    """Return how a frozen run was made; None if nobody wrote it down, `DataError` if that cannot be read."""
    path = run.with_suffix(".json")
    try:
        return _ORIGIN.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: does not say how {run.name} was made ({error}); freeze it again") from None


def read_frozen(run: Path, questions: Iterable[Question], passages: Mapping[str, Passage]) -> dict[str, Ids]:
    """Return the ids of a frozen run by question; one that it lacks has an empty ranking."""
    known = {question.id: question for question in questions}
    found = {ranked.question.id: ranked.ids for ranked in read_run(run, known, passages)}
    return {name: found.get(name, ()) for name in known}


def _run_path(name: str, data: Path) -> Path:
    return data / "runs" / f"{name}.trec"


_ORIGIN = TypeAdapter(Origin)
