"""The sets that are measured on, in one uniform view: questions, gold passages, and where candidates come from."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rankrag.errors import ConfigError, DataError
from rankrag.jsonl import parse_history, read_passages, read_rows
from rankrag.types import Passage, Question, Style

Metric = Literal["R@1", "R@5", "R@20", "all-gold@5", "hit@1", "NDCG@10"]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of the results.

    Attributes:
        name: also the name of its folder in a run.
        title: its name in the report.
        rows: file of the questions, relative to the data folder.
        corpora: files of the passages; none where every question brings its own candidates.
        metric: the figure that reranking is judged by.
        style: the kind of answer; None where nothing is answered.
        small_sample: questions that are reranked by default, as many as a CPU can do.
        targets: shares of the gap to close, or for hit@1 the figure itself, after training on (CPU, GPU); issue 3.
        unanswerable: the passages hold no answer to any of the questions; refusals are counted, nothing else.
        reading: whether the gold passage alone, and the gold one among five, are read as well.
    """

    name: str
    title: str
    rows: str
    corpora: tuple[str, ...]
    metric: Metric
    style: Style | None = "short"
    small_sample: int = 100
    targets: tuple[float, float] | None = None
    unanswerable: bool = False
    reading: bool = False


_SQUAD = ("squad/squad.corpus.jsonl.zst",)
_NQ = ("openqa/nq_qed.corpus.jsonl.zst", "openqa/wiki_distractors.corpus.jsonl.zst")

BENCHMARKS: Mapping[str, Benchmark] = {
    b.name: b
    for b in (
        Benchmark("squad", "SQuAD", "squad/squad.dev.jsonl.zst", _SQUAD, "R@1", targets=(0.30, 0.60), reading=True),
        Benchmark("nq", "NQ + wiki", "openqa/nq_qed.dev.jsonl.zst", _NQ, "R@1", targets=(0.45, 0.60)),
        Benchmark(
            "hotpotqa",
            "HotpotQA",
            "multihop/hotpotqa.dev.jsonl.zst",
            ("multihop/hotpotqa.corpus.jsonl.zst",),
            "all-gold@5",
            targets=(0.40, 0.55),
        ),
        Benchmark("2wiki", "2Wiki", "multihop/2wiki.dev.jsonl.zst", ("multihop/2wiki.corpus.jsonl.zst",), "all-gold@5"),
        Benchmark(
            "doc2dial",
            "Doc2Dial",
            "conversational/doc2dial.dev.jsonl.zst",
            ("conversational/doc2dial.corpus.jsonl.zst",),
            "R@5",
            style="conversation",
            targets=(0.35, 0.55),
        ),
        Benchmark(
            "inscit",
            "INSCIT",
            "conversational/inscit.dev.jsonl.zst",
            ("conversational/inscit.corpus.jsonl.zst",),
            "R@5",
            style="conversation",
        ),
        Benchmark(
            "msmarco",
            "MS MARCO (own candidates)",
            "ranking/msmarco.dev.jsonl.zst",
            (),
            "hit@1",
            style=None,
            targets=(0.33, 0.38),
        ),
        *(
            Benchmark(
                f"trec_dl{year}",
                f"TREC DL 20{year}",
                f"ranking/trec_dl{year}.test.jsonl.zst",
                (f"ranking/trec_dl{year}.corpus.jsonl.zst",),
                "NDCG@10",
                style=None,
                small_sample=20,
            )
            for year in (19, 20)
        ),
        Benchmark(
            "squad2_unanswerable",
            "SQuAD 2.0, unanswerable",
            "squad/squad2_unanswerable.dev.jsonl.zst",
            _SQUAD,
            "R@1",
            unanswerable=True,
        ),
    )
}
"""Every set, by name, in the order of the report."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A question with its judgements: the gold passages, grades by passage id, and a given list of candidates' ids.

    `given` is the whole choice where the set brings its own candidates, else an extra first stage (TREC DL's BM25 over
    all of MS MARCO); empty where there is none. An unanswerable question has the paragraph that looks like an answer in
    place of a gold one.
    """

    question: Question
    gold: tuple[str, ...]
    grades: Mapping[str, int]
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestSet:
    """A benchmark that has been read. Questions without a gold passage are left out."""

    __test__ = False  # the name is for people; pytest need not look into it

    benchmark: Benchmark
    questions: tuple[Judged, ...]
    passages: Mapping[str, Passage]

    def sample(self, size: int | None, seed: int) -> tuple[Judged, ...]:
        """Return `size` questions drawn with `seed`, in the order of the set; all where `size` is None or too large.

        A larger sample holds every smaller one of the same seed, so that a run can be extended.
        """
        places = list(range(len(self.questions)))
        random.Random(f"{seed}/{self.benchmark.name}").shuffle(places)
        return tuple(self.questions[i] for i in sorted(places[:size]))


