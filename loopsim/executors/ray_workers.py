"""What runs on a cluster: actors that hold the models. Plain classes; only the driver makes actors of them."""

from __future__ import annotations

import os
import socket
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loopsim.engine import lost_device
from loopsim.executors.ray_cluster import cause
from loopsim.executors.slices import Broken, CaptionerLost, Done, Task, do_slice, encoders
from loopsim.models.base import Caption, Captioner, Drawing, ImageGenerator, Pixels, RowFailure
from loopsim.models.pool import ModelPool
from loopsim.models.revisions import Commits
from loopsim.records import ModelSpec
from loopsim.store import Run, open_run


@dataclass(frozen=True)
class Setup:
    """What every actor begins with."""

    path: str
    """The run directory, absolute."""
    token: str
    """Name of a file that the driver has put there: who sees it shares its file system."""
    threads: int
    """CPU threads of a call."""
    device: str
    """For the models."""
    commits: Commits
    """Commits that the run's hub models are pinned to."""
    driver_writes: bool
    """Whether the driver is to store everything, shared file system or not."""
    slice_seconds: float
    """About how long a slice takes."""


@dataclass(frozen=True)
class Hello:
    """What an actor says when it is up."""

    node: str
    """Host name."""
    pid: int
    """Its process there."""
    shared: bool
    """Whether it stores what it makes itself."""
    pinned: Mapping[str, object]
    """What was pinned that could change bytes."""


@dataclass(frozen=True)
class Answer:
    """What comes back for a slice."""

    outcome: Done | Broken
    """What became of it."""
    lines: tuple[str, ...]
    """What a user should read, such as which model was loaded."""


@dataclass(frozen=True)
class Raised:
    """An exception of a model, carried to where it is wanted."""

    error: Exception
    """The exception."""


class _Actor:
    """What both kinds of actor share."""

    def __init__(self, setup: Setup) -> None:
        from loopsim.models import torch_setup

        self.setup = setup
        self.lines: list[str] = []
        self.pinned = torch_setup.pin(setup.threads)
        self.pool = ModelPool(setup.device, on_load=self.lines.append)
        self.pool.commits = setup.commits

    def hello(self) -> Hello:
        """That it is up, and where."""
        shared = not self.setup.driver_writes and (Path(self.setup.path) / self.setup.token).exists()
        return Hello(socket.gethostname(), os.getpid(), shared, self.pinned)


