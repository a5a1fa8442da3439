"""Zip files and the XML in them, opened so that neither can fill the memory, name other files, or expand."""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from lxml import etree

from rankrag.errors import DataError

LARGEST = 1 << 30  # bytes of all files of a package together
_RATIO = 200  # times that a file may be larger than its compressed form, once it is larger than this:
_SMALL = 10 << 20  # bytes

Element = Any  # lxml's elements have no types of their own


class Package:
    """The files of a zip; a `DataError` for one that is broken, encrypted or a bomb."""

    def __init__(self, data: bytes, where: str, kind: str) -> None:
        self._where, self._kind = where, kind
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            if data.startswith(b"\xd0\xcf\x11\xe0"):
                raise DataError(
                    f"{where}: encrypted, or in a format older than {kind}; save it as {kind} without a password"
                ) from None
            raise foreign(where, kind, error) from None
        size = 0
        for entry in self._zip.infolist():
            size += entry.file_size
            if entry.file_size > _SMALL and entry.file_size > _RATIO * max(1, entry.compress_size):
                raise DataError(
                    f"{where}: {entry.filename} would be {entry.file_size >> 20} MB; a zip bomb is not read"
                )
        if size > LARGEST:
            raise DataError(f"{where}: unpacked it would be {size >> 20} MB; a zip bomb is not read")
        self.names = frozenset(self._zip.namelist())

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        try:
            with self._zip.open(name) as file:
                data = file.read(LARGEST + 1)
        except KeyError:
            raise DataError(f"{self._where}: a broken or foreign {self._kind} file (it has no {name})") from None
        except Exception as error:  # zlib, bz2 and lzma raise their own
            if isinstance(error, MemoryError):
                raise
            raise foreign(self._where, self._kind, error) from None
        if len(data) > LARGEST:
            raise DataError(f"{self._where}: {name} is larger than it says; a zip bomb is not read")
        return data

    def xml(self, name: str) -> Element:
        """Return the root of an XML file."""
        return parse_xml(self.read(name), self._where, self._kind)

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """Return the kind and the target of each relation of an Office part, by id; none where it has no relations."""
        folder, base = posixpath.split(name)
        place = posixpath.join(folder, "_rels", f"{base}.rels")
        if place not in self.names:
            return {}
        found = {}
        for relation in self.xml(place):
            target, kind = relation.get("Target", ""), relation.get("Type", "").rpartition("/")[2]
            if relation.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join(folder, unquote(target))).lstrip("/")
                if relation.get("Target", "").startswith("/"):
                    target = unquote(relation.get("Target", "")).lstrip("/")
            found[relation.get("Id", "")] = kind, target
        return found


def foreign(where: str, kind: str, error: Exception) -> DataError:
    """Return the error for a file that its library cannot read."""
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return DataError(f"{where}: a broken or foreign {kind} file ({what[:160]}); save it anew from its program")


def parse_xml(data: bytes, where: str, kind: str) -> Element:
    """Return the root of some XML; a `DataError` where it is broken or declares entities."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, remove_comments=True, remove_pis=True
    )
    if b"<!ENTITY" in data[: 1 << 20]:
        raise DataError(f"{where}: declares XML entities, which may expand or name other files; it is not read")
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise foreign(where, kind, error) from None


def local(element: Element) -> str:
    """Return an element's name without its namespace; Office files have two sets of these."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def value(element: Element | None, name: str = "val") -> str | None:
    """Return an attribute, whatever namespace it is in."""
    if element is None:
        return None
    return next((found for key, found in element.attrib.items() if key.rpartition("}")[2] == name), None)


def child(element: Element | None, *names: str) -> Element | None:
    """Return the element below, along a path of names; `None` where it ends."""
    for name in names:
        if element is None:
            return None
        element = next((inner for inner in element if local(inner) == name), None)
    return element


def below(element: Element, *names: str) -> Iterator[Element]:
    """Yield all elements of these names below one, at any depth."""
    return (inner for inner in element.iter() if local(inner) in names)


def core_title(package: Package) -> str:
    """Return the title that an Office file states."""
    if "docProps/core.xml" not in package.names:
        return ""
    try:
        root = package.xml("docProps/core.xml")
    except DataError:
        return ""
    return " ".join(next((e.text or "" for e in below(root, "title")), "").split())
