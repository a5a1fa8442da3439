"""When memory runs out: the same work in halves, down to one prompt."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from rankrag.errors import ModelError

T = TypeVar("T")
R = TypeVar("R")

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


def in_halves(
    work: list[T],
    run: Callable[[list[T]], list[R]],
    *,
    split: Callable[[T], list[T]] = lambda piece: [piece],
    on_shortage: Callable[[], None] = lambda: None,
) -> list[R]:
    """Return the results of `run` on the work, halving the work as often as memory runs out.

    Args:
        work: pieces that go through the model together.
        run: may run out of memory.
        split: the parts of a piece that is too large even alone; the piece itself if it has none.
        on_shortage: called each time before the halves are tried.

    Raises:
        ModelError: one prompt alone does not fit.
    """
    try:
        return run(work)
    except (RuntimeError, MemoryError) as error:
        if not _is_shortage(error):
            raise
        reason = (str(error).strip().splitlines() or ["no memory"])[0][:200]
    # outside of the handler: until that ends, the error keeps the tensors of the failed pass alive
    pieces = work if len(work) > 1 else split(work[0])
    if len(pieces) == 1:
        raise ModelError(
            f"memory does not suffice for one prompt alone ({reason}); take --dtype bfloat16, a smaller model, "
            "or shorter passages (passage_tokens in rankrag_config.json)"
        )
    on_shortage()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(pieces) // 2
    return [
        result
        for half in (pieces[:middle], pieces[middle:])
        for result in in_halves(half, run, split=split, on_shortage=on_shortage)
    ]


def _is_shortage(error: Exception) -> bool:
    """Whether memory ran out; for a CPU, torch raises a plain `RuntimeError` whose text says so."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or any(sign in str(error).lower() for sign in _SIGNS)
