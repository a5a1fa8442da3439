"""Uploads are read beside answering, and their vectors made in the model's queue, behind all questions."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rankrag.models.fake import FakeLanguageModel
from rankrag.retrieval.store import PassageStore
from rankrag.server.indexing import Indexer
from rankrag.server.metrics import Metrics
from rankrag.server.scheduler import Scheduler
from rankrag.server.uploads import Event, Uploads
from tests.stub_encoder import StubEncoder


class LoopScheduler(Scheduler):
    """Notes whether calls were made in the background."""

    def call(self, function, ticket, *, background=False):
        self.calls = [*getattr(self, "calls", ()), background]
        return super().call(function, ticket, background=background)


@pytest.fixture
def loop():
    """An event loop in a thread of its own, as a server has one."""
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


@pytest.fixture
def scheduler():
    made = LoopScheduler(FakeLanguageModel(), Metrics())
    yield made
    if made._thread.is_alive():
        made.stop(5)


@pytest.fixture
def store(tmp_path):
    return PassageStore.create_or_open(tmp_path / "own.index", lock_timeout=0.0)


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "note.md"
    path.write_text("# Weir\n\nThe weir is wide.\n", encoding="utf-8")
    return path


def never():
    return False


def test_vectors_of_an_upload_are_made_in_the_background(scheduler, loop, store, note):
    scheduler.start()
    told, encoder = [], StubEncoder()
    Indexer(scheduler, encoder, loop).index(store, note, told.append, never)
    assert told == [Event("note.md", "reading"), Event("note.md", "indexed")]
    assert scheduler.calls == [True]
    assert (encoder.encoded, store.missing_vectors()) == (1, 0)


def test_a_server_that_stops_leaves_the_vectors_for_its_next_start(scheduler, loop, store, note, caplog):
    reading = iter(range(100))  # the queue is not worked on: only the stop ends the wait
    Indexer(scheduler, StubEncoder(), loop).index(store, note, [].append, lambda: next(reading) > 3)
    assert store.missing_vectors() == 1
    assert "the rest gets its vectors at the next start" in caplog.text


def test_a_file_that_is_gone_leaves_the_index(store, note):
    told, indexer = [], Indexer(None, None, None)
    indexer.index(store, note, told.append, never)
    note.unlink()
    indexer.index(store, note, told.append, never)
    assert told[-1] == Event("note.md", "removed")
    assert len(store) == 0


def test_an_index_that_another_process_writes_is_named(store, note):
    told = []
    with PassageStore.open(store._path)._locked("write"):
        Indexer(None, None, None).index(store, note, told.append, never)
    assert told[-1].state == "failed"
    assert "another process is writing" in told[-1].detail


def test_a_fault_of_a_reader_fails_its_file_and_is_in_the_log(note, caplog):
    told = []
    Indexer(None, None, None).index(object(), note, told.append, never)
    assert told[-1] == Event("note.md", "failed", "a fault of rankrag (AttributeError); the log says more")
    assert "a fault of the reader" in caplog.text


def test_who_watches_hears_what_is_known_and_then_what_happens(tmp_path):
    uploads = Uploads(tmp_path, lambda path, tell, stopped: tell(Event(path.name, "indexed")))

    async def watch():
        events = uploads.events()
        before = [await anext(events), await anext(events)]
        uploads.queue([tmp_path / "b.md"])
        after = [await anext(events), await anext(events)]
        await events.aclose()
        return before, after

    uploads._tell(Event("a.md", "failed", "empty"))
    before, after = asyncio.run(watch())
    assert before == [Event("a.md", "failed", "empty"), None]
    assert after == [Event("b.md", "queued"), Event("b.md", "indexed")]
    assert not uploads._watchers
    uploads.close()


def test_a_watcher_whose_loop_is_closed_is_forgotten(tmp_path):
    uploads, loop = Uploads(tmp_path, lambda *_: None), asyncio.new_event_loop()
    uploads._watchers.add((loop, asyncio.Queue()))
    loop.close()
    uploads._tell(Event("a.md", "queued"))
    assert not uploads._watchers
    uploads.close()


def test_what_a_killed_upload_left_is_removed_and_what_was_stored_is_read(tmp_path):
    read = threading.Event()
    folder = tmp_path / "files"
    folder.mkdir()
    left = folder / ".x.partial"
    left.touch()
    uploads = Uploads(folder, lambda path, *_: read.set() if path == folder else None)
    uploads.start()
    assert read.wait(10)
    assert not left.exists()
    uploads.close()
