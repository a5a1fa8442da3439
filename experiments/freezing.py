"""Keep the first stage of a set as a frozen run (`data.frozen`): `python -m experiments.freezing NAME --data DATA`.

What is searched is the set's own passages or, with `--index`, an index that was built before: a corpus of 21 million
passages is indexed once, by `rankrag index`, and is never read into memory. Its search is kept in a journal beside the
run until it is complete, so that a killed one goes on.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter

from rankrag.cli.options import Given, say, step_lines, with_options
from rankrag.config.answering import AskConfig, RetrieverKind
from rankrag.contract import HistoryQuery
from rankrag.data.catalogue import BENCHMARKS, CORPUS_SIZES
from rankrag.data.files import write_whole
from rankrag.data.frozen import frozen_files, keep_passages
from rankrag.data.journal import Journal
from rankrag.data.load import load_set
from rankrag.data.progress import Progress, quiet
from rankrag.data.runs import run_row, trec_lines
from rankrag.data.sets import Benchmark, Judged, Origin
from rankrag.errors import ConfigError, DataError, RankragError
from rankrag.evaluation.first_stage import BATCH, FirstStage
from rankrag.opening import open_retriever
from rankrag.pipeline import search_queries
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.fusion import DEPTH, search
from rankrag.retrieval.homes import open_store
from rankrag.types import Passage, ScoredPassage

if TYPE_CHECKING:
    from rankrag.documents.parts import IndexedSource
    from rankrag.retrieval.homes import Store

NAMED = 5
"""Documents of an index that are named if it is not the benchmark's own corpus."""


@with_options(AskConfig, "retriever", "history_query", "encoder", retriever="hybrid", history_query="last")
def main(
    name: str,
    *,
    data: Annotated[Path | None, typer.Option(envvar="RANKRAG_DATA", help="Folder of the data sets.")] = None,
    index: Annotated[str | None, typer.Option(help="Index to search; by default the set's own passages.")] = None,
    k: Annotated[int, typer.Option(min=1, help="Passages of each question, from an index.")] = DEPTH,
    given: Given,
) -> None:
    """Keep what a retriever finds for the questions of a set in runs/ of the data folder."""
    try:
        encoder, history = given.get("encoder"), given["history_query"]
        run = _kept(name, data, index, retriever=given["retriever"], k=k, history=history, encoder=encoder)
    except RankragError as error:
        say(str(error))
        sys.exit(2)
    say(f"{name}: the first stage is in {run}.")


def _kept(
    name: str,
    data: Path | None,
    index: str | None,
    *,
    retriever: RetrieverKind,
    k: int,
    history: HistoryQuery,
    encoder: str | None,
) -> Path:
    if name not in BENCHMARKS:
        raise ConfigError(f"{name}: not known; sets are {', '.join(BENCHMARKS)}")
    if data is None:
        raise ConfigError("no data: pass --data FOLDER, or set RANKRAG_DATA to the folder of the data sets")
    benchmark = BENCHMARKS[name]
    vectors = Encoder(encoder) if retriever != "bm25" else None
    made_by = vectors.name if vectors else None
    with step_lines() as step:
        if index is None:
            work = data / "runs" / f"{name}.search"
            stage = FirstStage(load_set(benchmark, data), work, lambda _: vectors or Encoder(), step)
            run = freeze_first_stage(stage, data, retriever=retriever, encoder=made_by, history=history)
            shutil.rmtree(work, ignore_errors=True)
            return run
        store, first_stage = open_store(index), open_retriever(index, retriever, encoder=vectors, say=say)
        return freeze_from_index(
            benchmark,
            data,
            store,
            first_stage,
            retriever=retriever,
            encoder=made_by,
            history=history,
            k=k,
            progress=step,
        )


def freeze_first_stage(
    stage: FirstStage, into: Path, *, retriever: str, encoder: str | None, history: HistoryQuery
) -> Path:
    """Keep what a retriever finds for a set, with its passages, in `runs/` of the folder `into`; return the run.

    `encoder` is the name of what made the vectors.
    """
    test_set, benchmark = stage.test_set, stage.test_set.benchmark
    searched = benchmark.searched_by(history)
    found = stage.ids(retriever, searched)
    size = len(test_set.questions)
    origin = test_set.origin or origin_of(retriever, encoder, searched, benchmark.corpus, DEPTH, size)
    return freeze(benchmark, test_set.questions, found, test_set.passages, into, origin)


