"""How near an encoder finds passages to a question: a second opinion beside the language model's.

A small model is unsure among passages that all look relevant, where a bi-encoder trained on millions of pairs still
tells them apart. So the final order may add a share of its cosine to the log-odds (`Contract.similarity_weight`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from rankrag.retrieval.encoder import Encoder, document_text
from rankrag.types import Passage

KEPT = 16_384
"""Passages whose vectors are kept from question to question: 25 MB of all-MiniLM-L6-v2's."""


Known = Callable[[Sequence[Passage]], Mapping[str, npt.NDArray[np.float32]]]


class Nearness:
    """The cosine of questions and passages by one encoder, and how much of it counts.

    Args:
        encoder: makes the vectors.
        weight: log-odds that a cosine of 1 is worth.
        known: returns the vectors of passages that need not be made, by `document_text`; others are made.
    """

    def __init__(self, encoder: Encoder, weight: float = 1.0, known: Known = lambda _: {}) -> None:
        self.encoder, self.weight, self._known = encoder, weight, known
        self._vectors: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()

    def cosines(self, questions: Sequence[tuple[Sequence[str], Sequence[Passage]]]) -> list[list[float]]:
        """Return the cosine in [-1, 1] of each question's passages, in their order.

        A question has one query or several (`pipeline.search_queries`), whose mean counts.
        """
        self._encode([passage for _, passages in questions for passage in passages])
        asked = list(dict.fromkeys(query for queries, _ in questions for query in queries))
        # one at a time: in a batch with padding a cosine changes by up to 0.0013, and so does the order
        found = {query: unit(self.encoder.encode_queries([query]))[0] for query in asked}
        rows = []
        for queries, passages in questions:
            query = np.mean([found[text] for text in queries], axis=0)
            rows.append([float(self._vectors[document_text(passage)] @ query) for passage in passages])
        while len(self._vectors) > KEPT:
            self._vectors.popitem(last=False)
        return rows

    def added(self, queries: Sequence[str], passages: Sequence[Passage]) -> list[float]:
        """Return what is added to the log-odds of each passage of one question."""
        (row,) = self.cosines([(queries, passages)])
        return [self.weight * cosine for cosine in row]

    def _encode(self, passages: Sequence[Passage]) -> None:
        """Make the vectors that are missing, and move those that are wanted to the end of what is dropped first."""
        by_text = {document_text(passage): passage for passage in passages}
        fresh = {text: passage for text, passage in by_text.items() if text not in self._vectors}
        known = self._known(list(fresh.values())) if fresh else {}
        self._vectors |= {text: unit(vector) for text, vector in known.items()}
        made = {text: passage for text, passage in fresh.items() if text not in known}
        if made:
            self._vectors |= zip(made, unit(self.encoder.encode_passages(list(made.values()))), strict=True)
        for text in by_text:
            self._vectors.move_to_end(text)


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return vectors, `[…, dim]`, with length one."""
    found: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)
    return found
