"""The figures of an evaluation as values: what `evaluation.json` holds and the report shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rankrag.data.files import write_whole
from rankrag.errors import DataError
from rankrag.evaluation.calibration import Calibration
from rankrag.evaluation.metrics import Interval

FILE_NAME = "evaluation.json"

Figures = dict[str, Interval]
"""By metric."""


@dataclass(frozen=True, slots=True)
class FirstStageFigures:
    """One retriever ("bm25", "dense", "hybrid") on all questions of a set; `history` is "" without conversations."""

    retriever: str
    history: str
    questions: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class RerankedFigures:
    """One first stage's N candidates on the sampled questions: as they stood, in the model's order, and blended.

    `reachable` is the set's metric for the best order of the same candidates; the gaps are shares of the way there.
    """

    retriever: str
    questions: int
    first: Figures
    pure: Figures
    blended: Figures
    reachable: float
    gap_pure: Interval | None
    gap_blended: Interval | None


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """Answers from the k passages with and without reranking; `em_gain` and `f1_gain` are the paired differences.

    `own` and `own_first_stage` are the metrics that the set is published with, where they are others than EM and F1.
    """

    questions: int
    em: Interval
    f1: Interval
    em_first_stage: Interval
    f1_first_stage: Interval
    f1_gain: Interval
    em_gain: Interval
    own: Figures = field(default_factory=dict)
    own_first_stage: Figures = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CitedFigures:
    """Answers from passages with the gold one among them, and how often they cite it.

    `precision` is of the questions that got a citation, None where none did; `recall` is of all questions;
    `always_first` is both of them for a system that always cites the first passage of the prompt.
    """

    em: Interval
    f1: Interval
    precision: Interval | None
    recall: Interval
    always_first: Interval


@dataclass(frozen=True, slots=True)
class ReadingFigures:
    """Answers from the gold passage alone, from it among five, and, as the pipeline reads, from the best k of these."""

    questions: int
    em_gold: Interval
    f1_gold: Interval
    five: CitedFigures
    ranked: CitedFigures


@dataclass(frozen=True, slots=True)
class RefusalFigures:
    """Shares of questions the pipeline does not answer: in all, and because no passage reached the threshold.

    `near_found` is the share of unanswerable questions whose near paragraph was among the candidates, and
    `refused_near` the share refused of those; both None for answerable ones.
    """

    answerable: bool
    questions: int
    refused: Interval
    below_threshold: float
    near_found: float | None = None
    refused_near: Interval | None = None


@dataclass(frozen=True, slots=True)
class StoppingFigures:
    """Candidates judged until the k-th best reaches `bound` (None: all of them), over the answered first stage.

    `judged` is their mean number, `recall` that of the gold passages in the top k, `same` the share of questions whose
    top k is that of judging all, `em` of the answers from it, None where answers have none.
    """

    bound: float | None
    judged: float
    recall: Interval
    same: float
    em: Interval | None


@dataclass(frozen=True, slots=True)
class SetFigures:
    """Everything measured on one set; what was not measured is empty or None.

    `first_stage` is what made the ranking that comes with a set and stands for every retriever, "" where one searches.
    """

    name: str
    title: str
    metric: str
    target: tuple[float, float] | None
    first_stages: tuple[FirstStageFigures, ...] = ()
    reranked: tuple[RerankedFigures, ...] = ()
    answers: AnswerFigures | None = None
    reading: ReadingFigures | None = None
    refusals: RefusalFigures | None = None
    stopping: tuple[StoppingFigures, ...] = ()
    calibration: Calibration | None = None
    first_stage: str = ""


@dataclass(frozen=True, slots=True)
class ExampleFigures:
    """The questions of examples/questions.jsonl, through the whole pipeline.

    EM and F1 are means over the answerable questions, a refusal counting 0; `source_hit` is the share of them whose
    first citation is of a named source, None where none is named.
    """

    unanswerable: int
    unanswerable_refused: int
    answerable: int
    answerable_refused: int
    em: float
    f1: float
    source_hit: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One evaluation: how it was made, and its figures set by set."""

    command: str
    machine: str
    date: str
    model: str
    n: int
    k: int
    seed: int
    similarity_weight: float
    abstain_below: float | None
    history_query: str
    sets: tuple[SetFigures, ...]
    examples: ExampleFigures | None = None


def save_summary(summary: Summary, run: Path) -> Path:
    """Write the summary into the run folder in one step; return its path."""
    path = run / FILE_NAME
    write_whole(path, _SUMMARY.dump_json(summary, indent=1).decode() + "\n")
    return path


def load_summary(run: Path) -> Summary:
    """Return the summary of a run folder; `DataError` where there is none."""
    path = run / FILE_NAME
    try:
        return _SUMMARY.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: no evaluation there ({error.strerror}); make one with: rankrag evaluate") from None
    except ValidationError as error:
        raise DataError(f"{path}: not an evaluation ({error.error_count()} problems); run rankrag evaluate") from None


_SUMMARY = TypeAdapter(Summary)
