"""Where a pipeline's weights lie, and whether its blocks are compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from loopsim.errors import ModelError

HEADROOM = 0.8
"""Share of the free memory that weights may take; the rest is for what a batch needs."""


def weights_of(pipes: Sequence[Any]) -> list[int]:
    """Bytes of the weights of every network of some pipelines; one that they share counts once."""
    parts = {id(part): part for pipe in pipes for part in pipe.components.values() if isinstance(part, torch.nn.Module)}
    return [sum(p.numel() * p.element_size() for p in part.parameters()) for part in parts.values()]


def choose_placement(weights: Sequence[int], free: int) -> str:
    """`resident` if all weights fit, `swap` if each network does, else `offload`.

    Args:
        weights: bytes of each network.
        free: bytes that the device has free.
    """
    room = HEADROOM * free
    if sum(weights) <= room:
        return "resident"
    return "swap" if max(weights, default=0) <= room else "offload"


def free_bytes(device: str) -> int | None:
    """What an accelerator has free; None where there is no telling."""
    if not device.startswith("cuda"):
        return None
    return int(torch.cuda.mem_get_info(torch.device(device))[0])


def check_placement(wanted: str | None, device: str) -> None:
    """Refuse to move weights where there is no GPU to move them to.

    Args:
        wanted: the setting.
        device: as torch calls it.

    Raises:
        ModelError: there is none.
    """
    if wanted in ("swap", "offload") and not device.startswith("cuda"):
        raise ModelError(
            f"placement: {wanted} moves weights to a GPU when they are needed, and this runs on {device}; leave "
            "placement out"
        )


def place(pipes: Sequence[Any], wanted: str, device: str) -> tuple[str, str | None]:
    """Put pipelines where they are to run, all in one way.

    Returns:
        The placement taken, and a line for the user where it costs speed.

    Raises:
        ModelError: it is to be swapped, and there is no accelerator to swap with.
    """
    taken = wanted
    if wanted == "auto":
        free = free_bytes(device)
        taken = "resident" if free is None else choose_placement(weights_of(pipes), free)
    if taken == "resident":
        for pipe in pipes:
            pipe.to(device)
        return taken, None
    check_placement(taken, device)
    if taken == "swap":
        for pipe in pipes:
            pipe.enable_model_cpu_offload(device=device)
        return (
            taken,
            "its components do not stay on the GPU together: they are swapped in at each call, which costs time",
        )
    for pipe in pipes:
        pipe.enable_sequential_cpu_offload(device=device)
    return taken, (
        "not even one component fits on the GPU: its layers are moved one by one, which is several times slower "
        "(a smaller batch_size does not help; a smaller model or a larger GPU does)"
    )


def compile_blocks(pipe: Any) -> list[str]:
    """Compile the repeated blocks of the networks that are asked at every step; others whole. What was compiled.

    Chunks are padded to one size, so each size of picture is compiled once.
    """
    done = []
    for name in ("unet", "transformer", "prior_prior", "decoder"):
        part = getattr(pipe, name, None)
        if part is None:
            continue
        if getattr(part, "_repeated_blocks", None):
            part.compile_repeated_blocks()
            done.append(f"{name}: {', '.join(part._repeated_blocks)}")
        else:
            part.compile()
            done.append(name)
    return done
