"""A server with a model without weights, over a small index, asked in this process."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

import rankrag
from rankrag.models.fake import FakeLanguageModel
from rankrag.server.app import Engine, ServerSettings, create_app
from rankrag.server.collections import Collections

SETTINGS = rankrag.AskConfig(retriever="bm25", n=3, k=1)
DOCUMENTS = {
    "tagus.md": "# The Tagus\n\nThe Tagus is the longest river of the Iberian Peninsula. It ends near Lisbon.\n",
    "bread.md": "# Bread\n\nBread is baked from flour, water and salt. Rye bread is dark.\n",
    "chess.md": "# Chess\n\nChess is played on a board of 64 squares. Each side has one king.\n",
}


@pytest.fixture
def corpus(tmp_path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def index(run, corpus, tmp_path) -> Path:
    assert run("index", corpus, "--out", tmp_path / "demo.index", "--no-vectors") == 0
    return tmp_path / "demo.index"


@pytest.fixture
def model() -> FakeLanguageModel:
    """A model that finds relevant what says "longest", and answers with the river's name."""
    return FakeLanguageModel(yes_if="longest", reply="The Tagus")


@pytest.fixture
def serving(tmp_path):
    """Serve these indexes with a model; yields a client that has waited for the model."""

    @contextmanager
    def serve(model, *indexes, wait: bool = True, encoder=None, **settings):
        def engine() -> Engine:
            return Engine(model, encoder, lambda path: rankrag.load(path, SETTINGS, model=model))

        collections = Collections(indexes or (tmp_path / "new.index",), tmp_path / "collections")
        app = create_app(engine, collections, ServerSettings(**settings))
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
            until = time.monotonic() + 20
            while wait and client.get("/ready").status_code != 200:
                assert time.monotonic() < until, client.get("/ready").text
                time.sleep(0.01)
            yield client

    return serve


@pytest.fixture
def client(serving, model, index):
    with serving(model, index) as client:
        yield client
