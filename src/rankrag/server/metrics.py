"""What the server counts, for `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rankrag.types import StateUse

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """Counters of one server; each has a registry of its own, so that two servers in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._states = StateUse(0, 0)
        self.requests = Counter(
            "rankrag_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "rankrag_request_seconds", "Time of a request", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.waiting = Gauge("rankrag_waiting", "Requests that wait for the model", registry=self.registry)
        self.refused = Counter("rankrag_refused", "Requests refused since the queue was full", registry=self.registry)
        self.pairs = Counter("rankrag_pairs", "Pairs of question and passage judged", registry=self.registry)
        self.tokens = Counter("rankrag_tokens", "Estimated tokens read by the model", registry=self.registry)
        self.states = Counter("rankrag_states", "Passage states wanted and found", ["result"], registry=self.registry)
        self.steps = Histogram(
            "rankrag_step_seconds", "Time of one turn of a step", ["step"], buckets=_SECONDS, registry=self.registry
        )

    def count_states(self, use: StateUse | None) -> None:
        """Take over the model's own count of passage states."""
        if use is not None:
            self.states.labels("wanted").inc(use.wanted - self._states.wanted)
            self.states.labels("found").inc(use.found - self._states.found)
            self._states = use

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Observe how long the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.steps.labels(step).observe(time.perf_counter() - started)

    def page(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        return generate_latest(self.registry)
