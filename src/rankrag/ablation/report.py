"""docs/ablations.md: the rows that were run as tables, with those that were not, beside the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from rankrag.ablation.claims import claims
from rankrag.ablation.paper import SETS, TABLE_3, mean_of_nine
from rankrag.ablation.results import Measure, RowResult
from rankrag.ablation.study import FULL, Row, Study
from rankrag.data.catalogue import BENCHMARKS
from rankrag.evaluation.statistics import bootstrap_interval, compared, paired_difference

_MEASURES: tuple[Measure, ...] = ("hit@1", "EM", "F1", "loss")


def render(study: Study, results: Mapping[str, RowResult], command: str) -> str:
    """Return the page as Markdown."""
    parts = [
        _head(study, results, command),
        _rows(study, results),
        _by_set(study, results),
        _differences(study, results),
    ]
    parts += [_paper(study, results), _claims(results)]
    return "\n\n".join(parts) + "\n"


def _head(study: Study, results: Mapping[str, RowResult], command: str) -> str:
    config = study.config
    sets = ", ".join(f"{number} of {name}" for name, number in config.questions.items())
    machines = sorted({result.machine for result in results.values()})
    made = f"Made by `{command}`" + (f" on {'; '.join(machines)}." if machines else ".")
    test = (
        f"Every row is asked the same questions, drawn with seed {config.seed} ({sets}) from those with a gold passage "
        f"among BM25's first {config.n}, which the model orders; answers are written from the first {config.k}. Beside "
        f"them stand {config.instructions} instructions that were held back from training."
    )
    seen = (
        "Tokens are those of all forward passes in training, padding included, stage I with the row's own steps; "
        "examples are what fits into them. A row that shares its model with another one is only tested again."
    )
    return "\n\n".join(["# Ablations", made, test, seen])


def _rows(study: Study, results: Mapping[str, RowResult]) -> str:
    lines = []
    for row in study.rows:
        result = results.get(row.name)
        if result is None:
            lines.append([row.title, "not run", *[""] * 6])
            continue
        figures = [str(bootstrap_interval(result.values(measure))) for measure in _MEASURES]
        order = "reranked" if row.rerank else "BM25"
        lines.append([row.title, f"{result.tokens:,}", f"{result.examples:,}", *figures[:1], order, *figures[1:]])
    first = next((bootstrap_interval([of.first_hit for of in r.tested]) for r in results.values()), None)
    text = (
        "## What each row reaches\n\n"
        "hit@1 is the share of questions with a gold passage in the first place of the model's own order"
        + (f" (BM25's order has {first})" if first else "")
        + ". EM and F1 are of the answers, from the order that is named. Instructions: loss of the reply, in nats a "
        "token; lower is better. Square brackets hold 95 % intervals, from 2,000 bootstrap resamples of the questions."
    )
    header = ["row", "tokens", "examples", "hit@1", "answers from", "EM", "F1", "instructions"]
    return _section(text, header, lines)


def _by_set(study: Study, results: Mapping[str, RowResult]) -> str:
    measures, sets = _MEASURES[:3], list(study.config.questions)
    lines = [
        [row.title, *(f"{fmean(found.values(measure, of)):.3f}" for of in sets for measure in measures)]
        for row in study.rows
        if (found := results.get(row.name))
    ]
    before = next(iter(results.values()), None)
    if before is None:
        return "## Set by set\n\nNo row has been run."
    first = [f"{fmean(of.first_hit for of in before.tested if of.test_set == name):.3f}" for name in sets]
    lines.append(["BM25's order", *(cell for of in first for cell in (of, "", ""))])
    header = ["row", *(f"{BENCHMARKS[of].title}: {measure}" for of in sets for measure in measures)]
    return _section("## Set by set\n\nThe means of the same figures over the questions of each set.", header, lines)


def _differences(study: Study, results: Mapping[str, RowResult]) -> str:
    full = results.get(FULL)
    lines = []
    for row in study.rows:
        result = results.get(row.name)
        if row.name == FULL:
            continue
        if result is None or full is None:
            lines.append([row.title, "not run", *[""] * 7])
            continue
        pairs = [compared(result.values(measure), full.values(measure)) for measure in _MEASURES]
        lines.append([row.title, *(cell for of in pairs for cell in (str(of.difference), _p(of.p)))])
    text = (
        "## Against the full recipe\n\n"
        "Row less full recipe, question by question, with the 95 % interval, and p of a two-sided paired sign-flip "
        "test (10,000 flips, or all of them where at most 16 questions differ; not corrected for the number of rows)."
    )
    header = ["row", *(c for measure in ("hit@1", "EM", "F1", "instructions") for c in (measure, "p"))]
    return _section(text, header, lines)


def _paper(study: Study, results: Mapping[str, RowResult]) -> str:
    whole = next(iter(TABLE_3))
    lines = [
        [
            row.title,
            row.paper,
            *(f"{value:.1f}" for value in (*TABLE_3[row.paper], mean_of_nine(row.paper))),
            f"{mean_of_nine(row.paper) - mean_of_nine(whole):+.1f}",
            _ours(row, results),
        ]
        for row in study.rows
        if row.paper
    ]
    text = (
        "## Beside the paper's table 3\n\n"
        "Llama-3 8B, N = 100, k = 5, first figure of each set: EM, accuracy for FEVER, F1 for the conversations; their "
        "mean is computed here. The last two columns are the losses against the full recipe, in points: of the "
        "paper's mean, and of F1 above."
    )
    return _section(text, ["row", "in the paper", *SETS, "mean", "less full", "ours, F1 less full"], lines)


def _ours(row: Row, results: Mapping[str, RowResult]) -> str:
    if not {row.name, FULL} <= set(results):
        return "not run"
    loss = paired_difference(results[row.name].values("F1"), results[FULL].values("F1"))
    return f"{100 * loss.mean:+.1f}"


def _claims(results: Mapping[str, RowResult]) -> str:
    lines = [
        [of.text, of.figure, str(of.interval or ""), f"> {of.bound:g}", f"**{of.verdict}**"] for of in claims(results)
    ]
    text = (
        "## The paper's claims\n\n"
        "A claim is supported where the whole 95 % interval of its figure lies above the bound, not supported where it "
        "lies below it, and undecided where it holds it."
    )
    return _section(text, ["claim", "figure", "found", "bound", "verdict"], lines)


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}"


def _section(text: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    lines.insert(1, "|" + "---|" * len(header))
    return text + "\n\n" + "\n".join(lines)
