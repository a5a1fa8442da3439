"""Reranking speed against what people use today, in one run: `make bench`.

A case is a model, a layout, one question and N passages of a fixed number of words, cut from the example documents.
Every way (`rivals.py`) scores the same pairs with the same weights in float32. The ways take turns in each round, so
that other load affects all alike, and ratios are computed within a round. The figures are printed and written to
docs/performance.json, the page's table and its plot: pairs per second, the ratio of times to ours with its spread,
memory above the start, the share of the machine's own matrix-product rate, and the difference from scoring one pair
at a time. With the passage first, ours is measured once more with passages known from an earlier question.

A case that would exceed `--budget` is left out and named. Cases of earlier runs stay, with the machine and versions of
their run if these differ.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace

import torch
from harness import ROOT, forget_peak, gemm_rate, machine, now, peak, put_figures, spread, svg_pyplot, versions
from rivals import KNOWN, OTHER_SCORES, RIVALS, Pairs, PassagesKnown, Scorer

from rankrag.contract import load_contract
from rankrag.errors import first_line
from rankrag.models.prepared import prepare_model
from rankrag.models.transformers import TransformersModel
from rankrag.parity.compare import reference
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

PAGE, DATA, PLOT = (ROOT / "docs" / f"performance.{ending}" for ending in ("md", "json", "svg"))
SMALL = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
_FIRST_GUESS = {"mini": 400.0, "random 13M": 4000.0}
"""Tokens a second before any has been measured."""


@dataclass(frozen=True)
class Case:
    """What is scored."""

    model: str
    layout: str
    n: int
    words: int

    def __str__(self) -> str:
        return f"{self.model}, {self.layout.replace('_', ' ')}, N = {self.n}, {self.words} words"


@dataclass(frozen=True)
class Measured:
    """One way in one case: seconds, and ratios to ours and to ours with known passages, by round.

    `memory` and `states` (kept states of known passages) are in MiB. `apart` is in log-odds, None if the scores are not
    comparable. A way that broke has only the reason, `failed`.
    """

    case: Case
    name: str
    seconds: list[float]
    ratios: list[float]
    known_ratios: list[float]
    memory: float
    states: float
    gemm_share: float
    apart: float | None
    failed: str = ""


def main() -> None:
    """Measure, print, and write the page's figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(_FIRST_GUESS), default=list(_FIRST_GUESS))
    parser.add_argument("--layouts", nargs="+", default=["passage_first", "question_first"])
    parser.add_argument("--n", nargs="+", type=int, default=[20, 100])
    parser.add_argument("--words", nargs="+", type=int, default=[100, 300])
    parser.add_argument("--only", nargs="+", default=[], help="ways whose name begins so; ours is always in")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--budget", type=float, default=570, help="seconds for all; 0 is no limit")
    parser.add_argument("--dry", action="store_true", help="print, but leave docs/ alone")
    wanted = parser.parse_args()
    started, found, left_out = time.monotonic(), [], []
    chosen = ("rankrag", *wanted.only) if wanted.only else ("",)
    names = [name for name in RIVALS if name == "rankrag" or name.startswith(chosen)]
    rates = dict(_FIRST_GUESS)
    opened: dict[tuple[str, str], tuple[TransformersModel, dict[str, Scorer]]] = {}
    gemm = {name: gemm_rate(*shape) for name, shape in (("mini", (576, 1536)), ("random 13M", (192, 512)))}
    for case in cases_of(wanted):
        key = (case.model, case.layout)
        if key not in opened:
            model = open_model(*key)
            opened[key] = model, open_scorers(model, names)
        model, scorers = opened[key]
        pairs = pairs_of(case)
        prompts = [ranking_prompt(model.contract.format, question, passage) for question, passage in pairs]
        tokens = sum(map(len, model.encoder.encode(prompts)))
        expected = tokens * (len(scorers) * wanted.repeats + 2) / rates[case.model]
        if wanted.budget and time.monotonic() - started + expected > wanted.budget:
            left_out.append(str(case))
            continue
        alone = [true - false for true, false in reference(model, prompts).rows]
        rows = measure(case, scorers, pairs, alone, wanted.repeats, work(model) * tokens / gemm[case.model])
        slowest = sum(statistics.mean(row.seconds) for row in rows if not row.failed)
        rates[case.model] = tokens * len(rows) / slowest
        found += rows
        print(f"\n{table(rows)}", flush=True)
    absent = [name for name in names if found and name != KNOWN and not any(row.name == name for row in found)]
    this = {
        "command": shlex.join(["python", "benchmarks/rerank.py", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions("torch", "transformers", "sentence-transformers", "FlagEmbedding"),
        "gemm_gflops": {name: round(rate / 1e9, 1) for name, rate in gemm.items()},
        "left_out": left_out,
        "absent": absent,
        "rows": [asdict(row) for row in found],
    }
    if left_out:
        print(f"\nleft out for the budget: {'; '.join(left_out)}")
    if not wanted.dry and found:
        before = json.loads(DATA.read_text(encoding="utf-8")) if DATA.is_file() else {"rows": []}
        facts = merged(before, this)
        DATA.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        write_page(facts)
        plot([row_of(row) for row in facts["rows"]])


OF_A_RUN = ("command", "machine", "versions", "gemm_gflops")


def merged(before: dict, this: dict) -> dict:
    """Return this run's facts with the cases that only an earlier run measured; those name their run in `runs`.

    A case is always measured as a whole: ratios are computed within a round, so ways of two runs do not mix.
    """
    measured = {str(row_of(row).case) for row in this["rows"]}
    former = {name: before.get(name) for name in OF_A_RUN}
    runs, rows = dict(before.get("runs", {})), []
    for row in before["rows"]:
        case = str(row_of(row).case)
        if case not in measured:
            runs.setdefault(case, former)
            rows.append(row)
    kept = {str(row_of(row).case) for row in rows}
    return this | {
        "left_out": [case for case in this["left_out"] if case not in kept],
        "runs": {case: run for case, run in runs.items() if case in kept},
        "rows": sorted([*rows, *this["rows"]], key=lambda row: place_of(row_of(row).case)),
    }


def row_of(row: dict) -> Measured:
    """Return what was measured from its row in the file."""
    return Measured(**{**row, "case": Case(**row["case"])})


def place_of(case: Case) -> tuple[int, int, str, str]:
    """Return where a case stands on the page."""
    return case.words, case.n, case.layout, case.model


def cases_of(wanted: argparse.Namespace) -> list[Case]:
    """Return the cases, cheap ones first, so that a small budget still gives figures for each rival."""
    sizes = [(n, words) for words in wanted.words for n in wanted.n]
    ways = [(model, layout) for layout in wanted.layouts for model in wanted.models]
    return [Case(*way, *size) for size in sizes for way in ways]


def measure(
    case: Case,
    scorers: dict[str, Scorer],
    pairs: Pairs,
    alone: list[float],
    repeats: int,
    gemm_seconds: float,
    *,
    device: str = "cpu",
    warm_up: int = 0,
) -> list[Measured]:
    """Return each way's figures; ours is first in every round, and `alone` has the scores of one pair at a time.

    The first `warm_up` rounds are not counted. A way that breaks is not tried again.
    """
    seconds: dict[str, list[float]] = {name: [] for name in scorers}
    memory = dict.fromkeys(scorers, 0.0)
    scores: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    known = scorers.get(KNOWN)
    held = 0.0
    if isinstance(known, PassagesKnown):
        known.ask_before(pairs)
        held = known.states.held_bytes / 2**20
    for number in range(warm_up + repeats):
        for name in [name for name in scorers if name not in failed]:
            before = forget_peak(device)
            began = now(device)
            try:
                scores[name] = scorers[name](pairs)
            except Exception as error:  # a rival's own error must not lose the others' figures
                if name == "rankrag":
                    raise
                failed[name] = f"{type(error).__name__}: {first_line(error)}"
                continue
            taken = now(device) - began
            if number >= warm_up:
                seconds[name].append(taken)
                memory[name] = max(memory[name], peak(device) - before)
    if isinstance(known, PassagesKnown):
        assert KNOWN in failed or known.states.found == (warm_up + repeats) * len(pairs), (
            "a known passage was read again"
        )
        known.forget()
    ours, warm = seconds["rankrag"], [] if KNOWN in failed else seconds.get(KNOWN, [])
    return [
        Measured(case, name, [], [], [], 0.0, 0.0, 0.0, None, failed[name])
        if name in failed
        else Measured(
            case,
            name,
            taken,
            [one / our for one, our in zip(taken, ours, strict=True)],
            [one / our for one, our in zip(taken, warm, strict=True)] if warm else [],
            memory[name],
            held if name == KNOWN else 0.0,
            gemm_seconds / min(taken),
            None if name in OTHER_SCORES else max(abs(a - b) for a, b in zip(scores[name], alone, strict=True)),
        )
        for name, taken in seconds.items()
    ]


def open_model(name: str, layout: str) -> TransformersModel:
    """Return the model in float32; its contract has this layout and room for passages of 300 words."""
    mini = prepare_model("rankrag-mini", print)
    contract = load_contract(mini)
    assert contract is not None
    contract = replace(contract, passage_tokens=2048, max_tokens=4096, format=replace(contract.format, layout=layout))
    if name == "mini":
        return TransformersModel(mini, device="cpu", dtype="float32", contract=contract)
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(mini)
    with tempfile.TemporaryDirectory() as folder:
        config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), **SMALL)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return TransformersModel(folder, device="cpu", dtype="float32", contract=contract)


