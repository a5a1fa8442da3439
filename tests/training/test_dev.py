from __future__ import annotations

import json
import random
from itertools import product

import pytest
import torch
from safetensors.torch import load_file

from rankrag.config.training import DevSettings
from rankrag.data.examples import write_examples
from rankrag.encoding import PromptEncoder
from rankrag.errors import ConfigError
from rankrag.generate import answer_many
from rankrag.models.transformers import TransformersModel
from rankrag.rerank import judge
from rankrag.training.batches import pack, padded
from rankrag.training.dev import DevReading, Split, auc, dev_examples, figures, read_dev, split_of
from rankrag.training.loss import RowModel
from rankrag.training.rows import build_rows
from rankrag.training.run import train
from rankrag.types import DataKind, Example, Passage, Question


def ranking(question, passage, target):
    return Example(DataKind.CONTEXT_RANKING, "s", Question(question, f"why {question}?"), (passage,), target)


@pytest.fixture
def blend(tmp_path):
    """A blend of 80 documents of two passages: each its question, a negative of it elsewhere, and an answer."""
    passages = [[Passage(f"s/d{d}/{p}", f"Text {d} {p}") for p in range(2)] for d in range(80)]
    found = []
    for d, (first, second) in enumerate(passages):
        found += [ranking(f"q{d}", first, "True"), ranking(f"q{d}", passages[(d + 1) % 80][1], "False")]
        found.append(Example(DataKind.CONTEXT_QA, "s", Question(f"q{d}", "Which?"), (first,), "this"))
        found.append(Example(DataKind.RETRIEVAL_QA, "s", Question(f"l{d}", "Which?"), (first, second), "that"))
    write_examples(tmp_path / "blend.jsonl.zst", found)
    return tmp_path / "blend.jsonl.zst", found


def test_neither_questions_nor_documents_of_what_is_measured_are_learnt(blend):
    path, found = blend
    split = split_of(DevSettings(share=0.2), path)
    measured = dev_examples(DevSettings(share=0.2, ranking=1000, answers=1000), path, split)
    learnt = [e for e in found if split.learns(e)]
    assert 5 < len({e.question.id for e in measured}) < 40
    assert {e.question.id for e in measured}.isdisjoint(e.question.id for e in learnt)
    gold = {e.contexts[0].id for e in measured if e.target in ("True", "this")}
    documents = {p.id.rpartition("/")[0] for e in learnt for p in e.contexts}
    assert documents.isdisjoint(i.rpartition("/")[0] for i in gold)
    assert {e.target for e in measured} == {"True", "False", "this"}


def test_without_dev_figures_all_is_learnt(blend):
    path, found = blend
    assert split_of(None, path) == Split()
    assert all(map(Split().learns, found))


def test_auc_is_the_share_of_pairs_in_order_and_ties_are_half():
    rng = random.Random(0)
    good, bad = ([float(rng.randrange(5)) for _ in range(n)] for n in (7, 9))
    assert auc(good, bad) == sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(good, bad)) / 63
    assert auc([], bad) is None


def test_a_question_is_hit_where_its_best_passage_is_relevant_and_ties_miss():
    def of(group, log_odds, relevant):
        return DevReading(DataKind.CONTEXT_RANKING, 1.0, 2, False, group, log_odds, relevant)

    found = figures([of(0, 2, True), of(0, 1, False), of(1, 1, True), of(1, 1, False), of(2, 0, True)])
    assert found["dev_hit@1"] == 0.5
    assert "dev_exact" not in found


def test_figures_are_those_of_the_model_asked_one_by_one(tiny_model_dir, mixed, config_of):
    model = TransformersModel(tiny_model_dir, dtype="float32")
    answers = [e for e in mixed if e.kind is DataKind.CONTEXT_QA]
    reply = answer_many(model, [(answers[0].question, answers[0].contexts)])[0]
    judged = [e for e in mixed if e.kind is DataKind.CONTEXT_RANKING]
    encoder = PromptEncoder(model.tokenizer, model.contract)
    rows = build_rows(encoder, mixed, limit=1024, row_tokens=1024)
    batches = [padded(b, 1024, 0) for b in pack(rows, tokens=1024, rng=random.Random(0))]
    readings = [r for b in batches for r in read_dev(RowModel(model.model), b, encoder.contract.label_ids)]
    assert len(readings) == len(mixed)
    wanted = [j.log_odds for j in judge(model, [(e.question, e.contexts[0]) for e in judged])]
    assert sorted(r.log_odds for r in readings if r.group >= 0) == pytest.approx(sorted(wanted), abs=1e-3)
    (exact,) = [r.exact for r in readings if r.kind is DataKind.CONTEXT_QA]
    assert exact == (reply == answers[0].target)


def test_measuring_changes_nothing_of_what_is_learnt(tmp_path, config_of, mixed):
    write_examples(tmp_path / "dev.jsonl.zst", mixed)
    settings = {"examples": mixed, "lora": {"r": 4, "alpha": 8, "dropout": 0.1}, "max_steps": 4}
    train(config_of(out=str(tmp_path / "without"), **settings))
    dev = {"examples": str(tmp_path / "dev.jsonl.zst"), "steps": 1}
    train(config_of(out=str(tmp_path / "with"), dev=dev, **settings))
    without, measured = (load_file(tmp_path / out / "checkpoint-4/trained.safetensors") for out in ("without", "with"))
    assert all(torch.equal(without[name], measured[name]) for name in without)
    log = json.loads((tmp_path / "with/log.json").read_text())
    assert [entry["step"] for entry in log if "dev_auc" in entry] == [0, 1, 2, 3, 4]
    assert {"dev_exact", "dev_loss_sft", "dev_loss_context_ranking"} <= {name for entry in log for name in entry}
    assert any("loss_sft" in entry for entry in log)


def test_nothing_to_measure_is_an_error(config_of):
    with pytest.raises(ConfigError, match="nothing is held back"):
        train(config_of(dev={"share": 1e-9}))
