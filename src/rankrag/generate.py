"""Step 3 of the paper (section 4.3): the answer from the passages that were kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rankrag.encoding import EncodedPrompt
from rankrag.errors import ContractError
from rankrag.matching import normalise
from rankrag.models import LanguageModel, SamplingParams
from rankrag.templates import UNANSWERABLE, Format, answer_prompt
from rankrag.types import Passage, Question, Style

_TOKENS: dict[Style, int] = {"short": 32, "span": 32, "claim": 8, "choice": 8, "arithmetic": 32}
_LONG_REPLY = 128

REFUSES = UNANSWERABLE.partition(".")[0]
"""The first word of a refusal."""

REFUSED_FROM = 0.5
"""Probability from which a refusal is believed.

The probability of answering is spread over many first words, so a refusal can be the likeliest single beginning even
where answering is likelier.
"""


def sampling_for(question: Question, form: Format) -> SamplingParams:
    """Return greedy decoding with the paper's limits (section 5.1).

    These are 32 tokens for short answers, 8 for labels, 128 in conversations and for styles that ask for more than a
    phrase. With options the reply is one letter.
    """
    limit = 1 if question.options else _TOKENS.get(question.style or form.style, _LONG_REPLY)
    return SamplingParams(max_new_tokens=limit)


def encode_answer(model: LanguageModel, question: Question, passages: Sequence[Passage]) -> EncodedPrompt:
    """Return the prompt that asks for the answer, with room for the reply; it says which passages are cut."""
    prompt = answer_prompt(model.contract.format, question, passages)
    (encoded,) = model.encode([prompt], reserve=sampling_for(question, model.contract.format).max_new_tokens)
    return encoded


def stream_answer(model: LanguageModel, question: Question, prompt: EncodedPrompt) -> Iterator[str]:
    """Yield the reply to a prompt of `encode_answer` in pieces.

    The letter of an option comes in one piece, and so does a refusal: it can still be replaced by an answer.
    """
    if question.options:
        yield from _chosen(model, [prompt], question.letters)
        return
    params = sampling_for(question, model.contract.format)
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


def answer_many(model: LanguageModel, questions: Sequence[tuple[Question, Sequence[Passage]]]) -> list[str]:
    """Return the model's reply to each question from its passages, in their order; with options it is a letter."""
    return answer_encoded(model, [(question, encode_answer(model, question, found)) for question, found in questions])


def answer_encoded(model: LanguageModel, questions: Sequence[tuple[Question, EncodedPrompt]]) -> list[str]:
    """Return the model's reply to each question and its prompt of `encode_answer`, in their order."""
    replies = [""] * len(questions)
    alike: dict[tuple[tuple[str, ...], SamplingParams], list[int]] = {}
    for place, (question, _) in enumerate(questions):
        alike.setdefault((question.letters, sampling_for(question, model.contract.format)), []).append(place)
    for (letters, params), places in alike.items():
        prompts = [questions[place][1] for place in places]
        found = _chosen(model, prompts, letters) if letters else _written(model, prompts, params)
        for place, reply in zip(places, found, strict=True):
            replies[place] = reply
    return replies


def _chosen(model: LanguageModel, prompts: Sequence[EncodedPrompt], letters: Sequence[str]) -> list[str]:
    """Return the letter that is the likeliest next token of each prompt, the first of equal ones."""
    return [letters[row.index(max(row))] for row in model.choice_logprobs(prompts, letters)]


def _written(model: LanguageModel, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> list[str]:
    """Return a reply to each prompt; where a refusal is doubted, the reply that does not begin with its first word."""
    replies = list(model.generate(prompts, params))
    refused = [place for place, reply in enumerate(replies) if _refuses(reply)]
    doubted = _doubted(model, [prompts[place] for place in refused])
    again = [place for place, doubt in zip(refused, doubted, strict=True) if doubt]
    if again:
        answers = model.generate([prompts[place] for place in again], replace(params, not_first=REFUSES))
        for place, reply in zip(again, answers, strict=True):
            replies[place] = reply
    return replies


def _refuses(reply: str) -> bool:
    return bool(reply.strip()) and is_refusal(reply)


def _doubted(model: LanguageModel, prompts: Sequence[EncodedPrompt]) -> list[bool]:
    """For each prompt, whether answering is likelier than refusing; False if the model cannot be asked.

    The model is asked for one word only, the one it began with: a server may list only its likeliest tokens.
    """
    try:
        rows = model.choice_logprobs(prompts, (REFUSES,)) if prompts else []
    except ContractError:  # for this tokenizer the word is several tokens
        return [False] * len(prompts)
    return [math.exp(word) < REFUSED_FROM for (word,) in rows]


def is_refusal(reply: str) -> bool:
    """Whether a reply is empty, or says in the words of the training data that the passages do not hold the answer."""
    return not reply.strip() or normalise(reply).startswith(normalise(UNANSWERABLE)[:24])