def freeze_from_index(
    benchmark: Benchmark,
    data: Path,
    store: Store,
    first_stage: Retriever,
    *,
    retriever: str,
    encoder: str | None,
    history: HistoryQuery = "last",
    k: int = 100,
    progress: Progress = quiet,
) -> Path:
    """Search an index for the questions of a benchmark; return the frozen run, in `runs/` of the data folder.

    After a kill, the same call goes on where it was, as long as index and settings are the same.

    Args:
        benchmark: its questions are in the data folder; its passages are those of the index.
        data: folder of the data sets.
        store: the index; its documents say whether it is the benchmark's corpus.
        first_stage: searches the index.
        retriever: its name; `encoder` names what made its vectors.
        history: by which turns conversations are searched.
        k: passages of a question, at most.
        progress: hears how many questions were searched.

    Raises:
        ConfigError: if a run is there, or if the questions bring their passages or name gold passages by other ids.
        DataError: if documents of the index were changed or removed meanwhile.
    """
    from rankrag.documents.parts import by_file

    _check(benchmark, data)
    questions = load_set(benchmark, data, passages=False).questions
    searched = benchmark.searched_by(history)
    sources = store.sources()
    corpus = corpus_of(benchmark, {file.path: file.passages for file in by_file(sources)})
    origin = origin_of(retriever, encoder, searched, corpus, k, len(questions))
    queries = {judged.question.id: search_queries(judged.question, searched) for judged in questions}
    settings = hashlib.sha256(repr((origin, encoder, sources, queries)).encode()).hexdigest()
    journal = data / "runs" / f"{benchmark.name}.journal.jsonl"
    rankings = Journal[str, list[str]](
        journal, lambda row: [(row["id"], row["ids"])] if row["settings"] == settings else [], is_row=_is_found
    )
    for start in range(0, len(questions), BATCH):
        names = list(islice(queries, start, start + BATCH))
        if not rankings.keys() >= set(names):  # a whole batch: vectors may depend on their neighbours
            found = search(first_stage, [queries[name] for name in names], k)
            ids = [[c.passage.id for c in ranking] for ranking in found]
            rankings.append({"id": i, "settings": settings, "ids": own} for i, own in zip(names, ids, strict=True))
        progress(f"{benchmark.title}: searching", min(start + BATCH, len(questions)), len(questions))
    passages = store.get({name for ids in rankings.values() for name in ids})
    if lost := _contents(sources) - _contents(store.sources()):
        raise DataError(
            f"{benchmark.title}: {len(lost)} documents of the index were changed or removed while it was searched, "
            f"such as {min(lost)[0]}; search it again"
        )
    run = freeze(benchmark, questions, rankings, passages, data, origin)
    journal.unlink(missing_ok=True)
    return run


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
    run = data / "runs" / f"{benchmark.name}.trec"
    lines = [
        line
        for judged in questions
        for ids in [rankings.get(judged.question.id, ())]
        for line in trec_lines(
            run_row(
                judged.question, tuple(ScoredPassage(passages[i], -float(rank)) for rank, i in enumerate(ids, start=1))
            )
        )
    ]
    text = "".join(f"{line}\n" for line in lines)
    if run.is_file() and run.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{run}: another run of {benchmark.title} is there; delete it or freeze elsewhere")
    named = dict.fromkeys(i for judged in questions for i in (*rankings.get(judged.question.id, ()), *judged.gold))
    keep_passages(run, (passages[i] for i in named if i in passages))
    write_whole(run.with_suffix(".json"), TypeAdapter(Origin).dump_json(origin, indent=1).decode() + "\n")
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


def _check(benchmark: Benchmark, data: Path) -> None:
    """Raise `ConfigError` if a set's passages are its own, or if a run of it is there."""
    if not benchmark.corpora or benchmark.needs_gold or benchmark.evidence:
        raise ConfigError(
            f"{benchmark.title}: its questions have passages of their own; freeze what is found of them with: "
            f"python -m experiments.freezing {benchmark.name}, without --index"
        )
    if found_run := frozen_files(benchmark.name, data):
        raise ConfigError(f"{found_run[0]}: a run of {benchmark.title} is there; delete it to freeze another")


def _contents(sources: Sequence[IndexedSource]) -> set[tuple[str, str, int]]:
    return {(source.path, source.sha256, source.passages) for source in sources}


def _is_found(row: Mapping[str, object]) -> bool:
    return {"id", "settings", "ids"} <= row.keys()


def corpus_of(benchmark: Benchmark, documents: Mapping[str, int]) -> str:
    """Return the benchmark's corpus in words if the index is of its files and no others, else what the index holds.

    A file is known by its name, or by that of a folder above it, without endings. If the size of the corpus is known,
    the index must hold as many passages, within 1 %.
    """
    wanted, held = {_stem(name) for name in benchmark.corpora}, sum(documents.values())
    met = [wanted.intersection(map(_stem, Path(name).parts)) for name in documents]
    whole = CORPUS_SIZES.get(benchmark.corpus, held)
    if all(met) and set().union(*met) == wanted and abs(held - whole) <= whole / 100:
        return benchmark.corpus
    return f"{held:,} passages of {_listed(sorted(documents))}"


def _stem(name: str) -> str:
    return Path(name).name.partition(".")[0]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more documents" if more > 0 else "")


if __name__ == "__main__":
    typer.run(main)
