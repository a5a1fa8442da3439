from __future__ import annotations

import json
from itertools import pairwise

import pytest

from rankrag.blend.mixture import EXAMPLES_FILE, build_blend, held_back_part
from rankrag.config import BlendConfig
from rankrag.errors import ConfigError
from rankrag.examples import read_examples
from rankrag.types import DataKind


@pytest.fixture
def config_of(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    corpus = [{"id": f"s/d{i}/0", "text": f"Town {i} lies on river number{i} near hill {i % 7}."} for i in range(60)]
    rows = [
        {
            "id": f"q{i}",
            "question": f"On which river lies town {i}?",
            "answers": [f"number{i}" if i % 10 else "word " * 50],
            "positive_ids": [f"s/d{i}/0"],
        }
        for i in range(60)
    ]
    for name, content in (("train.jsonl", rows), ("corpus.jsonl", corpus)):
        (data / name).write_text("\n".join(map(json.dumps, content)))
    (data / "dev.jsonl").write_text("not even JSON")

    def make(**fields):
        source = {"name": "s", "rows": "train.jsonl", "corpus": "corpus.jsonl", "passages": 40, "lists": 10}
        return BlendConfig.model_validate({"data": str(data), "held_back": 0.2, "sources": [source]} | fields)

    return make


def built(config, out):
    build_blend(config, out)
    return list(read_examples(out / EXAMPLES_FILE))


def test_the_same_seed_gives_the_same_bytes(config_of, tmp_path):
    for name in "ab":
        build_blend(config_of(), tmp_path / name)
    for file in (EXAMPLES_FILE, "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_another_seed_gives_another_blend(config_of, tmp_path):
    assert built(config_of(), tmp_path / "a") != built(config_of(seed=1), tmp_path / "b")


def test_all_kinds_but_sft_are_there(config_of, tmp_path):
    assert {e.kind for e in built(config_of(), tmp_path / "a")} == set(DataKind) - {DataKind.SFT}


def test_no_positive_appears_as_a_negative(config_of, tmp_path):
    ranking = [e for e in built(config_of(), tmp_path / "a") if e.kind is DataKind.CONTEXT_RANKING]
    assert {e.target for e in ranking} == {"True", "False"}
    for e in ranking:
        assert (e.contexts[0].id == f"s/d{e.question.id[1:]}/0") == (e.target == "True")


def test_held_back_questions_are_not_in_the_blend(config_of, tmp_path):
    config = config_of()
    held = {r.question.id for r in held_back_part(config, config.sources[0]).records}
    assert held
    assert held.isdisjoint(e.question.id for e in built(config, tmp_path / "a"))


def test_long_answers_are_left_out_of_context_qa(config_of, tmp_path):
    found = [e for e in built(config_of(), tmp_path / "a") if e.kind is DataKind.CONTEXT_QA]
    assert max(len(e.target.split()) for e in found) <= 40


def test_examples_of_one_passage_stand_together(config_of, tmp_path):
    found = [e.contexts for e in built(config_of(), tmp_path / "a")]
    starts = [b for a, b in pairwise([(), *found]) if a != b]
    assert len(starts) == len(set(starts))


def test_all_missing_files_are_named_before_any_work(config_of, tmp_path):
    sources = [{"name": "s", "rows": "x.jsonl"}, {"name": "t", "rows": "y.jsonl"}]
    with pytest.raises(ConfigError, match=r"x\.jsonl.*y\.jsonl"):
        build_blend(config_of(sources=sources), tmp_path / "a")
    assert not (tmp_path / "a").exists()
