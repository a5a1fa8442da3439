"""A model on a server gives the scores it gives in this process, or says why it cannot; never a guess."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace

import pytest

from rankrag.contract import save_contract
from rankrag.errors import ConfigError, ContractError, ModelError
from rankrag.models import SamplingParams
from rankrag.models.address import Address, parse_address
from rankrag.models.openai import OpenAIModel
from rankrag.models.transformers import TransformersModel
from rankrag.opening import open_model
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..conftest import SPECIAL
from ..served import OWNERS, Server

LABELS = ["True", "False"]


@pytest.fixture(scope="module")
def local(tiny_model_dir):
    return TransformersModel(tiny_model_dir, device="cpu", dtype="float32")


@pytest.fixture
def serve(local):
    """Start a server of this kind."""
    started = []

    def start(kind):
        started.append(Server(local, kind))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def opened(tiny_model_dir):
    def connect(server, **options):
        address = parse_address(f"{server.url}#{tiny_model_dir}", "")
        return OpenAIModel(replace(address, **({"retries": 2, "timeout": 20.0} | options)), wait=0.001)

    return connect


@pytest.fixture
def prompts(local):
    passages = [Passage(str(i), "word " * n) for i, n in enumerate((1, 9, 4))]
    return local.encode([ranking_prompt(local.contract.format, Question("q", "why <|im_end|>?"), p) for p in passages])


@pytest.mark.parametrize("kind", OWNERS)
def test_a_server_gives_the_scores_of_this_process(serve, opened, local, prompts, kind):
    server = serve(kind)
    if kind == "generic":
        server.logprobs = lambda ids: [
            0.0 if i in local.contract.label_ids else -9.0 for i in range(len(local.tokenizer))
        ]
    model = opened(server)
    assert (model.kind, model.name) == (kind, "the-model")
    found = model.choice_logprobs(prompts, LABELS)
    if kind == "generic":
        assert found == [[0.0, 0.0]] * 3
        return
    for row, expected in zip(found, local.choice_logprobs(prompts, LABELS), strict=True):
        assert row == pytest.approx(expected, abs=1e-4)


def test_a_server_s_contract_is_the_directory_s_and_its_score_may_be_chosen(serve, tiny_model_dir, local, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(tiny_model_dir, directory)
    save_contract(replace(local.contract, abstain_below=-1.0), directory)
    url = f"{serve('vllm').url}#{directory}"
    contract = open_model(url).contract
    assert contract.score == "true_vs_false"
    assert contract.abstain_below == -1.0
    assert open_model(url, score="true").contract.score == "true"
    assert open_model(str(directory), device="cpu").contract == contract
    assert open_model(str(directory), device="cpu", score="true").contract.score == "true"


def test_token_ids_are_sent_and_no_chat_route(serve, opened, local, prompts):
    server = serve("vllm")
    opened(server, concurrency=1).choice_logprobs(prompts, LABELS)
    assert {path for path, _ in server.asked} == {"/v1/completions"}
    assert [body["prompt"] for _, body in server.asked] == [e.ids for e in prompts]


def test_llama_cpp_is_asked_for_the_whole_vocabulary_where_a_label_is_missing(serve, opened, local, prompts):
    server = serve("llama.cpp")
    size = len(local.tokenizer)
    row = [0.0] * size
    for i in local.contract.label_ids:
        row[i] = -3.0
    server.logprobs = lambda ids: row
    assert opened(server).choice_logprobs(prompts[:1], LABELS) == [[-3.0, -3.0]]
    assert [body["n_probs"] for _, body in server.asked] == [64, size + 1]


@pytest.mark.parametrize("kind", ["generic", "llama.cpp", "vllm"])
def test_a_label_outside_the_servers_list_is_an_error_and_never_a_guess(serve, opened, local, prompts, kind):
    server = serve(kind)
    server.logprobs = lambda ids: [-9.0 if i in local.contract.label_ids else 0.0 for i in range(len(local.tokenizer))]
    server.top = 5
    if kind == "vllm":
        server.kind = "older than that field"
    with pytest.raises(ModelError, match="no log-probability of label"):
        opened(server).choice_logprobs(prompts, LABELS)


@pytest.mark.parametrize("kind", ["generic", "llama.cpp", "vllm"])
def test_a_server_that_adds_tokens_of_its_own_is_an_error(serve, opened, prompts, kind):
    server = serve(kind)
    server.extra_tokens = 7
    with pytest.raises(ModelError, match=r"read .* tokens where .* were sent; it applies a template"):
        opened(server).choice_logprobs(prompts, LABELS)


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
def test_a_score_that_is_no_number_is_an_error(serve, opened, prompts, kind):
    server = serve(kind)
    server.nan = True
    with pytest.raises(ModelError, match="the log-probability of 'True' is nan"):
        opened(server).choice_logprobs(prompts, LABELS)


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
def test_a_server_with_another_tokenizer_is_refused(serve, tiny_model_dir, kind):
    server = serve(kind)
    ours, special = server.tokenise, len(SPECIAL)
    server.tokenise = lambda text: [i if i < special else i + 1 for i in ours(text)]
    for directory in ("", f"#{tiny_model_dir}"):
        address = parse_address(f"{server.url}{directory}", str(tiny_model_dir))
        with pytest.raises(ContractError, match=r"it makes tokens .* and the tokenizer in .* makes .*; name the dir"):
            OpenAIModel(address)
    server.tokenise = ours
    assert OpenAIModel(parse_address(server.url, str(tiny_model_dir))).kind == kind


@pytest.mark.parametrize("kind", OWNERS)
def test_a_server_that_cannot_be_asked_wants_its_directory_named(serve, opened, tiny_model_dir, kind):
    server = serve(kind)
    server.tokenise = None
    with pytest.raises(ContractError, match=r"which tokenizer it has cannot be asked .*v1\?model=NAME#DIRECTORY"):
        OpenAIModel(parse_address(server.url, str(tiny_model_dir)))
    assert opened(server).kind == kind


def busy(number, handler):
    handler.raw(b"slow down", 429, Retry_After="0.01")
    return True


def broken(number, handler):
    handler.raw(b"out of memory", 500)
    return True


def cut(number, handler):
    handler.raw(b'{"choices": [{"te', 200)
    return True


def dying(number, handler):
    handler.raw(b'{"choices": [', 200, length=1000)
    return True


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (busy, "status 429 .slow down"),
        (broken, "status 500 .out of memory"),
        (cut, "not whole JSON"),
        (dying, "closed"),
    ],
)
def test_a_failing_server_is_asked_again_and_then_named(serve, opened, prompts, fault, said):
    server = serve("vllm")
    model = opened(server)
    server.fault = lambda number, handler: number < 3 and fault(number, handler)
    assert len(model.choice_logprobs(prompts[:1], LABELS)) == 1
    assert len(server.asked) == 3
    server.fault = fault
    with pytest.raises(ModelError, match=rf"{said}.*given up after 3 tries"):
        model.choice_logprobs(prompts[:1], LABELS)


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("vllm", {"choices": []}),
        ("vllm", {"choices": [{"text": "x"}]}),
        ("vllm", {"choices": [{"logprobs": {"top_logprobs": [{"token_id:1": "much"}]}}]}),
        ("generic", {"choices": "none"}),
        ("sglang", {"scores": []}),
        ("llama.cpp", {"completion_probabilities": [{"top_logprobs": [{"token": "True"}]}]}),
    ],
)
def test_a_reply_of_another_form_is_an_error_that_says_what_it_holds(serve, opened, prompts, kind, reply):
    server = serve(kind)
    model = opened(server)
    server.answer = lambda path, body: reply
    with pytest.raises(ModelError, match=rf"the reply has no (log-probabilities|scores).*found: {next(iter(reply))}"):
        model.choice_logprobs(prompts[:1], LABELS)


def test_a_refusal_is_not_asked_again(serve, opened, prompts):
    server = serve("vllm")
    server.fault = lambda number, handler: handler.raw(b"prompt too long", 400) or True
    with pytest.raises(ModelError, match=r"status 400 \(prompt too long\)"):
        opened(server).choice_logprobs(prompts[:1], LABELS)
    assert len(server.asked) == 1


def test_no_more_requests_are_under_way_than_allowed(serve, opened, prompts):
    server = serve("sglang")
    now, most, lock = 0, 0, threading.Lock()
    answer = server.answer

    def counted(path, body):
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        try:
            return answer(path, body)
        finally:
            with lock:
                now -= 1

    server.answer = counted
    assert len(opened(server, concurrency=2).choice_logprobs(prompts * 4, LABELS)) == 12
    assert 1 <= most <= 2


def test_text_is_generated_as_in_this_process(serve, opened, local, prompts):
    model, params = opened(serve("vllm")), SamplingParams(max_new_tokens=8)
    expected = local.generate(prompts, params)
    assert model.generate(prompts, params) == expected
    assert "".join(model.stream(prompts[0], params)) == expected[0]


def test_a_stream_that_breaks_off_is_an_error(serve, opened, prompts):
    server = serve("vllm")
    model = opened(server)
    event = {"choices": [{"text": "half an answer, "}]}
    server.fault = lambda number, handler: handler.events([event], done=False) or True
    with pytest.raises(ModelError, match="broke off"):
        list(model.stream(prompts[0], SamplingParams()))


def test_a_server_of_several_models_wants_a_name(serve, opened, tiny_model_dir):
    server = serve("vllm")
    server.served.append({"id": "another", "owned_by": "vllm"})
    with pytest.raises(ModelError, match=r"serves 2 models .the-model, another.; name one"):
        opened(server)
    assert open_model(f"{server.url}?model=another#{tiny_model_dir}").name == "another"


def test_a_server_that_is_not_there_is_named(opened, serve):
    server = serve("vllm")
    server.url = "http://127.0.0.1:9/v1"
    with pytest.raises(ModelError, match=r"127.0.0.1:9.*check that the server runs"):
        opened(server)


def test_a_server_that_hangs_is_given_up_after_its_timeout(serve, local, prompts, tiny_model_dir):
    server, free = serve("vllm"), threading.Event()
    address = parse_address(f"{server.url}?timeout=0.05&retries=5&concurrency=1#{tiny_model_dir}", "")
    model = OpenAIModel(address, wait=0.001)
    server.fault = lambda number, handler: free.wait(20)
    began = time.perf_counter()
    with pytest.raises(ModelError, match=r"v1/completions: ReadTimeout.*given up after 6 tries"):
        model.choice_logprobs(prompts, LABELS)
    assert time.perf_counter() - began < 10
    free.set()


def test_an_address_says_how_the_server_is_asked():
    found = parse_address("https://host/a/v1/?model=m%20x&timeout=2.5&retries=0&concurrency=3&kind=sglang#/dir", "")
    assert found == Address("https://host", "/a/v1", "m x", "/dir", True, "sglang", 2.5, 0, 3)
    assert parse_address("http://h:1", "dir") == Address("http://h:1", "/v1", "", "dir", named=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://x/v1", "not an address"),
        ("http:///v1", "not an address"),
        ("http://h/v1?time_out=3", "'time_out' is not known; known are model, kind, timeout, retries, concurrency"),
        ("http://h/v1?timeout=0", "timeout=0: must be greater than 0"),
        ("http://h/v1?retries=-1", "retries=-1: must be greater than or equal to 0"),
        ("http://h/v1?concurrency=", "concurrency=: must be a valid integer"),
        ("http://h/v1?kind=tgi", "kind=tgi: must be 'vllm', 'sglang', 'llama.cpp' or 'generic'"),
    ],
)
def test_other_addresses_are_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_address(text, "dir")


def test_a_word_not_to_begin_with_is_sent_as_a_bias(serve, opened, local, prompts):
    server = serve("vllm")
    sent = []
    answer = server.answer
    server.answer = lambda path, body: (sent.append(body), answer(path, body))[1]
    opened(server).generate(prompts[:1], SamplingParams(max_new_tokens=8, not_first="True"))
    assert sent[-1]["logit_bias"] == {str(local.contract.label_ids[0]): -100}
