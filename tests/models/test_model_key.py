from __future__ import annotations

from dataclasses import replace

from rankrag.contract import Contract
from rankrag.models.fake import FakeLanguageModel
from rankrag.models.model_key import model_key


def test_a_model_is_known_by_its_prompts_and_weights_but_not_by_fitted_values(tmp_path):
    plain = FakeLanguageModel()
    fitted = FakeLanguageModel(
        contract=replace(Contract(), abstain_below=1.0, similarity_weight=0.5, similarity_encoder="e", k=1)
    )
    shorter = FakeLanguageModel(contract=Contract(passage_tokens=100))
    key = model_key(plain, "mini")
    assert key == model_key(fitted, "mini")
    assert len({key, model_key(plain, "other"), model_key(shorter, "mini")}) == 3
    weights = tmp_path / "checkpoint"
    weights.mkdir()
    empty = model_key(plain, str(weights))
    (weights / "model.safetensors").write_bytes(b"weights")
    assert model_key(plain, str(weights)) != empty
