"""`rankrag retrieve` and `rankrag rerank`: rankings in and out, without answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.errors import ConfigError, DataError
from rankrag.types import Passage, Question, Ranking, ScoredPassage

if TYPE_CHECKING:
    from rankrag.pipeline import RankRAG

_AT_ONCE = 16
"""Questions whose passages are judged together."""

_SEARCHED_AT_ONCE = 64
_DEFAULTS = {"n": 100, "state_cache": "memory"}  # runs are long, and their passages are seldom asked for again

QuestionsFile = Annotated[Path, typer.Option("--questions", "-q", help="JSON Lines with questions; `-` for stdin.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="JSON Lines; TREC if it ends in .trec, .run or .txt.")]
Depth = Annotated[int, typer.Option("--k", "-k", min=1, help="Passages for each question.")]
RunFile = Annotated[
    Path | None, typer.Option("--run", help="Run to rerank; its passages are beside it (--freeze) or in --index.")
]
RunIndex = Annotated[
    str | None,
    typer.Option(
        "--index",
        "-i",
        parser=options.index_place,
        metavar="INDEX",
        help="Its index, or a file with its passages; by default the file beside the run.",
    ),
]
Freeze = Annotated[bool, typer.Option("--freeze", help="Keep the passages beside --out; then rerank needs no index.")]
Candidates = Annotated[
    Path | None, typer.Option(help="Questions with their own candidates, also .zst; `-` for standard input.")
]
RunQuestions = Annotated[Path | None, typer.Option("--questions", "-q", help="Questions of a run in TREC format.")]
RunDepth = Annotated[
    int | None, typer.Option("--n", "-n", min=1, help=f"Passages of a run to rerank (default: {_DEFAULTS['n']}).")
]
SettledTop = Annotated[
    int | None, typer.Option("--k", "-k", min=1, help="Passages that settled_from settles; by default the contract's.")
]

_Asked = tuple[Question, Ranking]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was found for a question, or the error that prevented it."""

    question: Question
    ranking: Ranking = ()
    relevance: Mapping[str, float] = field(default_factory=dict)
    truncated: frozenset[str] = frozenset()
    error: str = ""


def retrieve(
    *,
    questions: QuestionsFile,
    index: options.Index = options.DEFAULT_INDEX,
    retriever: options.RetrieverName = "hybrid",
    k: Depth = 100,
    out: Out = None,
    freeze: Freeze = False,
    history_query: options.HistoryQueryName = "last",
    encoder: options.EncoderDir = None,
) -> None:
    """Find the best passages for questions, without a model."""
    if freeze and out is None:
        raise ConfigError("--freeze keeps the passages beside the run; name the run with --out FILE")
    options.refuse_input(out, questions=questions)
    from rankrag.data.frozen import keep_passages, passages_beside
    from rankrag.data.rows import read_questions
    from rankrag.opening import open_retriever
    from rankrag.pipeline import search_queries
    from rankrag.retrieval.fusion import search

    if out is not None and not freeze and (earlier := passages_beside(out)):
        raise ConfigError(f"{earlier}: belongs to an earlier run; pass --freeze to replace it, or delete it")
    wanted = list(read_questions(questions))
    first_stage = open_retriever(index, retriever, encoder=encoder, say=say)
    passages: dict[str, Passage] = {}

    def found() -> Iterator[_Outcome]:
        with options.step_lines(passing=True) as step:
            for start in range(0, len(wanted), _SEARCHED_AT_ONCE):
                batch = wanted[start : start + _SEARCHED_AT_ONCE]
                rankings = search(first_stage, [search_queries(q, history_query or "last") for q in batch], k)
                if freeze:
                    passages.update((c.passage.id, c.passage) for ranking in rankings for c in ranking)
                yield from (_Outcome(*one) for one in zip(batch, rankings, strict=True))
                step("Retrieving", start + len(batch), len(wanted))

    _write(out, found())
    if out is not None and freeze:
        keep_passages(out, passages.values())


