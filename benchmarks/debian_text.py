"""Real text at a real size: passages of 100 words, cut from the documentation that Debian packages.

Pages are read inside their packages; nothing is unpacked to disk. lxml removes the tags, since the project's own
reader, which keeps headings and lists, is slower and there are 3 GB. Three things are left out: the last words of a
page if they are less than half a passage, passages with fewer than 40 purely alphabetic words (tables, listings), and
repeated texts. Near duplicates remain, as in the documents of a company, where pages of one kind share phrases.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from lxml import etree

WORDS = 100
"""Of a passage."""

RELEASE = "Debian 12 (bookworm)"
PACKAGES = [
    "dict-gcide",
    "dict-wn",
    "dict-foldoc",
    "bash-doc",
    "git-doc",
    "debian-handbook",
    "debian-reference-en",
    "gnome-user-docs",
    "gnome-devel-docs",
    "libreoffice-help-en-us",
    "linux-doc-6.1",
    "postgresql-doc-15",
    "sqlite3-doc",
    "apache2-doc",
    "python3.11-doc",
    "python-django-doc",
    "python-sqlalchemy-doc",
    "llvm-19-doc",
    "octave-doc",
    "maxima-doc",
    "erlang-doc",
    "racket-doc",
    "cppreference-doc-en-html",
    "libboost1.81-doc",
    "python-scipy-doc",
    "python-sklearn-doc",
    "python-statsmodels-doc",
    "python-sympy-doc",
    "python-astropy-doc",
    "python-pandas-doc",
    "python-dask-doc",
    "openjdk-17-doc",
    "ghc-doc",
    "rust-doc",
    "libcommons-math3-java-doc",
    "libpcl-doc",
    "libsbml5-doc",
    "libreoffice-help-de",
    "libreoffice-help-fr",
    "libreoffice-help-es",
    "libreoffice-help-it",
    "libreoffice-help-nl",
    "libreoffice-help-pl",
    "lazarus-doc-2.2",
    "qtbase5-doc-html",
    "petsc3.18-doc",
    "casacore-doc",
    "singular-doc",
    "libreoffice-help-pt",
    "libreoffice-help-sv",
    "libreoffice-help-da",
    "libreoffice-help-ca",
]
"""In the order in which they are read."""

_PAGE = re.compile(r"\.(?:x?html?|page|txt|dict\.dz)$")
_PASSED_OVER = re.compile(r"/_sources/|/_static/|/genindex|/search\.|/copyright$")
_NO_TEXT = ("head", "script", "style", "nav", "svg")
_LINES = 400  # of a dictionary, which is one file, for a page


def fetch(folder: Path) -> None:
    """Download the packages that are not in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(folder.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "download", *missing], cwd=folder, check=True)


def passages(folder: Path, counts: Counter[str]) -> Iterator[dict[str, str]]:
    """Yield rows of id, title and text without repeated texts; `counts` gets the number of rows per package.

    A package is named with its version, as in "bash-doc 5.2-1".
    """
    seen: set[bytes] = set()
    for name in PACKAGES:
        package = next(folder.glob(f"{name}_*.deb"))
        label = f"{name} {unquote(package.name).split('_')[1]}"
        for title, text in _pages(package):
            for words in _parts(text.split(), WORDS):
                passage = " ".join(words)
                digest = hashlib.blake2b(passage.encode(), digest_size=8).digest()
                if len(words) < WORDS / 2 or sum(map(str.isalpha, words)) < 0.4 * len(words) or digest in seen:
                    continue
                seen.add(digest)
                counts[label] += 1
                yield {"id": f"{name}#{counts[label]}", "title": title, "text": passage}


def _pages(package: Path) -> Iterator[tuple[str, str]]:
    """Yield (title, text) of the pages in a package."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacking:
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as files:
            for file in files:
                if not file.isfile() or not _PAGE.search(file.name) or _PASSED_OVER.search(file.name):
                    continue
                stem, data = Path(file.name).name.split(".")[0], files.extractfile(file).read()
                if file.name.endswith(".dz"):
                    lines = gzip.decompress(data).decode(errors="replace").splitlines()
                    yield from ((stem, " ".join(page)) for page in _parts(lines, _LINES))
                elif file.name.endswith(".txt"):
                    yield stem, data.decode(errors="replace")
                else:
                    yield _markup(stem, data)
        unpacking.stdout.read()


def _markup(stem: str, data: bytes) -> tuple[str, str]:
    """Return the title and the text of a page of HTML or of Mallard, GNOME's XML."""
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        return stem, ""
    title = " ".join(root.xpath("string(//title)").split())[:200] or stem
    etree.strip_elements(root, *_NO_TEXT, with_tail=False)
    return title, " ".join(root.itertext())


def _parts(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))
