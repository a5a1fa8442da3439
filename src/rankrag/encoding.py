"""From a prompt to token ids, the same in training and at inference.

Segments are tokenised one by one. So a passage can be cut without touching anything else, turn markers inside foreign
text stay plain text, and prompts that begin with the same segments begin with the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rankrag.contract import Contract, with_label_ids
from rankrag.errors import ContractError, DataError
from rankrag.templates import Format, Turns
from rankrag.types import Prompt

KEPT_TEXTS = 10_000
"""Foreign texts whose ids are cached: examples with the same passage follow each other, and questions find it again."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt with its token ids by segment, and for each passage in it whether it had to be cut.

    `head` counts the segments up to the end of its one passage where only text of ours stands before that, so that the
    head is the same for any question; else it is 0.
    """

    prompt: Prompt
    segments: tuple[tuple[int, ...], ...]
    cut: tuple[bool, ...] = ()
    head: int = 0

    @property
    def truncated(self) -> bool:
        """Whether any passage had to be cut."""
        return any(self.cut)

    @property
    def ids(self) -> list[int]:
        """All ids in order."""
        return [i for segment in self.segments for i in segment]

    def __len__(self) -> int:
        return sum(len(segment) for segment in self.segments)


class PromptEncoder:
    """Encodes prompts for one tokenizer under one contract."""

    def __init__(self, tokenizer: Any, contract: Contract) -> None:
        self.tokenizer = tokenizer
        self._fixed_ids: dict[str, list[int]] = {}
        self._foreign_ids: dict[str, tuple[int, ...]] = {}
        self._markers = turn_markers(tokenizer, contract.format.turns)
        self.end_ids = self._fixed(contract.format.turns.end or tokenizer.eos_token or "")
        self.contract = contract
        self.contract = with_label_ids(contract, self.label_ids(contract.labels))

    def encode(self, prompts: Sequence[Prompt], *, reserve: int = 1) -> list[EncodedPrompt]:
        """Return the ids of each prompt, with room for a reply of `reserve` tokens.

        Each passage is cut to the contract's limit. If the prompt is still too long, the longest passages are cut
        further. `DataError` if it is too long without any passage.
        """
        # each text once, and the foreign ones in one call: twenty prompts about one question differ in a passage only
        wanted = dict.fromkeys((s.kind == "fixed", s.text) for prompt in prompts for s in prompt)
        ids = {key: tuple(self._fixed(key[1])) for key in wanted if key[0]}
        foreign = [text for fixed, text in wanted if not fixed]
        ids.update({(False, t): i for t, i in zip(foreign, self._foreign(foreign), strict=True)})
        return [self._fit(prompt, [ids[s.kind == "fixed", s.text] for s in prompt], reserve) for prompt in prompts]

    def read_ahead(self, texts: Sequence[str]) -> None:
        """Tokenise foreign texts that will soon be asked for, in one call, which uses all cores."""
        self._foreign(list(dict.fromkeys(texts)))

    def encode_target(self, target: str) -> list[int]:
        """Return the ids of a reply, including the token that ends it."""
        text = self.contract.format.turns.before_target + target
        if target in self.contract.labels:  # most examples of a blend have one of these two
            return [*self._fixed(text), *self.end_ids]
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], *self.end_ids]

    def label_ids(self, labels: Sequence[str]) -> list[int]:
        """Return the token id of each label after the prompt's last segment.

        `ContractError` names a label that is several tokens there, or that is joined with the text before it.
        """
        turns = self.contract.format.turns
        before = self._fixed(turns.generation)
        found = []
        for label in labels:
            text = turns.before_target + label
            # the prompt ends with `generation` tokenised by itself, and the model was trained on a label after that; if
            # the tokenizer would join the two, the label's id alone would never have followed the prompt in training
            alone, in_context = self._fixed(text), self._fixed(turns.generation + text)
            if len(alone) != 1:
                pieces = self.tokenizer.convert_ids_to_tokens(alone)
                raise ContractError(
                    f"label {label!r} must be exactly one token after {turns.generation!r}, but this tokenizer "
                    f"makes {len(alone)} of it: {pieces}; choose other labels in the contract"
                )
            if in_context != before + alone:
                pieces = self.tokenizer.convert_ids_to_tokens(in_context)
                raise ContractError(
                    f"label {label!r} is one token, but after {turns.generation!r} this tokenizer joins it with "
                    f"the text before it: {pieces[-4:]}; choose other labels or turn markers in the contract"
                )
            found.append(alone[0])
        if len(set(found)) != len(found) or self.tokenizer.unk_token_id in found:
            raise ContractError(f"labels {list(labels)} are tokens {found}: not distinct words of this tokenizer")
        return found

    def _fixed(self, text: str) -> list[int]:
        if text not in self._fixed_ids:
            self._fixed_ids[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return list(self._fixed_ids[text])

    def _foreign(self, texts: list[str]) -> list[tuple[int, ...]]:
        new = [text for text in texts if text not in self._foreign_ids]
        # the cache starts anew, which costs less than keeping an order of use
        if len(self._foreign_ids) + len(new) > KEPT_TEXTS:
            self._foreign_ids, new = {}, texts
        known = self._foreign_ids
        if new:
            rows = self.tokenizer(new, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            for text, row in zip(new, rows, strict=True):
                known[text] = tuple(self._inert(text, row) if not self._markers.keys().isdisjoint(row) else row)
        return [known[text] for text in texts]

    def _inert(self, text: str, row: list[int]) -> list[int]:
        """Return the ids of a text in which the tokenizer still sees markers (in `row`), after breaking their names."""
        for token in sorted({self._markers[i] for i in row if i in self._markers}, key=len, reverse=True):
            text = text.replace(token, broken(token))
        row = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        # a marker that survives even that is dropped, but the unknown token may stand for any other word
        return [i for i in row if i not in self._markers or i == self.tokenizer.unk_token_id]

    def _fit(self, prompt: Prompt, ids: list[tuple[int, ...]], reserve: int) -> EncodedPrompt:
        contract = self.contract
        passages = [i for i, segment in enumerate(prompt) if segment.kind == "passage"]
        room = contract.max_tokens - reserve - sum(len(row) for i, row in enumerate(ids) if i not in passages)
        if room < len(passages):
            longest = max((s.text for s in prompt if s.kind == "text"), key=len, default="")
            raise DataError(
                f"question and instructions take {contract.max_tokens - reserve - room} tokens, the model has room for "
                f"{contract.max_tokens - reserve}; shorten the text that begins {longest[:60]!r}"
            )
        limits = _water_fill([min(len(ids[i]), contract.passage_tokens) for i in passages], room)
        cut = tuple(limit < len(ids[i]) for i, limit in zip(passages, limits, strict=True))
        for i, limit in zip(passages, limits, strict=True):
            ids[i] = ids[i][:limit]
        # a head ends with the passage if nothing foreign is before it: then no question can change its tokens
        foreign = [i for i, segment in enumerate(prompt) if segment.kind != "fixed"]
        head = passages[0] + 1 if len(passages) == 1 and foreign[0] == passages[0] > 0 else 0
        return EncodedPrompt(prompt, tuple(ids), cut, head)


def turn_markers(tokenizer: Any, turns: Turns) -> dict[int, str]:
    """Return the tokens that may mark a turn, by id: special tokens, added tokens in a turn, turns that are one token.

    Some tokenizers have markers that are added tokens but not special. Added tokens that are in no turn, that are
    blank, or that are one character are text.
    """
    texts = [value for name, value in asdict(turns).items() if name != "name" and value]
    rows = tokenizer([*texts, *map(str.strip, texts)], add_special_tokens=False)["input_ids"] if texts else []
    in_turns = {i for row in rows for i in row}
    found = {
        i: token.content
        for i, token in tokenizer.added_tokens_decoder.items()
        if token.special or (i in in_turns and len(token.content) > 1)
    }
    found.update(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    found.update({row[0]: text.strip() for text, row in zip(texts, rows[len(texts) :], strict=True) if len(row) == 1})
    return {i: token for i, token in found.items() if token.strip()}


def broken(marker: str) -> str:
    """Return a marker's name with a space after its first character, which makes it plain text."""
    return f"{marker[0]} {marker[1:]}"


