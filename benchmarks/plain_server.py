"""The rival of benchmarks/serve.py: the same model and steps behind a lock, one request at a time, no states kept."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

import rankrag
from rankrag.rerank import judge
from rankrag.types import Passage, Question


class Rerank(BaseModel):
    query: str
    documents: list[str]


class Chat(BaseModel):
    messages: list[dict[str, str]]


def create(index: Path, model: str) -> FastAPI:
    app, lock = FastAPI(), threading.Lock()
    rag = rankrag.load(index, rankrag.AskConfig(model=model, state_cache="off"))

    @app.get("/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/rerank")
    def rerank(body: Rerank) -> dict[str, list[dict[str, float]]]:
        question = Question("", body.query)
        with lock:
            judged = judge(rag.model, [(question, Passage(str(i), text)) for i, text in enumerate(body.documents)])
        order = sorted(range(len(judged)), key=lambda i: -judged[i].probability)
        return {"results": [{"index": i, "relevance_score": judged[i].probability} for i in order]}

    @app.post("/v1/chat/completions")
    def chat(body: Chat) -> dict[str, list[dict[str, dict[str, str]]]]:
        with lock:
            answer = rag.ask(body.messages[-1]["content"])
        return {"choices": [{"message": {"content": answer.text}}]}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="rankrag-mini")
    given = parser.parse_args()
    uvicorn.run(create(given.index, given.model), port=given.port, log_level="warning")
