"""The server as one ASGI application: routes, errors in every client's shape, start and stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import rankrag
from rankrag.errors import DataError, RankragError
from rankrag.models import LanguageModel
from rankrag.pipeline import RankRAG
from rankrag.retrieval.encoder import Encoder
from rankrag.server import chat, documents, rerank_api
from rankrag.server.collections import Collections, UnknownError
from rankrag.server.guard import Guard, error_body
from rankrag.server.indexing import Indexer
from rankrag.server.mcp import mount_mcp
from rankrag.server.metrics import Metrics
from rankrag.server.parts import NotReadyError, Parts
from rankrag.server.scheduler import Scheduler
from rankrag.server.work import BusyError, GoneError

STATIC = Path(__file__).parent / "static"
CLIENT_CLOSED = 499

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server is set.

    Attributes:
        name: the model's id, as clients see it.
        key: what clients must send; None is for this machine alone.
        max_waiting: requests that wait for the model at most.
        upload_limit: bytes of one upload.
        stop_seconds: how long a stopping server finishes what it accepted; a full queue takes minutes of a CPU.
        base_url: where agents reach it; requests of browsers and clients say it themselves.
    """

    name: str = "rankrag"
    key: str | None = None
    max_waiting: int = 256
    upload_limit: int = 256 * 1024 * 1024
    stop_seconds: float = 600.0
    base_url: str = "http://127.0.0.1:8000/"


@dataclass(frozen=True, slots=True)
class Engine:
    """What a server runs: the model, the encoder of its indexes (None: BM25 alone), and a pipeline over any index."""

    model: LanguageModel
    encoder: Encoder | None
    pipeline: Callable[[Path | str], RankRAG]


def create_app(open_engine: Callable[[], Engine], collections: Collections, settings: ServerSettings) -> Guard:
    """Return the application. The model is opened in the background: until then `/ready` says so with 503."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.parts, app.state.problem = None, "the model is being loaded"
        loading = asyncio.create_task(_load(app, open_engine, collections, settings, metrics))
        async with mcp.session_manager.run():
            yield
        loading.cancel()
        if parts := app.state.parts:
            await asyncio.to_thread(parts.scheduler.stop, settings.stop_seconds)
        await asyncio.to_thread(collections.close)

    app = FastAPI(title="rankrag", version=rankrag.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.parts, app.state.problem = None, "the server is starting"
    _add_errors(app)
    _add_status(app, metrics)
    for part in (rerank_api, chat, documents):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=STATIC))
    mcp = mount_mcp(app)
    return Guard(app, key=settings.key, metrics=metrics, upload_limit=settings.upload_limit)


async def _load(
    app: FastAPI,
    open_engine: Callable[[], Engine],
    collections: Collections,
    settings: ServerSettings,
    metrics: Metrics,
) -> None:
    """Open the model and all that needs it. A failure is kept for `/ready`: the server stays up to say it."""
    try:
        app.state.parts = await open_parts(open_engine, collections, settings, metrics)
    except RankragError as error:
        app.state.problem = f"the model cannot be loaded: {error}"
        log.error(app.state.problem)
    except Exception as error:
        app.state.problem = f"the model cannot be loaded: {type(error).__name__}; the server's log says more"
        log.exception("the model cannot be loaded")
    else:
        app.state.problem = None


async def open_parts(
    open_engine: Callable[[], Engine], collections: Collections, settings: ServerSettings, metrics: Metrics
) -> Parts:
    """Return the parts of a server, its queue at work."""
    engine = await asyncio.to_thread(open_engine)
    scheduler = Scheduler(engine.model, metrics, max_waiting=settings.max_waiting)
    indexer = Indexer(scheduler, engine.encoder, asyncio.get_running_loop())
    await asyncio.to_thread(collections.open, engine.pipeline, indexer)
    scheduler.start()
    return Parts(
        model=engine.model,
        scheduler=scheduler,
        metrics=metrics,
        collections=collections,
        encoder=engine.encoder,
        name=settings.name,
        version=rankrag.__version__,
        base_url=settings.base_url,
        started=int(time.time()),
        max_waiting=settings.max_waiting,
    )


def _add_status(app: FastAPI, metrics: Metrics) -> None:
    html = (STATIC / "index.html").read_text(encoding="utf-8")

    @app.get("/health", tags=["status"])
    async def health() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok"}

    @app.get("/ready", tags=["status"], responses={503: {"description": "The model is not there (yet)."}})
    async def ready(request: Request) -> Response:
        """Say whether questions can be answered, or why not."""
        problem = request.app.state.problem
        return JSONResponse({"status": problem or "ready"}, 503 if problem else 200)

    @app.get("/metrics", tags=["status"])
    async def figures() -> Response:
        """Return the server's figures in Prometheus' format."""
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    @app.get("/documents/{id_}", include_in_schema=False)
    async def page(request: Request, id_: str = "") -> Response:  # noqa: ARG001  the page reads the address itself
        """Return the web page, its parts named by their whole paths: a proxy may show the server under a path."""
        root = escape(request.scope.get("root_path", ""), quote=True)
        return HTMLResponse(html.replace('="/static/', f'="{root}/static/'))

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        """Return the page's icon."""
        return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")


def _add_errors(app: FastAPI) -> None:
    """Give every error a status that clients act on, and a body that each of them can read."""

    @app.exception_handler(RankragError)
    async def ours(_: Request, error: RankragError) -> JSONResponse:
        if isinstance(error, BusyError):
            return _error(429, str(error), "busy", {"Retry-After": str(error.retry_after)})
        if isinstance(error, NotReadyError):
            return _error(503, str(error), "not_ready", {"Retry-After": "5"})
        if isinstance(error, GoneError):
            return _error(CLIENT_CLOSED, str(error), "cancelled")
        if isinstance(error, UnknownError):
            return _error(404, str(error), "not_found")
        return _error(400 if isinstance(error, DataError) else 500, str(error), "invalid_request")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return _error(422, f"{where or 'body'}: {first['msg']}", "invalid_request")

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail), "http", dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> JSONResponse:
        log.exception("a fault of the server", exc_info=error)
        return _error(500, "a fault of the server; its log says more", "fault")


def _error(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error_body(status, message, code), status, headers)
