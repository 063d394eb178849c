"""From an experiment to what will run: starts, conditions, trajectories, cohorts. Pure; ids come from content."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import MappingProxyType

from loopsim.catalog import settings_of
from loopsim.errors import ExperimentError
from loopsim.experiment import CaptionerSettings, Experiment, GeneratorSettings, given_settings
from loopsim.presets.hosted import is_hosted
from loopsim.records import Cohort, Condition, ModelSpec, Noise, Price, Role, Setting, Start, Trajectory
from loopsim.seeds import digest
from loopsim.starts import BranchReader, load_starts


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


def make_plan(experiment: Experiment, read_branch: BranchReader | None = None) -> Plan:
    """Lay out an experiment.

    Raises:
        ExperimentError: a prompt file or image is missing or empty, or a start is there twice.
        ModelError: a model's name is unknown.
    """
    conditions = _conditions(experiment)
    groups = load_starts(experiment, read_branch)
    starts = tuple(start for group in groups for start in group)
    cohorts: list[Cohort] = []
    for condition in conditions:
        members = [
            Trajectory(_trajectory_id(experiment, condition, start, replicate), condition, start, replicate)
            for start in starts
            for replicate in range(experiment.replicates)
        ]
        # Lock-step needs one common t: branches from different iterations travel apart.
        for _, same in itertools.groupby(sorted(members, key=lambda m: m.start.t0), key=lambda m: m.start.t0):
            batch = list(same)
            for at in range(0, len(batch), experiment.cohort):
                cohorts.append(Cohort(f"c{len(cohorts):04d}", tuple(batch[at : at + experiment.cohort])))
    return Plan(experiment, conditions, starts, tuple(cohorts), tuple(len(group) for group in groups))


def _trajectory_id(experiment: Experiment, condition: Condition, start: Start, replicate: int) -> str:
    return digest(
        {
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


def _factors(chain: tuple[ModelSpec, ...], noise: Noise) -> dict[str, Setting]:
    factors: dict[str, Setting] = {}
    for role in ("generator", "captioner"):
        specs = [spec for spec in chain if spec.role == role]
        for k, spec in enumerate(specs, start=1):
            prefix = role if len(specs) == 1 else f"{role}{k}"
            factors[prefix] = spec.model
            factors |= {f"{prefix}.{key}": value for key, value in spec.settings.items()}
    return factors | {"noise": noise}


def _conditions(experiment: Experiment) -> tuple[Condition, ...]:
    links = [
        [_spec("generator", g) for g in link.generator]
        if link.generator
        else [_spec("captioner", c) for c in link.captioner or ()]
        for link in experiment.chain
    ]
    cells = list(itertools.product(itertools.product(*links), experiment.noise))
    all_factors = [_factors(chain, noise) for chain, noise in cells]
    keys = list(dict.fromkeys(key for factors in all_factors for key in factors))
    varying = [key for key in keys if len({repr(f.get(key)) for f in all_factors}) > 1]
    # A model's own defaults vary with it; its name says enough.
    models = {key for key in varying if "." not in key}
    named = {key for key in varying if "." not in key or not _follows(key, models, all_factors)}
    bare = {key: key.removeprefix("generator.").removeprefix("captioner.") for key in named}
    short = {key: key if list(bare.values()).count(name) > 1 else name for key, name in bare.items()}
    conditions = []
    for (chain, noise), factors in zip(cells, all_factors, strict=True):
        label = ", ".join(f"{short[key]}={factors.get(key)}" for key in keys if key in named)
        identity = {"chain": [spec.identity() for spec in chain], "noise": noise}
        conditions.append(Condition(digest(identity, 8), chain, noise, MappingProxyType(factors), label or "all"))
    ids = [condition.id for condition in conditions]
    if len(set(ids)) < len(ids):
        twice = next(c.label for c in conditions if ids.count(c.id) > 1)
        raise ExperimentError(
            f"two cells of the grid are the same ({twice}): a list repeats a value, or is one of batch sizes, which "
            "are no axis since they change no output"
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
