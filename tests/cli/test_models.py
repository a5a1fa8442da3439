"""`rankrag models` lists, adds, prepares and removes; it measures what is here, once."""

from __future__ import annotations

import pytest

from rankrag import cores
from rankrag.cli import models as command
from rankrag.models import auto, prepared
from rankrag.models.family import FAMILY, base_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache in which preparing takes no weights, and a question takes two seconds."""
    monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepared, "base_file", lambda *_: tmp_path / "base.gguf")
    monkeypatch.setattr(prepared, "_merge", lambda _gguf, _adapter, out: (out / "model.safetensors").write_bytes(b"w"))
    monkeypatch.setattr(prepared, "_check_room", lambda *_: None)
    monkeypatch.setattr(cores, "others_running", lambda: 0)
    return tmp_path / "cache"


def rows(text):
    return {line.split()[0]: line for line in text.splitlines() if line.startswith(FAMILY)}


def test_models_that_are_not_here_are_listed_with_what_they_would_cost(run, cache, capsys):
    assert run("models") == 0
    found = rows(capsys.readouterr().out)
    assert set(found) == set(FAMILY)
    assert all("GB to come" in row and "about" in row for row in found.values())
    assert "Qwen2.5-Coder-1.5B-Instruct" in found["rankrag-base"]


def test_a_prepared_model_is_measured_once(run, cache, capsys, monkeypatch):
    measured = []
    monkeypatch.setattr(command, "seconds_of", lambda name: measured.append(name) or 2.0)
    assert run("models", "--prepare", "rankrag-small") == 0
    row = rows(capsys.readouterr().out)["rankrag-small"]
    assert "2.0 s" in row
    assert "about" not in row
    assert run("models") == 0
    assert measured == ["rankrag-small"]


def test_what_is_measured_beside_other_programs_is_not_kept(run, cache, capsys, monkeypatch):
    monkeypatch.setattr(command, "seconds_of", lambda _: 20.0)
    monkeypatch.setattr(cores, "others_running", lambda: 3)
    assert run("models", "--prepare", "rankrag-small") == 0
    assert "rankrag-small will be measured again" in capsys.readouterr().err
    monkeypatch.setattr(command, "seconds_of", lambda _: 2.0)
    monkeypatch.setattr(cores, "others_running", lambda: 0)
    run("models")
    assert "2.0 s" in rows(capsys.readouterr().out)["rankrag-small"]


def test_a_removed_model_is_gone(run, cache, capsys, monkeypatch):
    monkeypatch.setattr(command, "seconds_of", lambda _: 2.0)
    run("models", "--prepare", "rankrag-small")
    capsys.readouterr()
    assert run("models", "--remove", "rankrag-small") == 0
    assert "to come" in rows(capsys.readouterr().out)["rankrag-small"]
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []


def test_an_unknown_name_and_a_file_that_is_no_base_are_refused(run, cache, tmp_path, capsys):
    assert run("models", "--remove", "/") == 2
    assert "known are rankrag-mini, rankrag-small, rankrag-base" in capsys.readouterr().err
    (tmp_path / "x.gguf").write_bytes(b"x")
    assert run("models", "--add", tmp_path / "x.gguf") == 2
    assert base_of("rankrag-small").file in capsys.readouterr().err


def test_a_question_is_measured_over_as_many_passages_as_are_judged(model):
    assert command.seconds_of("rankrag-mini") > 0
    ranked, answered = model.prompts[1 : auto.JUDGED + 1], model.prompts[auto.JUDGED + 1 :]
    assert [sum(s.kind == "passage" for s in prompt) for prompt in ranked] == [1] * auto.JUDGED
    assert [sum(s.kind == "passage" for s in prompt) for prompt in answered] == [3]
