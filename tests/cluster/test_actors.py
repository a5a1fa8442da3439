from __future__ import annotations

import gc
import sys
from functools import partial

import pytest

from rankrag.cluster.actors import Workers
from rankrag.cluster.address import parse_cluster
from rankrag.data.in_order import in_order
from rankrag.errors import DataError, MissingExtraError, ModelError

from .conftest import RayError, RayTaskError


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def workers(ray, said):
    return Workers(parse_cluster("auto"), say=said.append)


def begin(say):
    say("a vector is missing")
    return []


def twice(part, n):
    part.append(n)
    return 2 * n


def test_work_is_done_by_all_and_what_workers_say_is_said_once(workers, said):
    held = workers.hold("a list", begin)
    assert list(in_order(partial(held, twice), range(20), at_once=held.size)) == [2 * n for n in range(20)]
    assert said == ["2 workers begin on the 2 nodes of the cluster.", "a vector is missing"]


def test_a_part_is_closed_once_nobody_holds_it(workers):
    opened = []

    def begin_counted(_):
        opened.append(1)
        return opened

    first = workers.hold("first", begin_counted)
    second = workers.hold("second", lambda _: "second")
    first(len)
    assert len(opened) == 2
    del first
    gc.collect()
    for _ in range(4):
        second(len)
    workers.hold("first", begin_counted)
    assert len(opened) == 4


def test_a_worker_that_dies_is_replaced_and_its_work_done_again(workers, ray, said):
    held, died = workers.hold("a list", begin), []

    def die_once(part, n):
        if n == 3 and not died:
            died.append(n)
            raise RayError("The actor died unexpectedly: killed by 9.")
        return n

    assert list(in_order(partial(held, die_once), range(9), at_once=2)) == list(range(9))
    for _ in range(workers.size):  # until the new one has begun
        workers._free.get(timeout=30)
    assert len(ray.killed) == 1
    assert ray.killed[0] not in workers._actors
    assert len(workers._actors) == workers.size
    assert said[-1].startswith("A worker died (The actor died unexpectedly: killed by 9.)")


def test_workers_that_are_closed_end_all(ray, workers):
    workers.hold("a list", begin)
    workers.close()
    assert len(ray.killed) == workers.size
    assert len(set(map(id, ray.killed))) == workers.size


def test_work_that_kills_every_worker_is_an_error_of_its_own(workers):
    def die(_, n):
        raise RayError("died")

    with pytest.raises(DataError, match=r"4 workers died over it, one after the other \(died\)"):
        workers.hold("a list", begin)(die, 1)


def test_errors_are_those_of_the_work_and_name_the_node_if_it_is_at_fault(workers):
    held = workers.hold("a list", begin)

    def raised(_, error):
        raise error

    for error in (DataError("row 7: too long"), PermissionError(13, "Permission denied"), RayTaskError("a bug")):
        with pytest.raises(type(error)) as found:
            held(raised, error)
        assert found.value is error
    with pytest.raises(ModelError, match=r"worker on .* \(10.0.0.7\): out of memory"):
        held(raised, ModelError("out of memory"))
    with pytest.raises(
        ModelError, match=r"worker on .*: model m cannot be opened there \(no folder\); every node needs"
    ):
        workers.hold("model m", partial(raised, error=ModelError("no folder")))


def test_a_worker_that_cannot_begin_tells_what_to_install(workers):
    failed = RayError("ModuleNotFoundError: No module named 'rankrag'")
    failed.actor_init_failed = True

    def fail(_):
        raise failed

    with pytest.raises(ModelError, match=r"a worker cannot begin .*install the same rankrag on every node"):
        workers.hold("a list", begin)(fail)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rankrag\[ray\]"'):
        Workers(parse_cluster("auto"))
