"""What a run is: its sets and systems as they were asked for, kept in `run.json` beside the lines of its questions."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rankrag.data.files import write_whole
from rankrag.data.sets import Origin, PaperSetting, TestSet, folder_name
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
        metric: the figure that its ranking is judged by; "" where no passage is known to be right.
        style: the kind of answer; "" where nothing is answered.
        split: the part of the set that is measured.
        corpus: its passages, in words.
        size: questions of the set that can be measured.
        questions: ids of those that were asked.
        left_out: questions that cannot be measured, counted by reason.
        first_stage: what made the ranking that is the first stage whatever a system asks for; "" where it is searched.
        unranked: questions that this ranking has no passage for.
        origin: how it was frozen, where that was written down.
        paper: how the paper measures the set, where it does.
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


@dataclass(frozen=True, slots=True)
class RunDescription:
    """A run: how it was made, on what, and what was compared.

    `made_with` has the versions of rankrag and what it runs on, and, by name, a digest of every language model (its
    weights and prompts, as its journals are named).
    """

    command: str
    machine: str
    date: str
    seed: int
    history: str
    systems: tuple[System, ...]
    sets: tuple[SetDescription, ...]
    made_with: dict[str, str] = field(default_factory=dict)


def describe(test_set: TestSet, questions: tuple[str, ...]) -> SetDescription:
    """Return the description of a set of which these questions are asked."""
    benchmark, origin, made_by = test_set.benchmark, test_set.origin, maker_of(test_set)
    corpus = benchmark.corpus
    if made_by and benchmark.corpora:
        corpus = origin.corpus if origin else f"{corpus}; a frozen run"
    return SetDescription(
        benchmark.name,
        benchmark.title,
        folder_name(test_set),
        benchmark.metric or "",
        benchmark.style or "",
        benchmark.split,
        corpus,
        len(test_set.questions),
        questions,
        dict(test_set.left_out),
        made_by,
        test_set.unranked,
        benchmark.paper,
        origin,
    )


def maker_of(test_set: TestSet) -> str:
    """Return what made the ranking that comes with a set and cannot be made anew; "" where there is none."""
    if not test_set.fixed or test_set.benchmark.evidence:
        return ""
    origin = test_set.origin
    return origin.first_stage if origin else test_set.benchmark.ranked_by or "a ranking of unknown make"


def save_description(description: RunDescription, run: Path) -> Path:
    """Write the description into the run folder in one step; return its path."""
    path = run / FILE_NAME
    write_whole(path, _RUN.dump_json(description, indent=1).decode() + "\n")
    return path


def machines(run: Path, machine: str) -> str:
    """Return the machines that a run folder was filled by, this one last where it is new there."""
    try:
        earlier = load_description(run).machine
    except DataError:
        return machine
    return "; ".join(dict.fromkeys(part for part in (*earlier.split("; "), machine) if part))


def made_with(models: Mapping[str, str]) -> dict[str, str]:
    """Return what a run is made with: versions, the commit where rankrag is a checkout, and these digests of models."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    own = Path(__file__)

    def git(*asked: str) -> str:
        command = ["git", "-C", str(own.parent), *asked]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", own.name)  # else it lies in somebody's own repository
        commit = git("describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return {**versions, **({"commit": commit} if commit else {}), **models}


_PACKAGES = ("rankrag", "torch", "transformers", "lancedb")


def load_description(run: Path) -> RunDescription:
    """Return the description of a run folder; `DataError` where there is none."""
    path = run / FILE_NAME
    try:
        return _RUN.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: no run there ({error.strerror}); make one with: rankrag evaluate CONFIG") from None
    except ValidationError as error:
        raise DataError(f"{path}: not a run ({error.error_count()} problems); run rankrag evaluate again") from None


_RUN = TypeAdapter(RunDescription)
