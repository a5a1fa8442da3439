"""The rerank endpoints: one handler for the forms that Cohere, Jina, vLLM, TEI, Voyage and llama.cpp clients send.

Servers of this kind mostly fail on details: an optional field that is null, a boolean that is a string, a client that
keeps the server's order, another that needs one result for each document. The model below takes all of it.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from rankrag.documents.sentences import sentences
from rankrag.errors import DataError
from rankrag.rerank import Judgement
from rankrag.server.answering import Asked, Ranked, answering
from rankrag.server.collections import shown_place
from rankrag.server.parts import Flag, Parts, Seconds, or_none, parts_of, require_question, ticket_for, until_done
from rankrag.server.work import Pair
from rankrag.types import Passage, Question

router = APIRouter(tags=["rerank"])

CHARACTERS_A_TOKEN = 64
"""A passage is cut to this many characters for each token that the model may read of it, before it is tokenised: a
document of five megabytes takes no longer than its beginning."""

Count = Annotated[Annotated[int, Field(ge=0, le=10_000_000)] | None, BeforeValidator(or_none)]
Text = Annotated[str, Field(max_length=1_000_000)]


class Spans(BaseModel):
    """Cohere's request for the places in a document that are relevant."""

    model_config = ConfigDict(extra="allow")
    mode: str | None = "enabled"
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = 0.1
    max_spans: Count = None


class RerankRequest(BaseModel):
    """A query and its documents; as `texts` they get TEI's reply. Fields that are not named here change nothing."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)
    query: Text
    documents: list[str | dict[str, Any]] | None = Field(
        None, validation_alias=AliasChoices("documents", "passages"), max_length=100_000
    )
    texts: list[str | dict[str, Any]] | None = Field(None, max_length=100_000)
    model: str | None = None
    top_n: Count = None
    top_k: Count = None
    return_documents: Flag = None
    return_text: Flag = None
    raw_scores: Flag = None
    rank_fields: list[str] | None = None
    relevant_spans: Spans | None = None
    timeout: Seconds = None


class ScoreRequest(BaseModel):
    """vLLM's form: one text against one or several, or as many as there are."""

    model_config = ConfigDict(extra="allow")
    text_1: str | list[str]
    text_2: str | list[str]
    model: str | None = None


class SearchRequest(BaseModel):
    """A query for the passages of a collection."""

    model_config = ConfigDict(extra="allow")
    query: Text
    k: Annotated[int, Field(ge=1, le=1000)] = 5
    collection: str = ""
    timeout: Seconds = None


class Predicate(BaseModel):
    """One question of `/v1/decisions`; `instructions` is the query that the input may be relevant to."""

    model_config = ConfigDict(extra="allow")
    type: Literal["predicate"] = "predicate"
    name: str
    instructions: str


class DecisionRequest(BaseModel):
    """OpenAI's form of a yes-or-no probability."""

    model_config = ConfigDict(extra="allow")
    model: str | None = None
    input: str
    questions: list[Predicate] = Field(min_length=1, max_length=1000)


PREDICATES = ("relevant",)
"""Predicates that a contract names. A score of any other would be a number that nobody has checked."""


