from __future__ import annotations

import json

import pytest
import yaml

from rankrag.blend.plan import plan_lines
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


def test_every_part_has_its_rows_examples_and_share_and_an_absent_one_is_named(config):
    head, drop, newsqa, whole, absent = plan_lines(config)
    assert head.split() == ["part", "rows", "examples", "share"]
    assert drop.split() == ["drop", "60", "434", "43.4%"]
    assert newsqa.split() == ["newsqa", "absent", "566", "56.6%"]
    assert whole.split() == ["sum", "1000"]
    assert absent.startswith("newsqa: absent: ")


def test_shares_are_shown_where_all_data_is_absent(config, tmp_path):
    (tmp_path / "drop.jsonl").unlink()
    assert [line.split()[1:3] for line in plan_lines(config)[1:3]] == [["absent", "434"], ["absent", "566"]]


def test_without_weights_a_source_gives_all_it_has(config):
    whole = config.model_copy(update={"sources": config.sources[:1], "weights": {}, "examples": None})
    assert [line.split() for line in plan_lines(whole)[1:]] == [["drop", "60", "all"], ["sum", "all"]]


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
