"""How long examples are, in tokens of a tokenizer or by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rankrag.errors import ConfigError
from rankrag.templates import passage_text
from rankrag.types import Example

Counter = Callable[[str], int]

TOKENS_PER_WORD = 1.3


def token_counter(tokenizer: str | None) -> Counter:
    """Return what counts the tokens of a text: a tokenizer, by directory or hub id, else words times 1.3."""
    if tokenizer is None:
        return lambda text: round(len(text.split()) * TOKENS_PER_WORD)
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        raise ConfigError(f"tokenizer {tokenizer}: cannot be loaded ({error}); name a directory or a hub id") from None
    return lambda text: len(loaded.encode(text, add_special_tokens=False))


def group_tokens(group: Sequence[Example], count: Counter) -> int:
    """Return the tokens of examples that stand together: passages once, turns and targets of each; no template."""
    passages = {p.id: p for example in group for p in example.contexts}
    total = sum(count(passage_text(p)) for p in passages.values())
    for example in group:
        question = example.question
        total += sum(map(count, [*(m.content for m in question.history), question.text, example.target]))
    return total
