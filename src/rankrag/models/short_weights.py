"""Short weights, of 4 and 8 bits, for writing: a written token reads every weight once, so fewer bytes take less time.

Only passes over a few tokens use them, and only while a reply is written. Passages and prompts are read in 16 bits, so
no score changes. A file beside the weights of a prepared model holds them; a model without that file writes in 16 bits.

A weight gets 4 bits if it lies on such a grid, as those of a base do that was quantised to 4 bits. Others get 8 bits,
also those to which an adapter was added.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

FILE = "short_weights.packed"
"""Beside a prepared model's weights; not named `.safetensors`, since programs load all files of that name."""

ROWS = 4
"""Most tokens of a pass that uses short weights; from 5 on, 16 bits are as fast (docs/performance.md)."""

GROUP = 32
"""Weights that share a scale and a zero in 4 bits, as in the quantised bases."""

KEPT = 0.007
"""Root mean square error of 4 bits, relative to the weights, up to which they are taken.

On the grid of a base it is 0.005. What an adapter adds is 0.01 to 0.02 of the weights and lies between the steps of
that grid: 4 bits would round it away (docs/performance.md).
"""

_STEPS = (15, 14, 13, 12, 11, 10)
"""Steps tried between the least and the greatest weight of a group: not every group uses both ends of its grid."""

ALIGNED = 64
"""Bytes to whose multiples torch allocates."""

_PARTS = ("short", "scales")

_AT_ONCE = 1 << 18
"""Weights that are worked on together: they stay in the processor's cache."""

_writing: ContextVar[bool] = ContextVar("writing", default=False)


@contextmanager
def short_writing() -> Iterator[None]:
    """Within it, and in this thread only, passes over a few tokens use the short weights."""
    token = _writing.set(True)
    try:
        yield
    finally:
        _writing.reset(token)


def is_faster(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether short weights are faster here: torch has these products for bfloat16 on CPUs with AVX-512."""
    return device.type == "cpu" and dtype == torch.bfloat16 and _capability().startswith("AVX512")


class ShortLinear(nn.Linear):
    """A linear layer with its weights a second time, in 4 or 8 bits."""

    short: torch.Tensor
    scales: torch.Tensor

    def shorten(self, short: torch.Tensor, scales: torch.Tensor) -> None:
        """Take the short weights; they are no part of the state dict."""
        self.register_buffer("short", short, persistent=False)
        self.register_buffer("scales", scales, persistent=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the products with [..., in] states."""
        rows = states.numel() // self.in_features
        if rows > ROWS or not _writing.get():
            return nn.functional.linear(states, self.weight, self.bias)
        found: torch.Tensor
        flat = states.reshape(rows, self.in_features)
        if self.short.dtype == torch.int8:
            found = torch.ops.aten._weight_int8pack_mm(flat, self.short, self.scales)
        else:
            found = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, self.short, GROUP, self.scales)
        found = found.view(*states.shape[:-1], self.out_features)
        return found if self.bias is None else found + self.bias


def write_short_weights(model: Any, path: Path) -> None:
    """Write the short weights of a causal language model, if they are faster on this machine."""
    if not is_faster(model.device, torch.bfloat16):
        return
    tensors = {}
    for name, linear in _linears(model):
        tensors[f"{name}.short"], tensors[f"{name}.scales"] = shortened(linear.weight.detach().to(torch.bfloat16))
    save_file(tensors, path, {"cpu": _capability()})


def use_short_weights(model: Any, path: Path) -> bool:
    """Let a model write with the short weights of a file; False if it has none that were made for this CPU."""
    if not path.is_file() or not is_faster(model.device, model.dtype):
        return False
    try:
        with safe_open(path, "pt") as file:
            # the bytes of 4 bits lie as this instruction set wants them
            if file.metadata().get("cpu") != _capability():
                return False
            linears = dict(_linears(model))
            found = {name: [_aligned(file.get_tensor(f"{name}.{part}")) for part in _PARTS] for name in linears}
    except (OSError, SafetensorError):
        return False
    for name, linear in linears.items():
        linear.__class__ = ShortLinear
        cast("ShortLinear", linear).shorten(*found[name])
    return True


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor at an address that torch would give it.

    A tensor of a file is mapped where it lies, at a multiple of 8 bytes. torch's products load 16 and 32 bytes at a
    time by instructions that end the process if the address is no multiple of that.
    """
    return tensor if tensor.data_ptr() % ALIGNED == 0 else tensor.clone()


def shortened(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a weight [out, in] in as few bits as keep it, and its scales, as torch's products take them.

    In 4 bits: bytes, with [in / 32, out, 2] scales and zeros. In 8 bits: integers [out, in], with scales [out].
    """
    steps = max(1, _AT_ONCE // weight.shape[1])
    parts = [_in_four_bits(part) for part in torch.split(weight, steps)]
    codes, scales, errors = zip(*parts, strict=True)
    if sum(errors) <= KEPT**2 * float(weight.float().square().sum()):
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(torch.cat(codes), 1)
        return packed, torch.cat(scales).transpose(0, 1).contiguous()
    scale = (weight.abs().amax(dim=1).float() / 127).clamp_min(1e-12).to(weight.dtype)
    return (weight.float() / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8), scale


def _in_four_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return codes [out, in] of 0 to 15, scales and zeros [out, in / 32, 2], and the sum of the squared errors."""
    groups = weight.float().view(len(weight), -1, GROUP)
    low, high = groups.aminmax(dim=-1, keepdim=True)
    kept: tuple[torch.Tensor, ...] = ()
    for count in _STEPS:
        step = ((high - low) / count).clamp_min(1e-12).to(weight.dtype).float()
        zero = (low + 8 * step).to(weight.dtype).float()  # torch restores a weight as (code - 8) * scale + zero
        codes = ((groups - zero) / step).round_().add_(8).clamp_(0, 15)
        error = ((codes - 8) * step + zero - groups).square_().sum(dim=-1, keepdim=True)
        tried: tuple[torch.Tensor, ...] = (error, codes, step, zero)
        if kept:
            tried = tuple(torch.where(error < kept[0], new, old) for new, old in zip(tried, kept, strict=True))
        kept = tried
    error, codes, step, zero = kept
    return codes.view(weight.shape).int(), torch.cat([step, zero], dim=-1).to(weight.dtype), float(error.sum())


def _linears(model: Any) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the linear layers, by name, whose weights fit into the blocks of torch's products."""
    for name, module in model.named_modules():
        # exactly this class: others do more with their weights
        if type(module) is nn.Linear and module.in_features % GROUP == 0 and module.out_features % 16 == 0:
            yield name, module


def _capability() -> str:
    return str(torch.backends.cpu.get_cpu_capability())
