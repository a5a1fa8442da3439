from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest

from experiments.freezing import corpus_of, freeze, freeze_first_stage, freeze_from_index, main, origin_of
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.files import read_rows, write_rows
from rankrag.data.load import load_set
from rankrag.documents.parts import SourcePassages
from rankrag.errors import ConfigError, DataError
from rankrag.evaluation.first_stage import FirstStage
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import evaluate
from rankrag.evaluation.systems import System
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage
from tests.data import published as files
from tests.data.own_sets import write_sets

CORPUS = ("/corpora/psgs_w100.tsv", "sha", tuple(Passage(name, text, title) for name, text, title in files.WIKIPEDIA))


@pytest.fixture
def data(tmp_path):
    return write_sets(tmp_path / "sets")


@pytest.fixture
def asked(tmp_path):
    """A data folder with the questions of a set, and an index of its corpus, which the folder lacks."""
    data = tmp_path / "data"
    files.write_lines(
        data / "kilt/nq-dev-kilt.jsonl",
        files.kilt("-1", "who wrote hamlet", "William Shakespeare"),
        files.kilt("-2", "where flows the tagus", "the Iberian Peninsula"),
    )
    store = PassageStore.create_or_open(tmp_path / "index")
    store.put([SourcePassages(*CORPUS)])
    store.refresh()
    return data, store


def test_a_set_is_searched_in_an_index_and_measured_without_its_corpus(asked):
    data, store = asked
    run = freeze_from_index(BENCHMARKS["nq-kilt"], data, store, store.lexical(), retriever="bm25", encoder=None, k=2)
    assert run == data / "runs/nq-kilt.trec"
    frozen = load_set(BENCHMARKS["nq-kilt"], data)
    assert [of.given[0] for of in frozen.questions] == ["1", "3"]
    assert {len(of.given) for of in frozen.questions} <= {1, 2}
    assert (frozen.origin.corpus, frozen.origin.first_stage) == ("7 passages of /corpora/psgs_w100.tsv", "bm25")
    with pytest.raises(ConfigError, match=r"nq-kilt\.trec: a run of NQ .* is there; delete it"):
        freeze_from_index(BENCHMARKS["nq-kilt"], data, store, store.lexical(), retriever="bm25", encoder=None)
    model = files.model()
    system = System(name="mini", model="m", n=2, k=1, retriever="dense")
    found = evaluate(data, data / "out", [system], Openers(lambda name: (model, name)), sets=["nq-kilt"])
    assert found.of("nq-kilt", "mini").figures["EM"].mean == 1.0
    assert found.description.sets[0].first_stage == "bm25"


class Killed:
    """A retriever that is killed when it is asked more than `batches` times; `asked` holds its queries."""

    def __init__(self, retriever, batches):
        self.retriever, self.batches, self.asked = retriever, batches, []

    def retrieve(self, queries, k):
        if self.batches == 0:
            raise KeyboardInterrupt
        self.batches -= 1
        self.asked += queries
        return self.retriever.retrieve(queries, k)


@pytest.fixture
def five(asked):
    """The same with five questions."""
    data, store = asked
    ends = ("hamlet", "macbeth", "othello", "the tagus", "the sea")
    lines = [files.kilt(str(number), f"who or where is {end}", end) for number, end in enumerate(ends)]
    files.write_lines(data / "kilt/nq-dev-kilt.jsonl", *lines)
    return data, store


def frozen(data, store, first_stage, k=3):
    freeze_from_index(BENCHMARKS["nq-kilt"], data, store, first_stage, retriever="bm25", encoder=None, k=k)
    return {path.name: path.read_bytes() for path in (data / "runs").iterdir()}


def test_a_search_that_was_killed_goes_on_and_ends_as_one_that_was_not(five, monkeypatch):
    data, store = five
    monkeypatch.setattr("experiments.freezing.BATCH", 2)
    whole = frozen(data, store, store.lexical())
    assert set(whole) == {"nq-kilt.trec", "nq-kilt.json", "nq-kilt.passages.jsonl.zst"}
    shutil.rmtree(data / "runs")
    with pytest.raises(KeyboardInterrupt):
        frozen(data, store, Killed(store.lexical(), 2))
    journal = data / "runs/nq-kilt.journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])  # the kill cut the last row short: its batch is searched again
    again = Killed(store.lexical(), 2)
    assert frozen(data, store, again) == whole
    assert [query.rpartition(" ")[2] for query in again.asked] == ["othello", "tagus", "sea"]


