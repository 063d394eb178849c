"""Advancing cohorts: an iterator of steps and failures. No storage, no printing, no planning.

A cohort is a small state machine that waits for one model at a time: the generator draws, the captioner describes,
and a finished iteration comes out. `advance` decides which cohort goes next; with every model loaded that is the first
unfinished one, and with fewer places than models all cohorts go through the loaded model before the next is loaded.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from loopsim import images
from loopsim.errors import DeviceLost, LoopsimError, RunFailed
from loopsim.models import captions
from loopsim.models.base import Caption, Captioner, Drawing, ImageGenerator, Pixels, RowFailure
from loopsim.records import EMPTY_CAPTION, Cohort, Failure, ModelSpec, Role, Setting, Step, Trajectory
from loopsim.seams import Seam, carry_on, control_seam
from loopsim.seeds import step_seed

Result = TypeVar("Result")
_LOST = (
    "device-side assert", "illegal memory access", "unspecified launch failure", "misaligned address",
    "illegal instruction", "uncorrectable ecc error", "the launch timed out", "cuda error: unknown error",
    "invalid program counter", "hardware stack error", "cublas_status_execution_failed",
    "cudnn_status_execution_failed",
)  # fmt: skip
"""What CUDA says when the context of the whole process is lost, in every call from then on."""


@dataclass(frozen=True)
class Settings:
    """What every cohort of a run shares."""

    seed: int
    """The experiment's seed."""
    independent: bool
    """Whether conditions have noise of their own."""
    image_format: str
    """Key of `images.FORMATS`."""
    iterations: int
    """Iterations after the start."""
    seam: Seam = carry_on
    """The plain loop unless something intervenes."""


@dataclass(frozen=True)
class Iteration:
    """What comes out: one iteration of one cohort."""

    cohort: Cohort
    """The cohort."""
    t: int
    """The iteration; a start's own t for the starts."""
    steps: tuple[Step, ...]
    """One step for each trajectory that lives, in plan order."""
    failures: tuple[Failure, ...]
    """What failed in this iteration."""


HELD_BYTES = 8 << 30
"""Where models take turns, no further cohort is drawn while drawn pictures of so many bytes wait to be described."""


class Models(Protocol):
    """Hands out loaded models; loading one may put another away."""

    def generator(self, spec: ModelSpec) -> ImageGenerator:
        """The loaded generator."""

    def captioner(self, spec: ModelSpec) -> Captioner:
        """The loaded captioner."""

    def loaded(self, spec: ModelSpec) -> bool:
        """Whether asking for it costs nothing."""


