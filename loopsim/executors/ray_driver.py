"""Carrying cohorts on over a Ray cluster: who does what, and what becomes of what a lost worker was doing."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loopsim import provenance
from loopsim.engine import light
from loopsim.errors import ModelError, RunFailed, StoreError
from loopsim.executors.base import Advanced, Job
from loopsim.executors.batch import Batch
from loopsim.executors.ray_cluster import RayOptions, connected, workers_for
from loopsim.executors.ray_workers import Answer, Describer, Hello, Setup, Worker
from loopsim.executors.slices import Broken, Done, Task, start_pictures
from loopsim.executors.work import Key, Work
from loopsim.records import Cohort, Step
from loopsim.store.spans import missing

_TOKEN = ".cluster-"
_SAME_FAULT = 2
"""Attempts where a model fails for every trajectory: once more on whatever worker comes, since it may be a device's."""


class RayExecutor:
    """Workers of a Ray cluster; the driver hands out slices and owns every retry.

    Args:
        options: how the cluster is used.
        device: for the models.
        say: called with lines for the user.
    """

    def __init__(
        self, options: RayOptions | None = None, device: str = "auto", say: Callable[[str], None] | None = None
    ) -> None:
        self.options, self.device = options or RayOptions(), device
        self.say: Callable[[str], None] = (lambda line: None) if say is None else say
        self._models: list[dict[str, object]] = []

    def carry(self, job: Job) -> Generator[Advanced, None, None]:
        """Make what a job asks for.

        Raises:
            RunFailed: cohorts were given up; the others are done, and what was made of these is stored.
        """
        with connected(self.options):
            driver = _Driver(self, job)
            try:
                yield from driver.carry()
            finally:
                driver.close()
                self._models = driver.described()
        if driver.work.given_up:
            given_up = sorted(driver.work.given_up.items())
            lines = [f"  cohort {cohort}: {text.splitlines()[0]}" for (cohort, _), text in given_up]
            more = [f"  … and {len(lines) - 5} more"] if len(lines) > 5 else []
            raise RunFailed(
                "\n".join([f"{len(lines)} cohorts were given up:", *lines[:5], *more])
                + "\n  What is stored is whole; mend the cause and run the same command again (tracebacks: log.jsonl)."
            )

    def described(self) -> list[dict[str, object]]:
        """Every worker that there was: its machine and what was pinned."""
        return self._models


@dataclass
class _Place:
    """An actor, up or on its way."""

    actor: Any
    hello: Any
    """The reference that its greeting comes by, until it has come."""
    begun: float
    greeting: Hello | None = None
    busy: set[Key] = field(default_factory=set)
    chain: str | None = None


