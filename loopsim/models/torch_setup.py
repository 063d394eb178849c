"""Device, dtype and threads: chosen once, pinned, and written to the manifest, since each can change bytes."""

from __future__ import annotations

import platform
from typing import Any

import torch

from loopsim.errors import ModelError


def pick_device(device: str) -> str:
    """`auto` is CUDA where there is one, then Apple's MPS, then the CPU."""
    if device != "auto":
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError(f"device {device!r}: torch sees no CUDA device here; use --device cpu")
        if device.startswith("cuda:") and int(device[5:]) >= torch.cuda.device_count():
            raise ModelError(f"device {device!r}: torch sees {torch.cuda.device_count()} CUDA devices, from cuda:0 on")
        if device == "mps" and not torch.backends.mps.is_available():
            raise ModelError("device 'mps': torch sees no Apple GPU here; use --device cpu")
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def pick_dtype(dtype: str, device: str) -> torch.dtype:
    """`auto` is bfloat16 on CUDA that has it, float16 on older CUDA, float32 elsewhere."""
    if dtype != "auto":
        chosen: torch.dtype = getattr(torch, dtype)
        return chosen
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float32


def pin(threads: int) -> dict[str, Any]:
    """Pin what changes bytes; returns what a manifest must say about it.

    Args:
        threads: CPU threads of a call.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    return {
        "threads": threads,
        "onednn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "cudnn_benchmark": False,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
