"""The one model of RankRAG, seen from outside: it scores choices and it writes text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from rankrag.contract import Contract
from rankrag.encoding import PromptEncoder
from rankrag.types import Prompt, StateUse

Form = Literal["exact", "float16", "int8"]
"""How passage states are kept: in the model's own numbers, in 16 bits, or in 8 with a scale for each channel."""

if TYPE_CHECKING:
    import numpy as np


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


class LanguageModel(Protocol):
    """A causal language model that ranks and answers. Batch size, device, caches and packing are its own affair."""

    @property
    def contract(self) -> Contract:
        """How this model is prompted and how its scores are read."""
        ...

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Return, for each prompt, the log-probability over the whole vocabulary of each choice as the next token.

        A choice that is not exactly one token in this place raises `ContractError`.
        """
        ...

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[str]:
        """Return one continuation for each prompt, in the order of the prompts."""
        ...

    def stream(self, prompt: Prompt, params: SamplingParams) -> Iterator[str]:
        """Yield the continuation of one prompt in pieces; joined they equal what `generate` returns."""
        ...


@runtime_checkable
class LayeredModel(LanguageModel, Protocol):
    """A language model whose middle layers can be read: a head can be fitted to one, and rank from there."""

    @property
    def layers(self) -> int:
        """Its number of layers."""
        ...

    def head_log_odds(self, prompts: Sequence[Prompt]) -> list[float]:
        """Return what the contract's head makes of each prompt; nothing behind its layer is computed."""
        ...

    def layer_states(self, prompts: Sequence[Prompt], layers: Sequence[int]) -> tuple[list[list[float]], np.ndarray]:
        """Return the labels' log-probabilities of each prompt, and the unit states of its last token, from one pass.

        States are [prompts, layers, hidden size] in 16 bit, each divided by its root mean square (`LayerHead`).
        """
        ...


@runtime_checkable
class EncodesPrompts(Protocol):
    """A model that makes token ids of prompts itself, and reads of a passage what its contract and length allow."""

    @property
    def encoder(self) -> PromptEncoder | None:
        """What makes the ids; None where a model that this one asks makes them."""
        ...


@runtime_checkable
class TakesMore(Protocol):
    """A model that takes more at once than a CPU does."""

    @property
    def times_at_once(self) -> int:
        """How many times what a CPU is asked together takes this model no longer."""
        ...


@runtime_checkable
class KeepsStates(Protocol):
    """A model that keeps passage states from one question to the next."""

    @property
    def state_use(self) -> StateUse | None:
        """How many states were wanted so far and found; None where this model keeps none."""
        ...


@runtime_checkable
class MayBeInt8(Protocol):
    """A model whose weights may be kept in eight bits, which moves its scores."""

    @property
    def in_int8(self) -> bool:
        """Whether they are."""
        ...


def prompt_encoder(model: LanguageModel) -> PromptEncoder | None:
    """Return what makes token ids of a model's prompts; None where it does not show it, or has another `encoder`."""
    found = model.encoder if isinstance(model, EncodesPrompts) else None
    return found if isinstance(found, PromptEncoder) else None


def passages_cut(model: LanguageModel, prompts: Sequence[Prompt], *, reserve: int = 1) -> list[tuple[bool, ...]]:
    """Return of each passage of each prompt whether its end is not read, with room for `reserve` tokens of a reply.

    Where a model does not show its encoder, no end is known to be left out.
    """
    if encoder := prompt_encoder(model):
        return [encoded.cut for encoded in encoder.encode(prompts, reserve=reserve)]
    return [tuple(False for segment in prompt if segment.kind == "passage") for prompt in prompts]


def times_at_once(model: LanguageModel) -> int:
    """Return how many times what a CPU is asked together is asked of a model; 1 where it does not say."""
    return model.times_at_once if isinstance(model, TakesMore) else 1


def is_in_int8(model: LanguageModel) -> bool:
    """Return whether a model's weights are kept in eight bits; False where it does not say."""
    return isinstance(model, MayBeInt8) and model.in_int8


def state_use(model: LanguageModel) -> StateUse | None:
    """Return how many passage states a model wanted and found so far; None where it keeps none."""
    return model.state_use if isinstance(model, KeepsStates) else None