@router.post("/rerank")
@router.post("/v1/rerank")
@router.post("/v2/rerank")
async def rerank(request: Request, body: Annotated[RerankRequest, Body()]) -> Any:
    """Rank documents by the probability that each is relevant to the query, best first."""
    parts = parts_of(request)
    documents = body.documents if body.texts is None else body.texts
    texts = [_text(document, body.rank_fields, place) for place, document in enumerate(documents or ())]
    if not texts:
        raise DataError("documents: none given; send a list of texts as 'documents' (or 'texts')")
    question = Question("", require_question(body.query, "query"))
    judged, settled = await _judged(request, parts, question, texts, body.timeout)
    order = sorted(range(len(texts)), key=lambda i: (-judged[i].probability, i))
    wanted = order[: (body.top_n or body.top_k or len(order))]
    if body.texts is not None:
        return [_tei_result(body, i, judged[i], texts[i]) for i in wanted]
    results = [_result(body, i, judged[i], texts[i]) for i in wanted]
    if body.relevant_spans is not None and body.relevant_spans.mode != "disabled":
        for result, i in zip(results, wanted, strict=True):
            result["relevant_spans"] = await _spans(request, parts, question, texts[i], body.relevant_spans)
    usage = {"total_tokens": sum(_tokens(text, parts) for text in texts)}
    answer: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "object": "list",
        "model": body.model or parts.name,
        "results": results,
        "usage": usage | {"prompt_tokens": usage["total_tokens"]},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }
    if settled:
        answer["settled"] = True
    if body.top_k is not None:  # Voyage's clients read `data`, with documents as texts
        answer["data"] = [
            r | ({"document": texts[i]} if "document" in r else {}) for r, i in zip(results, wanted, strict=True)
        ]
    return answer


@router.post("/v1/search")
async def search(request: Request, body: SearchRequest) -> dict[str, Any]:
    """Return the passages of a collection that are most relevant to a query; nothing is written."""
    parts = parts_of(request)
    name = parts.collections.require(body.collection) if body.collection else parts.collections.default
    question = Question("", require_question(body.query, "query"))
    asked = Asked(question, parts.collections.pipeline(name))
    ranked = await until_done(request, anext(answering(asked, parts.scheduler, ticket_for(request, body.timeout))))
    assert isinstance(ranked, Ranked)
    relevance = ranked.decision.relevance
    results = [
        {
            "id": parts.collections.address(name, c.passage),
            "score": relevance.get(c.passage.id, 0.0),
            "text": c.passage.text,
            "title": c.passage.title,
            "place": shown_place(c.passage),
        }
        for c in ranked.decision.ranking[: body.k]
    ]
    return {"object": "list", "results": results, "collection": name}


@router.get("/info")
async def info(request: Request) -> dict[str, Any]:
    """Say what the model is, in TEI's words."""
    parts = parts_of(request)
    contract = parts.model.contract
    return {
        "model_id": parts.name,
        "model_type": {"reranker": {"id2label": {"0": "relevant"}, "label2id": {"relevant": 0}}},
        "max_input_length": contract.passage_tokens,
        "max_client_batch_size": 100_000,
        "max_concurrent_requests": parts.max_waiting,
        "version": parts.version,
    }


@router.post("/score")
@router.post("/v1/score")
async def score(request: Request, body: ScoreRequest) -> dict[str, Any]:
    """Return P(True) of pairs of texts: the first is the query, the second the document."""
    parts = parts_of(request)
    first = [body.text_1] if isinstance(body.text_1, str) else body.text_1
    second = [body.text_2] if isinstance(body.text_2, str) else body.text_2
    first = first * len(second) if len(first) == 1 else first
    if len(first) != len(second) or not first:
        raise DataError(f"text_1 has {len(first)} texts and text_2 {len(second)}; send one, or as many as in text_2")
    pairs = [
        (Question("", require_question(a, "text_1")), _passage(i, b, parts))
        for i, (a, b) in enumerate(zip(first, second, strict=True))
    ]
    judged = await until_done(request, parts.scheduler.judge(pairs, ticket_for(request)))
    data = [{"index": i, "object": "score", "score": j.probability} for i, j in enumerate(judged)]
    total = sum(_tokens(text, parts) for text in second)
    usage = {"prompt_tokens": total, "total_tokens": total}
    return {"id": uuid.uuid4().hex, "object": "list", "model": body.model or parts.name, "data": data, "usage": usage}


