from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from rankrag.contract import Contract
from rankrag.models import ModelInfo
from rankrag.models.fake import FakeLanguageModel
from rankrag.types import StateUse
from tests.server.conftest import SETTINGS
from tests.stub_encoder import StubEncoder

ASK = {"messages": [{"role": "user", "content": "Which river is the longest of Iberia?"}]}


def chat(client, **body):
    return client.post("/v1/chat/completions", json=ASK | body)


def chunks(response):
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_an_answer_marks_its_sentences_and_says_what_the_marks_name(client):
    found = chat(client).json()
    message = found["choices"][0]["message"]
    (annotation,) = message["annotations"]
    cited = annotation["url_citation"]
    assert message["content"] == "The Tagus [1]"
    assert message["content"][cited["start_index"] : cited["end_index"]] == "The Tagus [1]"
    assert cited["title"].startswith("tagus.md")
    assert "/documents/" in cited["url"]


def test_every_passage_comes_with_p_true_and_its_place_before_and_after(client):
    passages = chat(client).json()["rankrag"]["passages"]
    assert passages[0]["score"] == pytest.approx(0.9)
    assert {"rank", "was", "round", "used", "url", "text"} <= set(passages[0])
    assert sorted(p["rank"] for p in passages) == list(range(1, len(passages) + 1))


def test_an_answer_says_what_a_second_round_searched_for_and_which_passages_it_found(
    serving, model, corpus, tmp_path, run, monkeypatch
):
    (corpus / "lisbon.md").write_text("# Lisbon\n\nLisbon is a capital on the coast.\n", encoding="utf-8")
    run("index", corpus, "--out", tmp_path / "cities.index", "--no-vectors")
    monkeypatch.setattr("tests.server.conftest.SETTINGS", SETTINGS.model_copy(update={"n": 2, "rounds": 2}))
    with serving(model, tmp_path / "cities.index") as client:
        details = chat(client).json()["rankrag"]
    assert [(p["place"].split(",")[0], p["round"]) for p in details["passages"]] == [("tagus.md", 1), ("lisbon.md", 2)]
    assert "Lisbon" in details["second_queries"][0]


