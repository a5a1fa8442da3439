"""A question walks downhill: few changes of module from `ask` to the answer, and no way back up."""

from __future__ import annotations

import pytest

from experiments.walk import back_up, changes_of
from rankrag.config.answering import AskConfig
from rankrag.documents.parts import SourcePassages
from rankrag.opening import load
from rankrag.retrieval.fusion import search
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage
from tests.test_layers import height


@pytest.fixture
def rag(tiny_model_dir, tmp_path):
    store = PassageStore.create_or_open(tmp_path / "index")
    passages = tuple(Passage(f"p{i}", f"The river number {i} is long.") for i in range(6))
    store.put([SourcePassages("rivers.txt", "1", passages)])
    store.refresh()
    config = AskConfig(model=str(tiny_model_dir), retriever="bm25", dtype="float32", n=4, k=2)
    return load(tmp_path / "index", config)


def test_a_question_changes_the_module_at_most_12_times_and_never_goes_back_up(rag):
    changes = changes_of(lambda: rag.ask("Which river is long?"))
    way = [f"{c.caller} → {c.called}.{c.function}" for c in changes]
    assert 8 <= len(way) <= 12, way
    assert back_up(changes, height) == []
    assert {"retrieval", "rerank", "models", "generate", "citations"} <= {c.called for c in changes}


def test_a_way_back_up_is_seen(rag):
    class Climbing:
        def retrieve(self, queries, k):
            rag.ask(queries[0])
            return [()]

    changes = changes_of(lambda: search(Climbing(), [("Which river is long?",)], 1))
    assert ("retrieval", "pipeline") in [(c.caller, c.called) for c in back_up(changes, height)]
