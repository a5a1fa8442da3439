"""Choosing a device and a number type."""

from __future__ import annotations

import torch

from rankrag.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def has_bf16(device: str = "auto") -> bool:
    """Whether the hardware computes bfloat16: CPUs with AVX512_BF16 or AMX, and GPUs that say so."""
    if pick_device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.backends.cpu.get_cpu_capability() != "AVX2"


def pick_device(device: str) -> torch.device:
    """Return the device with that name; "auto" takes a GPU if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"--device {device}: not available here ({reason}); try auto or cpu") from None
    return found


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the number type with that name; "auto" is bfloat16 if the hardware has it, else float32."""
    if dtype == "auto":
        return torch.bfloat16 if has_bf16(str(device)) else torch.float32
    if dtype not in DTYPES:
        raise ModelError(f"--dtype {dtype}: unknown; choose auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]
