"""Answers after one round and after `auto`: `python -m experiments.first_stage.answers DATA INDEXES RANKER WRITER`.

Questions of the sets of several pages, or of `--sets`, come in one random order. Where `auto` stays with one round both
answers are the same, so no model is asked and the difference is 0 (EM is then unknown). What the models say is kept
beside the indexes, so that a killed run goes on. Also measured: the order by P(True) with the first round's best
passage in view.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.first_stage.rounds import MULTI_HOP, difference, retriever_over
from experiments.first_stage.sets import load
from rankrag.data.journal import Journal, content_key
from rankrag.evaluation.metrics import exact_match, token_f1
from rankrag.evaluation.statistics import paired_difference
from rankrag.generate import answer_many
from rankrag.models import LanguageModel
from rankrag.opening import open_model
from rankrag.rerank import judge
from rankrag.retrieval import Retriever
from rankrag.retrieval.rounds import Retrieved, search_rounds
from rankrag.templates import passage_text
from rankrag.types import Message, Passage, Question, Ranking

N = 10
SHOWN = (2, 3, 5, 10)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its gold passages and what `auto` found for it."""

    question: Question
    gold: frozenset[str]
    found: Retrieved

    @property
    def first(self) -> Ranking:
        """What the first round found."""
        fresh = _fresh(self)
        return tuple(c for c in self.found.ranking if c.passage.id not in fresh)


@dataclass(frozen=True, slots=True)
class Said:
    """What the models said of a question: log-odds by passage id, and two replies.

    `alone` are those of all passages; `in_view` those of the second round's with the first one's best in view, empty if
    they were not asked for.
    """

    alone: dict[str, float]
    in_view: dict[str, float]
    one: str
    auto: str


def asked_of(data: Path, indexes: Path, sets: Sequence[str]) -> list[Asked]:
    """Return the questions of the sets in one random order, each searched for."""
    rows = []
    for name in sets:
        searched = load(data, name, questions=1000)
        retriever: Retriever = retriever_over(searched, indexes / name, "bm25")
        for question, gold in zip(searched.questions, searched.gold, strict=True):
            (found,) = search_rounds(retriever, [(question.text, [question.text])], N, "auto")
            short = replace(question, style="short")
            rows.append(Asked(short, frozenset(searched.passages[place].id for place in gold), found))
    return random.Random(0).sample(rows, len(rows))


def say(asked: Sequence[Asked], models: Sequence[str], k: int, in_view: int, folder: Path) -> dict[str, Said]:
    """Return what a ranker and a writer say of the questions that `auto` searches for twice, by question id.

    Evidence is in view for the first `in_view` of them only.
    """
    ranker, writer = models
    opened = cache(partial(open_model, say=print))
    alone, view, written = (_journal(folder / f"{name}.jsonl") for name in ("alone", "in-view", "replies"))
    said: dict[str, Said] = {}
    for number, a in enumerate(one for one in asked if one.found.second):
        shown = [a.question.text, [c.passage.id for c in a.found.ranking]]
        key = content_key([ranker, *shown])
        odds = _kept(alone, key, lambda q, r: log_odds(opened(ranker), q, r), a.question, a.found.ranking)
        best, *_ = ordered(a.first, odds)
        again = with_evidence(a.question, best.passage)
        found = tuple(c for c in a.found.ranking if c.passage.id in _fresh(a))
        seen = _kept(view, key, lambda q, r: log_odds(opened(ranker), q, r), again, found) if number < in_view else {}
        contexts = [ordered(r, odds)[:k] for r in (a.first, a.found.ranking)]
        key = content_key([ranker, writer, k, *shown])
        replies = _kept(written, key, lambda q, c: answers(opened(writer), q, c), a.question, contexts)
        said[a.question.id] = Said(odds, seen, *replies)
    return said


def _journal(file: Path) -> Journal[str, Any]:
    return Journal(file, lambda row: [(row["key"], row["value"])])


def _kept(journal: Journal[str, Any], key: str, make: Callable[..., Any], *of: Any) -> Any:
    if key not in journal:
        journal.append([{"key": key, "value": make(*of)}])
    return journal[key]


def answers(model: LanguageModel, question: Question, contexts: Sequence[Ranking]) -> list[str]:
    """Return the model's answer from each of these contexts."""
    return [answer_many(model, [(question, [c.passage for c in own])])[0] for own in contexts]


