"""What the factors of a crossed design account for, what failures could hide, and MCD and SDR over all starts."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopsim.measure.cells import first_fitted
from loopsim.measure.rows import Row, bare, guarded, missing, row
from loopsim.states import States
from metrics import missing as gaps
from metrics import telephone
from metrics.attribution import attribution
from metrics.drift import distance_at_lag, distance_to
from metrics.jackknife import float_of
from metrics.result import Estimate, signature

FloatArray = NDArray[np.float64]


def varying_factors(trajectories: pd.DataFrame, of_starts: Sequence[str] = ()) -> list[str]:
    """The fewest factor columns that tell the conditions apart, models before settings; replicates where there are.

    A setting that its model fixes, or that goes with another factor, tells nothing more and is left out. So are the
    columns `of_starts`: a start is run under all conditions, so what it is can only be compared between starts.
    """
    own = {"trajectory_id", "cohort", "start_id", "start_kind", "start_text", "t0", "parent", "lineage", "group",
           "condition", "label", "replicate", *of_starts}  # fmt: skip
    columns = [c for c in trajectories.columns if c not in own and trajectories[c].nunique(dropna=False) > 1]
    columns.sort(key=lambda c: "." in c)  # a stable sort: models first
    chosen: list[str] = []
    for column in columns:
        known = trajectories[[*chosen, column]].astype(str)
        if chosen and known.groupby(chosen)[column].nunique().max() <= 1:
            continue
        chosen.append(column)
    return [*chosen, *(["replicate"] if trajectories["replicate"].nunique() > 1 else [])]


def attribution_rows(states: States, factors: Sequence[str], n_permutations: int = 999) -> Iterator[Row]:
    """ω² of each factor, for drift, step and the last embedding, of one group of starts under all conditions."""
    n = len(states.vectors)
    first = first_fitted(states.ts)
    lasted = states.present[:, first:].all(axis=1) & states.present[:, 0]
    kept = lasted & np.isin(states.starts, _complete(states, lasted))
    if not kept.any():
        yield missing("attribution", n, "no start was completed under every condition", item="drift")
        return
    x, mask = states.vectors[kept], states.present[kept]
    table = states.trajectories[kept]
    labels = {name: table[name].astype(str).to_numpy(dtype=object) for name in factors}
    responses: dict[str, FloatArray] = {"endpoint": x[:, -1].astype(np.float64)}
    if x.shape[1] > 1:
        responses = {"drift": distance_to(x, 0, mask)[:, -1], **responses}
    if x.shape[1] > first + 1:  # a chain that is one step long has no mean step
        responses["step"] = distance_at_lag(x, 1, mask)[:, first + 1 :].mean(axis=1)
    for name, response in responses.items():
        shares = functools.partial(_shares, response, table, labels, name, n_permutations)
        yield from guarded("attribution", n, shares, name)


def _complete(states: States, lasted: NDArray[np.bool_]) -> list[str]:
    """Starts that are there under every condition, all replicates lasting: a balanced panel."""
    table = pd.DataFrame({"start": states.starts, "lasted": lasted})
    whole = table.groupby("start")["lasted"].agg(["all", "size"])
    return [str(name) for name in whole.index[whole["all"] & (whole["size"] == whole["size"].max())]]


def _shares(
    response: FloatArray, table: pd.DataFrame, labels: dict[str, NDArray[np.object_]], name: str, count: int
) -> list[Row]:
    found = attribution(response, table["start_id"].tolist(), labels, name=name, n_permutations=count)
    n, rows = len(response), []
    for effect in found.effects:
        item = f"{name}: {effect.name}"
        verdict = found.reading
        rows.append(row("attribution", effect.omega_squared, item=item, verdict=verdict))
        rows.append(bare("attribution:share", effect.share, n, {"of": name}, "R², biased upwards", item=item))
        if math.isnan(effect.p):
            rows.append(missing("attribution:p", n, effect.undefined, item=item))
        else:
            rows.append(bare("attribution:p", effect.p, n, {"of": name}, "a p-value has none", item=item))
    rows.append(bare("attribution:share", found.residual_share, n, {"of": name}, "R²", item=f"{name}: residual"))
    return rows


# ---- failures --------------------------------------------------------------------------------------------------------


def failure_rows(states: States, failed: int) -> Iterator[Row]:
    """Where the mean distance to the start must lie, whatever the trajectories that failed would have shown."""
    n = len(states.vectors)
    yield bare("failed_share", failed / n, n, {}, "all trajectories are counted")
    if not failed:
        return
    distances = distance_to(states.vectors, 0, states.present)
    last = distances[:, -1]
    starts = list(dict.fromkeys(states.starts))
    most = max(int((states.starts == s).sum()) for s in starts)
    values, present = np.full((len(starts), most), math.nan), np.zeros((len(starts), most), dtype=bool)
    for i, start in enumerate(starts):
        mine = last[states.starts == start]
        values[i, : len(mine)] = mine
        present[i, : len(mine)] = np.isfinite(mine)
    found = gaps.worst_case_mean(values, present, 0.0, 2.0)
    middle = float(np.nanmean(last)) if np.isfinite(last).any() else math.nan
    low, high = found.ci_low, found.ci_high
    if any(math.isnan(number) for number in (middle, low, high)):
        yield missing("distance_to_start:worst_case", n, found.undefined or "no trajectory lasted")
    else:
        estimate = Estimate(middle, min(low, middle), max(high, middle), found.n, found.signature)
        yield row("distance_to_start:worst_case", estimate, t=int(states.ts[-1]))


# ---- telephone -------------------------------------------------------------------------------------------------------


def telephone_rows(pictures: States | None, texts: States | None) -> Iterator[Row]:
    """MCD and SDR of one condition, its text-first and image-first starts together (Mollah et al. 2025).

    Here one embedder serves all channels; the paper uses three, so its numbers do not compare.
    """
    similarities: dict[str, FloatArray] = {}
    at: dict[str, tuple[int, ...]] = {}
    for origin in ("text", "image"):
        home = texts if origin == "text" else pictures
        for later, other in (("text", texts), ("image", pictures)):
            if home is not None and other is not None:
                found = _channel(home, other, origin, later)
                if found is not None:
                    similarities[f"{origin}-{later}"], at[f"{origin}-{later}"] = found
    if not similarities:
        return
    n = sum(len(v) for v in similarities.values())
    for channel, values in similarities.items():
        parameters = {"channel": channel, "generations": len(at[channel])}
        sign = signature("channel-mean", {**parameters, "n": len(values), "ci": None})
        reason = "no interval: see distance_to_start, which is 1 minus the same for one channel"
        mean = Estimate(float(values.mean()), math.nan, math.nan, len(values), sign, reason)
        yield row("telephone_similarity", mean, item=channel)
    value = telephone.mcd(similarities)
    yield bare("mcd", value, n, {"embedder": "one"}, "channels have different starts")
    yield from guarded("sdr", n, lambda: _sdr(similarities, at, n))


def _sdr(similarities: dict[str, FloatArray], at: dict[str, tuple[int, ...]], n: int) -> Iterator[Row]:
    found = telephone.sdr(similarities, at)
    for part in ("a", "b", "c"):
        yield bare("sdr", float_of(getattr(found, part)), n, {"fit": "exponential"}, "a fit to means", item=part)
    for channel, parameters in found.channels.items():
        for part, value in zip("abc", parameters, strict=True):
            yield bare("sdr", value, n, {"fit": "exponential"}, "a fit to means", item=f"{channel} {part}")


def _channel(home: States, other: States, origin: str, later: str) -> tuple[FloatArray, tuple[int, ...]] | None:
    """Cosines to generation 0 of the trajectories that begin in `origin`, and the generations they are at."""
    first = (home.trajectories["start_kind"] == origin).to_numpy() & (home.trajectories["t0"] == 0).to_numpy()
    if home.ts[0] != 0 or not first.any():
        return None
    first &= home.present[:, 0]
    # The description of an image start is generation 1; any other state at t = 0 is generation 0 itself.
    begin = (0 if (origin, later) == ("image", "text") else 1) - int(other.ts[0])
    lasted = first & other.present[:, begin:].all(axis=1)
    if not lasted.any() or begin < 0 or other.present.shape[1] <= begin:
        return None
    values = telephone.similarity(home.vectors[lasted, 0], other.vectors[lasted, begin:])
    shift = 0 if origin == later else 1
    # Text-first, picture t comes before text t; image-first, text 0 describes picture 0 and is generation 1.
    ts = other.ts[begin:]
    generations = tuple(int(2 * t - shift if origin == "text" else 2 * t + shift) for t in ts)
    return values, generations