class CohortRun:
    """One cohort on its way.

    Args:
        cohort: the cohort.
        settings: what the run shares.
        last: the steps of its last stored iteration; none where it has not begun.
        failed: iteration at which a trajectory is known to fail, by id; there it leaves without being asked again.
        encoder: where pictures are encoded, off the critical path.
        until: the last iteration to be made, where that is not the run's.
    """

    def __init__(
        self, cohort: Cohort, settings: Settings, last: Sequence[Step], failed: Mapping[str, int], encoder: Executor,
        until: int | None = None,
    ) -> None:  # fmt: skip
        self.cohort, self.settings, self.encoder = cohort, settings, encoder
        self.members: dict[str, Trajectory] = {t.id: t for t in cohort.trajectories}
        self.control = cohort.trajectories[0].condition.control
        self.seam = settings.seam
        if self.control is not None:
            self.seam = control_seam(self.control, cohort.trajectories, settings.seed)
        self.t0 = cohort.trajectories[0].start.t0
        self.until = self.t0 + settings.iterations if until is None else until
        self.t = last[0].t if last else self.t0 - 1
        self.last: list[Step] = list(last)
        self._failed = failed
        self._leave()
        self._drawn: dict[str, tuple[Step, Pixels, Future[bytes]]] = {}
        self._failures: list[Failure] = []

    @property
    def done(self) -> bool:
        """Whether it has all its iterations, or nobody is left."""
        return not self.members or self.t >= self.until

    @property
    def held_bytes(self) -> int:
        """Of drawn pictures that have not been described yet."""
        return sum(pixels.nbytes for _, pixels, _ in self._drawn.values())

    @property
    def needs(self) -> ModelSpec | None:
        """The model it waits for; None where it can go on without one (text starts)."""
        generator, captioner = self.cohort.trajectories[0].condition.pair_at(self.t + 1)
        if self.t < self.t0:
            if all(t.start.kind == "text" for t in self.members.values()):
                return None
            return self.cohort.trajectories[0].condition.chain[-1]
        return captioner if self._drawn else generator

    def advance(self, models: Models) -> Iteration | None:
        """One half-step; an iteration when it is complete."""
        spec = self.needs
        if self.t < self.t0:
            return self._begin(None if spec is None else models.captioner(spec))
        assert spec is not None
        if spec.role == "generator":
            self._draw(models.generator(spec), spec)
            return None if self._drawn else self._finish([])
        return self._finish(self._describe(models.captioner(spec), spec))

    # ---- half-steps ----------------------------------------------------------------------------------------------

    def _begin(self, captioner: Captioner | None) -> Iteration:
        """The starts themselves: texts as they are, pictures described by the chain's last captioner."""
        steps: dict[str, Step] = {}
        for trajectory in self.members.values():
            blank = Step(trajectory.id, self.t0, None, None, trajectory.start.text, trajectory.id)
            if trajectory.start.image is None:
                steps[trajectory.id] = blank
                continue
            pixels = images.read(trajectory.start.image)
            self._drawn[trajectory.id] = self._encoded(replace(blank, flags=images.image_flags(pixels)), pixels)
        if self._drawn and captioner is not None:
            spec = self.cohort.trajectories[0].condition.chain[-1]
            steps |= {step.trajectory_id: step for step in self._describe(captioner, spec)}
        return self._finish([steps[i] for i in self.members if i in steps])

    def _draw(self, generator: ImageGenerator, spec: ModelSpec) -> None:
        t, prompts = self.t + 1, self.seam(self.last)
        rows = [(self.members[step.trajectory_id], prompts[step.trajectory_id]) for step in self.last]
        seeds = [self._seed(trajectory, t, "generator") for trajectory, _ in rows]

        before = self._pictures_to_vary()

        def call(which: list[int]) -> Sequence[Drawing | RowFailure]:
            made: dict[int, Drawing | RowFailure] = {}
            varied = [i for i in which if rows[i][0].id in before]
            plain = [i for i in which if rows[i][0].id not in before]
            if plain:
                texts, dealt = [rows[i][1].text for i in plain], [seeds[i] for i in plain]
                made |= zip(plain, generator.generate(texts, dealt, self._width), strict=True)
            if varied and self.control is not None:
                pictures = [before[rows[i][0].id] for i in varied]
                texts, dealt = [rows[i][1].text for i in varied], [seeds[i] for i in varied]
                drawn = generator.vary(pictures, texts, dealt, self.control.strength, self._width)
                made |= zip(varied, drawn, strict=True)
            return [made[i] for i in which]

        drawings = self._isolating(call, [trajectory for trajectory, _ in rows], spec)
        tokens = generator.count_tokens([prompt.text for _, prompt in rows])
        for i, drawing in drawings.items():
            (trajectory, prompt), n = rows[i], tokens[i]
            flags = (*images.image_flags(drawing.pixels), *drawing.flags)
            if n is not None and generator.token_limit is not None and n > generator.token_limit:
                flags += ("prompt_over_limit",)
            step = Step(
                trajectory.id, t, prompt.text, None, None, prompt.parent, generator_seed=seeds[i],
                generator_chunk=drawing.chunk, prompt_tokens=n, flags=flags, seconds=drawing.seconds,
                details=_with_details(None, "generator", drawing.details),
            )  # fmt: skip
            self._drawn[trajectory.id] = self._encoded(step, drawing.pixels)

    def _describe(self, captioner: Captioner, spec: ModelSpec) -> list[Step]:
        drawn = list(self._drawn.values())
        self._drawn = {}
        members = [self.members[step.trajectory_id] for step, _, _ in drawn]
        seeds = [self._seed(trajectory, self.t + 1, "captioner") for trajectory in members]

        def call(which: list[int]) -> Sequence[Caption | RowFailure]:
            return captioner.describe([drawn[i][1] for i in which], [seeds[i] for i in which], self._width)

        steps = []
        for i, caption in self._isolating(call, members, spec).items():
            step, _, encoded = drawn[i]
            text, flags, details = caption_text(caption, spec.settings, step.text_in)
            steps.append(
                replace(
                    step,
                    image=encoded.result(),
                    text=text,
                    flags=step.flags + flags,
                    captioner_seed=seeds[i],
                    captioner_chunk=caption.chunk,
                    caption_tokens=caption.tokens,
                    seconds=(step.seconds or 0.0) + caption.seconds,
                    details=_with_details(step.details, "captioner", details),
                )
            )
        return steps

    def _finish(self, steps: list[Step]) -> Iteration:
        self.t += 1
        # A seam of the caller's may look at pictures; the loop and its controls do not, and they are large.
        self.last = list(light(self.cohort, steps)) if self.settings.seam is carry_on else steps
        failures, self._failures = tuple(self._failures), []
        self._leave()
        return Iteration(self.cohort, self.t, tuple(steps), failures)

    def _leave(self) -> None:
        """Let those go who are known to fail at the next iteration."""
        self.members = {i: t for i, t in self.members.items() if self._failed.get(i, self.t + 2) > self.t + 1}
        self.last = [step for step in self.last if step.trajectory_id in self.members]

    # ---- helpers -------------------------------------------------------------------------------------------------

    def _pictures_to_vary(self) -> dict[str, Pixels]:
        """The last picture of each trajectory whose next one is made from it; the others draw from words."""
        if self.control is None or self.control.kind != "image_to_image":
            return {}
        return {step.trajectory_id: images.decode(step.image) for step in self.last if step.image is not None}

    @property
    def _width(self) -> int:
        # The planned number, not the living: a neighbour's failure must not change anyone's chunk shape.
        return len(self.cohort.trajectories)

    def _seed(self, trajectory: Trajectory, t: int, role: Role) -> int:
        return step_seed(trajectory, t, role, self.settings.seed, self.settings.independent)

    def _encoded(self, step: Step, pixels: Pixels) -> tuple[Step, Pixels, Future[bytes]]:
        """Hand a picture to the encoder; with a lossy format the captioner must see what the bytes give."""
        encoded = self.encoder.submit(images.encode, pixels, self.settings.image_format)
        if self.settings.image_format not in images.LOSSLESS:
            pixels = images.decode(encoded.result())
        return step, pixels, encoded

    def _refuse_lost_device(self, error: Exception, spec: ModelSpec) -> None:
        """Stop before every other row fails on a device that no call of this process can use any more."""
        if lost_device(error):
            first = str(error).strip().splitlines()[0][:200]
            raise DeviceLost(
                f"{spec.role} {spec.model}, cohort {self.cohort.id}, iteration {self.t + 1}: {first}\n"
                "  This process cannot use the device any more. What is stored is whole; run the same command again.",
                traceback.format_exc(),
            ) from error

    def _isolating(
        self, call: Callable[[list[int]], Sequence[Result | RowFailure]], members: Sequence[Trajectory], spec: ModelSpec
    ) -> dict[int, Result]:
        """All rows in one call; where that raises, row by row, so that only those at fault fail."""
        try:
            rows = dict(enumerate(call(list(range(len(members))))))
        except LoopsimError:  # a refused key, a budget that is spent: no row's fault
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model raises is a record, not the end of the run
            self._refuse_lost_device(error, spec)
            rows = {i: _one(call, i) for i in range(len(members))}
            for row in rows.values():
                if isinstance(row, _Raised):
                    self._refuse_lost_device(RuntimeError(row.message), spec)
        failed = {i: row for i, row in rows.items() if isinstance(row, RowFailure)}
        for i, row in failed.items():
            trajectory = members[i]
            trace = row.traceback if isinstance(row, _Raised) else ""
            self._failures.append(Failure(trajectory.id, self.t + 1, spec.role, spec.model, row.message, trace))
            del self.members[trajectory.id]
        if len(members) > 1 and len(failed) == len(members) and not all(row.refused for row in failed.values()):
            # Recording these would shut every trajectory out for good over a full GPU or a broken file.
            raise RunFailed(
                f"{spec.role} {spec.model} failed for all {len(members)} trajectories of cohort {self.cohort.id} at "
                f"iteration {self.t + 1}, so the fault is hardly a prompt's: {self._failures[-1].message}\n"
                "  What is stored is whole; mend the cause and run the same command again (traceback: log.jsonl).",
                self._failures[-1].traceback,
            )
        return {i: row for i, row in rows.items() if not isinstance(row, RowFailure)}


