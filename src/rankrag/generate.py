"""Step 3 of the paper (section 4.3): the answer from the passages that were kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rankrag.encoding import EncodedPrompt
from rankrag.errors import ContractError
from rankrag.matching import normalise
from rankrag.models import LanguageModel, SamplingParams
from rankrag.templates import UNANSWERABLE, answer_prompt
from rankrag.types import Passage, Question, Style

_TOKENS: dict[Style, int] = {"short": 32, "span": 32, "claim": 8, "choice": 8, "arithmetic": 32}
_LONG_REPLY = 128

REFUSES = UNANSWERABLE.partition(".")[0]
"""The word that a refusal begins with."""

REFUSED_FROM = 0.5
"""Probability from which a refusal stands. Answers begin with many words, so that a refusal can be the likeliest
beginning where an answer is likelier than none."""


def sampling_for(question: Question) -> SamplingParams:
    """Return greedy decoding with the paper's limits: 32 tokens for short answers, 128 in conversations, 8 for labels.

    (Section 5.1; styles that ask for more than a phrase get the limit of conversations.)
    """
    return SamplingParams(max_new_tokens=_TOKENS.get(question.style, _LONG_REPLY))


def answer_many(model: LanguageModel, questions: Sequence[tuple[Question, Sequence[Passage]]]) -> list[str]:
    """Return the model's reply to each question from its passages, in their order; with options it is a letter."""
    replies = [""] * len(questions)
    by_limit: dict[SamplingParams, list[int]] = {}
    by_letters: dict[tuple[str, ...], list[int]] = {}
    for place, (question, _) in enumerate(questions):
        if question.options:
            by_letters.setdefault(question.letters, []).append(place)
        else:
            by_limit.setdefault(sampling_for(question), []).append(place)
    for letters, places in by_letters.items():
        for place, reply in zip(places, _chosen(model, [questions[p] for p in places], letters), strict=True):
            replies[place] = reply
    for params, places in by_limit.items():
        texts = [answer_prompt(model.contract.format, *questions[place]) for place in places]
        prompts = model.encode(texts, reserve=params.max_new_tokens)
        for place, reply in zip(places, model.generate(prompts, params), strict=True):
            replies[place] = reply
        refused = [(place, prompt) for place, prompt in zip(places, prompts, strict=True) if _refuses(replies[place])]
        again = [of for of, doubted in zip(refused, _doubted(model, [p for _, p in refused]), strict=True) if doubted]
        answers = model.generate([prompt for _, prompt in again], replace(params, not_first=REFUSES)) if again else []
        for (place, _), reply in zip(again, answers, strict=True):
            replies[place] = reply
    return replies


def stream_answer(
    model: LanguageModel, question: Question, passages: Sequence[Passage], params: SamplingParams | None = None
) -> Iterator[str]:
    """Yield the model's reply in pieces; the letter of an option comes whole, and so does a refusal."""
    if question.options:
        yield from answer_many(model, [(question, passages)])
        return
    params = params or sampling_for(question)
    text = answer_prompt(model.contract.format, question, passages)
    (prompt,) = model.encode([text], reserve=params.max_new_tokens)
    pieces = model.stream(prompt, params)
    begun = ""
    for piece in pieces:
        begun += piece
        if not begun.startswith(REFUSES[: len(begun)]):
            yield begun
            yield from pieces
            return
    if _refuses(begun) and _doubted(model, [prompt])[0]:
        yield from model.stream(prompt, replace(params, not_first=REFUSES))
    else:
        yield begun


def contexts_cut(model: LanguageModel, question: Question, passages: Sequence[Passage]) -> tuple[bool, ...]:
    """Return of each passage whether the prompt of the answer leaves its end out."""
    reserve = 1 if question.options else sampling_for(question).max_new_tokens
    (prompt,) = model.encode([answer_prompt(model.contract.format, question, passages)], reserve=reserve)
    return prompt.cut


def _chosen(
    model: LanguageModel, questions: Sequence[tuple[Question, Sequence[Passage]]], letters: tuple[str, ...]
) -> list[str]:
    """Return the letter that is the likeliest next token of each answer prompt; of equal ones the first."""
    prompts = model.encode([answer_prompt(model.contract.format, *of) for of in questions])
    return [letters[row.index(max(row))] for row in model.choice_logprobs(prompts, letters)]


def _refuses(reply: str) -> bool:
    return bool(reply.strip()) and is_refusal(reply)


def _doubted(model: LanguageModel, prompts: Sequence[EncodedPrompt]) -> list[bool]:
    """Return of each prompt whether anything else is likelier than a refusal; where that cannot be asked it is not.

    Nothing but the word itself is asked for: a server may list its likeliest tokens alone, and the word was the first.
    """
    try:
        rows = model.choice_logprobs(prompts, (REFUSES,)) if prompts else []
    except ContractError:  # for this tokenizer the word is several tokens
        return [False] * len(prompts)
    return [math.exp(word) < REFUSED_FROM for (word,) in rows]


def is_refusal(reply: str) -> bool:
    """Whether a reply says that the passages do not hold the answer, in the words the model was taught."""
    return not reply.strip() or normalise(reply).startswith(normalise(UNANSWERABLE)[:24])
