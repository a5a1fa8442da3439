"""How many passages early stopping judges, from judgements."""

from __future__ import annotations

from collections.abc import Mapping

from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.work import finals, reordered
from rankrag.rerank import Judgement, settled_after


def settled_top(ids: Ids, judged: Mapping[str, Judgement], k: int, bound: float) -> tuple[int, Ids]:
    """Return how many candidates are judged before the top `k` is settled, and that top."""
    count = settled_after([judged[i].log_odds for i in ids], k, bound)
    return count, reordered(ids[:count], finals(judged))[:k]
