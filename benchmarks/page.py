"""How fast a report of many questions opens: `python benchmarks/page.py`.

Made-up lines of N questions (two sets, two systems, 20 passages each) are written in the form of `rankrag evaluate`.
`rankrag report` makes the page, and Chromium opens it from disk. The page itself gives the figure: the milliseconds
from the start of its navigation until the overview is drawn and the list responds.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from rankrag.evaluation.aggregate import read_results
from rankrag.evaluation.description import RunDescription, SetDescription, save_description
from rankrag.evaluation.lines import QuestionLine, Seconds, save_lines, save_passages
from rankrag.evaluation.page import write_page
from rankrag.evaluation.systems import System
from rankrag.types import Passage

SETS = ("one", "two")
SYSTEMS = (System(name="mini", model="m", k=5), System(name="not reranked", model="m", k=5, ranker="none"))
WORDS = [f"word{i}" for i in range(4_000)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--questions", type=int, default=10_000, help="of all sets; each stands there for every system")
    parser.add_argument("--repeats", type=int, default=5)
    wanted = parser.parse_args()
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"no browser; install one of {', '.join(names)}")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        sets = tuple(made_up(run, name, wanted.questions // len(SETS)) for name in SETS)
        save_description(RunDescription("", "", "2026-01-01", 0, SYSTEMS, sets), run)
        started = time.perf_counter()
        page = write_page(read_results(run), run / "page.html")
        print(f"{wanted.questions:,} questions, {page.stat().st_size / 2**20:.1f} MiB, made in", end=" ")
        print(f"{time.perf_counter() - started:.1f} s")
        taken = [opened(browser, page, run / f"profile{i}") for i in range(wanted.repeats)]
    print(f"opens in {median(taken):.0f} ms ({min(taken):.0f} to {max(taken):.0f}, {wanted.repeats} times)")


def opened(browser: str, page: Path, profile: Path) -> float:
    """Return the milliseconds that the page says it took."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
    shown = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-ready="(\d+)"', shown)
    if found is None:
        raise SystemExit(f"{page}: the browser did not get ready")
    return float(found[1])


def made_up(run: Path, name: str, questions: int) -> SetDescription:
    """Write a set's lines and passages; return its description."""
    drawn = random.Random(name)

    def text(words: int) -> str:
        return " ".join(drawn.choices(WORDS, k=words))

    passages = {f"p{i}": Passage(f"p{i}", text(100), text(3)) for i in range(5_000)}
    names = list(passages)
    rows: dict[str, list[QuestionLine]] = {system.name: [] for system in SYSTEMS}
    for place in range(questions):
        found, asked, answer = tuple(drawn.sample(names, 20)), text(12), text(4)
        for system in SYSTEMS:
            order = tuple(drawn.sample(found, 20)) if system.ranker == "model" else found
            right = drawn.random() < 0.5
            metrics = {"R@1": float(right), "EM": float(right), "F1": drawn.random(), "refused": 0.0}
            rows[system.name].append(
                QuestionLine(
                    benchmark=name,
                    system=system.name,
                    id=f"q{place}",
                    question=asked,
                    history=(),
                    gold_answers=(answer,),
                    gold=(order[0] if right else order[7],),
                    retrieved=found,
                    reranked=order,
                    p_true=tuple(round(drawn.random(), 6) for _ in order),
                    contexts=order[:5],
                    answer=answer if right else text(4),
                    outcome="right" if right else "misread",
                    metrics=metrics,
                    first={"R@1": 0.0},
                    seconds=Seconds(0.01, 0.2, 0.5),
                    reachable=1.0,
                )
            )
    folder = run / f"{name}-0"
    for system in SYSTEMS:
        save_passages(folder, rows[system.name], passages)
        save_lines(folder / system.folder, rows[system.name])
    ids = tuple(f"q{place}" for place in range(questions))
    return SetDescription(name, name, folder.name, "R@1", "short", "made up", "made up", questions, ids, {})


if __name__ == "__main__":
    main()
