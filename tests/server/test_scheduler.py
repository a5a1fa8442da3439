from __future__ import annotations

import asyncio
import threading
import time

import pytest

from rankrag.errors import DataError
from rankrag.models import ModelInfo
from rankrag.models.fake import FakeLanguageModel
from rankrag.server.metrics import Metrics
from rankrag.server.scheduler import BusyError, GoneError, Scheduler, Ticket
from rankrag.types import Passage, Question, StateUse

QUESTION = Question("q", "Which river is longest?")


class Recording(FakeLanguageModel):
    """Keeps the sizes of the batches it scored; `gate` holds it back until it is open."""

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.batches: list[list[str]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def choice_logprobs(self, prompts, choices):
        self.entered.set()
        self.gate.wait(60)
        self.batches.append([next(s.text for s in p.prompt if s.kind == "passage") for p in prompts])
        return super().choice_logprobs(prompts, choices)


def pairs(name: str, count: int) -> list[tuple[Question, Passage]]:
    return [(QUESTION, Passage(f"{name}{i}", f"{name}{i} " + "word " * 80)) for i in range(count)]


@pytest.fixture
def scheduler():
    made = []

    def make(model=None, **settings) -> Scheduler:
        made.append(Scheduler(model or Recording(yes_if="longest"), Metrics(), **settings))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.model.gate.set()
        one.stop(5)


def test_judgements_keep_the_order_of_the_pairs(scheduler):
    judged = asyncio.run(scheduler().judge([*pairs("a", 3), (QUESTION, Passage("l", "longest"))], Ticket()))
    assert [round(j.probability, 1) for j in judged] == [0.1, 0.1, 0.1, 0.9]


def test_a_short_request_does_not_wait_for_a_long_one_of_another_client(scheduler):
    one = scheduler(batch_tokens=1000)

    async def both() -> list[str]:
        ended = []

        async def ask(name: str, count: int) -> None:
            await one.judge(pairs(name, count), Ticket(name))
            ended.append(name)

        one.model.gate.clear()
        waiting = [asyncio.create_task(ask("long", 400)), asyncio.create_task(ask("short", 5))]
        await asyncio.sleep(0.05)
        one.model.gate.set()
        await asyncio.gather(*waiting)
        return ended

    assert asyncio.run(both()) == ["short", "long"]
    assert any({text[0] for text in batch} == {"l", "s"} for batch in one.model.batches)


def test_a_full_queue_refuses_and_says_when_to_come_back(scheduler):
    one = scheduler(max_waiting=2)

    async def many() -> None:
        one.model.gate.clear()
        waiting = [asyncio.create_task(one.judge(pairs(f"{i}", 2), Ticket(f"{i}"))) for i in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError) as refused:
            await one.judge(pairs("x", 1), Ticket("x"))
        assert refused.value.retry_after >= 1
        one.model.gate.set()
        await asyncio.gather(*waiting)

    asyncio.run(many())


def test_a_client_that_goes_away_costs_no_more_batches(scheduler):
    one = scheduler(batch_tokens=500)

    async def leave() -> None:
        one.model.gate.clear()
        task = asyncio.create_task(one.judge(pairs("a", 300), Ticket("a")))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        one.model.gate.set()
        await one.judge(pairs("b", 1), Ticket("b"))

    asyncio.run(leave())
    assert sum(map(len, one.model.batches)) < 20


def test_a_deadline_ends_judging_with_what_is_judged(scheduler):
    one = scheduler(batch_tokens=500)
    judged = asyncio.run(one.judge(pairs("a", 300), Ticket("a", deadline=time.monotonic())))
    assert 0 < len(judged) < 300


def test_enough_is_enough(scheduler):
    one = scheduler(batch_tokens=500)
    judged = asyncio.run(one.judge(pairs("a", 300), Ticket("a"), lambda so_far: len(so_far) >= 10))
    assert 10 <= len(judged) < 30


def test_a_pair_that_fails_fails_its_own_request_only(scheduler):
    class Choosy(Recording):
        def encode(self, prompts, *, reserve=1):
            if any("bad" in s.text for p in prompts for s in p):
                raise DataError("too long")
            return super().encode(prompts, reserve=reserve)

    one = scheduler(Choosy())

    async def both():
        good = one.judge(pairs("good", 3), Ticket("g"))
        bad = one.judge([(QUESTION, Passage("x", "bad"))], Ticket("b"))
        return await asyncio.gather(good, bad, return_exceptions=True)

    good, bad = asyncio.run(both())
    assert len(good) == 3
    assert isinstance(bad, DataError)


def test_answers_that_wait_together_are_written_together_and_alone_in_pieces(scheduler):
    together = []

    class Counting(Recording):
        def generate(self, prompts, params):
            together.append(len(prompts))
            return super().generate(prompts, params)

    one = scheduler(Counting(reply="one two three"))

    async def collect(ask: str = "") -> list[str]:
        return [piece async for piece in one.write(QUESTION, (), Ticket(ask)).read()]

    alone = asyncio.run(collect())

    async def many() -> list[list[str]]:
        one.model.gate.clear()
        blocker = asyncio.create_task(one.judge(pairs("a", 1), Ticket("a")))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(collect(f"{i}")) for i in range(4)]
        await asyncio.sleep(0.05)
        one.model.gate.set()
        await blocker
        return await asyncio.gather(*waiting)

    assert alone == ["one", " two", " three"]
    assert [("".join(pieces)) for pieces in asyncio.run(many())] == ["one two three"] * 4
    assert max(together) == 4


