"""`rankrag serve` and `rankrag mcp`: the pipeline for browsers, programs and agents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.config.answering import AskConfig
from rankrag.config.schema import load_config
from rankrag.errors import ConfigError, MissingExtraError
from rankrag.opening import load, model_of
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.places import checked_place

if TYPE_CHECKING:
    from rankrag.server.app import Engine

DEFAULT_FOLDER = Path("rankrag.collections")
KEY_VARIABLE = "RANKRAG_API_KEY"

Indexes = Annotated[
    list[str] | None,
    typer.Argument(
        parser=checked_place,
        metavar="[INDEX]...",
        help="Folders of indexes, or addresses (postgresql://, s3://). The first is the default; missing are made.",
    ),
]
Host = Annotated[str, typer.Option(help="Address to listen on. Any other than this machine's own needs a key.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
ApiKey = Annotated[
    str | None,
    typer.Option(help="Key that clients must send. Others can see arguments: prefer the variable or the file."),
]
KeyFile = Annotated[Path | None, typer.Option("--api-key-file", help="File that holds the key.")]
RootPath = Annotated[str, typer.Option("--root-path", help="Path under which a proxy shows this server.")]
Folder = Annotated[Path, typer.Option("--collections", help="Folder of the collections that clients make.")]
Waiting = Annotated[int, typer.Option("--max-waiting", min=1, help="Requests that wait; one more gets 429.")]
Upload = Annotated[int, typer.Option("--max-upload", min=1, help="Largest upload, in MiB.")]

Open = Annotated[bool, typer.Option("--open", help="Show the page in a browser.")]


@options.with_options(AskConfig, "model")
def serve(
    indexes: Indexes = None,
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key: ApiKey = None,
    api_key_file: KeyFile = None,
    root_path: RootPath = "",
    collections: Folder = DEFAULT_FOLDER,
    max_waiting: Waiting = 256,
    max_upload: Upload = 256,
    open_: Open = False,
    config: options.ConfigFile = None,
    set_: options.Set = None,
    given: options.Given,
) -> None:
    """Serve one model: a web page, rerank and chat APIs, MCP. Stop it with Ctrl-C: accepted requests are finished."""
    with _extra():
        from rankrag.server.app import ServerSettings, create_app
        from rankrag.server.collections import Collections
        from rankrag.server.guard import check_exposed
        from rankrag.server.running import Server
    key = _key(api_key, api_key_file)
    check_exposed(host, key)
    asked = load_config(AskConfig, config, set_ or (), options=given)
    shown = f"http://{'localhost' if host == '127.0.0.1' else host}:{port}{root_path}/"
    settings = ServerSettings(key=key, max_waiting=max_waiting, upload_limit=max_upload * 1024 * 1024, base_url=shown)
    found = indexes or [options.DEFAULT_INDEX]
    app = create_app(lambda: _engine(asked, found[0]), Collections(found, collections), settings)
    say(f"rankrag serves {', '.join(map(str, found))} at {shown}")
    page, wait = shown if open_ else "", settings.stop_seconds
    Server(app, host=host, port=port, root_path=root_path, stop_seconds=wait, page=page).until_stopped()


@options.with_options(AskConfig, "model")
def mcp(
    indexes: Indexes = None,
    *,
    collections: Folder = DEFAULT_FOLDER,
    config: options.ConfigFile = None,
    set_: options.Set = None,
    given: options.Given,
) -> None:
    """Offer the tools search, fetch, ask and rerank to an agent that starts this command (MCP over stdio)."""
    with _extra():
        from rankrag.server.app import ServerSettings, open_parts
        from rankrag.server.collections import Collections
        from rankrag.server.mcp import mcp_server
        from rankrag.server.metrics import Metrics
    asked = load_config(AskConfig, config, set_ or (), options=given)

    async def run() -> None:
        found = indexes or [options.DEFAULT_INDEX]
        opened = Collections(found, collections)
        parts = await open_parts(lambda: _engine(asked, found[0]), opened, ServerSettings(), Metrics())
        await mcp_server(lambda: parts).run_stdio_async()
        await asyncio.to_thread(parts.scheduler.stop)

    asyncio.run(run())


@contextmanager
def _extra() -> Iterator[None]:
    """Turn a missing package of the extra into an error that names it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; pip install 'rankrag[server]'") from None


def _engine(asked: AskConfig, first: Path | str) -> Engine:
    """Return the engine; the states of all collections' passages are kept in the first index."""
    from rankrag.server.app import Engine

    encoder = None if asked.retriever == "bm25" else Encoder(asked.encoder)
    with options.step_lines() as progress:
        model = model_of(asked, index=first, say=say, progress=progress)
    return Engine(model, encoder, lambda index: load(index, asked, model=model, encoder=encoder, say=say))


def _key(given: str | None, file: Path | None) -> str | None:
    """Return the key, from the option, the file or the environment; `ConfigError` for a short one."""
    key = given if given is not None else file.read_text(encoding="utf-8").strip() if file else None
    key = os.environ.get(KEY_VARIABLE) if key is None else key
    if key is not None and len(key) < 8:
        raise ConfigError("the API key is shorter than 8 characters; make one with: openssl rand -hex 16")
    return key