def lost_device(error: BaseException) -> bool:
    """Whether an error says that the process cannot use its device any more."""
    return any(sign in str(error).lower() for sign in _LOST)


@dataclass(frozen=True)
class _Raised(RowFailure):
    """A row whose call raised."""

    traceback: str = ""


def _one(call: Callable[[list[int]], Sequence[Result | RowFailure]], i: int) -> Result | RowFailure:
    try:
        return call([i])[0]
    except LoopsimError:
        raise
    except Exception as error:  # noqa: BLE001 - as in `_isolating`
        return _Raised(f"{type(error).__name__}: {error}", traceback=traceback.format_exc())


def _with_details(before: str | None, role: Role, details: Mapping[str, object] | None) -> str | None:
    """A step's details with those of one more role."""
    if not details:
        return before
    known = json.loads(before) if before else {}
    return json.dumps({**known, role: dict(details)}, ensure_ascii=False, sort_keys=True)


def caption_text(
    caption: Caption, settings: Mapping[str, Setting], prompt: str | None
) -> tuple[str, tuple[str, ...], Mapping[str, object] | None]:
    """What is stored and drawn next for a caption, its flags, and its details.

    Facts that a structured captioner gives are rendered into a text, and kept with the raw answer in the details; an
    answer that has no such facts is a caption like any other, and flagged.
    """
    flags: tuple[str, ...] = ("caption_truncated",) if caption.truncated else ()
    text, details = caption.text, caption.details
    if keys := captions.keys_of(settings.get("structured")):
        facts = captions.read_facts(text, keys)
        if facts is None:
            flags += ("not_structured",)
        else:
            text, details = captions.render_facts(facts), {**(details or {}), "facts": facts, "raw": text}
    if limit := settings.get("max_words"):
        text, cut = captions.fit_words(text, int(limit))
        flags += ("words_cut",) * cut
    if not text.split():
        return EMPTY_CAPTION, (*flags, "empty_caption"), details
    return text, flags + (("repeat",) if text == prompt else ()), details


def light(cohort: Cohort, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Steps without their pictures, which are large and which only one control goes on from."""
    return tuple(steps) if keeps_pictures(cohort) else tuple(replace(step, image=None) for step in steps)


def keeps_pictures(cohort: Cohort) -> bool:
    """Whether the next pictures of a cohort are made from its last ones."""
    control = cohort.trajectories[0].condition.control
    return control is not None and control.kind == "image_to_image"


def advance(runs: Sequence[CohortRun], models: Models) -> Iterator[Iteration]:
    """Carry cohorts to their end, yielding every iteration as it is complete."""
    waiting = [run for run in runs if not run.done]
    while waiting:
        held = [run for run in waiting if run.held_bytes]
        full = sum(run.held_bytes for run in held) > HELD_BYTES
        # The first whose model is at hand; with room for every model that is simply the first.
        among = held if full else waiting
        run = next((r for r in among if r.needs is None or models.loaded(r.needs)), among[0])
        iteration = run.advance(models)
        if iteration is not None:
            yield iteration
        if run.done:
            waiting.remove(run)
