from __future__ import annotations

import yaml


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
    settings = {"model": str(tiny_model_dir), "blend": "none", "out": str(tmp_path / "run"), "aux_layer": 9}
    config.write_text(yaml.safe_dump(settings))
    assert run("train", config) == 2
    printed = capsys.readouterr().err
    assert "2 problems:\n  - blend: none/examples.jsonl.zst" in printed
    assert "\n  - aux_layer: 9" in printed


def test_pushing_an_unfinished_run_is_refused(run, tmp_path, capsys):
    assert run("push", tmp_path, "me/mine") == 2
    assert "no finished model" in capsys.readouterr().err
