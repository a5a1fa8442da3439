"""A model as an ONNX graph: token ids in, the log-probabilities of the two labels out.

`input_ids` and `attention_mask` are [rows, length], padded on the right. `logprobs` is [rows, 2], relevant first, over
the whole vocabulary: their difference is the log-odds, and the exponential of the first is P(True).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from rankrag.errors import MissingExtraError, ModelError, first_line
from rankrag.export.checking import check, encoded, made_beside, pairs_to_check
from rankrag.models.transformers import TransformersModel

FILE_NAME = "model.onnx"


class LabelLogprobs(torch.nn.Module):
    """The log-probabilities of the labels as the token after each row's last, [rows, 2]."""

    def __init__(self, model: TransformersModel) -> None:
        super().__init__()
        self.body = model.model.base_model
        self.head = model.model.get_output_embeddings()
        self.register_buffer("labels", torch.tensor(model.contract.label_ids))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities; padding needs no mask, since it comes after every token."""
        length = input_ids.shape[1]
        unseen = torch.full((length, length), torch.finfo(self.head.weight.dtype).min).triu(1)
        hidden = self.body(
            input_ids=input_ids,
            attention_mask=unseen[None, None].expand(input_ids.shape[0], 1, length, length),
            position_ids=torch.arange(length)[None],
            use_cache=False,
        ).last_hidden_state
        ends = (attention_mask.sum(-1) - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
        logits: torch.Tensor = self.head(hidden.gather(1, ends)[:, 0]).float()
        return torch.log_softmax(logits, dim=-1).index_select(1, cast(torch.Tensor, self.labels))


def export_onnx(model: TransformersModel, out: Path) -> float:
    """Write `model.onnx` and the tokenizer; return the largest difference of log-odds in ONNX Runtime."""
    pairs = pairs_to_check(model)
    with made_beside(out, model) as folder:
        write_onnx(model, folder / FILE_NAME)
        rows = logprobs(folder / FILE_NAME, [prompt.ids for prompt in encoded(model, pairs)])
        return check("onnx", model, pairs, [true - false for true, false in rows])


def write_onnx(model: TransformersModel, path: Path) -> None:
    """Write the graph in 32 bits; `ModelError` if torch cannot trace the architecture."""
    # attention in slices (`models.attention`) would be traced for this one length
    model.model.set_attn_implementation("sdpa")
    ids = torch.tensor([[1, 2, 3, 4, 5]] * 3)
    axes = {0: "rows", 1: "length"}
    with warnings.catch_warnings():
        # torch announces its other exporter, which takes 134 seconds and two packages for what this does in a few
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                LabelLogprobs(model).eval(),
                (ids, torch.ones_like(ids)),
                str(path),
                input_names=["input_ids", "attention_mask"],
                output_names=["logprobs"],
                dynamic_axes={"input_ids": axes, "attention_mask": axes, "logprobs": {0: "rows"}},
                opset_version=18,
                dynamo=False,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            reason = first_line(error)[:160]
            raise ModelError(
                f"{model.model.config.model_type}: torch cannot write it as ONNX ({reason}); "
                "up to 2 GB of weights fit into one file"
            ) from error


def logprobs(path: Path, rows: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
    """Return the two log-probabilities of each row of ids from ONNX Runtime, all rows in one padded batch."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError('ONNX Runtime is not installed; run: pip install "rankrag[onnx]"') from None
    width = max(map(len, rows))
    ids = np.array([[*row, *[0] * (width - len(row))] for row in rows], dtype=np.int64)
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], dtype=np.int64)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    return [(true, false) for true, false in found.tolist()]
