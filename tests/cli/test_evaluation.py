from __future__ import annotations

import pytest
import yaml

from rankrag.config.evaluation import ComparisonConfig
from rankrag.config.schema import load_config
from rankrag.data.files import write_rows
from rankrag.evaluation.lines import read_question_lines
from rankrag.models.fake import FakeLanguageModel
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage

PASSAGES = {"p1": "the tagus river", "p2": "the ebro river", "p3": "a lake"}


def squad(folder):
    write_rows(
        folder / "squad/squad.corpus.jsonl.zst", [{"id": i, "title": "", "text": t} for i, t in PASSAGES.items()]
    )
    rows = [{"id": "q1", "question": "which river", "answers": ["tagus"], "positive_ids": ["p1"]}]
    write_rows(folder / "squad/squad.dev.jsonl.zst", rows)
    return folder


def compared(tmp_path, monkeypatch):
    """Write a configuration over a small set, with a model without weights behind every name."""
    import rankrag.models.prepared
    import rankrag.opening

    fake = FakeLanguageModel(yes_if="tagus", reply="tagus")
    monkeypatch.setattr(rankrag.opening, "open_model", lambda *_, **__: fake)
    monkeypatch.setattr(rankrag.models.prepared, "resolve_model", lambda name, _: name)
    config = tmp_path / "eval.yaml"
    systems = [{"name": "mini"}, {"name": "closed book", "retriever": "none", "ranker": "none"}]
    settings = {"data": str(squad(tmp_path / "data")), "out": str(tmp_path / "run"), "systems": systems}
    config.write_text(yaml.safe_dump(settings))
    return config


def test_a_configuration_is_compared_and_its_run_becomes_pages(run, tmp_path, monkeypatch, capsys):
    config = compared(tmp_path, monkeypatch)
    assert run("evaluate", config, "--set", "sets=[squad]", "--report", tmp_path / "first.md") == 0
    assert "SQuAD" in (tmp_path / "first.md").read_text()
    pages = ("--markdown", tmp_path / "again.md", "--html", tmp_path / "page.html")
    assert run("report", tmp_path / "run", *pages) == 0
    assert (tmp_path / "again.md").read_text() == (tmp_path / "first.md").read_text()
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    capsys.readouterr()
    assert run("report", tmp_path / "run") == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "first.md").read_text()
    assert "| SQuAD | mini | 1 | 100.0% (1) |" in printed


def tiny_encoder(folder, tokenizer, seed):
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Encoder(folder)


def test_systems_search_by_encoders_of_their_own(run, tmp_path, monkeypatch, tokenizer_with):
    config = compared(tmp_path, monkeypatch)
    tokenizer = tokenizer_with(None)
    encoders = {name: tiny_encoder(tmp_path / name, tokenizer, seed) for seed, name in enumerate(("first", "second"))}
    second = {"retriever": "dense", "encoder": str(tmp_path / "second")}
    systems = [{"name": "first", "retriever": "dense"}, {"name": "second", **second}, {"name": "again", **second}]
    settings = yaml.safe_load(config.read_text()) | {"encoder": str(tmp_path / "first")}
    config.write_text(yaml.safe_dump(settings | {"systems": [*systems, {"name": "bm25"}]}))
    assert run("evaluate", config, "--report", tmp_path / "report.md") == 0
    orders = []
    for name, encoder in encoders.items():
        vectors = encoder.encode_passages([Passage(i, text) for i, text in PASSAGES.items()])
        near = dict(zip(PASSAGES, vectors @ encoder.encode_queries(["which river"])[0], strict=True))
        (lines,) = (tmp_path / "run").glob(f"squad-*/system-{name}/questions.jsonl")
        orders.append(read_question_lines(lines)[0].retrieved)
        assert orders[-1] == tuple(sorted(PASSAGES, key=lambda i: -near[i]))
    assert orders[0] != orders[1]
    assert len(list((tmp_path / "run").glob("squad-*/dense-*.jsonl"))) == 2
    indexes = map(PassageStore.open, (tmp_path / "run" / "indexes").iterdir())
    assert {index.encoder_name() for index in indexes} == {encoder.name for encoder in encoders.values()}
    assert f"dense by {tmp_path / 'second'}" in (tmp_path / "report.md").read_text()


def test_mistakes_of_a_configuration_are_told_together(run, tmp_path, capsys):
    config = tmp_path / "eval.yaml"
    config.write_text("out: x\nsystems:\n  - {name: a, rankr: none}\n  - {n: 0}\n")
    assert run("evaluate", config) == 2
    said = capsys.readouterr().err
    assert "systems.0.rankr: unknown key; did you mean 'ranker'?" in said
    assert "systems.1.name" in said
    assert "systems.1.n" in said


