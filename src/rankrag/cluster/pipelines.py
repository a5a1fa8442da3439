"""Pipelines that the workers of a cluster hold: `rankrag ask --questions` and `rankrag rerank`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rankrag.cluster.actors import Held, Say, Workers
from rankrag.cluster.address import parse_cluster
from rankrag.cluster.places import same_anywhere
from rankrag.config.answering import AskConfig
from rankrag.data.files import Row
from rankrag.data.runs import answer_row
from rankrag.opening import load, open_reranker
from rankrag.pipeline import RankRAG
from rankrag.rerank import Decision
from rankrag.types import Question, Ranking


def hold_pipeline(settings: AskConfig, index: str, say: Say) -> Held[RankRAG]:
    """Let workers open the whole pipeline over an index, which every node must reach by the same name."""
    opened = partial(_load, same_anywhere(index), _settings(settings))
    return _workers(settings, say).hold(f"the pipeline of {settings.model} over {index}", opened)


def hold_reranker(settings: AskConfig, index: str | None, say: Say) -> Held[RankRAG]:
    """Let workers open the reranker of given passages; vectors in `index` are used again."""
    opened = partial(_reranker, index and same_anywhere(index), _settings(settings))
    return _workers(settings, say).hold(f"the reranker of {settings.model}", opened)


def answered(rag: RankRAG, question: Question) -> Row:
    """Return the row of a question's answer."""
    return answer_row(rag.ask(question))


def reranked(rag: RankRAG, batch: Sequence[tuple[Question, Ranking]]) -> list[Decision]:
    """Return what is decided about each question's candidates; they are judged together."""
    return rag.rerank_many(batch)


def _workers(settings: AskConfig, say: Say) -> Workers:
    return Workers(parse_cluster(settings.ray or ""), gpu=not settings.device.startswith("cpu"), say=say)


def _settings(settings: AskConfig) -> AskConfig:
    given = {key: value for key in ("model", "encoder", "state_cache") if (value := getattr(settings, key))}
    return settings.model_copy(update={**{key: same_anywhere(value) for key, value in given.items()}, "ray": None})


def _load(index: str, settings: AskConfig, say: Say) -> RankRAG:
    return load(index, settings, say=say)


def _reranker(index: str | None, settings: AskConfig, say: Say) -> RankRAG:
    return open_reranker(settings, index=index, say=say)
