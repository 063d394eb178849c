"""What `bench_gpu.py` found: on disk after every measurement, with what was skipped and why; and its table."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench_loop as loops  # the script beside this one

from loopsim.models.base import free_memory

Found = dict[str, Any]
PARTS = ("drawing", "describing", "drawing_compiled", "describing_compiled", "loop")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def attempt(what: str, call: Callable[[], Found]) -> Found:
    """A result, or why there is none; only Ctrl-C and its like end the bench."""
    try:
        found = call()
    except Exception as error:  # noqa: BLE001 - a measurement that fails must not cost those that worked
        first = (str(error).strip().splitlines() or ["no message"])[0]
        found = {"skipped": f"{type(error).__name__}: {first[:300]}"}
    free_memory()  # outside the handler, whose traceback would hold on to what is to be freed
    say(f"{what}: {json.dumps(found)}")
    return found


@dataclass(frozen=True)
class Until:
    """When a part is to end, so that those after it get their time."""

    at: float = math.inf
    """As `time.monotonic` counts."""

    @property
    def left(self) -> float:
        """Seconds; without a limit no end of them."""
        return self.at - time.monotonic()

    def too_late(self, needed: float) -> Found | None:
        """What is noted instead of a measurement that takes about so many seconds; None where there is time."""
        if needed <= self.left:
            return None
        return {"skipped": f"no time: it takes about {needed:.0f} s, and {max(0.0, self.left):.0f} s were left"}


@dataclass
class Report:
    """What was found, on disk after every measurement."""

    path: Path
    found: Found = field(default_factory=dict)

    def keep(self, part: str, one: Found) -> Found:
        """Note a part, or a part so far."""
        self.found[part] = one
        self.found["skipped"] = self.skipped()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{os.getpid()}-{self.path.name}")
        fresh.write_text(json.dumps(self.found, indent=1))
        fresh.replace(self.path)
        return one

    def skipped(self) -> dict[str, str]:
        """What there is no result of, and why."""
        left = {f"building {name}": why for name, why in self.found.get("built", {}).items() if why != "built"}
        for part in PARTS:
            one = self.found.get(part, {"skipped": "not reached"})
            if "skipped" in one:
                left[part] = str(one["skipped"])
            for size, each in one.items():
                if isinstance(each, dict) and "skipped" in each:
                    where = f"batch {size}" if size.isdigit() else size
                    left[f"{part}, {where}"] = str(each["skipped"])
        return left


def highest(found: Found, *parts: str, key: str) -> float | None:
    """The highest rate of some parts, over their batch sizes."""
    rates = [one[key] for part in parts for one in found.get(part, {}).values() if isinstance(one, dict) and key in one]
    return max(rates, default=None)


def tell(found: Found) -> None:
    """The table of docs/performance.md, and what was left out."""
    loop = found["loop"]
    pictures = highest(found, "drawing", "drawing_compiled", key="images_per_s")
    captions = highest(found, "describing", "describing_compiled", key="captions_per_s")
    rows = (
        ("SDXL, 1024², 30 steps, pictures/s", "1.2", pictures, ".2f"),
        ("whole loops, times as fast as `notebook`", "3", loop.get("times_as_fast_as_notebook"), ".2f"),
        ("LLaVA, captions of 75 tokens, /s", "15", captions, ".1f"),
        ("overhead of the engine", "5 %", loop.get("overhead"), ".1%"),
    )
    print(f"| on {found['device']} | aimed at (on an H200) | measured |\n| --- | --- | --- |")
    for what, target, value, form in rows:
        print(f"| {what} | {target} | {'not measured' if value is None else format(value, form)} |")
    if "steps" in loop.get("same_as_notebook", {}):
        loops.tell_agreement({"notebook": loop["same_as_notebook"]})
    for what, why in found["skipped"].items():
        print(f"skipped: {what}: {why}")