def test_passages_that_were_cut_and_kept_states_are_said(serving, index):
    class Short(FakeLanguageModel):
        """Cuts passages in answers, not in ranking; finds half of the states that it wants."""

        info = property(lambda self: ModelInfo(states=StateUse(len(self.prompts) // 2, len(self.prompts))))

        def __init__(self):
            self.yes_if, self.reply, self.sure = "longest", "The Tagus", 0.9
            self.contract, self.prompts = Contract(), []

        def encode(self, prompts, *, reserve=1):
            return [replace(p, cut=tuple(reserve > 1 for _ in p.cut)) for p in super().encode(prompts)]

    with serving(Short(), index) as c:
        found = [chat(c).json()["rankrag"], chunks(chat(c, stream=True))[-1]["rankrag"]]
    for details in found:
        first, *others = details["passages"]
        assert (first["truncated"], first["context_truncated"]) == (False, True)
        assert not any(p["context_truncated"] for p in others)
        assert details["states"]["wanted"] == len(details["passages"])
        assert 0 < details["states"]["found"] < details["states"]["wanted"] or len(details["passages"]) == 1


def test_a_stream_gives_the_sources_first_then_the_text_then_the_citations(client):
    found = chunks(chat(client, stream=True, stream_options={"include_usage": True}))
    event = found[0]["event"]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in found if c["choices"])
    ended = next(c for c in found if c["choices"] and c["choices"][0]["finish_reason"])
    assert event["type"] == "source"
    assert len(event["data"]["document"]) == len(event["data"]["metadata"]) == len(event["data"]["distances"])
    assert "#" not in event["data"]["metadata"][0]["source"]
    assert text == "The Tagus [1]"
    assert ended["rankrag"]["abstained"] is False
    assert ended["choices"][0]["delta"]["annotations"]
    assert found[-1]["usage"]["total_tokens"] > 0


def test_a_question_that_no_passage_answers_is_refused_with_the_nearest_passages(serving, index):
    with serving(
        FakeLanguageModel(yes_if="xyz", reply="Sorry. I cannot find the answer based on the context."), index
    ) as c:
        found = chat(c).json()
    assert found["rankrag"]["abstained"] is True
    assert found["choices"][0]["message"]["annotations"] == []
    assert found["rankrag"]["passages"]
    assert not any(p["used"] for p in found["rankrag"]["passages"])


def test_a_callers_documents_replace_retrieval(client):
    documents = [
        "Bread.",
        {"id": "d", "text": "The longest is the Duero.", "title": "Rivers", "url": "https://x.org/1"},
    ]
    found = chat(client, documents=documents).json()
    assert [p["id"] for p in found["rankrag"]["passages"]] == ["d", "document-0"]
    assert found["rankrag"]["passages"][0]["url"] == "https://x.org/1"


def test_the_last_turn_of_the_user_is_the_question_and_the_turns_before_are_read(client, model):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the Tagus?"},
        {"role": "assistant", "content": "A river."},
        {"role": "user", "content": [{"type": "text", "text": "Is it the longest of Iberia?"}]},
    ]
    client.post("/v1/chat/completions", json={"messages": turns, "tools": [], "tool_choice": "auto"})
    written = "".join(s.text for s in model.prompts[-1])
    assert "What is the Tagus?" in written
    assert "Is it the longest of Iberia?" in written


def test_tasks_of_open_webui_and_the_plain_model_do_not_retrieve(client, model):
    task = {"messages": [{"role": "user", "content": "### Task:\nGenerate a title for the longest chat."}]}
    titled = client.post("/v1/chat/completions", json=task | {"model": "rankrag"}).json()
    plain = chat(client, model="rankrag-plain").json()
    assert titled["choices"][0]["message"]["content"] == plain["choices"][0]["message"]["content"] == "The Tagus"
    assert "rankrag" not in titled
    assert not any(s.kind == "passage" for prompt in model.prompts for s in prompt)


def test_the_models_are_one_for_each_collection_and_a_plain_one(client):
    ids = [m["id"] for m in client.get("/v1/models").json()["data"]]
    assert ids == ["rankrag", "rankrag-plain"]
    client.post("/v1/collections", json={"name": "notes"})
    assert "rankrag:notes" in [m["id"] for m in client.get("/v1/models").json()["data"]]
    assert client.get("/v1/models/rankrag:notes").status_code == 200


def test_an_unknown_collection_lists_those_there_are(client):
    response = chat(client, model="rankrag:nowhere")
    assert response.status_code == 404
    assert "demo" in response.json()["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_responses_have_the_text_and_its_citations(client, stream):
    response = client.post("/v1/responses", json={"input": "Which river is the longest?", "stream": stream})
    whole = response.json() if not stream else chunks(response)[-1]["response"]
    (content,) = whole["output"][0]["content"]
    assert whole["status"] == "completed"
    assert content["text"] == "The Tagus [1]"
    assert content["annotations"][0]["type"] == "url_citation"


def test_events_of_a_streamed_response_are_numbered_and_complete(client):
    found = chunks(client.post("/v1/responses", json={"input": "Which river is the longest?", "stream": True}))
    deltas = "".join(e["delta"] for e in found if e["type"] == "response.output_text.delta")
    assert [e["sequence_number"] for e in found] == list(range(len(found)))
    assert deltas == "The Tagus [1]"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": []}, 422),
        ({"messages": [{"role": "system", "content": "x"}]}, 400),
        ({"messages": [{"role": "user", "content": "  "}]}, 400),
        ({"messages": [{"role": "user", "content": None}]}, 400),
        ({"messages": "hello"}, 422),
        ({**ASK, "temperature": 9}, 422),
        ({**ASK, "documents": [{"image": 1}]}, 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_has_a_status_of_its_own_streamed_or_not(client, body, status, stream):
    response = client.post("/v1/chat/completions", json=body | {"stream": stream})
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_embeddings_need_an_encoder(client):
    assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 400


def test_sources_may_be_asked_for_as_a_list_in_the_text(client):
    text = chat(client, sources_list=True).json()["choices"][0]["message"]["content"]
    assert "**Sources**" in text
    assert "tagus.md" in text


def test_vectors_are_those_of_the_encoder_that_the_indexes_use(serving, model):
    encoder = StubEncoder()
    with serving(model, encoder=encoder) as client:
        made = client.post("/v1/embeddings", json={"input": ["a river", "bread"], "encoding_format": "float"}).json()
        coded = client.post("/v1/embeddings", json={"input": "a river", "encoding_format": "base64"}).json()
        query = client.post("/v1/embeddings", json={"input": "a river", "input_type": "search_query"}).json()
        refused = client.post("/v1/embeddings", json={"input": ["a"] * 2049})
    expected = encoder.encode_queries(["a river", "bread"])
    assert made["model"] == "stub@1"
    assert np.array([row["embedding"] for row in made["data"]]) == pytest.approx(expected)
    assert np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), np.float32) == pytest.approx(expected[0])
    assert query["data"][0]["embedding"] == pytest.approx(expected[0].tolist())
    assert refused.status_code == 400
    assert "at most 2,048 at once" in refused.json()["error"]["message"]
