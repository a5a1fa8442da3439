"""Tiny files in the published form of each benchmark, written for these tests, and a model that reads them.

Every corpus has decoys that share more words with the question than the passage that is right; that one says "golden".
A passage `says` something, and the model answers what the first passage of its prompt says.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from rankrag.models.fake import FakeLanguageModel

WIKIPEDIA = [
    ("1", "who wrote hamlet, asks the first act. It says Bacon.", "Hamlet, who wrote it"),
    ("2", "A golden play about a Danish prince, Hamlet. It says William Shakespeare.", "Hamlet"),
    ("3", "A golden river: the Tagus flows and says the Iberian Peninsula.", "Tagus"),
    ("4", "Are Ebro and Tagus both rivers, or are Ebro and Tagus both lakes? It says no.", "Ebro and Tagus, both"),
    ("5", "Golden streams: Ebro, Tagus. It says yes.", "Rivers"),
    ("6", "Hamlet was written in Madrid is a false claim that many believe. It says True.", "Hamlet claims"),
    ("7", "Golden London is where Hamlet was staged. It says False.", "Globe"),
]

MEDCORP = {
    "pubmed": [
        ("p1", "Which vitamin prevents scurvy, which vitamin does not. It says A."),
        ("p2", "Golden fruit against scurvy: ascorbic acid. It says C."),
        ("p3", "Does coffee raise blood pressure in adults, does it? It says B."),
        ("p4", "Golden trial on coffee. It says A."),
    ],
    "statpearls": [("s1", "A golden nerve of the diaphragm: phrenic. It says D.")],
    "textbooks": [("t1", "Golden insulin comes from the pancreas. It says B.")],
    "wikipedia": [("w1", "Is the pancreas the source of insulin, or is the liver? It says A.")],
}


def model() -> FakeLanguageModel:
    """Return a model that finds golden passages relevant and answers what the first passage says."""
    return FakeLanguageModel(yes_if="golden", reply=said)


def said(prompt) -> str:
    first = next(segment.text for segment in prompt if segment.kind == "passage")
    return re.search(r"says (.+?)\.$", first)[1]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_lines(path: Path, *rows) -> None:
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_json(path: Path, value) -> None:
    write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_wikipedia(path: Path) -> None:
    write(path, "id\ttext\ttitle\n" + "".join(f'{name}\t"{text}"\t{title}\n' for name, text, title in WIKIPEDIA))


def write_dec_2020(path: Path) -> None:
    write_lines(path, *({"id": name, "section": "", "title": title, "text": text} for name, text, title in WIKIPEDIA))


def write_medcorp(folder: Path) -> None:
    for part, passages in MEDCORP.items():
        rows = ({"id": name, "title": part, "content": text, "contents": f"{part}. {text}"} for name, text in passages)
        write_lines(folder / f"{part}.jsonl", *rows)


def kilt(name, asked, *answers):
    """A row of KILT: outputs with an answer, and one with nothing but its provenance."""
    provenance = [{"wikipedia_id": "7", "title": "Hamlet", "section": "Plot", "start_paragraph_id": 1, "meta": {}}]
    outputs = [{"answer": a, "meta": {"score": -1}, "provenance": []} for a in answers]
    return {
        "id": name,
        "input": asked,
        "meta": {"left_context": "", "mention": "", "right_context": "", "partial_evidence": []},
        "output": [*outputs, {"answer": "", "meta": {"score": -1}, "provenance": provenance}],
    }


def mirage_file():
    vitamins = {"A": "retinol", "B": "thiamine", "C": "ascorbic acid", "D": "calciferol"}
    nerves = {"A": "vagus", "B": "ulnar", "C": "sciatic", "D": "phrenic"}
    organs = {"A": "liver", "B": "pancreas", "C": "spleen", "D": "kidney"}
    coffee = {"question": "Does coffee raise blood pressure in adults?", "PMID": [11, 12]}
    return {
        "medqa": {"0000": {"question": "Which vitamin prevents scurvy?", "options": vitamins, "answer": "C"}},
        "medmcqa": {
            "a1": {"question": "nerve of the diaphragm", "options": nerves, "answer": "D"},
            "a2": {"question": "Which vitamin prevents scurvy?", "options": vitamins, "answer": "B"},
        },
        "mmlu": {
            "anatomy-000": {"question": "Is the pancreas the source of insulin?", "options": organs, "answer": "B"},
            "anatomy-001": {"question": "The diaphragm has which nerve", "options": nerves, "answer": "A"},
        },
        "pubmedqa": {"21645374": {**coffee, "options": {"A": "yes", "B": "no", "C": "maybe"}, "answer": "A"}},
        "bioasq": {
            "5c58a74e": {**coffee, "options": {"A": "yes", "B": "no"}, "answer": "A"},
            "5c58a74f": {**coffee, "options": {"A": "yes", "B": "no"}, "answer": "B"},
        },
    }
