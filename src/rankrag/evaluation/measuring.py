"""From rankings and the model's work to the figures of one set."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rankrag.data.sets import AnswerMetric, Benchmark, Judged, Metric, TestSet
from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.metrics import (
    Interval,
    answer_scores,
    best_order,
    bootstrap_interval,
    citation_precision,
    citation_recall,
    exact_match,
    gap_interval,
    measure,
    paired_difference,
    recall_at,
    relevance,
    token_f1,
)
from rankrag.evaluation.settling import settled_top
from rankrag.evaluation.summary import (
    AnswerFigures,
    CitedFigures,
    Figures,
    ReadingFigures,
    RefusalFigures,
    RerankedFigures,
    StoppingFigures,
)
from rankrag.evaluation.work import Judgements, ModelWork, finals, log_odds, reordered
from rankrag.generate import is_refusal
from rankrag.rerank import NEVER

OTHERS = 4
"""Passages beside the gold one when a reader has to find it (the paper's lists hold five)."""

BOUNDS = (4.0, 3.0, 2.0, 1.0, 0.0)
"""Log-odds at which judging may stop, of P(True) .98, .95, .88, .73 and .5."""

Rankings = Mapping[str, Ids]
"""A first stage's ids by question id."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the pipeline is set: N, k, threshold of abstention, seed of what is drawn."""

    n: int = 20
    k: int = 5
    abstain_below: float | None = None
    seed: int = 0


def metrics_of(benchmark: Benchmark) -> tuple[Metric, ...]:
    """Return the metrics that a set is shown with, the one it is judged by among them."""
    if benchmark.metric is None:
        return ()
    if benchmark.metric == "NDCG@10":
        return ("NDCG@10", "hit@1", "R@20")
    if benchmark.metric == "hit@1":
        return ("hit@1", "RR", "R@5", "NDCG@10")
    if benchmark.metric.startswith("answer-recall-dpr"):
        return ("answer-recall-dpr@5", "answer-recall-dpr@10", "answer-recall-dpr@20")
    if benchmark.metric.startswith("answer-recall"):
        return ("answer-recall@5", "answer-recall@10", "answer-recall@20")
    own: tuple[Metric, ...] = (benchmark.metric,) if benchmark.metric in ("all-gold@5", "RR") else ()
    return ("R@1", "R@5", "R@20", *own, "NDCG@10")


def figures(test_set: TestSet, questions: Sequence[Judged], rankings: Sequence[Ids]) -> Figures:
    """Return the set's metrics of these rankings of some of its questions, with intervals."""
    return {
        name: bootstrap_interval(measure(name, rankings, questions, test_set.passages))
        for name in metrics_of(test_set.benchmark)
    }


def reachable(test_set: TestSet, metric: Metric, questions: Sequence[Judged], rankings: Sequence[Ids]) -> list[float]:
    """Return what a metric is of each question if its passages are in a perfect order."""
    passages = test_set.passages
    best = [best_order(ids, relevance(metric, of, ids, passages)) for ids, of in zip(rankings, questions, strict=True)]
    return measure(metric, best, questions, passages)


def candidates(of: Judged, first_stages: Sequence[Rankings], n: int) -> Ids:
    """Return the first `n` ids of all these first stages, each once."""
    return tuple(dict.fromkeys(i for ranking in first_stages for i in ranking[of.question.id][:n]))


def among_five(of: Judged, lexical: Rankings, seed: int) -> Ids:
    """Return the first gold passage among BM25's four best others, in an order drawn with `seed` and the question."""
    others = [i for i in lexical[of.question.id] if i not in of.gold][:OTHERS]
    five = [of.gold[0], *others]
    random.Random(f"{seed}/{of.question.id}").shuffle(five)
    return tuple(five)


def reranked_figures(
    test_set: TestSet,
    questions: Sequence[Judged],
    retriever: str,
    first_stage: Rankings,
    judged: Judgements,
    settings: Settings,
) -> RerankedFigures:
    """Return what judging a first stage's N candidates makes of it, question by question the same sample."""
    metric, passages = test_set.benchmark.metric, test_set.passages
    assert metric is not None, "a set without a metric is not judged by its order"
    first = [first_stage[of.question.id][: settings.n] for of in questions]
    own = [judged[of.question.id] for of in questions]
    pure = [reordered(ids, log_odds(of)) for ids, of in zip(first, own, strict=True)]
    blended = [reordered(ids, finals(of)) for ids, of in zip(first, own, strict=True)]
    before, after_pure, after_blended = (
        measure(metric, rankings, questions, passages) for rankings in (first, pure, blended)
    )
    best = reachable(test_set, metric, questions, first)
    return RerankedFigures(
        retriever,
        len(questions),
        figures(test_set, questions, first),
        figures(test_set, questions, pure),
        figures(test_set, questions, blended),
        sum(best) / len(best),
        gap_interval(before, after_pure, best),
        gap_interval(before, after_blended, best),
    )


def final_contexts(of: Judged, first_stage: Rankings, judged: Judgements, settings: Settings) -> Ids:
    """Return the k passages that the pipeline answers from."""
    return reordered(first_stage[of.question.id][: settings.n], finals(judged[of.question.id]))[: settings.k]


def answer_figures(
    work: ModelWork,
    metrics: Sequence[AnswerMetric],
    questions: Sequence[Judged],
    first_stage: Rankings,
    judged: Judgements,
    settings: Settings,
) -> AnswerFigures:
    """Return EM, F1 and `metrics` of the replies, before any threshold, from the reranked and the first stage's k."""
    after = work.replies([(of, final_contexts(of, first_stage, judged, settings)) for of in questions])
    before = work.replies([(of, first_stage[of.question.id][: settings.k]) for of in questions])
    f1_after, f1_before = _f1(after, questions), _f1(before, questions)
    em_after, em_before = _em(after, questions), _em(before, questions)
    return AnswerFigures(
        len(questions),
        em=bootstrap_interval(em_after),
        f1=bootstrap_interval(f1_after),
        em_first_stage=bootstrap_interval(em_before),
        f1_first_stage=bootstrap_interval(f1_before),
        f1_gain=paired_difference(f1_after, f1_before),
        em_gain=paired_difference(em_after, em_before),
        own=_own(metrics, after, questions),
        own_first_stage=_own(metrics, before, questions),
    )


def stopping_figures(
    work: ModelWork,
    questions: Sequence[Judged],
    first_stage: Rankings,
    judged: Judgements,
    settings: Settings,
    *,
    answered: bool,
) -> tuple[StoppingFigures, ...]:
    """Return what judging all candidates gives, then what stopping at each of `BOUNDS` does (`rerank.settled`)."""
    found: list[StoppingFigures] = []
    exact: list[Ids] = []
    for bound in (NEVER, *BOUNDS):
        settled = [
            settled_top(first_stage[of.question.id][: settings.n], judged[of.question.id], settings.k, bound)
            for of in questions
        ]
        tops = [top for _, top in settled]
        exact = exact or tops
        recall = [recall_at(top, of.gold, settings.k) for top, of in zip(tops, questions, strict=True)]
        em = _em(work.replies(list(zip(questions, tops, strict=True))), questions) if answered else []
        found.append(
            StoppingFigures(
                None if bound == NEVER else bound,
                fmean(count for count, _ in settled),
                bootstrap_interval(recall),
                fmean(set(top) == set(best) for top, best in zip(tops, exact, strict=True)),
                _interval(em),
            )
        )
    return tuple(found)


def reading_figures(
    work: ModelWork, questions: Sequence[Judged], lexical: Rankings, judged: Judgements, settings: Settings
) -> ReadingFigures:
    """Return how well the model reads and cites when the gold passage is there; `judged` has the five of each."""
    alone = work.replies([(of, of.gold[:1]) for of in questions])
    five = [among_five(of, lexical, settings.seed) for of in questions]
    best = [
        reordered(ids, finals(judged[of.question.id]))[: settings.k] for of, ids in zip(questions, five, strict=True)
    ]
    return ReadingFigures(
        len(questions),
        em_gold=bootstrap_interval(_em(alone, questions)),
        f1_gold=bootstrap_interval(_f1(alone, questions)),
        five=_cited_figures(work, questions, five),
        ranked=_cited_figures(work, questions, best),
    )


def _cited_figures(work: ModelWork, questions: Sequence[Judged], contexts: Sequence[Ids]) -> CitedFigures:
    """Return how well the replies from these passages are, and how well they cite."""
    replies = work.replies(list(zip(questions, contexts, strict=True)))
    answered = [i for i, reply in enumerate(replies) if not is_refusal(reply)]
    cited = dict(zip(answered, work.cited([(questions[i], contexts[i]) for i in answered]), strict=True))
    precision, recall = [], []
    for i, of in enumerate(questions):
        names = [contexts[i][place] for place in cited.get(i, ())]
        share = citation_precision(names, of.gold)
        precision += [share] if share is not None else []
        recall.append(citation_recall(names, of.gold[:1]))
    return CitedFigures(
        bootstrap_interval(_em(replies, questions)),
        bootstrap_interval(_f1(replies, questions)),
        _interval(precision),
        bootstrap_interval(recall),
        bootstrap_interval([float(ids[0] in of.gold) for ids, of in zip(contexts, questions, strict=True)]),
    )


def refusal_figures(
    work: ModelWork,
    benchmark: Benchmark,
    questions: Sequence[Judged],
    first_stage: Rankings,
    judged: Judgements,
    settings: Settings,
) -> RefusalFigures:
    """Return how often the pipeline refuses: no passage reaches the threshold, or the reply itself says so."""
    below = [_below(judged, first_stage[of.question.id][: settings.n], of, settings) for of in questions]
    asked = [of for of, refused in zip(questions, below, strict=True) if not refused]
    replies = work.replies([(of, final_contexts(of, first_stage, judged, settings)) for of in asked])
    said = {of.question.id for of, reply in zip(asked, replies, strict=True) if is_refusal(reply)}
    refused = [float(b or of.question.id in said) for b, of in zip(below, questions, strict=True)]
    near = [not set(of.gold).isdisjoint(first_stage[of.question.id][: settings.n]) for of in questions]
    return RefusalFigures(
        not benchmark.unanswerable,
        len(questions),
        bootstrap_interval(refused),
        sum(below) / len(below),
        sum(near) / len(near) if benchmark.unanswerable else None,
        _interval([r for r, n in zip(refused, near, strict=True) if n]) if benchmark.unanswerable else None,
    )


def _below(judged: Judgements, ids: Ids, of: Judged, settings: Settings) -> bool:
    """Whether the pipeline withholds the answer before the model has written one."""
    best = max((judged[of.question.id][i].log_odds for i in ids), default=float("-inf"))
    return not ids or (settings.abstain_below is not None and best < settings.abstain_below)


def _interval(values: Sequence[float]) -> Interval | None:
    return bootstrap_interval(values) if values else None


def _own(metrics: Sequence[AnswerMetric], replies: Sequence[str], questions: Sequence[Judged]) -> Figures:
    """Return the metrics of a set that are not SQuAD's, with intervals."""
    wanted = [name for name in metrics if name not in ("EM", "F1")]
    rows = [answer_scores(wanted, r, of.question.answers) for r, of in zip(replies, questions, strict=True)]
    return {name: bootstrap_interval([row[name] for row in rows]) for name in wanted}


def _em(replies: Sequence[str], questions: Sequence[Judged]) -> list[float]:
    return [exact_match(reply, of.question.answers) for reply, of in zip(replies, questions, strict=True)]


def _f1(replies: Sequence[str], questions: Sequence[Judged]) -> list[float]:
    return [token_f1(reply, of.question.answers) for reply, of in zip(replies, questions, strict=True)]
