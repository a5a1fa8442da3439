from __future__ import annotations

import random
from dataclasses import replace

import bm25s
import pytest

from rankrag.data.files import read_rows
from rankrag.data.journal import Journal
from rankrag.data.sets import Judged
from rankrag.evaluation.first_stage import FirstStage, joined, open_index
from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.lexical import K1, B, analyse
from rankrag.retrieval.store import PassageStore
from rankrag.types import Message, Passage, Question


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


def stage_of(test_set, tmp_path, encoder=None, progress=lambda *_: None):
    return FirstStage(test_set, tmp_path, lambda _: encoder, progress)


def test_bm25_searches_what_the_journal_lacks(loaded, tmp_path):
    squad = loaded("squad")
    told = []
    stage = stage_of(squad, tmp_path, progress=lambda *step: told.append(step))
    found = stage.ids("bm25")
    assert found["q1"][:2] == ("s/decoy/0", "s/tagus/0")
    assert found["q2"][0] == "s/ebro/0"
    assert told[-1] == ("SQuAD: searching", 2, 2)
    journal = stage.folder / "bm25-last.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(lines[0].replace("s/decoy/0", "s/hill/0") + lines[1][:9])  # killed while it wrote the second
    again = stage_of(squad, tmp_path).ids("bm25")
    assert again["q1"][0] == "s/hill/0"
    assert again["q2"] == found["q2"]
    assert [row["id"] for _, row in read_rows(journal)] == ["q1", "q2"]


def test_a_conversation_is_searched_by_the_last_turn_by_all_or_by_both(loaded, tmp_path):
    stage = stage_of(loaded("doc2dial"), tmp_path)
    assert stage.ids("bm25", "last") == {"c1": ("d/visa/0",)}
    assert stage.ids("bm25", "all") == {"c1": ("d/tax/0", "d/visa/0")}
    assert stage.ids("bm25", "both") == {"c1": ("d/visa/0", "d/tax/0")}


def test_the_second_round_is_kept_in_a_journal_of_its_own_by_query(loaded, tmp_path):
    squad = loaded("squad")
    question = replace(squad.questions[0].question, text="lake of hill and dale")
    asked = replace(squad, questions=(replace(squad.questions[0], question=question),))
    stage = stage_of(asked, tmp_path)
    first = {"q1": (("s/lake/0",), 0.5)}
    ids, seconds = stage.again(first, 2, 2, "bm25", None)["q1"]
    assert ids == ("s/lake/0", "s/hill/0")
    assert seconds > 0.5
    journal = stage.folder / "again-bm25-last.jsonl"
    assert [row["id"] for _, row in read_rows(journal)] == ["hill dale"]
    journal.write_text(journal.read_text().replace("s/hill/0", "s/town/0"))
    assert stage_of(asked, tmp_path).again(first, 2, 2, "bm25", None)["q1"][0] == ("s/lake/0", "s/town/0")


@pytest.mark.parametrize(("name", "rounds"), [("squad", 1), ("msmarco", 2), ("trec_dl19", 2)])
def test_there_is_no_second_round_if_one_is_asked_for_or_nothing_can_be_searched(loaded, tmp_path, name, rounds):
    stage = stage_of(loaded(name), tmp_path)
    first = stage.found("bm25")
    assert stage.again(first, 5, rounds, "bm25", None) is first


def test_own_candidates_are_ordered_and_none_is_lost(loaded, tmp_path, encoder):
    stage = stage_of(loaded("msmarco"), tmp_path, encoder)
    assert stage.ids("bm25") == {"m1": ("m1/c1", "m1/c2", "m1/c0")}
    near = stage.ids("dense")
    assert near["m1"][0] == "m1/c1"
    assert set(near["m1"]) == {"m1/c0", "m1/c1", "m1/c2"}


@pytest.mark.parametrize("retriever", ["bm25", "dense"])
def test_own_candidates_are_ordered_by_the_turns_that_are_asked_for(loaded, tmp_path, encoder, retriever):
    msmarco = loaded("msmarco")
    (judged,) = msmarco.questions
    question = replace(judged.question, text="wine", history=(Message("user", "golden " * 9),))
    benchmark = replace(msmarco.benchmark, style="conversation")
    talk = replace(msmarco, benchmark=benchmark, questions=(replace(judged, question=question),))
    stage = stage_of(talk, tmp_path, encoder)
    assert stage.ids(retriever, "last")["m1"][0] != "m1/c2"
    assert stage.ids(retriever, "all")["m1"][0] == "m1/c2"


def test_own_candidates_have_the_order_of_an_exact_bm25_over_all_candidates_of_the_set(loaded, tmp_path):
    msmarco, rng = loaded("msmarco"), random.Random(3)
    words = [f"word{n}" for n in range(12)]
    passages = {f"p{n}": Passage(f"p{n}", " ".join(rng.choices(words, k=rng.randint(3, 30)))) for n in range(60)}
    asked = [Question(f"q{n}", " ".join(rng.sample(words, 3))) for n in range(20)]
    questions = tuple(Judged(question, (), {}, tuple(rng.sample(list(passages), 10))) for question in asked)
    found = stage_of(replace(msmarco, questions=questions, passages=passages), tmp_path).ids("bm25")
    reference = bm25s.BM25(k1=K1, b=B, method="lucene")
    reference.index([passage_terms(passage) for passage in passages.values()], show_progress=False)
    for judged in questions:
        scores = dict(zip(passages, reference.get_scores(analyse(judged.question.text)), strict=True))
        assert found[judged.question.id] == tuple(sorted(judged.given, key=lambda name: -scores[name]))


