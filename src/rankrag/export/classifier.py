"""A model as a sequence classifier with our log-odds as its one logit: its head is row `True` minus row `False`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from rankrag.errors import ModelError
from rankrag.export.checking import Pair, check, encoded
from rankrag.export.template import bordered
from rankrag.models.transformers import TransformersModel


def export_classifier(model: TransformersModel, out: Path) -> float:
    """Write the classifier; return the largest difference of its logits from our log-odds on the check's pairs."""
    classifier = classifier_of(model)

    def logits(pairs: list[Pair]) -> list[float]:
        rows = [torch.tensor([prompt.ids], device=model.device) for prompt in encoded(model, pairs)]
        with torch.inference_mode():
            return [float(classifier(row).logits[0, 0]) for row in rows]

    apart = check("sequence-classifier", model, logits)
    classifier.save_pretrained(out)
    bordered(model.tokenizer, model.contract).save_pretrained(out)
    return apart


def classifier_of(model: TransformersModel) -> Any:
    """Return the classifier; `ModelError` for an architecture without one, or whose head is more than a matrix."""
    head = model.model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise ModelError(
            "the language model's head has a bias, which a sequence classifier's head cannot have; not exported"
        )
    config = copy.deepcopy(model.model.config)
    config.num_labels, config.pad_token_id = 1, model._pad_id
    try:
        classifier = AutoModelForSequenceClassification.from_config(config).to(model.model.dtype)
    except ValueError as error:
        reason = str(error).splitlines()[0][:120]
        raise ModelError(f"{config.model_type} has no sequence classifier in transformers ({reason})") from None
    absent = classifier.load_state_dict(model.model.state_dict(), strict=False).missing_keys
    if absent != ["score.weight"]:
        raise ModelError(f"{config.model_type}: weights named {absent} of its sequence classifier are not the model's")
    true, false = model.contract.label_ids
    with torch.no_grad():
        classifier.score.weight.copy_((head.weight[true] - head.weight[false])[None])
    return classifier.to(model.device).eval()
