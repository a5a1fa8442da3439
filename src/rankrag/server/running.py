"""The application on a socket until a signal ends it, with a stop that loses no accepted request."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from contextlib import suppress
from socket import socket

import uvicorn

from rankrag.server.guard import Guard


class Server(uvicorn.Server):
    """Finishes what was accepted, for at most `stop_seconds`; a second Ctrl-C stops it at once.

    `page` is an address that is shown in a browser once the server is up.
    """

    def __init__(
        self, app: Guard, *, host: str, port: int, root_path: str = "", stop_seconds: float, page: str = ""
    ) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            root_path=root_path,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=round(stop_seconds),
            server_header=False,
        )
        super().__init__(config)
        self._app, self._page = app, page

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen, then show the page."""
        await super().startup(sockets)
        if self._page and self.started:
            await asyncio.to_thread(show_page, self._page)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop; streams that only their clients would end are ended first."""
        self._app.end_streams()
        await super().shutdown(sockets)

    def until_stopped(self) -> None:
        """Serve until Ctrl-C or SIGTERM."""
        with suppress(KeyboardInterrupt):  # raised again after the stop
            self.run()


def show_page(address: str) -> None:
    """Open an address in a browser, if there is a screen: without one, a text browser would take the terminal."""
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)
