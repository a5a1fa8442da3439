"""A small tokenizer and a tiny random model, both made here: nothing is downloaded."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from rankrag.cli import main
from rankrag.types import Passage, Question, ScoredPassage
from tests.postgres_server import PostgresServer, why_none
from tests.s3_server import S3Server, why_no_server

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


# How long an example takes says what else the machine does, not whether the code is right.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: one that is begun last keeps a core waiting for it."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Leave what the imports made out of every later collection of garbage: the libraries are a million objects."""
    gc.collect()
    gc.freeze()


def make_tokenizer(chat_template: str | None = CHATML):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    texts = ["True\nFalse\n True False"] * 50 + [
        "For the question, assess whether the passage is relevant to the question. Return True if relevant.",
        "This is a chat between a user and an artificial intelligence assistant. User: Assistant: Passage: System:",
    ]
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=chat_template,
    )


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server, one for all tests of a process."""
    if reason := why_none():
        pytest.skip(reason)
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def own_postgres(postgres):
    """A server that a test may stop."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def s3_server():
    """A real S3 server, one for all tests of a process."""
    if reason := why_no_server():
        pytest.skip(reason)
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """The server, as a user who may write sees it from a machine that has no snapshot yet."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "cache"))
    return s3_server


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def tokenizer_with():
    """Make a tokenizer with another chat template, or with none."""
    return make_tokenizer


def save_random(architecture: str, tokenizer, directory: Path, *, head: float = 1.0, **sizes) -> Path:
    """Write a random model of an architecture with its tokenizer; `head` scales its last map, and so its log-odds."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(architecture, vocab_size=len(tokenizer), **special, **sizes)
    )
    with torch.no_grad():
        model.get_output_embeddings().weight *= head
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


TINY_LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,
}

LONG_LLAMA = TINY_LLAMA | {"intermediate_size": 96, "max_position_embeddings": 2048}


@pytest.fixture(scope="session")
def tiny_model_dir(tokenizer, tmp_path_factory) -> Path:
    """The directory of a random Llama of two layers with its tokenizer."""
    return save_random("llama", tokenizer, tmp_path_factory.mktemp("tiny"), **TINY_LLAMA)


@pytest.fixture(scope="session")
def marked_model_dir(tokenizer_with, tmp_path_factory) -> Path:
    """The directory of a random Llama whose turns begin with `<|turn|>`, an added token that is not special."""
    from tokenizers import AddedToken

    tokenizer = tokenizer_with(CHATML.replace("<|im_start|>", "<|turn|>"))
    tokenizer.add_tokens([AddedToken("<|turn|>", special=False)])
    return save_random("llama", tokenizer, tmp_path_factory.mktemp("marked"), head=2.0, **LONG_LLAMA)


@pytest.fixture
def ranking_of():
    """Return a ranking of these texts; ids are p0, p1, …, scores fall."""

    def make(*texts: str):
        return tuple(ScoredPassage(Passage(f"p{i}", text), float(-i)) for i, text in enumerate(texts))

    return make


@pytest.fixture
def question():
    return Question("q", "Which river is the longest?")


Run = Callable[..., int]


def run_command(*arguments: object) -> int:
    """Run a command line in this process; return the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["rankrag", *map(str, arguments)])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


@pytest.fixture
def run() -> Run:
    return run_command


@pytest.fixture
def hub_of_files(tmp_path, monkeypatch) -> Callable[[str, str], Path]:
    """A hub in the current folder; given a data set and a commit, returns the folder of its files.

    The data set also holds a loading script, which the library refuses in a folder as it does in a repository.
    """
    pytest.importorskip("datasets")
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.registry import _registry

    class Files(DirFileSystem):
        protocol = "hf"

        def __init__(self, **_):
            super().__init__(str(tmp_path), target_protocol="file")

    def folder_of(name: str, commit: str) -> Path:
        script = tmp_path / name / f"{Path(name).name}.py"
        script.parent.mkdir(parents=True)
        script.touch()
        files = tmp_path / "datasets" / f"{name}@{commit}"
        files.mkdir(parents=True)
        return files

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(_registry, "hf", Files)
    return folder_of
