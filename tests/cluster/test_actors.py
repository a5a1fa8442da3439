from __future__ import annotations

import sys

import pytest

from rankrag.cluster.actors import Workers
from rankrag.cluster.address import parse_cluster
from rankrag.errors import MissingExtraError


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rankrag\[ray\]"'):
        Workers(parse_cluster("auto"))
