"""The example questions through the whole pipeline: what is refused, what is right, what is cited."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rankrag.data.files import read_rows
from rankrag.data.journal import append_rows, read_journal
from rankrag.data.progress import Progress, quiet
from rankrag.data.rows import parse_question
from rankrag.errors import DataError
from rankrag.evaluation.metrics import exact_match, token_f1
from rankrag.evaluation.summary import ExampleFigures
from rankrag.evaluation.work import model_key
from rankrag.pipeline import RankRAG
from rankrag.types import Answer, Question


@dataclass(frozen=True, slots=True)
class ExampleQuestion:
    """A question; without answers it is one to be refused. `sources` are the files that hold the answer."""

    question: Question
    sources: tuple[str, ...]


def examples_check(
    pipeline: RankRAG,
    questions: Path,
    *,
    model_name: str = "",
    journal: Path | None = None,
    progress: Progress = quiet,
) -> ExampleFigures:
    """Return the figures of a questions file over the pipeline's index.

    A row has `question`, `answers` (none: the corpus does not answer it) and, where known, `source` or `sources`.
    With `journal`, answers that the same pipeline and model gave before are taken from there.
    """
    asked = read_examples(questions)
    settings = settings_key(pipeline, model_name)
    kept = {row["id"]: row for row in read_journal(journal) if row["settings"] == settings} if journal else {}
    for done, example in enumerate(asked, start=1):
        name = example.question.id
        if name not in kept:
            kept[name] = {"settings": settings, **_row(pipeline.ask(example.question))}
            if journal:
                append_rows(journal, [kept[name]])
            progress("Examples: asking", done, len(asked))
    return example_figures(asked, [kept[example.question.id] for example in asked])


def read_examples(path: Path) -> list[ExampleQuestion]:
    """Return the questions of a file with the names of their sources; `DataError` if there is none."""
    found = []
    for line, row in read_rows(path):
        named = row.get("sources", row.get("source")) or ()
        sources = (named,) if isinstance(named, str) else tuple(named)
        found.append(ExampleQuestion(parse_question(row, f"{path}:{line}"), tuple(Path(s).name for s in sources)))
    if not found:
        raise DataError(f"{path}: holds no question; each line is an object with 'question' and 'answers'")
    return found


def example_figures(asked: list[ExampleQuestion], rows: list[dict[str, Any]]) -> ExampleFigures:
    """Return the figures of answers that were given, one row a question."""
    pairs = list(zip(asked, rows, strict=True))
    right = [(example, row) for example, row in pairs if example.question.answers]
    unanswerable = [row for example, row in pairs if not example.question.answers]
    answered = [(row["text"] if not row["abstained"] else "", e.question.answers) for e, row in right]
    hits = [float(row["cited"] in example.sources) for example, row in right if example.sources]
    return ExampleFigures(
        unanswerable=len(unanswerable),
        unanswerable_refused=sum(row["abstained"] for row in unanswerable),
        answerable=len(right),
        answerable_refused=sum(row["abstained"] for _, row in right),
        em=fmean(exact_match(*of) for of in answered) if answered else 0.0,
        f1=fmean(token_f1(*of) for of in answered) if answered else 0.0,
        source_hit=fmean(hits) if hits else None,
    )


def settings_key(pipeline: RankRAG, model_name: str) -> str:
    """Return a short digest of the model and of everything else that an answer depends on, but for the index."""
    named = "model" if pipeline.reranker == "model" else repr(pipeline.reranker)
    text = json.dumps(
        [
            model_key(pipeline.model, model_name),
            asdict(pipeline.model.contract),
            pipeline.n,
            pipeline.depth,
            named,
            pipeline.history_query,
            pipeline.nearness.weight if pipeline.nearness else None,
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _row(answer: Answer) -> dict[str, Any]:
    first = next(iter(answer.cited), None)
    cited = Path(first.source.path).name if first is not None and first.source is not None else None
    return {"id": answer.question.id, "text": answer.text, "abstained": answer.abstained, "cited": cited}
