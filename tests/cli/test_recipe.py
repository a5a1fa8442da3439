from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml

from rankrag.cli.options import step_lines
from rankrag.data.examples import read_examples
from rankrag.data.files import write_rows
from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.homes import create_store, open_store
from rankrag.templates import WRITE


def test_an_estimate_prints_memory_and_time_and_trains_nothing(run, tmp_path, tiny_model_dir, capsys):
    config = tmp_path / "train.yaml"
    settings = {"model": str(tiny_model_dir), "blend": "none", "out": str(tmp_path / "run"), "max_steps": 10}
    config.write_text(yaml.safe_dump(settings))
    assert run("train", config, "--estimate", "--devices", "2") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("weights", "optimiser", "activations", "one device", "10 steps"))
    assert not (tmp_path / "run").exists()


def test_an_estimate_of_a_model_that_is_not_there_says_so(run, tmp_path, capsys):
    config = tmp_path / "train.yaml"
    (tmp_path / "empty").mkdir()
    config.write_text(yaml.safe_dump({"model": str(tmp_path / "empty"), "blend": "none", "out": "none"}))
    assert run("train", config, "--estimate") == 2
    assert "cannot be opened" in capsys.readouterr().err


def test_what_is_wrong_with_a_run_is_printed_as_a_list(run, tmp_path, tiny_model_dir, capsys):
    config = tmp_path / "train.yaml"
    settings = {"model": str(tiny_model_dir), "blend": "none", "out": str(tmp_path / "run"), "lora": {"top_layers": 9}}
    config.write_text(yaml.safe_dump(settings))
    assert run("train", config) == 2
    printed = capsys.readouterr().err
    assert "2 problems:\n  - blend: none/examples.jsonl.zst" in printed
    assert "\n  - lora.top_layers: 9" in printed


def test_pushing_an_unfinished_run_is_refused(run, tmp_path, capsys):
    assert run("push", tmp_path, "me/mine") == 2
    assert "no finished model" in capsys.readouterr().err


@pytest.fixture
def speaker(model):
    """The model of every command: it asks where the Tagus ends, and answers Lisbon where that stands."""

    def speak(prompt):
        text = next(s.text for s in reversed(prompt) if s.kind == "text")
        if any(WRITE in s.text for s in prompt if s.kind == "fixed"):
            return "Where does the river Tagus reach the sea?" if "Lisbon" in text else "No."
        return "Lisbon"

    model.reply = speak
    return model


OWN = (
    "--set",
    "writing.model=a-writer",  # a name of ours would be prepared, to tell its weights apart
    "--set",
    "writing.questions=5",
    "--set",
    "writing.min_words=5",
    "--set",
    "writing.retriever=bm25",
    "--set",
    "list_size=2",
)


def test_a_blend_is_made_from_an_index(run, index, speaker, tmp_path, capsys):
    assert run("blend", "--from-index", index, "--out", tmp_path / "out", *OWN, "--set", "held_back=0") == 0
    found = list(read_examples(tmp_path / "out" / "examples.jsonl.zst"))
    assert {e.source for e in found} == {"own"}
    assert {e.target for e in found if e.kind == "context_qa"} >= {"Lisbon"}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["config"]["writing"]["questions"] == 5
    assert manifest["sources"]["own"]["dropped"]["not a question"] == 3
    assert "1 of 4 questions kept; left out: 3 not a question." in capsys.readouterr().err


def test_a_blend_from_an_address_is_that_from_the_folder(run, index, speaker, s3, tmp_path):
    folder, bucket = open_store(index), create_store("s3://team/blend")
    bucket.put([SourcePassages(s.path, s.sha256, tuple(folder.passages(s.path))) for s in folder.sources()])
    for name, place in (("folder", index), ("bucket", "s3://team/blend")):
        assert run("blend", "--from-index", place, "--out", tmp_path / name, *OWN, "--set", "held_back=0") == 0
    made = [(tmp_path / name / "examples.jsonl.zst").read_bytes() for name in ("folder", "bucket")]
    assert made[0] == made[1]


def test_own_documents_are_mixed_with_the_sources_of_a_configuration(run, index, speaker, tmp_path, capsys):
    rows = [{"id": str(i), "messages": [{"role": r, "content": "Hi"} for r in ("user", "assistant")]} for i in range(9)]
    write_rows(tmp_path / "chat.jsonl", rows)
    config = tmp_path / "blend.yaml"
    chat = {"name": "chat", "rows": "chat.jsonl", "kinds": ["sft"], "licence": "MIT"}
    config.write_text(yaml.safe_dump({"data": str(tmp_path), "held_back": 0, "sources": [chat]}))
    mixed = ("blend", config, "--from-index", index, "--out", tmp_path / "out", *OWN)
    shares = ("--set", "examples=8", "--set", "weights.chat=3", "--set", "weights.own/context_qa=1")
    assert run(*mixed, *shares) == 0
    found = Counter(e.source for e in read_examples(tmp_path / "out" / "examples.jsonl.zst"))
    assert found == {"chat": 6, "own": 2}
    assert run(*mixed, "--set", "examples=8", "--set", "weights.chat=3") == 2
    assert "source 'own' has no weight" in capsys.readouterr().err


