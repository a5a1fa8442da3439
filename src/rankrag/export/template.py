"""A ranking prompt as a chat template with its own tokenizer, for programs that know only those two.

Our segments are tokenised one by one. A chat template makes one text, in which tokens would grow across segments. So
the template writes a mark between segments, and the tokenizer splits there and drops the mark. The same mark breaks
control tokens in foreign text, so they stay plain text. Turn markers that the tokenizer would find even then are
broken by a space, as in our own prompts.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from rankrag.contract import Contract
from rankrag.encoding import broken, turn_markers
from rankrag.errors import ModelError
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

BORDER = "\ue000"
_QUESTION, _PASSAGE = "\ue001", "\ue002"

# templates.defuse in Jinja: runs of line breaks become one, and a marker never starts a line.
_DEFUSE = (
    "{% macro defuse(text) %}{% for line in text.strip().splitlines() if line %}{% set line = line.lstrip(' \\t') %}"
    "{% set low = line.lower() %}{% set name = low.split(':')[0].removesuffix(' ') if ':' in low else '' %}"
    "{% set marker = name in ('system', 'user', 'assistant', 'passage')"
    " or (name.startswith('passage ') and name[8:].isdecimal()) %}"
    "{{ '' if loop.first else ' ' if marker else '\\n' }}{{ line }}{% endfor %}{% endmacro %}"
)


def bordered(tokenizer: Any, contract: Contract) -> Any:
    """Return a copy of a tokenizer that splits between segments and has the contract's ranking prompt as chat template.

    A prompt that is too long loses its beginning, so that the question at its end stays whole.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError("the export needs a fast tokenizer (found: a slow one); save the model with a fast one")
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Sequence, Split

    found = copy.deepcopy(tokenizer)
    inner = found.backend_tokenizer
    split = Split(Regex(BORDER), "removed")
    inner.pre_tokenizer = Sequence([split, inner.pre_tokenizer]) if inner.pre_tokenizer else split
    found.chat_template = chat_template(tokenizer, contract)
    if contract.format.layout == "passage_first":
        found.truncation_side = found.init_kwargs["truncation_side"] = "left"  # what is saved are those it began with
    return found


def chat_template(tokenizer: Any, contract: Contract) -> str:
    """Return the ranking prompt of messages with the roles `query` and `document`, borders marked."""
    prompt = ranking_prompt(contract.format, Question("", _QUESTION), Passage("", _PASSAGE))
    text = BORDER.join(_literal(segment.text) for segment in prompt)
    inert = _inert(tokenizer, contract)
    for mark, role in ((_QUESTION, "query"), (_PASSAGE, "document")):
        content = f"(messages | selectattr('role', 'eq', '{role}') | first).content"
        text = text.replace(_literal(mark), f"{{{{ defuse({content}){inert} }}}}")
    return _DEFUSE + text


def _inert(tokenizer: Any, contract: Contract) -> str:
    """Return filters after which no marker counts in a text."""
    markers = turn_markers(tokenizer, contract.format.turns)
    return "".join(
        f" | replace({_quoted(markers[i])}, {_quoted(_broken(tokenizer, i, markers[i]))})"
        for i in sorted(markers, key=lambda i: len(markers[i]), reverse=True)
    )


def _broken(tokenizer: Any, marker: int, token: str) -> str:
    """Return a marker's name with a border in it, where its tokens as plain text leave room for one."""

    def plain(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    whole = plain(token)
    if marker in whole and marker != tokenizer.unk_token_id:
        return broken(token)
    for place in range(1, len(token)):
        if plain(token[:place]) + plain(token[place:]) == whole:
            return token[:place] + BORDER + token[place:]
    raise ModelError(f"the control token {token!r} cannot be made inert in a chat template of this tokenizer")


def _literal(text: str) -> str:
    return f"{{{{ {_quoted(text)} }}}}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