def rerank(
    *,
    run: RunFile = None,
    index: RunIndex = None,
    questions: RunQuestions = None,
    candidates: Candidates = None,
    n: RunDepth = None,
    out: Out = None,
    k: SettledTop = None,
    model: options.ModelChoice = None,
    device: options.DeviceChoice = None,
    dtype: options.DtypeChoice = None,
    config: options.ConfigFile = None,
    set_: options.Set = None,
) -> None:
    """Order passages by the model's relevance."""
    if (run is None) == (candidates is None):
        raise ConfigError("rerank takes --run RUN, or --candidates FILE; see rankrag rerank --help")
    from rankrag.data.frozen import passages_beside
    from rankrag.data.runs import read_candidates
    from rankrag.opening import open_reranker

    settings = options.asked_for(config, set_, _DEFAULTS, model=model, device=device, dtype=dtype, n=n, k=k)
    passages = Path(index) if index else passages_beside(run) if run is not None else None
    options.refuse_input(out, run=run, candidates=candidates, questions=questions, index=passages)
    given = read_candidates(candidates) if candidates else ()
    wanted = list(_run_candidates(run, index, questions, settings.n) if run else given)
    store = None if index is None or Path(index).is_file() else index
    reranker = open_reranker(settings, index=store, say=say)
    failed = _write(out, _outcomes(reranker, wanted, at_once=_AT_ONCE if settings.settled_from is None else 1))
    options.say_state_use(reranker.model)
    if failed:
        raise DataError(f"{failed} of {len(wanted)} questions could not be ranked; shorten them, the others are done")


def _outcomes(reranker: RankRAG, wanted: Sequence[_Asked], *, at_once: int) -> Iterator[_Outcome]:
    """Yield what reranking finds for each question; the passages of `at_once` questions are judged together."""
    with options.step_lines(passing=True) as step:
        for start in range(0, len(wanted), at_once):
            batch = wanted[start : start + at_once]
            yield from _reranked(reranker, batch)
            step("Reranking", start + len(batch), len(wanted))


def _reranked(reranker: RankRAG, batch: Sequence[_Asked]) -> list[_Outcome]:
    """Rerank questions together; if one of them cannot be, each alone."""
    try:
        decisions = reranker.rerank_many(batch)
    except DataError as error:
        if len(batch) == 1:
            return [_Outcome(batch[0][0], error=str(error))]
        return [outcome for asked in batch for outcome in _reranked(reranker, [asked])]
    return [
        _Outcome(question, decision.ranking, decision.relevance, decision.truncated)
        for (question, _), decision in zip(batch, decisions, strict=True)
    ]


def _run_candidates(run: Path, index: str | None, questions: Path | None, n: int) -> Iterator[tuple[Question, Ranking]]:
    from urllib.parse import unquote

    from rankrag.data.frozen import passages_beside
    from rankrag.data.rows import read_passages, read_questions
    from rankrag.data.runs import is_trec, known_id, read_run
    from rankrag.retrieval.homes import open_store

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


def _write(out: Path | None, outcomes: Iterable[_Outcome]) -> int:
    """Write a run in the format of its name: to standard output line by line, to a file whole or not at all.

    Return how many questions have no ranking. Their rows have `error`; a TREC run has no place for it, so it is said.
    """
    from rankrag.data.files import write_lines
    from rankrag.data.runs import is_trec, run_row, trec_lines

    if out is not None and out.is_dir():
        raise ConfigError(f"{out}: a folder; --out names the file of the run")
    trec, failed = out is not None and is_trec(out), 0

    def lines() -> Iterator[str]:
        nonlocal failed
        for one in outcomes:
            question = one.question
            failed += bool(one.error)
            if trec and one.error:
                say(f"rankrag: question {question.id!r} is not in {out}: {one.error}")
            elif trec:
                yield from trec_lines(question, one.ranking)
            else:
                error = {"id": question.id, "question": question.text, "error": one.error}
                row = error if one.error else run_row(question, one.ranking, one.relevance, one.truncated)
                yield json.dumps(row, ensure_ascii=False)

    if out is not None:
        write_lines(out, (f"{line}\n".encode() for line in lines()))
        return failed
    for line in lines():
        print(line, flush=True)
    return failed