def log_odds(model: LanguageModel, question: Question, ranking: Ranking) -> dict[str, float]:
    """Return the model's log-odds of each passage, by id."""
    said = judge(model, [(question, c.passage) for c in ranking])
    return {c.passage.id: round(j.log_odds, 4) for c, j in zip(ranking, said, strict=True)}


def with_evidence(question: Question, passage: Passage) -> Question:
    """Return the question as it is asked again after a passage was found: question and passage are earlier turns."""
    turns = (Message("user", question.text), Message("assistant", passage_text(passage)))
    return replace(question, history=turns)


def ordered(ranking: Ranking, scores: Mapping[str, float]) -> Ranking:
    """Return the passages in the order of these scores."""
    return tuple(sorted(ranking, key=lambda c: -scores[c.passage.id]))


def print_answers(asked: Sequence[Asked], said: Mapping[str, Said]) -> None:
    """Print EM and F1 of both answers where `auto` searched twice, and the pooled difference over all questions."""
    print("| questions | searched twice | metric | one round | auto | difference over all |\n" + "|---" * 6 + "|")
    twice = [a for a in asked if a.found.second]
    for name, metric in {"EM": exact_match, "F1": token_f1}.items():
        one = [metric(said[a.question.id].one, a.question.answers) for a in twice]
        auto = [metric(said[a.question.id].auto, a.question.answers) for a in twice]
        same = [0.0] * (len(asked) - len(twice))
        gain = paired_difference([*auto, *same], [*one, *same])
        cells = f"{np.mean(one):.3f} | {difference(auto, one)} | {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        print(f"| {len(asked)} | {len(twice)} | {name} | {cells} |", flush=True)


def print_orders(asked: Sequence[Asked], said: Mapping[str, Said]) -> None:
    """Print all-gold@k and the difference from P(True) alone, by order, of questions asked with evidence in view."""
    print("| order | " + " | ".join(f"all-gold@{k}" for k in SHOWN) + " |\n" + "|---" * (1 + len(SHOWN)) + "|")
    found: dict[str, list[list[float]]] = {}
    for a in asked:
        if a.question.id in said and said[a.question.id].in_view:
            for name, ranking in orders(a, said[a.question.id]).items():
                ids = [c.passage.id for c in ranking]
                found.setdefault(name, []).append([float(a.gold <= set(ids[:k])) for k in SHOWN])
    for name, rows in found.items():
        pairs = zip(zip(*rows, strict=True), zip(*found["P(True)"], strict=True), strict=True)
        print(f"| {name} | " + " | ".join(difference(own, alone) for own, alone in pairs) + " |", flush=True)


def orders(asked: Asked, said: Said) -> dict[str, Ranking]:
    """Return the passages of both rounds in each order.

    "in view" orders the second round's passages by their log-odds with evidence in view, and "higher" by the higher of
    both; the first round's keep their own. "mean place" is between the union and P(True).
    """
    both, alone = asked.found.ranking, ordered(asked.found.ranking, said.alone)
    places = {c.passage.id: -float(both.index(c) + alone.index(c)) for c in both}
    higher = {name: max(odds, said.alone[name]) for name, odds in said.in_view.items()}
    return {
        "first round, P(True)": ordered(asked.first, said.alone),
        "union": both,
        "P(True)": alone,
        "mean place": ordered(both, places),
        "in view": ordered(both, said.alone | said.in_view),
        "higher": ordered(both, said.alone | higher),
    }


def _fresh(asked: Asked) -> frozenset[str]:
    return asked.found.second.found if asked.found.second else frozenset()


def main() -> None:
    """Ask the models about the first questions, and print both tables for those that are answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("indexes", type=Path)
    parser.add_argument("ranker")
    parser.add_argument("writer")
    parser.add_argument("--sets", default=",".join(MULTI_HOP))
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--in-view", type=int, default=24)
    parser.add_argument("--questions", type=int, default=1000)
    wanted = parser.parse_args()
    asked = asked_of(wanted.data, wanted.indexes, wanted.sets.split(","))[: wanted.questions]
    said = say(asked, (wanted.ranker, wanted.writer), wanted.k, wanted.in_view, wanted.indexes / "answers")
    print_answers(asked, said)
    print_orders(asked, said)


if __name__ == "__main__":
    main()
