"""The metrics of answers and rankings. Each is a number for one question; a set's figure is the mean over questions.

To add a metric of answers, write a function of (reply, answers) and decorate it::

    @answer_metric("words", every_set=True)
    def word_count(reply: str, answers: Sequence[str]) -> float:
        return float(len(reply.split()))

It then has a value in every question's line and a column in every report. Without `every_set`, only sets that name it
have it (`Benchmark.answer_metrics`). A metric of rankings goes into the table `RANKING_METRICS` (`metrics_of` says
which set shows which), and one that needs more of a line, such as its citations, into `line_metrics`.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from rankrag.data.sets import Benchmark, Judged, TestSet
from rankrag.evaluation.lines import Ids
from rankrag.matching import contains_any, has_answer, normalise
from rankrag.types import Passage

Passages = Mapping[str, Passage]
AnswerFunction = Callable[..., float]
"""Takes a reply and the answers; a metric of letters also takes the letters of the options."""

Holds = Callable[[Passage, Sequence[str]], bool]
RankingFunction = Callable[[Sequence[str], Judged, Passages], float]

ANSWER_METRICS: dict[str, AnswerFunction] = {}
"""By name, in the order of the report's columns."""

_EVERY_SET: list[str] = []
_OF_LETTERS: list[str] = []


def answer_metric(
    name: str, *, every_set: bool = False, of_letters: bool = False
) -> Callable[[AnswerFunction], AnswerFunction]:
    """Register a metric of replies under the name that it has in reports."""

    def register(function: AnswerFunction) -> AnswerFunction:
        ANSWER_METRICS[name] = function
        if every_set:
            _EVERY_SET.append(name)
        if of_letters:
            _OF_LETTERS.append(name)
        return function

    return register


# Labels: the letter of an option by MIRAGE's rules, the verdict on a claim

_ANSWER_FIELD = '"answer_choice": "'

LETTERS = "ABCD"
"""The letters that MIRAGE's scorer looks for; sets of one's own may have more options."""

_LETTER_RULES = (r"^\s*([ABCD])(?:$| or| and|/|,)", r"[Oo]ption ([ABCD])", r":\s*([ABCD])", r"^\s*([ABCD])[.\":]")
"""Where MIRAGE's scorer looks for a letter, in this order."""

_VERDICTS = {"true": "SUPPORTS", "supports": "SUPPORTS", "false": "REFUTES", "refutes": "REFUTES"}


def letter_of(reply: str, letters: str = LETTERS) -> str | None:
    """Return the letter that MIRAGE's scorer finds in a reply; None if it finds none, and then takes A.

    `letters` are those of the question's options, if there are more than four.
    """
    text = reply.split(_ANSWER_FIELD)[-1].strip()
    rules = (rule.replace(LETTERS, letters) for rule in _LETTER_RULES)
    return next((found[1] for rule in rules if (found := re.search(rule, text))), None)


def verdict_of(reply: str) -> str | None:
    """Return FEVER's label for the first word of the reply that is a verdict (True, False, or a label), else None."""
    if normalise(reply).startswith("not enough info"):
        return "NOT ENOUGH INFO"
    return next((_VERDICTS[word] for word in normalise(reply).split() if word in _VERDICTS), None)


# Answers


@answer_metric("EM")
def exact_match(reply: str, answers: Sequence[str]) -> float:
    """Return 1 if the reply equals one of the answers, both normalised as SQuAD does, else 0, as for an empty reply."""
    return float(bool(reply.strip()) and any(normalise(reply) == normalise(answer) for answer in answers))


@answer_metric("F1")
def token_f1(reply: str, answers: Sequence[str]) -> float:
    """Return the best F1 of the reply's bag of words, normalised as SQuAD does, against one answer.

    If reply or answer has no words left, F1 is 1 if both have none, else 0. An empty reply gives 0.
    """
    if not reply.strip():
        return 0.0
    return max((_f1(normalise(reply).split(), normalise(answer).split()) for answer in answers), default=0.0)