def test_the_teacher_of_a_blend_writes_the_replies_of_its_sources(run, model, tmp_path, capsys):
    texts = [{"id": f"p{i}", "title": "", "text": f"River number {i} ends at Lisbon."} for i in range(8)]
    rows = [
        {"id": str(i), "question": f"Where does river {i} end?", "answers": ["Lisbon"], "positive_ids": [f"p{i}"]}
        for i in range(8)
    ]
    write_rows(tmp_path / "corpus.jsonl", texts)
    write_rows(tmp_path / "rivers.jsonl", rows)
    rivers = {"name": "rivers", "rows": "rivers.jsonl", "corpus": "corpus.jsonl", "kinds": ["context_qa"]}
    config = tmp_path / "blend.yaml"
    sources = [{**rivers, "licence": "MIT", "replies": 3}]
    settings = {"data": str(tmp_path), "held_back": 0, "list_size": 2, "teacher": "some/model", "sources": sources}
    config.write_text(yaml.safe_dump(settings))
    model.reply = "It ends at Lisbon."
    assert run("blend", config, "--out", tmp_path / "out") == 0
    assert "rivers: 3 of 3 replies kept" in capsys.readouterr().err
    assert {e.target for e in read_examples(tmp_path / "out/examples.jsonl.zst")} == {"It ends at Lisbon."}


def test_a_blend_of_nothing_and_a_dry_run_of_unwritten_questions_are_refused(run, index, tmp_path, capsys):
    assert run("blend", "--out", tmp_path / "out") == 2
    assert "--from-index INDEX" in capsys.readouterr().err
    assert run("blend", "--from-index", index, "--dry-run") == 2
    assert "still to be written" in capsys.readouterr().err
    assert run("blend", "--from-index", tmp_path / "none", "--out", tmp_path / "out") == 2
    assert "no index there" in capsys.readouterr().err


def test_values_are_fitted_to_an_index_and_ask_takes_them(run, index, speaker, tmp_path, capsys):
    fitting = ("--model", "some/model", "--no-vectors", "--out", tmp_path / "fit")
    assert run("fit", "--from-index", index, *fitting, *OWN[:6]) == 0
    assert json.loads((tmp_path / "fit" / "fit.json").read_text())["questions"] == {"own": 1}
    settings = yaml.safe_load((tmp_path / "fit" / "ask.yaml").read_text())
    assert settings.keys() == {"model", "abstain_below", "k"}
    capsys.readouterr()
    asked = ("ask", "Where does the river Tagus reach the sea?", "--index", index, "--retriever", "bm25", "--json")
    assert run(*asked, "--config", tmp_path / "fit" / "ask.yaml") == 0
    assert json.loads(capsys.readouterr().out)["abstained"] is False
    assert run(*asked, "--config", tmp_path / "fit" / "ask.yaml", "--set", "abstain_below=99") == 0
    assert json.loads(capsys.readouterr().out)["abstained"] is True


def test_a_fit_to_a_blend_asks_no_questions_about_its_own_documents(run, index, speaker, tmp_path, capsys):
    config = tmp_path / "blend.yaml"
    config.write_text(yaml.safe_dump({"data": str(tmp_path), "writing": {"index": str(index), "retriever": "bm25"}}))
    assert run("fit", config, "--no-vectors", "--out", tmp_path / "fit") == 2
    assert "none holds back a question with a passage" in capsys.readouterr().err
    assert not (tmp_path / "fit" / "own.jsonl.zst").exists()


def test_a_fit_to_nothing_or_to_two_things_is_refused(run, index, tmp_path, capsys):
    assert run("fit") == 2
    assert run("fit", tmp_path / "blend.yaml", "--from-index", index) == 2
    assert capsys.readouterr().err.count("--from-index INDEX") == 2


def test_a_fit_that_could_not_be_saved_is_refused_before_any_work(run, index, tmp_path, capsys):
    assert run("fit", "--from-index", index, "--out", tmp_path / "run", "--save", tmp_path / "none") == 2
    said = capsys.readouterr().err
    assert "--save" in said
    assert "does not exist" in said
    assert not (tmp_path / "run").exists()


def test_of_short_steps_a_pipe_sees_nothing_and_of_long_ones_a_line(capsys):
    for seconds in (60, 0):
        with step_lines(seconds, passing=True) as step:
            step("s: reading rows", 500, 0)
            step("s: mining negatives", 9, 9)
    assert capsys.readouterr().err == "s: reading rows: 500\ns: mining negatives: 9 of 9\n"


def test_a_download_is_a_bar_on_a_terminal_a_line_elsewhere_and_nothing_if_there_is_none(capsys, monkeypatch):
    with step_lines():
        pass
    assert capsys.readouterr().err == ""
    with step_lines() as step:
        step("Downloading Toy (MB)", 3, 3)
    assert capsys.readouterr().err == "Downloading Toy (MB): 3 of 3\n"
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the stream for a terminal
    with step_lines() as step:
        step("Downloading Toy (MB)", 1, 3)
        step("Downloading Toy (MB)", 3, 3)
    shown = capsys.readouterr().err
    assert "━" in shown
    assert "3/3" in shown


def test_on_a_terminal_the_bar_of_the_next_short_step_replaces_the_last(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with step_lines(passing=True) as step:
        step("reading", 1, 2)
        step("mining", 2, 2)
    last = capsys.readouterr().err.rpartition("mining")
    assert "2/2" in last[2]
    assert "reading" not in last[2]
