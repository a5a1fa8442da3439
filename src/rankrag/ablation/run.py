"""`ablate`: row by row a model, its test and the page, in a folder that a killed run goes on from.

The folder of a study holds::

    blends/DIGEST/            what rows draw from, each built once
    models/ROW-DIGEST/        a row's part of a blend, and its training run; stage I stands for all rows that share it
    questions/                BM25's passages, and what each model said (as in a run of `evaluate`)
    rows/ROW.json             a row's result

Digests are of the configuration, so a result is never shown under another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rankrag.ablation.making import examples_seen, made
from rankrag.ablation.report import render
from rankrag.ablation.results import RowResult, check_pairs, load_result, save_result
from rankrag.ablation.study import Row, Study
from rankrag.ablation.testing import Exam, answers, open_exam, reply_losses
from rankrag.blend.prepare import Report as Say
from rankrag.data.progress import Progress, quiet
from rankrag.models.prepared import resolve_model
from rankrag.models.transformers import TransformersModel
from rankrag.training.checks import contract_of
from rankrag.training.start import load_tokenizer


def ablate(
    study: Study,
    out: Path,
    *,
    rows: Sequence[Row],
    device: str = "auto",
    dtype: str = "auto",
    machine: str = "",
    say: Say = lambda _: None,
    progress: Progress = quiet,
    finished: Callable[[], None] = lambda: None,
) -> None:
    """Make and test these rows of a study, those that are not done yet; `finished` hears of each that now is."""
    todo = [row for row in rows if load_result(_file(row, out), study.key(row)) is None]
    if not todo:
        return
    exam = None
    for row in todo:
        result = _of_same_model(study, row, out)
        if result is None:
            exam = exam or open_exam(study, out, progress)
            model, name = _model(study, row, out, device, dtype, say, progress)
            say(f"{row.name}: testing")
            result = _tested(study, row, model, name, exam, out, machine, progress)
        save_result(result, _file(row, out))
        finished()


def results_of(study: Study, out: Path) -> dict[str, RowResult]:
    """Return the results that are there, by row, in the order of the table."""
    found = ((row.name, load_result(_file(row, out), study.key(row))) for row in study.rows)
    results = {name: result for name, result in found if result is not None}
    check_pairs(results)
    return results


def page(study: Study, out: Path, command: str) -> str:
    """Return docs/ablations.md from what is there."""
    results: Mapping[str, RowResult] = results_of(study, out)
    return render(study, results, command)


def _of_same_model(study: Study, row: Row, out: Path) -> RowResult | None:
    """Return the result of a row from another one of the same model: a test answers from either order."""
    others = (other for other in study.rows if other.recipe is row.recipe is not None)
    found = (load_result(_file(other, out), study.key(other)) for other in others)
    result = next((of for of in found if of is not None), None)
    return replace(result, key=study.key(row), rerank=row.rerank) if result else None


def _model(
    study: Study, row: Row, out: Path, device: str, dtype: str, say: Say, progress: Progress
) -> tuple[TransformersModel, str]:
    if row.recipe is not None:
        name = str(made(row.recipe, out, say=say, report=lambda done, of: progress(f"{row.name}: steps", done, of)))
        return TransformersModel(name, device=device, dtype=dtype), name
    name = resolve_model(study.base.model, say)
    contract = contract_of(study.base, load_tokenizer(name, study.base.pad_token), "")
    return TransformersModel(name, device=device, dtype=dtype, contract=contract), name


def _tested(
    study: Study,
    row: Row,
    model: TransformersModel,
    name: str,
    exam: Exam,
    out: Path,
    machine: str,
    progress: Progress,
) -> RowResult:
    return RowResult(
        study.key(row),
        machine,
        row.recipe.tokens if row.recipe else 0,
        examples_seen(row.recipe, out) if row.recipe else 0,
        row.rerank,
        answers(model, name, exam, out, k=study.config.k, progress=progress),
        reply_losses(model, exam.instructions, progress),
    )


def _file(row: Row, out: Path) -> Path:
    return out / "rows" / f"{row.name}.json"
