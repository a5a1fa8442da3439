"""What a run will take: memory of one device and time of all steps, from the shape of the model.

Memory of a device, in bytes, for P weights of which T are trained, over N devices (shards; else N = 1):

- weights: 4 P / N where they are trained; 2 P for a frozen base in bfloat16, 0.55 P in 4 bits, and 4 T for the adapter;
- gradients and AdamW's two moments: 12 T / N;
- the copies in bfloat16 that are computed with: of two layers and of the embeddings, in shards; of all, otherwise;
- activations: a layer keeps about 14 h + 4 f numbers of 2 bytes a token (h hidden, f MLP width); with checkpointing
  each layer keeps h of them, and one layer at a time the whole;
- the mask, 4 B² for B tokens a batch, and vocabulary logits, 10 V for each target token. Where layers are compiled,
  attention is computed in blocks of 128 x 128 tokens (`attention`), and the mask is 16 bytes a block.

Time: 2 operations a weight of the layers and a token, 4 S h a layer and a token for attention over S tokens, 2 V h a
target token; three times that with the backward pass, four times with checkpointing, one less where the
weights themselves need no gradients. S is the whole batch, B; in blocks it is half an example and half a block, which
is what a token sees on average. Layers below the `top_layers` of an adapter have a forward pass alone, and keep no
activations. A step's batches go round by round over the devices: one round takes one batch's
operations, divided by a device's peak rate times the share of it that is reached, however few batches it has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rankrag.config.training import TrainConfig
from rankrag.models.loading import layers_of
from rankrag.training.start import find_start, skeleton

GIB = 2**30
BLOCK = 128
"""Tokens of a side of FlexAttention's blocks."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model that memory and time depend on; `matrices` are the weights of all layers' linear maps."""

    weights: int
    matrices: int
    layers: int
    hidden: int
    mlp: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes of one device by purpose, operations of one step over all devices, seconds of one step."""

    memory: dict[str, float]
    operations: float
    seconds: float

    @property
    def gib(self) -> float:
        """Memory of one device in GiB."""
        return sum(self.memory.values()) / GIB


def shape_of(model: Any) -> Shape:
    """Return the sizes of a model, whose weights are not needed."""
    config, layers = model.config, layers_of(model)
    maps = sum(p.numel() for p in layers.parameters() if p.ndim == 2)
    mlp = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * config.hidden_size
    weights = sum(p.numel() for p in model.parameters())
    return Shape(weights, maps, len(layers), config.hidden_size, mlp, config.vocab_size)


def estimate(
    shape: Shape,
    config: TrainConfig,
    *,
    devices: int = 1,
    example_tokens: int | None = None,
    target_share: float = 0.05,
    tflops: float = 312.0,
    reached: float = 0.4,
) -> Estimate:
    """Return what one device holds and how long a step takes.

    `example_tokens` is the mean length of an example, by default the longest allowed; `target_share` the share of
    target tokens; `tflops` a device's peak rate (A100: 312 in bfloat16), of which the share `reached` is used.
    """
    batch, example = config.tokens_per_batch, example_tokens or config.max_tokens
    learning = shape.layers if config.method == "full" else min(config.lora.top_layers or shape.layers, shape.layers)
    step = float(config.batches_per_step * batch)
    if config.examples_per_step is not None:
        step = config.examples_per_step * example
    rounds = math.ceil(math.ceil(step / batch) / devices)
    memory = {
        **_weights(shape, config, learning, devices if config.sharding == "fsdp2" else 1),
        "activations": 2.0 * batch * _kept(shape, learning, checkpointing=config.gradient_checkpointing),
        "mask": 16.0 * (batch / BLOCK) ** 2 if config.compile else 4.0 * batch**2,
        "logits": 10.0 * shape.vocabulary * target_share * batch,
    }
    seen = min(batch, (example + BLOCK) / 2) if config.compile else batch
    forward = 2.0 * shape.matrices + 4.0 * shape.layers * seen * shape.hidden
    forward += 2.0 * shape.vocabulary * shape.hidden * target_share
    backward = (2 if config.method == "full" else 1) + config.gradient_checkpointing
    passes = 1 + backward * learning / shape.layers
    return Estimate(memory, passes * forward * step, rounds * passes * forward * batch / (tflops * 1e12 * reached))


def estimate_lines(config: TrainConfig, **given: Any) -> list[str]:
    """Return the estimate of a configured run as lines, `given` what `estimate` takes besides.

    `ConfigError` if the model's shape cannot be read.
    """
    return report_lines(estimate(shape_of(skeleton(find_start(config).base)), config, **given), config.max_steps)


def report_lines(found: Estimate, steps: int) -> list[str]:
    """Return the estimate as lines to print."""
    lines = [f"{name:24} {size / GIB:8.2f} GiB" for name, size in found.memory.items()]
    lines.append(f"{'one device':24} {found.gib:8.2f} GiB")
    lines.append(f"{'one step':24} {found.seconds:8.2f} s, {found.operations / 1e12:.0f}e12 operations")
    if steps > 0:
        lines.append(f"{f'{steps} steps':24} {steps * found.seconds / 3600:8.2f} h")
    return lines


def _weights(shape: Shape, config: TrainConfig, learning: int, held_by: int) -> dict[str, float]:
    """Return the bytes of weights, gradients, optimiser and working copies on one of the devices that share them."""
    if config.method == "full":
        trained, bytes_held = float(shape.weights), 4.0 * shape.weights
        copies = 2.0 * shape.weights
        if config.sharding == "fsdp2":
            copies = 2.0 * (2 * shape.matrices / shape.layers + (shape.weights - shape.matrices))
    else:
        # an adapter has two thin matrices at each map: four of attention, three of the MLP
        trained = learning * config.lora.r * (4.0 * (2 * shape.hidden) + 3 * (shape.hidden + shape.mlp))
        bytes_held = (2.0 if config.method == "lora" else 0.55) * shape.weights + 4.0 * trained
        copies = 0.0
    return {
        "weights": bytes_held / held_by,
        "gradients": 4.0 * trained / held_by,
        "optimiser": 8.0 * trained / held_by,
        "copies to compute with": copies,
    }


def _kept(shape: Shape, learning: int, *, checkpointing: bool) -> float:
    """Return the numbers that a token leaves for the backward pass."""
    layer = 14.0 * shape.hidden + 4.0 * shape.mlp
    return learning * shape.hidden + layer if checkpointing else learning * layer
