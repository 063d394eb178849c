"""How much each model of a plan has to do, and how often it is loaded. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from loopsim.catalog import find
from loopsim.costs.records import Loads, Money, Unit, Work
from loopsim.engine import HELD_BYTES
from loopsim.plan import Plan
from loopsim.presets.entry import WEIGHT_SETTINGS
from loopsim.presets.hosted import PRICES, is_hosted
from loopsim.records import Cohort, ModelSpec
from loopsim.seeds import digest

_NO_MATTER = frozenset({"temperature", "top_p", "top_k", "negative_prompt", "style", "suffix"})
"""Settings that change what comes out, but not how long it takes."""
_SIMULATED = 500
"""Iterations after which loads are taken to go on as before."""
_TEXTS_ONLY = ("sentence-transformers",)
_PICTURES_ONLY = ("DINOv2", "DINOv3")


def works_of(plan: Plan) -> list[Work]:
    """What each generator and captioner has to do, in order of the plan, then each embedder."""
    rows: Counter[str] = Counter()
    specs: dict[str, ModelSpec] = {}
    for cohort in plan.cohorts:
        for spec, count in _asked(cohort, plan.experiment.iterations):
            key = work_key(spec)
            specs.setdefault(key, spec)
            rows[key] += count
    works = []
    for key, spec in specs.items():
        unit: Unit = "pictures" if spec.role == "generator" else "captions"
        work = Work(key, spec.role, spec.model, _apart(key, specs), spec, unit, rows[key], size_of(spec))
        works.append(replace(work, money=_money(work)) if is_hosted(spec.model) else work)
    return works + _embedding(plan)


def work_key(spec: ModelSpec) -> str:
    """Equal for specs that take equally long."""
    return digest([spec.role, spec.model, spec.batch_size, _deciding(spec)], 12)


def weights_key(spec: ModelSpec) -> str:
    """Equal for specs that share one loaded model."""
    weights = {name: spec.settings.get(name) for name in WEIGHT_SETTINGS}
    return digest([spec.role, spec.model, spec.batch_size, weights], 12)


def size_of(spec: ModelSpec) -> tuple[int, int] | None:
    """Width and height that a generator draws; None where only its files tell, or it draws nothing."""
    if spec.role != "generator":
        return None
    size = str(spec.settings.get("size") or "native")
    if size == "native":
        size = find(spec.role, spec.model).native
    wide, _, tall = size.partition("x")
    return (int(wide), int(tall)) if wide.isdigit() and tall.isdigit() else None


def loads_of(plan: Plan, room_gb: float | None = None, fit: bool | None = None) -> Loads:
    """How often weights are loaded.

    Args:
        plan: what is to be run.
        room_gb: memory of the device, GB.
        fit: whether all models stay together, where that was seen; otherwise it follows from `room_gb`.
    """
    specs = {
        weights_key(spec): spec for c in plan.conditions for spec in c.chain if not is_hosted(spec.model)
    }  # as the pool tells them apart
    known = {key: find(spec.role, spec.model).vram_gb for key, spec in specs.items()}
    known |= {key: 0.0 for key, spec in specs.items() if find(spec.role, spec.model).location == ""}
    unknown = tuple(dict.fromkeys(specs[key].model for key, gb in known.items() if gb is None))
    total = None if unknown else sum(gb for gb in known.values() if gb is not None)
    if fit is None and room_gb is not None:
        least = sum(gb for gb in known.values() if gb is not None)
        fit = False if least > room_gb else None if total is None else True
    return Loads(len(specs), len(specs), _in_turn(plan), total, unknown, room_gb, fit)


def _asked(cohort: Cohort, iterations: int) -> list[tuple[ModelSpec, int]]:
    """How many rows a cohort asks of each place of its chain."""
    n, condition, t0 = len(cohort.trajectories), cohort.trajectories[0].condition, cohort.trajectories[0].start.t0
    pairs = len(condition.chain) // 2
    asked = []
    for k in range(pairs):  # t = t0 + 1 … t0 + iterations; place k at (t − 1) mod pairs = k
        first = (k - t0) % pairs
        turns = len(range(first, iterations, pairs))
        asked += [(condition.chain[2 * k], n * turns), (condition.chain[2 * k + 1], n * turns)]
    described = _pictures_described(cohort)
    if described:
        asked.append((condition.chain[-1], described))
    return asked


def _pictures_described(cohort: Cohort) -> int:
    """How many starts of a cohort are pictures, which its last captioner describes before the cycle begins."""
    return sum(t.start.kind == "image" and t.start.t0 == 0 for t in cohort.trajectories)


def _deciding(spec: ModelSpec) -> dict[str, object]:
    return {k: v for k, v in spec.settings.items() if k not in _NO_MATTER and v is not None}


def _apart(key: str, specs: Mapping[str, ModelSpec]) -> str:
    """The settings of a spec that others of its name have otherwise."""
    spec = specs[key]
    same = [one for one in specs.values() if (one.role, one.model) == (spec.role, spec.model)]
    said = [{**_deciding(one), "batch_size": one.batch_size} for one in same]
    mine = said[same.index(spec)]
    names = [name for name in (*spec.settings, "batch_size") if len({repr(one.get(name)) for one in said}) > 1]
    return ", ".join(f"{name}={str(mine.get(name))[:60]}" for name in names)


def _embedding(plan: Plan) -> list[Work]:
    steps, n = plan.steps, len(plan.trajectories)
    pictures = steps + sum(t.start.kind == "image" for t in plan.trajectories)
    works = []
    for name in plan.experiment.embedders:
        family = find("embedder", name).family
        parts: tuple[tuple[Unit, int], ...] = (
            ("embeddings of pictures", pictures), ("embeddings of texts", steps + n)
        )  # fmt: skip
        for unit, rows in parts:
            if family in (_TEXTS_ONLY if unit.endswith("pictures") else _PICTURES_ONLY):
                continue
            works.append(Work(digest([name, unit], 12), "embedder", name, "", None, unit, rows))
    return works


def _money(work: Work) -> Money:
    """What a hosted model will charge; what the service counts itself is not known beforehand."""
    assert work.spec is not None
    price = work.spec.price or PRICES.get(work.model)
    if price is None:
        return Money(0.0, None, (f"{work.name}: nobody has said what it charges",))
    low = work.rows * (price.image or 0.0)
    tokens = work.spec.settings.get("max_new_tokens") if work.role == "captioner" else None
    high: float | None = low
    unknown = []
    if price.output:
        if isinstance(tokens, int):
            high = low + work.rows * tokens * price.output * 1e-6
        else:
            high = None
            unknown.append(f"{work.name}: the service counts a picture's tokens written, ${price.output:g} a million")
    if price.input:
        high = None
        unknown.append(f"{work.name}: the service counts the tokens read, ${price.input:g} a million")
    return Money(low, high, tuple(unknown))


def _in_turn(plan: Plan) -> int:
    """Loads with room for one model: the engine's order, with cohorts of one condition as one."""
    iterations = plan.experiment.iterations
    shown = min(iterations, _SIMULATED)
    groups: dict[tuple[str, int], list[str]] = {}
    describing = {
        (cohort.trajectories[0].condition.id, cohort.trajectories[0].start.t0)
        for cohort in plan.cohorts
        if _pictures_described(cohort)
    }
    for cohort in plan.cohorts:
        first = cohort.trajectories[0]
        key = (first.condition.id, first.start.t0)
        if key in groups:
            continue
        t0 = first.start.t0
        needed = [s for t in range(t0 + 1, t0 + shown + 1) for s in first.condition.pair_at(t)]
        if key in describing:
            needed.insert(0, first.condition.chain[-1])
        groups[key] = [weights_key(spec) for spec in needed if not is_hosted(spec.model)]
    loads = count_turns(list(groups.values())) * _rounds(plan)
    return loads if shown == iterations else round(loads * iterations / shown)


def _rounds(plan: Plan) -> int:
    """In how many parts the cohorts go through the models, since what is drawn waits in memory to be described."""
    waiting = 0
    for trajectory in plan.trajectories:
        wide, tall = size_of(trajectory.condition.chain[0]) or (0, 0)
        waiting += 3 * wide * tall
    return -(-waiting // HELD_BYTES) or 1


def count_turns(groups: Sequence[Sequence[str]]) -> int:
    """Loads with one place: everyone who waits for the loaded model goes on, then the first one's is loaded.

    Args:
        groups: the models that each group needs, one after the other.
    """
    at = [0] * len(groups)
    loads = 0
    while (first := next((i for i, need in enumerate(groups) if at[i] < len(need)), None)) is not None:
        loaded = groups[first][at[first]]
        loads += 1
        for i, need in enumerate(groups):
            while at[i] < len(need) and need[at[i]] == loaded:
                at[i] += 1
    return loads
