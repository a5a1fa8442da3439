"""`rankrag retrieve` and `rerank`: questions in, a run out, in a retriever's order or in a model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.cli.rows import Making, made_rows, write_run
from rankrag.cluster.pipelines import hold_reranker, reranked
from rankrag.config.answering import AskConfig
from rankrag.config.schema import load_config
from rankrag.data.files import Row
from rankrag.data.frozen import keep_passages, passages_beside
from rankrag.data.journal import Journal, content_key
from rankrag.data.rows import read_passages, read_questions
from rankrag.data.runs import is_trec, known_id, read_candidates, read_run, run_row
from rankrag.errors import ConfigError, DataError
from rankrag.models import LanguageModel
from rankrag.models.model_key import ranker_key
from rankrag.opening import open_reranker, open_retriever
from rankrag.pipeline import search_queries
from rankrag.rerank import Decision
from rankrag.retrieval.fusion import search
from rankrag.retrieval.homes import open_store
from rankrag.types import Passage, Question, Ranking, ScoredPassage

_SEARCHED_AT_ONCE = 64
_JUDGED_AT_ONCE = 16
"""Questions whose passages are judged together."""

_DEFAULTS = {"n": 100, "state_cache": "memory", "settled_from": None}
"""A list is judged whole; its passages are seldom asked for again."""

QuestionsFile = Annotated[Path, typer.Option("--questions", "-q", help="JSON Lines with questions; `-` for stdin.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="JSON Lines; TREC if it ends in .trec, .run or .txt.")]
Depth = Annotated[int, typer.Option("--k", "-k", min=1, help="Passages for each question.")]
Freeze = Annotated[bool, typer.Option("--freeze", help="Keep the passages beside --out; then rerank needs no index.")]

RunFile = Annotated[
    Path | None, typer.Option("--run", help="Run to rerank; its passages are beside it (--freeze) or in --index.")
]
RunIndex = Annotated[
    str | None,
    options.index_option(
        "--index", "-i", text="Its index, or a file with its passages; by default the file beside the run."
    ),
]
Candidates = Annotated[
    Path | None, typer.Option(help="Questions with their own candidates, also .zst; `-` for standard input.")
]
RunQuestions = Annotated[Path | None, typer.Option("--questions", "-q", help="Questions of a run in TREC format.")]
RunDepth = Annotated[
    int | None, typer.Option("--n", "-n", min=1, help=f"Passages of a run to rerank (default: {_DEFAULTS['n']}).")
]
SettledTop = Annotated[
    int | None,
    typer.Option("--k", "-k", min=1, help="Passages of an answer, for `settled_from`; by default the contract's."),
]

_Asked = tuple[Question, Ranking]
_RerankMany = Callable[[Sequence[_Asked]], Sequence[Decision]]


@options.with_options(AskConfig, "retriever", "encoder", "history_query", retriever="hybrid", history_query="last")
def retrieve(
    *,
    questions: QuestionsFile,
    index: options.Index = options.DEFAULT_INDEX,
    k: Depth = 100,
    out: Out = None,
    freeze: Freeze = False,
    given: options.Given,
) -> None:
    """Find the best passages for questions, without a model."""
    if freeze and out is None:
        raise ConfigError("--freeze keeps the passages beside the run; name the run with --out FILE")
    options.refuse_input(out, questions=questions)
    if out is not None and not freeze and (earlier := passages_beside(out)):
        raise ConfigError(f"{earlier}: belongs to an earlier run; pass --freeze to replace it, or delete it")
    wanted = list(read_questions(questions))
    first_stage = open_retriever(index, given["retriever"], encoder=given.get("encoder"), say=say)
    passages: dict[str, Passage] = {}

    def found() -> Iterator[Row]:
        with options.step_lines(passing=True) as step:
            for start in range(0, len(wanted), _SEARCHED_AT_ONCE):
                batch = wanted[start : start + _SEARCHED_AT_ONCE]
                rankings = search(first_stage, [search_queries(q, given["history_query"]) for q in batch], k)
                if freeze:
                    passages.update((c.passage.id, c.passage) for ranking in rankings for c in ranking)
                yield from map(run_row, batch, rankings)
                step("Retrieving", start + len(batch), len(wanted))

    write_run(out, found())
    if out is not None and freeze:
        keep_passages(out, passages.values())


@options.with_options(AskConfig, "model", "device", "dtype", "ray")
def rerank(
    *,
    run: RunFile = None,
    index: RunIndex = None,
    questions: RunQuestions = None,
    candidates: Candidates = None,
    n: RunDepth = None,
    out: Out = None,
    k: SettledTop = None,
    config: options.ConfigFile = None,
    set_: options.Set = None,
    given: options.Given,
) -> None:
    """Order passages by the model's relevance.

    A run that was killed goes on where it stopped: until --out is whole, what is done is in a journal beside it.
    """
    if (run is None) == (candidates is None):
        raise ConfigError("rerank takes --run RUN, or --candidates FILE; see rankrag rerank --help")
    settings = load_config(AskConfig, config, set_ or (), options=given | {"n": n, "k": k}, defaults=_DEFAULTS)
    passages = Path(index) if index else passages_beside(run) if run is not None else None
    options.refuse_input(out, run=run, candidates=candidates, questions=questions, index=passages)
    own = read_candidates(candidates) if candidates else ()
    wanted = list(_run_candidates(run, index, questions, settings.n) if run else own)
    store = None if index is None or Path(index).is_file() else index
    journal = None if out is None else out.with_name(f"{out.name}.journal")
    failed = write_run(out, _reranked(wanted, settings, store, journal))
    if journal is not None:
        journal.unlink(missing_ok=True)
    if failed:
        raise DataError(f"{failed} of {len(wanted)} questions could not be ranked; shorten them, the others are done")


def _reranked(wanted: Sequence[_Asked], settings: AskConfig, store: str | None, path: Path | None) -> Iterator[Row]:
    """Yield the row of each question; what a killed run has found is in the journal at `path`.

    The passages of some questions are judged together. These batches do not depend on what is found already, nor on who
    judges them; so scores do not either, but for the rounding by which a known passage differs from a new one.
    """
    size = _JUDGED_AT_ONCE if settings.settled_from is None else 1
    batches = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    made_by = [ranker_key("model", settings.model), settings.model_dump(exclude={"ray", "state_cache"})]
    keys = [content_key([made_by, [_content(asked) for asked in batch]]) for batch in batches]
    journal: Journal[str, list[Row]] = Journal(
        path, lambda row: [(row["key"], row["rows"])], is_row=lambda row: {"key", "rows"} <= set(row)
    )
    here: list[LanguageModel] = []
    opened = partial(_reranking, settings, store, here)
    rows = made_rows(list(zip(keys, batches, strict=True)), opened, journal, "Reranking")
    for (question, _), row in zip(wanted, rows, strict=True):
        yield {"id": question.id, "question": question.text} | row
    for model in here:
        options.say_state_use(model)


def _reranking(settings: AskConfig, store: str | None, here: list[LanguageModel]) -> Making[_Asked]:
    """Return what reranks a batch, here or on a cluster, and how many batches it takes at a time."""
    if settings.ray is not None:
        held = hold_reranker(settings, store, say)
        return partial(_row, partial(held, reranked)), held.size
    reranker = open_reranker(settings, index=store, say=say)
    here.append(reranker.model)
    return partial(_row, reranker.rerank_many), 1


def _row(rerank_many: _RerankMany, key: str, batch: Sequence[_Asked]) -> Row:
    return {"key": key, "rows": _rows(rerank_many, batch)}


def _rows(rerank_many: _RerankMany, batch: Sequence[_Asked]) -> list[Row]:
    """Rerank questions together; if one of them cannot be, each alone."""
    try:
        decisions = rerank_many(batch)
    except DataError as error:
        if len(batch) == 1:
            return [{"error": str(error)}]
        return [row for asked in batch for row in _rows(rerank_many, [asked])]
    return [
        run_row(question, decision.ranking, decision.relevance, decision.truncated)
        for (question, _), decision in zip(batch, decisions, strict=True)
    ]


def _content(asked: _Asked) -> list[object]:
    question, candidates = asked
    return [asdict(question), [[c.passage.id, c.passage.title, c.passage.text, c.score] for c in candidates]]


def _run_candidates(run: Path, index: str | None, questions: Path | None, n: int) -> Iterator[tuple[Question, Ranking]]:
    if is_trec(run) and questions is None:
        raise ConfigError(f"{run}: a TREC run holds no questions; pass theirs with --questions FILE")
    ranked = list(read_run(run, {q.id: q for q in read_questions(questions)} if questions else {}))
    wanted = {variant for r in ranked for name in r.ids[:n] for variant in (name, unquote(name))}
    source = index or passages_beside(run) or options.DEFAULT_INDEX
    if Path(source).is_file():
        passages = {passage.id: passage for passage in read_passages(Path(source)) if passage.id in wanted}
    else:
        passages = open_store(source).get(wanted)
    absent = [(r.question.id, name) for r in ranked for name in r.ids[:n] if known_id(name, passages) not in passages]
    if absent:
        question, name = absent[0]
        raise DataError(
            f"{run}: question {question!r}: passage {name!r} is not in {source} ({len(absent)} in all); "
            "name the index of the run with --index"
        )
    for r in ranked:
        ids = [known_id(name, passages) for name in r.ids[:n]]
        yield r.question, tuple(ScoredPassage(passages[i], s) for i, s in zip(ids, r.scores[:n], strict=True))
