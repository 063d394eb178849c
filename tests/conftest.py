"""What the tests share: small experiments on mock models, and a way to carry them out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for the network

from loopsim.experiment import parse_experiment
from loopsim.plan import Plan, make_plan
from loopsim.runner import read_branch

# A busy machine is no failure.
settings.register_profile("loopsim", deadline=None)
settings.load_profile("loopsim")

Planner = Callable[..., Plan]


@pytest.fixture
def planned() -> Planner:
    """Plan of a mock experiment; keywords replace or add keys of the file."""

    def make(**keys: Any) -> Plan:
        raw: dict[str, Any] = {
            "name": "try",
            "seed": 7,
            "iterations": 4,
            "replicates": 2,
            "starts": ["a red house", "the blue sea", "two birds at night"],
            "generator": "mock",
            "captioner": {"model": "mock", "temperature": 0.7},
            "embedders": "mock",
        }
        if "chain" in keys:
            del raw["generator"], raw["captioner"]
        return make_plan(parse_experiment(raw | keys), read_branch)

    return make


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run directory that is not there yet."""
    return tmp_path / "run"
