"""A collection whose index is in a bucket."""

from __future__ import annotations

import time

from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.homes import open_store
from rankrag.types import Passage, Source

from .test_database import asked, until


def test_an_index_in_a_bucket_is_served_written_to_and_moved_on(serving, model, s3, tmp_path, monkeypatch):
    address = "s3://team/served/Team notes"
    with serving(model, address) as client:
        assert client.get("/v1/collections").json()["data"][0]["name"] == "team-notes"
        sent = client.post(
            "/v1/collections/team-notes/documents", files={"files": ("ebro.md", b"# Ebro\n\nThe Ebro is a river.")}
        )
        assert sent.status_code < 300
        until(lambda: client.get("/v1/collections/team-notes/documents").json()["data"])
        monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "another machine"))
        own = Passage("t#0", "The Tagus is the longest river.", source=Source("/theirs/tagus.md"))
        open_store(address).put([SourcePassages("/theirs/tagus.md", "0", (own,))])
        monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "cache"))
        time.sleep(1.1)  # longer than the server takes an index to be unchanged
        until(lambda: "Tagus" in asked(client))
