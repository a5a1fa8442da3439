"""`--model auto` takes the best trained member that fits and is fast enough; what was measured is kept."""

from __future__ import annotations

import pytest
import torch

from rankrag import devices
from rankrag.models import auto, memory_size
from rankrag.models.auto import choose, expected_seconds, keep_seconds, measured_seconds
from rankrag.models.family import FAMILY, MINI, base_of

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with much memory and a family that is trained whole; `seconds` are kept as if measured."""
    monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path))
    monkeypatch.setattr(auto, "is_trained", lambda _: True)
    monkeypatch.setattr(memory_size, "total_bytes", lambda: 64 * GIB)

    def measured(**seconds):
        for name, found in seconds.items():
            keep_seconds(f"rankrag-{name}", found)

    return measured


@pytest.mark.parametrize(
    ("small", "base", "chosen"),
    [
        (5.0, 14.9, "rankrag-base"),
        (5.0, 15.1, "rankrag-small"),
        (16.0, 40.0, "rankrag-mini"),
        (16.0, 1.0, "rankrag-base"),
    ],
)
def test_the_largest_one_that_is_fast_enough_is_taken(machine, small, base, chosen):
    machine(mini=1.0, small=small, base=base)
    said = []
    assert choose(said.append) == chosen
    (line,) = said
    assert line.startswith(f"--model auto: {chosen}, about ")
    assert ("rankrag-base is larger and takes about" in line) == (chosen != "rankrag-base")


def test_one_that_does_not_fit_into_memory_is_passed_over(machine, monkeypatch):
    machine(mini=1.0, small=1.0, base=1.0)
    monkeypatch.setattr(memory_size, "total_bytes", lambda: auto.memory_here("rankrag-base") - 1)
    assert choose() == "rankrag-small"
    monkeypatch.setattr(memory_size, "total_bytes", lambda: 1 * GIB)
    assert choose() == MINI  # the smallest is always taken


def test_one_without_adapter_is_no_choice(machine, monkeypatch):
    machine(mini=1.0, small=1.0, base=1.0)
    monkeypatch.setattr(auto, "is_trained", lambda name: name != "rankrag-base")
    assert choose() == "rankrag-small"


def test_before_anything_is_measured_parameters_and_cores_tell_the_time(machine, monkeypatch):
    monkeypatch.setattr(devices, "pick_device", lambda _: torch.device("cpu"))
    monkeypatch.setattr(devices, "has_bf16", lambda: True)
    monkeypatch.setattr(auto.os, "cpu_count", lambda: 2)
    mini, small, base = (expected_seconds(name) for name in FAMILY)
    assert mini == pytest.approx(2.3, rel=0.4)  # as measured on two cores
    assert small == pytest.approx(5.7, rel=0.1)
    assert base == pytest.approx(17.8, rel=0.1)
    assert base > auto.ACCEPTABLE_SECONDS
    monkeypatch.setattr(auto.os, "cpu_count", lambda: 8)
    assert expected_seconds("rankrag-base") == base / 4
    monkeypatch.setattr(devices, "has_bf16", lambda: False)
    assert expected_seconds("rankrag-base") == base / 2
    monkeypatch.setattr(devices, "pick_device", lambda _: torch.device("cuda"))
    assert expected_seconds("rankrag-base") < mini


def test_the_nearest_member_that_was_measured_says_what_another_takes(machine):
    machine(mini=3.0, small=9.0)
    sizes = {name: base_of(name).parameters for name in FAMILY}
    expected = 9.0 * sizes["rankrag-base"] / sizes["rankrag-small"]
    assert expected_seconds("rankrag-base") == pytest.approx(expected)
    assert expected_seconds(MINI) == 3.0


def test_what_was_measured_elsewhere_does_not_count(machine, monkeypatch):
    machine(small=3.0)
    assert measured_seconds("rankrag-small") == 3.0
    monkeypatch.setattr(auto.platform, "node", lambda: "another")
    assert measured_seconds("rankrag-small") is None


def test_a_damaged_record_is_measured_again(machine, tmp_path):
    machine(small=3.0)
    (tmp_path / "seconds.json").write_text("[")
    assert measured_seconds("rankrag-small") is None
    machine(small=4.0)
    assert measured_seconds("rankrag-small") == 4.0
