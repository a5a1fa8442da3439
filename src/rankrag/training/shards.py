"""Weights and optimiser in shards over all processes, by torch's own FSDP2.

Not through accelerate, which on CPUs silently replaces a sharded run by one with whole models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from accelerate import init_empty_weights
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import AutoModelForCausalLM

from rankrag.models.loading import layers_of
from rankrag.training.attention import implementation
from rankrag.training.loss import RowModel


def shard(model: RowModel, weights: Mapping[str, torch.Tensor], device: torch.device, *, bf16: bool) -> RowModel:
    """Return the model with each layer's weights divided over all processes.

    The first process has the weights and all have a model without any, so that a big model is in memory only once.
    Weights, gradients and the optimiser stay float32; with `bf16` a layer is computed in bfloat16.
    """
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32)
    for layer in layers_of(model):
        fully_shard(layer, mp_policy=policy)
    fully_shard(model, mp_policy=policy)
    # `to_empty` makes room for this process's shards, but it would also leave the buffers (the positions' frequencies)
    # uninitialised, and no checkpoint holds these
    buffers = {name: buffer.to(device) for name, buffer in model.named_buffers()}
    model.to_empty(device=device)
    for name, buffer in buffers.items():
        module, _, own = name.rpartition(".")
        setattr(model.get_submodule(module), own, buffer)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, dict(weights), options=options)
    return model


def without_weights(shape: Any, *, compiled: bool) -> Any:
    """Return a model of that shape whose parameters take no memory; its buffers are real."""
    with init_empty_weights(include_buffers=False):
        attention = implementation(compiled=compiled)
        model = AutoModelForCausalLM.from_config(shape, attn_implementation=attention, dtype=torch.float32)
    model.tie_weights()
    model.config.use_cache = False
    return model


def whole_weights(model: RowModel) -> dict[str, torch.Tensor]:
    """Return the causal model's weights on the CPU of the first process; all processes must call this."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = get_model_state_dict(model, options=options)
    return {name.removeprefix("causal."): cast(torch.Tensor, weight) for name, weight in found.items()}


def save_shards(model: nn.Module, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    """Write each process's shards of weights and optimiser."""
    weights, states = get_state_dict(model, optimizer)
    save({"weights": weights, "optimizer": states}, checkpoint_id=directory)


def load_shards(model: nn.Module, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    """Read back what `save_shards` wrote, also with another number of processes."""
    # `load` fills tensors in place, so it gets the states of this run, with its own division into shards
    weights, states = get_state_dict(model, optimizer)
    found = {"weights": weights, "optimizer": states}
    load(found, checkpoint_id=directory)
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=cast(Any, states))


def is_first() -> bool:
    """Whether this is the first process of the run."""
    return not dist.is_initialized() or dist.get_rank() == 0
