"""A folder keeps the states that are asked for most, within its bound, whoever writes there."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
import torch

from rankrag.models import state_folder
from rankrag.models.state_folder import A_USE, KEEP_FREE, StateFolder

STATE = {layer: (torch.ones(1, 50, 50), torch.zeros(1, 50, 50)) for layer in (0, 10)}
BYTES = 40_500
"""Of a state's file, about."""


@pytest.fixture
def opened(tmp_path):
    """Open the folder as a process of its own does."""

    def open_one(states=3, said=None):
        say = said.append if said is not None else pytest.fail
        return StateFolder(tmp_path / "states", "model", limit=states * BYTES, say=say)

    return open_one


def kept(tmp_path):
    return sorted(path.stem for path in tmp_path.rglob("*.safetensors"))


def days_pass(tmp_path, days):
    """Let every state's time be nearer by so many days."""
    for path in tmp_path.rglob("*.safetensors"):
        os.utime(path, (time.time(), path.stat().st_mtime - days * A_USE))


def test_a_full_folder_takes_nothing_more_on_the_same_day(opened, tmp_path):
    folder = opened()
    for key in "abcdef":
        folder.write(key, STATE)
    assert kept(tmp_path) == ["a", "b", "c"]


def test_what_is_asked_for_most_stays(opened, tmp_path):
    folder = opened()
    for key in "abc":
        folder.write(key, STATE)
    for _ in range(3):
        assert opened().read("b") is not None  # by other processes
    days_pass(tmp_path, 1.5)
    later = opened()
    later.write("d", STATE)
    later.write("e", STATE)
    later.write("f", STATE)
    assert kept(tmp_path) == ["b", "d", "e"]
    days_pass(tmp_path, 4)
    opened().write("g", STATE)
    assert {"b", "g"} < set(kept(tmp_path))
    assert len(kept(tmp_path)) == 3


def test_what_another_process_has_written_counts_after_a_minute(opened, tmp_path, monkeypatch):
    first, second = opened(), opened()
    for key in "abc":
        first.write(key, STATE)
    monkeypatch.setattr(second, "_look_at", 0.0)
    second.write("d", STATE)
    assert kept(tmp_path) == ["a", "b", "c"]


def test_a_state_larger_than_the_bound_is_not_written(opened, tmp_path):
    opened(states=0.5).write("a", STATE)
    assert kept(tmp_path) == []


def test_the_rest_of_the_disk_is_left_to_others(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(state_folder.shutil, "disk_usage", lambda _: SimpleNamespace(free=KEEP_FREE + 100))
    opened().write("a", STATE)
    assert kept(tmp_path) == []


def test_a_state_comes_back_as_it_was_and_a_damaged_one_is_deleted(opened, tmp_path):
    opened().write("a", STATE)
    found = opened().read("a")
    assert found.keys() == STATE.keys()
    assert all(map(torch.equal, found[0] + found[10], STATE[0] + STATE[10]))
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    assert opened().read("a") is None
    assert kept(tmp_path) == []
