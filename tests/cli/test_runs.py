from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rankrag.encoding import EncodedPrompt
from rankrag.models.fake import FakeLanguageModel
from rankrag.retrieval.encoder import Encoder

from ..conftest import Run


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"id": "q 1", "question": "Which river lies in Spain?"}\n', encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["run.jsonl", "run.trec"])
def test_a_run_can_be_retrieved_and_reranked(
    run: Run, index: Path, model: FakeLanguageModel, questions: Path, tmp_path: Path, name: str
) -> None:
    first, second = tmp_path / name, tmp_path / "reranked.jsonl"
    assert run("retrieve", "--questions", questions, "--index", index, "--out", first, "--retriever", "bm25") == 0
    assert run("rerank", "--run", first, "--index", index, "--questions", questions, "--out", second) == 0
    (row,) = map(json.loads, second.read_text(encoding="utf-8").splitlines())
    assert row["id"] == "q 1"
    assert row["ranking"][0]["id"] == "rivers.md#0"
    assert row["ranking"][0]["relevance"] == pytest.approx(0.9)
    assert len(row["ranking"]) == 3


def test_a_trec_run_has_six_columns_and_no_space_in_an_id(
    run: Run, index: Path, questions: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "run.trec"
    assert run("retrieve", "--questions", questions, "--index", index, "--k", "1", "--out", out) == 0
    assert out.read_text(encoding="utf-8").split()[:4] == ["q%201", "Q0", "rivers.md#2", "1"]


def test_candidates_come_from_standard_input_and_go_to_standard_output(
    run: Run, model: FakeLanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"id": "q", "query": "Which river?", "candidates": ["a hill", {"text": "the Tagus", "label": 1}]}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(row) + "\n"))
    assert run("rerank", "--candidates", "-") == 0
    ranking = json.loads(capsys.readouterr().out)["ranking"]
    assert [c["id"] for c in ranking] == ["q/c1", "q/c0"]


def test_the_encoder_has_its_share_in_the_order_but_for_pure(
    run: Run, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model.contract = replace(model.contract, similarity_weight=1000.0, similarity_encoder=Encoder().name)
    file = tmp_path / "candidates.jsonl"
    candidates = [{"text": "Which river lies in Spain?"}, {"text": "the Tagus"}]
    file.write_text(json.dumps({"id": "q", "query": "Which river lies in Spain?", "candidates": candidates}))
    for options, first in (((), "q/c0"), (("--set=similarity=false",), "q/c1"), (("--set=settled_from=9",), "q/c0")):
        assert run("rerank", "--candidates", file, *options) == 0
        assert json.loads(capsys.readouterr().out)["ranking"][0]["id"] == first


@pytest.mark.parametrize(
    ("option", "judged", "first"),
    [
        ("--set=settled_from=0", 5, "q/c1"),
        ("--set=settled_from=fitted", 5, "q/c1"),
        ("--set=settled_from=9", 12, "q/c1"),
        ("--set=n=100", 12, "q/c1"),
    ],
)
def test_fewer_passages_are_judged_where_asked_for(
    run: Run,
    model: FakeLanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    judged: int,
    first: str,
) -> None:
    model.reply = "Passage 3"
    model.contract = replace(model.contract, settled_from=0.0, k=1)
    row = {"id": "q", "query": "Which river?", "candidates": ["a hill", "the Tagus", *["a lake"] * 10]}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(row) + "\n"))
    assert run("rerank", "--candidates", "-", "--k", "1", option) == 0
    ranking = json.loads(capsys.readouterr().out)["ranking"]
    assert (len(ranking), sum("relevance" in c for c in ranking), ranking[0]["id"]) == (12, judged, first)


