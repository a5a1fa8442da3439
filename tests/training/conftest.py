"""Examples, and a run's configuration over a blend of them."""

from __future__ import annotations

import json

import pytest

from rankrag.config.training import TrainConfig
from rankrag.contract import Contract
from rankrag.data.examples import write_examples
from rankrag.encoding import PromptEncoder, chat_turns
from rankrag.templates import Format
from rankrag.training.rows import build_rows
from rankrag.types import DataKind, Example, Message, Passage, Question


@pytest.fixture(scope="session")
def encoder(tokenizer):
    return PromptEncoder(tokenizer, Contract(format=Format(turns=chat_turns(tokenizer)), max_tokens=1024))


@pytest.fixture(scope="session")
def examples_of():
    """Make ranking examples: every question about every passage, the first passage relevant."""

    def make(passages=3, questions=3, words=6):
        return [
            Example(
                DataKind.CONTEXT_RANKING,
                "s",
                Question(str(q), "why " * (q + 1)),
                (Passage(str(p), f"{p} word " * words),),
                "False" if p else "True",
            )
            for p in range(passages)
            for q in range(questions)
        ]

    return make


@pytest.fixture(scope="session")
def mixed(examples_of):
    """Examples of several kinds: ranking, answers, and a conversation without passages."""
    passage = Passage("0", "0 word " * 6)
    history = (Message("user", "Hi"), Message("assistant", "Hello"))
    return [
        *examples_of(passages=2, questions=2),
        Example(DataKind.CONTEXT_QA, "s", Question("a", "Which?"), (passage,), "the word"),
        Example(DataKind.SFT, "chat", Question("c", "Tell me", history, style="plain"), (), "a long reply of words"),
        Example(DataKind.SFT, "chat", Question("d", "And now", style="plain"), (), "no"),
    ]


@pytest.fixture(scope="session")
def rows_of(encoder):
    """Lay examples out as rows."""

    def make(examples, max_tokens=1024):
        limits = {"limit": max_tokens, "row_tokens": max_tokens}
        return build_rows(encoder, examples, **limits, label_weight=2.0, answer_weight=0.5)

    return make


@pytest.fixture
def config_of(tmp_path, tiny_model_dir):
    """Write a small blend and return the configuration of a short run over it."""

    def make(*, examples=None, **fields):
        found = examples or [
            Example(DataKind.CONTEXT_RANKING, "s", Question(str(i), "why?"), (Passage(str(i), f"word {i}"),), "True")
            for i in range(12)
        ]
        write_examples(tmp_path / "blend" / "examples.jsonl.zst", found)
        sources = {"s": {"licence": "CC BY 4.0", "examples": {"context_ranking": len(found)}}}
        (tmp_path / "blend" / "manifest.json").write_text(json.dumps({"sources": sources}))
        places = {"model": str(tiny_model_dir), "blend": str(tmp_path / "blend"), "out": str(tmp_path / "run")}
        limits = {"max_tokens": 512, "tokens_per_batch": 768, "log_steps": 2, "compile": False, "bf16": False}
        steps = {"warmup_steps": 0, "save_steps": 3, "max_steps": 6, "learning_rate": 0.01}
        return TrainConfig.model_validate(places | limits | steps | fields)

    return make
