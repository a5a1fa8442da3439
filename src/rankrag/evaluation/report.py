"""The figures of a run as Markdown: how it was made, the tables, paired tests, and what went wrong."""

from __future__ import annotations

from rankrag.evaluation.aggregate import Evaluation
from rankrag.evaluation.description import RunDescription
from rankrag.evaluation.statistics import Interval
from rankrag.evaluation.systems import System
from rankrag.evaluation.tables import TABLES, section


def render_report(evaluation: Evaluation) -> str:
    """Return the report; parts without figures are left out."""
    tables = [table.render(evaluation) for table in TABLES]
    parts = [_head(evaluation.description), *tables, _pairs(evaluation)]
    return "\n\n".join(part for part in parts if part) + "\n"


def signed(interval: Interval) -> str:
    """Return a difference with its interval, every number with its sign."""
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _head(run: RunDescription) -> str:
    made = f"Made by `{run.command}`" if run.command else "Made by `rankrag evaluate`"
    machine = f" on {run.machine}" if run.machine else ""
    sizes = ", ".join(f"{s.title} {len(s.questions):,} of {s.size:,}" for s in run.sets)
    left_out = [f"{s.title} {count:,} ({why})" for s in run.sets for why, count in s.left_out.items()]
    without = f" Left out: {', '.join(left_out)}." if left_out else ""
    unranked = [f"{s.title} {s.unranked:,}" for s in run.sets if s.unranked]
    without += f" Questions that the given ranking has no passage for: {', '.join(unranked)}." if unranked else ""
    versions = ", ".join(f"{name} {value}" for name, value in run.made_with.items())
    text = (
        f"# Results\n\n{made}{machine}, {run.date}.\n\n"
        f"Questions: {sizes}; drawn with seed {run.seed}. All systems get the same ones, and retrievers alone all of a "
        f"set.{without}\n\nMade with {versions} (for a model: a digest of its weights and prompts).\n\n"
        "Every figure is a mean over questions. Square brackets hold its 95 % confidence interval, from 2,000 "
        "bootstrap resamples of the questions."
    )
    header = ["system", "answers", "ranker", "first stage", "N", "k", "turns", "final order", "withheld"]
    return section(text, header, [_system(system) for system in run.systems if system.role != "first stage"]) or text


def _system(system: System) -> list[str]:
    where = [system.first_stage, str(system.n), str(system.k or "fitted")]
    if system.setting != "own":
        where = [system.setting, "as there", "as there"]
    ranked = system.ranked_by[0] == "model"
    order = "the model alone" if not system.similarity or system.setting != "own" else "as fitted"
    bound = "the fitted bound" if system.settled_from == "fitted" else system.settled_from
    stops = "" if bound is None else f", stops at {bound}"
    withheld = "below the threshold" if system.abstain and ranked and system.model != "none" else ""
    turns = system.history_query or ""
    return [
        system.name,
        f"`{system.model}`",
        system.ranker,
        *where,
        turns,
        f"{order}{stops}" if ranked else "",
        withheld,
    ]


def _pairs(evaluation: Evaluation) -> str:
    rows = [
        [
            pair.of_set.title,
            pair.system,
            pair.against,
            pair.metric,
            signed(pair.difference),
            f"{pair.p:.4f}" if pair.p >= 0.0001 else "< 0.0001",
        ]
        for pair in evaluation.pairs
    ]
    text = (
        "## Systems against each other\n\n"
        "Each system less the one that it is tested against, on the same questions: the 95 % interval of a paired "
        "bootstrap, and the p-value of a two-sided paired permutation test, not corrected for the number of tests."
    )
    return section(text, ["set", "system", "against", "metric", "difference", "p"], rows)
