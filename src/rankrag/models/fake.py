"""A model without weights, for tests and for trying out pipelines: it ranks by words and answers by rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rankrag.contract import Contract
from rankrag.encoding import EncodedPrompt
from rankrag.errors import ContractError
from rankrag.models import ModelInfo, SamplingParams
from rankrag.types import Prompt


@dataclass(slots=True)
class FakeLanguageModel:
    """Says `True` with probability `sure` if a passage of the prompt contains `yes_if`, else with 1 - `sure`.

    Replies are `reply` (a text, or a function of the prompt), or `otherwise` if that begins with `not_first`. Of the
    letters of a multiple choice, its reply is the likeliest. `prompts` keeps every prompt it was given, in order.
    """

    yes_if: str = ""
    reply: str | Callable[[Prompt], str] = "a reply"
    otherwise: str = "another reply"
    sure: float = 0.9
    contract: Contract = field(default_factory=Contract)
    info: ModelInfo = field(default_factory=ModelInfo)
    prompts: list[Prompt] = field(default_factory=list)

    def encode(self, prompts: Sequence[Prompt], *, reserve: int = 1) -> list[EncodedPrompt]:  # noqa: ARG002
        """Return each prompt as it is: no tokens, and no passage is cut."""
        return [EncodedPrompt(prompt, (), tuple(False for s in prompt if s.kind == "passage")) for prompt in prompts]

    def choice_logprobs(self, prompts: Sequence[EncodedPrompt], choices: Sequence[str]) -> list[list[float]]:
        """Return log `sure` for the likeliest choice; the other choices share the rest."""
        if len(choices) < 2:
            raise ContractError(f"the fake model chooses among two or more (found: {list(choices)})")
        texts = [encoded.prompt for encoded in prompts]
        self.prompts += texts
        labels = tuple(choices) == self.contract.labels
        return [self._row(prompt, choices) if labels else self._letters(prompt, choices) for prompt in texts]

    def generate(self, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> list[str]:
        """Return a reply to each prompt."""
        return ["".join(self.stream(prompt, params)) for prompt in prompts]

    def stream(self, prompt: EncodedPrompt, params: SamplingParams) -> Iterator[str]:
        """Yield a reply word by word, at most `max_new_tokens` of them."""
        self.prompts.append(prompt.prompt)
        said = self._said(prompt.prompt)
        words = (self.otherwise if params.not_first and said.startswith(params.not_first) else said).split(" ")
        for place, word in enumerate(words[: params.max_new_tokens]):
            yield f" {word}" if place else word

    def _said(self, prompt: Prompt) -> str:
        return self.reply if isinstance(self.reply, str) else self.reply(prompt)

    def _row(self, prompt: Prompt, labels: Sequence[str]) -> list[float]:
        found = any(self.yes_if.lower() in s.text.lower() for s in prompt if s.kind == "passage")
        return self._logprobs(labels, labels[0 if found else 1])

    def _letters(self, prompt: Prompt, letters: Sequence[str]) -> list[float]:
        return self._logprobs(letters, self._said(prompt))

    def _logprobs(self, choices: Sequence[str], likeliest: str) -> list[float]:
        rest = (1 - self.sure) / (len(choices) - 1)
        return [math.log(self.sure if choice == likeliest else rest) for choice in choices]
