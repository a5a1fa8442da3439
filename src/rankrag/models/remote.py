"""JSON over HTTP with timeouts, retries and errors that name the server."""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Iterator
from typing import Any

import httpx

from rankrag.errors import ModelError

_AGAIN = {408, 429, 500, 502, 503, 504}
_LACKING = {404, 405, 501}


class Remote:
    """A server at one address.

    Args:
        root: scheme, host and port.
        timeout: a request fails after so many seconds without a byte.
        retries: further tries after a failure that may pass: no connection, a broken reply, 429 and 5xx.
        wait: seconds before the first retry, doubled for each further one, and never below `Retry-After`.
        key: what the server knows the caller by, if it asks for that.
    """

    def __init__(self, root: str, *, timeout: float, retries: int, wait: float = 0.5, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.root = root
        self._retries, self._wait = retries, wait
        self._client = httpx.Client(base_url=root, headers=headers, timeout=timeout)
        weakref.finalize(self, self._client.close)

    def ask(self, path: str, body: dict[str, Any] | None = None, *, may_lack: bool = False) -> dict[str, Any]:
        """Return the JSON object that is at `path`, or that answers `body`.

        `ModelError` if all tries fail. A path that the server `may_lack` gives an empty object if it does.
        """
        problem, pause = "", 0.0
        for attempt in range(self._retries + 1):
            time.sleep(pause)
            pause = self._wait * 2**attempt
            try:
                response = self._client.request("GET" if body is None else "POST", path, json=body)
            except httpx.HTTPError as error:
                problem = f"{self.root}{path}: {_reason(error)}"
                continue
            if response.status_code in _AGAIN:
                problem = self._refused(path, response)
                pause = max(pause, _seconds(response.headers.get("Retry-After")))
                continue
            if response.status_code in _LACKING and may_lack:
                return {}
            if response.status_code != 200:
                raise ModelError(self._refused(path, response))
            try:
                found: object = response.json()
            except ValueError:
                problem = f"{self.root}{path}: the reply is not whole JSON ({response.text[:60]!r} …)"
                continue
            if isinstance(found, dict):
                return found
            raise ModelError(f"{self.root}{path}: the reply holds {type(found).__name__}, not an object")
        raise ModelError(f"{problem}; given up after {self._retries + 1} tries, check that the server runs")

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of an event stream until its end; a stream that breaks off is a `ModelError`."""
        try:
            with self._client.stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    response.read()
                    raise ModelError(self._refused(path, response))
                for line in response.iter_lines():
                    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                    if data == "[DONE]":
                        return
                    if data:
                        yield json.loads(data)
        except (httpx.HTTPError, ValueError) as error:
            raise ModelError(f"{self.root}{path}: the reply broke off ({_reason(error)}); ask again") from error
        raise ModelError(f"{self.root}{path}: the reply broke off (no [DONE] at its end); ask again")

    def _refused(self, path: str, response: httpx.Response) -> str:
        said = " ".join(response.text.split())[:200]
        return f"{self.root}{path}: status {response.status_code} ({said})"


def _seconds(header: str | None) -> float:
    try:
        return min(float(header or 0), 60.0)
    except ValueError:  # an HTTP date
        return 1.0


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:160]
