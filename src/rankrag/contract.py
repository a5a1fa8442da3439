"""The scoring contract that travels with a checkpoint: everything a score depends on besides the weights.

Wrong scores of LLM rerankers nearly always come from a template, label or suffix that was lost on the way
(docs/deviations.md). So the checkpoint carries them in `rankrag_config.json`, and every backend reads that file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from rankrag.errors import ContractError
from rankrag.retired import FIELDS
from rankrag.templates import Format, Turns, Wordings

VERSION = 1
FILE_NAME = "rankrag_config.json"

ScoreType = Literal["true", "true_vs_false"]
HistoryQuery = Literal["last", "all", "speakers", "both"]
"""What to search for in a conversation: its last turn, all turns, all with their speakers, or last and all."""


def _labels(words: tuple[str, str]) -> tuple[str, str]:
    if words[0] == words[1] or not all(words):
        raise ValueError("must be two different words, relevant first")
    return words


def _label_ids(ids: tuple[int, ...]) -> tuple[int, ...]:
    if ids and (len(ids) != 2 or ids[0] == ids[1] or min(ids) < 0):
        raise ValueError("must be two different token ids, or an empty list")
    return ids


def _format(form: Format) -> Format:
    if form.history_turns < 0:
        raise ValueError("'history_turns' must be 0 or above")
    for name, wording in asdict(form.wordings).items():
        if name != "system" and wording.count("{question}") != 1:
            raise ValueError(f"wording '{name}' must hold {{question}} exactly once")
    return form


@dataclass(frozen=True, slots=True)
class Contract:
    """How a checkpoint is prompted and how its scores are read.

    Attributes:
        format: turn markers, layout and wordings of every prompt.
        labels: the words for relevant and not relevant; each is the first token of a reply.
        label_ids: their token ids in that place; empty until a tokenizer is known.
        score: "true" is P(True) over the vocabulary, the paper's; "true_vs_false" is P(True)/(P(True)+P(False)).
        passage_tokens: a passage is cut to this many tokens, in ranking and in answering.
        max_tokens: longest prompt, with its reply.
        abstain_below: the answer is withheld if no passage reaches this log-odds; None never withholds.
        similarity_weight: w of the final score, log-odds + w * cosine of question and passage; 0 in the paper.
        settled_from: once the best passage reaches this log-odds, judging more changes next to nothing
            (`rerank.judge_until_settled`); None if no such bound was found.
        similarity_encoder: name of the encoder of that cosine; empty if the weight is 0.
        history_query: which turns of a conversation are searched for (`pipeline.search_queries`).
        k: default number of passages to answer from (paper: 5).
        base_sha256: hash of the weights that the adapter belongs to; other weights are refused (`models.loading`).
            Empty for full checkpoints, and for bases on the hub.
        version: of this format.
    """

    format: Annotated[Format, AfterValidator(_format)] = field(default_factory=Format)
    labels: Annotated[tuple[str, str], AfterValidator(_labels)] = ("True", "False")
    label_ids: Annotated[tuple[int, ...], AfterValidator(_label_ids)] = ()
    score: ScoreType = "true_vs_false"
    passage_tokens: Annotated[int, Field(ge=1)] = 320
    max_tokens: Annotated[int, Field(ge=1)] = 4096
    abstain_below: float | None = None
    similarity_weight: float = 0.0
    settled_from: float | None = None
    similarity_encoder: str = ""
    history_query: HistoryQuery = "last"
    k: Annotated[int, Field(ge=1)] = 5
    base_sha256: str = ""
    version: int = VERSION

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


def save_contract(contract: Contract, directory: Path) -> None:
    """Write the contract beside the weights in `directory`, atomically."""
    path = directory / FILE_NAME
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(contract), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def load_contract(directory: Path) -> Contract | None:
    """Return the contract of a checkpoint, or None if the directory has none; `ContractError` names all mistakes."""
    path = directory / FILE_NAME
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise ContractError(f"{path}: not readable as JSON ({error}); get the checkpoint again") from None
    if not isinstance(found, dict):
        raise ContractError(f"{path}: holds {type(found).__name__}, not an object; get the checkpoint again")
    _refuse_other_formats(path, found)
    try:
        contract = _reader().validate_json(text)
    except ValidationError as error:
        problems = "; ".join(_problem(e) for e in error.errors())
        raise ContractError(f"{path}: {problems}; correct the file or get the checkpoint again") from None
    if contract.similarity_weight and not contract.similarity_encoder:
        raise ContractError(
            f"{path}: 'similarity_encoder' is empty, but must be the name of the encoder of 'similarity_weight'; "
            "run `rankrag fit --save` again"
        )
    return contract


def with_label_ids(contract: Contract, ids: Sequence[int]) -> Contract:
    """Return the contract with its label ids filled in; `ContractError` if it already holds other ids."""
    if contract.label_ids and tuple(ids) != contract.label_ids:
        raise ContractError(
            f"labels {contract.labels} are tokens {tuple(ids)} of this tokenizer, but the contract says "
            f"{contract.label_ids}; the tokenizer is not the one the model was trained with"
        )
    return replace(contract, label_ids=tuple(ids))


def _refuse_other_formats(path: Path, found: dict[str, Any]) -> None:
    version = found.get("version")
    if version != VERSION:
        raise ContractError(
            f"{path}: contract version {version}, this rankrag reads version {VERSION}; "
            "install the rankrag that wrote the checkpoint, or export the checkpoint again"
        )
    for name, instead in FIELDS.items():
        if name in found or name == found.get("score"):
            raise ContractError(f"{path}: '{name}' {instead}")


@cache
def _reader() -> TypeAdapter[Contract]:
    return TypeAdapter(Contract)


_PARTS = {(): Contract, ("format",): Format, ("format", "turns"): Turns, ("format", "wordings"): Wordings}


def _problem(error: Any) -> str:
    """Return one mistake in a contract as a clause: where it is, what was found, and what must be there."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "unexpected_keyword_argument":
        known = ", ".join(sorted(f.name for f in fields(_PARTS[error["loc"][:-1]])))
        return f"unknown field '{place}', known are {known}"
    must = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    shown = "" if place == "format" else f" is {error['input']!r}"
    return f"'{place}'{shown}: {must}"
