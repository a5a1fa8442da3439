from __future__ import annotations

import pytest

from rankrag.models.state_cache import MARK
from rankrag.opening import open_model
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question, StateUse

from .conftest import save_random


def judged(model):
    prompt = ranking_prompt(model.contract.format, Question("q", "why?"), Passage("p", "so"))
    return model.choice_logprobs([prompt], model.contract.labels)


def test_a_folder_keeps_states_for_the_next_process(tiny_model_dir, tmp_path):
    folder = tmp_path / "states"
    first, second = (
        open_model(str(tiny_model_dir), dtype="float32", state_cache=folder, say=pytest.fail) for _ in range(2)
    )
    assert judged(first)[0] == pytest.approx(judged(second)[0], abs=0.05)
    assert second.state_use == StateUse(1, 1)
    assert (folder / MARK).is_file()


def test_off_keeps_nothing(tiny_model_dir):
    assert open_model(str(tiny_model_dir), dtype="float32").state_use is None


def test_a_model_without_shared_prefixes_says_why_a_folder_is_not_used(tokenizer, tmp_path):
    directory = save_random("bloom", tokenizer, tmp_path / "bloom", hidden_size=32, n_layer=1, n_head=2)
    said = []
    model = open_model(str(directory), dtype="float32", state_cache=tmp_path / "states", say=said.append)
    assert said == [f"--state-cache {tmp_path / 'states'}: not used, no prefix is shared by bloom models"]
    assert model.state_use is None
    assert not (tmp_path / "states").exists()
