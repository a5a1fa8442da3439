"""Questions that a language model writes from a passage, each from one of its sentences, and what they are answered.

The answer is asked for twice in the model's own answer prompt: from the sentence alone, then from the whole passage.
Whether the two agree, and whether the question is any good, is judged in `round_trip`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rankrag.blend.round_trip import unfit, unsupported
from rankrag.documents.sentences import sentences
from rankrag.generate import answer_many
from rankrag.models import LanguageModel, SamplingParams
from rankrag.templates import writing_prompt
from rankrag.types import Passage, Question

_PARAGRAPHS = re.compile(r"\n\s*\n")
_SENTENCE_WORDS = 6
_ONE_LINE = SamplingParams(max_new_tokens=32, stop=("\n",))


@dataclass(frozen=True, slots=True)
class Written:
    """A question, the sentence it was written from, and its answers from that sentence and from the whole passage.

    Answers are empty where they were not asked for, because the question was unfit or the first answer was.
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
    pairs = [(passage, sentence) for passage, of in asked for sentence in of]
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
    written = iter([Written(sentence, *of) for (_, sentence), *of in rows])
    return [[next(written) for _ in of] for _, of in asked]


def _answers(reader: LanguageModel, asked: Sequence[tuple[str, Passage] | None]) -> list[str]:
    """Return the answer to each question from its passage, "" where none is asked."""
    pairs = [(Question("", of[0]), (of[1],)) for of in asked if of]
    found = iter(answer_many(reader, pairs) if pairs else [])
    return [next(found).strip() if of else "" for of in asked]


def _first_line(reply: str) -> str:
    return next(iter(reply.strip().splitlines()), "").strip()
