"""docs/ablations.md: the rows, the claims and table 3 of the paper, then the evaluation of all rows."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from experiments.ablation.claims import CLAIMS
from experiments.ablation.run import Measure, Values
from experiments.ablation.study import FULL, Row, Study
from experiments.paper.numbers import TABLE_3, mean_of_nine
from rankrag.evaluation.aggregate import Evaluation
from rankrag.evaluation.description import RunDescription
from rankrag.evaluation.report import render_report
from rankrag.evaluation.statistics import bootstrap_interval, paired_difference, permutation_p
from rankrag.evaluation.tables import section

_SETS = ("NQ", "TriviaQA", "PopQA", "HotpotQA", "2Wiki", "FEVER", "Doc2Dial", "TopiOCQA", "Inscit")
_MEASURES: tuple[Measure, ...] = ("hit@1", "F1", "loss")


def render(study: Study, evaluation: Evaluation, found: Mapping[str, Values]) -> str:
    """Return the page as Markdown."""
    whole = render_report(evaluation).replace("# Results", "## The evaluation of all rows", 1)
    return "\n\n".join(
        [_head(study, evaluation.description), _rows(study, found), _claims(found), _paper(study, found), whole]
    )


def _head(study: Study, run: RunDescription) -> str:
    config, commit = study.config, run.made_with.get("commit")
    return (
        "# Ablations\n\n"
        f"Made by `{run.command}`, {run.date}{f', at commit {commit}' if commit else ''}.\n\n"
        "Every row gets the same questions, drawn from those with a gold passage among BM25's first "
        f"{config.n}. The model orders these passages, and answers are written from the first {config.k}. "
        f"It also gets {config.instructions} instructions that were held out from training.\n\n"
        "Tokens are those of all forward passes in training, padding included: stage I and the row's own steps. "
        "Differences are row minus full recipe, with 95 % intervals and p of a two-sided paired sign-flip test."
    )


def _rows(study: Study, found: Mapping[str, Values]) -> str:
    lines = []
    for row in study.rows:
        if row.name not in found:
            lines.append([row.wanted.title, "not run", *[""] * 7])
            continue
        own = [f"{row.recipe.tokens if row.recipe else 0:,}", "reranked" if row.wanted.rerank else "BM25"]
        lines.append([row.wanted.title, *own, *_figures(row, found)])
    header = ["row", "tokens", "answers from", "hit@1", "p", "F1", "p", "instructions", "p"]
    text = (
        "## Rows\n\nhit@1 is the share of questions with a gold passage first in the model's own order; F1 is that of "
        "the answers; instructions is the loss of replies in nats per token (lower is better)."
    )
    return section(text, header, lines)


def _figures(row: Row, found: Mapping[str, Values]) -> list[str]:
    """Return the full recipe's own figures, and the differences of any other row."""
    own, full = found[row.name], found.get(FULL)
    if row.name == FULL or full is None:
        return [cell for measure in _MEASURES for cell in (str(bootstrap_interval(own[measure])), "")]
    pairs = [(own[measure], full[measure]) for measure in _MEASURES]
    return [cell for pair in pairs for cell in (str(paired_difference(*pair)), f"{permutation_p(*pair):.3f}")]


def _claims(found: Mapping[str, Values]) -> str:
    decided = [(claim, *claim.decided(found)) for claim in CLAIMS]
    lines = [[c.text, c.shown, str(interval or ""), f"> {c.bound:g}", f"**{word}**"] for c, interval, word in decided]
    text = (
        "## The claims of the paper\n\nA claim is supported if the whole 95 % interval of its figure is above the "
        "bound, not supported if it is below, and undecided if it contains the bound."
    )
    return section(text, ["claim", "figure", "found", "bound", "verdict"], lines)


def _paper(study: Study, found: Mapping[str, Values]) -> str:
    lines = []
    for row in (row for row in study.rows if row.wanted.paper):
        printed, mean = TABLE_3[row.wanted.paper], mean_of_nine(row.wanted.paper)
        ours = "not run"
        if {row.name, FULL} <= set(found):
            ours = f"{100 * (fmean(found[row.name]['F1']) - fmean(found[FULL]['F1'])):+.1f}"
        minus = f"{mean - mean_of_nine('RankRAG 8B'):+.1f}"
        lines.append([row.wanted.title, row.wanted.paper, *(f"{value:.1f}" for value in (*printed, mean)), minus, ours])
    text = (
        "## Beside table 3 of the paper\n\nLlama-3 8B, N = 100, k = 5, first figure of each set: EM, accuracy for "
        "FEVER, F1 for the conversations. Their mean is computed here. The last two columns are the losses against the "
        "full recipe, in points: of the paper's mean, and of our F1."
    )
    return section(text, ["row", "in the paper", *_SETS, "mean", "minus full", "ours, F1 minus full"], lines) or text
