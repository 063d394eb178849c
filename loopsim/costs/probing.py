"""Measuring a plan's models on this machine: a step or two of each, and nothing stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from loopsim import images, models
from loopsim.costs.counting import weights_key, works_of
from loopsim.costs.pricing import needs_service
from loopsim.costs.records import Probe, Rate, Work
from loopsim.errors import LoopsimError, UsageError
from loopsim.models.base import Caption, Captioner, Drawing, ImageGenerator, Pixels, RowFailure
from loopsim.models.check import device_memory, scene
from loopsim.models.pool import ModelPool
from loopsim.plan import Plan
from loopsim.provenance import usable_cpus
from loopsim.records import ModelSpec

PROMPT = "two boats by the sea at sunset"
"""What is drawn where the experiment has no text starts."""
HERE = "measured here"
_VECTORS = 32
"""Rows of a call to an embedder."""
_STEPS = 2
"""The first warms up, the last is timed."""

Watcher = Callable[[str], None]


@dataclass
class _Found:
    """What has been measured so far."""

    rates: dict[str, Rate] = field(default_factory=dict)
    picture_bytes: dict[str, float] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    load_seconds: dict[str, float] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)


def probe_plan(plan: Plan, device: str = "auto", watch: Watcher | None = None) -> Probe:
    """Run two steps of each model of a plan on this machine, at the plan's batch, and time the second.

    Hosted models are left out, since they cost money; a model that cannot be loaded or run is, with the reason.

    Args:
        plan: what is to be run.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        watch: called with a line about what is being measured.

    Raises:
        UsageError: every model failed, so nothing was measured.
    """
    from loopsim.models import torch_setup

    threads = usable_cpus()
    torch_setup.pin(threads)
    name = device_memory(device)
    hardware = f"{name}, {threads} threads" if name == "cpu" else name
    pool, found = ModelPool(device, on_load=watch), _Found()
    prompt = next((start.text for start in plan.starts if start.text), PROMPT)
    width = max(len(cohort.trajectories) for cohort in plan.cohorts)
    works = works_of(plan)
    pictures: dict[str, Pixels] = {}
    for work in works:
        if work.spec is None:
            continue
        if needs_service(work):
            found.not_measured[work.key] = "a service, which would charge for it"
            continue
        _say(watch, f"measuring {work.name}")
        try:
            _timed(pool, work, work.spec, found, hardware, (prompt, pictures, width))
        except Exception as error:  # noqa: BLE001 - whatever one model raises, the others are measured
            found.not_measured[work.key] = _why(error)
    for work in works:
        if work.spec is not None:
            continue
        try:
            _embedder(work, device, next(iter(pictures.values()), None), prompt, found, hardware, watch)
        except Exception as error:  # noqa: BLE001 - as above
            found.not_measured[work.key] = _why(error)
    if not found.rates:
        raise UsageError(f"--probe: nothing could be measured here: {next(iter(found.not_measured.values()))}")
    _encoded(plan, pictures, found)
    return Probe(
        hardware, found.rates, found.picture_bytes, found.widths, found.load_seconds, pool.room is None,
        found.not_measured,
    )  # fmt: skip


def _say(watch: Watcher | None, line: str) -> None:
    if watch is not None:
        watch(line)


def _why(error: Exception) -> str:
    """The first line of what an error says; one that is no message of ours is named by its type."""
    said = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, LoopsimError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _timed(
    pool: ModelPool, work: Work, spec: ModelSpec, found: _Found, hardware: str,
    given: tuple[str, dict[str, Pixels], int],
) -> None:  # fmt: skip
    """Two steps of one model; one row is asked for, and padded to the chunk that a whole cohort would have."""
    prompt, pictures, width = given
    started = time.perf_counter()
    model: ImageGenerator | Captioner = pool.generator(spec) if spec.role == "generator" else pool.captioner(spec)
    found.load_seconds.setdefault(weights_key(spec), time.perf_counter() - started)
    seconds, chunk = 0.0, 1
    for step in range(_STEPS):
        began = time.perf_counter()
        row: Drawing | Caption | RowFailure
        if isinstance(model, ImageGenerator):
            (row,) = model.generate([prompt], [step], width)
        else:
            (row,) = model.describe([next(iter(pictures.values()), scene())], [step], width)
        seconds = time.perf_counter() - began
        if isinstance(row, RowFailure):
            raise UsageError(row.message)
        chunk = row.chunk or 1
        if isinstance(row, Drawing):
            pictures[work.key] = row.pixels
    found.rates[work.key] = Rate(seconds / chunk, hardware, chunk, HERE)


def _embedder(
    work: Work, device: str, picture: Pixels | None, text: str, found: _Found, hardware: str, watch: Watcher | None
) -> None:
    if work.unit == "embeddings of pictures" and picture is None:
        found.not_measured[work.key] = "there is no picture to embed: no generator could be run here"
        return
    _say(watch, f"measuring embedder {work.model}, {work.unit}")
    model = models.load_embedder(work.model, device)
    seconds = 0.0
    for _ in range(_STEPS):
        began = time.perf_counter()
        if work.unit == "embeddings of pictures" and picture is not None:
            vectors = model.embed_images([picture] * _VECTORS)
        else:
            vectors = model.embed_texts([f"{text} {k}" for k in range(_VECTORS)])
        seconds = time.perf_counter() - began
    found.widths[work.model] = int(vectors.shape[1])
    found.rates[work.key] = Rate(seconds / _VECTORS, hardware, _VECTORS, HERE)


def _encoded(plan: Plan, pictures: dict[str, Pixels], found: _Found) -> None:
    for key, pixels in pictures.items():
        found.picture_bytes[key] = len(images.encode(pixels, plan.experiment.image_format))
