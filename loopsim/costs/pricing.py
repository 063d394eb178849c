"""A plan with its price: rows, loads, disk, time, money. Pure; what was measured is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loopsim.catalog import preset_name
from loopsim.costs.counting import loads_of, works_of
from loopsim.costs.records import Costs, Disk, Estimate, Money, Probe, Rate, Work
from loopsim.plan import Plan
from loopsim.presets.hosted import is_hosted
from loopsim.presets.rates import EMBEDDING_WIDTHS, RATES, PublishedRate

BYTES_A_PIXEL = {"webp": 1.3, "png": 1.7, "jpeg": 0.55}
"""Of the two photographs that scikit-learn ships (`load_sample_images`), encoded as a run encodes them: 1.17 and 1.47
(webp), 1.50 and 1.89 (png), 0.42 and 0.68 (jpeg). Pictures of postcards: 1.28 (webp)."""
BYTES_A_ROW = 500
"""Of a step without its picture, with a description of about fifty words."""
_FLOAT = 4


def price_plan(plan: Plan, probe: Probe | None = None, room_gb: float | None = None) -> Costs:
    """What a plan costs.

    Args:
        plan: what is to be run.
        probe: what was measured here; without it, published rates are taken where there are any.
        room_gb: memory of the device in GB (10⁹ bytes), where it is to be decided whether all models fit.
    """
    works = tuple(replace(work, rates=_rates(work, probe)) for work in works_of(plan))
    bills = [work.money for work in works if work.money is not None]
    count = {unit: sum(w.rows for w in works if w.unit.startswith(unit)) for unit in ("pictures", "captions", "emb")}
    loads = loads_of(plan, room_gb, None if probe is None or room_gb is not None else probe.fit)
    times = _times(works, probe, loads.expected)
    disk = _disk(plan, works, probe)
    money = _together(bills) if bills else None
    return Costs(works, count["pictures"], count["captions"], count["emb"], loads, disk, times, money, probe)


def _rates(work: Work, probe: Probe | None) -> tuple[Rate, ...]:
    if probe is not None:
        return (probe.rates[work.key],) if work.key in probe.rates else ()
    return tuple(_scaled(work, one) for one in _published(work) if _speaks_of(work, one))


def _published(work: Work) -> tuple[PublishedRate, ...]:
    return RATES.get(preset_name(work.role, work.model), ())


def _speaks_of(work: Work, published: PublishedRate) -> bool:
    """Whether a published rate is about this size, with guidance, and with nothing on top of the model."""
    if work.spec is None or work.role != "generator":
        return False
    s = work.spec.settings
    plain = not any(s.get(name) for name in ("loras", "base", "refiner", "compile"))
    guided = isinstance(guidance := s.get("guidance"), (int, float)) and guidance > 1
    size = "x".join(map(str, work.size or ()))
    return plain and guided and isinstance(s.get("steps"), int) and size == published.size


def _scaled(work: Work, published: PublishedRate) -> Rate:
    assert work.spec is not None
    steps = int(work.spec.settings["steps"] or published.steps)
    note = "" if steps == published.steps else f"{published.seconds:g} s at {published.steps} steps, in proportion"
    seconds = published.seconds * steps / published.steps
    return Rate(seconds, published.hardware, published.batch, published.source, note)


def _times(works: Sequence[Work], probe: Probe | None, loads: int | None) -> tuple[Estimate, ...]:
    """For each kind of hardware, what is known of it; hosted models take the time of their service."""
    estimates = []
    for hardware in dict.fromkeys(rate.hardware for work in works for rate in work.rates):
        seconds, unknown = 0.0, []
        for work in works:
            rate = next((r for r in work.rates if r.hardware == hardware), None)
            if rate is None:
                unknown.append(f"{work.role} {work.model}")
            else:
                seconds += work.rows * rate.seconds
        if probe is None or loads is None:
            unknown.append("loading the models")
        else:
            known = probe.load_seconds
            seconds += sum(known.values()) * max(loads / max(len(known), 1), 1.0)
        estimates.append(Estimate(hardware, seconds, tuple(dict.fromkeys(unknown))))
    return tuple(estimates)


def _disk(plan: Plan, works: Sequence[Work], probe: Probe | None) -> Disk:
    kind = plan.experiment.image_format
    drawn = [work for work in works if work.unit == "pictures"]
    sizes: list[float | None] = []
    for work in drawn:
        measured = None if probe is None else probe.picture_bytes.get(work.key)
        guess = None if work.size is None else work.size[0] * work.size[1] * BYTES_A_PIXEL[kind]
        each = measured if measured is not None else guess
        sizes.append(None if each is None else each * work.rows)
    here = probe is not None and all(work.key in probe.picture_bytes for work in drawn)
    basis = f"{kind}, as measured here" if here else f"{kind}, about {BYTES_A_PIXEL[kind]:g} bytes a pixel"
    widths = {**EMBEDDING_WIDTHS, **(probe.widths if probe is not None else {})}
    vectors = [
        None if work.model not in widths else work.rows * widths[work.model] * _FLOAT
        for work in works
        if work.role == "embedder"
    ]
    rows = (plan.steps + len(plan.trajectories)) * BYTES_A_ROW
    return Disk(_sum(sizes), rows, _sum(vectors), basis)


def _sum(parts: Sequence[float | None]) -> int | None:
    return None if any(part is None for part in parts) else round(sum(part for part in parts if part is not None))


def _together(bills: Sequence[Money]) -> Money:
    highs = [bill.high for bill in bills]
    high = None if any(one is None for one in highs) else sum(one for one in highs if one is not None)
    return Money(sum(bill.low for bill in bills), high, tuple(line for bill in bills for line in bill.unknown))


def needs_service(work: Work) -> bool:
    """Whether a service does it, so that nothing can be measured here without paying."""
    return work.spec is not None and is_hosted(work.model)
