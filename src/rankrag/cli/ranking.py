"""`rankrag retrieve`: questions in, a run out, without a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.errors import ConfigError
from rankrag.types import Passage, Question, Ranking

_SEARCHED_AT_ONCE = 64

QuestionsFile = Annotated[Path, typer.Option("--questions", "-q", help="JSON Lines with questions; `-` for stdin.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="JSON Lines; TREC if it ends in .trec, .run or .txt.")]
Depth = Annotated[int, typer.Option("--k", "-k", min=1, help="Passages for each question.")]
Freeze = Annotated[bool, typer.Option("--freeze", help="Keep the passages beside --out; then rerank needs no index.")]


@dataclass(frozen=True, slots=True)
class Outcome:
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

    def found() -> Iterator[Outcome]:
        with options.step_lines(passing=True) as step:
            for start in range(0, len(wanted), _SEARCHED_AT_ONCE):
                batch = wanted[start : start + _SEARCHED_AT_ONCE]
                rankings = search(first_stage, [search_queries(q, history_query or "last") for q in batch], k)
                if freeze:
                    passages.update((c.passage.id, c.passage) for ranking in rankings for c in ranking)
                yield from (Outcome(*one) for one in zip(batch, rankings, strict=True))
                step("Retrieving", start + len(batch), len(wanted))

    write_run(out, found())
    if out is not None and freeze:
        keep_passages(out, passages.values())


def write_run(out: Path | None, outcomes: Iterable[Outcome]) -> int:
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
