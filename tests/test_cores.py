"""A pass leaves to other programs the cores that they use, and takes all of them when it is alone."""

from __future__ import annotations

import pytest
import torch

from rankrag import cores
from rankrag.cores import others_running, share_cores, threads_for


@pytest.mark.parametrize(
    ("others", "on", "most", "expected"),
    [
        (0, 2, 2, 2),
        (1, 2, 2, 1),
        (2, 2, 2, 1),
        (9, 2, 2, 1),
        (0, 16, 8, 8),
        (4, 16, 16, 12),
        (16, 16, 16, 8),  # two of us get half each, whoever looks first
        (40, 64, 2, 2),  # other programs of a large host, of which this container has two cores
        (5, 8, 1, 1),
    ],
)
def test_threads_are_the_free_cores_and_at_least_half_of_all(others, on, most, expected):
    assert threads_for(others, on, most) == expected


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system whose load is what the test says, once for each look at it."""
    (tmp_path / "task").mkdir()
    looks = []

    class Load:
        def read_text(self):
            return f"1.00 1.00 1.00 {looks.pop(0) if len(looks) > 1 else looks[0]}/150 4711\n"

    monkeypatch.setattr(cores, "_LOAD", Load())
    monkeypatch.setattr(cores, "_OWN_THREADS", tmp_path / "task")

    def put(running, own="R"):
        looks[:] = running
        for number, state in enumerate(own):
            (tmp_path / "task" / str(number)).mkdir(exist_ok=True)
            (tmp_path / "task" / str(number) / "stat").write_text(f"{number} (a (strange) name) {state} 1 2 3")

    return put


def test_own_threads_are_no_others(system):
    system([3], own="RRS")
    assert others_running() == 1
    system([2], own="RRS")
    assert others_running() == 0


def test_what_runs_only_for_a_moment_does_not_count(system):
    system([5, 1])
    assert others_running() == 0
    system([5, 3])
    assert others_running() == 2


def test_a_system_that_does_not_say_has_no_others(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "_LOAD", tmp_path / "missing")
    assert others_running() == 0


@pytest.fixture
def threads(monkeypatch):
    """A machine with four cores, of which a test can make torch's threads the user's own choice."""
    now = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: now.__setitem__(0, count))
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "_cores", [])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return now


def test_a_pass_takes_fewer_threads_beside_others_and_all_when_they_are_gone(system, threads):
    system([3])
    share_cores(torch.device("cpu"))
    assert threads == [2]
    system([1])
    share_cores(torch.device("cpu"))
    assert threads == [4]


def test_a_number_that_the_user_has_set_stays(system, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    system([9])
    share_cores(torch.device("cpu"))
    assert threads == [4]


def test_a_pass_on_a_gpu_changes_nothing(system, threads):
    system([9])
    share_cores(torch.device("cuda"))
    assert threads == [4]
