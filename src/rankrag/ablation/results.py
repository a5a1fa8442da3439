"""What was measured of a row, question by question, so that rows can be compared in pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rankrag.data.files import write_whole
from rankrag.errors import ConfigError, DataError

Measure = Literal["hit@1", "EM", "F1", "loss"]
"""Gold passage in the first place of the model's order; the pipeline's answers; nats a token of held-back replies."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question: BM25's first passage and the model's (1: gold), EM and F1 of the answers from either order."""

    test_set: str
    question: str
    first_hit: float
    hit: float
    first_em: float
    em: float
    first_f1: float
    f1: float


@dataclass(frozen=True, slots=True)
class RowResult:
    """All that is known of a row.

    `key` is the digest of how it was made and tested; `losses` has the mean loss of each instruction's reply, in nats a
    token; `tokens` are those of the forward passes in training, padding included.
    """

    key: str
    machine: str
    tokens: int
    examples: int
    rerank: bool
    tested: tuple[Outcome, ...]
    losses: Mapping[str, float]

    def values(self, measure: Measure, test_set: str | None = None) -> list[float]:
        """Return a measure of every question, of one set or all, or of every instruction for `loss`."""
        if measure == "loss":
            return list(self.losses.values())
        name = {"hit@1": "hit", "EM": "em", "F1": "f1"}[measure]
        if measure != "hit@1" and not self.rerank:
            name = f"first_{name}"
        return [float(getattr(of, name)) for of in self.tested if test_set in (None, of.test_set)]


def save_result(result: RowResult, path: Path) -> None:
    """Write a row's result in one step."""
    write_whole(path, json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")


def load_result(path: Path, key: str) -> RowResult | None:
    """Return the result in a file; None where there is none, or one of another configuration."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        result = RowResult(**found | {"tested": tuple(Outcome(**row) for row in found["tested"])})
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no result of an ablation ({error!r}); delete it to test the row again") from None
    return result if result.key == key else None


def check_pairs(results: Mapping[str, RowResult]) -> None:
    """Raise `ConfigError` unless all rows were tested on the same questions in the same order."""
    asked: dict[str, Sequence[tuple[str, str]]] = {
        name: [*((of.test_set, of.question) for of in r.tested), *(("", i) for i in r.losses)]
        for name, r in results.items()
    }
    first = next(iter(asked), "")
    others = [name for name, of in asked.items() if of != asked[first]]
    if others:
        raise ConfigError(
            f"rows {', '.join(others)} were tested on other questions than {first}: the data changed in between; "
            "delete their files in rows/ and run them again"
        )
