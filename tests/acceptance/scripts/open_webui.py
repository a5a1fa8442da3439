"""The requests of Open WebUI 0.12.4, field for field, and its reading of the replies: open_webui.py URL.

The fields were recorded from the real thing (open_webui_page.py). It has no pydantic model for chat requests: its
routers pass dictionaries on. Prints a row of JSON for each call.
"""

import json
import sys

import httpx

URL = sys.argv[1]
QUERY = "What is the longest river of the Iberian Peninsula?"
DOCUMENTS = ["Bread is baked.", "The Tagus is the longest river of the Iberian Peninsula.", "Chess has kings."]
ASK = {"role": "user", "content": "Who led elephants over the Brooklyn Bridge?"}
TASK = "### Task:\nGenerate a short title.\n### Chat History:\n<chat_history>\nUSER: Hello\n</chat_history>"
TOOL = {"name": "get_current_timestamp", "description": "The time.", "parameters": {"properties": {}, "type": "object"}}

web = httpx.Client(base_url=URL, headers={"Authorization": "Bearer key"}, timeout=300)


def row(call: str, found: object) -> None:
    print(json.dumps({"client": "Open WebUI 0.12.4, replayed", "call": call, "found": found}))


def sources_of(lines: list[str]) -> tuple[str, list[dict]]:
    """Return the text and the sources, as `utils/middleware.py` collects them from the lines of a stream."""
    text, sources = "", []
    for line in lines:
        if not line.startswith("data:") or line == "data: [DONE]":
            continue
        data = json.loads(line[5:].strip())
        if "event" in data and data["event"]["type"] in ("source", "citation"):
            sources.append(data["event"]["data"])
        for choice in data.get("choices", [])[:1]:
            delta = choice.get("delta", {})
            text += delta.get("content") or ""
            for note in delta.get("annotations") or []:
                cited = note["url_citation"]
                named = {"source": {"name": cited["title"], "url": cited["url"]}, "document": [cited["title"]]}
                sources.append(named | {"metadata": [{"source": cited["url"], "name": cited["title"]}]})
    return text, sources


def numbered(sources: list[dict]) -> list[tuple[str, str, str]]:
    """Return (address, name, text) of each distinct `metadata.source`: [n] in an answer names the n-th of them."""
    found: dict[str, tuple[str, str, str]] = {}
    for source in sources:
        for document, metadata in zip(source["document"], source["metadata"], strict=True):
            id_ = metadata.get("source") or source["source"].get("id") or "N/A"
            found.setdefault(id_, (id_, metadata["name"], document))
    return list(found.values())


row("the list of models", [m["id"] for m in web.get("/v1/models").json()["data"]])
body = {"stream": True, "model": "rankrag", "messages": [ASK], "tools": [{"type": "function", "function": TOOL}]}
text, sources = sources_of(web.post("/v1/chat/completions", json=body).text.splitlines())
first = numbered(sources)[0]
row("a streamed answer", text)
row("its first source", [first[0].startswith(URL), "#" in first[0], first[1].split(",")[0], "Barnum" in first[2]])
row("the badge of relevance", [0 <= d <= 1 for source in sources for d in source.get("distances", [])][:1])
body = {"model": "rankrag", "messages": [{"role": "user", "content": TASK}], "stream": False, "max_tokens": 8}
title = web.post("/v1/chat/completions", json=body).json()
row("a title", [bool(title["choices"][0]["message"]["content"]), "rankrag" in title])
body = {"input": DOCUMENTS, "model": "rankrag"}
row("vectors of uploads", [len(one["embedding"]) for one in web.post("/v1/embeddings", json=body).json()["data"]])
body = {"model": "rankrag", "query": QUERY, "documents": DOCUMENTS, "top_n": len(DOCUMENTS)}
results = sorted(web.post("/v1/rerank", json=body).json()["results"], key=lambda one: one["index"])
row("the external reranker", [round(one["relevance_score"]) for one in results])
