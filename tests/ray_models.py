"""What the workers of the cluster tests are made to do: be slow, lose their device once, fail always."""

from __future__ import annotations

import os
import time
from pathlib import Path

FOLDER = "LOOPSIM_TEST_FAULTS"
"""Environment variable: a folder whose files say what goes wrong (`poison`: once, on whoever draws first; `always`)."""


def prepare() -> None:
    """Run in every worker process when it begins."""
    from loopsim.models import mock

    draw, lost = mock.MockGenerator._draw, []
    folder = Path(os.environ[FOLDER])

    def faulty(self: mock.MockGenerator, prompt: str, seed: int) -> object:
        time.sleep(0.004)
        if (folder / "always").exists():
            raise RuntimeError("the weights are broken")
        if (folder / "poison").exists():
            (folder / "poison").unlink()
            lost.append(True)
        if lost:  # as CUDA does: every later call of the process fails too
            raise RuntimeError("CUDA error: device-side assert triggered")
        return draw(self, prompt, seed)

    mock.MockGenerator._draw = faulty  # type: ignore[assignment, method-assign]