@answer_metric("Acc")
def contains_answer(reply: str, answers: Sequence[str]) -> float:
    """Return 1 if the reply contains an answer, letter for letter, else 0: the "Acc" of Self-RAG's scorer."""
    return float(any(answer in reply for answer in answers if answer))


@answer_metric("ChatRAG F1")
def chatrag_f1(reply: str, answers: Sequence[str]) -> float:
    """Return the best F1 of the reply's words against one answer by ChatRAG's rules.

    Unlike SQuAD's rules, punctuation separates words, and two empty texts score 0.
    """
    said = _chatrag_words(reply.replace("</s>", ""))
    asked = [_chatrag_words(answer) for answer in answers if answer.strip()]
    return max((_f1(said, wanted) for wanted in asked if said and wanted), default=0.0)


@answer_metric("FEVER accuracy")
def claim_accuracy(reply: str, answers: Sequence[str]) -> float:
    """Return 1 if the reply's verdict is the claim's label (SUPPORTS, REFUTES), else 0."""
    return float(verdict_of(reply) in answers)


@answer_metric("MIRAGE accuracy", of_letters=True)
def option_accuracy(reply: str, answers: Sequence[str], letters: str = LETTERS) -> float:
    """Return MIRAGE's official accuracy: 1 if the reply's letter is right; a reply without a letter counts as A."""
    return float((letter_of(reply, letters) or "A") in answers)


@answer_metric("MIRAGE strict", of_letters=True)
def strict_option_accuracy(reply: str, answers: Sequence[str], letters: str = LETTERS) -> float:
    """Return 1 if the reply has a letter and it is right, else 0."""
    return float(letter_of(reply, letters) in answers)


@answer_metric("MIRAGE parsed", of_letters=True)
def option_parsed(reply: str, answers: Sequence[str], letters: str = LETTERS) -> float:  # noqa: ARG001 - has the signature of every metric
    """Return 1 if the reply has a letter, else 0."""
    return float(letter_of(reply, letters) is not None)


def answer_scores(
    benchmark: Benchmark, reply: str, answers: Sequence[str], options: Sequence[str] = ()
) -> dict[str, float]:
    """Return the metrics of a reply that its set shows, by name; `options` are the letters of a choice."""
    letters = "".join(options) if len(options) > len(LETTERS) else LETTERS
    return {
        name: metric(reply, answers, letters) if name in _OF_LETTERS else metric(reply, answers)
        for name, metric in ANSWER_METRICS.items()
        if name in (*benchmark.answer_metrics, *_EVERY_SET)
    }


# Rankings


def recall_at(ids: Sequence[str], gold: Sequence[str], k: int) -> float:
    """Return the share of the gold passages among the first `k`; 0 without gold passages."""
    return len(set(gold) & set(ids[:k])) / len(set(gold)) if gold else 0.0


def all_gold_at(ids: Sequence[str], gold: Sequence[str], k: int) -> float:
    """Return 1 if all gold passages are among the first `k` (what a multi-hop answer needs), else 0."""
    return float(bool(gold) and set(gold) <= set(ids[:k]))


def hit_at(ids: Sequence[str], gold: Sequence[str], k: int) -> float:
    """Return 1 if at least one gold passage is among the first `k`, else 0."""
    return float(not set(gold).isdisjoint(ids[:k]))


def reciprocal_rank(ids: Sequence[str], gold: Sequence[str]) -> float:
    """Return 1 / rank of the first gold passage, ranks from 1; 0 if there is none."""
    return next((1 / rank for rank, name in enumerate(ids, start=1) if name in gold), 0.0)


def ndcg_at_10(ids: Sequence[str], grades: Mapping[str, int]) -> float:
    """Return NDCG@10 with linear gains, as trec_eval computes it.

    A passage without a grade counts 0. The ideal order is that of all graded passages, found or not.
    """

    def discounted(gains: Sequence[int]) -> float:
        return sum(max(gain, 0) / math.log2(rank + 1) for rank, gain in enumerate(gains[:10], start=1))

    ideal = discounted(sorted(grades.values(), reverse=True))
    return discounted([grades.get(name, 0) for name in ids]) / ideal if ideal else 0.0


