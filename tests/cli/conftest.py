from __future__ import annotations

from pathlib import Path

import pytest

import rankrag.opening
from rankrag.documents.parts import SourcePassages
from rankrag.models.fake import FakeLanguageModel
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage, Source


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of three passages without vectors."""
    passages = tuple(
        Passage(f"rivers.md#{i}", text, "Rivers", Source("rivers.md", heading=heading, start=0, end=len(text)))
        for i, (heading, text) in enumerate(
            [
                ("Tagus", "The Tagus is the longest river of the Iberian Peninsula. It reaches the sea at Lisbon."),
                ("Douro", "The Douro is a river whose valley grows the grapes of port wine."),
                ("Ebro", "The Ebro is the longest river that lies in Spain alone."),
            ]
        )
    )
    path = tmp_path / "index"
    store = PassageStore.create_or_open(path)
    store.put([SourcePassages("rivers.md", "0" * 64, passages)])
    store.refresh()
    return path


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeLanguageModel:
    """A model that finds the Tagus relevant, in the place of any that a command opens."""
    fake = FakeLanguageModel(yes_if="tagus", reply="Tagus")
    monkeypatch.setattr(rankrag.opening, "open_model", lambda *_, **__: fake)
    return fake
