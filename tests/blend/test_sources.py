from __future__ import annotations

import json

import pytest

from rankrag.blend.mining import mine
from rankrag.blend.sources import read_source, split_held_back
from rankrag.config.blend import SourceConfig
from rankrag.errors import DataError


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def source_of(rows, corpus=None):
    fields = {"name": "s", "rows": rows.name} | ({"corpus": corpus.name} if corpus else {})
    return read_source(SourceConfig.model_validate(fields), rows.parent)


def test_rows_with_candidates_of_their_own_need_no_corpus(tmp_path):
    row = {"id": "q", "query": "why?", "candidates": [{"text": "because", "label": 1}, {"text": "no", "label": 0}]}
    source = source_of(written(tmp_path / "rows.jsonl", [row]))
    (record,) = source.records
    assert [source.passages[i].text for i in record.positives] == ["because"]
    assert [source.passages[i].text for i in record.negatives] == ["no"]


def test_passages_that_no_record_names_stay_out(tmp_path):
    corpus = written(tmp_path / "corpus.jsonl", [{"id": name, "text": name} for name in ("a", "b")])
    rows = written(tmp_path / "rows.jsonl", [{"id": "q", "question": "?", "answers": ["a"], "positive_ids": ["a"]}])
    assert set(source_of(rows, corpus).passages) == {"a"}


def test_a_gold_passage_that_is_missing_is_named(tmp_path):
    corpus = written(tmp_path / "corpus.jsonl", [{"id": "b", "text": "b"}])
    rows = written(tmp_path / "rows.jsonl", [{"id": "q", "question": "?", "answers": ["a"], "positive_ids": ["a"]}])
    with pytest.raises(DataError, match="question 'q' names passage 'a'"):
        source_of(rows, corpus)
    with pytest.raises(DataError, match="question 'q' names passage 'a', which None does not hold"):
        source_of(rows)


def test_a_row_of_no_known_form_is_named_with_its_line(tmp_path):
    rows = written(tmp_path / "rows.jsonl", [{"id": "q", "words": 3}])
    with pytest.raises(DataError, match=r"rows\.jsonl:1"):
        source_of(rows)


def test_all_questions_of_a_document_are_held_back_together(tmp_path):
    ids = [f"s/d{i // 5}/{i % 5}" for i in range(200)]
    corpus = written(tmp_path / "corpus.jsonl", [{"id": i, "text": i} for i in ids])
    rows = [{"id": f"q{i}", "question": "?", "answers": ["a"], "positive_ids": [i]} for i in ids]
    source = source_of(written(tmp_path / "rows.jsonl", rows), corpus)
    kept, held = split_held_back(source, 0.3)
    documents = [{r.positives[0].rpartition("/")[0] for r in part.records} for part in (kept, held)]
    assert held.records
    assert documents[0].isdisjoint(documents[1])


def test_mined_negatives_do_not_answer_and_are_no_copies_of_the_gold_passage(tmp_path):
    gold = "The river Tagus reaches the sea at Lisbon after a long way through the plains of two old kingdoms."
    texts = {
        "gold": gold,
        "copy": gold + " Indeed.",
        "answers": "A river of the sea: Lisbon.",
        "hard": "The river Douro reaches the sea at Porto.",
    }
    corpus = written(tmp_path / "corpus.jsonl", [{"id": f"s/d/{k}", "text": v} for k, v in texts.items()])
    row = {"id": "q", "question": "Where does the river reach the sea?", "answers": ["Lisbon"]}
    rows = written(tmp_path / "rows.jsonl", [row | {"positive_ids": ["s/d/gold"]}])
    assert mine(source_of(rows, corpus), 5) == [("s/d/hard",)]


def test_a_source_without_passages_has_no_negatives(tmp_path):
    rows = written(tmp_path / "rows.jsonl", [{"id": "q", "question": "?", "answers": ["a"], "positive_ids": []}])
    assert mine(source_of(rows), 5) == [()]
