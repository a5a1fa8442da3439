"""The table of docs/documents.md: real files read, and their words compared with those of other programs.

Files come from Debian packages (downloaded by apt-get, unpacked into a folder) and from installed Python packages.
References are pdftotext, pandoc, w3m and man, which this script needs (`apt-get install poppler-utils pandoc w3m`).
The main text of HTML pages is marked by hand, by the tags it lies between. Words are compared as multisets.

    python experiments/documents.py [--folder .cache/documents] [--check]
"""

from __future__ import annotations

import argparse
import gzip
import re
import subprocess
import sys
import sysconfig
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rankrag.documents.chunking import split
from rankrag.documents.readers import read_document

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "documents.md"
PACKAGES = (
    *("debian-policy", "developers-reference", "debian-faq", "maint-guide", "debmake-doc", "git-doc", "bash-doc"),
    *("manpages-dev", "openssh-client", "postgresql-doc-15", "libtasn1-doc"),
)
SPHINX = (r'<div class="body" role="main">', r'<div class="sphinxsidebar"|<footer|<div class="related"')
POSTGRES = (r"</div><div class=\"(?:sect1|chapter|refentry|appendix)\"|</div><div", r'<div (?:[^>]*)class="navfooter"')
DOCBOOK = (
    r'</table><hr ?/?></div>|</div>\s*<hr ?/?>\s*</div>|</div><div class="(?:chapter|section|appendix)"',
    r'<div class="navfooter"',
)
WHOLE = (r"<body[^>]*>", r"</body>")


@dataclass(frozen=True)
class File:
    """A file to compare: where it is, and between which tags its main text lies."""

    path: str
    main: tuple[str, str] = WHOLE


DOC = "usr/share/doc"
FILES = [
    *(File(f"{DOC}/{name}") for name in ("debmake-doc/debmake-doc.en.pdf", "debmake-doc/debmake-doc.de.pdf")),
    *(File(f"{DOC}/{name}") for name in ("debian-policy/policy.pdf.gz", "debian/FAQ/debian-faq.en.pdf.gz")),
    *(File(f"{DOC}/{name}") for name in ("debian-policy/fhs/fhs-3.0.pdf.gz", "bash/bashref.pdf")),
    File(f"{DOC}/maint-guide/maint-guide.en.pdf"),
    File("usr/share/developers-reference/developers-reference.pdf"),
    File(f"{DOC}/libtasn1-doc/libtasn1.pdf"),
    *(
        File(f"{DOC}/postgresql-doc-15/html/{name}.html", POSTGRES)
        for name in ("ddl-basics", "sql-select", "mvcc-intro")
    ),
    *(File(f"{DOC}/postgresql-doc-15/html/{name}.html", POSTGRES) for name in ("functions-math", "app-psql")),
    *(File(f"{DOC}/debian-policy/policy.html/{name}.html", SPHINX) for name in ("ch-source", "ch-scope")),
    *(File(f"usr/share/developers-reference/{name}.html", SPHINX) for name in ("l10n", "new-maintainer", "resources")),
    *(File(f"{DOC}/maint-guide/html/{name}.en.html", DOCBOOK) for name in ("start", "dreq")),
    *(File(f"{DOC}/debmake-doc/html/{name}.en.html", DOCBOOK) for name in ("ch04", "ch07")),
    File(f"{DOC}/git-doc/gitfaq.html"),
    File(f"{DOC}/git-doc/git-rebase.html"),
    File(f"{DOC}/debian-policy/debconf_specification.html"),
    File(f"{DOC}/debian-policy/fhs/fhs-3.0.html"),
    File(f"{DOC}/debian-policy/policy.epub"),
    File("usr/share/developers-reference/developers-reference.epub"),
    *(File(f"{DOC}/debmake-doc/debmake-doc.{name}.epub") for name in ("en", "de")),
    File(f"{DOC}/bash/examples/shellmath/README.md"),
    *(File(f"site/{name}") for name in ("onnxruntime/Privacy.md", "fastapi/.agents/skills/fastapi/SKILL.md")),
    *(File(f"site/{name}") for name in ("pyarrow/tests/data/orc/README.md", "numpy/random/LICENSE.md")),
    *(File(f"site/sklearn/datasets/descr/{name}.rst") for name in ("iris", "diabetes", "breast_cancer", "kddcup99")),
    *(File(f"site/sklearn/datasets/data/{name}.csv") for name in ("iris", "breast_cancer", "wine_data")),
    *(File(f"site/matplotlib/mpl-data/sample_data/{name}.csv") for name in ("msft", "Stocks")),
    *(File(f"usr/share/man/man3/{name}.3.gz") for name in ("hsearch", "printf", "fopen", "regex")),
    *(File(f"usr/share/man/man1/{name}.1.gz") for name in ("ssh", "scp", "ssh-keygen")),
    File(f"{DOC}/git-doc/git-check-mailmap.txt"),
    File(f"{DOC}/debian/FAQ/debian-faq.en.txt.gz"),
]
MADE = [
    (f"{DOC}/debian-policy/policy.html/ch-source.html", SPHINX),
    (f"{DOC}/postgresql-doc-15/html/mvcc-intro.html", POSTGRES),
]
"""Pages from which pandoc makes .docx, .odt and .rtf files: packages have hardly any."""

