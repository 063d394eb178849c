"""From an experiment to what will run: starts, conditions, trajectories, cohorts. Pure; ids come from content."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from loopsim.catalog import settings_of
from loopsim.errors import ExperimentError
from loopsim.experiment import CaptionerSettings, Experiment, GeneratorSettings, given_settings
from loopsim.presets.hosted import is_hosted
from loopsim.records import (
    NO_CONTROL,
    Cohort,
    Condition,
    Control,
    ModelSpec,
    Noise,
    Price,
    Role,
    Setting,
    Start,
    Trajectory,
)
from loopsim.seeds import digest
from loopsim.starts import BranchReader, load_starts, read_prompts


@dataclass(frozen=True)
class Plan:
    """Everything an experiment will do, in the order it will be done."""

    experiment: Experiment
    """The experiment it was made from."""
    conditions: tuple[Condition, ...]
    """The cells of the grid."""
    starts: tuple[Start, ...]
    """What the trajectories begin with."""
    cohorts: tuple[Cohort, ...]
    """The units of batching, committing and resuming."""
    group_sizes: tuple[int, ...]
    """How many of the starts each group of the experiment gave, in order."""

    @property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """Every trajectory, in cohort order."""
        return tuple(t for cohort in self.cohorts for t in cohort.trajectories)

    @property
    def steps(self) -> int:
        """Number of steps in all: trajectories × iterations."""
        return len(self.trajectories) * self.experiment.iterations


def make_plan(experiment: Experiment, read_branch: BranchReader | None = None, most: int | None = None) -> Plan:
    """Lay out an experiment.

    Args:
        experiment: what is to be done.
        read_branch: reads starts that are steps of other runs.
        most: so many starts of each group at most, the first ones of each iteration that they begin at; None is all.

    Raises:
        ExperimentError: a prompt file or image is missing or empty, or a start is there twice.
        ModelError: a model's name is unknown.
    """
    every = load_starts(experiment, read_branch)
    # What random captions are drawn from is no matter of how many starts are left.
    conditions = _conditions(experiment, _controls(experiment, [start for group in every for start in group]))
    groups = [_first(group, most) for group in every]
    starts = tuple(start for group in groups for start in group)
    cohorts: list[Cohort] = []
    for condition in conditions:
        members = [(start, replicate) for start in starts for replicate in range(experiment.replicates)]
        # Lock-step needs one common t: branches from different iterations travel apart.
        for _, same in itertools.groupby(sorted(members, key=lambda m: m[0].t0), key=lambda m: m[0].t0):
            batch = list(same)
            for at in range(0, len(batch), experiment.cohort):
                part = batch[at : at + experiment.cohort]
                cohorts.append(Cohort(f"c{len(cohorts):04d}", _members(experiment, condition, part)))
    return Plan(experiment, conditions, starts, tuple(cohorts), tuple(len(group) for group in groups))


def _first(group: Sequence[Start], most: int | None) -> tuple[Start, ...]:
    """So many starts of each t0, since only those travel together; all where `most` is None."""
    seen: Counter[int] = Counter()
    kept = []
    for start in group:
        seen[start.t0] += 1
        if most is None or seen[start.t0] <= most:
            kept.append(start)
    return tuple(kept)


def _members(experiment: Experiment, condition: Condition, part: Sequence[tuple[Start, int]]) -> tuple[Trajectory, ...]:
    company: list[list[object]] | None = None
    if condition.control is not None and condition.control.kind == "shuffled":
        alone = [group for group, size in Counter(start.group for start, _ in part).items() if size == 1]
        if alone:
            raise ExperimentError(
                f"controls: shuffled: the group {alone[0]!r} has one trajectory alone in a cohort of {len(part)}, with "
                "nobody to change descriptions with; choose another cohort size, or more starts or replicates"
            )
        # Whose description one is given depends on who travels along, so the company belongs to the identity.
        company = [[start.id, replicate] for start, replicate in part]
    return tuple(
        Trajectory(_trajectory_id(experiment, condition, start, replicate, company), condition, start, replicate)
        for start, replicate in part
    )


def _trajectory_id(
    experiment: Experiment, condition: Condition, start: Start, replicate: int, company: list[list[object]] | None
) -> str:
    control = {} if condition.control is None else {"control": condition.control.identity()}
    return digest(
        {
            **control,
            **({} if company is None else {"company": company}),
            "chain": [spec.identity() for spec in condition.chain],
            "noise": condition.noise,
            "pairing": experiment.pairing,
            "seed": experiment.seed,
            "image_format": experiment.image_format,
            "start": start.id,
            "lineage": start.lineage,
            "replicate": replicate,
        },
        16,
    )


# ---- conditions ------------------------------------------------------------------------------------------------------


def _spec(role: Role, given: GeneratorSettings | CaptionerSettings) -> ModelSpec:
    settings = settings_of(role, given.model, given_settings(given))
    price = None if given.price is None else Price(**given.price.model_dump())
    if price is not None and not is_hosted(given.model):
        raise ExperimentError(f"{role} {given.model!r}: a price is for hosted models; this one runs here")
    return ModelSpec(role, given.model, MappingProxyType(settings), given.batch_size, price)


def _controls(experiment: Experiment, starts: Sequence[Start]) -> list[Control | None]:
    """The loop itself, and each control."""
    controls: list[Control | None] = [None]
    for k, given in enumerate(experiment.controls):
        pool = tuple(given.prompts or ())
        if given.file is not None:
            pool = tuple(read_prompts(Path(given.file), f"controls.{k}"))
        elif given.kind == "random_captions" and not pool:
            pool = tuple(start.text for start in starts if start.text is not None)
        pool = tuple(dict.fromkeys(" ".join(text.split()) for text in pool))
        if given.kind == "random_captions" and len(pool) < 2:
            raise ExperimentError(
                f"controls: random_captions: there are {len(pool)} texts to draw from, and it takes at least two; "
                "give prompts: [...] or file: FILE"
            )
        controls.append(given.control(pool))
    return controls


def _factors(chain: tuple[ModelSpec, ...], noise: Noise) -> dict[str, Setting]:
    factors: dict[str, Setting] = {}
    for role in ("generator", "captioner"):
        specs = [spec for spec in chain if spec.role == role]
        for k, spec in enumerate(specs, start=1):
            prefix = role if len(specs) == 1 else f"{role}{k}"
            factors[prefix] = spec.model
            factors |= {f"{prefix}.{key}": value for key, value in spec.settings.items()}
    return factors | {"noise": noise}


def _conditions(experiment: Experiment, controls: Sequence[Control | None]) -> tuple[Condition, ...]:
    links = [
        [_spec("generator", g) for g in link.generator]
        if link.generator
        else [_spec("captioner", c) for c in link.captioner or ()]
        for link in experiment.chain
    ]
    cells = list(itertools.product(itertools.product(*links), experiment.noise, controls))
    all_factors = [_factors(chain, noise) for chain, noise, _ in cells]
    if experiment.controls:
        for factors, (_, _, control) in zip(all_factors, cells, strict=True):
            factors["control"] = NO_CONTROL if control is None else control.label
    keys = list(dict.fromkeys(key for factors in all_factors for key in factors))
    varying = [key for key in keys if len({repr(f.get(key)) for f in all_factors}) > 1]
    # A model's own defaults vary with it; its name says enough.
    models = {key for key in varying if "." not in key}
    named = {key for key in varying if "." not in key or not _follows(key, models, all_factors)}
    bare = {key: key.removeprefix("generator.").removeprefix("captioner.") for key in named}
    short = {key: key if list(bare.values()).count(name) > 1 else name for key, name in bare.items()}
    conditions = []
    for (chain, noise, control), factors in zip(cells, all_factors, strict=True):
        label = ", ".join(f"{short[key]}={factors.get(key)}" for key in keys if key in named)
        identity: dict[str, object] = {"chain": [spec.identity() for spec in chain], "noise": noise}
        if control is not None:
            identity["control"] = control.identity()
        frozen = MappingProxyType(factors)
        conditions.append(Condition(digest(identity, 8), chain, noise, frozen, label or "all", control))
    ids = [condition.id for condition in conditions]
    if len(set(ids)) < len(ids):
        twice = next(c.label for c in conditions if ids.count(c.id) > 1)
        raise ExperimentError(
            f"two cells of the grid are the same ({twice}): a list repeats a value, or is one of batch sizes, which "
            "are no axis since they change no output, or a control is there twice"
        )
    return tuple(conditions)


def _follows(key: str, models: set[str], factors: list[dict[str, Setting]]) -> bool:
    """Whether a setting is fixed by the name of its model, so that it tells nothing more."""
    owner = key.partition(".")[0]
    if owner not in models:
        return False
    seen: dict[Setting, set[str]] = {}
    for row in factors:
        seen.setdefault(row.get(owner), set()).add(repr(row.get(key)))
    return all(len(values) == 1 for values in seen.values())