def test_own_candidates_stay_as_they_are_if_no_word_is_known(loaded, tmp_path):
    msmarco = loaded("msmarco")
    (judged,) = msmarco.questions
    strange = replace(judged, question=replace(judged.question, text="zzz"))
    assert stage_of(replace(msmarco, questions=(strange,)), tmp_path).ids("bm25") == {"m1": judged.given}


def test_a_given_ranking_stands_for_bm25_and_is_fused_with_dense_retrieval(loaded, tmp_path, encoder):
    stage = stage_of(loaded("trec_dl19"), tmp_path, encoder)
    assert stage.ids("bm25") == {"t1": ("1", "3", "2")}
    parts = [
        {name: ([(one, None) for one in ids], None) for name, ids in stage.ids(retriever).items()}
        for retriever in ("bm25", "dense")
    ]
    assert stage.found("hybrid") == joined(parts)


def test_dense_fills_vectors_once_and_tells_how_far_it_is(loaded, tmp_path, encoder):
    squad, told = loaded("squad"), []
    stage = stage_of(squad, tmp_path, encoder, lambda *step: told.append(step))
    assert stage.ids("dense")["q2"][0] == "s/ebro/0"
    assert ("SQuAD: encoding passages", 6, 6) in told
    assert told[-1] == ("SQuAD: searching", 2, 2)
    stage_of(squad, tmp_path, encoder).ids("dense")
    assert encoder.encoded == 6
    assert (stage.folder / "dense-last-stub@1.jsonl").exists()


def test_no_index_is_opened_if_the_journals_hold_everything(loaded, tmp_path, encoder, monkeypatch):
    squad = loaded("squad")
    found = stage_of(squad, tmp_path, encoder).ids("hybrid")

    def never(*_):
        raise AssertionError("opened")

    monkeypatch.setattr("rankrag.evaluation.first_stage.open_index", never)
    assert stage_of(squad, tmp_path, encoder).ids("hybrid") == found


def test_five_passages_hold_the_gold_one_in_a_seeded_place(loaded, tmp_path):
    squad = loaded("squad")
    q1, stage = squad.questions[0], stage_of(squad, tmp_path)
    found = {seed: stage.among_five(q1, 4, "last", seed) for seed in range(40)}
    others = [i for i in stage.ids("bm25")["q1"] if i != "s/tagus/0"][:4]
    assert {five.index("s/tagus/0") for five in found.values()} == set(range(len(others) + 1))
    assert set(found[0]) == {"s/tagus/0", *others}
    assert found[3] == stage.among_five(q1, 4, "last", 3)


def test_hybrid_fuses_scores():
    # a: 1 + 0.1, b: 0.5 + 1, c: 0.9
    one, other = [("a", 4.0), ("b", 2.0)], [("b", 1.0), ("c", 0.9), ("a", 0.1)]
    assert joined([{"q": (one, 1.0)}, {"q": (other, 0.5)}]) == {"q": (("b", "a", "c"), 1.5)}


def test_hybrid_fuses_ranks_where_scores_are_missing():
    # a: 1/61 + 1/63, b: 1/62 + 1/61, c: 1/62
    one, other = [("a", None), ("b", None)], [("b", 1.0), ("c", 0.9), ("a", 0.1)]
    assert joined([{"q": (one, None)}, {"q": (other, 0.5)}]) == {"q": (("b", "a", "c"), None)}


def test_journals_without_scores_are_fused_by_rank_and_not_searched_again(loaded, tmp_path, encoder):
    squad = loaded("squad")
    stage = stage_of(squad, tmp_path, encoder)
    names = [judged.question.id for judged in squad.questions]
    for file, ids in (("bm25-last", ["a", "b"]), (f"dense-last-{encoder.name}", ["b", "c", "a"])):
        rows = [{"id": name, "ids": ids, "seconds": 1} for name in names]
        Journal(stage.folder / f"{file}.jsonl", lambda row: []).append(rows)
    assert stage.ids("hybrid") == dict.fromkeys(names, ("b", "a", "c"))


def test_a_search_by_both_takes_the_seconds_of_both(loaded, tmp_path, encoder):
    stage = stage_of(loaded("doc2dial"), tmp_path, encoder)
    (name,) = (judged.question.id for judged in stage.test_set.questions)
    dense = f"dense-{{}}-{encoder.name}"
    for file, seconds in (("bm25-last", 1), ("bm25-all", 2), (dense.format("last"), 4), (dense.format("all"), 8)):
        Journal(stage.folder / f"{file}.jsonl", lambda row: []).append([{"id": name, "ids": [], "seconds": seconds}])
    assert stage.found("bm25", "last") == {name: ((), 1)}
    assert stage.found("dense", "all") == {name: ((), 8)}
    assert stage.found("hybrid", "last") == {name: ((), 5)}
    assert stage.found("hybrid", "both") == {name: ((), 15)}
    assert stage.found("bm25", "both") == {name: ((), 3)}


def test_a_time_that_is_not_known_has_no_sum(loaded, tmp_path, encoder):
    stage = stage_of(loaded("trec_dl19"), tmp_path, encoder)
    assert stage.found("bm25")["t1"][1] is None
    assert stage.found("dense")["t1"][1] is not None
    assert stage.found("hybrid")["t1"][1] is None
