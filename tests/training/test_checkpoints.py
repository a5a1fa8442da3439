from __future__ import annotations

from rankrag.training.checkpoints import all_checkpoints, newest_checkpoint, prune, seal


def written(out, step, text="weights"):
    checkpoint = out / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text(text)
    seal(checkpoint)


def test_the_newest_whole_checkpoint_is_found_and_damaged_ones_are_passed_over(tmp_path, caplog):
    for step in (5, 10, 20, 30):
        written(tmp_path, step)
    (tmp_path / "checkpoint-30/weights").write_text("wei")
    (tmp_path / "checkpoint-20/complete.json").unlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert "checkpoint-30 is not whole" in caplog.text


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert newest_checkpoint(tmp_path / "absent") is None


def test_pruning_keeps_the_newest_whole_ones_by_number_of_steps(tmp_path):
    for step in (5, 20, 10, 100, 200):
        written(tmp_path, step)
    (tmp_path / "checkpoint-200/complete.json").unlink()
    prune(tmp_path, 2)
    assert [path.name for path in all_checkpoints(tmp_path)] == ["checkpoint-20", "checkpoint-100"]
