from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rankrag.blend.mixture import EXAMPLES_FILE, build_blend
from rankrag.blend.own_corpus import CORPUS_FILE, JOURNAL_FILE, ROWS_FILE, own_source, to_ask, write_own
from rankrag.config.blend import BlendConfig, WritingConfig
from rankrag.data.examples import read_examples
from rankrag.data.files import read_rows
from rankrag.data.rows import read_passages
from rankrag.errors import DataError, ModelError
from rankrag.types import DataKind, Passage, Source

from .conftest import speak

WANTED = WritingConfig(index="my.index", min_words=10, found_within=2)


@pytest.fixture
def write(rivers, retriever_of, speaker, tmp_path):
    """Write rows of the rivers, or of other passages, with a model that asks and answers."""

    def make(out="a", *, passages=None, model=None, wanted=WANTED, **options):
        passages = rivers if passages is None else passages
        model = model or speaker()
        return write_own(wanted, passages, retriever_of(passages), model, model, tmp_path / out, **options)

    return make


def rows(folder: Path):
    return [row for _, row in read_rows(folder / ROWS_FILE)]


def kept(folder: Path):
    return [row for row in rows(folder) if "left_out" not in row]


def test_each_river_gives_its_question_with_its_answer_and_its_passage(write, tmp_path):
    counted = write()
    found = kept(tmp_path / "a")
    assert counted["kept"] == len(found) == 12
    assert found[3]["question"] == "Where does the river Alder3 reach the sea?"
    assert found[3]["answers"] == ["Derby3"]
    assert found[3]["positive_ids"] == ["own/doc1.md/1"]
    texts = {p.id: p.text for p in read_passages(tmp_path / "a" / CORPUS_FILE)}
    assert len(texts) == 12
    assert all(row["answers"][0] in texts[row["positive_ids"][0]] for row in found)


def test_what_is_left_out_stands_in_the_rows_with_its_reason(write, tmp_path):
    counted = write()
    assert dict(counted) == {"kept": 12, "not a question": 12}
    assert {row["left_out"] for row in rows(tmp_path / "a") if row not in kept(tmp_path / "a")} == {"not a question"}


def test_negatives_are_what_the_index_finds_less_what_answers(write, rivers, tmp_path):
    same = replace(rivers[4], id="copy.md#0", text="Elsewhere: the river Alder9 reaches the sea at Burton9.")
    write(passages=[*rivers, replace(same, source=Source("copy.md"))])
    row = next(row for row in kept(tmp_path / "a") if "Alder9 " in row["question"])
    assert row["positive_ids"][0] not in row["negative_ids"]
    assert "own/copy.md/0" not in row["negative_ids"]
    assert len(row["negative_ids"]) == 11


def test_a_question_that_does_not_find_its_passage_is_left_out(rivers, speaker, tmp_path):
    class Blind:
        def retrieve(self, queries, k):
            return [() for _ in queries]

    with pytest.raises(DataError, match="12 passage is not among the first 2"):
        write_own(WANTED, rivers, Blind(), speaker(), speaker(), tmp_path / "b")


def test_questions_that_nearly_equal_each_other_are_kept_once(write, rivers, tmp_path):
    twice = replace(rivers[0], id="again.md#0", source=Source("again.md"))
    counted = write(passages=[*rivers, twice], wanted=WANTED.model_copy(update={"found_within": 5}))
    assert counted["nearly equals another question"] == 1


def test_answers_that_differ_or_are_long_are_left_out(write, speaker, tmp_path):
    def undecided(prompt):
        passage = next(s.text for s in prompt if s.kind == "passage")
        said = speak(prompt)
        return "cloth is made" if said.isalnum() and "mills" in passage else said

    with pytest.raises(DataError, match="12 answers from sentence and passage differ"):
        write(model=speaker(undecided))
    wordy = speaker(lambda prompt: "cloth is made" if speak(prompt).isalnum() else speak(prompt))
    with pytest.raises(DataError, match="12 answer longer than 2 words"):
        write("b", model=wordy, wanted=WANTED.model_copy(update={"max_answer_words": 2}))


def test_the_same_seed_gives_the_same_bytes_and_another_draws_other_sentences(write, tmp_path):
    one = WANTED.model_copy(update={"questions": 1})
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(out, wanted=one, seed=seed)
    read = {out: (tmp_path / out / ROWS_FILE).read_bytes() for out in "abc"}
    assert read["a"] == read["b"] != read["c"]


def test_the_same_documents_in_another_folder_give_the_same_bytes(write, rivers, tmp_path):
    for home in ("/home/one/docs", "/srv"):
        moved = [
            replace(p, id=f"{home}/{p.id}", source=Source(f"{home}/{'sub/' * (i > 5)}{p.source.path}"))
            for i, p in enumerate(rivers)
        ]
        write(home[1:4], passages=moved)
    for name in (ROWS_FILE, CORPUS_FILE):
        assert (tmp_path / "hom" / name).read_bytes() == (tmp_path / "srv" / name).read_bytes()
    assert kept(tmp_path / "srv")[3]["positive_ids"] == ["own/doc1.md/1"]
    assert kept(tmp_path / "srv")[6]["positive_ids"] == ["own/sub/doc3.md/0"]


