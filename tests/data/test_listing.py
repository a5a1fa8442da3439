from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from pyarrow import parquet

from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.files import read_rows, write_rows
from rankrag.data.load import fetch, load_set, set_listing
from rankrag.errors import ConfigError, DataError
from tests.data import published as files


def test_each_set_says_where_it_comes_from_and_what_is_missing(data):
    lines = list(set_listing([BENCHMARKS[name] for name in ("squad", "nq-kilt", "medmcqa")], data))
    assert lines == [
        "squad: SQuAD, dev [at hand]",
        "  questions: a file of one's own, squad/squad.dev.jsonl.zst",
        "  passages:  the set's own passages",
        "nq-kilt: NQ (KILT dev), KILT dev [missing: kilt/nq-dev-kilt.jsonl, wikipedia/psgs_w100.tsv]",
        "  questions: facebook/kilt_tasks (nq, validation) at 0f7881c6bf693742af91; as kilt/nq-dev-kilt.jsonl",
        "  passages:  Wikipedia of Dec 2018 in passages of 100 words (DPR's psgs_w100.tsv); "
        "dl.fbaipublicfiles.com/dpr/wikipedia_split/psgs_w100.tsv.gz, unpacked; as wikipedia/psgs_w100.tsv",
        "  the paper: 2,837 questions, Dragon, N = 100, k = 5",
        "medmcqa: MedMCQA (MIRAGE), dev [missing: mirage/benchmark.json, medcorp/pubmed, medcorp/statpearls, "
        "medcorp/textbooks, medcorp/wikipedia]",
        "  questions: github.com/Teddy-XiongGZ/MIRAGE, benchmark.json of commit 224ebe9; as mirage/benchmark.json",
        "  passages:  MedCorp: PubMed, StatPearls, Textbooks, Wikipedia; MedRAG/pubmed, statpearls, textbooks, "
        "wikipedia on the hub: the chunk/ of each as medcorp/PART/; as medcorp/pubmed, medcorp/statpearls, "
        "medcorp/textbooks, medcorp/wikipedia",
        "  the paper: 4,183 questions, MedCPT, N = 100, k = 5",
    ]
    assert "[no data folder]" in next(set_listing([BENCHMARKS["squad"]], None))


def test_the_command_lists_every_set(run, data, capsys):
    assert run("evaluate", "--list", "--data", data) == 0
    shown = capsys.readouterr().out
    assert all(f"{name}: " in shown for name in BENCHMARKS)
    assert shown.count("[at hand]") == 5


@pytest.fixture
def hub(monkeypatch):
    """A hub that has these rows; what it was asked for is kept."""
    datasets = pytest.importorskip("datasets")
    asked = []

    def offer(*rows):
        def load_dataset(name, subset, **options):
            asked.append((name, subset, options["split"], options["revision"]))
            return iter(rows)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return offer


def test_questions_are_fetched_from_the_hub_and_read_in_its_form(hub, tmp_path):
    row = {"id": 1, "question": "Who?", "possible_answers": '["x"]', "s_pop": 3}
    asked = hub(row, {**row, "id": 2, "s_pop": 3000})
    popqa = BENCHMARKS["popqa-longtail"]
    assert fetch(popqa, tmp_path) == tmp_path / "hub/popqa-longtail.jsonl.zst"
    assert asked == [("akariasai/PopQA", None, "test", "098765c79ea10a2cb19c828324e33281b8336ec0")]
    assert [of.question.id for of in load_set(popqa, tmp_path, passages=False).questions] == ["1"]


def test_2wikimqa_is_fetched_as_parquet_whose_lists_are_json_in_texts(hub_of_files, tmp_path):
    wiki = BENCHMARKS["2wikimqa"]
    folder = hub_of_files(wiki.hub.name, wiki.hub.revision)
    row = {
        "_id": "8813f87c",
        "type": "comparison",
        "question": "Who wrote Hamlet?",
        "context": '[["Hamlet", ["It is a play.", "Kyd wrote another."]]]',
        "supporting_facts": '[["Hamlet", 0]]',
        "evidences": '[["Hamlet", "author", "William Shakespeare"]]',
        "answer": "William Shakespeare",
    }
    parquet.write_table(pa.Table.from_pylist([row]), folder / "dev.parquet")
    kept = fetch(wiki, tmp_path / "data")
    assert [row for _, row in read_rows(kept)] == [row]
    (only,) = load_set(wiki, tmp_path / "data", passages=False).questions
    assert (only.question.id, only.question.text) == ("8813f87c", "Who wrote Hamlet?")
    assert only.question.answers == ("William Shakespeare",)


def test_the_hub_may_have_another_form_than_the_file(hub, tmp_path):
    hub({"question": "when", "answer": ["1972"]})
    nq = BENCHMARKS["nq-dpr"]
    fetch(nq, tmp_path)
    assert load_set(nq, tmp_path, passages=False).questions[0].question.answers == ("1972",)
    files.write(tmp_path / nq.rows, "where\t['here']\n")
    assert load_set(nq, tmp_path, passages=False).questions[0].question.text == "where"  # the published file goes first


def test_our_own_form_is_read_where_nothing_else_is_there(tmp_path):
    row = {"question": "Which?", "options": {"A": "x", "B": "y"}, "label": "B", "answers": ["y"]}
    rows = [{"id": "medqa/0", "subset": "medqa", **row}, {"id": "mmlu/0", "subset": "mmlu", **row}]
    write_rows(tmp_path / "biomedical/mirage.test.jsonl.zst", rows)
    (only,) = load_set(BENCHMARKS["mmlu-med"], tmp_path, passages=False).questions
    assert (only.question.id, only.question.answers) == ("mmlu/0", ("B",))


def test_a_set_that_no_hub_has_says_where_it_is(tmp_path):
    with pytest.raises(ConfigError, match=r"on no hub; get it from github\.com/Teddy-XiongGZ/MIRAGE"):
        fetch(BENCHMARKS["medmcqa"], tmp_path)


def test_a_hub_that_is_not_reached_says_where_to_put_the_file(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")

    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError, match=r"no route.*download the set and keep it as .*kilt/nq-dev-kilt\.jsonl"):
        fetch(BENCHMARKS["nq-kilt"], tmp_path)
    assert not list(tmp_path.rglob("*.zst"))


def test_the_command_fetches_only_sets_that_are_named(run, tmp_path, capsys):
    assert run("evaluate", "--fetch", "--data", tmp_path) == 2
    assert "name the sets with --set" in capsys.readouterr().err
    assert run("evaluate", "--fetch", "--set", "nothing", "--data", tmp_path) == 2
    assert "--fetch nothing" in capsys.readouterr().err


def test_names_and_files_of_all_sets_are_their_own():
    assert len({replace(of, name="").title for of in BENCHMARKS.values()}) == len(BENCHMARKS)
    assert all(name == of.name for name, of in BENCHMARKS.items())
