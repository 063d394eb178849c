"""Holding the stored steps of a cohort against the plan: who, when, which noise, drawn from whose words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from loopsim import images
from loopsim.records import EMPTY_CAPTION, Role, Step, Trajectory
from loopsim.seeds import step_seed
from loopsim.store.checksums import FileSum
from loopsim.store.frames import each_once
from loopsim.store.shards import Shard
from loopsim.store.spans import runs_of
from loopsim.verify.expected import Expected
from loopsim.verify.gaps import find_gaps
from loopsim.verify.reading import Reading, read_steps
from loopsim.verify.records import Finding, Remedy

Key = tuple[str, int]
"""Trajectory and iteration."""


@dataclass(frozen=True)
class CohortCheck:
    """What was found in the shards of one cohort."""

    findings: tuple[Finding, ...]
    """What is wrong."""
    good: Mapping[Key, Step]
    """The steps that are right, without their pictures."""
    content: Mapping[Key, frozenset[str]]
    """What the right steps have that can be embedded: `text`, `image`."""
    hits: frozenset[int]
    """Stored iterations that are not to be trusted."""
    absent: frozenset[int]
    """Iterations that are not stored, though they were."""
    pictures: int
    """Pictures that were decoded."""
    unvouched: int
    """Shards whose rows have no checksums."""


def check_cohort(
    cohort: str, shards: Sequence[Shard], noted: Mapping[str, FileSum], expected: Expected, decode: bool = True
) -> CohortCheck:
    """Look at every row of a cohort.

    What two shards hold is looked at in the first, where it is read.

    Args:
        cohort: its id.
        shards: its shards, in order.
        noted: what its files were, by name, those that are no longer there among them.
        expected: what should be there.
        decode: whether to decode the pictures too.
    """
    imported = not expected.trajectories
    remedy: Remedy = "none" if imported else "move"
    findings: list[Finding] = []
    good: dict[Key, Step] = {}
    hits: set[int] = set()
    doubtful: set[Key] = set()
    content: dict[Key, frozenset[str]] = {}
    pictures = unvouched = 0
    unsaid = any(line.path.stem == cohort for line in expected.unsaid)
    ended: set[str] = set()
    reach = shards[0].first - 1 if shards else 0
    shards = each_once(shards)
    for shard in shards:
        reading = read_steps(shard, noted.get(shard.path.name))
        doubtful |= reading.unvouched
        unvouched += bool(reading.unvouched)
        wrong = _Wrong(shard, reading, expected)
        pictures += wrong.look(decode)
        lost = wrong.lost(imported)
        if reading.damage is None:
            lost = _unexplained(lost, unsaid, shard.first if shard.first > reach + 1 else None, ended)
        reach = shard.last
        name = f"steps/{shard.path.name}"
        for message, keys in wrong.reasons.items():
            findings.append(_finding(name, message, remedy, cohort, keys))
        if lost:
            message = reading.damage or "lacks rows that should be there"
            findings.append(_finding(name, message, remedy, cohort, lost))
        elif reading.damage:
            findings.append(Finding(name, f"{reading.damage}; every row is intact", "rewrite", cohort))
        hits |= {t for keys in (lost, *wrong.reasons.values()) for _, t in keys}
        content |= {key: _modalities(step) for key, step in wrong.good.items()}
        good |= {key: replace(step, image=None) for key, step in wrong.good.items()}
    if not imported and expected.plain and _hands_on(cohort, expected):
        findings += _links(cohort, shards, good, doubtful, hits)
    gaps = [] if imported else find_gaps(cohort, shards, noted, expected)
    absent = frozenset(t for gap in gaps for first, last in gap.iterations for t in range(first, last + 1))
    return CohortCheck((*findings, *gaps), good, content, frozenset(hits), absent, pictures, unvouched)


def _unexplained(lost: list[Key], unsaid: bool, after_gap: int | None, ended: set[str]) -> list[Key]:
    """What must be made again of the rows that a sound file lacks.

    Whoever ends in such a file has failed there, if not all failures of the cohort can be read: making the first lost
    iteration again finds the failure again. Whoever ends in a gap before it may have failed in the gap, which is made
    again anyway.

    Args:
        lost: the rows.
        unsaid: whether failures of the cohort cannot be read.
        after_gap: the first iteration of the file, where iterations before it are missing.
        ended: the trajectories that have ended so far, which is added to.
    """
    ended |= {i for i, t in lost if t == after_gap}
    found = [key for key in lost if key[0] not in ended]
    if unsaid:
        found = list(dict(sorted(found, key=lambda key: -key[1])).items())  # the first of each
        ended |= {i for i, _ in found}
    return found


class _Wrong:
    """What speaks against the rows of one shard.

    Args:
        shard: the shard.
        reading: what could be read of it.
        expected: what should be there.
    """

    def __init__(self, shard: Shard, reading: Reading, expected: Expected) -> None:
        self.shard, self.reading, self.expected = shard, reading, expected
        self.reasons: dict[str, list[Key]] = {}
        self.good: dict[Key, Step] = {}
        self.members = frozenset(expected.cohorts[shard.cohort])

    def look(self, decode: bool) -> int:
        """Look at each row; how many pictures were decoded."""
        steps = self.reading.steps
        drawn = [step.image for step in steps if step.image is not None] if decode else []
        with ThreadPoolExecutor(4, thread_name_prefix="loopsim-decode") as threads:
            broken = {picture for picture, fine in zip(drawn, threads.map(_decodes, drawn), strict=True) if not fine}
        for step in steps:
            reason = self._of(step)
            if reason is None and step.image is not None and step.image in broken:
                reason = "holds pictures that cannot be decoded"
            if reason is None:
                self.good[step.trajectory_id, step.t] = step
            else:
                self.reasons.setdefault(reason, []).append((step.trajectory_id, step.t))
        return len(drawn)

    def lost(self, imported: bool) -> list[Key]:
        """What should be in the shard, and is in no good row."""
        if imported:  # nobody knows how many there were, except that no trajectory is without a step
            return [] if self.reading.damage is None else [(i, t) for i in self.members for t in self._ts()
                                                           if (i, t) not in self.good]  # fmt: skip
        told = {key for keys in self.reasons.values() for key in keys}
        wanted = [(i, t) for i in self.expected.cohorts[self.shard.cohort] for t in self._ts() if self._lives(i, t)]
        return [key for key in wanted if key not in self.good and key not in told]

    def _ts(self) -> range:
        return range(self.shard.first, self.shard.last + 1)

    def _lives(self, trajectory: str, t: int) -> bool:
        failure = self.expected.failed.get(trajectory)
        return failure is None or t < failure.t

    def _of(self, step: Step) -> str | None:
        """The first thing that is wrong with a row."""
        key = (step.trajectory_id, step.t)
        if step.trajectory_id not in self.members:
            return "holds trajectories that are not of this cohort"
        if step.t not in self._ts():
            return "holds iterations that its name does not say"
        if key in self.good:
            return "holds steps that are there already"
        trajectory = self.expected.trajectories.get(step.trajectory_id)
        if trajectory is None:
            return None
        if not self._lives(*key):
            return "holds steps of trajectories that had failed before"
        return _against_plan(step, trajectory, self.expected, self.members)


def _against_plan(step: Step, trajectory: Trajectory, expected: Expected, members: frozenset[str]) -> str | None:
    t0 = trajectory.start.t0
    if not t0 <= step.t <= t0 + expected.iterations:
        return "holds iterations that the experiment does not have"
    roles: tuple[tuple[Role, int | None], ...] = (
        ("generator", step.generator_seed),
        ("captioner", step.captioner_seed),
    )
    for role, found in roles:
        if expected.seed is not None and found != _seed(trajectory, step, role, expected.seed, expected.independent):
            return "holds steps of other noise than the plan's"
    if step.parent not in members:
        return "holds steps whose parent is in no trajectory of the cohort"
    if step.t == t0:
        if trajectory.start.kind == "text" and step.text != trajectory.start.text:
            return "holds starts that are not the plan's"
    elif step.image is None or not step.text:
        return "holds steps without a picture or without a text"
    return None


def _seed(trajectory: Trajectory, step: Step, role: Role, seed: int, independent: bool) -> int | None:
    """The seed that a step must have; None where no model of that role was asked."""
    start = trajectory.start
    if step.t == start.t0 and (role == "generator" or start.kind == "text"):
        return None
    return step_seed(trajectory, step.t, role, seed, independent)


def _modalities(step: Step) -> frozenset[str]:
    return frozenset(kind for kind, content in (("text", step.text), ("image", step.image)) if content)


def _decodes(picture: bytes) -> bool:
    try:
        images.decode(picture)
    except Exception:  # noqa: BLE001 - whatever a decoder says of broken bytes
        return False
    return True


def _finding(file: str, message: str, remedy: Remedy, cohort: str, keys: Iterable[Key]) -> Finding:
    keys = list(keys)
    ids = tuple(dict.fromkeys(i for i, _ in keys))
    return Finding(file, message, remedy, cohort, tuple(runs_of({t for _, t in keys})), ids)


def _links(
    cohort: str, shards: Sequence[Shard], good: Mapping[Key, Step], doubtful: Collection[Key], hits: set[int]
) -> list[Finding]:
    """Steps that were not drawn from what their parent said.

    Where the parent's text is certainly what was written, all that came after is of another run. Where nobody vouches
    for it, either of the two was changed, and both are to be made again.
    """
    apart = [
        key for key, step in good.items()
        if (said := good.get((step.parent, step.t - 1))) is not None and step.text_in != (said.text or EMPTY_CAPTION)
    ]  # fmt: skip
    if not apart:
        return []
    stored = {t for shard in shards for t in range(shard.first, shard.last + 1)}
    message = "holds steps that were not drawn from what was said before"
    sure = [t for i, t in apart if (good[i, t].parent, t - 1) not in doubtful]
    hit = {t for _, when in apart for t in (when - 1, when)}
    if sure:
        hit = {t for t in hit if t < min(sure) - 1} | {t for t in stored if t >= min(sure)}
        message += ", so all that follows is of another run"
    hits |= hit
    shard = next(s for s in shards if s.first <= max(hit) <= s.last)
    ids = tuple(dict.fromkeys(i for i, _ in apart))
    return [Finding(f"steps/{shard.path.name}", message, "move", cohort, tuple(runs_of(hit)), ids)]


def _hands_on(cohort: str, expected: Expected) -> bool:
    """Whether a cohort draws what was said before; some controls draw something else."""
    control = expected.trajectories[expected.cohorts[cohort][0]].condition.control
    return control is None or control.kind == "shuffled"
