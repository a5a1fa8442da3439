"""What a run is: its sets, questions and systems, kept in `run.json` beside the lines."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rankrag.data.files import write_whole
from rankrag.data.sets import Benchmark, Origin, PaperSetting, TestSet, folder_name
from rankrag.errors import DataError
from rankrag.evaluation.systems import System

FILE_NAME = "run.json"


@dataclass(frozen=True, slots=True)
class SetDescription:
    """One set of a run.

    Attributes:
        name: the benchmark's name.
        title: its name in the report.
        folder: its folder in the run.
        metric: the figure that its ranking is judged by; "" if no passage is known to be right.
        style: the kind of answer; "" if nothing is answered.
        split: the part of the set that is measured.
        corpus: its passages, in words.
        size: questions of the set that can be measured.
        questions: ids of the sample that models see.
        left_out: questions that cannot be measured, counted by reason.
        first_stage: what made the ranking that comes with the set and is used for every retriever; "" if it has none.
        unranked: questions that this ranking has no passage for.
        paper: how the paper measures the set.
        origin: how its ranking was frozen, if that was written down.
        systems: names of the systems that take part; None for all of them.
        unanswerable: whether no passage answers its questions.
    """

    name: str
    title: str
    folder: str
    metric: str
    style: str
    split: str
    corpus: str
    size: int
    questions: tuple[str, ...]
    left_out: dict[str, int]
    first_stage: str = ""
    unranked: int = 0
    paper: PaperSetting | None = None
    origin: Origin | None = None
    systems: tuple[str, ...] | None = None
    unanswerable: bool = False


@dataclass(frozen=True, slots=True)
class RunDescription:
    """A run: how it was made, on what, and which systems it has.

    `made_with` has the versions of rankrag and of what it runs on, and, by name, a digest of every language model.
    """

    command: str
    machine: str
    date: str
    seed: int
    systems: tuple[System, ...]
    sets: tuple[SetDescription, ...]
    made_with: dict[str, str] = field(default_factory=dict)

    def systems_of(self, of_set: SetDescription) -> tuple[System, ...]:
        """Return the systems that take part in a set, as they are on it."""
        return tuple(s.on(of_set.paper) for s in self.systems if of_set.systems is None or s.name in of_set.systems)


def describe(test_set: TestSet, questions: tuple[str, ...], systems: tuple[str, ...] | None = None) -> SetDescription:
    """Return the description of a set with these questions and systems."""
    benchmark, origin, made_by = test_set.benchmark, test_set.origin, maker_of(test_set)
    return SetDescription(
        name=benchmark.name,
        title=benchmark.title,
        folder=folder_name(test_set),
        metric=benchmark.metric or "",
        style=benchmark.style or "",
        split=benchmark.split,
        corpus=_corpus(benchmark, origin, frozen=bool(made_by)),
        size=len(test_set.questions),
        questions=questions,
        left_out=dict(test_set.left_out),
        first_stage=made_by,
        unranked=test_set.unranked,
        paper=benchmark.paper,
        origin=origin,
        systems=systems,
        unanswerable=benchmark.unanswerable,
    )


def maker_of(test_set: TestSet) -> str:
    """Return what made the ranking that comes with a set and cannot be made again; "" if none comes with it."""
    if not test_set.fixed or test_set.benchmark.evidence:
        return ""
    origin = test_set.origin
    return origin.first_stage if origin else test_set.benchmark.ranked_by or "an unknown first stage"


def save_description(description: RunDescription, run: Path) -> Path:
    """Write the description into the run folder in one step; return its path."""
    path = run / FILE_NAME
    write_whole(path, _RUN.dump_json(description, indent=1).decode() + "\n")
    return path


def load_description(run: Path) -> RunDescription:
    """Return the description of a run folder; `DataError` if it has none."""
    path = run / FILE_NAME
    try:
        return _RUN.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: no run there ({error.strerror}); make one with: rankrag evaluate") from None
    except ValidationError as error:
        raise DataError(f"{path}: not a run ({error.error_count()} problems); run rankrag evaluate again") from None


def machines(run: Path, machine: str) -> str:
    """Return the machines that filled a run folder; a new one is added at the end."""
    try:
        earlier = load_description(run).machine
    except DataError:
        return machine
    return "; ".join(dict.fromkeys(part for part in (*earlier.split("; "), machine) if part))


def made_with() -> dict[str, str]:
    """Return the versions that a run is made with, and the commit if rankrag is a checkout."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    own = Path(__file__)

    def git(*asked: str) -> str:
        command = ["git", "-C", str(own.parent), *asked]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", own.name)  # an installed copy may lie in someone else's repository
        return {**versions, "commit": git("describe", "--always", "--dirty", "--abbrev=12")}
    except (OSError, subprocess.SubprocessError):
        return versions


def _corpus(benchmark: Benchmark, origin: Origin | None, *, frozen: bool) -> str:
    if not (frozen and benchmark.corpora):
        return benchmark.corpus
    return origin.corpus if origin else f"{benchmark.corpus}; a frozen run"


_PACKAGES = ("rankrag", "torch", "transformers", "lancedb")
_RUN = TypeAdapter(RunDescription)
