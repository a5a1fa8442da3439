"""The check that every export must pass: the same scores and tokens as ours on the shipped pairs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rankrag.contract import save_contract
from rankrag.data.runs import read_candidates
from rankrag.encoding import EncodedPrompt
from rankrag.errors import ModelError
from rankrag.models.transformers import TransformersModel
from rankrag.parity.compare import PAIRS
from rankrag.rerank import judge
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

TOLERANCE = 1e-3


Pair = tuple[Question, Passage]


def pairs_to_check(model: TransformersModel, count: int = 5) -> list[Pair]:
    """Return the shipped pairs that other programs can read: without history, with passages that are not truncated."""
    found = [
        (question, c.passage)
        for question, ranking in read_candidates(PAIRS)
        for c in ranking
        if not question.history and question.style != "claim"
    ]
    whole = [pair for pair, e in zip(found, encoded(model, found), strict=True) if not e.truncated]
    return whole[:1] + whole[1 - count :]


def encoded(model: TransformersModel, pairs: Sequence[Pair]) -> list[EncodedPrompt]:
    """Return the ranking prompts of the pairs as the model reads them."""
    return model.encode([ranking_prompt(model.contract.format, *pair) for pair in pairs])


@contextmanager
def made_beside(out: Path, model: TransformersModel) -> Iterator[Path]:
    """Yield a folder with tokenizer and contract, which takes the place of `out` if the block ends without an error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.partial-") as folder:
        whole = Path(folder) / out.name
        whole.mkdir()
        model.tokenizer.save_pretrained(whole)
        save_contract(model.contract, whole)
        yield whole
        os.replace(whole, out)


def check(
    name: str,
    model: TransformersModel,
    pairs: Sequence[Pair],
    scores: list[float],
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Return the largest difference of log-odds; `ModelError` if it is more than rounding."""
    apart = max(abs(a - j.log_odds) for a, j in zip(scores, judge(model, pairs), strict=True))
    if not apart <= tolerance:
        raise ModelError(f"{name}: its log-odds differ from ours by up to {apart:.3g}, so nothing was written")
    return apart
