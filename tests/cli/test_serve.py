from __future__ import annotations

import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from rankrag.server import running

KEY = "a-long-enough-key"


@pytest.fixture
def started(run, tmp_path, monkeypatch):
    """Run `rankrag serve` with these options; return its exit code and the applications that it would have served."""
    applications = []
    monkeypatch.setattr(running.Server, "until_stopped", lambda server: applications.append(server._app))
    monkeypatch.delenv("RANKRAG_API_KEY", raising=False)

    def start(*options: object):
        return run("serve", tmp_path / "new.index", "--collections", tmp_path / "c", *options), applications

    return start


def status(application, **headers: str) -> int:
    return TestClient(application, base_url="http://localhost").get("/metrics", headers=headers).status_code


@pytest.mark.parametrize("source", ["option", "file", "variable"])
def test_the_key_comes_from_an_option_a_file_or_the_environment(started, tmp_path, monkeypatch, capsys, source):
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("RANKRAG_API_KEY", KEY if source == "variable" else "another-long-key")
    options = {"option": ["--api-key", KEY], "file": ["--api-key-file", tmp_path / "key"], "variable": []}[source]
    code, (application,) = started("--host", "0.0.0.0", *options)
    printed = capsys.readouterr()
    assert code == 0
    assert (status(application), status(application, Authorization=f"Bearer {KEY}")) == (401, 200)
    assert KEY not in printed.out + printed.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "needs a key"),
        (["--api-key", "short"], "shorter than 8 characters"),
        (["--api-key-file", "/no/such/file"], "/no/such/file"),
    ],
)
def test_a_server_that_would_be_open_does_not_start(started, capsys, options, said):
    code, applications = started(*options)
    assert (code, applications) == (2, [])
    assert said in capsys.readouterr().err