def test_a_model_is_that_of_the_systems_that_name_none(tmp_path):
    config = tmp_path / "eval.yaml"
    config.write_text("systems:\n  - {name: a, n: 5}\n  - {name: b, model: mine}\n  - {name: c, model: none}\n")
    found = load_config(ComparisonConfig, config, ["data=x"], options={"model": "rankrag-small"})
    assert [(one.name, one.model) for one in found.systems] == [("a", "rankrag-small"), ("b", "mine"), ("c", "none")]
    usual = load_config(ComparisonConfig, config, ["data=x"])
    assert [one.model for one in usual.systems] == ["rankrag-mini", "mine", "none"]


@pytest.mark.parametrize("option", [("-n", 5), ("-k", 2), ("--retriever", "bm25"), ("--set", "n=5")])
def test_an_option_that_no_system_of_the_file_would_hear_is_refused(run, tmp_path, capsys, option):
    config = tmp_path / "eval.yaml"
    config.write_text("systems: [{name: a, n: 5}]\n")
    assert run("evaluate", config, "--data", tmp_path, *option) == 2
    assert "only the built-in systems take it, and `systems` lists others" in capsys.readouterr().err


def test_own_documents_are_measured_without_any_data_sets(run, tmp_path, monkeypatch, capsys):
    compared(tmp_path, monkeypatch)
    monkeypatch.delenv("RANKRAG_DATA", raising=False)
    (tmp_path / "own/corpus").mkdir(parents=True)
    (tmp_path / "own/corpus/tagus.md").write_text("The tagus river.\n")
    write_rows(tmp_path / "own/questions.jsonl", [{"question": "which river", "answers": ["tagus"]}])
    options = ("--examples", tmp_path / "own", "--retriever", "bm25", "--out", tmp_path / "run")
    assert run("evaluate", *options) == 0
    assert "| Own | rankrag-mini | 1 | 1.000 [1.000, 1.000] |" in capsys.readouterr().out
    assert run("evaluate", "--out", tmp_path / "run") == 2
    assert "no data: pass --data FOLDER" in capsys.readouterr().err


def test_options_and_keys_change_a_configuration(run, tmp_path, monkeypatch, capsys):
    config = compared(tmp_path, monkeypatch)
    monkeypatch.setenv("RANKRAG_DATA", "/nowhere")  # the file's own folder counts
    changes = ("--set", "squad", "--set", "seed=3", "--sample", "1", "--out", tmp_path / "other")
    assert run("evaluate", config, *changes) == 0
    assert "drawn with seed 3" in capsys.readouterr().out
    assert (tmp_path / "other/run.json").exists()
    assert run("evaluate", config, "--set", "squat") == 2
    assert "squat: not known; sets are" in capsys.readouterr().err


def test_first_stages_alone_need_no_model(run, tmp_path, capsys):
    data = squad(tmp_path / "data")
    options = ("--data", data, "--set", "squad", "--no-model", "--out", tmp_path / "run")
    assert run("evaluate", *options, "--retriever", "bm25") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("# Results\n")
    assert "| SQuAD | bm25 | all | 1 |" in shown.out
    assert run("evaluate", "--data", data, "--retriever", "bm52") == 2
    assert "retrievers.0: must be 'bm25', 'dense' or 'hybrid' (found: 'bm52')" in capsys.readouterr().err
    assert run("evaluate", "--data", data, "--seed", "1") == 2
    assert "evaluate --seed: use --set seed=…" in capsys.readouterr().err


def test_questions_are_fetched_before_they_are_measured(run, tmp_path, monkeypatch, capsys):
    import rankrag.data.load

    data, fetched = squad(tmp_path / "data"), []
    monkeypatch.setattr(rankrag.data.load, "fetch", lambda one, into: fetched.append((one.name, into)) or into / "hub")
    measured = ("--set", "squad", "--no-model", "--retriever", "bm25", "--out", tmp_path / "run")
    monkeypatch.setenv("RANKRAG_DATA", str(data))
    assert run("evaluate", "--fetch", *measured) == 0
    assert fetched == [("squad", data)]
    assert f"squad: its questions are in {data / 'hub'}" in capsys.readouterr().err
    monkeypatch.delenv("RANKRAG_DATA")
    assert run("evaluate", "--fetch", *measured) == 2
    assert "no data: pass --data FOLDER" in capsys.readouterr().err
