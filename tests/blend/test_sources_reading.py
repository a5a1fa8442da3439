from __future__ import annotations

import gzip
import json
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from rankrag.blend.prepare import prepare_blend
from rankrag.blend.sources import read_source
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data import files
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
    path = written(tmp_path / "rows.jsonl", [*qa_rows(1), *({"id": "x", "words": i} for i in range(22))])
    with pytest.raises(DataError, match=r"rows\.jsonl:2: .*rows\.jsonl:21: .*; and 2 more"):
        read(tmp_path)
    path.write_text("no JSON\n[1]\n" + json.dumps({"id": "x", "words": 1}))
    with pytest.raises(DataError, match=r"jsonl:1: not JSON .*jsonl:2: holds list.*jsonl:3: no question"):
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


def test_the_rows_of_a_hub_are_hashed_while_they_stream_and_its_commit_is_kept(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    rows = [row | {"n": i} for i, row in enumerate(qa_rows(3))]
    first, same, other = (
        read(tmp_path, **hub(written(tmp_path / f"{name}.jsonl", found)), limit=limit).origin
        for name, found, limit in (("a", rows, None), ("b", rows, 1), ("c", rows[:2], None))
    )
    assert first == same != other
    assert len(first["rows_sha256"]) == 64

    class Streamed(list):
        class _ex_iterable:  # noqa: N801 - its name in the library
            kwargs = {"files": [f"hf://datasets/org/set@{'ab' * 20}/train.json"]}  # noqa: RUF012

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Streamed(rows))
    assert read(tmp_path, rows="", hub={"name": "org/set"}).origin == first | {"revision": "ab" * 20}


def test_files_are_read_from_a_repository_that_holds_a_loading_script(hub_of_files, tmp_path):
    files, set_of = hub_of_files("org/set", "ab" * 20), {"name": "org/set", "revision": "ab" * 20}
    rows = qa_rows(5)
    written(files / "some.jsonl", rows[:2])
    for name, found in (("a", rows[2:4]), ("b", rows[4:])):
        parquet.write_table(pa.Table.from_pylist(found), files / f"{name}.parquet")
    for pattern, number in (("some.jsonl", 2), ("*.parquet", 3)):
        source = read(tmp_path, rows="", hub=set_of | {"files": pattern})
        assert len(source.records) == number
        assert source.origin["revision"] == "ab" * 20
    with pytest.raises(DataError, match=r"^org/set: cannot be read \(Unable to find 'hf://.*@abab.*/none\.parquet'"):
        read(tmp_path, rows="", hub=set_of | {"files": "none.parquet"})
    with pytest.raises(DataError, match=r"^org/set: cannot be read \(Dataset scripts are no longer supported"):
        read(tmp_path, rows="", hub=set_of)


def context_of(number):
    names = {"title": f"T{number}", "text": f"Text {number}, a \u00e9 and a ] too."}
    return names | {"score": 1000, "title_score": 0, "passage_id": str(number)}


def dpr_rows(count):
    return [
        {
            "dataset": "webquestions",
            "question": f"what is {n}?",
            "answers": [f"Text {n}"],
            "positive_ctxs": [context_of(n)],
            "negative_ctxs": [],
            "hard_negative_ctxs": [context_of(n + 100), context_of(n + 200)],
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("piece", [7, 100, 2**20])
@pytest.mark.parametrize("name", ["biencoder-webquestions-train.json", "biencoder-webquestions-train.json.gz"])
def test_dpr_s_file_is_read_as_it_is_published(tmp_path, monkeypatch, name, piece):
    """One indented array, compressed."""
    monkeypatch.setattr(files, "PIECE", piece)
    text = json.dumps(dpr_rows(4), indent=4)
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "wt", encoding="utf-8") as file:
        file.write(text + "\n")
    source = read(tmp_path, rows=name, reader="dpr", kinds=["retrieval_qa"])
    assert [r.question.text for r in source.records] == [f"what is {n}?" for n in range(4)]
    assert source.passages["dpr/103"].text == "Text 103, a \u00e9 and a ] too."
    assert [r.positives for r in source.records] == [(f"dpr/{n}",) for n in range(4)]


def test_lines_may_be_compressed_with_gzip(tmp_path):
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n\n" for row in qa_rows(3)))
    assert len(read(tmp_path, rows="rows.jsonl.gz").records) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[\n{"a": 1},\n{"b" 2}\n]' + " " * 99, r"rows\.json:3: not JSON \(Expecting ':' delimiter\)"),
        ('[\n{"a": 1},\n', r"rows\.json:3: not JSON \(the array has no end\)"),
        ('[\n{"a": "x', r"rows\.json:2: not JSON \(Unterminated string"),
        ('[1,\n "x", {"a": 1}]', r"json:1: holds int.*json:2: holds str.*json:2: no row of dpr"),
    ],
)
def test_what_is_wrong_with_an_array_is_said_with_its_line(tmp_path, text, problem):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=problem):
        read(tmp_path, rows="rows.json", reader="dpr", kinds=["retrieval_qa"])


def test_a_compressed_file_that_is_cut_is_named(tmp_path):
    whole = gzip.compress(json.dumps(dpr_rows(50)).encode())
    (tmp_path / "rows.json.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"rows\.json\.gz: cannot be read .*the file is whole"):
        read(tmp_path, rows="rows.json.gz", reader="dpr", kinds=["retrieval_qa"])


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
    with pytest.raises(ConfigError, match=r"'a': org/a: the hub cannot be reached \(no route\).*'b': org/b: the hub"):
        prepare_blend(BlendConfig.model_validate({"data": str(tmp_path), "sources": sources}), lambda _: None)
    assert asked == ["org/a"]
