"""What the tests share: small experiments on mock models, and a way to carry them out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for the network

from loopsim.experiment import parse_experiment
from loopsim.plan import Plan, make_plan
from loopsim.runner import read_branch
from tests.browser import DESKTOP, FLAGS, Visit, Visitor, find_browser, watch

# A busy machine is no failure, and the same code has the same outcome: `--hypothesis-profile search` tries others.
settings.register_profile("search", deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("loopsim", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("loopsim")

Planner = Callable[..., Plan]


@pytest.fixture(scope="session")
def planner() -> Planner:
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
def planned(planner: Planner) -> Planner:
    """The same, for tests that share nothing."""
    return planner


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run directory that is not there yet."""
    return tmp_path / "run"


# Of a module, not of the session: while it is open, no other test could run an event loop of its own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Playwright's browser: the system's Chromium, headless; tests that use it carry the marker `browser`."""
    path = find_browser()
    if path is None:
        why = "no Chromium on this system: scripts/test installs it where it can, or let LOOPSIM_CHROMIUM name one"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(why)
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visitor]:
    """Opens an address or a file in a context of its own, and records its errors and requests."""
    contexts = []

    def go(where: str | Path, size: tuple[int, int] = DESKTOP, dark: bool = False, **context: Any) -> Visit:
        contexts.append(
            chromium.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if dark else "light",
                **context,
            )
        )
        visit = watch(contexts[-1].new_page())
        visit.page.goto(where.resolve().as_uri() if isinstance(where, Path) else where)
        return visit

    yield go
    for context in contexts:
        context.close()
