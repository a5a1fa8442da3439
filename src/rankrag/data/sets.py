"""What a benchmark is, as values: where its data comes from, how it is measured, and what was read of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rankrag.config.blend import HubConfig
from rankrag.contract import HistoryQuery
from rankrag.types import Passage, Question, Style

Metric = Literal[
    "R@1",
    "R@5",
    "R@20",
    "all-gold@5",
    "hit@1",
    "RR",
    "NDCG@10",
    "answer-recall@5",
    "answer-recall@10",
    "answer-recall@20",
    "answer-recall-dpr@5",
    "answer-recall-dpr@10",
    "answer-recall-dpr@20",
]
"""What is measured of a ranking; those of answers look for the answer's words in the passages, the others for ids."""

AnswerMetric = Literal[
    "EM", "F1", "Acc", "ChatRAG F1", "FEVER accuracy", "MIRAGE accuracy", "MIRAGE strict", "MIRAGE parsed"
]
"""What is measured of a reply."""

Schema = Literal[
    "rankrag",
    "kilt",
    "kilt_triviaqa",
    "dpr",
    "nq_open",
    "triviaqa",
    "popqa",
    "2wiki",
    "chatrag",
    "mirage",
    "beir",
    "flashrag",
]
"""The form in which the questions are published; `rankrag` is that of docs/data.md."""


@dataclass(frozen=True, slots=True)
class PaperSetting:
    """How the paper measures a set; its numbers are comparable only where all of this is the same.

    Attributes:
        split: the part of the set, as the paper names it.
        size: questions in it, as printed.
        actual: questions in it where the paper misprints them.
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
        corpora: files of the passages, names of files less their .jsonl, or folders of such files; none where every
            question brings its own candidates.
        metric: the figure that reranking is judged by; None where no passage is known to be right.
        style: the kind of answer; None where nothing is answered.
        small_sample: questions that are reranked by default, as many as a CPU can do.
        unanswerable: the passages hold no answer to any of the questions; refusals are counted, nothing else.
        reading: whether the gold passage alone, and the gold one among five, are read as well.
        split: the part of the set that is measured; always said where a set has several.
        schema: the form of `rows`.
        hub_schema: the form in which the hub has them, where it is another one.
        ours: file of the same questions in the form of docs/data.md, read where `rows` is not there.
        subset: the part of the file that is meant, where it holds several sets (MIRAGE).
        companion: a second file that the rows need: documents by id, questions by id, qrels.
        hub: where the questions are published; `fetch` keeps them in the data folder as hub/NAME.jsonl.zst.
        source: where they can be had, if not on the hub.
        corpus: the passages in words.
        corpus_source: where they can be had, and how the files come by their names.
        ranked_by: what made the ranking that comes with the rows, where one does.
        evidence: every question is answered from its own gold passages; nothing is retrieved.
        answer_metrics: what is measured of a reply.
        paper: how the paper measures it; None for sets that are not the paper's.
    """

    name: str
    title: str
    rows: str
    corpora: tuple[str, ...]
    metric: Metric | None
    style: Style | None = "short"
    small_sample: int = 100
    unanswerable: bool = False
    reading: bool = False
    split: str = ""
    schema: Schema = "rankrag"
    hub_schema: Schema | None = None
    ours: str = ""
    subset: str = ""
    companion: str = ""
    hub: HubConfig | None = None
    source: str = ""
    corpus: str = ""
    corpus_source: str = ""
    ranked_by: str = ""
    evidence: bool = False
    answer_metrics: tuple[AnswerMetric, ...] = ("EM", "F1", "Acc")
    paper: PaperSetting | None = None

    @property
    def needs_gold(self) -> bool:
        """Whether a question without a gold passage cannot be measured."""
        return self.metric is not None and not self.metric.startswith("answer-")

    def searched_by(self, history: HistoryQuery) -> HistoryQuery:
        """Return by which turns its questions are searched where conversations are searched by `history`."""
        return history if self.style == "conversation" else "last"


@dataclass(frozen=True, slots=True)
class Judged:
    """A question with its judgements: the gold passages, grades by passage id, and a given list of candidates' ids.

    `given` is the whole choice where the set brings its own candidates, else an extra first stage (a frozen run, TREC
    DL's BM25 over all of MS MARCO); empty where there is none. An unanswerable question has the paragraph that looks
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
        origin: how the frozen run was made that is its first stage; None where there is none, or nobody wrote it down.
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
        """Whether a ranking comes with it that cannot be made anew: it is the first stage, whatever is asked for."""
        return self.ranked and not self.searchable

    def sample(self, size: int | None, seed: int) -> tuple[Judged, ...]:
        """Return `size` questions drawn with `seed`, in the order of the set; all where `size` is None or too large.

        A larger sample holds every smaller one of the same seed, so that a run can be extended.
        """
        places = list(range(len(self.questions)))
        random.Random(f"{seed}/{self.benchmark.name}").shuffle(places)
        return tuple(self.questions[i] for i in sorted(places[:size]))


def folder_name(test_set: TestSet) -> str:
    """Return the set's name with a digest of its questions and passages, so that no journal outlives its data."""
    digest = hashlib.sha256()
    for of in test_set.questions:
        digest.update(repr((of.question, of.gold, of.given)).encode())
    for passage in test_set.passages.values():
        digest.update(repr((passage.id, passage.title, passage.text)).encode())
    return f"{test_set.benchmark.name}-{digest.hexdigest()[:8]}"
