"""Questions about passages, written and answered by language models, and which of them may be trained on.

A question is kept if it leads back to its passage and to the same answer (round trip).
"""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rankrag.documents.sentences import sentences
from rankrag.generate import answer_many, is_refusal
from rankrag.matching import contains, near_duplicate, normalise
from rankrag.models import LanguageModel, SamplingParams
from rankrag.templates import writing_prompt
from rankrag.types import Passage, Question

_WORDS = range(4, 31)
_SPEAKS_OF_THE_PASSAGE = re.compile(
    r"\b(?:the|this|that|these|given|above|following|provided) "
    r"(?:above |following |given |short )?(?:passages?|texts?|article|paragraphs?|excerpts?|document|sentence)\b"
    r"|\baccording to (?:it|the (?:author|information))\b|\b(?:mentioned|described|stated) above\b",
    re.IGNORECASE,
)
_ALIKE = 0.8
_PARAGRAPHS = re.compile(r"\n\s*\n")
_SENTENCE_WORDS = 6
_ONE_LINE = SamplingParams(max_new_tokens=32, stop=("\n",))


@dataclass(frozen=True, slots=True)
class Written:
    """A question, the sentence it was written from, and its answers from that sentence and from the whole passage.

    An answer is empty if it was not asked for, because the question or the first answer was unfit.
    """

    sentence: str
    question: str
    proposed: str = ""
    reply: str = ""


def sentences_to_ask(passage: Passage, questions: int, rng: random.Random) -> tuple[str, ...]:
    """Return at most `questions` whole sentences of a passage, in their order; headings and short ones are none."""
    found = []
    for paragraph in _PARAGRAPHS.split(passage.text):
        text = " ".join(paragraph.split())
        if not text.startswith("#"):
            found += [text[start:end] for start, end in sentences(text)]
    whole = [s for s in found if len(s.split()) >= _SENTENCE_WORDS and not s[-1].isalnum()]
    chosen = sorted(rng.sample(range(len(whole)), min(questions, len(whole))))
    return tuple(whole[place] for place in chosen)


def write(
    writer: LanguageModel, reader: LanguageModel, asked: Sequence[tuple[Passage, Sequence[str]]]
) -> list[list[Written]]:
    """Return for each passage one question a sentence, with the reader's answers, in their order."""
    pairs = [(passage, sentence) for passage, sentences_ in asked for sentence in sentences_]
    prompts = [writing_prompt(writer.contract.format, passage, sentence) for passage, sentence in pairs]
    encoded = writer.encode(prompts, reserve=_ONE_LINE.max_new_tokens)
    questions = [_first_line(reply) for reply in writer.generate(encoded, _ONE_LINE)]
    proposed = _answers(
        reader,
        [
            None if unfit(question) else (question, Passage(passage.id, sentence, passage.title))
            for (passage, sentence), question in zip(pairs, questions, strict=True)
        ],
    )
    replies = _answers(
        reader,
        [
            None if unfit(question) or unsupported(question, answer, passage.text) else (question, passage)
            for (passage, _), question, answer in zip(pairs, questions, proposed, strict=True)
        ],
    )
    rows = zip(pairs, questions, proposed, replies, strict=True)
    written = iter([Written(sentence, *said) for (_, sentence), *said in rows])
    return [[next(written) for _ in sentences_] for _, sentences_ in asked]


def _answers(reader: LanguageModel, asked: Sequence[tuple[str, Passage] | None]) -> list[str]:
    """Return the answer to each question from its passage, "" if none is asked."""
    pairs = [(Question("", pair[0]), (pair[1],)) for pair in asked if pair]
    found = iter(answer_many(reader, pairs) if pairs else [])
    return [next(found).strip() if pair else "" for pair in asked]


def _first_line(reply: str) -> str:
    return next(iter(reply.strip().splitlines()), "").strip()


def unfit(question: str) -> str:
    """Return why a question cannot be asked without its passage at hand, "" if it can."""
    if not question:
        return "nothing written"
    if not question.endswith(("?", "？", "؟")):
        return "not a question"
    if len(question.split()) not in _WORDS:
        return f"not {_WORDS[0]} to {_WORDS[-1]} words"
    return "speaks of the passage" if _SPEAKS_OF_THE_PASSAGE.search(question) else ""


def unsupported(question: str, answer: str, text: str) -> str:
    """Return why an answer from a passage with this text is useless, "" if it is not."""
    if is_refusal(answer):
        return "no answer"
    if not contains(text, answer):
        return "answer is not in the passage"
    return "answer is in the question" if contains(question, answer) else ""


def disagree(proposed: str, reply: str) -> bool:
    """Whether two answers differ by more than words before and after what they share."""
    return not (contains(proposed, reply) or contains(reply, proposed))


class Distinct:
    """Questions that were kept so far, and whether a new one nearly equals one of them.

    Texts that share more than a share t of their words share one among the first |words| - ceil(t |words|) + 1 of each,
    in any fixed order; so only those that do are compared.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = defaultdict(list)

    def add(self, question: str) -> bool:
        """Keep a question and return True; False if it nearly equals one that is kept."""
        words = sorted(set(normalise(question).split()))
        first = words[: len(words) - math.ceil(_ALIKE * len(words)) + 1]
        candidates = dict.fromkeys(kept for word in first for kept in self._kept[word])
        if any(near_duplicate(question, kept, _ALIKE) for kept in candidates):
            return False
        for word in first:
            self._kept[word].append(question)
        return True
