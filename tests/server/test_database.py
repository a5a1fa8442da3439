"""A collection whose index is in a database."""

from __future__ import annotations

import time

from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.homes import open_store
from rankrag.types import Passage, Source


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_index_in_a_database_is_served_and_written_to(serving, model, postgres, tmp_path):
    address = postgres.address(name="Team%20notes")
    with serving(model, address) as client:
        assert client.get("/v1/collections").json()["data"][0]["name"] == "team-notes"
        sent = client.post(
            "/v1/collections/team-notes/documents", files={"files": ("ebro.md", b"# Ebro\n\nThe Ebro is a river.")}
        )
        assert sent.status_code < 300
        until(lambda: client.get("/v1/collections/team-notes/documents").json()["data"])
        stored = tmp_path / "collections" / "team-notes.database" / "index.files" / "ebro.md"
        assert [source.path for source in open_store(address).sources()] == [str(stored)]
        # another machine writes to the same index
        secret = tmp_path / "tagus.md"
        secret.write_text("not for clients")
        own = Passage("t#0", "The Tagus is the longest river.", source=Source(str(secret)))
        open_store(address).put([SourcePassages(str(secret), "0", (own,))])
        until(lambda: "Tagus" in asked(client))
        # its path names a file here, which other writers of the database must not get out of this machine
        listed = client.get("/v1/collections/team-notes/documents").json()["data"]
        (theirs,) = [document["id"] for document in listed if document["name"] == "tagus.md"]
        assert client.get(f"/v1/documents/{theirs}").json()["has_file"] is False
        assert client.get(f"/v1/documents/{theirs}/file").status_code == 404
        assert client.post("/v1/collections/team-notes/reindex").json() == {"queued": 1}


def asked(client):
    message = {"role": "user", "content": "Which is the longest river?"}
    reply = client.post("/v1/chat/completions", json={"model": "rankrag", "messages": [message]})
    return reply.text


def test_a_database_that_goes_away_is_an_error_of_that_question_only(serving, model, own_postgres):
    with serving(model, own_postgres.address()) as client:
        assert "Tagus" not in asked(client)
        own_postgres.stop()
        time.sleep(1.1)  # longer than the server takes an index to be unchanged
        assert "the database cannot be reached or went away" in asked(client)
        own_postgres.start()
        assert client.post("/v1/rerank", json={"query": "river", "documents": ["a"]}).status_code == 200
        assert "cannot be reached" not in asked(client)