def test_what_was_found_with_other_settings_or_in_another_index_is_searched_anew(five, monkeypatch):
    data, store = five
    monkeypatch.setattr("experiments.freezing.BATCH", 2)
    with pytest.raises(KeyboardInterrupt):
        frozen(data, store, Killed(store.lexical(), 1), k=1)
    interrupted = (data / "runs/nq-kilt.journal.jsonl").read_bytes()
    other_depth = Killed(store.lexical(), 3)
    frozen(data, store, other_depth, k=2)
    shutil.rmtree(data / "runs")
    store.put([SourcePassages("/new.txt", "sha", (Passage("new", "Hamlet is a play."),))])
    (data / "runs").mkdir()
    (data / "runs/nq-kilt.journal.jsonl").write_bytes(interrupted)
    other_index = Killed(store.lexical(), 3)
    frozen(data, store, other_index, k=1)
    assert len(other_depth.asked) == len(other_index.asked) == 5


class Changing:
    """A retriever during whose search the index is changed."""

    def __init__(self, store, change):
        self.first_stage, self.change = store.lexical(), change

    def retrieve(self, queries, k):
        found = self.first_stage.retrieve(queries, k)
        self.change()
        return found


def test_what_was_found_before_two_questions_changed_their_ids_is_searched_anew(five):
    data, store = five
    with pytest.raises(DataError):
        frozen(data, store, Changing(store, lambda: store.remove("/corpora")))
    store.put([SourcePassages(*CORPUS)])
    path = data / "kilt/nq-dev-kilt.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row, name in zip(rows, "10342", strict=True):
        row["id"] = name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    again = Killed(store.lexical(), 1)
    frozen(data, store, again)
    assert len(again.asked) == 5


def test_an_index_that_is_changed_while_it_is_searched_is_told(five):
    data, store = five
    name, _, passages = CORPUS
    others = tuple(replace(passage, text="Another text.") for passage in passages)
    changes = (
        lambda: store.put([SourcePassages(name, "another", others)]),  # texts, below the ids that were found
        lambda: store.remove("/corpora"),
    )
    for change in changes:
        with pytest.raises(
            DataError, match=r"NQ .*: 1 documents .* changed or removed .*/psgs_w100\.tsv; search it again"
        ):
            frozen(data, store, Changing(store, change))
        assert not (data / "runs/nq-kilt.trec").exists()


def test_a_document_that_comes_while_the_index_is_searched_does_no_harm(five):
    data, store = five
    new = SourcePassages("/new.txt", "sha", (Passage("new", "Hamlet is a play."),))
    assert "nq-kilt.trec" in frozen(data, store, Changing(store, lambda: store.put([new])))


def test_an_index_of_other_documents_is_not_called_the_benchmark_s_corpus():
    medqa = BENCHMARKS["medqa-us"]
    parts = ["/x/medcorp/pubmed/chunk/1.jsonl", "/x/statpearls.jsonl", "textbooks/a.jsonl", "wikipedia/b.jsonl.zst"]
    assert corpus_of(medqa, dict.fromkeys(parts, 10)) == medqa.corpus
    assert corpus_of(medqa, dict.fromkeys(parts[:3], 10)) == f"30 passages of {', '.join(parts[:3])}"
    nq = BENCHMARKS["nq-kilt"]
    assert corpus_of(nq, {"/x/psgs_w100.tsv": 21_015_300}) == nq.corpus
    more = {f"{i}.md": 1 for i in range(7)}
    assert corpus_of(medqa, more) == "7 passages of 0.md, 1.md, 2.md, 3.md, 4.md and 2 more documents"


@pytest.mark.parametrize("name", ["squad", "doc2dial-chatrag", "fever_symmetric"])
def test_sets_that_go_with_passages_of_their_own_say_how_they_are_kept(tmp_path, name):
    with pytest.raises(ConfigError, match=f"python -m experiments.freezing {name}, without --index"):
        freeze_from_index(BENCHMARKS[name], tmp_path, None, None, retriever="bm25", encoder=None)


