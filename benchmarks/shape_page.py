"""The page of `shape.py`: its figures as Markdown, beside the figures themselves."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank import Case, Measured, table
from rivals import KNOWN

SHORT, PASSAGES, NEW_TOKENS = 115, 5, 32
"""Words of a passage, passages of an answer, and its tokens."""


@dataclass(frozen=True)
class Answered:
    """One way of answering: seconds of each repeat; new tokens, forward passes and MiB of the last one."""

    name: str
    questions: int
    prompt_tokens: int
    seconds: list[float]
    new_tokens: int
    passes: int
    memory: float
    failed: str = ""


@dataclass(frozen=True)
class Trained:
    """One way of training: real tokens, examples and seconds of each measured step, and the peak of memory in MiB."""

    name: str
    method: str
    layers: int
    parameters: int
    tokens: list[int]
    examples: list[int]
    seconds: list[float]
    memory: float
    failed: str = ""


def write(facts: dict[str, Any], out: Path) -> None:
    """Write figures and page."""
    (out / "performance-8b.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (out / "performance-8b.md").write_text(page(facts), encoding="utf-8")


def page(facts: dict[str, Any]) -> str:
    """Return the figures as a Markdown page."""
    shape = facts["shape"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = [
        "# Speed at the shape of Llama-3-8B",
        "",
        f"`{facts['command']}` on {facts['machine']}, {facts.get('seconds', 0):.0f} s in all; {versions}; matrix "
        f"products in bfloat16: {facts['gemm_tflops']:.3g} TFLOP/s.",
        "",
        f"Random weights: {shape['num_hidden_layers']} layers, hidden size {shape['hidden_size']:,}, inner size "
        f"{shape['intermediate_size']:,}, {shape['num_attention_heads']} heads and {shape['num_key_value_heads']} of "
        f"keys and values, a vocabulary of {shape['vocab_size']:,}; the tokens are those of rankrag-mini's tokenizer. "
        "So this page is about time and memory, not about quality. Attention is PyTorch's own for all (no flash-attn).",
    ]
    lines += [f"\nLeft out: {'; '.join(facts['left_out'])}."] if facts["left_out"] else []
    return "\n".join([*lines, *ranking(facts), *answering(facts), *training(facts)]) + "\n"


def ranking(facts: dict[str, Any]) -> list[str]:
    """Return the lines on ranking."""
    lines = [
        "",
        "## Ranking",
        "",
        "One question and N passages, weights in bfloat16, the tokenizer's work included; every way has the same "
        "weights in memory and runs once uncounted, then in turns. *Passages known*: an earlier question has read them "
        "and their states are kept. *Share of GEMM rate* counts every token of every prompt, as if nothing were "
        "shared. FlagEmbedding joins the pair in an order of its own, so its scores are others. Differences of "
        "log-odds are from one pair at a time, in bfloat16 as well.",
    ]
    for part in facts["rerank"]:
        rows = [Measured(**(row | {"case": Case(**row["case"])})) for row in part["rows"]]
        medians = {row.name: statistics.median(row.seconds) for row in rows if row.seconds}
        took = f"ours takes {medians['rankrag']:.3f} s"
        took += f", with known passages {medians[KNOWN]:.3f} s" if KNOWN in medians else ""
        spread = f"the log-odds have a standard deviation of {part['spread_of_scores']:.3f}"
        lines += ["", table(rows), "", f"{part['tokens_a_pair']:.0f} tokens a pair; {took} (median); {spread}."]
    return lines


def answering(facts: dict[str, Any]) -> list[str]:
    """Return the lines on answering."""
    if not facts["answers"]:
        return []
    return [
        "",
        "## Answering",
        "",
        f"{PASSAGES} passages of {SHORT} words, {NEW_TOKENS} new tokens, greedy. One at a time, ours guesses tokens "
        "from the prompt; with random weights the share of right guesses says nothing of real answers: look at a pass.",
        "",
        "| way | questions | prompt tokens | s (spread) | new tokens | passes | ms a pass | MiB more |",
        "|---|---|---|---|---|---|---|---|",
        *(answer_row(Answered(**row)) for row in facts["answers"]),
    ]


def training(facts: dict[str, Any]) -> list[str]:
    """Return the lines on training."""
    if not facts["training"]:
        return []
    heads = ["way", "layers", "weights", "tokens a batch", "examples/s", "to rival", "tokens/s", "to rival"]
    heads += ["median s a step", "peak GiB"]
    lines = [
        "",
        "## Training steps",
        "",
        "The same examples (four of each passage of 150 words, windows of the example documents), loss on targets "
        "alone, bfloat16 autocast, AdamW, no gradient checkpointing, no compilation. TRL pads one row an example, as "
        "its packing needs flash-attn. A token counts once in each example that has it, padding not at all. "
        "LoRA: rank 32 on all linear layers of a bfloat16 base. Full: weights and AdamW in float32, for which the "
        "whole shape has no room on one GPU, so it has fewer layers.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
    ]
    for row in facts["training"]:
        rivals = [r for r in facts["training"] if r["method"] == row["method"] and not r["name"].startswith("rankrag")]
        lines.append(training_row(row, next((r for r in rivals if r["seconds"]), None)))
    return lines


def answer_row(row: Answered) -> str:
    """Return a line of the table of answers."""
    if row.failed:
        return f"| {row.name} | failed: {row.failed.replace('|', '/')} | | | | | | |"
    middle = statistics.median(row.seconds)
    took = f"{middle:.3f} ({min(row.seconds):.3f} to {max(row.seconds):.3f})"
    return (
        f"| {row.name} | {row.questions} | {row.prompt_tokens} | {took} | {row.new_tokens} | {row.passes} | "
        f"{1000 * middle / row.passes:.1f} | {row.memory:.0f} |"
    )


def training_row(row: dict[str, Any], rival: dict[str, Any] | None) -> str:
    """Return a line of the table of training."""
    name = f"{row['method']}: {row['name']}"
    if row["failed"]:
        return f"| {name} | failed: {row['failed'].replace('|', '/')} | | | | | | | | |"

    def rate(of: dict[str, Any], what: str) -> float:
        return float(sum(of[what]) / sum(of["seconds"]))

    cells = [name, str(row["layers"]), f"{row['parameters'] / 1e9:.2f}e9", f"{row['tokens_a_batch']:,}"]
    for what, digits in (("examples", 1), ("tokens", 0)):
        own = rate(row, what)
        cells += [f"{own:,.{digits}f}", f"{own / rate(rival, what):.2f} x" if rival else "-"]
    cells += [f"{statistics.median(row['seconds']):.3f}", f"{row['memory'] / 1024:.1f}"]
    return f"| {' | '.join(cells)} |"
