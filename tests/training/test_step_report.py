"""A run says where it is: a line after its first step, and one for each entry of its log."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rankrag.training import step_report
from rankrag.training.step_report import StepReport


@pytest.fixture
def run(monkeypatch):
    """A run of ten steps of 600 tokens, each taking two seconds."""
    clock, said, reported = [100.0], [], []
    monkeypatch.setattr(step_report.time, "monotonic", lambda: clock[0])
    told = StepReport([600] * 10, lambda done, total: reported.append((done, total)), said.append)
    args = SimpleNamespace(logging_steps=4)

    def go(first, last, process_zero=True):
        state = SimpleNamespace(global_step=first, max_steps=10, is_world_process_zero=process_zero)
        told.on_train_begin(args, state, None)
        for step in range(first + 1, last + 1):
            clock[0] += 2
            state.global_step = step
            told.on_step_end(args, state, None)
            if step % 4 == 0:
                told.on_log(args, state, None, {"loss": 0.5, "grad_norm": 3.0, "loss_context_qa": 1.25})
        return said, reported

    return go


def test_each_entry_of_the_log_says_step_speed_time_left_and_losses(run):
    said, reported = run(0, 8)
    assert said == [
        "step 1 of 10, 300 tokens/s, 18 s left",
        "step 4 of 10, 300 tokens/s, 12 s left, loss 0.500, loss_context_qa 1.250",
        "step 8 of 10, 300 tokens/s, 4 s left, loss 0.500, loss_context_qa 1.250",
    ]
    assert reported == [(step, 10) for step in range(1, 9)]


def test_a_run_that_goes_on_counts_only_its_own_steps(run):
    said, _ = run(6, 8)
    assert said[0] == "step 7 of 10, 300 tokens/s, 6 s left"


def test_only_the_first_process_speaks(run):
    said, reported = run(0, 4, process_zero=False)
    assert said == []
    assert len(reported) == 4


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (61, "1 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")])
def test_time_is_said_in_the_unit_that_people_use(seconds, text):
    assert step_report.duration(seconds) == text
