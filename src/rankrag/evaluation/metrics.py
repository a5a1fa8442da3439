"""What is measured: answers against references, rankings against gold passages, and how sure the means are.

Every metric is of one question and lies in [0, 1]; a set's figure is the mean over its questions.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rankrag.data.sets import AnswerMetric, Judged, Metric
from rankrag.errors import MissingExtraError
from rankrag.evaluation.labels import letter_of, verdict_of
from rankrag.matching import contains_any, has_answer, normalise
from rankrag.types import Passage

RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its bootstrap interval (95 %: the 2.5th and 97.5th percentile of the resampled means)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def exact_match(reply: str, answers: Sequence[str]) -> float:
    """Return 1 if the reply equals one of the answers, both normalised as SQuAD does, else 0; 0 without answers."""
    return float(any(normalise(reply) == normalise(answer) for answer in answers))


def token_f1(reply: str, answers: Sequence[str]) -> float:
    """Return the best F1 of the reply's words (a bag, normalised as SQuAD does) against one answer; 0 without answers.

    Where reply or answer has no words left, F1 is 1 if both have none, else 0.
    """
    return max((_f1(normalise(reply).split(), normalise(answer).split()) for answer in answers), default=0.0)


def contains_answer(reply: str, answers: Sequence[str]) -> float:
    """Return 1 if one of the answers stands in the reply, letter for letter, else 0: the "Acc" of Self-RAG's scorer."""
    return float(any(answer in reply for answer in answers if answer))


def chatrag_f1(reply: str, answers: Sequence[str]) -> float:
    """Return the best F1 of the reply's words against one answer by ChatRAG's rules; 0 without answers.

    Unlike SQuAD's, punctuation parts words, and texts without a word in common have 0 even if both are empty.
    """
    said = _chatrag_words(reply.replace("</s>", ""))
    asked = [_chatrag_words(answer) for answer in answers if answer.strip()]
    return max((_f1(said, wanted) for wanted in asked if said and wanted), default=0.0)


def claim_accuracy(reply: str, answers: Sequence[str]) -> float:
    """Return 1 if the reply's verdict is the claim's label (SUPPORTS, REFUTES), else 0; 0 without a verdict."""
    return float(verdict_of(reply) in answers)


def option_accuracy(reply: str, answers: Sequence[str]) -> float:
    """Return MIRAGE's official accuracy: 1 if the letter found in the reply is right; without any it takes A."""
    return float((letter_of(reply) or "A") in answers)


def strict_option_accuracy(reply: str, answers: Sequence[str]) -> float:
    """Return 1 if a letter is found in the reply and is right, else 0."""
    return float(letter_of(reply) in answers)


def option_parsed(reply: str, answers: Sequence[str]) -> float:  # noqa: ARG001 - a metric like the others
    """Return 1 if a letter is found in the reply, else 0; the unparsed rate is 1 less the mean."""
    return float(letter_of(reply) is not None)


ANSWER_METRICS: Mapping[AnswerMetric, Callable[[str, Sequence[str]], float]] = {
    "EM": exact_match,
    "F1": token_f1,
    "Acc": contains_answer,
    "ChatRAG F1": chatrag_f1,
    "FEVER accuracy": claim_accuracy,
    "MIRAGE accuracy": option_accuracy,
    "MIRAGE strict": strict_option_accuracy,
    "MIRAGE parsed": option_parsed,
}
"""The metrics of replies, by the name they have in the report."""


def answer_scores(metrics: Sequence[AnswerMetric], reply: str, answers: Sequence[str]) -> dict[str, float]:
    """Return these metrics of a reply, by name."""
    return {name: ANSWER_METRICS[name](reply, answers) for name in metrics}


def recall_at(ids: Sequence[str], gold: Sequence[str], k: int) -> float:
    """Return the share of the gold passages that stand among the first `k`; 0 without gold passages."""
    return len(set(gold) & set(ids[:k])) / len(set(gold)) if gold else 0.0