def test_stopping_finishes_what_was_accepted_and_refuses_the_rest(scheduler):
    one = scheduler(batch_tokens=500)

    async def stop() -> int:
        one.model.gate.clear()
        task = asyncio.create_task(one.judge(pairs("a", 60), Ticket("a")))
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(asyncio.to_thread(one.stop, 10))
        await asyncio.sleep(0.05)
        with pytest.raises(GoneError):
            await one.judge(pairs("b", 1), Ticket("b"))
        one.model.gate.set()
        await stopping
        return len(await task)

    assert asyncio.run(stop()) == 60


def test_background_work_waits_until_nothing_else_does(scheduler):
    one = scheduler(batch_tokens=500)
    judged_before = []

    async def both() -> None:
        one.model.gate.clear()
        judging = asyncio.create_task(one.judge(pairs("a", 60), Ticket("a")))
        await asyncio.sleep(0.05)
        look = asyncio.create_task(
            one.call(lambda: judged_before.append(sum(map(len, one.model.batches))), Ticket("i"), background=True)
        )
        await asyncio.sleep(0.05)
        one.model.gate.set()
        await asyncio.gather(judging, look)

    asyncio.run(both())
    assert judged_before == [60]


def test_a_server_that_cannot_wait_longer_refuses_what_it_has_not_done(scheduler):
    one = scheduler(batch_tokens=500)

    async def stop() -> list[object]:
        one.model.gate.clear()
        judging = asyncio.create_task(one.judge(pairs("a", 60), Ticket("a")))
        await asyncio.to_thread(one.model.entered.wait, 60)
        calling = asyncio.create_task(one.call(lambda: 1, Ticket("b")))
        writing = asyncio.create_task(anext(one.write(QUESTION, (), Ticket("c")).read()))
        await asyncio.sleep(0)
        await asyncio.to_thread(one.stop, 0.05)
        found = await asyncio.gather(judging, calling, writing, return_exceptions=True)
        one.model.gate.set()
        return found

    assert [type(error) for error in asyncio.run(stop())] == [GoneError] * 3
    one._thread.join(10)
    assert not one._thread.is_alive()


class Counting(Recording):
    """Keeps the states of each second passage that it reads."""

    @property
    def info(self):
        read = sum(map(len, self.batches))
        return ModelInfo(states=StateUse(read // 2, read))

    @info.setter
    def info(self, _):
        pass


def test_a_client_alone_is_told_the_use_of_kept_states(scheduler):
    one, ticket = scheduler(Counting(), batch_tokens=500), Ticket("a")
    asyncio.run(one.judge(pairs("a", 20), ticket))
    assert ticket.states == StateUse(10, 20)


def test_clients_that_shared_a_batch_are_not_told_each_others_use(scheduler):
    one, tickets = scheduler(Counting()), [Ticket("a"), Ticket("b")]

    async def both() -> None:
        one.model.gate.clear()
        waiting = [asyncio.create_task(one.judge(pairs(t.client, 4), t)) for t in tickets for _ in range(2)]
        await asyncio.sleep(0.05)
        one.model.gate.set()
        await asyncio.gather(*waiting)

    asyncio.run(both())
    assert [t.states for t in tickets] == [None, None]


def test_a_fault_in_the_thread_breaks_what_waits_and_not_the_thread(scheduler):
    one = scheduler(batch_tokens=500)

    def faulty(_):
        raise ZeroDivisionError

    async def both() -> list[object]:
        broken = await asyncio.gather(one.judge(pairs("a", 60), Ticket("a"), faulty), return_exceptions=True)
        return [*broken, *await one.judge(pairs("b", 3), Ticket("b"))]

    error, *judged = asyncio.run(both())
    assert isinstance(error, RuntimeError)
    assert "its log says more" in str(error)
    assert len(judged) == 3
