from __future__ import annotations

import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from rankrag.server import running

KEY = "a-long-enough-key"


@pytest.fixture
def started(run, tmp_path, monkeypatch):
    """Run `rankrag serve` with these options; return its exit code and the servers that it would have run."""
    servers = []
    monkeypatch.setattr(running.Server, "until_stopped", lambda server: servers.append(server))
    monkeypatch.delenv("RANKRAG_API_KEY", raising=False)

    def start(*options: object):
        return run("serve", tmp_path / "new.index", "--collections", tmp_path / "c", *options), servers

    return start


def status(application, **headers: str) -> int:
    return TestClient(application, base_url="http://localhost").get("/metrics", headers=headers).status_code


@pytest.mark.parametrize("source", ["option", "file", "variable"])
def test_the_key_comes_from_an_option_a_file_or_the_environment(started, tmp_path, monkeypatch, capsys, source):
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("RANKRAG_API_KEY", KEY if source == "variable" else "another-long-key")
    options = {"option": ["--api-key", KEY], "file": ["--api-key-file", tmp_path / "key"], "variable": []}[source]
    code, (server,) = started("--host", "0.0.0.0", *options)
    printed = capsys.readouterr()
    assert code == 0
    assert (status(server._app), status(server._app, Authorization=f"Bearer {KEY}")) == (401, 200)
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
    code, servers = started(*options)
    assert (code, servers) == (2, [])
    assert said in capsys.readouterr().err


def test_the_page_is_shown_if_asked_for_and_if_there_is_a_screen(started, monkeypatch):
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    quiet, loud = (started("--port", 8100, *options)[1][-1] for options in ([], ["--open"]))
    assert (quiet._page, loud._page) == ("", "http://localhost:8100/")
    running.show_page(loud._page)
    assert shown == []
    monkeypatch.setenv("DISPLAY", ":0")
    running.show_page(loud._page)
    assert shown == ["http://localhost:8100/"]
