"""A model as the rest of rankrag sees it: it encodes prompts, scores choices and writes text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rankrag.contract import Contract
from rankrag.encoding import EncodedPrompt
from rankrag.types import Prompt, StateUse


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to generate. `temperature` 0 is greedy (the paper's setting); `stop` strings end the text and are cut off.

    `not_first` is a word of one token that the text does not begin with.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    not_first: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What callers may want to know about a model besides its contract, at the moment they ask.

    Attributes:
        batch_multiplier: batch size that takes no longer than one, relative to a CPU; 1 if unknown.
        calls_at_once: calls that it works on at the same time, each on hardware of its own.
        states: passage states wanted and found so far; None if the model keeps none.
    """

    batch_multiplier: int = 1
    calls_at_once: int = 1
    states: StateUse | None = None


class LanguageModel(Protocol):
    """A causal language model that ranks and answers. Batch size, device, caches and packing are its own affair.

    A prompt is encoded once, by `encode`; scoring and writing take the result as often as they like.
    """

    @property
    def contract(self) -> Contract:
        """How this model is prompted and how its scores are read."""
        ...

    @property
    def info(self) -> ModelInfo:
        """What else callers may want to know, as of now."""
        ...

    def encode(self, prompts: Sequence[Prompt], *, reserve: int = 1) -> list[EncodedPrompt]:
        """Return each prompt as the model reads it, with room for a reply of `reserve` tokens.

        Passages that are too long are cut, and say so. `DataError` if a prompt is too long without any passage.
        """
        ...

    def choice_logprobs(self, prompts: Sequence[EncodedPrompt], choices: Sequence[str]) -> list[list[float]]:
        """Return, for each prompt, the log-probability over the whole vocabulary of each choice as the next token.

        A choice that is not exactly one token in this place raises `ContractError`.
        """
        ...

    def generate(self, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> list[str]:
        """Return one continuation for each prompt, in the order of the prompts."""
        ...

    def stream(self, prompt: EncodedPrompt, params: SamplingParams) -> Iterator[str]:
        """Yield the continuation of one prompt in pieces; joined they equal what `generate` returns."""
        ...