KINDS = (
    "text as a reader sees it, headings from structure",
    "loss is said (`--strict`, `--list`)",
    "stated encoding before a guess",
    "tables keep their column names",
    "superscripts, footnotes",
    "not read, and said",
)
HOLDS = {
    "PDF": (
        "columns in order, hyphens and ligatures resolved; no headings",
        "pages without text, attachments, damaged pages",
        "–",
        "as text, no",
        "as text",
        "pictures (`--ocr` reads scans)",
    ),
    "HTML": ("yes; navigation, notices, scripts, hidden parts left out", "–", "yes", "yes", "yes", "pictures"),
    "DOCX": (
        "yes; headers and footers once, hidden text and placeholders left out",
        "charts, diagrams, embedded files, remarks",
        "–",
        "yes",
        "yes",
        "charts, remarks, embedded files",
    ),
    "ODT": (
        "yes; headers and footers once, hidden text left out",
        "embedded objects",
        "–",
        "yes",
        "yes",
        "embedded objects, remarks",
    ),
    "RTF": (
        "yes; headings by outline level",
        "embedded objects, remarks",
        "code pages of fonts",
        "yes",
        "yes",
        "pictures, embedded objects",
    ),
    "EPUB": ("yes; table of contents left out", "missing chapters", "yes", "yes", "yes", "pictures"),
    "PPTX": (
        "each slide a page, notes included",
        "hidden slides, charts, diagrams",
        "–",
        "yes",
        "yes",
        "charts, hidden slides",
    ),
    "XLSX": (
        "each sheet a section",
        "hidden sheets, formulas without a value, charts",
        "–",
        "yes",
        "–",
        "charts, remarks, hidden sheets",
    ),
    "CSV, TSV": ("yes", "unclosed quotes, rows of other length", "BOM", "yes", "–", "–"),
    "Markdown": (
        "yes; headings keep their `#`, addresses of links left out",
        "–",
        "BOM",
        "yes",
        "as written",
        "pictures",
    ),
    "RST": ("as written; headings from underlines", "–", "BOM", "as written", "as written", "–"),
    "man": ("yes, without commands", "–", "BOM", "as lines", "–", "–"),
    "text": ("as written", "–", "BOM", "as written", "as written", "–"),
    "EML": (
        "head, text, attachments of any format",
        "attachments that cannot be read",
        "yes",
        "yes",
        "yes",
        "other attachments",
    ),
}


def main() -> None:
    """Compare all files, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "documents")
    parser.add_argument("--check", action="store_true", help="compare only, and leave docs/documents.md alone")
    settings = parser.parse_args()
    fetch(settings.folder)
    figures: dict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for path, reference in [*located(settings.folder), *made(settings.folder)]:
        begin = time.process_time()
        document = read_document(path)
        name = format_of(path)
        seconds[name] += time.process_time() - begin
        for passage in split(document):
            assert passage.source is not None
            assert passage.text.endswith(document.text[passage.source.start : passage.source.end])
        ours, theirs = words(document.text), words(reference)
        both = (ours & theirs).total()
        row = both / theirs.total(), 1 - both / ours.total(), theirs.total(), ours.total()
        figures[name].append(row)
        print(f"{name:9} kept {row[0]:.4f} invented {row[1]:.4f} words {row[2]:6} {path.name}", flush=True)
        if row[0] < 0.99 or row[1] > 0.001:
            print("   lost:", dict((theirs - ours).most_common(12)), "invented:", dict((ours - theirs).most_common(12)))
    if not settings.check:
        write(figures, seconds)


def fetch(folder: Path) -> None:
    """Unpack the packages that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        mark = folder / f".{package}"
        if mark.exists():
            continue
        subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True, capture_output=True)
        for archive in folder.glob(f"{package}_*.deb"):
            subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True)
            archive.unlink()
        mark.touch()
    site = folder / "site"
    if not site.exists():
        site.symlink_to(sysconfig.get_path("purelib"))


def located(folder: Path) -> list[tuple[Path, str]]:
    """Return the files, unpacked where they are packed, with the text that another program sees in each."""
    found = []
    for file in FILES:
        path = folder / file.path
        if not path.exists():
            print(f"not there: {file.path}", file=sys.stderr)
            continue
        if path.suffix == ".gz" and "/man/" not in file.path:
            plain = path.with_suffix("")
            plain.write_bytes(gzip.decompress(path.read_bytes()))
            path = plain
        found.append((path, REFERENCES[format_of(path)](path, file.main)))
    return found


