from __future__ import annotations

import json
import time

import pytest

from rankrag.data.rows import parse_row
from tests.server.conftest import DOCUMENTS

UPLOADED = "# Duero\n\nThe Duero is a longest-winded river that ends at Porto.\n"


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def listed(client, collection="demo"):
    return client.get(f"/v1/collections/{collection}/documents").json()["data"]


def pending(client, collection="demo"):
    return client.get(f"/v1/collections/{collection}/documents").json()["pending"]


def names(client, collection="demo"):
    return [d["name"] for d in listed(client, collection)]


def upload(client, name, content, collection="demo"):
    files = [("files", (name, content))]
    return client.post(f"/v1/collections/{collection}/documents", files=files)


def test_an_upload_can_be_asked_soon_after(client):
    response = upload(client, "duero.md", UPLOADED)
    assert response.status_code == 202
    assert response.json()["files"][0]["state"] == "queued"
    until(lambda: "duero.md" in names(client))
    body = {"messages": [{"role": "user", "content": "Where does the Duero end?"}]}

    def found():
        passages = client.post("/v1/chat/completions", json=body).json()["rankrag"]["passages"]
        return any("Porto" in p["text"] for p in passages)

    until(found)


def test_a_second_upload_of_a_name_replaces_the_first(client):
    upload(client, "duero.md", UPLOADED)
    until(lambda: "duero.md" in names(client))
    upload(client, "duero.md", UPLOADED.replace("Porto", "Vigo"))

    def text():
        (one,) = [d for d in client.get("/v1/collections/demo/documents").json()["data"] if d["name"] == "duero.md"]
        return client.get(f"/v1/documents/{one['id']}").json()["passages"][0]["text"]

    until(lambda: "Vigo" in text())


def test_a_file_that_cannot_be_read_says_why(client):
    upload(client, "broken.pdf", b"not a pdf")
    failed = until(lambda: [event for event in pending(client) if event["state"] == "failed"])
    assert failed[0]["name"] == "broken.pdf"
    assert failed[0]["detail"]


@pytest.mark.parametrize("name", ["../../etc/passwd.md", "..\\..\\x.md", "/abs/x.md", "a\x00b.md", "x" * 400 + ".md"])
def test_an_uploads_name_never_leaves_the_collections_folder(client, tmp_path, name):
    before = {p for p in tmp_path.rglob("*") if p.is_file()}
    response = upload(client, name, UPLOADED)
    assert response.status_code in (202, 400, 422)
    until(
        lambda: (
            not [p for p in client.get("/v1/collections/demo/documents").json()["pending"] if p["state"] == "queued"]
        )
    )
    new = {p for p in tmp_path.rglob("*") if p.is_file()} - before
    outside = [p for p in new if p.suffix == ".md" and p.parent != tmp_path / "demo.index.files"]
    assert outside == []


def test_an_empty_upload_is_refused_and_leaves_nothing(client, tmp_path):
    (event,) = upload(client, "empty.md", b"").json()["files"]
    assert event["state"] == "failed"
    assert list((tmp_path / "demo.index.files").iterdir()) == []


def test_a_document_is_listed_read_and_taken_out(client, corpus):
    (tagus,) = [d for d in client.get("/v1/collections/demo/documents").json()["data"] if d["name"] == "tagus.md"]
    read = client.get(f"/v1/documents/{tagus['id']}").json()
    assert read["passages"][0]["text"] in DOCUMENTS["tagus.md"]
    assert client.delete(f"/v1/collections/demo/documents/{tagus['id']}").json()["passages"] == 1
    assert "tagus.md" not in names(client)
    assert (corpus / "tagus.md").exists(), "the person's own file stays"


def test_the_original_is_a_download_and_never_active_html(client, corpus, run, tmp_path):
    (corpus / "page.html").write_text("<html><body><script>alert(1)</script><p>The longest river.</p></body></html>")
    assert run("index", corpus, "--out", tmp_path / "demo.index", "--no-vectors") == 0
    found = until(
        lambda: [d for d in client.get("/v1/collections/demo/documents").json()["data"] if d["name"] == "page.html"]
    )
    response = client.get(f"/v1/documents/{found[0]['id']}/file")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("id_", ["x", "..%2F..%2Fetc%2Fpasswd", "0" * 20, "%00"])