def all_gold_at(ids: Sequence[str], gold: Sequence[str], k: int) -> float:
    """Return 1 if all gold passages stand among the first `k` (what a multi-hop answer needs), else 0."""
    return float(bool(gold) and set(gold) <= set(ids[:k]))


def hit_at(ids: Sequence[str], gold: Sequence[str], k: int) -> float:
    """Return 1 if at least one gold passage stands among the first `k`, else 0."""
    return float(not set(gold).isdisjoint(ids[:k]))


def ndcg_at_10(rankings: Sequence[Sequence[str]], grades: Sequence[Mapping[str, int]]) -> list[float]:
    """Return NDCG@10 of each ranking under the grades of its question, gains linear as in trec_eval.

    A passage without a grade counts 0. The ideal order is of all graded passages, found or not.
    """
    try:
        import ir_measures
    except ImportError:
        raise MissingExtraError('NDCG needs ir-measures; install it with: pip install "rankrag[evaluation]"') from None
    runs = {str(i): {d: -float(p) for p, d in enumerate(ids)} for i, ids in enumerate(rankings)}
    qrels = {str(i): dict(of) for i, of in enumerate(grades)}
    found = {m.query_id: m.value for m in ir_measures.iter_calc([ir_measures.nDCG @ 10], qrels, runs)}
    return [float(found.get(str(i), 0.0)) for i in range(len(rankings))]


def answer_recall_at(
    ids: Sequence[str], passages: Mapping[str, Passage], answers: Sequence[str], k: int, *, dpr: bool = False
) -> float:
    """Return 1 if one of the first `k` passages holds an answer, else 0 (what the paper calls recall).

    An answer is held where its words stand in title or text, normalised as SQuAD does; with `dpr` by DPR's own rule,
    which reads the text alone.
    """
    first = [passages[name] for name in ids[:k]]
    if dpr:
        return float(any(has_answer(passage.text, answers) for passage in first))
    return float(any(holds_answer(passage, answers) for passage in first))


def holds_answer(passage: Passage, answers: Sequence[str]) -> bool:
    """Whether an answer's words stand in a passage's title or text, normalised as SQuAD does."""
    return contains_any(f"{passage.title} {passage.text}", answers)


def citation_precision(cited: Sequence[str], gold: Sequence[str]) -> float | None:
    """Return the share of the citations that name a gold passage; None without citations."""
    return sum(name in gold for name in cited) / len(cited) if cited else None


def citation_recall(cited: Sequence[str], gold: Sequence[str]) -> float:
    """Return the share of the gold passages that are cited; 0 without gold passages."""
    return len(set(cited) & set(gold)) / len(set(gold)) if gold else 0.0


def measure(
    metric: Metric,
    rankings: Sequence[Sequence[str]],
    judged: Sequence[Judged],
    passages: Mapping[str, Passage] | None = None,
) -> list[float]:
    """Return a metric of each question's ranking, by the name it has in the report.

    Those that look for the answer in the texts need the `passages`.
    """
    if metric == "NDCG@10":
        return ndcg_at_10(rankings, [of.grades for of in judged])
    pairs = list(zip(rankings, judged, strict=True))
    if metric == "RR":
        return [reciprocal_rank(ids, of.gold) for ids, of in pairs]
    name, k = metric.split("@")
    if name.startswith("answer-recall"):
        assert passages is not None, "who asks for a recall of answers has read the passages"
        dpr = name.endswith("-dpr")
        return [answer_recall_at(ids, passages, of.question.answers, int(k), dpr=dpr) for ids, of in pairs]
    of_one = {"R": recall_at, "all-gold": all_gold_at, "hit": hit_at}[name]
    return [of_one(ids, of.gold, int(k)) for ids, of in pairs]


def reciprocal_rank(ids: Sequence[str], gold: Sequence[str]) -> float:
    """Return 1 / rank of the first gold passage, ranks from 1; 0 where there is none."""
    return next((1 / rank for rank, name in enumerate(ids, start=1) if name in gold), 0.0)


