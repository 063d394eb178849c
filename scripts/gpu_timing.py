"""Seconds and operations of calls of models, for `bench_gpu.py`."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 operations a second by the makers' data sheets."""
LONG = 10.0
"""Seconds of measured calls after which no further one is made: on a GPU, calls that long hardly differ."""


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Median of some calls after one to warm up, of fewer where they are long."""
    found: list[float] = []
    while len(found) <= rounds and sum(found[1:]) < LONG:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def expected(took: float, rounds: int) -> float:
    """Seconds of all calls of `seconds`, where one takes so many."""
    return took * (1 + min(rounds, math.ceil(LONG / took)))


def operations(call: Callable[[], object]) -> float:
    """Floating-point operations of a call, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def share_of_peak(count: float | None, took: float) -> float | None:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for key, value in PEAK.items() if key in name), None)
    return None if peak is None or count is None else count / took / peak