def test_a_killed_run_goes_on_and_gives_the_same_bytes(write, speaker, rivers, tmp_path):
    calls = 0

    def killed(prompt):
        nonlocal calls
        calls += 1
        if calls > 40:
            raise KeyboardInterrupt
        return speak(prompt)

    write("whole")
    with pytest.raises(KeyboardInterrupt):
        write(model=speaker(killed))
    journal = (tmp_path / "a" / JOURNAL_FILE).read_bytes()
    assert journal
    model = speaker()
    write(model=model)
    assert (tmp_path / "a" / JOURNAL_FILE).read_bytes().startswith(journal)
    assert not any(rivers[0].text in s.text for prompt in model.prompts for s in prompt)
    for name in (ROWS_FILE, CORPUS_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_after_a_change_of_the_documents_only_new_passages_cost_anything(write, speaker, rivers, tmp_path):
    write()
    model = speaker()
    changed = replace(rivers[1], text=rivers[1].text.replace("Burton1", "Exeter1"))
    write(passages=[rivers[0], changed, *rivers[2:]], model=model)
    assert {s.text for prompt in model.prompts for s in prompt if s.kind == "passage" and "Ashford0" in s.text} == set()
    assert kept(tmp_path / "a")[1]["answers"] == ["Exeter1"]


def test_a_passage_that_the_model_cannot_take_does_not_fail_the_others(write, speaker, rivers, tmp_path):
    def choosy(prompt):
        if any("Alder5" in s.text for s in prompt):
            raise DataError("too long")
        return speak(prompt)

    counted = write(model=speaker(choosy))
    assert counted["kept"] == 11
    (row,) = [row for row in rows(tmp_path / "a") if row.get("left_out") == "passage cannot be asked about"]
    assert row["error"] == "too long"


def test_progress_counts_passages_and_begins_where_the_journal_ends(write, rivers):
    seen = []
    write(passages=rivers[:8], progress=lambda _, done, total: seen.append((done, total)))
    assert seen == [(0, 8), (8, 8)]
    seen.clear()
    write(progress=lambda _, done, total: seen.append((done, total)))
    assert seen == [(8, 12), (12, 12)]
    seen.clear()
    write(progress=lambda _, done, total: seen.append((done, total)))
    assert seen == []


def test_an_empty_index_says_so(write):
    with pytest.raises(DataError, match=r"my.index: the index holds no passages; add documents"):
        write(passages=[])


def test_an_index_of_short_passages_says_how_long_the_longest_is(write):
    with pytest.raises(DataError, match=r"none of the 1 passages has 10 words .*the longest has 2 words"):
        write(passages=[Passage("p", "Too short.")])


def test_a_model_that_writes_nothing_is_given_up_early(write, speaker, rivers):
    many = [replace(p, id=f"{p.id}/{i}", text=f"{p.text} {i}.") for i in range(10) for p in rivers]
    model = speaker("")
    with pytest.raises(ModelError, match="wrote no question about 40 passages"):
        write(passages=many, model=model)
    assert len(model.prompts) == 80
    with pytest.raises(DataError, match=r"24 questions about 12 passages and none can be used \(24 nothing written\)"):
        write("b", model=model)


def test_passages_are_drawn_where_not_all_are_wanted(rivers):
    few = WANTED.model_copy(update={"passages": 3})
    drawn = to_ask(few, rivers, seed=0)
    assert len(drawn) == 3
    assert drawn == to_ask(few, rivers, seed=0) != to_ask(few, rivers, seed=1)


def test_the_blend_has_all_kinds_and_its_manifest_counts_what_was_dropped(write, tmp_path):
    write()
    evaluation = tmp_path / "test.jsonl"
    evaluation.write_text(json.dumps({"question": "Where does the river Alder7 reach the sea?"}))
    config = BlendConfig(
        data=str(tmp_path),
        held_back=0,
        evaluation=[{"rows": str(evaluation)}],
        sources=[own_source(WANTED, tmp_path / "a")],
    )
    manifest = build_blend(config, tmp_path / "blend")
    found = list(read_examples(tmp_path / "blend" / EXAMPLES_FILE))
    assert {e.kind for e in found} == set(DataKind) - {DataKind.SFT}
    assert not any("Alder7 " in e.question.text for e in found)
    for e in found:
        if e.kind is DataKind.CONTEXT_RANKING:
            (passage,) = e.contexts
            river = e.question.text.split()[4]
            assert (f"{river} " in passage.text) == (e.target == "True")
    assert manifest["sources"]["own"]["usable_rows"] == 12
    assert manifest["sources"]["own"]["dropped"]["not a question"] == 12
    assert manifest["sources"]["own"]["dropped"]["question of an evaluation set"] == 1


def test_a_real_model_of_random_weights_goes_the_whole_way_and_gives_the_same_twice(
    tiny_model_dir, rivers, retriever_of, tmp_path
):
    from rankrag.models.transformers import TransformersModel

    model = TransformersModel(tiny_model_dir, dtype="float32")
    few = WANTED.model_copy(update={"model": "tiny", "questions": 1})
    for out in "ab":
        with pytest.raises(DataError, match="tiny wrote 3 questions about 3 passages and none can be used"):
            write_own(few, rivers[:3], retriever_of(rivers), model, model, tmp_path / out)
        assert len(rows(tmp_path / out)) == 3
    assert (tmp_path / "a" / JOURNAL_FILE).read_bytes() == (tmp_path / "b" / JOURNAL_FILE).read_bytes()
