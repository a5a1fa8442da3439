from __future__ import annotations

import pytest

QUERY = "Which river is longest?"
RIVERS = ["Bread is baked.", "The Tagus is the longest river.", "Chess has kings."]


def post(client, path="/v1/rerank", **body):
    return client.post(path, json={"query": QUERY, "documents": RIVERS} | body)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_all_paths_rank_best_first_with_the_places_of_the_documents(client, path):
    results = post(client, path).json()["results"]
    assert results[0]["index"] == 1
    assert [r["index"] for r in results[1:]] == [0, 2]
    assert results[0]["relevance_score"] == pytest.approx(0.9)
    assert all(0 <= r["relevance_score"] <= 1 for r in results)


@pytest.mark.parametrize("top", [None, 0, "", 3, 100])
def test_every_document_gets_one_result_unless_fewer_are_asked_for(client, top):
    assert sorted(r["index"] for r in post(client, top_n=top).json()["results"]) == [0, 1, 2]


def test_top_n_cuts_after_sorting(client):
    assert [r["index"] for r in post(client, top_n="1").json()["results"]] == [1]


def test_documents_come_back_as_objects_where_asked_for_even_by_a_text(client):
    results = post(client, return_documents="true").json()["results"]
    assert results[0]["document"] == {"text": RIVERS[1]}
    assert "document" not in post(client).json()["results"][0]


def test_voyage_clients_find_data_with_documents_as_texts(client):
    found = post(client, top_k=2, return_documents=True).json()
    assert found["object"] == "list"
    assert [d["index"] for d in found["data"]] == [1, 0]
    assert found["data"][0]["document"] == RIVERS[1]
    assert found["usage"]["total_tokens"] > 0


def test_tei_clients_send_texts_and_get_a_bare_list(client):
    found = client.post("/rerank", json={"query": QUERY, "texts": RIVERS, "return_text": True}).json()
    assert [r["index"] for r in found] == [1, 0, 2]
    assert found[0]["text"] == RIVERS[1]
    assert found[0]["score"] == pytest.approx(0.9)


def test_texts_that_are_null_are_no_tei_request(client):
    found = client.post("/rerank", json={"query": QUERY, "documents": RIVERS, "texts": None}).json()
    assert [r["index"] for r in found["results"]] == [1, 0, 2]


def test_tei_raw_scores_are_log_odds(client):
    found = client.post("/rerank", json={"query": QUERY, "texts": RIVERS, "raw_scores": True}).json()
    assert found[0]["score"] == pytest.approx(2.197, abs=1e-3)


@pytest.mark.parametrize(
    "document",
    [
        {"text": RIVERS[1]},
        {"content": RIVERS[1]},
        {"title": "Rivers", "text": RIVERS[1]},
        {"content": [{"type": "text", "text": RIVERS[1]}]},
    ],
)
def test_documents_may_be_objects(client, document):
    assert post(client, documents=["Bread.", document]).json()["results"][0]["index"] == 1


def test_rank_fields_say_what_is_read(client):
    found = post(client, documents=[{"note": "longest", "text": "x"}, {"note": "y", "text": "longest"}])
    by_text = found.json()["results"][0]["index"]
    found = post(
        client, documents=[{"note": "longest", "text": "x"}, {"note": "y", "text": "longest"}], rank_fields=["note"]
    )
    assert (by_text, found.json()["results"][0]["index"]) == (1, 0)


