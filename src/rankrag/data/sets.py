"""Benchmarks as values: where their data comes from, how they are measured, and the questions that were read."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from rankrag.config.blend import HubConfig
from rankrag.contract import HistoryQuery
from rankrag.types import Passage, Question, Style


@dataclass(frozen=True, slots=True)
class PaperSetting:
    """How the paper measures a set; its numbers are comparable only if all of this is the same.

    Attributes:
        split: the part of the set, as the paper names it.
        size: questions in it, as printed.
        actual: questions in it, if the paper misprints them.
        corpus: what is searched.
        retriever: the first stage.
        n: passages that are reranked (8B; 30 at 70B).
        k: passages that are answered from; the paper does not print it for each set (docs/deviations.md).
        history: by which turns a conversation is searched.
    """

    split: str
    size: int
    corpus: str
    retriever: str = "Dragon"
    n: int = 100
    k: int = 5
    history: HistoryQuery = "last"
    actual: int | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of the results.

    Attributes:
        name: also the name of its folder in a run.
        title: its name in the report.
        rows: file of the questions, relative to the data folder.
        corpora: files of the passages, names of files without .jsonl, or folders of such files; none if every
            question brings its own candidates.
        metric: the figure that reranking is judged by (`evaluation.metrics`); None if no passage is known to be right.
        style: the kind of answer; None if nothing is answered.
        small_sample: questions that are reranked by default, as many as a CPU can do.
        unanswerable: the passages hold no answer to any of the questions; refusals are counted, nothing else.
        reading: whether the gold passage alone, and the gold one among five, are read as well.
        split: the part of the set that is measured; always named if a set has several.
        schema: the form of `rows`: a reader of `public`, or `rankrag` (docs/data.md).
        hub_schema: the form on the hub, if it differs.
        ours: file of the same questions in the form of docs/data.md, read if `rows` is not there.
        subset: the part of the file, if it holds several sets (MIRAGE).
        companion: a second file that the rows need: documents by id, questions by id, qrels.
        hub: where the questions are published; `fetch` keeps them in the data folder as hub/NAME.jsonl.zst.
        source: where to get them, if not on the hub.
        corpus: the passages in words.
        corpus_source: where to get them, and the names of the files.
        ranked_by: the retriever that made the ranking in the rows, if there is one.
        evidence: every question is answered from its own gold passages; nothing is retrieved.
        answer_metrics: the metrics of a reply.
        paper: how the paper measures it; None for sets that are not the paper's.
    """

    name: str
    title: str
    rows: str
    corpora: tuple[str, ...]
    metric: str | None
    style: Style | None = "short"
    small_sample: int = 100
    unanswerable: bool = False
    reading: bool = False
    split: str = ""
    schema: str = "rankrag"
    hub_schema: str | None = None
    ours: str = ""
    subset: str = ""
    companion: str = ""
    hub: HubConfig | None = None
    source: str = ""
    corpus: str = ""
    corpus_source: str = ""
    ranked_by: str = ""
    evidence: bool = False
    answer_metrics: tuple[str, ...] = ("EM", "F1", "Acc")
    paper: PaperSetting | None = None

    @property
    def needs_gold(self) -> bool:
        """Whether a question without a gold passage cannot be measured."""
        return self.metric is not None and not self.metric.startswith("answer-")

    def searched_by(self, history: HistoryQuery) -> HistoryQuery:
        """Return by which turns its questions are searched if conversations are searched by `history`."""
        return history if self.style == "conversation" else "last"


@dataclass(frozen=True, slots=True)
class Judged:
    """A question with its judgements: the gold passages, grades by passage id, and a given list of candidates' ids.

    `given` is the whole choice if the set brings its own candidates, else an extra first stage (a frozen run, TREC DL's
    BM25 over all of MS MARCO), or empty. An unanswerable question has the paragraph that looks
    like an answer in place of a gold one.
    """

    question: Question
    gold: tuple[str, ...]
    grades: Mapping[str, int]
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """How a frozen run was made, kept beside it (`frozen`); `depth` passages at most for each of `questions`."""

    retriever: str
    encoder: str | None
    history: HistoryQuery
    corpus: str
    depth: int
    questions: int
    rankrag: str

    @property
    def first_stage(self) -> str:
        """The first stage in words."""
        return f"{self.retriever} by {self.encoder}" if self.encoder else self.retriever


@dataclass(frozen=True, slots=True)
class TestSet:
    """A benchmark that has been read.

    Attributes:
        benchmark: which one.
        questions: those that can be measured, in the order of the file.
        passages: by id: all of the corpora, or those of the questions' own lists.
        ranked: whether `given` is a first stage in its order; else it is a choice, still to be ordered.
        searchable: whether `passages` are a whole corpus.
        left_out: questions that cannot be measured, counted by reason.
        origin: how its frozen first stage was made; None without one, or if nobody wrote it down.
        unranked: questions that the frozen run has no passage for.
    """

    __test__ = False  # the name is for people; pytest need not look into it

    benchmark: Benchmark
    questions: tuple[Judged, ...]
    passages: Mapping[str, Passage]
    ranked: bool = False
    searchable: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)
    origin: Origin | None = None
    unranked: int = 0

    @property
    def fixed(self) -> bool:
        """Whether it brings a ranking that cannot be made again: that is the first stage, whichever is asked for."""
        return self.ranked and not self.searchable

    def sample(self, size: int | None, seed: int) -> tuple[Judged, ...]:
        """Return `size` questions drawn with `seed`, in the order of the set; all if `size` is None or too large.

        A larger sample holds every smaller one of the same seed, so that a run can be extended.
        """
        places = list(range(len(self.questions)))
        random.Random(f"{seed}/{self.benchmark.name}").shuffle(places)
        return tuple(self.questions[i] for i in sorted(places[:size]))


def folder_name(test_set: TestSet) -> str:
    """Return the set's name with a digest of its questions and passages, so that no journal outlives its data."""
    digest = hashlib.sha256()
    for judged in test_set.questions:
        digest.update(repr((judged.question, judged.gold, judged.given)).encode())
    for passage in test_set.passages.values():
        digest.update(repr((passage.id, passage.title, passage.text)).encode())
    return f"{test_set.benchmark.name}-{digest.hexdigest()[:8]}"
