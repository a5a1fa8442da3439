"""What is compared: systems that retrieve, rank and answer in their own way on the same questions."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rankrag.data.sets import PaperSetting
from rankrag.errors import ConfigError, ModelError
from rankrag.evaluation.first_stage import VECTORS
from rankrag.evaluation.work import JudgeFunction
from rankrag.rerank import Judgement
from rankrag.retrieval.encoder import MINILM, Encoder
from rankrag.templates import passage_text
from rankrag.types import Passage, Question

SystemRetriever = Literal["bm25", "dense", "hybrid", "none"]
RankerKind = Literal["none", "model", "cross-encoder", "bi-encoder"]

NOTHING = "none"

SystemSetting = Literal["own", "paper-8b", "paper-70b"]

ENCODERS = {"Dragon": "dragon-plus", "Dragon-multiturn": "dragon-multiturn", "MedCPT": "medcpt"}
"""The paper's first stages, by its name for them: the encoder that searches alone."""

N_OF_70B = 30
"""Passages that the paper reranks at 70B, on every set (section 5.1)."""


@dataclass(frozen=True, slots=True)
class System:
    """One column of a comparison.

    Attributes:
        name: its name in the report.
        model: what answers: rankrag-mini, a directory, a hub id, an address; "none" ranks only.
        ranker: "model" is the one that answers (RankRAG), "none" keeps the first stage's order, "model:NAME" is another
            language model, "cross-encoder:NAME" and "bi-encoder:NAME" are of sentence-transformers.
        retriever: the first stage; "none" is closed book.
        n: passages that are retrieved and reranked.
        k: passages that are answered from.
        pure: order by the language model alone, as the paper does, where its contract gives an encoder a share.
        abstain: whether the answer is withheld below the contract's threshold; the paper withholds nothing.
        ranking_pairs: pairs the model learnt to rank from, where that is what is compared (the paper's figure 4).
        encoder: what makes the vectors of dense and hybrid retrieval, by name; None is all-MiniLM-L6-v2.
        setting: "paper-8b" and "paper-70b" take first stage, N, k and final order from the paper, set by set (`on`).
    """

    name: str
    model: str = "rankrag-mini"
    ranker: str = "model"
    retriever: SystemRetriever = "bm25"
    n: int = 20
    k: int = 5
    pure: bool = False
    abstain: bool = False
    ranking_pairs: int | None = None
    encoder: str | None = None
    setting: SystemSetting = "own"

    def __post_init__(self) -> None:
        own = (self.n, self.k, self.retriever, self.encoder, self.pure) == (20, 5, "bm25", None, False)
        if self.setting != "own" and not own:
            raise ConfigError(
                f"system {self.name!r}: setting: {self.setting} has n, k, retriever, encoder and pure of its own"
            )
        if self.n < 1 or not 1 <= self.k <= self.n:
            raise ConfigError(f"system {self.name!r}: n={self.n}, k={self.k}: n must be at least 1, k between 1 and n")
        kind, name = self.ranked_by
        if kind != NOTHING and not name:
            what = "model: none, so its ranker needs a name" if self.model == NOTHING else "its ranker has no name"
            raise ConfigError(f"system {self.name!r}: {what}; write ranker: model:NAME, or ranker: none")
        if self.retriever == NOTHING and (kind != NOTHING or self.model == NOTHING):
            raise ConfigError(f"system {self.name!r}: closed book (retriever: none) needs a model and ranker: none")
        if self.encoder is not None and self.retriever not in VECTORS:
            raise ConfigError(f"system {self.name!r}: encoder: {self.retriever} needs none; choose dense or hybrid")

    @property
    def ranked_by(self) -> tuple[RankerKind, str]:
        """The kind of ranker and the name of what ranks; "" for "none"."""
        kind, colon, name = self.ranker.partition(":")
        if kind == "model":
            return "model", name if colon else ("" if self.model == NOTHING else self.model)
        if kind == "cross-encoder":
            return "cross-encoder", name
        if kind == "bi-encoder":
            return "bi-encoder", name
        if self.ranker != NOTHING:
            raise ConfigError(
                f"system {self.name!r}: ranker {self.ranker!r} is not known; "
                "choose model, none, model:NAME, cross-encoder:NAME or bi-encoder:NAME"
            )
        return "none", ""

    def on(self, paper: PaperSetting | None) -> System:
        """Return the system as it is on a set that the paper measures like this; `ConfigError` where it does not."""
        if self.setting == "own":
            return self
        if paper is None:
            raise ConfigError(
                f"system {self.name!r}: setting: {self.setting} goes with the sets of the paper alone "
                "(`rankrag evaluate --list` shows which)"
            )
        n = paper.n if self.setting == "paper-8b" else N_OF_70B
        encoder = ENCODERS[paper.retriever]
        return replace(self, retriever="dense", encoder=encoder, n=n, k=paper.k, pure=True, setting="own")

    @property
    def first_stage(self) -> str:
        """The first stage in words: the retriever, and the encoder where one is named."""
        return f"{self.retriever} by {self.encoder}" if self.encoder else self.retriever

    @property
    def models(self) -> frozenset[str]:
        """Names of the language models that it needs."""
        kind, name = self.ranked_by
        return frozenset({self.model, name if kind == "model" else NOTHING} - {NOTHING})

    @property
    def folder(self) -> str:
        """Name of its folder in a set's folder of a run."""
        plain = re.sub(r"[^\w.-]+", "-", self.name).strip("-.")
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:6]
        return f"system-{plain}" if plain == self.name else f"system-{plain}-{digest}"


