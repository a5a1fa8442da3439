"""Questions that name a setting, an option or an error code: is the passage that explains it among the first ten?

`python -m experiments.first_stage.names FOLDER [QUESTIONS]` makes the questions from the manual's own text, where a
line of its own names what the lines below explain, and ranks the passages by BM25 over title and text alone, and over
all fields. QUESTIONS is a file of questions that people wrote, as examples/manuals has one.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankrag.data.files import read_rows
from rankrag.documents.files import find_files
from rankrag.documents.loading import Loaded, load_documents
from rankrag.retrieval.encoder import document_text
from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.lexical import K1, B, analyse
from rankrag.types import Passage

_SETTING = re.compile(r"^([a-z][a-z0-9]*(?:_[a-z0-9]+)+) \((?:integer|boolean|string|enum|floating point)[^)]*\)", re.M)
_OPTION = re.compile(r"^(?:-\w(?: \S+)?\n)?(--[a-z][a-z-]+)(?:=\S+)?(?:::)?$", re.M)
_CODE = re.compile(r"^([0-9A-Z]{5}) \| [a-z_]+$", re.M)
_PROGRAM = re.compile(r"^(?:git-|app-|pg)[a-z-]+")


@dataclass(frozen=True, slots=True)
class NamingQuestion:
    """A question, its kind, and the ids of the passages where its name has a line of its own."""

    kind: str
    text: str
    gold: frozenset[str]


def read_passages_of(folder: Path) -> list[Passage]:
    """Return the passages of the files below a folder; a file that cannot be read is left out."""
    outcomes = load_documents(find_files([folder]).files, {})
    return [passage for outcome in outcomes if isinstance(outcome, Loaded) for passage in outcome.passages]


def naming_questions(passages: Sequence[Passage]) -> list[NamingQuestion]:
    """Return a question for each setting, option of a program, and error code that a passage explains."""
    gold: dict[tuple[str, str], set[str]] = defaultdict(set)
    for passage in passages:
        for question in _asked(passage):
            gold[question].add(passage.id)
    return [NamingQuestion(kind, text, frozenset(ids)) for (kind, text), ids in gold.items()]


def _asked(passage: Passage) -> Iterator[tuple[str, str]]:
    assert passage.source
    page = Path(passage.source.path).name.split(".")[0]
    for name in _SETTING.findall(passage.text):
        yield "setting", f"What is the default value of {name}?"
    if _PROGRAM.match(page):
        program = page.removeprefix("app-").replace("git-", "git ")
        for name in _OPTION.findall(passage.text):
            yield "option", f"What does {name} of {program} do?"
    if "errcodes" in page:
        for name in _CODE.findall(passage.text):
            yield "error code", f"What does error code {name} mean?"


def written_questions(path: Path, passages: Sequence[Passage]) -> list[NamingQuestion]:
    """Return the questions of a file whose answer, or an item of it, stands in a passage of the page that they name."""
    found = []
    for _, row in read_rows(path):
        pages, answers = row.get("sources") or [row.get("source")], [*row["answers"], *row.get("items", [])]
        gold = {p.id for p in passages if _is_of(p, pages) and any(a.lower() in p.text.lower() for a in answers)}
        if row["answers"] and gold:
            found.append(NamingQuestion("written by people", row["question"], frozenset(gold)))
    return found


def _is_of(passage: Passage, pages: Sequence[str | None]) -> bool:
    assert passage.source
    return any(page and passage.source.path.endswith(page) for page in pages)


def places(
    passages: Sequence[Passage], questions: Sequence[NamingQuestion], terms: Callable[[Passage], list[str]]
) -> Mapping[str, list[int]]:
    """Return the place of each question's first gold passage by exact BM25 over these terms, by kind of question."""
    import bm25s

    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    index.index([terms(passage) for passage in passages], show_progress=False)
    row = {passage.id: i for i, passage in enumerate(passages)}
    found: dict[str, list[int]] = defaultdict(list)
    for question in questions:
        asked = [term for term in dict.fromkeys(analyse(question.text)) if term in index.vocab_dict]
        scores = index.get_scores(asked)
        best = max(scores[row[name]] for name in question.gold)
        found[question.kind].append(int((scores > best).sum()) + 1)
    return found


def main() -> None:
    """Print a row for each kind of question and each kind of terms."""
    passages = read_passages_of(Path(sys.argv[1]))
    questions = naming_questions(passages)
    for path in sys.argv[2:]:
        questions += written_questions(Path(path), passages)
    print(f"{len(passages)} passages\n")
    print("| questions | number | terms | first | of five | of ten |\n|---|---|---|---|---|---|")
    by_terms = {
        "title and text": lambda passage: analyse(document_text(passage)),
        "fields": passage_terms,
    }
    for name, terms in by_terms.items():
        for kind, ranks in places(passages, questions, terms).items():
            shares = " | ".join(f"{np.mean(np.array(ranks) <= k):.3f}" for k in (1, 5, 10))
            print(f"| {kind} | {len(ranks)} | {name} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
