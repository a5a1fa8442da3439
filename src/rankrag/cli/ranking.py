"""`rankrag retrieve`: questions in, a run out, without a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.cli.rows import write_run
from rankrag.config.answering import AskConfig
from rankrag.data.files import Row
from rankrag.data.frozen import keep_passages, passages_beside
from rankrag.data.rows import read_questions
from rankrag.data.runs import run_row
from rankrag.errors import ConfigError
from rankrag.opening import open_retriever
from rankrag.pipeline import search_queries
from rankrag.retrieval.fusion import search
from rankrag.types import Passage

_SEARCHED_AT_ONCE = 64

QuestionsFile = Annotated[Path, typer.Option("--questions", "-q", help="JSON Lines with questions; `-` for stdin.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="JSON Lines; TREC if it ends in .trec, .run or .txt.")]
Depth = Annotated[int, typer.Option("--k", "-k", min=1, help="Passages for each question.")]
Freeze = Annotated[bool, typer.Option("--freeze", help="Keep the passages beside --out; then rerank needs no index.")]


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