def made(folder: Path) -> list[tuple[Path, str]]:
    """Return files that pandoc makes of pages, with pandoc's own text of them."""
    found = []
    for name, main in MADE:
        page = folder / f"{Path(name).stem}-main.html"
        page.write_text(f"<html><body>{marked(folder / name, main)}</body></html>", encoding="utf-8")
        for ending in ("docx", "odt", "rtf"):
            path = page.with_suffix(f".{ending}")
            run("pandoc", "-s", "-o", str(path), str(page))
            found.append((path, run("pandoc", "--wrap=none", "--columns=10000", "-t", "plain", str(page))))
    return found


def marked(path: Path, main: tuple[str, str]) -> str:
    """Return the main text of a page in HTML, between the tags that were marked by hand."""
    text = path.read_text(encoding="utf-8", errors="replace")
    first = re.search(main[0], text)
    begin = first.start() if first else 0
    last = re.search(main[1], text[begin:])
    return without_contents(text[begin : begin + last.start() if last else None])


def without_contents(text: str) -> str:
    """Return a page without tables of contents of itself, which are left out on purpose."""
    for found in reversed(list(re.finditer(r'<div class="toc">', text))):
        depth = 0
        for tag in re.finditer(r"<(/?)div\b", text[found.start() :]):
            depth += -1 if tag[1] else 1
            if not depth:
                end = found.start() + tag.end() + 1
                if all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', text[found.start() : end])):
                    text = text[: found.start()] + text[end:]
                break
    return text


def page_text(path: Path, main: tuple[str, str]) -> str:
    """Return the main text of a page as w3m shows it."""
    page = f'<html><head><meta charset="utf-8"></head><body>{marked(path, main)}</body></html>'
    command = ["w3m", "-dump", "-T", "text/html", "-cols", "10000", "-I", "utf-8", "-O", "utf-8"]
    return subprocess.run(command, input=page.encode(), capture_output=True, check=True).stdout.decode()


def manual_text(path: Path, _: tuple[str, str]) -> str:
    """Return a manual page as `man` shows it."""
    command = ["man", "--encoding=UTF-8", "--no-hyphenation", "--no-justification", "-l", str(path)]
    environment = {"MANWIDTH": "400", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANPAGER": "cat", "PAGER": "cat"}
    text = subprocess.run(command, capture_output=True, check=True, env=environment).stdout.decode()
    lines = [line for line in re.sub(".\b", "", text).split("\n") if line.strip()]
    return "\n".join(lines[1:-1])  # without the running head and foot


def run(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8", "replace")


REFERENCES: dict[str, Callable[[Path, tuple[str, str]], str]] = {
    "PDF": lambda path, _: run("pdftotext", "-enc", "UTF-8", str(path), "-"),
    "HTML": page_text,
    "EPUB": lambda path, _: run("pandoc", "--wrap=none", "--columns=10000", "-f", "epub", "-t", "plain", str(path)),
    "Markdown": lambda path, _: run(
        "pandoc", "--wrap=none", "--columns=10000", "-f", "gfm+yaml_metadata_block", "-t", "plain", str(path)
    ),
    "RST": lambda path, _: path.read_text(encoding="utf-8"),
    "CSV, TSV": lambda path, _: path.read_text(encoding="utf-8"),
    "man": manual_text,
    "text": lambda path, _: path.read_text(encoding="utf-8"),
}


def format_of(path: Path) -> str:
    """Return the name of a file's format in the tables."""
    if re.search(r"\.[1-9](?:\.gz)?$", path.name):
        return "man"
    names = {".md": "Markdown", ".txt": "text", ".csv": "CSV, TSV"}
    return names.get(path.suffix, path.suffix[1:].upper())


def words(text: str) -> Counter[str]:
    """Return the words of a text; hyphens, and where lines end, make no difference."""
    text = unicodedata.normalize("NFKC", text.replace("\u00ad", "")).casefold().replace("\u200b", "")
    text = re.sub(r"(?<=\w)[-‐\u2011\u2010]\s*\n\s*(?=\w)", "", text)
    text = re.sub(r"(?<=\w)[-‐\u2010_^](?=\w)", "", text)
    return Counter(re.findall(r"[^\W_]+", text))


def write(figures: dict[str, list[tuple[float, float, int, int]]], seconds: dict[str, float]) -> None:
    """Write the tables between the marks in docs/documents.md."""
    lines = ["| format | files | words | kept | invented | words a second |", "|---|---|---|---|---|---|"]
    for name, rows in figures.items():
        theirs, ours = sum(row[2] for row in rows), sum(row[3] for row in rows)
        kept = sum(row[0] * row[2] for row in rows) / theirs
        invented = sum(row[1] * row[3] for row in rows) / ours
        speed = f"{ours / max(seconds[name], 0.001):,.0f}"
        lines.append(f"| {name} | {len(rows)} | {theirs:,} | {kept:.4f} | {invented:.4f} | {speed} |")
    grid = [f"| format | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 1) + "|"]
    grid += [f"| {name} | {' | '.join(cells)} |" for name, cells in HOLDS.items()]
    text = PAGE.read_text(encoding="utf-8")
    for mark, table in (("words", lines), ("formats", grid)):
        begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n" + "\n".join(table) + f"\n\n{end}" + rest.partition(end)[2]
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
