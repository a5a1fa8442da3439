"""An encoder without a model, for tests of what uses vectors."""

from __future__ import annotations

import hashlib

import numpy as np

from rankrag.retrieval.encoder import document_text


class StubEncoder:
    """Words hashed into 16 buckets; counts what it encodes."""

    name = "stub@1"
    similarity = "cosine"

    def __init__(self):
        self.encoded = 0

    def encode_passages(self, passages):
        self.encoded += len(passages)
        return self.encode_queries([document_text(passage) for passage in passages])

    def encode_queries(self, texts):
        vectors = np.full((len(texts), 16), 0.01, np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.sha256(word.encode()).digest()[0] % 16] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