def load(benchmark: Benchmark, data: Path) -> TestSet:
    """Return the questions and passages of a benchmark; `ConfigError` lists the files that are missing."""
    absent = [str(data / name) for name in (benchmark.rows, *benchmark.corpora) if not (data / name).is_file()]
    if absent:
        raise ConfigError(
            f"{benchmark.title}: not there: {', '.join(absent)}; set RANKRAG_DATA to the folder of the data sets"
        )
    passages = {p.id: p for name in benchmark.corpora for p in read_passages(data / name)}
    questions = []
    for line, row in read_rows(data / benchmark.rows):
        where = f"{data / benchmark.rows}:{line}"
        own = dict(_own_candidates(row, where))
        passages |= {p.id: p for p in own}
        judged = _judged(benchmark, row, own, where)
        lost = [i for i in (*judged.gold, *judged.given) if i not in passages]
        if lost:
            raise DataError(f"{where}: passage {lost[0]!r} is in none of {', '.join(benchmark.corpora)}; get both anew")
        if judged.gold:
            questions.append(judged)
    return TestSet(benchmark, tuple(questions), passages)


def folder_name(test_set: TestSet) -> str:
    """Return the set's name with a digest of its questions and passages, so that no journal outlives its data."""
    digest = hashlib.sha256()
    for of in test_set.questions:
        digest.update(repr((of.question, of.gold, of.given)).encode())
    for passage in test_set.passages.values():
        digest.update(repr((passage.id, passage.title, passage.text)).encode())
    return f"{test_set.benchmark.name}-{digest.hexdigest()[:8]}"


def _judged(benchmark: Benchmark, row: dict[str, Any], own: Mapping[Passage, int], where: str) -> Judged:
    text, name = row.get("question", row.get("query")), row.get("id")
    if not isinstance(text, str) or not isinstance(name, str):
        found = ", ".join(sorted(row))
        raise DataError(f"{where}: no 'id' with 'question' or 'query' (found: {found}); the format is in docs/data.md")
    question = Question(
        name,
        text,
        history=parse_history(row.get("history", []), where),
        answers=tuple(row.get("answers", ())),
        style=benchmark.style or "short",
    )
    named = row.get("near_ids" if benchmark.unanswerable else "positive_ids", ())
    gold = tuple(named) + tuple(p.id for p, label in own.items() if label)
    grades = {str(i): int(g) for i, g in row.get("grades", dict.fromkeys(gold, 1)).items()}
    given = tuple(row.get("bm25_ids", ())) or tuple(p.id for p in own)
    return Judged(question, gold, grades, given)


def _own_candidates(row: dict[str, Any], where: str) -> Iterator[tuple[Passage, int]]:
    for i, candidate in enumerate(row.get("candidates", ())):
        if not isinstance(candidate, dict) or "text" not in candidate:
            raise DataError(f"{where}: candidate {i} has no 'text'; the format is in docs/data.md")
        yield (
            Passage(f"{row['id']}/c{i}", candidate["text"], candidate.get("title", "")),
            int(candidate.get("label", 0)),
        )