def holds_answer(passage: Passage, answers: Sequence[str]) -> bool:
    """Whether a passage's title or text contains an answer, normalised as SQuAD does."""
    return contains_any(f"{passage.title} {passage.text}", answers)


def holds_answer_by_dpr(passage: Passage, answers: Sequence[str]) -> bool:
    """Whether a passage contains an answer by DPR's rule, which ignores the title."""
    return has_answer(passage.text, answers)


def answer_recall_at(
    ids: Sequence[str], passages: Passages, answers: Sequence[str], k: int, holds: Holds = holds_answer
) -> float:
    """Return 1 if one of the first `k` passages holds an answer (what the paper calls recall), else 0."""
    return float(any(holds(passages[i], answers) for i in ids[:k]))


def _gold(function: Callable[[Sequence[str], Sequence[str], int], float], k: int) -> RankingFunction:
    return lambda ids, judged, _: function(ids, judged.gold, k)


def _answered(holds: Holds, k: int) -> RankingFunction:
    return lambda ids, judged, passages: answer_recall_at(ids, passages, judged.question.answers, k, holds)


RANKING_METRICS: Mapping[str, RankingFunction] = {
    **{f"R@{k}": _gold(recall_at, k) for k in (1, 5, 20)},
    "all-gold@5": _gold(all_gold_at, 5),
    "hit@1": _gold(hit_at, 1),
    "RR": lambda ids, judged, _: reciprocal_rank(ids, judged.gold),
    "NDCG@10": lambda ids, judged, _: ndcg_at_10(ids, judged.grades),
    **{f"answer-recall@{k}": _answered(holds_answer, k) for k in (5, 10, 20)},
    **{f"answer-recall-dpr@{k}": _answered(holds_answer_by_dpr, k) for k in (5, 10, 20)},
}
"""By name, in the order of the report's columns."""


def metrics_of(benchmark: Benchmark) -> tuple[str, ...]:
    """Return the ranking metrics that a set is shown with, the one it is judged by among them."""
    answers = [f"answer-recall@{k}" for k in (5, 10, 20)] if benchmark.style in ("short", "span") else []
    own = benchmark.metric
    if own is None:
        return tuple(answers)
    if own.startswith("answer-recall"):
        kind = own.partition("@")[0]
        return tuple(dict.fromkeys([*(f"{kind}@{k}" for k in (5, 10, 20)), *answers]))
    by_metric = {"NDCG@10": ("NDCG@10", "hit@1", "R@20"), "hit@1": ("hit@1", "RR", "R@5", "NDCG@10")}
    also = [own] if own in ("all-gold@5", "RR") else []
    return (*by_metric.get(own, ("R@1", "R@5", "R@20", *also, "NDCG@10")), *answers)


def ranking_scores(test_set: TestSet, judged: Judged, ids: Sequence[str]) -> dict[str, float]:
    """Return the metrics of a question's ranking that its set shows, by name."""
    names = metrics_of(test_set.benchmark)
    return {name: RANKING_METRICS[name](ids, judged, test_set.passages) for name in names}


def reachable(test_set: TestSet, judged: Judged, ids: Ids) -> float | None:
    """Return the set's metric for a perfect order of these candidates; None if the set has no metric."""
    name, passages = test_set.benchmark.metric, test_set.passages
    if name is None:
        return None
    grades = judged.grades
    if name.startswith("answer-recall"):
        alone = RANKING_METRICS[f"{name.partition('@')[0]}@5"]
        grades = {i: int(alone([i], judged, passages)) for i in ids}
    return RANKING_METRICS[name](sorted(ids, key=lambda i: -grades.get(i, 0)), judged, passages)


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
