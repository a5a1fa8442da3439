from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import pytest

from rankrag.data.journal import append_rows, read_journal
from rankrag.errors import MissingExtraError
from rankrag.evaluation.first_stage import bm25, dense, fused, open_index, search_seconds
from rankrag.retrieval.store import PassageStore
from rankrag.types import Message


def test_the_index_is_made_once_and_made_anew_for_other_passages(loaded, tmp_path, monkeypatch):
    squad = loaded("squad")
    assert len(open_index(squad, tmp_path / "index")) == 6
    puts = []
    put = PassageStore.put
    monkeypatch.setattr(PassageStore, "put", lambda self, batch: puts.append(batch) or put(self, batch))
    assert len(open_index(squad, tmp_path / "index")) == 6
    assert puts == []
    fewer = replace(squad, passages=dict(list(squad.passages.items())[:2]))
    assert len(open_index(fewer, tmp_path / "index")) == 2


def test_bm25_searches_what_the_journal_lacks(loaded, tmp_path):
    squad = loaded("squad")
    store = open_index(squad, tmp_path / "index")
    told = []
    found = bm25(squad, lambda: store, tmp_path, "last", lambda *of: told.append(of))
    assert found["q1"][:2] == ("s/decoy/0", "s/tagus/0")
    assert found["q2"][0] == "s/ebro/0"
    assert told == [("SQuAD: searching", 2, 2)]
    journal = tmp_path / "bm25-last.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(lines[0].replace("s/decoy/0", "s/hill/0") + lines[1][:9])  # killed while it wrote the second
    again = bm25(squad, lambda: store, tmp_path, "last")
    assert again["q1"][0] == "s/hill/0"
    assert again["q2"] == found["q2"]
    assert [row["id"] for row in read_journal(journal)] == ["q1", "q2"]


def test_a_conversation_is_searched_by_the_last_turn_or_by_all(loaded, tmp_path):
    talks = loaded("doc2dial")
    store = open_index(talks, tmp_path / "index")
    assert bm25(talks, lambda: store, tmp_path, "last") == {"c1": ("d/visa/0",)}
    assert bm25(talks, lambda: store, tmp_path, "all") == {"c1": ("d/tax/0", "d/visa/0")}


def test_own_candidates_are_ordered_and_none_is_lost(loaded, tmp_path, encoder):
    msmarco = loaded("msmarco")
    assert bm25(msmarco, None, tmp_path, "last") == {"m1": ("m1/c1", "m1/c2", "m1/c0")}
    near = dense(msmarco, None, tmp_path, "last", encoder)
    assert near["m1"][0] == "m1/c1"
    assert set(near["m1"]) == {"m1/c0", "m1/c1", "m1/c2"}


def test_own_candidates_are_ordered_by_the_turns_that_are_asked_for(loaded, tmp_path, encoder):
    msmarco = loaded("msmarco")
    (of,) = msmarco.questions
    question = replace(of.question, text="wine", history=(Message("user", "golden " * 9),))
    talk = replace(msmarco, questions=(replace(of, question=question),))
    for find in (partial(bm25, talk, None), lambda *of: dense(talk, None, *of, encoder)):
        assert find(tmp_path, "last")["m1"][0] != "m1/c2"
        assert find(tmp_path, "all")["m1"][0] == "m1/c2"


def test_own_candidates_stay_as_they_are_where_no_word_is_known(loaded, tmp_path):
    msmarco = loaded("msmarco")
    (of,) = msmarco.questions
    strange = replace(of, question=replace(of.question, text="zzz"))
    assert bm25(replace(msmarco, questions=(strange,)), None, tmp_path, "last") == {"m1": of.given}


def test_ordering_own_candidates_names_the_extra(loaded, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(MissingExtraError, match=r"rankrag\[evaluation\]"):
        bm25(loaded("msmarco"), None, tmp_path, "last")


def test_a_given_ranking_stands_for_bm25(loaded, tmp_path):
    assert bm25(loaded("trec_dl19"), None, tmp_path, "last") == {"t1": ("1", "3", "2")}


def test_dense_fills_vectors_once_and_tells_how_far_it_is(loaded, tmp_path, encoder):
    squad = loaded("squad")
    store = open_index(squad, tmp_path / "index")
    told = []
    found = dense(squad, lambda: store, tmp_path, "last", encoder, lambda *of: told.append(of))
    assert found["q2"][0] == "s/ebro/0"
    assert told == [("SQuAD: encoding passages", 6, 6), ("SQuAD: searching", 2, 2)]
    dense(squad, lambda: store, tmp_path, "last", encoder)
    assert encoder.encoded == 6
    assert (tmp_path / "dense-last-stub@1.jsonl").exists()


def test_no_index_is_opened_where_the_journals_hold_all(loaded, tmp_path, encoder):
    squad = loaded("squad")
    store = open_index(squad, tmp_path / "index")
    lexical = bm25(squad, lambda: store, tmp_path, "last")
    near = dense(squad, lambda: store, tmp_path, "last", encoder)

    def never():
        raise AssertionError("opened")

    assert bm25(squad, never, tmp_path, "last") == lexical
    assert dense(squad, never, tmp_path, "last", encoder) == near


def test_hybrid_fuses_by_reciprocal_rank():
    # a: 1/61 + 1/63, b: 1/62 + 1/61, c: 1/62
    assert fused({"q": ("a", "b")}, {"q": ("b", "c", "a")}) == {"q": ("b", "a", "c")}


def test_a_search_by_both_takes_the_seconds_of_both(tmp_path):
    for name, seconds in (("bm25-last", 1), ("bm25-all", 2), ("dense-last-e", 4), ("dense-all-e", 8)):
        append_rows(tmp_path / f"{name}.jsonl", [{"id": "q", "ids": [], "seconds": seconds}])
    append_rows(tmp_path / "bm25-last.jsonl", [{"id": "other", "ids": [], "seconds": 1}])
    assert search_seconds(tmp_path, "bm25", "last", None) == {"q": 1, "other": 1}
    assert search_seconds(tmp_path, "dense", "all", "e") == {"q": 8}
    assert search_seconds(tmp_path, "hybrid", "last", "e") == {"q": 5}
    assert search_seconds(tmp_path, "hybrid", "both", "e") == {"q": 15}
    assert search_seconds(tmp_path, "bm25", "both", None) == {"q": 3}
