"""A headless Chromium for the tests of pages: found on this system, never downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
FLAGS = (
    "--no-sandbox",  # containers run the tests as root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
DESKTOP, PHONE = (1280, 800), (390, 844)
"""Sizes that every page must be usable at, in CSS pixels."""


def find_browser() -> str | None:
    """The path of a Chromium that starts: what LOOPSIM_CHROMIUM names, or one of `NAMES`."""
    given = os.environ.get("LOOPSIM_CHROMIUM")
    for name in (given,) if given else NAMES:
        path = shutil.which(name)
        # Ubuntu has a `chromium-browser` that only says that it wants a snap.
        if path and subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0:
            return path
    return None


@dataclass
class Visit:
    """A page that was opened, and what it did besides showing itself."""

    page: Any
    """Playwright's page."""
    errors: list[str] = field(default_factory=list)
    """Console errors and warnings, uncaught exceptions, and requests that failed."""
    requests: list[str] = field(default_factory=list)
    """Every address asked for, in order."""
    downloads: list[str] = field(default_factory=list)
    """Names of files that the page offered to save."""

    def outside(self, base: str = "file://") -> list[str]:
        """Requests to anything but `base` and what is inside the page."""
        return [url for url in self.requests if not url.startswith((base, "data:", "blob:"))]

    def assert_quiet(self, base: str = "file://") -> None:
        """No console error, no exception, and no request to anywhere but `base`."""
        assert self.errors == []
        assert self.outside(base) == []


Visitor = Callable[..., Visit]
"""`visit(where, size=DESKTOP, dark=False, **context)`: opens an address or a file in a fresh context."""


def watch(page: Any) -> Visit:
    """Record what a page does from now on."""
    visit = Visit(page)
    page.on(
        "console",
        lambda message: visit.errors.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("requestfailed", lambda request: visit.errors.append(f"{request.url}: {request.failure}"))
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("download", lambda download: visit.downloads.append(download.suggested_filename))
    return visit