def open_scorers(model: TransformersModel, names: list[str]) -> dict[str, Scorer]:
    """Return the ways by name, each after scoring one pair.

    Ways that are not installed are left out, and so are known passages if the question comes first.
    """
    found = {}
    for name in names:
        if name == KNOWN and model.why_no_states():
            continue
        try:
            found[name] = RIVALS[name](model)
        except ImportError as error:
            print(f"{name}: not installed ({error})")
            continue
        found[name](pairs_of(Case("", "", 1, 20)))
    return found


def pairs_of(case: Case) -> Pairs:
    """Return an example question with N passages of exactly this many words, windows of the example documents."""
    with (ROOT / "examples" / "questions.jsonl").open(encoding="utf-8") as lines:
        question = json.loads(next(lines))["question"]
    paths = sorted((ROOT / "examples" / "corpus").rglob("*.md"))
    words = " ".join(path.read_text(encoding="utf-8") for path in paths).split()
    step = max(1, (len(words) - case.words) // case.n)
    texts = [" ".join(words[i * step : i * step + case.words]) for i in range(case.n)]
    return [(Question("q", question), Passage(str(i), text)) for i, text in enumerate(texts)]


def work(model: TransformersModel) -> float:
    """Return the operations of a token outside embedding, head and attention scores."""
    head = model.model.get_output_embeddings()
    layers = (m for m in model.model.modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return 2.0 * sum(layer.weight.numel() for layer in layers)


def table(rows: list[Measured]) -> str:
    """Return one case as a Markdown table."""
    lines = [
        f"### {rows[0].case}",
        "",
        "| way | pairs/s | time / ours (spread) | time / known (spread) | MiB more | share of GEMM rate "
        "| max Δ log-odds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.failed:
            lines.append(f"| {row.name} | failed: {row.failed.replace('|', '/')} | | | | | |")
            continue
        apart = "other prompt" if row.apart is None else f"{row.apart:.1e}"
        states = f" + {row.states:.0f} of states" if row.states else ""
        lines.append(
            f"| {row.name} | {row.case.n / min(row.seconds):.2f} | {spread(row.ratios)} | {spread(row.known_ratios)} "
            f"| {row.memory:.0f}{states} | {row.gemm_share:.0%} | {apart} |"
        )
    return "\n".join(lines)


def run_line(run: dict) -> str:
    """Return the command, machine and versions of a run."""
    packages = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    rates = ", ".join(f"{rate} Gflop/s for {name}" for name, rate in run["gemm_gflops"].items())
    return f"`{run['command']}` on {run['machine']}; {packages}; matrix products: {rates}."


def write_page(facts: dict) -> None:
    """Put the figures between the page's marks; a case of an earlier run names that run if it differs."""
    found = [row_of(row) for row in facts["rows"]]
    lines = [run_line(facts)]
    lines += [f"\nLeft out for the budget of time: {'; '.join(facts['left_out'])}."] if facts["left_out"] else []
    lines += [f"\nNot installed: {', '.join(facts['absent'])}."] if facts["absent"] else []
    lines += [
        "\n*Passages known*: an earlier question has read them and their states are kept, exactly; another is timed. "
        "Differences of log-odds are from one pair at a time (`rankrag parity`)."
    ]
    for case in dict.fromkeys(row.case for row in found):
        lines += ["", table([row for row in found if row.case == case])]
        run = facts["runs"].get(str(case))
        if run and any(run[name] != facts[name] for name in ("machine", "versions")):
            lines += ["", f"Measured by {run_line(run)}"]
    put_figures(PAGE, "`make bench`", lines)


def plot(found: list[Measured]) -> None:
    """Draw each case's ratios, ours as 1; without matplotlib, say so and draw nothing."""
    pyplot = svg_pyplot()
    if pyplot is None:
        return
    cases = list(dict.fromkeys(row.case for row in found))
    figure, axes = pyplot.subplots(len(cases), 1, figsize=(8, 2.4 * len(cases)), squeeze=False, layout="constrained")
    for axis, case in zip(axes[:, 0], cases, strict=True):
        rows = [row for row in found if row.case == case and not row.failed][::-1]
        middle = [statistics.median(row.ratios) for row in rows]
        spread = [
            [m - min(row.ratios) for m, row in zip(middle, rows, strict=True)],
            [max(row.ratios) - m for m, row in zip(middle, rows, strict=True)],
        ]
        axis.barh([row.name for row in rows], middle, xerr=spread, color="#4477aa")
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_title(str(case), fontsize=9)
        axis.tick_params(labelsize=8)
    axes[-1, 0].set_xlabel("time / ours (less is faster)")
    figure.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
