"""Rows are written for these tests, in the schema in which each evaluation set is published."""

from __future__ import annotations

import json

import pytest

from rankrag.blend.asked import asked_rows
from rankrag.errors import DataError

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
ASKED = {"role": "user", "content": "why?"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ours.jsonl", json.dumps({"id": "q", "question": "why?", "history": TURNS})),
        ("ranking.jsonl", json.dumps({"id": "q", "query": "why?"})),
        ("kilt.jsonl", json.dumps({"id": "q", "input": "why?", "output": [{"answer": "so"}]})),
        ("chatrag.json", json.dumps([{"messages": [*TURNS, ASKED], "answers": ["so"], "ctxs": []}])),
        ("mirage.json", json.dumps({"medqa": {"1": {"question": "why?", "options": {"A": "so"}, "answer": "A"}}})),
        ("nq-test.qas.csv", "why?\t['so']\n"),
    ],
)
def test_questions_are_found_in_every_published_form(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    ((_, history, question),) = asked_rows(tmp_path / name)
    assert question == "why?"
    assert len(history) == (2 if name in ("ours.jsonl", "chatrag.json") else 0)


def test_all_rows_that_ask_nothing_are_told(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\nno JSON\n{"query": 2}\n')
    with pytest.raises(DataError, match=r"jsonl:1: no 'question'.*found: a.*jsonl:2: not JSON.*jsonl:3: no 'question'"):
        list(asked_rows(tmp_path / "rows.jsonl"))
