"""A server of a tiny model, in the documented form of each kind that `models.openai` asks."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from rankrag.models.transformers import TransformersModel

OWNERS = {"vllm": "vllm", "sglang": "sglang", "llama.cpp": "llamacpp", "generic": "somebody"}


class Server:
    """Answers in the documented form of one kind of server; `fault` may answer in its place."""

    def __init__(self, model: TransformersModel, kind: str) -> None:
        self.model, self.kind = model, kind
        self.asked: list[tuple[str, dict]] = []
        self.fault: Callable[[int, BaseHTTPRequestHandler], bool] = lambda number, handler: False
        self.extra_tokens = 0
        self.top = len(model.tokenizer)
        self.nan = False
        self.tokenise: Callable[[str], list[int]] | None = lambda text: model.tokenizer(text, add_special_tokens=False)[
            "input_ids"
        ]
        self.served = [{"id": "the-model", "object": "model", "owned_by": OWNERS[kind]}]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.reply({"object": "list", "data": outer.served} if self.path == "/v1/models" else None)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/tokenize":
                    return self.reply(outer.tokens(body))
                outer.asked.append((self.path, body))
                if not outer.fault(len(outer.asked), self):
                    return self.reply(outer.answer(self.path, body))
                return None

            def reply(self, found, status=200):
                if isinstance(found, list):
                    return self.events(found)
                data = json.dumps(found or {"error": "not found"}).encode()
                return self.raw(data, status if found is not None else 404)

            def events(self, found, done=True):
                lines = [f"data: {json.dumps(event)}\n\n" for event in found] + ["data: [DONE]\n\n"] * done
                self.raw("".join(lines).encode(), 200)

            def raw(self, data, status, length=None, **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(data) if length is None else length))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = length is not None

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def logprobs(self, ids: list[int]) -> list[float]:
        with torch.inference_mode():
            row = torch.log_softmax(self.model.model(torch.tensor([ids])).logits[0, -1].double(), -1).tolist()
        return [float("nan")] * len(row) if self.nan else row

    def tokens(self, body):
        if self.tokenise is None:
            return None
        assert body[{"llama.cpp": "add_special"}.get(self.kind, "add_special_tokens")] is False
        return {"tokens": self.tokenise(body[{"llama.cpp": "content"}.get(self.kind, "prompt")])}

    def answer(self, path, body):
        if path == "/completion" and self.kind == "llama.cpp":
            row = self.logprobs(body["prompt"])
            best = sorted(range(len(row)), key=lambda i: -row[i])[: min(body["n_probs"], self.top)]
            top = [{"id": i, "token": "?", "bytes": [], "logprob": row[i]} for i in best]
            counted = len(body["prompt"]) + self.extra_tokens
            return {"content": "?", "tokens_evaluated": counted, "completion_probabilities": [{"top_logprobs": top}]}
        if path == "/v1/score" and self.kind == "sglang":
            row = [self.logprobs(body["query"] + item) for item in body["items"]]
            scores = [[math.exp(r[i]) for i in body["label_token_ids"]] for r in row]
            return {"scores": scores, "model": "the-model", "object": "scoring", "usage": None}
        if path != "/v1/completions":
            return None
        usage = {"prompt_tokens": len(body["prompt"]) + self.extra_tokens, "completion_tokens": 1}
        if body["max_tokens"] > 1:
            ids = self.model.model.generate(
                torch.tensor([body["prompt"]]), max_new_tokens=body["max_tokens"], do_sample=False
            )[0, len(body["prompt"]) :]
            text = self.model.tokenizer.decode(ids, skip_special_tokens=True)
            pieces = [text] if not body.get("stream") else [text[i : i + 3] for i in range(0, len(text), 3)]
            events = [{"choices": [{"index": 0, "text": piece}], "usage": usage} for piece in pieces]
            return events if body.get("stream") else events[0]
        row = self.logprobs(body["prompt"])
        if self.kind == "vllm" and "logprob_token_ids" in body:
            assert body["return_tokens_as_token_ids"]
            top = {f"token_id:{i}": row[i] for i in body["logprob_token_ids"][: body["logprobs"] + 1]}
        else:
            best = sorted(range(len(row)), key=lambda i: -row[i])[: min(body["logprobs"], self.top)]
            top = {self.model.tokenizer.decode([i]): row[i] for i in best}
        return {"choices": [{"index": 0, "text": "?", "logprobs": {"top_logprobs": [top]}}], "usage": usage}

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
