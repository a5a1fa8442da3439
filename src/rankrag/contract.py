"""The scoring contract that travels with a checkpoint: everything a score depends on besides the weights.

Wrong scores of LLM rerankers nearly always come from a template, label or suffix that was lost on the way
(docs/deviations.md). So the checkpoint carries them in `rankrag_config.json`, and every backend reads that file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from rankrag.errors import ContractError
from rankrag.templates import Format, Turns, Wordings

VERSION = 1
FILE_NAME = "rankrag_config.json"

ScoreType = Literal["true", "true_vs_false"]
HistoryQuery = Literal["last", "all", "speakers", "both"]
"""What of a conversation the retriever is asked: its last turn, all turns, all with who said them, or last and all."""


@dataclass(frozen=True, slots=True)
class Contract:
    """How a checkpoint is prompted and how its scores are read.

    Attributes:
        format: turn markers, layout and wordings of every prompt.
        labels: the two words that stand for relevant and not relevant, first tokens of the reply.
        label_ids: their token ids, resolved in context; empty until a tokenizer has been seen.
        score: "true" is P(True) over the vocabulary, the paper's; "true_vs_false" is P(True)/(P(True)+P(False)).
        passage_tokens: a passage is cut to this many tokens, in ranking and in answering.
        max_tokens: longest prompt with its reply.
        abstain_below: the answer is withheld when no passage reaches this log-odds; None never withholds.
        similarity_weight: w of the final order, log-odds + w * cosine of question and passage; 0 is the paper's.
        settled_from: log-odds of the k-th best passage from which judging more changes next to nothing, used where it
            is asked for (`rerank.judge_until_settled`); None where none was found.
        similarity_encoder: name of the encoder whose cosine that is; empty where there is no weight.
        history_query: by which turns a conversation is searched (`pipeline.search_queries`).
        k: passages that an answer is written from where nobody says how many (paper: 5).
        base_sha256: hash of the weights that the adapter belongs to, which others are refused by (`models.base_hash`);
            empty for full checkpoints, and for bases on the hub.
    """

    format: Format = field(default_factory=Format)
    labels: tuple[str, str] = ("True", "False")
    label_ids: tuple[int, ...] = ()
    score: ScoreType = "true_vs_false"
    passage_tokens: int = 320
    max_tokens: int = 4096
    abstain_below: float | None = None
    similarity_weight: float = 0.0
    settled_from: float | None = None
    similarity_encoder: str = ""
    history_query: HistoryQuery = "last"
    k: int = 5
    base_sha256: str = ""
    version: int = VERSION

    def depth(self, n: int, k: int | None = None) -> int:
        """Return how many of `n` passages an answer is written from: `k`, or where it is None as many as fitted."""
        return min(n, self.k) if k is None else k


_RETIRED = {
    "head": "was for ranking from a middle layer, which P(True) replaces; delete it and run `rankrag fit --save` again",
    "layer_head": "is no score any more; set 'score' to 'true_vs_false'",
    "first_stage_weight": "is replaced by 'similarity_weight'; delete it and run `rankrag fit --save` again",
}
"""What replaces the fields and scores that contracts once had."""


def save_contract(contract: Contract, directory: Path) -> None:
    """Write the contract beside the weights in `directory`, atomically."""
    path = directory / FILE_NAME
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(contract), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def load_contract(directory: Path) -> Contract | None:
    """Return the contract of a checkpoint, or None where the directory has none; `ContractError` if it is broken."""
    path = directory / FILE_NAME
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ContractError(f"{path}: not readable as JSON ({error}); get the checkpoint anew") from None
    if not isinstance(found, dict):
        raise ContractError(f"{path}: holds {type(found).__name__}, not an object; get the checkpoint anew")
    version = found.get("version")
    if version != VERSION:
        raise ContractError(
            f"{path}: contract version {version}, this rankrag reads version {VERSION}; "
            "install the rankrag that wrote the checkpoint, or export the checkpoint again"
        )
    for name, instead in _RETIRED.items():
        if name in found or name == found.get("score"):
            raise ContractError(f"{path}: '{name}' {instead}")
    form = _section(path, found, "format", Format)
    wordings = Wordings(**_section(path, form, "wordings", Wordings))
    _check_wordings(path, wordings)
    form["turns"], form["wordings"] = Turns(**_section(path, form, "turns", Turns)), wordings
    contract = Contract(
        **{
            **_checked(path, found, Contract),
            "format": Format(**form),
            "labels": _labels(path, found.get("labels", ["True", "False"])),
            "label_ids": _label_ids(path, found.get("label_ids", [])),
        }
    )
    _check_values(path, contract)
    return contract


def with_label_ids(contract: Contract, ids: Sequence[int]) -> Contract:
    """Return the contract with its label ids filled in; `ContractError` where it already holds other ids."""
    if contract.label_ids and tuple(ids) != contract.label_ids:
        raise ContractError(
            f"labels {contract.labels} are tokens {tuple(ids)} of this tokenizer, but the contract says "
            f"{contract.label_ids}; the tokenizer is not the one the model was trained with"
        )
    return replace(contract, label_ids=tuple(ids))


def _section(path: Path, parent: dict[str, Any], name: str, kind: type) -> dict[str, Any]:
    value = parent.get(name, {})
    if not isinstance(value, dict):
        raise ContractError(f"{path}: '{name}' must be an object (found: {type(value).__name__})")
    return _checked(path, value, kind)


def _checked(path: Path, value: dict[str, Any], kind: type) -> dict[str, Any]:
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(value) - known)
    if unknown:
        raise ContractError(f"{path}: unknown {kind.__name__.lower()} fields {unknown}; known are {sorted(known)}")
    return dict(value)


def _labels(path: Path, value: object) -> tuple[str, str]:
    words = value if isinstance(value, list) else []
    if len(words) != 2 or not all(isinstance(w, str) and w for w in words) or words[0] == words[1]:
        raise ContractError(f"{path}: 'labels' must be two different words, relevant first (found: {value!r})")
    return cast(tuple[str, str], tuple(words))


def _label_ids(path: Path, value: object) -> tuple[int, ...]:
    ids = value if isinstance(value, list) else [None]
    whole = all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids)
    if not whole or (ids and (len(ids) != 2 or ids[0] == ids[1])):
        raise ContractError(f"{path}: 'label_ids' must be two different token ids, or an empty list (found: {value!r})")
    return tuple(ids)


def _check_wordings(path: Path, wordings: Wordings) -> None:
    for name in (f.name for f in fields(Wordings)):
        value = getattr(wordings, name)
        if not isinstance(value, str) or (name != "system" and value.count("{question}") != 1):
            raise ContractError(f"{path}: wording '{name}' must hold {{question}} exactly once (found: {value!r})")


def _check_values(path: Path, contract: Contract) -> None:
    problems = []
    if contract.score not in get_args(ScoreType):
        problems.append(f"'score' is {contract.score!r}, known are {', '.join(map(repr, get_args(ScoreType)))}")
    if contract.format.layout not in ("passage_first", "question_first"):
        problems.append(f"'layout' is {contract.format.layout!r}, known are 'passage_first' and 'question_first'")
    turns, history = contract.format.turns, contract.format.history_turns
    if turns.name not in ("plain", "chat_template"):
        problems.append(f"'turns.name' is {turns.name!r}, known are 'plain' and 'chat_template'")
    texts = {f"turns.{f.name}": getattr(turns, f.name) for f in fields(Turns) if f.name != "name"}
    for name, text in (texts | {"base_sha256": contract.base_sha256}).items():
        if not isinstance(text, str):
            problems.append(f"'{name}' is {text!r}, must be a text")
    if not isinstance(history, int) or isinstance(history, bool) or history < 0:
        problems.append(f"'history_turns' is {history!r}, must be a whole number, 0 or above")
    if contract.history_query not in get_args(HistoryQuery):
        known = ", ".join(get_args(HistoryQuery))
        problems.append(f"'history_query' is {contract.history_query!r}, known are {known}")
    encoder: object = contract.similarity_encoder
    if not isinstance(encoder, str) or (contract.similarity_weight and not encoder):
        problems.append(f"'similarity_encoder' is {encoder!r}, must be the name of the encoder of 'similarity_weight'")
    for name in ("passage_tokens", "max_tokens", "k"):
        value = getattr(contract, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            problems.append(f"'{name}' is {value!r}, must be a whole number above 0")
    for name in ("abstain_below", "similarity_weight", "settled_from"):
        value = getattr(contract, name)
        if value is None and name != "similarity_weight":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            problems.append(f"'{name}' is {value!r}, must be a finite number")
    if problems:
        raise ContractError(f"{path}: " + "; ".join(problems))
