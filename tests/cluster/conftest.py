"""Ray's core as far as it is used, with actors in this process; the real one is in tests/acceptance/test_cluster.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class RayError(Exception):
    actor_init_failed = False


class RayTaskError(RayError):
    pass


class Method:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def remote(self, *arguments: Any) -> Any:
        try:
            return self._function(*arguments)
        except RayError as died:
            return died


class Handle:
    def __init__(self, actor: object) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self._actor, name))


def get(found: Any) -> Any:
    if isinstance(found, RayError):
        raise found
    return found


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A cluster of two nodes with one CPU each; `killed` are the actors that Ray was told to end."""
    module: Any = ModuleType("ray")
    module.exceptions = ModuleType("ray.exceptions")
    module.exceptions.RayError, module.exceptions.RayTaskError = RayError, RayTaskError
    module.util = ModuleType("ray.util")
    module.util.get_node_ip_address = lambda: "10.0.0.7"
    killed: list[object] = []
    module.is_initialized = lambda: True
    module.nodes = lambda: [{"Alive": True, "Resources": {"CPU": 1.0}}] * 2
    module.get, module.kill = get, killed.append
    module.remote = lambda **_: lambda kind: SimpleNamespace(remote=lambda: Handle(kind()))
    for name in ("ray", "ray.exceptions", "ray.util"):
        monkeypatch.setitem(sys.modules, name, module if name == "ray" else getattr(module, name.partition(".")[2]))
    return SimpleNamespace(killed=killed)
