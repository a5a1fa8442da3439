"""Whether a server's tokens are ours: ids of one tokenizer are other words to another, and have scores all the same.

Asked once, when a server is opened. vLLM, SGLang and llama.cpp tokenise what they are sent; others cannot be asked.
"""

from __future__ import annotations

from typing import Any

from rankrag.encoding import PromptEncoder
from rankrag.errors import ContractError
from rankrag.models.address import FORM, Address, Kind
from rankrag.models.remote import Remote


def check_tokenizer(remote: Remote, address: Address, kind: Kind, name: str, encoder: PromptEncoder) -> None:
    """Raise `ContractError` where the server makes other tokens of the contract's words than `address.directory` does.

    Where it cannot be asked, the address must name the directory itself.
    """
    form = encoder.contract.format
    labels = [form.turns.generation + form.turns.before_target + label for label in encoder.contract.labels]
    for text in (*labels, form.turns.start + form.wordings.system):
        found = None if kind == "generic" else _asked(remote, address, kind, name, text)
        if found is None and not address.named:
            raise ContractError(
                f"{remote.root}: which tokenizer it has cannot be asked there; name the directory with the tokenizer "
                f"and the contract of its model after #: --model '{FORM}'"
            )
        if found is None:
            return
        ours = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
        if found != ours:
            raise ContractError(
                f"{remote.root}: it makes tokens {_end(found)} of text that ends in {text[-20:]!r}, and the tokenizer "
                f"in {address.directory} makes {_end(ours)}; name the directory of its own model after #: "
                f"--model '{FORM}'"
            )


def _asked(remote: Remote, address: Address, kind: Kind, name: str, text: str) -> list[int] | None:
    """Return the server's tokens of a text of ours, in which special tokens count; None where it has no such route."""
    body: dict[str, Any] = {"model": name, "prompt": text, "add_special_tokens": False}
    if kind == "llama.cpp":
        body = {"content": text, "add_special": False, "parse_special": True}
    found = remote.find(f"{address.path.removesuffix('/v1')}/tokenize", body)
    tokens = (found or {}).get("tokens")
    return tokens if isinstance(tokens, list) else None


def _end(ids: list[int]) -> str:
    return f"{'… ' if len(ids) > 4 else ''}{', '.join(map(str, ids[-4:]))}"
