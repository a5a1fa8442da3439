"""One model on several devices: each replica scores and answers a share, at the same time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from rankrag.contract import Contract
from rankrag.encoding import EncodedPrompt
from rankrag.models import LanguageModel, ModelInfo, SamplingParams
from rankrag.types import Prompt, StateUse

R = TypeVar("R")


class ParallelModel:
    """Replicas of one model, each with its own device and passage states; scores do not depend on their number."""

    def __init__(self, replicas: Sequence[LanguageModel]) -> None:
        assert replicas
        self.replicas = tuple(replicas)

    @property
    def contract(self) -> Contract:
        """The contract that all replicas share."""
        return self.replicas[0].contract

    @property
    def info(self) -> ModelInfo:
        """What one replica says about itself, with the passage states of all."""
        of_each = [replica.info for replica in self.replicas]
        uses = [info.states for info in of_each if info.states]
        states = StateUse(sum(use.found for use in uses), sum(use.wanted for use in uses)) if uses else None
        return replace(of_each[0], states=states)

    def encode(self, prompts: Sequence[Prompt], *, reserve: int = 1) -> list[EncodedPrompt]:
        """Return each prompt as every replica reads it."""
        return self.replicas[0].encode(prompts, reserve=reserve)

    def choice_logprobs(self, prompts: Sequence[EncodedPrompt], choices: Sequence[str]) -> list[list[float]]:
        """Return the log-probability of each choice as the next token of each prompt, over the whole vocabulary."""
        return self._spread(prompts, lambda replica, share: replica.choice_logprobs(share, choices))

    def generate(self, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> list[str]:
        """Return one continuation for each prompt."""
        return self._spread(prompts, lambda replica, share: replica.generate(share, params))

    def stream(self, prompt: EncodedPrompt, params: SamplingParams) -> Iterator[str]:
        """Yield the continuation of one prompt in pieces."""
        return self.replicas[0].stream(prompt, params)

    def _spread(
        self, prompts: Sequence[EncodedPrompt], call: Callable[[LanguageModel, list[EncodedPrompt]], list[R]]
    ) -> list[R]:
        """Call each replica with an equal share; return the results in the order of the prompts."""
        # dealt out by a checksum of their passages: prompts about one passage stay together, and nearly always go to
        # the replica that keeps its state, whatever else is asked
        order = sorted(range(len(prompts)), key=lambda place: _checksum(prompts[place]))
        size = -(-len(order) // len(self.replicas)) or 1
        shares = [order[start : start + size] for start in range(0, len(order), size)]
        with ThreadPoolExecutor(len(self.replicas)) as pool:
            jobs = [
                pool.submit(call, replica, [prompts[place] for place in share])
                for replica, share in zip(self.replicas, shares, strict=False)
            ]
            found = {
                place: result
                for share, job in zip(shares, jobs, strict=True)
                for place, result in zip(share, job.result(), strict=True)
            }
        return [found[place] for place in range(len(prompts))]


def _checksum(prompt: EncodedPrompt) -> int:
    return zlib.crc32("\n".join(segment.text for segment in prompt.prompt if segment.kind == "passage").encode())
