"""Dev figures: how a run does on held-out questions, measured while it goes on.

Ranking is measured by the order of labelled passages, answering by the loss and by the share of answers that greedy
decoding would give word for word. Parameters, optimiser and random state stay as they are.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from rankrag.blend.sources import document_of, is_drawn
from rankrag.config.training import DevSettings
from rankrag.data.examples import read_examples
from rankrag.training.batches import IGNORE, Batch
from rankrag.training.loss import RowModel
from rankrag.types import DataKind, Example

Key = tuple[str, str]
"""A question: its source and its id."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which examples are learnt and which are held out; nothing held out is learnt.

    A `share` of the documents is held out, with the `questions` that they answer. By default everything is learnt.
    """

    share: float = 0.0
    questions: frozenset[Key] = frozenset()

    def learns(self, example: Example) -> bool:
        """Whether a run may see the example: neither its question nor any of its documents is held out."""
        return _key(example) not in self.questions and not any(_held(p.id, self.share) for p in example.contexts)

    def measures(self, example: Example) -> bool:
        """Whether the example belongs to a held-out question."""
        return _key(example) in self.questions


@dataclass(frozen=True, slots=True)
class DevReading:
    """How the model did on one example.

    `loss` is summed over the target's tokens; `exact` says that greedy decoding would write this target. A ranking
    example also has the number of its question, the log-odds, and whether the passage is relevant.
    """

    kind: DataKind
    loss: float
    tokens: int
    exact: bool
    group: int = -1
    log_odds: float = 0.0
    relevant: bool = False


def split_of(settings: DevSettings | None, blend: Path) -> Split:
    """Return what a blend holds out: nothing if no dev figures are wanted, or if they have their own file."""
    if settings is None or settings.examples is not None:
        return Split()
    share = settings.share
    return Split(share, frozenset(_key(e) for e in read_examples(blend) if _held(_anchor(e), share)))


def dev_examples(settings: DevSettings, blend: Path, split: Split) -> list[Example]:
    """Return the examples to measure: all passages of `ranking` questions, and `answers` examples of other kinds.

    Only their names decide which, so that two blends with the same questions are measured on the same examples.
    """
    found = list(
        read_examples(Path(settings.examples)) if settings.examples else filter(split.measures, read_examples(blend))
    )
    ranking = [e for e in found if e.kind is DataKind.CONTEXT_RANKING]
    labels: dict[Key, set[str]] = defaultdict(set)
    for example in ranking:
        labels[_key(example)].add(example.target)
    # questions with passages of both labels first: only they have an order
    chosen = set(sorted(labels, key=lambda key: (len(labels[key]) < 2, _digest("/".join(key))))[: settings.ranking])
    others = sorted(
        (e for e in found if e.kind is not DataKind.CONTEXT_RANKING),
        key=lambda e: _digest("/".join((*_key(e), e.kind))),
    )
    return [e for e in ranking if _key(e) in chosen] + others[: settings.answers]


@torch.no_grad()
def read_dev(model: RowModel, batch: Batch, label_ids: Sequence[int]) -> list[DevReading]:
    """Return the reading of each example of a batch; `label_ids` are those of relevant and irrelevant."""
    logits = model(batch).float()
    labels = batch.labels[:, 1:]
    targets = labels[labels != IGNORE]
    losses = cross_entropy(logits, targets, reduction="none").double()
    odds = logits[:, label_ids[0]] - logits[:, label_ids[1]]
    columns = (losses, logits.argmax(-1) == targets, odds, targets)
    # the label of a ranking example is the first of its target's tokens
    return [
        DevReading(
            kind=target.kind,
            loss=float(loss.sum()),
            tokens=target.tokens,
            exact=bool(right.all()),
            group=target.group,
            log_odds=float(odd[0]),
            relevant=bool(token[0] == label_ids[0]),
        )
        for target, loss, right, odd, token in zip(batch.targets, *map(batch.by_target, columns), strict=True)
    ]


def figures(readings: Sequence[DevReading]) -> dict[str, float]:
    """Return the figures by name, without those that the examples do not allow.

    `dev_auc`: share of (relevant, irrelevant) pairs in the right order. `dev_hit@1`: share of questions with passages
    of both labels whose best passage is relevant; a tie is a miss. `dev_exact`: share of answers that greedy decoding
    gives word for word. `dev_loss_…`: mean loss of a target token.
    """
    found: dict[str, float | None] = {}
    ranked = [r for r in readings if r.group >= 0]
    found["dev_auc"] = auc([r.log_odds for r in ranked if r.relevant], [r.log_odds for r in ranked if not r.relevant])
    found["dev_hit@1"] = _mean(_hits(ranked))
    found["dev_exact"] = _mean([float(r.exact) for r in readings if r.group < 0])
    for kind in DataKind:
        of_kind = [r for r in readings if r.kind is kind]
        tokens = sum(r.tokens for r in of_kind)
        found[f"dev_loss_{kind}"] = math.fsum(r.loss for r in of_kind) / tokens if tokens else None
    return {name: round(value, 6) for name, value in found.items() if value is not None}


def auc(relevant: Sequence[float], others: Sequence[float]) -> float | None:
    """Return the share of pairs in which the relevant one scores higher, ties as half; None without pairs."""
    pairs = [(a > b) + 0.5 * (a == b) for a in relevant for b in others]
    return _mean(pairs)


def _hits(ranked: Iterable[DevReading]) -> list[float]:
    of: dict[int, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for reading in ranked:
        of[reading.group][0 if reading.relevant else 1].append(reading.log_odds)
    return [float(max(good) > max(bad)) for good, bad in of.values() if good and bad]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _anchor(example: Example) -> str:
    """Return the id of the passage that answers the question, if this example shows it, else the question's name."""
    alone = example.kind is DataKind.CONTEXT_QA or (
        example.kind is DataKind.CONTEXT_RANKING and example.target == "True"
    )
    if alone:
        return example.contexts[0].id
    return "" if example.contexts else "/".join(_key(example))


def _held(name: str, share: float) -> bool:
    return bool(name) and is_drawn(f"dev/{document_of(name) or name}", share)


def _key(example: Example) -> Key:
    return example.source, example.question.id


def _digest(name: str) -> str:
    return hashlib.sha256(f"dev/{name}".encode()).hexdigest()
