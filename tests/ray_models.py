"""What the workers of the cluster tests are made to do: be slow, lose their device, fail, see nothing."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

FOLDER = "LOOPSIM_TEST_FAULTS"
"""Environment variable: a folder whose files say what goes wrong.

`poison`: whoever draws first has lost its device; `always`: nobody draws; `mute`: whoever describes first never does;
`blind`: who comes up first does not see the run directory; `hold`: who would draw waits until it is gone, a minute or
two at most; `slow`: a picture takes long.
"""


def prepare() -> None:
    """Run in every worker process when it begins."""
    from loopsim.executors import ray_workers
    from loopsim.models import mock

    draw, lost = mock.MockGenerator._draw, []
    folder = Path(os.environ[FOLDER])

    def faulty(self: mock.MockGenerator, prompt: str, seed: int) -> object:
        time.sleep(0.1 if (folder / "slow").exists() else 0.004)
        end = time.monotonic() + 120
        while (folder / "hold").exists() and time.monotonic() < end:
            time.sleep(0.01)
        if (folder / "always").exists():
            raise RuntimeError("the weights are broken")
        if (folder / "poison").exists():
            (folder / "poison").unlink()
            lost.append(True)
        if lost:  # as CUDA does: every later call of the process fails too
            raise RuntimeError("CUDA error: device-side assert triggered")
        return draw(self, prompt, seed)

    mock.MockGenerator._draw = faulty  # type: ignore[assignment, method-assign]

    describe, mute = mock.MockCaptioner.describe, []

    def silent(self: mock.MockCaptioner, *given: Any, **more: Any) -> object:
        if took("mute"):
            mute.append(True)
        if mute:
            raise RuntimeError("CUDA out of memory")
        return describe(self, *given, **more)

    mock.MockCaptioner.describe = silent  # type: ignore[method-assign]

    hello = ray_workers._Actor.hello

    def blind(self: ray_workers._Actor) -> ray_workers.Hello:
        if took("blind"):
            self.setup = replace(self.setup, path="/nowhere")
        return hello(self)

    ray_workers._Actor.hello = blind  # type: ignore[method-assign]

    def took(name: str) -> bool:
        """Whether this process is the first to find such a file."""
        try:
            (folder / name).unlink()
        except FileNotFoundError:
            return False
        return True
