"""Passages read ahead: what is made, what is there already, what it would cost, and who cannot."""

from __future__ import annotations

import errno
import os
import time

import pytest

from rankrag.errors import ConfigError
from rankrag.models import state_folder
from rankrag.models.ahead import make_states
from rankrag.models.fake import FakeLanguageModel
from rankrag.opening import open_model
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question, StateUse

PASSAGES = [Passage(f"p{n}", f"passage number {n} tells of rivers") for n in range(40)]
SAME_TEXT = [Passage("again", PASSAGES[0].text)]


@pytest.fixture
def opened(tiny_model_dir, tmp_path):
    return lambda: open_model(str(tiny_model_dir), dtype="float32", state_cache=tmp_path / "states", say=pytest.fail)


def test_a_question_about_passages_that_were_read_ahead_finds_all_of_them(opened):
    said = []
    assert make_states(opened(), [*PASSAGES, *SAME_TEXT], say=said.append) == 40
    (cost,) = said
    assert "the states of 40 passages take about 0.0 GiB and 0 minutes" in cost
    later = opened()
    prompts = later.encode([ranking_prompt(later.contract.format, Question("q", "why?"), p) for p in PASSAGES])
    later.choice_logprobs(prompts, later.contract.labels)
    assert later.info.states == StateUse(40, 40)


def test_what_is_there_is_not_made_again_and_killed_work_goes_on(opened):
    def killed(text, done, total):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_states(opened(), PASSAGES, progress=killed)
    steps = []
    assert make_states(opened(), PASSAGES, progress=lambda *step: steps.append(step)) == 24
    assert steps == [("Passages read", 16, 24), ("Passages read", 24, 24)]
    assert make_states(opened(), PASSAGES, None, pytest.fail, pytest.fail) == 0


def test_states_that_do_not_fit_are_refused_after_the_first_few(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(state_folder.StateFolder.__init__, "__kwdefaults__", {"limit": 40_000, "say": pytest.fail})
    with pytest.raises(ConfigError, match=r"states of 40 passages take about 0\.0 GiB, and .*states may hold 0\.0"):
        make_states(opened(), PASSAGES, say=pytest.fail)
    made = len(list((tmp_path / "states").rglob("*.safetensors")))
    assert made <= 17
    # what is allowed once holds for every process that comes later
    assert make_states(opened(), PASSAGES, 0.1) == 40 - made
    assert make_states(opened(), [*PASSAGES, Passage("new", "a new passage")]) == 1


def test_states_that_find_no_room_are_counted(opened, tmp_path):
    make_states(opened(), PASSAGES[:20])
    taken = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))
    other = tmp_path / "states" / "another model" / "key.safetensors"  # made just now, so it stays
    other.parent.mkdir()
    other.write_bytes(bytes(taken))
    os.utime(other, (time.time(), time.time() + 1000))
    said = []
    made = make_states(opened(), PASSAGES, 2.5 * taken / 2**30, said.append)
    assert 0 < made < 20
    assert said[-1].startswith(f"{20 - made} states found no room: ")


@pytest.fixture
def refusing(tiny_model_dir, tmp_path, monkeypatch):
    """Open a model with a folder where a function of the system fails; `said` hears of it."""

    def open_one(step, code, said):
        def refuse(*_):
            raise OSError(code, os.strerror(code))

        model = open_model(str(tiny_model_dir), dtype="float32", state_cache=tmp_path / "states", say=said.append)
        monkeypatch.setattr(state_folder, step, refuse)
        return model

    return open_one


def test_a_folder_that_cannot_be_written_is_an_error(refusing, tmp_path):
    said = []
    model = refusing("write_whole", errno.EROFS, said)
    with pytest.raises(ConfigError, match="no folder that can be written"):
        make_states(model, PASSAGES, 1.0)
    assert said == [f"state_cache {tmp_path / 'states'}: cannot be written (Read-only file system)"]


def test_a_disk_that_refuses_the_first_states_is_an_error(refusing):
    said = []
    model = refusing("save_file", errno.ENOSPC, said)
    with pytest.raises(ConfigError, match="the states cannot be written"):
        make_states(model, PASSAGES)
    assert "No space left on device" in said[0]


def test_a_folder_of_something_else_is_left_alone(tiny_model_dir, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    said = []
    model = open_model(str(tiny_model_dir), dtype="float32", state_cache=tmp_path, say=said.append)
    with pytest.raises(ConfigError, match="no folder that can be written"):
        make_states(model, PASSAGES, 1.0)
    assert "holds other things than passage states" in said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_who_cannot_make_states_is_told_why(tiny_model_dir, tmp_path):
    both = open_model(str(tiny_model_dir), device="cpu,cpu", dtype="float32", state_cache=tmp_path / "states")
    for model in (FakeLanguageModel(), both):
        with pytest.raises(ConfigError, match="one model in this process"):
            make_states(model, PASSAGES)
    in_memory = open_model(str(tiny_model_dir), dtype="float32", state_cache="memory")
    with pytest.raises(ConfigError, match="no folder that can be written"):
        make_states(in_memory, PASSAGES)
