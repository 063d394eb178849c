"""MCD and SDR, the drift measures of the telephone game of Mollah et al. 2025 (arXiv 2509.04438).

Generations count half-steps: text-first, image t is generation 2t − 1 and text t generation 2t; image-first the
other way round. Four channels compare generation g with generation 0: text-text and text-image in text-first
chains, image-image and image-text in image-first ones. Their embedders are MPNet for text-text, DINO for
image-image and CLIP for the mixed two; any can be used here, but then the numbers do not compare with theirs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeWarning, curve_fit

from metrics import jackknife
from metrics._checks import FloatArray, UndefinedError, as_array, nan_if_undefined, unit
from metrics.result import Estimate, NanBecause, signature, undefined

__all__ = ["CHANNELS", "Sdr", "generations", "mcd", "mcd_estimate", "sdr", "similarity"]

CHANNELS = ("text-text", "image-image", "text-image", "image-text")
"""From the modality of generation 0, to that compared with it."""


@dataclass(frozen=True)
class Sdr:
    """Semantic drift rate: S(g) ≈ a·exp(−b·g) + c, parameters averaged over channels."""

    a: float
    """Similarity that is lost in the end."""
    b: float
    """Rate of loss per generation, that is per half-step."""
    c: float
    """Similarity that is never lost."""
    channels: Mapping[str, tuple[float, float, float]]
    """(a, b, c) of each channel; nan, with its reason, where no decay can be fitted."""


def generations(channel: str, last: int = 20) -> tuple[int, ...]:
    """Generations at which a channel is compared with generation 0, up to `last`, an even number.

    Even ones where the modality is that of generation 0, odd ones otherwise.
    """
    _check_channel(channel)
    if last < 2 or last % 2:
        raise ValueError(f"last must be even and at least 2, a whole number of cycles; it is {last}")
    source, target = channel.split("-")
    return tuple(range(2, last + 1, 2) if source == target else range(1, last, 2))


def similarity(origin: ArrayLike, later: ArrayLike) -> FloatArray:
    """Cosine of each later state with its chain's generation 0.

    Args:
        origin: shape (n, d).
        later: shape (n, G, d), the generations of one channel in order.

    Returns:
        Shape (n, G); its mean over n is the S_d(g) of the paper.

    Raises:
        ValueError: empty, non-finite or zero vectors, or shapes that do not match.
    """
    first, rest = as_array(origin, "origin", 2), as_array(later, "later", 3)
    if (len(first), first.shape[1]) != (len(rest), rest.shape[2]):
        raise ValueError(f"origin {first.shape} and later {rest.shape} differ in n or d")
    try:
        return np.asarray(np.einsum("nd,ngd->ng", unit(first, "origin"), unit(rest, "later")), dtype=np.float64)
    except UndefinedError as error:
        raise ValueError(str(error)) from error


@nan_if_undefined
def mcd(similarities: Mapping[str, ArrayLike]) -> float:
    """Mean cumulative drift: despite its name a similarity, higher is better.

    Formula: mean over the four channels of the mean over generations g of S_d(g).

    Args:
        similarities: for each of `CHANNELS`, shape (n, G) as `similarity` returns. n may differ.

    Returns:
        A cosine in [−1, 1]: 1 nothing was lost. nan where a channel is missing, because channels differ in
        level and a mean of fewer would not compare.

    Raises:
        ValueError: an unknown channel, or empty or non-finite values.
    """
    return float(np.mean([values.mean() for values in _four(similarities).values()]))


def mcd_estimate(similarities: Mapping[str, ArrayLike], confidence: float = 0.95) -> Estimate:
    """Estimate `mcd` with an interval over starts: row i of every channel is start i, so n must be equal."""
    try:
        channels = _four(similarities)
    except UndefinedError as error:
        return undefined(str(error), 0, signature("mcd"))
    sizes = {name: len(values) for name, values in channels.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"row i must be start i in every channel; their rows are {sizes}")
    by_start = np.mean([values.mean(axis=1) for values in channels.values()], axis=0)
    return jackknife.mean_estimate(by_start, name="mcd", confidence=confidence, low=-1.0, high=1.0)


def sdr(similarities: Mapping[str, ArrayLike], at: Mapping[str, ArrayLike] | None = None) -> Sdr:
    """Semantic drift rate: fit a·exp(−b·g) + c to S_d(g) in each channel, and average the parameters.

    Least squares from (1, 0.1, 0), as the authors' code does; see `metrics.decay` for a decay that is tested
    against a null and can come out as "none".

    Args:
        similarities: as in `mcd`.
        at: the generations of each channel's columns; `generations(channel, 2·G)` where not given.

    Returns:
        An `Sdr`. Its averages are nan, with the reason, where a channel is missing or cannot be fitted: fewer
        than 4 generations, or a flat curve, on which a and b mean nothing.
    """
    fits: dict[str, tuple[float, float, float]] = {}
    for name, values in _named(similarities).items():
        if at is not None and name not in at:
            raise ValueError(f"`at` does not say the generations of {name}")
        g = generations(name, 2 * values.shape[1]) if at is None else at[name]
        fits[name] = _fit(as_array(g, "at", 1), values.mean(axis=0))
    missing = [name for name in CHANNELS if name not in fits]
    if missing:
        none = NanBecause(f"SDR needs four channels; missing: {', '.join(missing)}")
        return Sdr(none, none, none, fits)
    bad = next((fit[0] for fit in fits.values() if math.isnan(fit[0])), None)
    if bad is not None:
        return Sdr(bad, bad, bad, fits)
    a, b, c = np.mean(list(fits.values()), axis=0)
    return Sdr(float(a), float(b), float(c), fits)


def _fit(g: FloatArray, curve: FloatArray) -> tuple[float, float, float]:
    if g.shape != curve.shape:
        raise ValueError(f"there are {len(curve)} generations, but {len(g)} numbers for them")
    if len(curve) < 4:
        return _no_fit(f"three parameters need 4 generations; there are {len(curve)}")
    if np.ptp(curve) <= 1e-9:
        return _no_fit("the similarity does not change, so no decay can be fitted")
    with warnings.catch_warnings():
        warnings.simplefilter("error", OptimizeWarning)
        try:
            fitted, _ = curve_fit(_decay, g, curve, p0=(1.0, 0.1, 0.0), maxfev=5000)
        except (RuntimeError, OptimizeWarning) as error:
            return _no_fit(f"the fit did not converge: {error}")
    return float(fitted[0]), float(fitted[1]), float(fitted[2])


def _decay(g: FloatArray, a: float, b: float, c: float) -> FloatArray:
    # A search that strays to b << 0 may pass through infinity; it must not warn on its way back.
    with np.errstate(over="ignore"):
        return np.asarray(a * np.exp(-b * g) + c, dtype=np.float64)


def _no_fit(reason: str) -> tuple[float, float, float]:
    return NanBecause(reason), NanBecause(reason), NanBecause(reason)


def _check_channel(channel: str) -> None:
    if channel not in CHANNELS:
        raise ValueError(f"unknown channel {channel!r}; known: {', '.join(CHANNELS)}")


def _named(similarities: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    for name in similarities:
        _check_channel(name)
    return {name: as_array(values, name, 2) for name, values in similarities.items()}


def _four(similarities: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    channels = _named(similarities)
    missing = [name for name in CHANNELS if name not in channels]
    if missing:
        raise UndefinedError(f"MCD needs four channels; missing: {', '.join(missing)}")
    return channels
