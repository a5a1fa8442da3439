"""Figures for a model's card: how it ranks and refuses held-out questions, and how it answers written ones.

    rankrag fit BLEND --model MODEL --out RUN --no-vectors -n 10
    python -m experiments.card held RUN BLEND
    rankrag ask --questions QUESTIONS --index INDEX --model MODEL -n 10 -k 3 --out ANSWERS
    python -m experiments.card answers ANSWERS QUESTIONS [--below LOG_ODDS]
    python -m experiments.card read ANSWERS QUESTIONS --model BASE

`read` lets another model, such as the untrained base, answer from the passages that the answers were written from. It
asks only where one of these passages holds an answer, so that its figure is that of reading alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, log
from pathlib import Path
from typing import Any

from rankrag.config.blend import BlendConfig
from rankrag.config.schema import load_config
from rankrag.data.rows import read_questions
from rankrag.data.sets import TestSet
from rankrag.evaluation.outcomes import answers_it
from rankrag.fitting.held_back import held_back_sets, without_answers
from rankrag.generate import encode_answer, is_refusal, stream_answer
from rankrag.matching import contains_any
from rankrag.models.prepared import resolve_model
from rankrag.models.transformers import TransformersModel
from rankrag.types import Passage, Question

Row = Mapping[str, Any]


@dataclass(slots=True)
class Held:
    """What the judgements of one held-out set say; log-odds of P(True).

    Attributes:
        questions: those with a gold passage among the candidates.
        first: of these, how many have it first after reranking; `bm25_first` before.
        gold, other: of gold passages, and of all others.
        best: the highest of each of these questions.
        without: the highest of each question once the passages that answer it are left out.
    """

    questions: int = 0
    first: int = 0
    bm25_first: int = 0
    gold: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)


def held(test_set: TestSet, judged: Mapping[str, Mapping[str, float]]) -> Held:
    """Return the figures of a set from the log-odds of each question's candidates, which are in BM25's order."""
    found, unanswerable = Held(), test_set.benchmark.unanswerable
    for question in test_set.questions:
        odds = judged.get(question.question.id, {})
        gold = [] if unanswerable else [i for i in odds if i in question.gold]
        if gold:
            found.questions += 1
            found.first += max(odds, key=lambda i: odds[i]) in gold
            found.bm25_first += next(iter(odds)) in gold
            found.best.append(max(odds.values()))
            found.gold += [odds[i] for i in gold]
            found.other += [value for i, value in odds.items() if i not in gold]
        rest = odds if unanswerable else without_answers(question, list(odds), test_set.passages)
        if rest:
            found.without.append(max(odds[i] for i in rest))
    return found


def auroc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Return how often one of the first is above one of the second, a tie counting half; NaN without both."""
    if not higher or not lower:
        return float("nan")
    won = sum((a > b) + 0.5 * (a == b) for a in higher for b in lower)
    return won / (len(higher) * len(lower))


def read_judgements(run: Path, name: str) -> dict[str, dict[str, float]]:
    """Return the log-odds that a run of `rankrag fit` keeps of a source, by question and passage, in BM25's order."""
    (ranked,) = run.glob(f"fit-{name}-*/bm25-last.jsonl")
    order = {str(row["id"]): row["ids"] for row in _rows(ranked)}
    odds: dict[str, dict[str, float]] = {}
    for path in sorted(run.glob(f"fit-{name}-*/*/judgements.jsonl")):
        for row in _rows(path):
            of_question = odds.setdefault(str(row["id"]), {})
            of_question.update((i, float(value[0])) for i, value in row["judgements"].items())
    return {i: {passage: found[passage] for passage in order[i] if passage in found} for i, found in odds.items()}