class _Driver:
    """One run of the executor."""

    def __init__(self, executor: RayExecutor, job: Job) -> None:
        import ray

        self.ray, self.job, self.options, self.say = ray, job, executor.options, executor.say
        self.work = Work(job.spans, self.options.attempts, self.options.backoff)
        for token in job.run.path.glob(f"{_TOKEN}*"):  # of drivers that were killed
            token.unlink(missing_ok=True)
        self.token = job.run.path / f"{_TOKEN}{secrets.token_hex(8)}"
        self.token.write_bytes(b"")
        self.setup = Setup(
            str(job.run.path.absolute()), self.token.name, job.threads, executor.device,
            dict(provenance.commits_in(job.run.manifest)), self.options.driver_writes, self.options.slice_seconds,
        )  # fmt: skip
        self.batch = Batch(job.run, once=True)
        self.slots = 2  # the next slice waits at the worker, so that it never waits for us
        total = ray.cluster_resources()
        self.gpus = (1.0 if total.get("GPU") else 0.0) if self.options.gpus is None else self.options.gpus
        count = workers_for(self.options, total, self.gpus, len(job.spans))
        self.workers: list[_Place] = []
        self.describers: list[_Place] = []
        self.running: dict[Any, tuple[_Place, Key]] = {}
        self.wanted_at: list[float] = [0.0] * count
        """When further workers are to be made."""
        self.lost = 0
        self.seen: list[dict[str, object]] = []
        self.alone_since = time.monotonic()
        self.greeted = 0

    # ---- the loop ------------------------------------------------------------------------------------------------

    def carry(self) -> Iterator[Advanced]:
        """Hand out slices until nothing is left."""
        self.describers = [self._place(Describer, 1) for _ in range(self.options.captioners)]
        while not self.work.finished:
            now = time.monotonic()
            self._make_workers(now)
            self._hand_out(now)
            waiting = [*self.running, *(p.hello for p in (*self.workers, *self.describers) if p.hello is not None)]
            if not waiting:
                time.sleep(min(0.5, max(0.01, self.work.waits(now))))
                continue
            ready, _ = self.ray.wait(waiting, num_returns=1, timeout=0.5)
            for reference in ready:
                if reference in self.running:
                    yield from self._finished(reference)
                else:
                    self._greeted(reference)
            self._check_patience()

    def _make_workers(self, now: float) -> None:
        due = [at for at in self.wanted_at if at <= now]
        self.wanted_at = [at for at in self.wanted_at if at > now]
        self.workers += [self._place(Worker, self.slots if self.options.captioners else 1) for _ in due]

    def _place(self, kind: type, threads: int) -> _Place:
        actor = self.ray.remote(kind).options(
            num_cpus=self.options.cpus, num_gpus=self.gpus, max_restarts=0, max_task_retries=0, max_concurrency=threads
        ).remote(self.setup)  # fmt: skip
        return _Place(actor, actor.hello.remote(), time.monotonic())

    def _hand_out(self, now: float) -> None:
        if any(place.greeting is None for place in self.describers):
            return
        for depth in range(self.slots):
            for place in self.workers:
                if place.greeting is None or len(place.busy) != depth:
                    continue
                key = self.work.take(now, place.chain)
                if key is None:
                    return
                place.busy.add(key)
                place.chain = self.work.chain(key)
                describer = self._describer(key)
                self.running[place.actor.carry.remote(self._task(key), describer)] = (place, key)

    def _describer(self, key: Key) -> Any:
        return self.describers[hash(key) % len(self.describers)].actor if self.describers else None

    def _task(self, key: Key) -> Task:
        cohort, last, failed = self.work.state(key)
        pictures = {} if last else start_pictures(cohort)
        return Task(cohort, self.job.settings, light(cohort, last), dict(failed), key[1], pictures)

    # ---- what comes back -----------------------------------------------------------------------------------------

    def _greeted(self, reference: Any) -> None:
        place = next(p for p in (*self.workers, *self.describers) if p.hello is reference)
        try:
            place.greeting = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._lose(place, f"a worker could not begin: {_first_line(error)}")
            self.greeted -= 1
            if self.greeted <= -self.options.attempts:
                raise RunFailed(f"no worker could begin: {_first_line(error)}", str(error)) from error
            return
        place.hello = None
        self.greeted = 0
        greeting = place.greeting
        what = "worker" if place in self.workers else "captioner"
        entry = {"node": greeting.node, "process": greeting.pid, "stores": greeting.shared, "pinned": greeting.pinned}
        self.seen.append({what: entry})
        self.say(f"{what} {greeting.pid} on {greeting.node} is up" + ("" if greeting.shared else "; the driver stores"))

    def _finished(self, reference: Any) -> Iterator[Advanced]:
        place, key = self.running.pop(reference)
        place.busy.discard(key)
        try:
            answer: Answer = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._lose(place, f"a worker was lost: {_first_line(error)}")
            yield from self._again(key, f"its worker was lost: {_first_line(error)}", str(error))
            return
        for line in answer.lines:
            self.say(line)
        outcome = answer.outcome
        if isinstance(outcome, Done):
            for iteration in outcome.made:
                self.batch.add(iteration)
            self.batch.flush()
            self.work.advanced(key, outcome.last, outcome.failed)
            yield from outcome.advanced
            return
        yield from self._broken(place, key, outcome)

    def _broken(self, place: _Place, key: Key, broken: Broken) -> Iterator[Advanced]:
        if broken.what == "model":
            raise ModelError(broken.message)
        if broken.what == "store":
            raise StoreError(broken.message)
        if broken.what == "device":
            self._lose(place, broken.message)
        if broken.what == "captioner":
            self._replace_describer(key, broken.message)
        most = _SAME_FAULT if broken.what in ("all", "bug") else None
        yield from self._again(key, broken.message, broken.details, most)

    def _again(self, key: Key, message: str, details: str, most: int | None = None) -> Iterator[Advanced]:
        """Take up a span where it is stored, which may be further than anybody has told us."""
        cohort, last, failed = self.work.state(key)
        run, before = self.job.run, last[0].t if last else cohort.trajectories[0].start.t0 - 1
        left = missing(run.stored().get(cohort.id, ()), before + 1, key[1])
        reached = (left[0][0] - 1) if left else key[1]
        known = {f.trajectory_id: f for f in run.failures() if f.trajectory_id in {t.id for t in cohort.trajectories}}
        fresh = {i: f for i, f in known.items() if i not in failed and f.t <= reached + 1}
        if reached > before or fresh:
            for t in range(before + 1, reached + 1):
                mine = tuple(f for f in fresh.values() if f.t == t)
                yield Advanced(
                    cohort, t, len(_living(cohort, {**failed, **{i: f.t for i, f in fresh.items()}}, t)), mine
                )
            steps: Sequence[Step] = run.steps_at(cohort.id, reached) if reached > before else last
            self.work.advanced(key, steps, {i: f.t for i, f in fresh.items()})
            return
        if self.work.broke(key, message, time.monotonic(), most):
            run.log("given up", cohort=cohort.id, iteration=before + 1, message=message, details=details)
            self.say(f"cohort {cohort.id} is given up at iteration {before + 1}: {_first_line(message)}")

    def _lose(self, place: _Place, message: str) -> None:
        """Be rid of an actor, and have another one made after a while."""
        with contextlib.suppress(Exception):
            self.ray.kill(place.actor, no_restart=True)
        if place in self.describers:
            self.describers[self.describers.index(place)] = self._place(Describer, 1)
        elif place in self.workers:
            self.workers.remove(place)
            self.lost += 1
            self.wanted_at.append(time.monotonic() + self.options.backoff)
        else:
            return
        self.alone_since = time.monotonic()
        self.say(message)

    def _replace_describer(self, key: Key, message: str) -> None:
        place = self.describers[hash(key) % len(self.describers)]
        # Several cohorts lose the same one: only the first replaces it.
        if place.greeting is not None:
            self._lose(place, message)

    def _check_patience(self) -> None:
        if any(place.greeting is not None for place in self.workers):
            self.alone_since = time.monotonic()
        elif time.monotonic() - self.alone_since > self.options.patience:
            need = f"{self.options.cpus:g} CPU cores and {self.gpus:g} GPUs"
            raise RunFailed(
                f"no worker has come up for {self.options.patience:.0f} s: has the cluster room for {need} "
                "(ray status)? What is stored is whole; the same command goes on"
            )

    # ---- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every actor; what was not reported is done again another time."""
        for place in (*self.workers, *self.describers):
            with contextlib.suppress(Exception):
                self.ray.kill(place.actor, no_restart=True)
        with contextlib.suppress(OSError):
            self.token.unlink()
        self.batch.flush()

    def described(self) -> list[dict[str, object]]:
        """Every actor that there was."""
        return self.seen


def _living(cohort: Cohort, failed: Mapping[str, int], t: int) -> list[str]:
    return [member.id for member in cohort.trajectories if failed.get(member.id, t + 1) > t]


def _first_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
