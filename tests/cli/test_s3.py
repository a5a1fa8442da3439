"""An index in a bucket behind the commands that take one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankrag.models.fake import FakeLanguageModel
from tests.s3_server import S3Server

from ..conftest import Run


def test_an_index_in_a_bucket_takes_the_place_of_a_folder(
    run: Run, s3: S3Server, tmp_path: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    docs, address = tmp_path / "docs", "s3://team/cli"
    docs.mkdir()
    (docs / "tagus.md").write_text("# Tagus\n\nThe Tagus reaches the sea at Lisbon.\n", encoding="utf-8")
    (docs / "douro.txt").write_text("The Douro reaches the sea at Porto.\n", encoding="utf-8")
    assert run("index", docs, "--index", address, "--no-vectors") == 0
    (docs / "douro.txt").unlink()
    assert run("index", docs, "--index", address, "--no-vectors", "--list") == 0
    assert "1 unchanged, 1 gone; the index holds 1 passages" in capsys.readouterr().err
    assert run("ask", "Where does the Tagus end?", "--index", address, "--retriever", "bm25", "--json") == 0
    assert json.loads(capsys.readouterr().out)["text"].startswith("Tagus")
    questions, found, reranked = (tmp_path / f"{name}.jsonl" for name in ("questions", "run", "reranked"))
    questions.write_text('{"id": "q", "question": "What reaches the sea?"}\n', encoding="utf-8")
    searched = ("--questions", questions, "--index", address, "--retriever", "bm25")
    assert run("retrieve", *searched, "--out", found) == 0
    assert run("rerank", "--run", found, "--index", address, "--out", reranked) == 0
    assert len(json.loads(reranked.read_text(encoding="utf-8"))["ranking"]) == 1
    assert run("index", "--index", address, "--remove", docs) == 0
    assert f"Removed {docs}: 1 passages." in capsys.readouterr().err


def test_documents_that_give_nothing_leave_no_index(
    run: Run, s3: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("")
    assert run("index", tmp_path / "empty.txt", "--index", "s3://team/empty") == 2
    assert run("index", "--list", "--index", "s3://team/empty") == 2
    assert "s3://team/empty: no index there" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("index", ".", "--index"),
        ("ask", "x", "--index"),
        ("retrieve", "--questions", "x", "--index"),
        ("blend", "--out", "x", "--from-index"),
        ("fit", "--out", "x", "--from-index"),
    ],
)
def test_a_secret_is_refused_before_anything_repeats_it(
    run: Run, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, "s3://key:s3cret@team/x") == 2
    out, err = capsys.readouterr()
    assert "s3://***@team/x" in err
    assert "s3cret" not in out + err