def relevance(metric: Metric, of: Judged, ids: Sequence[str], passages: Mapping[str, Passage]) -> Mapping[str, int]:
    """Return the grades that a metric goes by: the question's own, or 1 for each of `ids` that holds an answer."""
    if not metric.startswith("answer-recall"):
        return of.grades
    dpr = "-dpr@" in metric
    return {i: 1 for i in ids if answer_recall_at([i], passages, of.question.answers, 1, dpr=dpr)}


def best_order(ids: Sequence[str], grades: Mapping[str, int]) -> list[str]:
    """Return the candidates as a perfect reranker would order them: its metrics are what can be reached."""
    return sorted(ids, key=lambda i: -grades.get(i, 0))


def gap_closed(first: float, reranked: float, reachable: float) -> float | None:
    """Return the share of the reachable gap that was closed: (reranked - first) / (reachable - first).

    `reachable` is the metric of the best order of the same candidates. For R@k that is recall@N, for all-gold@k it is
    all-gold@N, as long as no question has more than k gold passages. Negative where reranking hurts; None where the
    first stage leaves no gap.
    """
    return (reranked - first) / (reachable - first) if reachable - first > 1e-12 else None


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the mean of the questions' values with its 95 % interval, from 2,000 resamples of the questions."""
    return Interval(float(np.mean(values)), *_percentiles(np.asarray(values)[None], lambda means: means[0], seed))


def paired_difference(after: Sequence[float], before: Sequence[float], seed: int = 0) -> Interval:
    """Return the mean of after - before, question by question, with its 95 % interval."""
    return bootstrap_interval([a - b for a, b in zip(after, before, strict=True)], seed)


def mean_of(intervals: Sequence[Interval]) -> Interval:
    """Return the mean of means of different questions; half-widths of independent intervals add as squares."""
    mean = sum(of.mean for of in intervals) / len(intervals)
    below, above = (
        math.hypot(*widths) / len(intervals)
        for widths in ([of.mean - of.low for of in intervals], [of.high - of.mean for of in intervals])
    )
    return Interval(mean, mean - below, mean + above)


def gap_interval(
    first: Sequence[float], reranked: Sequence[float], reachable: Sequence[float], seed: int = 0
) -> Interval | None:
    """Return the share of the reachable gap closed over these questions, with its 95 % interval; None without a gap.

    Resamples that leave no gap are left out.
    """
    rows = np.asarray([first, reranked, reachable], dtype=np.float64)
    share = gap_closed(*(float(row.mean()) for row in rows))
    if share is None:
        return None

    def shares(means: np.ndarray) -> np.ndarray:
        gap = means[2] - means[0]
        return np.asarray((means[1] - means[0])[gap > 1e-12] / gap[gap > 1e-12])

    return Interval(share, *_percentiles(rows, shares, seed))


def _percentiles(rows: np.ndarray, of: Callable[[np.ndarray], np.ndarray], seed: int) -> tuple[float, float]:
    """Resample the columns of `rows`; return the percentiles of what `of` makes of the means `[rows, resamples]`."""
    count = rows.shape[1]
    drawn = np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))
    means = np.stack([row[drawn].mean(axis=1) for row in rows])
    low, high = np.percentile(of(means), [2.5, 97.5])
    return float(low), float(high)


_PUNCTUATION_TO_SPACE = str.maketrans(dict.fromkeys(string.punctuation, " "))
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def _chatrag_words(text: str) -> list[str]:
    spaced = text.lower().translate(_PUNCTUATION_TO_SPACE)
    return _ARTICLES.sub(" ", spaced).split()


def _f1(reply: list[str], answer: list[str]) -> float:
    if not reply or not answer:
        return float(reply == answer)
    common = sum((Counter(reply) & Counter(answer)).values())
    return 2 * common / (len(reply) + len(answer))
