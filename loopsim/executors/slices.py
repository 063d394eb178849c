"""The unit of work of a cluster: a cohort for a few seconds, from one stored iteration to another.

A slice needs nothing but what is in its task, and doing it twice gives the same bytes: so whoever loses a worker gives
its slice to another one.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from loopsim.engine import CohortRun, Iteration, Models, Settings, light, lost_device
from loopsim.errors import DeviceLost, LoopsimError, ModelError, RunFailed, StoreError
from loopsim.executors.base import Advanced
from loopsim.executors.batch import Batch, picture_bytes
from loopsim.records import Cohort, Step, Trajectory
from loopsim.seams import carry_on
from loopsim.store import Run

SLICE_SECONDS = 5.0
"""A slice ends with the first iteration after so long: what a lost worker loses."""
SLICE_BYTES = 64 << 20
"""… or after so many bytes of pictures."""


class CaptionerLost(LoopsimError):
    """The captioner that several generators share has died, or lost its device."""


@dataclass(frozen=True)
class Task:
    """A slice to be done."""

    cohort: Cohort
    """The cohort."""
    settings: Settings
    """What every cohort shares."""
    last: tuple[Step, ...]
    """The steps of the iteration before; none where the starts are to be made. Pictures are left out if not needed."""
    failed: Mapping[str, int]
    """Trajectories that failed, with the iteration."""
    until: int
    """The last iteration wanted."""
    pictures: Mapping[str, bytes]
    """Start id to the picture's file, where the starts are to be made."""


@dataclass(frozen=True)
class Done:
    """A slice that was done."""

    advanced: tuple[Advanced, ...]
    """Its iterations, as numbers."""
    last: tuple[Step, ...]
    """The steps of the last one."""
    failed: Mapping[str, int]
    """Trajectories that failed in it, with the iteration."""
    made: tuple[Iteration, ...]
    """Its iterations themselves where the worker could not store them; none where it has."""
    models: tuple[Mapping[str, object], ...] = ()
    """What each loaded model pinned."""


@dataclass(frozen=True)
class Broken:
    """A slice that was not done."""

    what: Literal["device", "captioner", "model", "store", "all", "bug"]
    """The device is lost; the shared captioner is; a model cannot be loaded; the disk refuses; every trajectory failed;
    anything else."""
    message: str
    """What happened."""
    details: str
    """The traceback."""
    shared: bool = False
    """Whether it was the shared captioner that failed."""


def do_slice(
    task: Task, models: Models, encoder: Executor, run: Run | None, seconds: float = SLICE_SECONDS
) -> Done | Broken:
    """Carry a cohort on for a while.

    Args:
        task: what is to be done.
        models: the loaded models.
        encoder: where pictures are encoded.
        run: where the iterations are stored; None hands them back.
        seconds: about how long.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="loopsim-") as folder:
            return _do(_with_pictures(task, Path(folder)), models, encoder, run, seconds)
    except CaptionerLost as error:
        return Broken("captioner", str(error), traceback.format_exc())
    except DeviceLost as error:
        return Broken("device", str(error), error.details)
    except RunFailed as error:
        return Broken("all", str(error), error.details)
    except ModelError as error:
        return Broken("model", str(error), traceback.format_exc())
    except StoreError as error:
        return Broken("store", str(error), traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - a value can cross to another process, an exception perhaps not
        what: Literal["device", "bug"] = "device" if lost_device(error) else "bug"
        return Broken(what, f"{type(error).__name__}: {error}", traceback.format_exc())


def _do(task: Task, models: Models, encoder: Executor, run: Run | None, seconds: float) -> Done:
    began, size = time.monotonic(), 0
    cohort = CohortRun(task.cohort, task.settings, task.last, task.failed, encoder, task.until)
    made: list[Iteration] = []
    while not cohort.done and (not made or (time.monotonic() - began < seconds and size < SLICE_BYTES)):
        iteration = None
        while iteration is None:  # what is drawn is described too, or drawing it would have been in vain
            iteration = cohort.advance(models)
        made.append(iteration)
        size += picture_bytes(iteration)
    if run is not None:
        batch = Batch(run, once=True)
        for iteration in made:
            batch.add(iteration)
        batch.flush()
    failed = {failure.trajectory_id: failure.t for iteration in made for failure in iteration.failures}
    counts = tuple(Advanced(i.cohort, i.t, len(i.steps), i.failures) for i in made)
    last = made[-1].steps if made else task.last
    kept = light(task.cohort, last) if task.settings.seam is carry_on else last
    return Done(counts, kept, failed, () if run is not None else tuple(made))


def start_pictures(cohort: Cohort) -> dict[str, bytes]:
    """The pictures that a cohort begins with, by start id."""
    starts = {t.start.id: t.start.image for t in cohort.trajectories}
    return {start: image.read_bytes() for start, image in starts.items() if image is not None}


def _with_pictures(task: Task, folder: Path) -> Task:
    """The task with its start pictures as files of this machine."""
    if not task.pictures:
        return task
    for start, picture in task.pictures.items():
        (folder / start).write_bytes(picture)

    def here(trajectory: Trajectory) -> Trajectory:
        return replace(trajectory, start=replace(trajectory.start, image=folder / trajectory.start.id))

    members = tuple(here(t) if t.start.id in task.pictures else t for t in task.cohort.trajectories)
    return replace(task, cohort=replace(task.cohort, trajectories=members))


def encoders() -> ThreadPoolExecutor:
    """Threads that encode pictures while models are at work."""
    return ThreadPoolExecutor(2, thread_name_prefix="loopsim-encode")
