"""Who may ask: keys, hosts and origins, and how large a request may be. Plain ASGI, before anything reads a body."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from rankrag.errors import ConfigError
from rankrag.server.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_LIMIT = 64 * 1024 * 1024
"""Bytes of a request that is not an upload."""

OPEN_PATHS = ("/", "/health", "/ready", "/favicon.ico")
"""Paths that need no key: the page asks for it, and load balancers have none. `/static/` is open as well."""

_TOO_LARGE = 413

_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
)
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    b"connect-src 'self'; worker-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposed(host: str, key: str | None) -> None:
    """Raise `ConfigError` for a server that others could reach without a key."""
    if not key and not is_loopback(host):
        raise ConfigError(
            f"--host {host}: other machines could reach this server, so it needs a key; "
            "set RANKRAG_API_KEY, or give --api-key-file FILE"
        )


class Guard:
    """Refuses requests without the key; without a key, those that a foreign page makes through a person's browser.

    A web page of another site may send requests to a server on this machine (its `Origin` tells), or make its own
    name point here (DNS rebinding: the `Host` tells).
    """

    def __init__(self, app: App, *, key: str | None, metrics: Metrics, upload_limit: int) -> None:
        self.app = app
        self._key, self._metrics, self._upload_limit = key, metrics, upload_limit
        self._endless: set[asyncio.Future[None]] = set()

    def end_streams(self) -> None:
        """End the streams that only their clients end, so that a server can stop; call it in the event loop."""
        for stream in self._endless:
            stream.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        started = time.perf_counter()
        status = 500
        body = _Body(receive, self._limit(scope))

        async def sending(message: Message) -> None:
            nonlocal status
            if body.too_large and status != _TOO_LARGE:  # whatever the route made of a body that ended early
                status = _TOO_LARGE
                await _answer(send, status, f"the request is larger than {body.limit:,} bytes", "too_large")
            if body.too_large:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name.lower() for name, _ in message.get("headers", ())}
                policy = ((b"content-security-policy", _POLICY),)
                extra = [pair for pair in (*_SECURITY, *policy) if pair[0] not in own]
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        try:
            refused = self._refusal(scope, headers)
            if refused:
                await _answer(sending, *refused)
            elif _is_endless(scope):
                await self._until_ended(self.app(scope, body.receive, sending), sending)
            else:
                await self.app(scope, body.receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - started)

    async def _until_ended(self, answering: Awaitable[None], send: Send) -> None:
        stream = asyncio.ensure_future(answering)
        self._endless.add(stream)
        try:
            await asyncio.wait({stream})
            if stream.cancelled():
                await send({"type": "http.response.body", "body": b""})
            else:
                stream.result()
        finally:
            self._endless.discard(stream)
            stream.cancel()

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str, str] | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        length = headers.get(b"content-length", "0")
        if length.isdigit() and int(length) > self._limit(scope):
            return _TOO_LARGE, f"the request is larger than {self._limit(scope):,} bytes", "too_large"
        if self._key:
            if path in OPEN_PATHS or path.startswith("/static/") or _holds(headers, self._key):
                return None
            return 401, "this server needs its key: send it as 'Authorization: Bearer KEY'", "unauthorized"
        host = urlsplit(f"//{headers.get(b'host', '')}").hostname or ""
        if not is_loopback(host):
            return 421, f"the host {host!r} is not this machine; ask by localhost, or give the server a key", "host"
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc != headers.get(b"host"):
            return 403, f"pages of {origin!r} may not ask this server; give it a key to allow programs", "origin"
        if headers.get(b"sec-fetch-site") == "cross-site" and path != "/":
            return 403, "pages of another site may not ask this server", "origin"
        return None

    def _limit(self, scope: Scope) -> int:
        return self._upload_limit if scope["path"].endswith("/documents") else JSON_LIMIT


class _Body:
    """Reads a request's body up to a limit; beyond it the client counts as gone."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self.limit = receive, limit
        self._read = 0

    @property
    def too_large(self) -> bool:
        return self._read > self.limit

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.too_large else message


def _is_endless(scope: Scope) -> bool:
    """Whether a request asks for a stream of events that goes on until its client leaves."""
    path = str(scope["path"]).rstrip("/")
    return scope["method"] == "GET" and path.endswith(("/events", "/mcp"))


def _holds(headers: dict[bytes, str], key: str) -> bool:
    """Whether a request carries the key, as a bearer token, as `X-API-Key`, or bare, as TEI's clients send it."""
    sent = headers.get(b"authorization", "") or headers.get(b"x-api-key", "")
    kind, _, token = sent.partition(" ")
    given = token.strip() if kind.lower() == "bearer" and token else sent.strip()
    return hmac.compare_digest(given.encode(), key.encode())


def error_body(status: int, message: str, code: str) -> dict[str, Any]:
    """Return an error in the shapes of all clients at once: they read `message`, `detail` or `error`."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"message": message, "detail": message, "error": {"message": message, "type": kind, "code": code}}


async def _answer(send: Send, status: int, message: str, code: str) -> None:
    body = json.dumps(error_body(status, message, code)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
