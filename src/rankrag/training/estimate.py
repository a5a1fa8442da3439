"""What a run will take: memory of one device and time of its steps, from the shape of the model.

Memory of a device, in bytes, for P weights of which T are trained, over N devices (shards; else N = 1):

- weights: 4 P / N where they are trained; 2 P for a frozen base in bfloat16, 0.55 P in 4 bits, and 4 T for the adapter;
- gradients and AdamW's two moments: 12 T / N;
- the copies in bfloat16 that are computed with: of two layers and of the embeddings, in shards; of all, otherwise;
- activations: a layer keeps about 14 h + 4 f numbers of 2 bytes a token (h hidden, f MLP width); with checkpointing
  each layer keeps h of them, and one layer at a time the whole;
- the mask, 4 B² for B tokens a batch where no layers are compiled, and vocabulary logits, 10 V a target token.

Time: 2 operations a weight and a token forward, and twice that backward, of which a frozen base needs half; 2 more with
checkpointing. Attention's own are left out. Layers below the `top_layers` of an adapter have a forward pass alone, and
keep no activations. A step's batches go round by round over the devices, however few batches it has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rankrag.config.training import TrainConfig
from rankrag.models.loading import layers_of
from rankrag.training.start import find_start, skeleton

GIB = 2**30
TARGETS = 0.05
"""Share of target tokens among all."""

REACHED = 0.4
"""Share of a device's peak rate that is reached by a model with billions of weights."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes of one device by purpose, and seconds of one step."""

    memory: dict[str, float]
    seconds: float

    @property
    def gib(self) -> float:
        """Memory of one device in GiB."""
        return sum(self.memory.values()) / GIB


def estimate(
    model: Any, config: TrainConfig, *, devices: int = 1, example_tokens: int | None = None, tflops: float = 312.0
) -> Estimate:
    """Return what one device holds and how long a step takes; the model's weights are not needed.

    `example_tokens` is the mean length of an example, by default the longest allowed; `tflops` a device's peak rate
    (A100: 312 in bfloat16).
    """
    shape, layers = model.config, len(layers_of(model))
    weights = sum(p.numel() for p in model.parameters())
    batch, learning = config.tokens_per_batch, layers
    if config.method != "full":
        learning = min(config.lora.top_layers or layers, layers)
    whole = 14.0 * shape.hidden_size + 4.0 * _mlp(shape)
    kept = learning * shape.hidden_size + whole if config.gradient_checkpointing else learning * whole
    memory = {
        **_weights(model, config, learning, devices if config.sharding == "fsdp2" else 1),
        "activations": 2.0 * batch * kept,
        "mask": 0.0 if config.compile else 4.0 * batch**2,
        "logits": 10.0 * shape.vocab_size * TARGETS * batch,
    }
    batches = config.batches_per_step
    if config.examples_per_step is not None:
        batches = math.ceil(config.examples_per_step * (example_tokens or config.max_tokens) / batch)
    backward = (2 if config.method == "full" else 1) + config.gradient_checkpointing
    operations = 2.0 * weights * batch * (1 + backward * learning / layers)
    return Estimate(memory, math.ceil(batches / devices) * operations / (tflops * 1e12 * REACHED))


def estimate_lines(config: TrainConfig, **given: Any) -> list[str]:
    """Return the estimate of a configured run as lines to print, `given` what `estimate` takes besides.

    `ConfigError` if the model's shape cannot be read.
    """
    found = estimate(skeleton(find_start(config).base), config, **given)
    lines = [f"{name:24} {size / GIB:8.2f} GiB" for name, size in found.memory.items()]
    lines += [f"{'one device':24} {found.gib:8.2f} GiB", f"{'one step':24} {found.seconds:8.2f} s"]
    if config.max_steps > 0:
        hours = config.max_steps * found.seconds / 3600
        lines.append(f"{f'{config.max_steps} steps':24} {hours:8.2f} h")
    return lines


def _weights(model: Any, config: TrainConfig, learning: int, held_by: int) -> dict[str, float]:
    """Return the bytes of weights, gradients, optimiser and working copies on one of the devices that share them."""
    weights, layers = sum(p.numel() for p in model.parameters()), layers_of(model)
    trained, held, copies = float(weights), 4.0 * weights, 2.0 * weights
    if config.sharding == "fsdp2":
        inside = sum(p.numel() for p in layers.parameters())
        copies = 2.0 * (2 * inside / len(layers) + weights - inside)
    if config.method != "full":
        # an adapter has two thin matrices at each map: four of attention, three of the MLP
        hidden = model.config.hidden_size
        trained = learning * config.lora.r * (4.0 * (2 * hidden) + 3 * (hidden + _mlp(model.config)))
        held, copies = (2.0 if config.method == "lora" else 0.55) * weights + 4.0 * trained, 0.0
    moments = {"gradients": 4.0 * trained / held_by, "optimiser": 8.0 * trained / held_by}
    return {"weights": held / held_by, **moments, "copies to compute with": copies}


def _mlp(shape: Any) -> int:
    return getattr(shape, "intermediate_size", None) or getattr(shape, "n_inner", None) or 4 * int(shape.hidden_size)
