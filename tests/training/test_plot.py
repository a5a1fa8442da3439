from __future__ import annotations

from rankrag.training.plot import draw, panels

HISTORY = [
    {"dev_auc": 0.5, "dev_loss_sft": 3.0, "step": 0},
    {"loss": 2.0, "loss_sft": 2.5, "learning_rate": 0.1, "grad_norm": 1.0, "step": 2},
    {"loss": 1.0, "loss_sft": 1.5, "learning_rate": 0.05, "grad_norm": 1.0, "step": 4},
    {"train_runtime": 3.0, "step": 4},
]


def test_each_panel_has_its_lines():
    assert panels(HISTORY) == {
        "loss of a target token": ["loss", "loss_sft"],
        "the same on dev examples": ["dev_loss_sft"],
        "dev figures": ["dev_auc"],
        "learning rate": ["learning_rate"],
    }


def test_a_picture_is_drawn_whole_and_nothing_is_drawn_of_nothing(tmp_path):
    assert draw(HISTORY, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not draw([{"train_runtime": 3.0, "step": 4}], tmp_path / "none.png")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
