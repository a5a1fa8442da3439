from __future__ import annotations

import json

import pytest
import yaml

from rankrag.blend.estimate import dry_run, table
from rankrag.blend.mixture import build_blend
from rankrag.config.blend import BlendConfig


@pytest.fixture
def config(tmp_path):
    """Two sources by weight, one of which is absent."""
    rows = [
        {
            "id": f"q{i}",
            "question": f"On which river lies town {i}?",
            "contexts": [{"text": f"Town {i} lies on river number{i} near hill {i % 7}."}],
            "answers": [f"number{i}"],
        }
        for i in range(60)
    ]
    (tmp_path / "drop.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sources = [
        {"name": "drop", "rows": "drop.jsonl", "kinds": ["context_qa"], "unanswerable": 0},
        {"name": "newsqa", "rows": "newsqa.jsonl", "kinds": ["context_qa"]},
    ]
    fields = {"data": str(tmp_path), "research": True, "held_back": 0, "sources": sources}
    return BlendConfig.model_validate(fields | {"examples": 1000, "weights": {"drop": 0.069, "newsqa": 0.09}})


def test_every_part_has_its_rows_and_examples_and_an_absent_one_is_named(config):
    drop, newsqa = dry_run(config)
    assert (drop.rows, drop.examples) == (60, 434)
    assert (newsqa.rows, newsqa.examples, newsqa.tokens) == (None, 566, 0)
    assert "newsqa.jsonl" in newsqa.absent


def test_shares_are_shown_where_all_data_is_absent(config, tmp_path):
    (tmp_path / "drop.jsonl").unlink()
    assert [(part.examples, bool(part.absent)) for part in dry_run(config)] == [(434, True), (566, True)]


def test_tokens_are_near_those_of_the_blend(config, tmp_path):
    alone = config.model_copy(update={"sources": config.sources[:1], "weights": {"drop": 1.0}})
    (part,) = dry_run(alone)
    manifest = build_blend(alone, tmp_path / "out")
    assert part.tokens == pytest.approx(manifest["sources"]["drop"]["tokens"], rel=0.02)


def test_without_weights_the_examples_are_counted(config, tmp_path):
    whole = config.model_copy(update={"sources": config.sources[:1], "weights": {}, "examples": None})
    (part,) = dry_run(whole)
    assert part.examples == build_blend(whole, tmp_path / "out")["examples"] == 60


def test_the_table_has_each_part_and_names_what_is_absent(config):
    lines = list(table(dry_run(config)))
    (drop,) = (line.split() for line in lines if line.startswith("drop "))
    assert drop[:4] == ["drop", "60", "434", "43.4%"]
    assert any(line.split()[:2] == ["newsqa", "absent"] for line in lines)
    assert any(line.startswith("newsqa: absent: ") for line in lines)
    assert any("words times 1.3" in line for line in lines)


def test_the_command_prints_it_and_writes_nothing(config, run, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    before = set(tmp_path.iterdir())
    assert run("blend", path, "--dry-run") == 0
    assert "43.4%" in capsys.readouterr().out
    assert set(tmp_path.iterdir()) == before
    assert run("blend", path, "--dry-run", "--set", "licence=commercial") == 0
    assert "drop: licence: not stated" in capsys.readouterr().out
    assert run("blend", path) == 2
    assert "--out is missing" in capsys.readouterr().err


def test_the_command_leaves_out_what_forbids_commercial_use(config, run, tmp_path, capsys):
    path, fields = tmp_path / "config.yaml", config.model_dump(mode="json")
    for source, licence in zip(fields["sources"], ["CC BY-SA 4.0", "research only"], strict=True):
        source["licence"] = licence
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    assert run("blend", path, "--out", tmp_path / "out", "--set", "licence=commercial") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["left_out"] == {"newsqa": "licence: research only"}
    assert manifest["examples"] == 1000
