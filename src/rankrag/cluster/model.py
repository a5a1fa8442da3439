"""A language model that the workers of a cluster hold: each call goes whole to one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rankrag.cluster.actors import Held, Say, Workers
from rankrag.cluster.address import parse_cluster
from rankrag.cluster.places import same_anywhere
from rankrag.contract import Contract
from rankrag.encoding import EncodedPrompt
from rankrag.models import LanguageModel, ModelInfo, SamplingParams
from rankrag.opening import open_model
from rankrag.types import Prompt


class ClusterModel:
    """Workers' models, seen as one; it takes as many calls at the same time as there are workers.

    A call is not divided: batches are what they would be without a cluster, and so are the scores, to the last bit
    unless a worker keeps states of passages.
    """

    def __init__(self, held: Held[LanguageModel]) -> None:
        self._held = held
        self.contract: Contract
        self.contract, info = held(_described)
        self.info = replace(info, calls_at_once=held.size, states=None)

    def encode(self, prompts: Sequence[Prompt], *, reserve: int = 1) -> list[EncodedPrompt]:
        """Return each prompt as every worker reads it."""
        return self._held(_encode, prompts, reserve)

    def choice_logprobs(self, prompts: Sequence[EncodedPrompt], choices: Sequence[str]) -> list[list[float]]:
        """Return the log-probability of each choice as the next token of each prompt, over the whole vocabulary."""
        return self._held(_choice_logprobs, prompts, choices)

    def generate(self, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> list[str]:
        """Return one continuation for each prompt."""
        return self._held(_generate, prompts, params)

    def stream(self, prompt: EncodedPrompt, params: SamplingParams) -> Iterator[str]:
        """Yield the continuation of one prompt, in one piece."""
        yield from self.generate([prompt], params)


def cluster_opener(ray: str, *, say: Say, **settings: Any) -> Callable[[str], ClusterModel]:
    """Return what lets every worker of a cluster open a model by name, with these settings of `open_model`.

    The workers are the same for all models; they close one that is no longer used.
    """
    workers = Workers(parse_cluster(ray), gpu=not str(settings.get("device")).startswith("cpu"), say=say)

    def opened(name: str) -> ClusterModel:
        return ClusterModel(workers.hold(f"model {name}", partial(_open, same_anywhere(name), settings)))

    return opened


def _open(name: str, settings: dict[str, Any], say: Say) -> LanguageModel:
    return open_model(name, **settings, say=say)


def _described(model: LanguageModel) -> tuple[Contract, ModelInfo]:
    return model.contract, model.info


def _encode(model: LanguageModel, prompts: Sequence[Prompt], reserve: int) -> list[EncodedPrompt]:
    return model.encode(prompts, reserve=reserve)


def _choice_logprobs(
    model: LanguageModel, prompts: Sequence[EncodedPrompt], choices: Sequence[str]
) -> list[list[float]]:
    return model.choice_logprobs(prompts, choices)


def _generate(model: LanguageModel, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> list[str]:
    return model.generate(prompts, params)