def test_a_corpus_is_a_file_with_or_without_its_ending_or_a_folder(tmp_path):
    files.write_json(tmp_path / "mirage/benchmark.json", files.mirage_file())
    files.write_medcorp(tmp_path / "medcorp")
    whole = load_set(BENCHMARKS["medqa-us"], tmp_path).passages
    for part in files.MEDCORP:
        (tmp_path / f"medcorp/{part}").mkdir()
        (tmp_path / f"medcorp/{part}.jsonl").rename(tmp_path / f"medcorp/{part}/chunk.jsonl")
    assert load_set(BENCHMARKS["medqa-us"], tmp_path).passages == whole
    (tmp_path / "medcorp/pubmed/chunk.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"not there: .*medcorp/pubmed; "):
        load_set(BENCHMARKS["medqa-us"], tmp_path)


def test_what_a_retriever_finds_for_a_set_can_be_frozen(data, tmp_path):
    stage = FirstStage(load_set(BENCHMARKS["squad"], data), tmp_path)
    run = freeze_first_stage(stage, data, retriever="bm25", encoder=None, history="both")
    assert run == data / "runs/squad.trec"
    (data / "squad/squad.corpus.jsonl.zst").unlink()
    again = load_set(BENCHMARKS["squad"], data)
    assert again.fixed
    assert again.origin.first_stage == "bm25"
    assert again.origin.history == "last"
    assert FirstStage(again, tmp_path).ids("hybrid") == stage.ids("bm25")


def test_a_first_stage_that_was_frozen_comes_back_without_the_corpus(data, tmp_path):
    squad = load_set(BENCHMARKS["squad"], data)
    rankings = {"q1": ["s/decoy/0", "s/tagus/0"], "q2": ["s/ebro/0"]}
    origin = origin_of("dense", "stub@1", "last", "some passages", 100, 2)
    frozen_as = partial(freeze, squad.benchmark, squad.questions, data=data, origin=origin)
    assert frozen_as(rankings, squad.passages) == data / "runs/squad.trec"
    (data / "squad/squad.corpus.jsonl.zst").unlink()
    frozen = load_set(BENCHMARKS["squad"], data)
    assert {of.question.id: list(of.given) for of in frozen.questions} == rankings
    assert frozen.passages == {i: squad.passages[i] for ids in rankings.values() for i in ids}
    assert [of.gold for of in frozen.questions] == [of.gold for of in squad.questions]
    assert (frozen.ranked, frozen.searchable, frozen.fixed) == (True, False, True)
    assert (frozen.origin, frozen.origin.first_stage, frozen.unranked) == (origin, "dense by stub", 0)
    assert frozen_as(rankings, frozen.passages) == data / "runs/squad.trec"
    with pytest.raises(ConfigError, match=r"squad\.trec: another run of SQuAD is there"):
        frozen_as({"q1": ["s/tagus/0"]}, frozen.passages)


def test_a_frozen_run_need_not_have_questions_that_cannot_be_measured(data):
    questions = data / "squad/squad.dev.jsonl.zst"
    rows = [row for _, row in read_rows(questions)]
    write_rows(questions, [*rows, {**rows[0], "id": "q3", "positive_ids": []}])
    squad = load_set(BENCHMARKS["squad"], data)
    assert squad.left_out == {"no passage is known to be right": 1}
    origin = origin_of("bm25", None, "last", "some passages", 100, len(squad.questions))
    freeze(squad.benchmark, squad.questions, {"q1": ["s/tagus/0"]}, squad.passages, data, origin)
    assert load_set(BENCHMARKS["squad"], data).unranked == 1


def test_a_set_is_frozen_from_the_command_line(asked, data, capsys):
    kilt, _ = asked
    with pytest.raises(SystemExit) as ended:
        main("squat", data=data)
    assert ended.value.code == 2
    assert "squat: not known; sets are squad" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main("squad", data=None)
    assert "no data: pass --data FOLDER" in capsys.readouterr().err
    main("squad", data=data, retriever="bm25")
    assert f"squad: the first stage is in {data / 'runs/squad.trec'}." in capsys.readouterr().err
    assert not (data / "runs/squad.search").exists()
    main("nq-kilt", data=kilt, index=str(kilt.parent / "index"), retriever="bm25", k=2)
    origin = json.loads((kilt / "runs/nq-kilt.json").read_text(encoding="utf-8"))
    assert (origin["retriever"], origin["questions"], origin["depth"]) == ("bm25", 2, 2)
