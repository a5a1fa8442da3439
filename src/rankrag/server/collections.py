"""The collections of a server, and what clients can ask of them."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rankrag.data.journal import append_rows
from rankrag.errors import DataError, RankragError
from rankrag.pipeline import RankRAG
from rankrag.retrieval.places import is_remote
from rankrag.server.collection import Collection, Document, document_id, name_of
from rankrag.server.feedback import Feedback, training_row
from rankrag.server.indexing import Indexer
from rankrag.server.uploads import Uploads
from rankrag.types import Passage

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class UnknownError(RankragError):
    """Something that a request names is not there."""


class Collections:
    """The collections of a server.

    Args:
        indexes: folders of indexes, or addresses; those missing are made. The first is asked where a
            request names none.
        folder: where the collections that clients make are kept.
    """

    def __init__(self, indexes: Sequence[Path | str], folder: Path) -> None:
        self._indexes, self._folder = indexes, folder
        self._found: dict[str, Collection] = {}
        self._uploads: dict[str, Uploads] = {}
        self._lock = threading.Lock()
        self._make: Callable[[Path | str], RankRAG]
        self._indexer: Indexer
        self.default = ""

    def open(self, make: Callable[[Path | str], RankRAG], indexer: Indexer) -> None:
        """Open all collections, and go on with uploads that a killed server had stored but not indexed.

        `make` returns the pipeline over the index in a folder.
        """
        self._make, self._indexer = make, indexer
        for index in self._indexes:
            name = name_of(index)
            if name in self._found:
                raise DataError(f"{index}: a second index with the name {name!r}; rename one of the folders")
            beside = Path(index) if not is_remote(index) else self._folder / f"{name}.database" / "index"
            self._add(Collection(name, index, beside, deletable=False))
        self.default = next(iter(self._found))
        for made in sorted(self._folder.glob("*/index")):
            if made.parent.name not in self._found:
                self._add(Collection(made.parent.name, made, made, deletable=True))

    def close(self) -> None:
        """Stop indexing after the files that are being read."""
        for uploads in list(self._uploads.values()):
            uploads.close()

    def names(self) -> list[str]:
        """Return the names of all collections, the default one first."""
        return list(self._found)

    def require(self, name: str) -> str:
        """Return a name that a collection has; `UnknownError` lists those there are."""
        if name not in self._found:
            raise UnknownError(f"collection {name!r} is not known; known: {', '.join(self._found)}")
        return name

    def pipeline(self, name: str) -> RankRAG:
        """Return the pipeline over a collection's newest state."""
        return self._of(name).pipeline(self._make)

    def uploads(self, name: str) -> Uploads:
        """Return a collection's uploads."""
        return self._uploads[self.require(name)]

    def describe(self, name: str) -> dict[str, Any]:
        """Return a collection in numbers."""
        found = self._of(name)
        documents = found.documents()
        passages = sum(d.passages for d in documents.values())
        return {"name": name, "documents": len(documents), "passages": passages, "deletable": found.deletable}

    def documents(self, name: str) -> list[Document]:
        """Return a collection's documents, by name."""
        return sorted(self._of(name).documents().values(), key=lambda d: (d.name.lower(), d.path))

    def create(self, name: str) -> None:
        """Make an empty collection."""
        if not _NAME.fullmatch(name):
            raise DataError(f"{name!r}: a name has small letters, digits, _ and -, 64 at most, and begins with no mark")
        with self._lock:
            if name in self._found:
                raise DataError(f"collection {name!r} is there already; choose another name")
            (self._folder / name).mkdir(parents=True, exist_ok=True)
            made = self._folder / name / "index"
            self._add(Collection(name, made, made, deletable=True))

    def delete(self, name: str) -> None:
        """Delete a collection that a client made, with its uploads; `DataError` for one of the server's own indexes."""
        with self._lock:
            if not self._of(name).deletable:
                raise DataError(f"collection {name!r} was given to `rankrag serve`; delete its folder by hand")
            self._uploads.pop(name).close()
            del self._found[name]
            shutil.rmtree(self._folder / name)

    def remove(self, name: str, id_: str) -> int:
        """Take a document out of the index, and delete it where it was uploaded; return its number of passages."""
        collection = self._of(name)
        document = self._document(collection, id_)
        path = Path(document.path)
        if path.parent == collection.files.absolute():
            path.unlink(missing_ok=True)
        return collection.store.remove(document.path)

    def reindex(self, name: str) -> int:
        """Queue all files of a collection that this machine may read, those that are gone as well; return how many."""
        collection = self._of(name)
        named = (Path(document.path) for document in collection.documents().values())
        paths = [path for path in named if collection.may_read(path)]
        self.uploads(name).queue([*paths, *([collection.files] if collection.files.is_dir() else [])])
        return len(paths)

    def read(self, id_: str) -> dict[str, Any]:
        """Return a document's passages in order, as JSON takes them."""
        collection, document = self._find(id_)
        passages = collection.store.passages(document.path)
        rows = [
            {
                "id": passage_key(p),
                "text": p.text,
                "page": p.source.page if p.source else None,
                "heading": p.source.heading if p.source else None,
                "start": p.source.start if p.source else None,
                "end": p.source.end if p.source else None,
            }
            for p in passages
        ]
        path = Path(document.path)
        has_file = collection.may_read(path) and path.is_file()
        return {"id": id_, "name": document.name, "collection": collection.name, "has_file": has_file, "passages": rows}

    def original(self, id_: str) -> Path:
        """Return the file that a document was read from; no request can name any other."""
        collection, document = self._find(id_)
        path = Path(document.path)
        if not (collection.may_read(path) and path.is_file()):
            raise UnknownError(f"{document.name}: its file is no longer there")
        return path

    def passage(self, address: str) -> Passage:
        """Return a passage by its `address`; `UnknownError` where it is not there (any more)."""
        name, _, rest = address.partition("/")
        id_, _, key = rest.partition("/")
        collection = self._of(name)
        document = self._document(collection, id_)
        for passage in collection.store.passages(document.path):
            if passage_key(passage) == key:
                return passage
        raise UnknownError(f"passage {address!r} is not there; search again")

    def address(self, name: str, passage: Passage) -> str:
        """Return a passage's id for clients: collection, document and place in it, and no path of this machine."""
        path = passage.source.path if passage.source else ""
        return f"{name}/{document_id(path)}/{passage_key(passage)}"

    def keep_feedback(self, feedback: Feedback) -> int:
        """Append a judgement of an answer to the collection's `feedback.jsonl`; return how many rows it has."""
        collection = self._of(feedback.collection or self.default)
        path = collection.feedback
        with self._lock:
            append_rows(path, [training_row(feedback, collection.name)])
            return path.read_bytes().count(b"\n")

    def link(self, base_url: str, passage: Passage) -> str:
        """Return the address of a passage in its document: the file's own where it was read from the web."""
        source = passage.source
        if source is None or source.path.startswith(("http://", "https://")):
            return source.path if source else ""
        key = quote(passage_key(passage), safe="")
        return f"{base_url.rstrip('/')}/documents/{document_id(source.path)}?passage={key}"

    def _add(self, collection: Collection) -> None:
        uploads = Uploads(collection.files, partial(self._indexer.index, collection.store))
        self._found[collection.name] = collection
        self._uploads[collection.name] = uploads
        uploads.start()

    def _of(self, name: str) -> Collection:
        return self._found[self.require(name)]

    def _find(self, id_: str) -> tuple[Collection, Document]:
        for collection in list(self._found.values()):
            if document := collection.documents().get(id_):
                return collection, document
        raise UnknownError(f"document {id_!r} is in no collection; list them with /v1/collections/NAME/documents")

    def _document(self, collection: Collection, id_: str) -> Document:
        document = collection.documents().get(id_)
        if document is None:
            raise UnknownError(f"document {id_!r} is not in collection {collection.name!r}")
        return document


def passage_key(passage: Passage) -> str:
    """Return a passage's id within its document, without the path that ids of files begin with."""
    path = passage.source.path if passage.source else ""
    return passage.id.removeprefix(f"{path}#") if path else passage.id


def shown_place(passage: Passage) -> str:
    """Return where a passage stands, by its file's name: clients need not know this machine's folders."""
    if passage.source is None:
        return ""
    is_address = passage.source.path.startswith(("http://", "https://"))
    return str(passage.source if is_address else replace(passage.source, path=Path(passage.source.path).name))