def test_no_address_names_a_file_that_is_not_indexed(client, id_):
    assert client.get(f"/v1/documents/{id_}").status_code == 404
    assert client.get(f"/v1/documents/{id_}/file").status_code == 404


def test_collections_are_made_asked_and_deleted(client, tmp_path):
    assert client.post("/v1/collections", json={"name": "notes"}).status_code == 201
    assert client.post("/v1/collections", json={"name": "notes"}).status_code == 400
    upload(client, "duero.md", UPLOADED, "notes")
    until(lambda: names(client, "notes") == ["duero.md"])
    assert client.delete("/v1/collections/notes").status_code == 200
    assert not (tmp_path / "collections" / "notes").exists()
    assert client.get("/v1/collections/notes/documents").status_code == 404


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "x" * 70, "é"])
def test_a_collections_name_cannot_be_a_path(client, name):
    assert client.post("/v1/collections", json={"name": name}).status_code in (400, 422)


def test_an_index_that_was_given_to_the_server_is_not_deleted(client, index):
    assert client.delete("/v1/collections/demo").status_code == 400
    assert index.is_dir()


def test_a_change_by_another_process_is_seen(client, corpus, run, tmp_path):
    (corpus / "new.md").write_text("# New\n\nThe longest bridge crosses the Tagus.\n")
    assert run("index", corpus, "--out", tmp_path / "demo.index", "--no-vectors") == 0
    until(lambda: "new.md" in names(client))
    body = {"messages": [{"role": "user", "content": "Which bridge is the longest?"}]}

    def asked():
        passages = client.post("/v1/chat/completions", json=body).json()["rankrag"]["passages"]
        return any("bridge crosses" in p["text"] for p in passages)

    until(asked)


def test_uploads_that_a_killed_server_had_stored_are_indexed_at_the_next_start(serving, model, index, tmp_path):
    folder = tmp_path / "demo.index.files"
    folder.mkdir()
    (folder / "duero.md").write_text(UPLOADED)
    (folder / ".x.partial").write_text("half")
    with serving(model, index) as client:
        until(lambda: "duero.md" in names(client))
    assert sorted(p.name for p in folder.iterdir()) == ["duero.md"]


def kept(client, tmp_path, **feedback):
    row = {"question": "Which river?", "answer": "The Tagus", "good": True, "collection": "demo"}
    assert client.post("/v1/feedback", json=row | feedback).json() == {"kept": True, "rows": 1}
    (line,) = (tmp_path / "demo.index.feedback.jsonl").read_text().splitlines()
    return json.loads(line)


PASSAGES = [
    {"id": "tagus.md#0", "title": "Tagus", "text": "The Tagus is the longest river.", "cited": True},
    {"id": "bread.md#0", "title": "Bread", "text": "Bread is baked.", "cited": False},
]


def test_a_helpful_answer_is_kept_as_a_row_to_train_from(client, tmp_path):
    history = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello."}]
    row = kept(client, tmp_path, passages=PASSAGES, history=history)
    read = parse_row(row, "feedback.jsonl:1")
    assert read.question.answers == ("The Tagus",)
    assert [turn.content for turn in read.question.history] == ["Hello", "Hello."]
    assert [(c.passage.text, c.label) for c in read.carried] == [("The Tagus is the longest river.", True)]
    assert "left_out" not in row


@pytest.mark.parametrize(
    ("feedback", "why"),
    [({"good": False, "passages": PASSAGES}, "not helpful"), ({"passages": PASSAGES[1:]}, "cites no passage")],
)
def test_an_answer_of_which_nothing_right_is_known_is_kept_but_not_trained_on(client, tmp_path, feedback, why):
    row = kept(client, tmp_path, **feedback)
    assert why in row["left_out"]
    assert row["answer"] == "The Tagus"
    assert not any("label" in candidate for candidate in row["candidates"])


def test_the_state_of_a_server_without_a_model_says_why(serving, index):

    def fail():
        from rankrag.errors import ModelError

        raise ModelError("no such model; give --model a directory")

    from starlette.testclient import TestClient

    from rankrag.server.app import ServerSettings, create_app
    from rankrag.server.collections import Collections

    app = create_app(fail, Collections((index,), index.parent / "c"), ServerSettings())
    with TestClient(app, base_url="http://localhost") as client:
        until(lambda: "no such model" in client.get("/ready").text)
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
        response = client.post("/rerank", json={"query": "q", "documents": ["a"]})
    assert response.status_code == 503
    assert "Retry-After" in response.headers
