"""An index in a database behind the commands that take one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankrag.models.fake import FakeLanguageModel
from tests.postgres_server import PostgresServer

from ..conftest import Run


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "tagus.md").write_text("# Tagus\n\nThe Tagus reaches the sea at Lisbon.\n", encoding="utf-8")
    (folder / "douro.txt").write_text("The Douro reaches the sea at Porto.\n", encoding="utf-8")
    return folder


def test_an_index_in_a_database_takes_the_place_of_a_folder(
    run: Run, postgres: PostgresServer, docs: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    address = postgres.address(name="cli")
    assert run("index", docs, "--index", address, "--no-vectors") == 0
    (docs / "douro.txt").unlink()
    assert run("index", docs, "--index", address, "--no-vectors", "--list") == 0
    assert "1 unchanged, 1 gone; the index holds 1 passages" in capsys.readouterr().err
    assert run("ask", "Where does the Tagus end?", "--index", address, "--retriever", "bm25", "--json") == 0
    assert json.loads(capsys.readouterr().out)["text"].startswith("Tagus")
    assert run("index", "--index", address, "--remove", docs) == 0
    assert f"Removed {docs}: 1 passages." in capsys.readouterr().err


def test_a_run_from_a_database_is_reranked_from_it(
    run: Run, postgres: PostgresServer, docs: Path, model: FakeLanguageModel, tmp_path: Path
) -> None:
    address, questions = postgres.address(name="runs"), tmp_path / "questions.jsonl"
    questions.write_text('{"id": "q", "question": "What reaches the sea?"}\n', encoding="utf-8")
    first, second = tmp_path / "run.jsonl", tmp_path / "reranked.jsonl"
    run("index", docs, "--index", address, "--no-vectors")
    searched = ("--questions", questions, "--index", address, "--retriever", "bm25")
    assert run("retrieve", *searched, "--out", first) == 0
    assert run("rerank", "--run", first, "--index", address, "--out", second) == 0
    (row,) = map(json.loads, second.read_text(encoding="utf-8").splitlines())
    assert [Path(one["id"]).name.partition("#")[0] for one in row["ranking"]] == ["tagus.md", "douro.txt"]


def test_vectors_that_the_database_cannot_hold_are_one_line_and_no_failure(
    run: Run, postgres: PostgresServer, docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.execute("CREATE ROLE simple LOGIN", "CREATE DATABASE simple OWNER simple")
    assert run("index", docs, "--index", postgres.address("simple", user="simple")) == 0
    assert capsys.readouterr().err.count("the database has no pgvector, so BM25 alone is used") == 1


def test_documents_that_give_nothing_leave_no_tables(
    run: Run, postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("")
    address = postgres.address(name="none")
    assert run("index", tmp_path / "empty.txt", "--index", address) == 2
    assert run("index", "--list", "--index", address) == 2
    assert "no index there" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("index", "."), ("ask", "x"), ("retrieve", "--questions", "x")])
def test_a_password_is_refused_before_anything_repeats_it(
    run: Run, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, "--index", "postgresql://me:s3cret@host/db") == 2
    out, err = capsys.readouterr()
    assert "postgresql://me:***@host/db" in err
    assert "s3cret" not in out + err
