"""Documents and collections over HTTP: upload, list, delete, re-index, and a document as the person saw it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Request, UploadFile
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from rankrag.errors import DataError
from rankrag.server.feedback import Feedback
from rankrag.server.parts import parts_of
from rankrag.server.uploads import Event, Uploads

router = APIRouter(tags=["documents"])

_SHOWN_AS_THEY_ARE = {".pdf": "application/pdf"}
"""Originals that a browser may show. All others come as plain text or as a download: an upload is never active HTML."""

_CHUNK = 1 << 20


class NewCollection(BaseModel):
    """A collection to make."""

    name: str = Field(min_length=1, max_length=64)


@router.get("/v1/collections")
async def collections(request: Request) -> dict[str, Any]:
    """List the collections."""
    parts = parts_of(request)
    data = [await asyncio.to_thread(parts.collections.describe, name) for name in parts.collections.names()]
    return {"object": "list", "data": data, "default": parts.collections.default, "model": parts.name}


@router.post("/v1/collections", status_code=201)
async def create(request: Request, body: NewCollection) -> dict[str, Any]:
    """Make an empty collection."""
    parts = parts_of(request)
    await asyncio.to_thread(parts.collections.create, body.name)
    return await asyncio.to_thread(parts.collections.describe, body.name)


@router.delete("/v1/collections/{name}")
async def delete(request: Request, name: str) -> dict[str, Any]:
    """Delete a collection that was made here, with its uploads."""
    await asyncio.to_thread(parts_of(request).collections.delete, name)
    return {"deleted": True, "name": name}


@router.get("/v1/collections/{name}/documents")
async def listing(request: Request, name: str) -> dict[str, Any]:
    """List a collection's documents, and what of it is being read or failed."""
    found = parts_of(request).collections
    documents = await asyncio.to_thread(found.documents, name)
    data = [{"id": d.id, "name": d.name, "path": d.path, "passages": d.passages} for d in documents]
    return {"object": "list", "data": data, "pending": [event.row() for event in found.uploads(name).pending()]}


@router.post("/v1/collections/{name}/documents", status_code=202)
async def upload(request: Request, name: str, files: Annotated[list[UploadFile], File()]) -> dict[str, Any]:
    """Take files; each is stored whole or not at all, then indexed beside answering. A file of the same name goes."""
    uploads = parts_of(request).collections.uploads(name)
    taken = []
    for file in files:
        try:
            event = await _store(uploads, file)
        except DataError as error:
            event = Event(file.filename or "?", "failed", str(error))
        taken.append(event.row())
    return {"files": taken}


@router.delete("/v1/collections/{name}/documents/{id_}")
async def remove(request: Request, name: str, id_: str) -> dict[str, Any]:
    """Take a document out of the index; an uploaded file is deleted as well."""
    removed = await asyncio.to_thread(parts_of(request).collections.remove, name, id_)
    return {"deleted": True, "id": id_, "passages": removed}


@router.post("/v1/collections/{name}/reindex", status_code=202)
async def reindex(request: Request, name: str) -> dict[str, Any]:
    """Read the changed files of a collection again."""
    queued = await asyncio.to_thread(parts_of(request).collections.reindex, name)
    return {"queued": queued}


@router.get("/v1/collections/{name}/events")
async def events(request: Request, name: str) -> StreamingResponse:
    """Stream what happens to uploads, as server-sent events."""
    uploads = parts_of(request).collections.uploads(name)

    async def lines() -> AsyncIterator[str]:
        async for event in uploads.events():
            yield f"data: {json.dumps(event.row())}\n\n" if event else ": waiting\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get("/v1/documents/{id_}")
async def document(request: Request, id_: str) -> dict[str, Any]:
    """Return a document's passages in order, with their pages, headings and places."""
    return await asyncio.to_thread(parts_of(request).collections.read, id_)


@router.get("/v1/documents/{id_}/file")
async def original(request: Request, id_: str, download: Annotated[bool, Query()] = False) -> FileResponse:
    """Return the file that a document was read from."""
    path = await asyncio.to_thread(parts_of(request).collections.original, id_)
    kind = _SHOWN_AS_THEY_ARE.get(path.suffix.lower())
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    inline = kind is not None and not download
    return FileResponse(
        path,
        media_type=kind or "application/octet-stream",
        filename=path.name,
        content_disposition_type="inline" if inline else "attachment",
        headers=headers,
    )


@router.post("/v1/feedback", status_code=201)
async def feedback(request: Request, body: Feedback) -> dict[str, Any]:
    """Keep a judgement of an answer, as a line that `rankrag blend` reads."""
    kept = await asyncio.to_thread(parts_of(request).collections.keep_feedback, body)
    return {"kept": True, "rows": kept}


async def _store(uploads: Uploads, file: UploadFile) -> Event:
    """Write an upload to a file of its own beside its place, then move it there whole."""
    name = uploads.checked_name(file.filename or "")
    partial = uploads.partial()
    try:
        with partial.open("wb") as out:
            while chunk := await file.read(_CHUNK):
                await asyncio.to_thread(out.write, chunk)
            out.flush()
            await asyncio.to_thread(os.fsync, out.fileno())
        return await asyncio.to_thread(uploads.take, partial, name)
    finally:
        partial.unlink(missing_ok=True)
