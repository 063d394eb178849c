"""Rows of `measurements.parquet`: one value with its n, interval, signature and reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from metrics.result import Estimate, reason_of, signature, undefined

Row = dict[str, Any]

COSTLY = "it costs a computation without each start, and is given at the first and last iterations only"
"""Why a value has no interval in the middle of a curve."""

COLUMNS = (
    "t", "modality", "embedder", "metric", "item", "value", "ci_low", "ci_high", "n", "signature", "undefined",
    "verdict",
)  # fmt: skip
"""Of the measurements, after the grouping columns. `item` says of what: a motif, a concept, a factor, a window."""


def signed(signature: str, more: Mapping[str, object]) -> str:
    """A signature with more of what the number depends on, before the version; what it says already is kept."""
    head, _, version = signature.rpartition("|v:")
    said = {part.partition(":")[0] for part in head.split("|")[1:]}
    added = "".join(f"|{key}:{value}" for key, value in more.items() if key not in said)
    return f"{head}{added}|v:{version}"


def depending(rows: Iterable[Row], more: Mapping[str, object]) -> Iterator[Row]:
    """Rows with more in their signatures of what they depend on."""
    return (one | {"signature": signed(one["signature"], more)} for one in rows)


def row(
    metric: str, estimate: Estimate, t: int | None = None, item: str | None = None, verdict: str | None = None
) -> Row:
    """The row of an estimate."""
    return {
        "t": t, "metric": metric, "item": item, "value": estimate.value, "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high, "n": estimate.n, "signature": estimate.signature,
        "undefined": estimate.undefined, "verdict": verdict,
    }  # fmt: skip


def bare(
    metric: str,
    value: float,
    n: int,
    parameters: Mapping[str, object],
    why: str,
    t: int | None = None,
    item: str | None = None,
    verdict: str | None = None,
) -> Row:
    """The row of a value without an interval; `why` says why there is none."""
    sign = signature(metric.replace(":", "_"), {**parameters, "n": n, "ci": None})
    reason = reason_of(value) if math.isnan(value) else f"no interval: {why}"
    return row(metric, Estimate(value, math.nan, math.nan, n, sign, reason), t, item, verdict)


def missing(
    metric: str, n: int, why: str, t: int | None = None, item: str | None = None, verdict: str | None = None
) -> Row:
    """The row of a value that does not exist."""
    return row(metric, undefined(why, n, signature(metric.replace(":", "_"), {"n": n})), t, item, verdict)


def guarded(metric: str, n: int, make: Callable[[], Iterable[Row]], item: str | None = None) -> Iterator[Row]:
    """The rows of `make`, or one that says why there are none: metrics refuse what is too short or too small.

    Vectors were checked before (`loopsim.measure.cells`), so what is refused here is the size of the data.
    """
    try:
        rows = list(make())
    except ValueError as error:
        rows = [missing(metric, n, str(error), item=item)]
    yield from rows