def _water_fill(lengths: list[int], room: int) -> list[int]:
    """Cut the longest of `lengths` until their sum is at most `room`."""
    if sum(lengths) <= room:
        return lengths
    level, left = 0, room
    for place, length in enumerate(sorted(lengths)):
        level = left // (len(lengths) - place)
        if length > level:
            break
        left -= length
    return [min(length, level) for length in lengths]


_CALENDAR = (
    "{% macro strftime_now(format) %}{% if '%Y-' in format %}2024-07-26{% elif '%B' in format %}26 July 2024"
    "{% else %}26 Jul 2024{% endif %}{% endmacro %}"
)
"""Takes the place of the clock in chat templates; the day is that of Llama's templates where they have no clock."""

_NO_THOUGHTS = {"enable_thinking": False, "thinking": False}
"""Variables by which chat templates are asked for replies that begin with the answer."""

_THOUGHT = re.compile(r"(<(think|thinking|thought|reason|reasoning|seed:think)>|\[THINK\]|◁think▷)")
_CHANNEL = "<|channel|>"


def chat_turns(tokenizer: Any) -> Turns:
    """Return the turn markers of the tokenizer's chat template, taken from a rendered conversation.

    If the template has no system role, the system text goes to the start of the first user turn. A template that writes
    the date gets a fixed one, so that scores do not change from day to day. Thinking is turned off; a block of thoughts
    that is open at the end is closed. `ContractError` if the reply would still not begin with the answer.
    """
    # characters for private use: no template changes them, and no text of a template holds them
    marks = [f"\ue000{i}\ue001" for i in range(4)]
    system, *turns = [
        {"role": role, "content": mark}
        for role, mark in zip(("system", "user", "assistant", "user"), marks, strict=True)
    ]
    if not getattr(tokenizer, "chat_template", None):
        raise ContractError("this tokenizer has no chat template; use the turn format 'plain'")
    try:
        text = _rendered(tokenizer, [system, *turns])
    except Exception:  # a template may raise anything for an unknown role
        turns[0]["content"] = f"{marks[0]}\n\n{marks[1]}"
        text = _rendered(tokenizer, turns)
    pieces = []
    for mark in marks:
        piece, found, text = text.partition(mark)
        if not found:
            raise ContractError("the chat template drops or reorders messages; use the turn format 'plain'")
        pieces.append(piece)
    start, system_to_user, user_to_assistant, assistant_to_user = pieces
    closing = assistant_to_user.lstrip()
    end = next((t for t in sorted(tokenizer.all_special_tokens, key=len) if closing.startswith(t)), "")
    generation = _answering(tokenizer, text)
    return Turns(
        "chat_template",
        start=start,
        system_to_user=system_to_user,
        user_to_assistant=user_to_assistant,
        assistant_to_user=assistant_to_user,
        generation=generation,
        before_target="",
        end=end,
    )


