"""What an encoder adds to the judgements of a set, its cosines asked once and kept in a journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rankrag.contract import HistoryQuery
from rankrag.data.journal import append_rows, read_journal
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Judged
from rankrag.evaluation.first_stage import BATCH, Ids
from rankrag.evaluation.work import Judgements, with_cosines
from rankrag.pipeline import search_queries
from rankrag.retrieval.nearness import Nearness
from rankrag.types import Passage

Cosines = dict[str, dict[str, float]]
"""By question id, then by passage id."""


class NearnessWork:
    """The cosines of one set by one encoder, in `nearness-HISTORY-ENCODER.jsonl` of the set's folder."""

    def __init__(
        self,
        nearness: Nearness,
        history: HistoryQuery,
        passages: Mapping[str, Passage],
        folder: Path,
        title: str,
        progress: Progress = quiet,
    ) -> None:
        """Read what was done before; `history` is by which turns the set is searched."""
        self._nearness, self._history, self._passages = nearness, history, passages
        self._path = folder / f"nearness-{history}-{nearness.encoder.name}.jsonl"
        self._title, self._progress = title, progress
        self._found: Cosines = {}
        for row in read_journal(self._path):
            self._found.setdefault(row["id"], {}).update(row["cosines"])

    def cosines(self, wanted: Sequence[tuple[Judged, Ids]]) -> Cosines:
        """Return the cosine of each question and these passages of it."""
        missing = [(of, [i for i in ids if i not in self._found.get(of.question.id, {})]) for of, ids in wanted]
        todo = [(of, ids) for of, ids in missing if ids]
        for start in range(0, len(todo), BATCH):
            batch = todo[start : start + BATCH]
            asked = [
                (search_queries(of.question, self._history), [self._passages[i] for i in ids]) for of, ids in batch
            ]
            fresh = {
                of.question.id: {i: round(c, 6) for i, c in zip(ids, row, strict=True)}
                for (of, ids), row in zip(batch, self._nearness.cosines(asked), strict=True)
            }
            append_rows(self._path, [{"id": name, "cosines": row} for name, row in fresh.items()])
            for name, row in fresh.items():
                self._found.setdefault(name, {}).update(row)
            self._progress(f"{self._title}: comparing vectors", start + len(batch), len(todo))
        return {of.question.id: {i: self._found[of.question.id][i] for i in ids} for of, ids in wanted if ids}

    def added(self, judged: Judgements, wanted: Sequence[tuple[Judged, Ids]]) -> Judgements:
        """Return the judgements of these passages with what their nearness adds."""
        return blended(judged, self.cosines(wanted), self._nearness.weight)


def blended(judged: Judgements, cosines: Cosines, weight: float) -> Judgements:
    """Return a set's judgements to which each passage's cosine adds `weight` times itself."""
    return {name: with_cosines(of, cosines.get(name, {}), weight) for name, of in judged.items()}