@router.post("/v1/decisions")
async def decisions(request: Request, body: DecisionRequest) -> dict[str, Any]:
    """Return the probability that the input is relevant to each question's instructions (OpenAI's form)."""
    parts = parts_of(request)
    for question in body.questions:
        if question.name not in PREDICATES:
            raise DataError(
                f"predicate {question.name!r} is not one that this model was fitted for; known: {', '.join(PREDICATES)}"
            )
    pairs = [
        (Question("", require_question(q.instructions, "instructions")), _passage(i, body.input, parts))
        for i, q in enumerate(body.questions)
    ]
    judged = await until_done(request, parts.scheduler.judge(pairs, ticket_for(request)))
    answers = [
        {"type": "predicate", "name": q.name, "probability": j.probability}
        for q, j in zip(body.questions, judged, strict=True)
    ]
    tokens = _tokens(body.input, parts)
    usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
    return {"model": body.model or parts.name, "answers": answers, "usage": usage}


async def _judged(
    request: Request, parts: Parts, question: Question, texts: list[str], timeout: float | None
) -> tuple[list[Judgement], bool]:
    """Judge each distinct text once; documents that a deadline left unjudged get probability 0 and come last."""
    distinct = {text: _passage(i, text, parts) for i, text in enumerate(dict.fromkeys(texts))}
    pairs: list[Pair] = [(question, passage) for passage in distinct.values()]
    found = await until_done(request, parts.scheduler.judge(pairs, ticket_for(request, timeout)))
    by_text = dict(zip(distinct, found, strict=False))
    unjudged = Judgement(float("-inf"), 0.0)
    return [by_text.get(text, unjudged) for text in texts], len(found) < len(pairs)


async def _spans(request: Request, parts: Parts, question: Question, text: str, wanted: Spans) -> list[dict[str, Any]]:
    """Return the sentences of a document whose own P(True) reaches the threshold, with their code points."""
    spans = sentences(text)
    pairs: list[Pair] = [(question, Passage(f"{a}", text[a:b])) for a, b in spans]
    judged = await until_done(request, parts.scheduler.judge(pairs, ticket_for(request)))
    found = [
        {"start": a, "end": b, "score": j.probability}
        for (a, b), j in zip(spans, judged, strict=True)
        if j.probability >= (wanted.threshold or 0)
    ]
    best = sorted(found, key=lambda span: -span["score"])[: wanted.max_spans or len(found)]
    return sorted(best, key=lambda span: span["start"])


def _result(body: RerankRequest, index: int, judged: Judgement, text: str) -> dict[str, Any]:
    result: dict[str, Any] = {"index": index, "relevance_score": judged.probability}
    if judged.log_odds != float("-inf"):
        result["log_odds"] = judged.log_odds
    if body.return_documents:
        result["document"] = {"text": text}
    if judged.truncated:
        result["truncated"] = True
    return result


def _tei_result(body: RerankRequest, index: int, judged: Judgement, text: str) -> dict[str, Any]:
    score = max(judged.log_odds, -1e9) if body.raw_scores else judged.probability
    return {"index": index, "score": score} | ({"text": text} if body.return_text or body.return_documents else {})


def _text(document: str | dict[str, Any], rank_fields: list[str] | None, place: int) -> str:
    """Return what the model reads of a document: its text, or the fields that the request ranks by."""
    if isinstance(document, str):
        return document
    if rank_fields:
        return "\n".join(f"{name}: {document[name]}" for name in rank_fields if document.get(name) is not None)
    for name in ("text", "content", "page_content"):
        if isinstance(document.get(name), str):
            title = document.get("title")
            return f"{title}\n{document[name]}" if isinstance(title, str) and title.strip() else str(document[name])
    if isinstance(document.get("content"), list):  # vLLM: parts of a message
        return "\n".join(str(p["text"]) for p in document["content"] if isinstance(p, dict) and "text" in p)
    found = ", ".join(sorted(document)) or "nothing"
    raise DataError(f"documents[{place}]: no 'text' (found: {found}); send texts, or objects with 'text'")


def _passage(place: int, text: str, parts: Parts) -> Passage:
    return Passage(str(place), text[: parts.model.contract.passage_tokens * CHARACTERS_A_TOKEN])


def _tokens(text: str, parts: Parts) -> int:
    """Return about how many tokens the model reads of a text."""
    return min(len(text) // 4 + 1, parts.model.contract.passage_tokens)
