"""Carrying cohorts on over a Ray cluster: who does what, and what becomes of what a lost worker was doing."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from loopsim import provenance
from loopsim.engine import light
from loopsim.errors import ModelError, RunFailed, StoreError
from loopsim.executors.base import Advanced, Job
from loopsim.executors.batch import Batch
from loopsim.executors.ray_cluster import RayOptions, cause, connected, needs, short_of_room, workers_for
from loopsim.executors.ray_crew import Crew, Place
from loopsim.executors.ray_workers import Answer, Describer, Hello, Setup, Worker
from loopsim.executors.slices import Broken, Done, Task, start_pictures
from loopsim.executors.work import Key, Work
from loopsim.records import Cohort, Step
from loopsim.seams import carry_on
from loopsim.store.spans import missing

_TOKEN = ".cluster-"
_WORD = 30.0
"""Seconds without anybody at work, after which it is said what is waited for."""


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
            raise RunFailed(_summary(driver.work))

    def described(self) -> list[dict[str, object]]:
        """Every worker that there was: its machine and what was pinned."""
        return self._models


@dataclass(frozen=True)
class _Given:
    """A slice that was handed out."""

    place: Place
    key: Key
    describer: Place | None


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
        setup = Setup(
            str(job.run.path.absolute()), self.token.name, job.threads, executor.device,
            dict(provenance.commits_in(job.run.manifest)), self.options.driver_writes, self.options.slice_seconds,
        )  # fmt: skip
        self.batch = Batch(job.run, once=True)
        self.slots = 2  # the next slice waits at the worker, so that it never waits for us
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        count, captioners = workers_for(self.options, nodes, len(job.spans)), self.options.captioners
        worker, captioner = needs(self.options, nodes)
        if line := short_of_room(self.options, nodes, count):
            self.say(line)
        threads, backoff = self.slots if captioners else 1, self.options.backoff
        self.workers = Crew(ray, Worker, count, worker, threads, setup, backoff)
        self.describers = Crew(ray, Describer, captioners, captioner, 1, setup, backoff)
        self.crews = (self.describers, self.workers) if captioners else (self.workers,)
        self.running: dict[Any, _Given] = {}
        self.suspect: set[str] = set()
        """Chains at which somebody failed last, which come last: they may be at fault, and others are not."""
        self.seen: list[dict[str, object]] = []
        self.idle_since = time.monotonic()
        self.told = False
        self.useless: Broken | None = None
        """Why the run ends, where nobody gets anything done."""

    # ---- the loop ------------------------------------------------------------------------------------------------

    def carry(self) -> Iterator[Advanced]:
        """Hand out slices until nothing is left, or nobody gets anything done."""
        while not self.work.finished:
            now = time.monotonic()
            for crew in self.crews:
                crew.make(now)
            self._hand_out(now)
            self._unblock(now)
            waiting = [*self.running, *(p.hello for crew in self.crews for p in crew.places if p.hello is not None)]
            if waiting:
                ready, _ = self.ray.wait(waiting, num_returns=1, timeout=0.5)
                for reference in ready:
                    if reference in self.running:
                        yield from self._finished(reference)
                    else:
                        self._greeted(reference)
            else:
                time.sleep(min(0.5, max(0.01, self.work.waits(now))))
            self._judge(time.monotonic())
            self._check_patience(time.monotonic())

    def _hand_out(self, now: float) -> None:
        active, captioners = self.workers.active(now), self.describers.active(now)
        tried = self.workers.blame.tried | self.describers.blame.tried
        for depth in range(self.slots):
            for place in self.workers.up:
                if len(place.busy) != depth:
                    continue
                may = partial(self._may, place, active, captioners)
                key = self.work.take(now, place.chain, may, self.suspect, tried)
                if key is None:
                    continue
                place.busy.add(key)
                place.chain = self.work.chain(key)
                # The captioner with the least to do, of those that are up.
                fit = [each for each in self.describers.up if self.describers.blame.may(each, key, captioners)]
                describer = min(fit, key=lambda each: (len(each.busy), each.slot), default=None)
                if describer is not None:
                    describer.busy.add(key)
                handle = None if describer is None else describer.actor
                self.running[place.actor.carry.remote(self._task(key), handle)] = _Given(place, key, describer)

    def _may(self, place: Place, active: set[int], captioners: set[int], key: Key) -> bool:
        if not self.workers.blame.may(place, key, active):
            return False
        describers = self.describers
        return not self.options.captioners or any(describers.blame.may(p, key, captioners) for p in describers.up)

    def _unblock(self, now: float) -> None:
        """Where all that is left waits for somebody else to try it, and there is nobody else: have another one made."""
        if self.running or any(not crew.up or crew.on_the_way(now) for crew in self.crews):
            return
        for key in self.work.ready(now)[:1]:
            for crew in self.crews:
                active = crew.active(now)
                for place in [place for place in crew.up if not crew.blame.may(place, key, active)]:
                    self._lose(crew, place, f"{crew.title} {place} is replaced, to try again what it failed at")

    def _task(self, key: Key) -> Task:
        cohort, last, failed = self.work.state(key)
        pictures = {} if last else start_pictures(cohort)
        before = light(cohort, last) if self.job.settings.seam is carry_on else last
        return Task(cohort, self.job.settings, before, dict(failed), key[1], pictures)

    # ---- what comes back -----------------------------------------------------------------------------------------

    def _greeted(self, reference: Any) -> None:
        crew, place = next((c, p) for c in self.crews for p in c.places if p.hello is reference)
        try:
            greeting: Hello = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._not_begun(crew, place, error)
            return
        crew.greeted(place, greeting)
        entry = {"node": greeting.node, "process": greeting.pid, "stores": greeting.shared, "pinned": greeting.pinned}
        self.seen.append({crew.title: entry})
        stores = "" if greeting.shared or crew is self.describers else "; the driver stores"
        self.say(f"{crew.title} {place} is up{stores}")

    def _not_begun(self, crew: Crew, place: Place, error: Exception) -> None:
        crew.failed_starts[place.slot] += 1
        crew.failed_since_up += 1
        why = f"a {crew.title} could not begin: {cause(error)}"
        if not crew.up and crew.failed_since_up >= self.options.attempts:
            raise RunFailed(f"no {crew.title} could begin: {cause(error)}", str(error)) from error
        self._lose(crew, place, why, again=not crew.up or crew.failed_starts[place.slot] < self.options.attempts)

    def _finished(self, reference: Any) -> Iterator[Advanced]:
        given = self._returned(reference)
        place, key = given.place, given.key
        try:
            answer: Answer = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            attempt = not place.ended
            self._lose(self.workers, place, f"a worker was lost: {cause(error)}", ended=False)
            yield from self._again(key, f"its worker was lost: {cause(error)}", str(error), attempt=attempt)
            return
        for line in answer.lines:
            self.say(line)
        outcome = answer.outcome
        if isinstance(outcome, Done):
            for iteration in outcome.made:
                self.batch.add(iteration)
            self.batch.flush()
            self._succeeded(given)
            self.work.advanced(key, outcome.last, outcome.failed)
            yield from outcome.advanced
            return
        yield from self._broken(given, outcome)

    def _returned(self, reference: Any) -> _Given:
        given = self.running.pop(reference)
        for place in (given.place, given.describer):
            if place is not None:
                place.busy.discard(given.key)
        return given

    def _succeeded(self, given: _Given) -> None:
        chain = self.work.chain(given.key)
        self.suspect.discard(chain)
        for crew, place in ((self.workers, given.place), (self.describers, given.describer)):
            crew.blame.forget(given.key)  # whatever has become of who got it further
            if place is not None and place in crew.places:
                crew.blame.succeeded(place.slot, given.key, "store", f"model {chain}")

    def _broken(self, given: _Given, broken: Broken) -> Iterator[Advanced]:
        crew, place = self.workers, given.place
        if given.describer is not None and (broken.shared or broken.what == "captioner"):
            crew, place = self.describers, given.describer
        lost = broken.what in ("device", "captioner")
        attempt = lost and not place.ended
        if lost:
            self._lose(crew, place, broken.message)
        elif place in crew.places:
            self._blame(crew, place, given.key, broken)
        yield from self._again(given.key, broken.message, broken.details, attempt=attempt)

    def _blame(self, crew: Crew, place: Place, key: Key, broken: Broken) -> None:
        """Note who failed at what, and draw the consequences for the actor; `_judge` does for the cohort.

        Raises:
            ModelError: everybody says that a model cannot be loaded.
            StoreError: everybody says that the disk refuses.
        """
        chain = self.work.chain(key)
        complaint = {"model": f"model {chain}", "store": "store"}.get(broken.what)
        place.chain = None
        if complaint is None:  # that a model cannot be loaded is to be heard from the others soon
            self.suspect.add(chain)
        verdict = crew.blame.failed(place, key, broken.message, broken.details, complaint)
        active = crew.active(time.monotonic()) | ({place.slot} if verdict == "close" else set())
        if complaint is not None and (crew.blame.unanimous(complaint, active) or not crew.blame.open):
            raise (ModelError if broken.what == "model" else StoreError)(broken.message)
        what, why = f"{crew.title} {place} failed at cohort {key[0]}", _first_line(broken.message)
        if verdict == "close":
            self._lose(crew, place, f"{what}, as did the one before it, and is left out: {why}", again=False)
        elif verdict == "renew":
            self._lose(crew, place, f"{what}, and is replaced: {why}")
        else:
            self.say(f"{what}: {why}")
        if not crew.blame.open:
            self.useless = broken

    def _judge(self, now: float) -> None:
        """Give up the cohorts that are at fault; all that are left, where nobody gets anything done."""
        for crew in self.crews:
            for key, message, details in [*crew.blame.hopeless(crew.active(now))]:
                if self.work.waiting(key):
                    for each in self.crews:
                        each.blame.acquit(key)
                    self._give_up(key, message, details)
        if self.useless is None:
            return
        tried = {key: (message, details) for crew in self.crews for key, message, details in crew.blame.faulty()}
        untried = f"not tried any more, since everybody failed at all they were given: {self.useless.message}"
        for key in self.work.left:
            self._give_up(key, *tried.get(key, (untried, self.useless.details)))

    def _give_up(self, key: Key, message: str, details: str) -> None:
        _, last, _ = self.work.state(key)
        self.work.give_up(key, message)
        self._log_given_up(key, last[0].t + 1 if last else 0, message, details)
        for crew in self.crews:
            crew.blame.forget(key)

    def _again(self, key: Key, message: str, details: str, *, attempt: bool = True) -> Iterator[Advanced]:
        """Take up a span where it is stored, which may be further than anybody has told us.

        Args:
            key: the span.
            message: why.
            details: the traceback.
            attempt: whether it counts as one of the cohort's attempts.
        """
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
            # A failure is on the disk before its iteration, which will be made without the one that failed.
            ahead = tuple(f for f in fresh.values() if f.t == reached + 1)
            if ahead:
                yield Advanced(cohort, reached + 1, 0, ahead)
            steps: Sequence[Step] = run.steps_at(cohort.id, reached) if reached > before else last
            self.work.advanced(key, steps, {i: f.t for i, f in fresh.items()})
            for crew in self.crews:
                crew.blame.forget(key)
        elif not attempt:
            self.work.put_back(key, time.monotonic() + self.options.backoff)
        elif self.work.broke(key, message, time.monotonic()):
            self._log_given_up(key, before + 1, message, details)

    def _log_given_up(self, key: Key, t: int, message: str, details: str) -> None:
        self.job.run.log("given up", cohort=key[0], iteration=t, message=message, details=details)
        self.say(f"cohort {key[0]} is given up at iteration {t}: {_first_line(message)}")

    def _lose(self, crew: Crew, place: Place, message: str, *, again: bool = True, ended: bool = True) -> None:
        """Be rid of an actor, unless that has been done: several cohorts lose the same one.

        Args:
            crew: that it belongs to.
            place: the actor.
            message: why, for the user.
            again: whether another one is made.
            ended: whether it is we who end it, so that what else it is at has not failed.
        """
        if place in crew.places:
            place.ended = ended
            crew.lose(place, again=again)
            self.say(message)

    def _check_patience(self, now: float) -> None:
        missing_crews = [crew for crew in self.crews if not crew.up]
        if self.running or (not missing_crews and not self.work.ready(now)):
            self.idle_since, self.told = now, False
            return
        idle = now - self.idle_since
        crews = missing_crews or [crew for crew in self.crews if crew.on_the_way(now)]
        what = " and ".join(f"a {crew.title} ({crew.needs})" for crew in crews)
        if idle > self.options.patience:
            faults = [message for crew in self.crews for _, message, _ in crew.blame.faulty()]
            raise RunFailed(
                f"nobody has been at work for {self.options.patience:.0f} s, for want of {what or 'anybody fit'}: has "
                "the cluster room for it (ray status)? What is stored is whole; the same command goes on"
                + "".join(f"\n  The last fault was: {_first_line(message)}" for message in faults[-1:])
            )
        if idle > _WORD and not self.told:
            self.told = True
            self.say(f"waiting for {what or 'somebody fit'}: has the cluster room for it (ray status)?")

    # ---- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every actor; what was not reported is done again another time."""
        for crew in self.crews:
            for place in crew.places:
                crew.kill(place)
        with contextlib.suppress(OSError):
            self.token.unlink()
        self.batch.flush()

    def described(self) -> list[dict[str, object]]:
        """Every actor that there was."""
        return self.seen


def _summary(work: Work) -> str:
    """What was given up, and why."""
    given_up = sorted(work.given_up.items())
    lines = [f"  cohort {cohort}: {text.splitlines()[0]}" for (cohort, _), text in given_up]
    more = [f"  … and {len(lines) - 5} more"] if len(lines) > 5 else []
    return (
        "\n".join([f"{len(lines)} cohort{' was' if len(lines) == 1 else 's were'} given up:", *lines[:5], *more])
        + "\n  What is stored is whole; mend the cause and run the same command again (tracebacks: log.jsonl)."
    )


def _living(cohort: Cohort, failed: Mapping[str, int], t: int) -> list[str]:
    return [member.id for member in cohort.trajectories if failed.get(member.id, t + 1) > t]


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else "no message"
