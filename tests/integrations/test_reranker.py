"""`rankrag.Reranker` and `Searcher` give the same through a server as in this process."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rankrag import Reranker, Searcher
from rankrag.errors import ConfigError, ModelError
from rankrag.integrations import reranker
from rankrag.models.fake import FakeLanguageModel

DOCUMENTS = ["The Danube is a river.", "The Tagus is the longest river of Iberia.", "Lisbon is a city."]


class Served:
    """Answers as `rankrag serve` documents it, with the scores of a model; keeps what it was asked."""

    def __init__(self, model):
        self.asked, self.keys, self.busy, served = [], [], 0, self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                served.asked.append((self.path, body))
                served.keys.append(self.headers.get("Authorization"))
                if served.busy:
                    served.busy -= 1
                    self.send_error(503, "busy")
                    return
                found = json.dumps(served.answer(model, body)).encode() if body["query"] != "refused" else b""
                self.send_response(200 if found else 401)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, model, body):
        if "k" in body:
            return {"results": [{"id": "a", "score": 0.5, "text": "t", "title": "", "place": "a.md"}][: body["k"]]}
        scores = Reranker(model).score([(body["query"], document) for document in body["documents"]])
        best_first = sorted(enumerate(scores), key=lambda pair: -pair[1])
        return {"results": [{"index": place, "relevance_score": score} for place, score in best_first]}


@pytest.fixture
def model():
    return FakeLanguageModel(yes_if="Tagus")


@pytest.fixture
def served(model):
    found = Served(model)
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.mark.parametrize("end", ["", "/", "/v1"])
def test_a_server_ranks_as_this_process_does(served, model, end):
    there, here = Reranker(f"{served.url}{end}"), Reranker(model)
    assert there.rank("Which river?", DOCUMENTS, top_k=2) == here.rank("Which river?", DOCUMENTS, top_k=2)
    pairs = [("Which river?", DOCUMENTS[1]), ("Which city?", DOCUMENTS[2]), ("Which river?", DOCUMENTS[0])]
    assert there.score(pairs) == here.score(pairs)
    assert {path for path, _ in served.asked} == {"/v1/rerank"}


def test_the_best_document_comes_first_and_ties_keep_their_order(model):
    assert [found.index for found in Reranker(model).rank("Which river?", DOCUMENTS)] == [1, 0, 2]
    assert Reranker(model).rank("Which river?", []) == []


def test_a_search_goes_to_the_server_with_its_collection(served):
    (found,) = Searcher(served.url, collection="manuals", api_key="k").search("Which river?", 1)
    assert (found.id, found.score, found.place) == ("a", 0.5, "a.md")
    assert served.asked == [("/v1/search", {"query": "Which river?", "k": 1, "collection": "manuals"})]
    assert served.keys == ["Bearer k"]


def test_no_key_of_another_service_is_sent(served, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    Reranker(served.url).rank("Which river?", DOCUMENTS)
    assert served.keys == [None]


def test_a_busy_server_is_asked_again(served):
    served.busy = 1
    assert len(Reranker(served.url).rank("Which river?", DOCUMENTS)) == 3
    assert len(served.asked) == 2


def test_a_server_that_refuses_or_is_not_there_is_named(served, monkeypatch):
    with pytest.raises(ModelError, match=r"/v1/rerank: status 401"):
        Reranker(served.url).rank("refused", DOCUMENTS)
    monkeypatch.setattr(reranker, "RETRIES", 0)
    with pytest.raises(ModelError, match=r"http://127.0.0.1:9/v1/rerank: Connect.*check that the server runs"):
        Reranker("http://127.0.0.1:9").rank("Which river?", DOCUMENTS)


def test_an_empty_query_is_refused(model):
    with pytest.raises(ConfigError, match="the query is empty"):
        Reranker(model).rank("  ", DOCUMENTS)