def counted(answers: Sequence[Row], questions: Mapping[str, Question], below: float = -inf) -> dict[str, int]:
    """Count answers: right if the text holds a listed answer and is not refused.

    A list is right if the text names all its items, too. Refused is what the pipeline withheld, what the model refuses
    in words, and what has no passage with log-odds of P(True) of at least `below`: so a threshold can be tried that was
    fitted later.
    """
    found = dict.fromkeys(("with an answer", "passage holds it", "right", "refused", "without", "without, refused"), 0)
    for row in answers:
        question = questions[str(row["id"])]
        best = max((log_odds(one["relevance"]) for one in row["contexts"]), default=-inf)
        refused = bool(row["abstained"]) or is_refusal(row["text"]) or best < below
        if not question.answers:
            found["without"] += 1
            found["without, refused"] += refused
            continue
        found["with an answer"] += 1
        found["passage holds it"] += holds(row, question.answers)
        found["refused"] += refused
        found["right"] += not refused and answers_it(row["text"], question)
    return found


def log_odds(probability: float) -> float:
    """Return the log-odds of a probability that was written in float64, which may be 0 or 1."""
    return log(max(probability, 1e-300)) - log(max(1 - probability, 1e-16))


def holds(row: Row, expected: Sequence[str]) -> bool:
    """Whether one of the passages that an answer was written from holds a listed answer."""
    return any(contains_any(context["text"], expected) for context in row["contexts"])


def read_again(answers: Sequence[Row], questions: Mapping[str, Question], model: str) -> Iterator[tuple[str, bool]]:
    """Yield what a model answers from the same passages, and whether it is right, where they hold an answer."""
    reader = TransformersModel(resolve_model(model))
    for row in answers:
        asked = Question(str(row["id"]), row["question"], style="conversation")
        expected = questions[asked.id].answers
        if expected and holds(row, expected):
            passages = [Passage(one["id"], one["text"], one.get("title", "")) for one in row["contexts"]]
            text = "".join(stream_answer(reader, asked, encode_answer(reader, asked, passages)))
            yield text, answers_it(text, questions[asked.id])


def _rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _print_held(run: Path, blend: Path) -> None:
    config = load_config(BlendConfig, blend, ())
    names = [source.name for source in config.sources if any(run.glob(f"fit-{source.name}-*/*/judgements.jsonl"))]
    sets = held_back_sets(config, names)
    found = {name: held(test_set, read_judgements(run, name)) for name, test_set in sets.items()}
    print("| set | questions with a gold passage | R@1, BM25 → reranked | AUC | AUROC of refusing |")
    print("|---|---|---|---|---|")
    for name, one in found.items():
        counts = f"{one.questions} | {one.bm25_first} → {one.first} | {auroc(one.gold, one.other):.2f}"
        print(f"| {name} | {counts} | {auroc(one.best, one.without):.2f} |")
    if {"squad", "squad2"} <= found.keys():
        print(f"squad against the near misses of squad2: {auroc(found['squad'].best, found['squad2'].without):.2f}")


def main() -> None:
    """Run one of the commands above."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_fit = commands.add_parser("held", help="held-out questions that `rankrag fit` has judged")
    of_fit.add_argument("run", type=Path)
    of_fit.add_argument("blend", type=Path)
    of_answers = commands.add_parser("answers", help="count the answers of `rankrag ask --questions`")
    of_answers.add_argument("--below", type=float, default=-inf, help="log-odds below which an answer is withheld")
    again = commands.add_parser("read", help="let a model answer from the same passages")
    again.add_argument("--model", required=True)
    for command in (of_answers, again):
        command.add_argument("answers", type=Path)
        command.add_argument("questions", type=Path)
    args = parser.parse_args()
    if args.command == "held":
        _print_held(args.run, args.blend)
        return
    questions = {question.id: question for question in read_questions(args.questions)}
    if args.command == "answers":
        for text, count in counted(_rows(args.answers), questions, args.below).items():
            print(f"{text}: {count}")
        return
    right = asked = 0
    for text, is_right in read_again(_rows(args.answers), questions, args.model):
        right, asked = right + is_right, asked + 1
        print(f"{right} of {asked}: {text!r}", flush=True)


if __name__ == "__main__":
    main()