@pytest.mark.parametrize("options", [(), ("--set=settled_from=9e9",)])
def test_a_question_that_is_too_long_does_not_cost_the_others(
    run: Run, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    file, out = tmp_path / "candidates.jsonl", tmp_path / "run.trec"
    texts = {"a": "Which river?", "b": "why " * 2000, "c": "Which sea?"}
    rows = [{"id": name, "query": text, "candidates": ["a hill", "the Tagus"]} for name, text in texts.items()]
    file.write_text("\n".join(map(json.dumps, rows)))
    arguments = ("--candidates", file, "--model", tiny_model_dir, "--dtype", "float32", *options)
    assert run("rerank", *arguments) == 2
    found, said = capsys.readouterr()
    first, second, third = map(json.loads, found.splitlines())
    assert (len(first["ranking"]), len(third["ranking"])) == (2, 2)
    assert "shorten the text that begins 'why why" in second["error"]
    assert "rankrag: 1 of 3 questions could not be ranked" in said
    assert run("rerank", *arguments, "--out", out) == 2
    assert {line.split()[0] for line in out.read_text().splitlines()} == {"a", "c"}
    assert f"rankrag: question 'b' is not in {out}: question and instructions take" in capsys.readouterr().err


def test_a_passage_that_was_cut_says_so(
    run: Run, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "candidates.jsonl"
    file.write_text(json.dumps({"id": "q", "query": "Which river?", "candidates": ["a hill", "word " * 600]}))
    for options in ((), ("--set=settled_from=9e9",)):
        arguments = ("--candidates", file, "--model", tiny_model_dir, "--dtype", "float32")
        assert run("rerank", *arguments, *options) == 0
        ranking = json.loads(capsys.readouterr().out)["ranking"]
        assert {c["id"]: c.get("truncated") for c in ranking} == {"q/c0": None, "q/c1": True}


@pytest.mark.parametrize("name", ["run.jsonl", "run.trec"])
def test_a_frozen_run_is_reranked_without_its_index(
    run: Run,
    index: Path,
    model: FakeLanguageModel,
    questions: Path,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, found = tmp_path / name, []
    retrieve = ("retrieve", "--questions", questions, "--index", index, "--out", first, "--retriever", "bm25")
    assert run(*retrieve, "--freeze") == 0
    for where in (("--index", index), ()):
        out = tmp_path / "reranked.jsonl"
        assert run("rerank", "--run", first, "--questions", questions, "--out", out, *where) == 0
        found.append(out.read_text(encoding="utf-8"))
    assert found[0] == found[1]
    assert run(*retrieve) == 2
    assert "run.passages.jsonl.zst: belongs to an earlier run; pass --freeze" in capsys.readouterr().err
    (tmp_path / "run.passages.jsonl").write_text('{"id": "rivers.md#0", "text": "The Tagus"}\n', encoding="utf-8")
    assert run("rerank", "--run", first, "--questions", questions) == 2
    assert f"is not in {tmp_path / 'run.passages.jsonl'} (2 in all)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rerank"], "--candidates FILE"),
        (["retrieve", "--questions", "-", "--freeze"], "name the run with --out FILE"),
        (["evaluate", "--data", ".", "--freeze", "."], "python -m experiments.freezing takes its place"),
        (["retrieve"], "Missing option '--questions'"),
        (["retrieve", "--set", "nq-kilt"], "use --questions FILE --out FOLDER/runs/NAME.trec --freeze"),
        (["rerank", "--candidates", "-", "--windows"], "--set settled_from=… judges fewer passages"),
        (["ask", "why?", "--set", "settled_from=1", "--set", "rerank=false"], "exclude each other"),
        (["ask", "why?", "--set", "settled_from=soon"], "must be 'fitted' (found: 'soon')"),
        (["ask", "why?", "--set", "settle_from=1"], "did you mean 'settled_from'? known keys are abstain_below"),
        (["ask", "why?", "--n", "3", "--k", "4"], "n=3, k=4: k must be at most n"),
        (["ask", "why?", "--config", "/nowhere.yaml"], "/nowhere.yaml: not readable as YAML"),
        (["ask", "why?", "--no-rerank"], "ask --no-rerank: use --set rerank=false"),
        (["rerank", "--run", "x.trec"], "x.trec: a TREC run holds no questions"),
        (["rerank", "--candidates", "/nowhere.jsonl"], "/nowhere.jsonl: cannot be read (No such file or directory)"),
        (["retrieve", "--questions", "/nowhere.jsonl", "--history-query", "some"], "is not one of"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    run: Run, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(*arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("read", "command"),
    [
        ("--questions", ("retrieve", "--questions", "input.trec")),
        ("--run", ("rerank", "--run", "input.trec", "--questions", "q.jsonl")),
        ("--questions", ("rerank", "--run", "r.trec", "--questions", "input.trec")),
        ("--index", ("rerank", "--run", "r.jsonl", "--index", "input.trec")),
        ("--candidates", ("rerank", "--candidates", "input.trec")),
    ],
)
def test_a_run_never_goes_into_a_file_that_is_read(
    run: Run,
    model: FakeLanguageModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    read: str,
    command: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("input.trec").write_text("what is read", encoding="utf-8")
    Path("link.trec").symlink_to("input.trec")
    for out in ("input.trec", "link.trec", tmp_path / "input.trec"):
        assert run(*command, "--out", out) == 2
        assert f"{out}: --out is the file of {read} and would be overwritten" in capsys.readouterr().err
    assert Path("input.trec").read_text(encoding="utf-8") == "what is read"


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.zst"])
def test_a_run_never_goes_into_the_passages_beside_the_one_that_is_read(
    run: Run, model: FakeLanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    beside = tmp_path / f"r.passages.{ending}"
    beside.write_text("what is read", encoding="utf-8")
    assert run("rerank", "--run", tmp_path / "r.jsonl", "--out", beside) == 2
    assert f"{beside}: --out is the file of --index and would be overwritten" in capsys.readouterr().err
    assert beside.read_text(encoding="utf-8") == "what is read"


def test_a_run_of_another_index_is_named(
    run: Run, index: Path, model: FakeLanguageModel, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trec = tmp_path / "run.trec"
    trec.write_text("q%201 Q0 elsewhere 1 1.0 x\n", encoding="utf-8")
    assert run("rerank", "--run", trec, "--index", index, "--questions", questions) == 2
    assert "passage 'elsewhere' is not in" in capsys.readouterr().err


def test_a_folder_of_states_makes_passages_known_to_the_next_command(
    run: Run, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidates, found = tmp_path / "candidates.jsonl", []
    for question in ("Which river?", "Why?"):
        row = {"id": "q", "query": question, "candidates": ["a hill", "the Tagus"]}
        candidates.write_text(json.dumps(row) + "\n", encoding="utf-8")
        arguments = ("--candidates", candidates, "--model", tiny_model_dir, "--dtype", "float32")
        assert run("rerank", *arguments, "--set", f"state_cache={tmp_path / 'states'}") == 0
        found.append(capsys.readouterr())
    assert "known" not in found[0].err
    assert "2 of 2 passages were known and not read again (100%)." in found[1].err
    assert run("rerank", *arguments, "--set", "state_cache=off") == 0
    known, read = (json.loads(out)["ranking"] for out in (found[1].out, capsys.readouterr().out))
    assert [c["score"] for c in known] == pytest.approx([c["score"] for c in read], abs=0.05)


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("name", ["out.jsonl", "out.trec"])
def test_a_killed_reranking_goes_on_to_the_same_bytes(
    run: Run, model: FakeLanguageModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    file, whole, out = tmp_path / "candidates.jsonl", tmp_path / f"whole-{name}", tmp_path / name
    rows = [{"id": str(i), "query": f"Which river, {i}?", "candidates": ["a hill", "the Tagus"]} for i in range(40)]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert run("rerank", "--candidates", file, "--out", whole) == 0
    asked: list[int] = []
    judge = FakeLanguageModel.choice_logprobs

    def stop_at_the_third(
        self: FakeLanguageModel, prompts: Sequence[EncodedPrompt], choices: Sequence[str]
    ) -> list[list[float]]:
        asked.append(len(prompts))
        if len(asked) == 3:
            raise StoppedError
        return judge(self, prompts, choices)

    monkeypatch.setattr(FakeLanguageModel, "choice_logprobs", stop_at_the_third)
    assert run("rerank", "--candidates", file, "--out", out) == 1
    journal = tmp_path / f"{name}.journal"
    assert not out.exists()
    assert journal.read_bytes().count(b"\n") == 2
    assert run("rerank", "--candidates", file, "--out", out) == 0
    assert asked == [32, 32, 16, 16]  # passages of sixteen questions, of sixteen, of eight in vain, of eight
    assert out.read_bytes() == whole.read_bytes()
    assert not journal.exists()
    # what another model has found, or for other questions, is not taken
    assert run("rerank", "--candidates", file, "--out", out, "--k", "1") == 0
    assert out.read_bytes() == whole.read_bytes()
    assert asked[4:] == [32, 32, 16]