def test_relevant_spans_are_sentences_in_code_points(client):
    text = "Bread 🍞 is baked. The Tagus is the longest river."
    (result,) = post(client, documents=[text], relevant_spans={"threshold": 0.5}).json()["results"]
    (span,) = result["relevant_spans"]
    assert text[span["start"] : span["end"]] == "The Tagus is the longest river."


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": "", "documents": ["a"]}, 400),
        ({"query": "q", "documents": []}, 400),
        ({"query": "q"}, 400),
        ({"documents": ["a"]}, 422),
        ({"query": "q", "documents": [None]}, 422),
        ({"query": "q", "documents": [{"image": "x"}]}, 400),
        ({"query": "q", "documents": ["a"], "top_n": -1}, 422),
        ({"query": "q", "documents": ["a"], "top_n": "many"}, 422),
        ({"query": ["q"], "documents": ["a"]}, 422),
    ],
)
def test_what_cannot_be_ranked_is_said_in_every_clients_shape(client, body, status):
    response = client.post("/v1/rerank", json=body)
    found = response.json()
    assert response.status_code == status
    assert found["message"] == found["detail"] == found["error"]["message"]
    assert "query" in found["message"] or "documents" in found["message"] or "top_n" in found["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"query": NaN, "documents": ["a"]}', b"\xff\xfe", b"null"])
def test_a_body_that_is_no_request_is_no_fault_of_the_server(client, body):
    response = client.post("/v1/rerank", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ('"top_n": "2"', 200),
        ('"top_n": 2.0', 200),
        ('"top_n": 1.5', 422),
        ('"top_n": NaN', 422),
        ('"top_n": null, "top_k": null, "return_documents": null, "model": null, "timeout": null', 200),
        ('"return_documents": "true", "raw_scores": "false"', 200),
        ('"timeout": "5"', 200),
        ('"timeout": Infinity', 422),
        ('"timeout": NaN', 422),
        ('"relevant_spans": {"threshold": NaN}', 422),
        ('"relevant_spans": {"threshold": "0.5", "max_spans": "1"}', 200),
    ],
)
def test_numbers_may_be_texts_or_null_but_not_nan(client, field, status):
    body = f'{{"query": "{QUERY}", "documents": ["a", "the longest", "b"], {field}}}'
    response = client.post("/v1/rerank", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text


def test_a_document_of_megabytes_is_ranked_by_its_beginning(client):
    found = post(client, documents=["longest " + "x " * 2_500_000]).json()["results"]
    assert found[0]["relevance_score"] == pytest.approx(0.9)


def test_documents_that_are_equal_are_judged_once(client, model):
    post(client, documents=[RIVERS[1]] * 500)
    assert len(model.prompts) == 1


def test_a_deadline_leaves_later_documents_unjudged_and_says_so(client, model, monkeypatch):
    slow = type(model).choice_logprobs

    def wait(self, prompts, choices):
        import time

        time.sleep(0.3)
        return slow(self, prompts, choices)

    monkeypatch.setattr(type(model), "choice_logprobs", wait)
    found = post(client, documents=[f"longest {i} " + "word " * 900 for i in range(200)], timeout=0.2).json()
    assert found["settled"]
    assert len(found["results"]) == 200
    assert found["results"][-1]["relevance_score"] == 0


def test_info_says_that_this_is_a_reranker(client):
    found = client.get("/info").json()
    assert "reranker" in found["model_type"]
    assert found["max_input_length"] == 320


def test_score_pairs_one_query_with_each_text(client):
    data = client.post("/score", json={"text_1": QUERY, "text_2": RIVERS}).json()["data"]
    assert [round(d["score"], 1) for d in data] == [0.1, 0.9, 0.1]


def test_decisions_are_probabilities_of_the_contracts_predicate(client):
    question = {"type": "predicate", "name": "relevant", "instructions": QUERY}
    found = client.post("/v1/decisions", json={"model": "m", "input": RIVERS[1], "questions": [question]}).json()
    assert found["answers"][0]["probability"] == pytest.approx(0.9)


def test_a_predicate_that_no_fit_has_named_lists_those_there_are(client):
    question = {"type": "predicate", "name": "polite", "instructions": QUERY}
    response = client.post("/v1/decisions", json={"input": RIVERS[1], "questions": [question]})
    assert response.status_code == 400
    assert "relevant" in response.json()["message"]
