from __future__ import annotations

import json
import sys

import pytest

from rankrag.blend.preparation import prepare
from rankrag.blend.reading import read_source
from rankrag.config import BlendConfig, SourceConfig
from rankrag.errors import ConfigError, DataError, MissingExtraError


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def qa_rows(number):
    return [
        {"id": f"q{i}", "question": f"{i}?", "contexts": [{"text": f"t{i}"}], "answers": ["a"]} for i in range(number)
    ]


def read(tmp_path, *, seed=0, commercial=False, **fields):
    wanted = {"name": "s", "rows": "rows.jsonl", "kinds": ["context_qa"]} | fields
    return read_source(SourceConfig.model_validate(wanted), tmp_path, seed=seed, commercial=commercial)


def test_rows_are_chosen_by_their_fields_and_the_others_are_counted(tmp_path):
    rows = [row | {"kind": kind} for row, kind in zip(qa_rows(3), ["sum", "span", "count"], strict=True)]
    written(tmp_path / "rows.jsonl", rows)
    source = read(tmp_path, where={"kind": ["sum", "count"]})
    assert [r.question.id for r in source.records] == ["q0", "q2"]
    assert source.dropped == {"not asked for (where)": 1}


def test_a_limit_draws_rows_at_random_from_all_of_them_and_keeps_their_order(tmp_path):
    written(tmp_path / "rows.jsonl", qa_rows(200))
    first, same, other = (read(tmp_path, limit=20, seed=seed) for seed in (0, 0, 1))
    numbers = [[int(r.question.id[1:]) for r in source.records] for source in (first, same, other)]
    assert numbers[0] == numbers[1] == sorted(numbers[0]) != numbers[2]
    assert len(set(numbers[0])) == 20
    assert max(numbers[0]) >= 100
    assert first.dropped == {"beyond the limit": 180}
    assert len(first.passages) == 20


def test_a_limit_that_is_not_reached_keeps_all(tmp_path):
    written(tmp_path / "rows.jsonl", qa_rows(3))
    source = read(tmp_path, limit=20)
    assert len(source.records) == 3
    assert not source.dropped


def test_rows_whose_own_licence_forbids_commercial_use_are_left_out_where_it_is_asked_for(tmp_path):
    rows = [row | {"licence": of} for row, of in zip(qa_rows(2), ["MIT", "CC BY-NC 4.0"], strict=True)]
    written(tmp_path / "rows.jsonl", rows)
    assert len(read(tmp_path).records) == 2
    source = read(tmp_path, commercial=True)
    assert [r.question.id for r in source.records] == ["q0"]
    assert source.dropped == {"licence forbids commercial use": 1}


def test_all_bad_rows_are_reported_together(tmp_path):
    written(tmp_path / "rows.jsonl", [*qa_rows(1), *({"id": "x", "words": i} for i in range(7))])
    with pytest.raises(DataError, match=r"rows\.jsonl:2: .*rows\.jsonl:6: .*; and 2 more"):
        read(tmp_path)


def hub(path):
    """The json builder stands for a hub: it streams a file without a network."""
    return {"rows": "", "hub": {"name": "json", "files": str(path)}}


def test_a_hub_is_read_as_a_stream_in_the_form_of_its_set(tmp_path):
    pytest.importorskip("datasets")
    answers = {"text": ["Lisbon"], "answer_start": [3]}
    row = {"id": "q", "title": "The_sea", "context": "At Lisbon.", "question": "Where?", "answers": answers}
    source = read(tmp_path, **hub(written(tmp_path / "squad.jsonl", [row])), reader="squad")
    assert [p.title for p in source.passages.values()] == ["The sea"]
    assert [r.question.answers for r in source.records] == [("Lisbon",)]


def test_a_hub_that_cannot_be_read_says_what_to_do(tmp_path):
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match=r"json: cannot be read .*download it and name its file as 'rows'"):
        read(tmp_path, **hub(tmp_path / "none.jsonl"), reader="squad")


def test_without_datasets_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"rankrag\[blend\]"):
        read(tmp_path, **hub(tmp_path / "none.jsonl"), reader="squad")


def test_a_hub_that_is_not_reached_is_asked_once(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def unreachable(name, *_, **__):
        asked.append(name)
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    sources = [{"name": n, "hub": {"name": f"org/{n}"}, "reader": "squad"} for n in "ab"]
    with pytest.raises(ConfigError, match=r"source 'a': the hub cannot be reached \(no route\).*source 'b'"):
        prepare(BlendConfig.model_validate({"data": str(tmp_path), "sources": sources}), lambda _: None)
    assert asked == ["org/a"]
