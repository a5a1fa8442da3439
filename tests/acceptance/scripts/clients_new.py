"""Calls of the newest clients, unchanged; prints a row of JSON for each. Runs in an environment of its own."""

import json
import sys

import cohere
import openai
import voyageai

URL = sys.argv[1]
QUERY = "What is the longest river of the Iberian Peninsula?"
DOCUMENTS = ["Bread is baked.", "The Tagus is the longest river of the Iberian Peninsula.", "Chess has kings."]
ASK = [{"role": "user", "content": "Who led elephants over the Brooklyn Bridge?"}]


def row(client: str, call: str, found: object) -> None:
    print(json.dumps({"client": client, "call": call, "found": found}))


name = f"cohere {cohere.__version__}"
v2 = cohere.ClientV2(api_key="key", base_url=URL).rerank(model="m", query=QUERY, documents=DOCUMENTS, top_n=2)
row(name, "rerank v2", [r.index for r in v2.results])
v1 = cohere.Client(api_key="key", base_url=URL).rerank(
    model="m", query=QUERY, documents=DOCUMENTS, return_documents=True
)
row(name, "rerank v1 with documents", [r.document.text for r in v1.results][:1])
try:
    cohere.ClientV2(api_key="key", base_url=URL).rerank(model="m", query="", documents=DOCUMENTS)
except cohere.BadRequestError as error:
    row(name, "an error", error.body["message"])

name = f"voyageai {voyageai.__version__}"
voyage = voyageai.Client(api_key="key", base_url=f"{URL}/v1").rerank(QUERY, DOCUMENTS, model="rerank-2", top_k=2)
row(name, "rerank", [[r.index, r.document] for r in voyage.results])

name = f"openai {openai.__version__}"
client = openai.OpenAI(api_key="key", base_url=f"{URL}/v1")
row(name, "models", [m.id for m in client.models.list()])
answer = client.chat.completions.create(model="rankrag", messages=ASK)
row(name, "chat", answer.choices[0].message.content)
row(name, "chat: citations", answer.choices[0].message.annotations[0].url_citation.title)
row(name, "chat: our own fields", answer.model_extra["rankrag"]["abstained"])
chunks = client.chat.completions.create(
    model="rankrag", messages=ASK, stream=True, stream_options={"include_usage": True}
)
row(name, "chat, streamed", "".join(c.choices[0].delta.content or "" for c in chunks if c.choices))
own = client.chat.completions.create(
    model="rankrag", messages=[{"role": "user", "content": QUERY}], extra_body={"documents": DOCUMENTS}
)
row(name, "chat over documents of the request", own.choices[0].message.content)
plain = client.chat.completions.create(model="rankrag-plain", messages=ASK, max_tokens=8)
row(name, "chat without retrieval", bool(plain.choices[0].message.content))
response = client.responses.create(model="rankrag", input=ASK[0]["content"])
row(name, "responses", response.output_text)
with client.responses.stream(model="rankrag", input=ASK[0]["content"]) as stream:
    for _ in stream:
        pass
    row(name, "responses, streamed", stream.get_final_response().output_text)
question = {"type": "predicate", "name": "relevant", "instructions": QUERY}
decided = client.decisions.create(model="rankrag", input=DOCUMENTS[1], questions=[question])
row(name, "decisions", decided.answers[0].probability > 0.5)
vectors = client.embeddings.create(model="m", input=["a text", "another"])
row(name, "embeddings", [len(v.embedding) for v in vectors.data])