def check_systems(systems: Sequence[System]) -> None:
    """Raise `ConfigError` where two systems have one name, or there is none."""
    names = [system.name for system in systems]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ConfigError(f"systems: {', '.join(twice)}: given twice" if twice else "systems: none given; name one")


def open_ranker(kind: RankerKind, name: str) -> JudgeFunction:
    """Return what judges pairs by a cross-encoder or a bi-encoder of sentence-transformers; `ModelError` if it cannot.

    A cross-encoder's logit is a log-odds. A bi-encoder's cosine orders, but says nothing of a probability.
    """
    return _cross_encoder(name) if kind == "cross-encoder" else _bi_encoder(name)


def ranker_key(kind: RankerKind, name: str) -> str:
    """Return the name of a ranker's folder: its kind, with a digest of its name and of its folder's files."""
    files = sorted(Path(name).glob("*.safetensors")) if Path(name).is_dir() else []
    of = repr([name, *((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)])
    return f"{kind}-{hashlib.sha256(of.encode()).hexdigest()[:12]}"


def _cross_encoder(name: str) -> JudgeFunction:
    model = _opened("CrossEncoder", name)
    import torch

    if model.num_labels != 1:
        raise ModelError(f"{name}: gives {model.num_labels} scores a pair; a ranker gives one")

    def judge(pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
        texts = [(question.text, passage_text(passage)) for question, passage in pairs]
        logits = model.predict(texts, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return [Judgement(float(x), 1.0 / (1.0 + math.exp(min(-float(x), 700.0)))) for x in logits]

    return judge


def _bi_encoder(name: str) -> JudgeFunction:
    if name == MINILM:  # the one that is installed with rankrag
        packaged = Encoder()
        queries = packaged.encode_queries

        def passages(texts: list[str]) -> np.ndarray:
            return packaged.encode_passages([Passage("", text) for text in texts])

    else:
        model = _opened("SentenceTransformer", name)
        queries = partial(model.encode_query, normalize_embeddings=True, show_progress_bar=False)
        passages = partial(model.encode_document, normalize_embeddings=True, show_progress_bar=False)

    def judge(pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
        asked = _vectors(queries, [question.text for question, _ in pairs])
        read = _vectors(passages, [passage_text(passage) for _, passage in pairs])
        return [Judgement(float(asked[q.text] @ read[passage_text(p)]), 0.0) for q, p in pairs]

    return judge


def _vectors(encode: Callable[[list[str]], np.ndarray], texts: Sequence[str]) -> dict[str, np.ndarray]:
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, encode(distinct), strict=True))


def _opened(kind: Literal["CrossEncoder", "SentenceTransformer"], name: str) -> Any:
    import sentence_transformers

    try:
        return getattr(sentence_transformers, kind)(name)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name}: cannot be opened as a {kind} ({error}); give a directory or a hub id") from None
