"""Costs in words and tables, for `loopsim plan`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from loopsim.cli._shared import print_text, table

if TYPE_CHECKING:
    from loopsim.costs import Costs, Estimate, Loads, Money, Rate, Work

_UNKNOWN = "unknown"


def print_costs(costs: Costs) -> None:
    """What a plan costs, on stdout."""
    rows = [(work.name, f"{work.rows:,} {work.unit}", _sized(work), _rated(costs, work)) for work in costs.works]
    table("What it costs", ("model", "makes", "pixels", "seconds each"), rows)
    print_text(f"model loads: {_loads(costs.loads)}")
    disk = costs.disk
    parts = (
        f"pictures {_bytes(disk.pictures)} ({disk.basis}), other columns {_bytes(disk.rows)}, "
        f"vectors {_bytes(disk.vectors)}"
    )
    print_text(f"disk: about {_bytes(disk.total)}: {parts}")
    for line in [_time(one) for one in costs.times] or ["time: unknown; --probe measures a step or two of each model"]:
        print_text(line)
    if costs.money is not None:
        print_text(_money(costs.money))
    for source in dict.fromkeys(rate.source for work in costs.works for rate in work.rates if rate.source[0] == "h"):
        print_text(f"published rates: {source}")
    if costs.probe is not None:
        for work in costs.works:
            if work.key in costs.probe.not_measured:
                print_text(f"not measured: {work.name}: {costs.probe.not_measured[work.key]}")


def costs_as_json(costs: Costs) -> dict[str, Any]:
    """The same as values; None where nobody knows."""
    works = [
        {
            "role": work.role, "model": work.model, "settings": work.settings, "unit": work.unit, "rows": work.rows,
            "size": work.size, "rates": [asdict(rate) for rate in work.rates],
            "why_unknown": None if costs.probe is None else costs.probe.not_measured.get(work.key),
        }
        for work in costs.works
    ]  # fmt: skip
    return {
        "pictures": costs.pictures, "captions": costs.captions, "embeddings": costs.embeddings, "models": works,
        "loads": asdict(costs.loads) | {"expected": costs.loads.expected},
        "disk": asdict(costs.disk) | {"total": costs.disk.total},
        "times": [asdict(one) for one in costs.times],
        "dollars": None if costs.money is None else asdict(costs.money),
        "measured_on": None if costs.probe is None else costs.probe.hardware,
    }  # fmt: skip


def _sized(work: Work) -> str:
    if work.unit != "pictures":
        return ""
    return _UNKNOWN if work.size is None else f"{work.size[0]} × {work.size[1]}"


def _rated(costs: Costs, work: Work) -> str:
    if work.money is not None:
        return "its service's"
    return "; ".join(_rate(rate) for rate in work.rates) or _UNKNOWN


def _rate(rate: Rate) -> str:
    note = f" ({rate.note})" if rate.note else ""
    return f"{rate.seconds:.3g} on {rate.hardware}, batch {rate.batch}{note}"


def _loads(loads: Loads) -> str:
    known = "" if loads.weights_gb is None else f" ({loads.weights_gb:g} GB of weights in bfloat16)"
    if loads.unknown:
        known = f" (weights of {', '.join(loads.unknown)}: size unknown)"
    if loads.together == loads.in_turn:
        return f"{loads.together}{known}"
    if loads.fit is None:
        return (
            f"{loads.together} where all models fit on the device together{known}, {loads.in_turn:,} where one does "
            "(--memory GB decides)"
        )
    room = "" if loads.room_gb is None else f" in {loads.room_gb:g} GB"
    if loads.fit:
        return f"{loads.together}: all models fit together{room}{known}"
    return f"{loads.in_turn:,}: the models do not fit together{room}{known}, so cohorts take turns"


def _time(one: Estimate) -> str:
    if not one.unknown:
        return f"time: about {duration(one.seconds)} on {one.hardware}; measuring and figures come on top"
    return f"time: {duration(one.seconds)} on {one.hardware}, without what is unknown: {', '.join(one.unknown)}"


def _money(money: Money) -> str:
    if money.high is None:
        known = f"at least ${money.low:,.2f}" if money.low else _UNKNOWN
    else:
        known = f"${money.low:,.2f}" if money.low == money.high else f"between ${money.low:,.2f} and ${money.high:,.2f}"
    return "\n".join([f"hosted models: {known}", *(f"  not known beforehand: {line}" for line in money.unknown)])


def duration(seconds: float) -> str:
    """Such as `40 s`, `12 min`, `3.5 h`, `9 days`."""
    for unit, size in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _bytes(n: int | None) -> str:
    if n is None:
        return _UNKNOWN
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1e3:.3g} kB"