class Worker(_Actor):
    """Carries cohorts on, a slice at a time."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._turn = threading.Lock()
        self._run: Run | None = None

    def hello(self) -> Hello:
        """That it is up, and where; from then on it knows whether it stores."""
        hello = super().hello()
        if hello.shared:
            self._run = open_run(self.setup.path)
        return hello

    def carry(self, task: Task, captioner: Any = None) -> Answer:
        """Do a slice.

        Args:
            task: the slice.
            captioner: an actor that describes for several workers; None where the worker has its own.
        """
        apart = None if captioner is None else Apart(self.pool, captioner, self._turn)
        with encoders() as encoder:
            outcome = do_slice(task, apart or self.pool, encoder, self._run, self.setup.slice_seconds)
        if isinstance(outcome, Broken) and apart is not None and apart.raised:
            outcome = replace(outcome, shared=True)
        lines, self.lines[:] = tuple(self.lines), []
        return Answer(outcome, lines)


class Describer(_Actor):
    """Describes for several workers, one call after the other."""

    def describe(
        self, spec: ModelSpec, images: Sequence[Pixels], seeds: Sequence[int], width: int | None
    ) -> Sequence[Caption | RowFailure] | Raised:
        """Describe pictures; what the model raises is handed back, for the rows are isolated where the cohort is."""
        try:
            # Pictures from the object store may not be written to, and some processors do.
            return list(self.pool.captioner(spec).describe([image.copy() for image in images], seeds, width))
        except Exception as error:  # noqa: BLE001 - raised again in the worker
            return Raised(_portable(error))


def _portable(error: Exception) -> Exception:
    """An exception that can cross to another process."""
    from ray import cloudpickle

    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # noqa: BLE001 - some exceptions cannot be made again from their arguments
        return RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return error


class Apart:
    """Models where the generator is here, and the captioner in an actor of its own.

    Args:
        pool: the models here.
        captioner: the actor.
        turn: held while the generator is at work: two cohorts take turns, one is drawn while the other is described.

    Attributes:
        raised: whether the captioner's last call failed.
    """

    def __init__(self, pool: ModelPool, captioner: Any, turn: threading.Lock) -> None:
        self.pool, self._captioner, self._turn = pool, captioner, turn
        self.raised = False

    def generator(self, spec: ModelSpec) -> ImageGenerator:
        """The generator, in turns; what the captioner did before is no longer to blame for what comes."""
        self.raised = False
        return InTurn(self.pool, spec, self._turn)

    def captioner(self, spec: ModelSpec) -> Captioner:
        """The captioner, elsewhere."""
        return RemoteCaptioner(self._captioner, spec, self._note)

    def _note(self, raised: bool) -> None:
        self.raised = raised

    def loaded(self, spec: ModelSpec) -> bool:
        """Whether asking for it costs nothing: there is one cohort only, so nothing would be gained by waiting."""
        return True


class InTurn(ImageGenerator):
    """A generator that two threads use, set to a spec for each call."""

    def __init__(self, pool: ModelPool, spec: ModelSpec, turn: threading.Lock) -> None:
        self.settings = spec.settings
        self._pool, self._spec, self._turn = pool, spec, turn
        with turn:
            self.token_limit = pool.generator(spec).token_limit

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], width: int | None = None
    ) -> Sequence[Drawing | RowFailure]:
        """Draw each prompt."""
        with self._turn:
            return self._pool.generator(self._spec).generate(prompts, seeds, width)

    def vary(
        self, images: Sequence[Pixels], prompts: Sequence[str], seeds: Sequence[int], strength: float,
        width: int | None = None,
    ) -> Sequence[Drawing | RowFailure]:  # fmt: skip
        """Make a picture from each picture."""
        with self._turn:
            return self._pool.generator(self._spec).vary(images, prompts, seeds, strength, width)

    def count_tokens(self, prompts: Sequence[str]) -> list[int | None]:
        """Tokens of each prompt."""
        with self._turn:
            return self._pool.generator(self._spec).count_tokens(prompts)

    def describe_settings(self) -> dict[str, object]:
        """As of the generator."""
        with self._turn:
            return self._pool.generator(self._spec).describe_settings()


class RemoteCaptioner(Captioner):
    """A captioner in an actor that several workers share.

    Args:
        actor: the actor.
        spec: the model.
        note: told after each call whether it raised.
    """

    def __init__(self, actor: Any, spec: ModelSpec, note: Callable[[bool], None]) -> None:
        self.settings = spec.settings
        self._actor, self._spec, self._note = actor, spec, note

    def describe(
        self, images: Sequence[Pixels], seeds: Sequence[int], width: int | None = None
    ) -> Sequence[Caption | RowFailure]:
        """Describe each picture.

        Raises:
            CaptionerLost: the actor has died, or lost its device.
        """
        import ray

        try:
            answer = ray.get(self._actor.describe.remote(self._spec, list(images), list(seeds), width))
        except ray.exceptions.RayError as error:
            raise CaptionerLost(f"the shared captioner is gone: {cause(error)}") from error
        self._note(isinstance(answer, Raised))
        if isinstance(answer, Raised):
            if lost_device(answer.error):
                raise CaptionerLost(f"the shared captioner has lost its device: {answer.error}") from answer.error
            raise answer.error
        found: Sequence[Caption | RowFailure] = answer
        return found

    def describe_settings(self) -> dict[str, object]:
        """It is elsewhere."""
        return {"actor": repr(self._actor)}