def _rendered(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    template = tokenizer.get_chat_template()
    asked = {"chat_template": _CALENDAR + template} if "strftime_now" in template else {}
    text: str = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, **asked, **_NO_THOUGHTS
    )
    return text


def _answering(tokenizer: Any, generation: str) -> str:
    """Return the end of a prompt so that the next token is the first of the answer."""
    opened = [found for found in _THOUGHT.finditer(generation) if _closing(found[1]) not in generation[found.end() :]]
    if opened:
        mark = _closing(opened[-1][1])
        if mark not in tokenizer.get_vocab():
            raise ContractError(
                f"the chat template opens a block of thoughts with {opened[-1][1]!r}, and this tokenizer has no token "
                f"{mark!r} to close it, so a reply would not begin with the answer; use the turn format 'plain'"
            )
        return f"{generation.rstrip()}\n\n{mark}\n\n"
    if _CHANNEL in tokenizer.get_vocab() and _CHANNEL not in generation:
        raise ContractError(
            f"this model's replies begin with {_CHANNEL} and thoughts, not with the answer; use the turn format 'plain'"
        )
    return generation


def _closing(mark: str) -> str:
    """Return the mark that ends a block of thoughts."""
    return "◁/think▷" if mark == "◁think▷" else f"{mark[0]}/{mark[1:]}"


def plain_turns(tokenizer: Any) -> Turns:
    """Return the paper's turn markers, after the tokenizer's BOS token if it has one."""
    return Turns(start=(tokenizer.bos_token or "") + "System: ")


def default_contract(tokenizer: Any) -> Contract:
    """Return the contract of a checkpoint without one: the turns of its chat template, or else plain turns."""
    turns = chat_turns(tokenizer) if getattr(tokenizer, "chat_template", None) else plain_turns(tokenizer)
    return Contract(format=Format(turns=turns))
