"""The figures of a comparison as Markdown: three stages set by set, paired tests, what went wrong, time, the paper."""

from __future__ import annotations

from rankrag.evaluation.aggregate import Comparison, SystemFigures
from rankrag.evaluation.beside import beside_the_paper, points
from rankrag.evaluation.description import RunDescription, SetDescription
from rankrag.evaluation.markdown import calibration_cells, calibration_section, section
from rankrag.evaluation.outcomes import OUTCOMES
from rankrag.evaluation.statistics import Paired
from rankrag.evaluation.systems import System

ANSWERS = (
    "EM",
    "F1",
    "Acc",
    "ChatRAG F1",
    "FEVER accuracy",
    "MIRAGE accuracy",
    "MIRAGE strict",
    "MIRAGE parsed",
    "refused",
)
"""Metrics of answers, in the order of their columns; all others are of rankings."""


def render_comparison(comparison: Comparison) -> str:
    """Return the report as Markdown; a part without figures is left out."""
    parts = [
        _head(comparison.description),
        _retrieval(comparison),
        _reranking(comparison),
        _answers(comparison),
        _calibration(comparison),
        _pairs(comparison),
        error_analysis(comparison),
        _time(comparison),
        _paper(comparison),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def error_analysis(comparison: Comparison) -> str:
    """Return the shares of what became of the questions, set by set, and in words where most of them are lost."""
    kinds = [kind for kind in OUTCOMES if any(kind in f.outcomes for f in comparison.systems)]
    rows = [
        [of.title, system.name, str(f.questions), *(_share(f, kind) for kind in kinds)]
        for of, system, f in _all(comparison)
    ]
    meanings = "\n".join(f"- **{kind}**: {OUTCOMES[kind]}" for kind in kinds)
    text = (
        "## Error analysis\n\n"
        "What became of every question: right, or the first step that lost it. The shares of a row add up to all its "
        f"questions.\n\n{meanings}"
    )
    table = section(text, ["set", "system", "questions", *kinds], rows)
    words = "\n".join(f"- {line}" for line in map(_in_words, _all(comparison)) if line)
    return f"{table}\n\n{words}" if words else table


def _head(run: RunDescription) -> str:
    made = f"Made by `{run.command}`" if run.command else "Made by `rankrag evaluate`"
    machine = f" on {run.machine}" if run.machine else ""
    rows = [
        [
            s.name,
            f"`{s.model}`",
            s.ranker,
            *(
                (s.first_stage, str(s.n), str(s.k), _order(s))
                if s.setting == "own"
                else (s.setting, "as there", "as there", _order(s))
            ),
        ]
        for s in run.systems
    ]
    sizes = ", ".join(f"{of.title} {len(of.questions):,} of {of.size:,}" for of in run.sets)
    left_out = [f"{of.title} {count:,} ({why})" for of in run.sets for why, count in of.left_out.items()]
    without = f" Left out: {', '.join(left_out)}." if left_out else ""
    unranked = [f"{of.title} {of.unranked:,}" for of in run.sets if of.unranked]
    without += f" Without any passage in the ranking that was given: {', '.join(unranked)}." if unranked else ""
    versions = ", ".join(f"{name} {value}" for name, value in run.made_with.items())
    without += f" Made with {versions} (of a model: a digest of weights and prompts)." if versions else ""
    text = (
        "# Comparison\n\n"
        f"{made}{machine}, {run.date}.\n\n"
        f"Questions: {sizes}; drawn with seed {run.seed}. All systems get the same ones and share the first stages."
        f"{without}\n\n"
        "Every figure is a mean over questions. Square brackets hold its 95 % interval, from 2,000 bootstrap resamples "
        "of the questions."
    )
    return section(text, ["system", "answers", "ranker", "first stage", "N", "k", "final order"], rows)


def _order(system: System) -> str:
    if system.ranked_by[0] != "model":
        return ""
    return "the model alone" if system.pure or system.setting != "own" else "as fitted"


def _retrieval(comparison: Comparison) -> str:
    seen: dict[tuple[str, str, int], list[str]] = {}
    for of, system, f in _all(comparison):
        for name, value in f.first.items():
            own = system.on(of.paper)
            key = (of.title, of.first_stage or own.first_stage, own.n)
            seen.setdefault(key, []).append(f"{name} {value}")
    rows = [[*map(str, key), "<br>".join(dict.fromkeys(values))] for key, values in seen.items()]
    text = (
        "## Stage 1: retrieval\n\n"
        "The first N passages as they were found. R@k is the share of the gold passages among the first k, "
        "answer-recall@k the share of questions with an answer in one of them."
    )
    return section(text, ["set", "first stage", "N", "figures"], rows)


def _reranking(comparison: Comparison) -> str:
    rows = [
        [of.title, system.name, name, str(f.first[name]), str(value), *(_reach(f) if name == of.metric else ("", ""))]
        for of, system, f in _all(comparison)
        if system.ranked_by[0] != "none"
        for name, value in f.figures.items()
        if name in f.first
    ]
    text = (
        "## Stage 2: reranking\n\n"
        "The same passages in the first stage's order and in the ranker's. Reachable is the figure of a perfect order "
        "of them, and gap closed is (reranked - before) / (reachable - before)."
    )
    return section(text, ["set", "system", "metric", "before", "reranked", "reachable", "gap closed"], rows)


def _reach(f: SystemFigures) -> tuple[str, str]:
    return ("" if f.reachable is None else f"{f.reachable:.3f}"), ("" if f.gap is None else str(f.gap))


def _calibration(comparison: Comparison) -> str:
    rows = [
        [of.title, system.name, *calibration_cells(f.calibration)]
        for of, system, f in _all(comparison)
        if f.calibration.passages or f.calibration.answers
    ]
    return calibration_section(rows, ["set", "system"])


def _answers(comparison: Comparison) -> str:
    shown = [name for name in ANSWERS if any(name in f.figures for f in comparison.systems)]
    rows = [
        [of.title, system.name, *(str(f.figures[name]) if name in f.figures else "" for name in shown)]
        for of, system, f in _all(comparison)
        if any(name in f.figures for name in shown)
    ]
    text = "## Stage 3: answers\n\nFrom the k first passages. A question that was refused or failed counts as wrong."
    return section(text, ["set", "system", *shown], rows)


def _pairs(comparison: Comparison) -> str:
    titles = {of.name: of.title for of in comparison.description.sets}
    rows = [
        [
            titles[pair.benchmark],
            pair.system,
            pair.metric,
            signed(pair.paired),
            f"{pair.paired.p:.4f}" if pair.paired.p >= 0.0001 else "< 0.0001",
        ]
        for pair in comparison.pairs
    ]
    against = comparison.description.systems[0].name
    text = (
        f"## Against {against}\n\n"
        f"Each system less {against}, question by question: 95 % interval of a paired bootstrap, and p of a two-sided "
        "paired permutation test. Many tests stand here together and none is corrected for that."
    )
    return section(text, ["set", "system", "metric", "difference", "p"], rows)


def _time(comparison: Comparison) -> str:
    rows = [
        [of.title, system.name, *(_seconds(t) for t in (f.seconds.t1, f.seconds.t2, f.seconds.t3)), _ratio(f)]
        for of, system, f in _all(comparison)
        if any(t is not None for t in (f.seconds.t1, f.seconds.t2, f.seconds.t3))
    ]
    text = (
        "## Time\n\n"
        "Mean seconds of a question: its retrieval (t1), judging one passage (t2), its answer (t3), when many are done "
        "together; and what reranking adds, N · t2 / (t1 + t3), as the paper puts it (section 5.5: 0.9 to 6.0 times "
        "for N = 20 to 100)."
    )
    return section(text, ["set", "system", "t1", "t2", "t3", "N·t2/(t1+t3)"], rows)


def _paper(comparison: Comparison) -> str:
    titles = {of.name: of.title for of in comparison.description.sets}
    rows = [
        [
            titles[b.benchmark],
            b.system,
            f"{b.column} {b.metric}",
            points(b.ours),
            f"{b.paper:g} ({b.model})",
            "" if (d := b.difference) is None else f"{d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}]",
            "; ".join(b.differs),
        ]
        for b in beside_the_paper(comparison)
    ]
    text = (
        "## Beside the paper\n\n"
        "Percentages as printed. A difference is given only where split, corpus, N, k and first stage are the paper's; "
        "otherwise the last column says what is not (the paper's in brackets). Its interval is that of ours: the paper "
        "prints none."
    )
    return section(text, ["set", "system", "metric", "ours", "paper", "difference", "what differs"], rows)


def _all(comparison: Comparison) -> list[tuple[SetDescription, System, SystemFigures]]:
    run = comparison.description
    found = [(of, system, comparison.of(of.name, system.name)) for of in run.sets for system in run.systems]
    return [(of, system, f) for of, system, f in found if f is not None]


def _in_words(row: tuple[SetDescription, System, SystemFigures]) -> str:
    """Return a sentence about the step that loses the most questions; "" where nothing is lost."""
    of, system, f = row
    lost = {kind: count for kind, count in f.outcomes.items() if kind != "right"}
    if not lost:
        return ""
    worst, count = max(lost.items(), key=lambda item: item[1])
    wrong = sum(lost.values())
    return (
        f"{of.title}, {system.name}: {wrong} of {f.questions} are not right, the largest part of them {worst} "
        f"({count}, {count / wrong:.0%})."
    )


def signed(paired: Paired) -> str:
    """Return a difference with its interval, every number with its sign."""
    of = paired.difference
    return f"{of.mean:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"


def _share(f: SystemFigures, kind: str) -> str:
    count = sum(count for name, count in f.outcomes.items() if name == kind)
    return f"{count / f.questions:.1%} ({count})" if count else ""


def _seconds(taken: float | None) -> str:
    return "" if taken is None else f"{taken:.3f}"


def _ratio(f: SystemFigures) -> str:
    return "" if f.cost is None else f"{f.cost:.1f}"
