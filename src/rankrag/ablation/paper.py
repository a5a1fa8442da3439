"""The paper's table 3, which the rows stand beside: Llama-3 8B on nine sets."""

from __future__ import annotations

from collections.abc import Mapping

SETS = ("NQ", "TriviaQA", "PopQA", "HotpotQA", "2Wiki", "FEVER", "Doc2Dial", "TopiOCQA", "Inscit")

TABLE_3: Mapping[str, tuple[float, ...]] = {
    "RankRAG 8B": (50.6, 82.9, 57.6, 35.3, 31.4, 92.0, 40.4, 50.4, 33.3),
    "w/o reranking": (48.0, 80.3, 49.3, 31.3, 26.4, 91.1, 39.7, 49.4, 30.9),
    "w/o RQA": (49.4, 82.0, 55.1, 35.6, 31.8, 92.1, 39.4, 46.8, 32.4),
    "w/o RAR": (48.6, 82.2, 56.0, 35.1, 31.2, 91.4, 39.6, 48.6, 33.5),
    "RAFT-style": (43.3, 80.8, 48.9, 30.5, 25.2, 91.2, 36.8, 46.4, 30.1),
    "Stage-I only": (38.3, 63.7, 49.8, 26.5, 18.0, 85.7, 33.3, 33.7, 30.5),
}
"""By row, the first figure of each set (EM, accuracy for FEVER, F1 for conversations), in the order of `SETS`."""


def mean_of_nine(row: str) -> float:
    """Return the mean over the sets, computed: the paper's own last column does not follow one formula."""
    return sum(TABLE_3[row]) / len(SETS)
