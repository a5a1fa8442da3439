"""The workers of a cluster: actors that hold what a command works with, and answer one call at a time.

Actors of Ray's core, not of Ray Data: an execution of Ray Data begins and ends its actors, and a run of `evaluate` asks
one model some hundred times, so it would load the model as often (docs/cluster.md has the times).
"""

from __future__ import annotations

import logging
import os
import socket
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from rankrag.cluster.address import ClusterAddress
from rankrag.errors import ConfigError, DataError, MissingExtraError, ModelError, RankragError, first_line

B = TypeVar("B")
R = TypeVar("R")
Say = Callable[[str], None]

_TRIES = 4
"""Workers that may die over one piece of work before it counts as one that cannot be done."""


@dataclass(frozen=True, slots=True)
class Part(Generic[B]):
    """What workers hold: its name for people, and how a worker opens it; lines about what it could not do are said."""

    name: str
    open: Callable[[Say], B]


@dataclass(frozen=True, slots=True)
class _Reply:
    found: Any = None
    error: Exception | None = None
    said: tuple[str, ...] = ()


class _Actor:
    """A worker's inside. Parts are opened by the first call that needs them, so that an error can say what is wrong."""

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def ready(self) -> None:
        """Return once the worker has begun."""

    def call(
        self, part: Part[Any], held: frozenset[str], work: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> _Reply:
        """Return the work on a part; let go of parts that are no longer `held`, before another is opened."""
        self._opened = {name: opened for name, opened in self._opened.items() if name in held}
        said: list[str] = []
        try:
            if part.name not in self._opened:
                self._opened[part.name] = _opened(part, said.append)
            return _Reply(work(self._opened[part.name], *arguments), None, tuple(said))
        except (DataError, OSError) as error:  # of this piece of work alone
            return _Reply(None, error, tuple(said))
        except RankragError as error:
            return _Reply(None, type(error)(f"worker on {_node()}: {error}"), tuple(said))


def _opened(part: Part[B], say: Say) -> B:
    try:
        return part.open(say)
    except (RankragError, OSError) as error:
        raise ModelError(
            f"{part.name} cannot be opened there ({error}); every node needs the same files at the same place: copy or "
            "mount them, name a model that a server has, or leave the node out of the cluster"
        ) from None


def _node() -> str:
    from ray.util import get_node_ip_address

    return f"{socket.gethostname()} ({get_node_ip_address()})"


class _DiedError(Exception):
    """A worker died over a call; another one is in its place."""


class Workers:
    """Workers of one cluster, each with its own processor or GPU.

    Args:
        address: the cluster and what a worker takes of it.
        gpu: whether workers may take GPUs if the address does not say.
        say: gets a line when workers begin and when one dies, and what workers say.

    Raises:
        ConfigError: there is no cluster, or no worker fits into it.
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, address: ClusterAddress, *, gpu: bool = True, say: Say = lambda _: None) -> None:
        self._actors: list[Any] = []
        self._closed = False
        self._ray = _connected(address)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self._takes = address.fitted(nodes, gpu=gpu)
        self._say, self._said = say, set[str]()
        self._held: set[str] = set()
        self._free: SimpleQueue[Any] = SimpleQueue()
        self.size = self._takes.workers or 1
        say(f"{self.size} workers begin on the {len(nodes)} nodes of the cluster.")
        for _ in range(self.size):
            self._free.put(self._begin())

    def hold(self, name: str, open_: Callable[[Say], B]) -> Held[B]:
        """Let every worker open a part; return what calls them. It is held for as long as that is alive."""
        part = Part(name, open_)
        self._held.add(name)
        actors = [self._free.get()]
        while not self._free.empty():  # less than `size` if a node was lost and no other has room
            actors.append(self._free.get())
        with ThreadPoolExecutor(self.size) as threads:
            for done in [threads.submit(self._on, actor, part, _nothing, ()) for actor in actors]:
                try:
                    done.result()
                except _DiedError:  # the one in its place opens the part when it is first called
                    continue
        return Held(self, part)

    def close(self) -> None:
        """End the workers, also those that still wait for a place; what they have in hand is lost."""
        self._closed = True
        for actor in list(self._actors):  # another thread may be replacing one
            self._ray.kill(actor)

    def release(self, name: str) -> None:
        """Let workers close a part at their next call."""
        self._held.discard(name)

    def call(self, part: Part[B], work: Callable[..., R], arguments: tuple[Any, ...]) -> R:
        """Return `work(opened part, *arguments)` of the next free worker; raise what it raises.

        If workers keep dying over it, that is a `DataError`: this piece of work cannot be done.
        """
        why = ""
        for _ in range(_TRIES):
            try:
                found: R = self._on(self._free.get(), part, work, arguments)
                return found
            except _DiedError as died:
                why = str(died)
        raise DataError(f"{_TRIES} workers died over it, one after the other ({why}); it may need more memory")

    def _on(self, actor: Any, part: Part[Any], work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Call one worker, which is free afterwards; if it dies, another one begins."""
        errors = self._ray.exceptions
        try:
            reply: _Reply = self._ray.get(actor.call.remote(part, frozenset(self._held), work, arguments))
        except errors.RayTaskError:  # a bug, raised by the work itself
            self._free.put(actor)
            raise
        except errors.RayError as died:
            if getattr(died, "actor_init_failed", False):
                raise ModelError(
                    f"--ray {self._takes.place}: a worker cannot begin ({_reason(died)}); install the same rankrag on "
                    "every node"
                ) from None
            self._say(f"A worker died ({_reason(died)}); another one begins, and its work is done again.")
            Thread(target=self._replace, args=(actor,), daemon=True).start()
            raise _DiedError(_reason(died)) from None
        self._free.put(actor)
        for line in reply.said:
            if line not in self._said:
                self._said.add(line)
                self._say(line)
        if reply.error is not None:
            raise reply.error
        return reply.found

    def _replace(self, dead: Any) -> None:
        """Begin a worker in the place of a dead one; it gets no work before it has a node."""
        self._end(dead)
        for _ in range(_TRIES):
            if self._closed:
                return
            actor = self._begin()
            try:
                self._ray.get(actor.ready.remote())
            except self._ray.exceptions.RayError:
                self._end(actor)
                continue
            self._free.put(actor)
            return

    def _end(self, actor: Any) -> None:
        """End a worker for good, and let go of it: a long run may see many die."""
        self._ray.kill(actor)
        self._actors.remove(actor)

    def _begin(self) -> Any:
        takes = self._takes
        # not restarted by Ray: work of a lost node goes to those that are left, while the new one waits for a place
        made = self._ray.remote(num_cpus=takes.cpus, num_gpus=takes.gpus, scheduling_strategy="SPREAD")(_Actor)
        actor = made.remote()
        self._actors.append(actor)
        if self._closed:  # in the meantime
            self._ray.kill(actor)
        return actor


class Held(Generic[B]):
    """A part that all workers hold for as long as this is alive; called, it is worked with by the next free one."""

    def __init__(self, workers: Workers, part: Part[B]) -> None:
        self._workers, self._part = workers, part
        self.size = workers.size
        weakref.finalize(self, workers.release, part.name)

    def __call__(self, work: Callable[..., R], *arguments: Any) -> R:
        """Return `work(opened part, *arguments)`, and raise what it raises; work is a function of a module."""
        return self._workers.call(self._part, work, arguments)


def _nothing(_: object) -> None:
    """Only open the part."""


def _reason(error: BaseException) -> str:
    """Return the sentence of Ray's long message that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if "Error" in line or "exit" in line or "died" in line]
    return (said or lines or [first_line(error)])[-1][:200]


def _connected(address: ClusterAddress) -> Any:
    """Return Ray, connected to the cluster; in a process that is connected already it stays with that one."""
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise MissingExtraError('--ray needs Ray; run: pip install "rankrag[ray]"') from None
    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    start = partial(ray.init, address=address.place, log_to_driver=False, logging_level=logging.ERROR)
    try:
        start(include_dashboard=False) if address.place == "local" else start()
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--ray {address.place}: no cluster can be reached there ({first_line(error)}); begin one with "
            "ray start --head, or use --ray local for this machine"
        ) from None
    return ray
