from __future__ import annotations

import threading

import pytest

from rankrag.documents import indexing as documents_indexing
from rankrag.retrieval.store import PassageStore
from rankrag.server.indexing import Indexer
from rankrag.server.uploads import Event, Uploads


def test_closing_ends_after_the_file_that_is_read_and_leaves_the_rest_queued(tmp_path):
    begun, go_on, read = threading.Event(), threading.Event(), []

    def index(path, tell, stopped):
        begun.set()
        go_on.wait(10)
        read.append(path.name)
        tell(Event(path.name, "indexed"))

    uploads = Uploads(tmp_path, index)
    uploads.queue([tmp_path / f"{n}.md" for n in range(5)])
    assert begun.wait(10)
    closing = threading.Thread(target=uploads.close)
    closing.start()
    while not uploads._stopping.is_set():
        pass
    go_on.set()
    closing.join(10)
    assert not closing.is_alive()
    assert read == ["0.md"]
    assert [event.name for event in uploads.pending()] == ["1.md", "2.md", "3.md", "4.md"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "own.files"
    folder.mkdir()
    for n in range(30):
        (folder / f"{n:02}.md").write_text(f"# Note {n}\n\nThe river number {n} is long.\n")
    return folder


def test_a_folder_is_left_after_the_file_that_is_read_and_resumed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(documents_indexing, "BATCH_PASSAGES", 1)  # each file is committed by itself
    store, told, looks = PassageStore.create_or_open(tmp_path / "own.index"), [], iter(range(100))
    indexer = Indexer(None, None, None)
    indexer.index(store, folder, told.append, lambda: next(looks) >= 4)
    stored = len(store.sources())
    assert 0 < stored < 30
    assert told[-1] == Event("own.files", "queued")
    indexer.index(store, folder, told.append, lambda: False)
    assert len(store.sources()) == 30
    assert told[-1] == Event("own.files", "indexed")
