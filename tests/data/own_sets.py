"""A data folder with one small set of every sort, in the form of docs/data.md."""

from __future__ import annotations

from pathlib import Path

from rankrag.data.files import write_rows

PASSAGES = {
    "s/decoy/0": "tagus river tagus river",
    "s/tagus/0": "tagus river in a golden land of many other words",
    "s/ebro/0": "ebro river golden",
    "s/lake/0": "a lake without a stream",
    "s/hill/0": "hill and dale",
    "s/town/0": "the town by the river",
}


def passage_rows(passages):
    return [{"id": name, "title": "", "text": text} for name, text in passages.items()]


def write_sets(folder: Path) -> Path:
    """Write a data folder with one small set of every sort."""
    write_rows(folder / "squad/squad.corpus.jsonl.zst", passage_rows(PASSAGES))
    write_rows(
        folder / "squad/squad.dev.jsonl.zst",
        [
            {"id": "q1", "question": "tagus river", "answers": ["golden land"], "positive_ids": ["s/tagus/0"]},
            {"id": "q2", "question": "ebro river", "answers": ["golden"], "positive_ids": ["s/ebro/0"]},
        ],
    )
    write_rows(
        folder / "squad/squad2_unanswerable.dev.jsonl.zst",
        [
            {"id": "u1", "question": "lake stream", "answers": [], "positive_ids": [], "near_ids": ["s/lake/0"]},
            {"id": "u2", "question": "ebro", "answers": [], "positive_ids": [], "near_ids": ["s/hill/0"]},
        ],
    )
    write_rows(
        folder / "conversational/doc2dial.corpus.jsonl.zst",
        passage_rows({"d/visa/0": "golden visa for workers", "d/tax/0": "tax for workers"}),
    )
    turns = [{"role": "user", "content": "tax tax"}, {"role": "agent", "content": "which tax"}]
    write_rows(
        folder / "conversational/doc2dial.dev.jsonl.zst",
        [{"id": "c1", "question": "for visa", "answers": ["x"], "positive_ids": ["d/visa/0"], "history": turns}],
    )
    candidates = [
        {"text": "nothing here", "label": 0},
        {"text": "apple pie apple pie", "label": 0},
        {"text": "a golden apple", "label": 1},
    ]
    write_rows(
        folder / "ranking/msmarco.dev.jsonl.zst",
        [
            {"id": "m1", "query": "apple pie", "candidates": candidates},
            {"id": "m2", "query": "pear", "candidates": [{"text": "pear", "label": 0}]},
        ],
    )
    write_rows(
        folder / "ranking/trec_dl19.corpus.jsonl.zst",
        passage_rows({"1": "wind power", "2": "golden wind", "3": "sun"}),
    )
    write_rows(
        folder / "ranking/trec_dl19.test.jsonl.zst",
        [
            {
                "id": "t1",
                "query": "wind",
                "positive_ids": ["2"],
                "grades": {"1": 1, "2": 3},
                "bm25_ids": ["1", "3", "2"],
            }
        ],
    )
    return folder
