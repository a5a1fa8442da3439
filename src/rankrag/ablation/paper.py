"""The paper's table 3, which the rows stand beside: Llama-3 8B on nine sets."""

from __future__ import annotations

from collections.abc import Mapping

from rankrag.evaluation.paper import PaperTable, paper_table

SETS = ("NQ", "TriviaQA", "PopQA", "HotpotQA", "2Wiki", "FEVER", "Doc2Dial", "TopiOCQA", "Inscit")

_PRINTED = {
    "RankRAG 8B": "RankRAG 8B",
    "w/o reranking": "w/o reranking at test",
    "w/o RQA": "w/o RQA data",
    "w/o RAR": "w/o RAR data",
    "RAFT-style": "RAFT-style (each passage alone, RA-DIT)",
    "Stage-I only": "Stage-I only",
}
"""What the paper calls each row."""


def _first_figures(table: PaperTable) -> dict[str, tuple[float, ...]]:
    columns = [column for column in table.columns if column.name != "Avg"]
    found = {}
    for row, printed in _PRINTED.items():
        values = [table.value(printed, column.name, column.metrics[0]) for column in columns]
        found[row] = tuple(value for value in values if value is not None)
    return found


TABLE_3: Mapping[str, tuple[float, ...]] = _first_figures(paper_table("table3"))
"""By row, the first figure of each set (EM, accuracy for FEVER, F1 for conversations), in the order of `SETS`."""


def mean_of_nine(row: str) -> float:
    """Return the mean over the sets, computed: the paper's own last column does not follow one formula."""
    return sum(TABLE_3[row]) / len(SETS)
