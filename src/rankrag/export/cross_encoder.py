"""A model as a sentence-transformers CrossEncoder: `CrossEncoder(path).predict(pairs)` gives our log-odds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from rankrag.export.checking import Pair, check
from rankrag.export.template import bordered
from rankrag.models.transformers import TransformersModel
from rankrag.templates import passage_text


def export_cross_encoder(model: TransformersModel, out: Path) -> float:
    """Write the CrossEncoder; return the largest difference of its log-odds from ours on the check's pairs."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    with tempfile.TemporaryDirectory() as folder:
        model.model.save_pretrained(folder)
        bordered(model.tokenizer, model.contract).save_pretrained(folder)
        backbone: Any = Transformer(folder, transformer_task="text-generation")
        true, false = model.contract.label_ids
        modules = [backbone, LogitScore(true, false)]
        encoder: Any = CrossEncoder(modules=modules, device=str(model.device), activation_fn=torch.nn.Identity())

        def predicted(pairs: list[Pair]) -> list[float]:
            texts = [(question.text, passage_text(passage)) for question, passage in pairs]
            return [float(score) for score in encoder.predict(texts)]

        apart = check("sentence-transformers", model, predicted)
        encoder.save_pretrained(str(out))
    return apart
