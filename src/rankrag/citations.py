"""Which passage supports which sentence of an answer. A sentence without support gets no citation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rankrag.documents.sentences import sentences
from rankrag.matching import contains, normalise
from rankrag.models import LanguageModel
from rankrag.rerank import judge
from rankrag.templates import passage_text
from rankrag.types import Citation, Question, Ranking

SUPPORTED_FROM = 0.5
"""P(True) of question and sentence together, from which a passage supports a sentence whose words it lacks."""

_TOO_COMMON = {"", "yes", "no", "true", "false", "maybe"}


def cite(
    model: LanguageModel, question: Question, text: str, contexts: Ranking, relevance: Mapping[str, float]
) -> tuple[Citation, ...]:
    """Return at most one citation for each sentence of an answer.

    A passage that contains the sentence's words supports it. Among several, the one with the highest probability in
    `relevance` is cited (by passage id; all are judged if one is missing). If no passage contains the words, or the
    sentence is a bare word such as "yes", the passage with the highest P(True) for question and sentence together is
    cited, if it reaches `SUPPORTED_FROM`.
    """
    found = []
    for start, end in sentences(text):
        place = _support(model, question, text[start:end], contexts, relevance)
        if place is not None:
            found.append(Citation(start, end, place))
    return tuple(found)


def with_markers(text: str, citations: tuple[Citation, ...]) -> str:
    """Return the text with ` [n]` after each cited sentence; n counts the contexts from 1."""
    for citation in sorted(citations, key=lambda c: -c.end):
        text = f"{text[: citation.end]} [{citation.context + 1}]{text[citation.end :]}"
    return text


def _support(
    model: LanguageModel, question: Question, sentence: str, contexts: Ranking, relevance: Mapping[str, float]
) -> int | None:
    places = range(len(contexts))
    holding: list[int] = []
    if normalise(sentence) not in _TOO_COMMON:
        holding = [i for i in places if contains(passage_text(contexts[i].passage), sentence)]
    if len(holding) == 1:
        return holding[0]
    if holding and all(contexts[i].passage.id in relevance for i in holding):
        return max(holding, key=lambda i: relevance[contexts[i].passage.id])
    candidates = holding or places
    claim = replace(question, text=f"{question.text} {sentence}")
    judged = [j.probability for j in judge(model, [(claim, contexts[i].passage) for i in candidates])]
    best = max(zip(judged, (-i for i in candidates), strict=True), default=(0.0, 0))
    return -best[1] if holding or best[0] >= SUPPORTED_FROM else None
