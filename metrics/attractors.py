"""Do trajectories end in a few motifs? Clusters of endpoints, and the nulls that also give clusters.

k-means always returns k clusters, from noise too. So the clusters of the endpoints are compared with those of
Gaussian clouds of the same mean and spread, and with those of the starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.cluster import HDBSCAN, KMeans

from metrics._checks import FloatArray, IntArray, as_codes, as_rows
from metrics._clusters import mean_silhouettes, scan
from metrics._states import directions
from metrics.result import signature

__all__ = ["DensityClusters", "EndpointClusters", "density_clusters", "endpoint_clusters", "silhouette"]

_FEWEST = 10
_MATCHING_ROUNDS, _MATCHING_CLOUDS = 15, 8
_TEST_KS = (2, 3, 4, 6, 8, 12, 16, 24)


@dataclass(frozen=True, slots=True, eq=False)
class EndpointClusters:
    """k-means of endpoints over a range of k, and whether it says more than a null does."""

    ks: tuple[int, ...]
    """Numbers of clusters tried."""
    silhouettes: tuple[float, ...]
    """Mean silhouette at each k: 1 tight and far apart, 0 touching."""
    best_k: int
    """The k with the highest silhouette, 1 if all endpoints are alike. Noise has one too: see `clustered`."""
    labels: IntArray
    """Cluster of each endpoint at `best_k`, shape (n,)."""
    centres: FloatArray
    """Unit vectors of the clusters' means at `best_k`, shape (best_k, d)."""
    gaps: tuple[float, ...]
    """At each tested k, mean ln(W_k/W_1) of the Gaussian clouds minus that of the endpoints; above 0 is tighter."""
    gap_errors: tuple[float, ...]
    """Standard deviation of ln(W_k/W_1) over the clouds."""
    tested_ks: tuple[int, ...]
    """The k of `gaps`."""
    p_gaussian: float
    """Share of Gaussian clouds as clustered as the endpoints (largest silhouette over the tested k)."""
    p_start: float
    """p-value of "endpoints are more clustered than starts"; nan without starts."""
    clustered: bool
    """True where the endpoints beat every null that was asked for, at level alpha."""
    n: int
    """Prompts that the tests rest on: one trajectory of each."""
    signature: str
    """Every choice that could change the numbers."""
    undefined: str = ""
    """Why p_gaussian is nan; empty where it is not."""


def endpoint_clusters(
    end: ArrayLike,
    start: ArrayLike | None = None,
    prompts: ArrayLike | Sequence[object] | None = None,
    *,
    ks: Sequence[int] = tuple(range(2, 31)),
    n_nulls: int = 99,
    max_prompts: int = 200,
    alpha: float = 0.05,
    seed: int = 0,
) -> EndpointClusters:
    """Cluster endpoints by k-means over k and test whether there are clusters at all.

    Statistic of both tests: the largest silhouette over a coarse grid of k. Against a Gaussian: clouds are drawn
    that, once scaled to unit length, have the mean of the endpoints and their spread along each principal
    axis, but no other structure; p counts those that are as clustered. Against the starts: both sets
    are centred, so that a register shift is no cluster, and scaled to equal spread, so that contraction is
    none either; start and end are then swapped within trajectories at random. Replicates of one prompt
    resemble each other and would pass for clusters, so the tests take one trajectory of each prompt, at
    random; `silhouettes` and `labels` describe all rows.

    Args:
        end: (n, d) embeddings at the last iteration; scaled to unit length here.
        start: (n, d) embeddings of the same trajectories at t = 0, for the second null.
        prompts: (n,), the prompt of each trajectory; None makes each a prompt of its own.
        ks: numbers of clusters to describe; those above n − 1, or the number of different rows, are left out.
        n_nulls: clouds and swaps drawn for the tests.
        max_prompts: most prompts that the tests use, at random; their time grows with its square.
        alpha: level of `clustered`.
        seed: of k-means, of the choice of replicates and of the nulls.

    Returns:
        An `EndpointClusters`. `clustered` false with a large silhouette means: noise has it too. True says that
        there are clusters, not that chains converge: compare distances between trajectories as well. A few
        outliers, far from a cloud of few dimensions, pass for clusters.

    Raises:
        ValueError: empty, non-finite or misshapen input, a zero vector, fewer than 10 prompts, k below 2, or
            fewer nulls than the level needs.

    References:
        Rousseeuw (1987) silhouette; Tibshirani, Walther & Hastie (2001) gap; Langsrud (2005) rotation tests.
    """
    x = directions(end, "end", 2)
    count = len(x)
    if not 0 < alpha < 1 or n_nulls < math.ceil(1 / alpha) - 1:
        raise ValueError(
            f"alpha is {alpha} and n_nulls {n_nulls}; alpha must lie between 0 and 1, n_nulls be 1/alpha - 1 or more"
        )
    tried = _usable(ks, x)
    rng = np.random.default_rng(seed)
    chosen = _tested(as_codes(prompts, count, "prompts"), max_prompts, rng)
    sign = signature(
        "endpoint_clusters",
        {
            "k": _written(ks),
            "n": count,
            "start": start is not None,
            "nulls": n_nulls,
            "max": max_prompts,
            "alpha": alpha,
            "unit": "prompt",
            "seed": seed,
        },
    )
    scores, best_k, labels = _best_fit(x, tried, seed)
    centres = _unit(np.stack([x[labels == j].sum(axis=0) for j in range(best_k)]))
    grid = tuple(k for k in _TEST_KS if k <= chosen.size // 3)
    p_gaussian, gaps, errors, why = _against_gaussians(_in_span(x[chosen]), grid, n_nulls, rng)
    p_start = math.nan
    if start is not None:
        origin = directions(start, "start", 2)
        if origin.shape != x.shape:
            raise ValueError(f"start has shape {origin.shape} and end {x.shape}; they must be the same trajectories")
        both = _in_span(np.concatenate([x[chosen], origin[chosen]]))
        p_start = _against_starts(both[: chosen.size], both[chosen.size :], grid, n_nulls, rng)
    clustered = p_gaussian <= alpha and (start is None or p_start <= alpha)
    return EndpointClusters(
        tried, scores, best_k, labels, centres, gaps, errors, grid,
        p_gaussian, p_start, clustered, int(chosen.size), sign, why,
    )  # fmt: skip


def _tested(codes: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """The rows that the tests use: one of each prompt, at random, of no more than so many prompts."""
    chosen = _one_each(codes, rng)
    if chosen.size > most:
        chosen = np.sort(rng.choice(chosen, most, replace=False))
    if chosen.size < _FEWEST:
        raise ValueError(f"end has {chosen.size} prompts; clusters need at least {_FEWEST}")
    return chosen


def _best_fit(x: FloatArray, ks: Sequence[int], seed: int) -> tuple[tuple[float, ...], int, IntArray]:
    """The silhouette of each k, the k of the largest, and its labels; one cluster of all where there is no k."""
    # scikit-learn's k-means, with its greedy seeding, finds better clusters than the fast one of the nulls.
    fits = [np.asarray(KMeans(k, n_init=4, random_state=seed).fit(x).labels_, dtype=np.intp) for k in ks]
    scores = mean_silhouettes(x, fits)
    if not fits:
        return scores, 1, np.zeros(len(x), dtype=np.intp)
    best = int(np.argmax(scores))
    return scores, ks[best], fits[best]


def silhouette(x: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean silhouette of clusters: (b − a)/max(a, b) averaged over rows.

    a is a row's mean Euclidean distance to the others of its cluster, b the smallest mean distance to another
    cluster; a row alone in its cluster counts 0. Between −1 and 1.

    Args:
        x: (n, d).
        labels: (n,), at least two different.

    Raises:
        ValueError: empty or non-finite input, fewer than 2 clusters, or as many as rows.

    References:
        Rousseeuw (1987).
    """
    rows = as_rows(x)
    codes = as_codes(np.asarray(labels), len(rows), "labels")
    count = int(codes.max()) + 1
    if not 2 <= count < len(rows):
        raise ValueError(f"{count} clusters of {len(rows)} rows; a silhouette needs 2 to n − 1")
    return mean_silhouettes(rows, [codes])[0]


@dataclass(frozen=True, slots=True, eq=False)
class DensityClusters:
    """Clusters by density, which may find none."""

    labels: IntArray
    """Cluster of each row, −1 where it belongs to none, shape (n,)."""
    clusters: int
    """How many there are."""
    noise: float
    """Share of rows in no cluster."""
    signature: str
    """Every choice that could change the numbers."""


def density_clusters(x: ArrayLike, *, min_cluster_size: int = 5, min_samples: int | None = None) -> DensityClusters:
    """Cluster unit vectors by density (HDBSCAN), the number of clusters not given; it may be 0.

    Args:
        x: (n, d) embeddings; scaled to unit length, so that Euclidean order is cosine order.
        min_cluster_size: fewest rows that make a cluster.
        min_samples: neighbours that make a row dense; `min_cluster_size` if None.

    Raises:
        ValueError: empty or non-finite input, a zero vector, a size below 2 or above n.

    References:
        Campello, Moulavi & Sander (2013).
    """
    rows = directions(x, "x", 2)
    if not 2 <= min_cluster_size <= len(rows):
        raise ValueError(f"min_cluster_size is {min_cluster_size}; of {len(rows)} rows it can be 2 to {len(rows)}")
    if min_samples is not None and not 1 <= min_samples <= len(rows):
        raise ValueError(f"min_samples is {min_samples}; of {len(rows)} rows it can be 1 to {len(rows)}")
    model = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, copy=True)
    labels = np.asarray(model.fit_predict(rows), dtype=np.intp)
    sign = signature("hdbscan", {"size": min_cluster_size, "samples": min_samples, "metric": "cosine"})
    return DensityClusters(labels, int(labels.max()) + 1, float((labels < 0).mean()), sign)


def _against_gaussians(
    x: FloatArray, ks: Sequence[int], draws: int, rng: np.random.Generator
) -> tuple[float, tuple[float, ...], tuple[float, ...], str]:
    middle, shape = _matched_gaussian(x, rng)
    if not len(shape):
        none = (math.nan,) * len(ks)
        return math.nan, none, none, "all endpoints are the same: there is no spread to cluster"
    observed, dispersion = scan(x[None], ks, rng)
    clouds = [_unit(middle + _random_frame(len(x), len(shape), rng) @ shape) for _ in range(draws)]
    scores, table = scan(np.stack(clouds), ks, rng)
    p = (1 + int((scores >= observed[0]).sum())) / (1 + draws)
    gaps = table.mean(axis=0) - dispersion[0]
    return p, tuple(map(float, gaps)), tuple(map(float, table.std(axis=0))), ""


def _matched_gaussian(x: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return mean (d,) and shape (r, d) of Gaussian clouds that, scaled to unit length, look like unit rows x.

    Scaling to length 1 flattens a wide cloud, so a Gaussian with the moments of x itself would be too round:
    noise was called clustered in up to 20 % of trials at a level of 5 %. The moments before scaling are found by
    iteration: those after it must be the mean of x and its spread along each principal axis.
    """
    count = len(x)
    mean = x.mean(axis=0)
    _, scale, axes = np.linalg.svd(x - mean, full_matrices=False)
    kept = scale > 1e-9 * math.sqrt(count)
    scale, axes = scale[kept], axes[kept]
    middle, width = mean.copy(), scale.copy()
    for _ in range(_MATCHING_ROUNDS if kept.any() else 0):
        means, squares = [], []
        for _ in range(_MATCHING_CLOUDS):
            cloud = _unit(middle + _random_frame(count, width.size, rng) @ (width[:, None] * axes))
            means.append(cloud.mean(axis=0))
            squares.append((((cloud - means[-1]) @ axes.T) ** 2).sum(axis=0))
        width *= scale / np.sqrt(np.mean(squares, axis=0))
        middle += mean - np.mean(means, axis=0)
        # The length before scaling is free; 1 keeps the iteration from drifting.
        length = math.sqrt(float(middle @ middle + width @ width / count))
        middle, width = middle / length, width / length
    return middle, width[:, None] * axes


def _against_starts(
    end: FloatArray, start: FloatArray, ks: Sequence[int], draws: int, rng: np.random.Generator
) -> float:
    pair = np.stack([_standard(end), _standard(start)])
    rows = np.arange(len(end))
    sides = np.concatenate([np.zeros((1, len(end)), dtype=int), rng.integers(0, 2, (draws, len(end)))])
    ends, _ = scan(np.stack([pair[side, rows] for side in sides]), ks, rng)
    starts, _ = scan(np.stack([pair[1 - side, rows] for side in sides]), ks, rng)
    difference = ends - starts
    return float((difference >= difference[0]).mean())


def _in_span(x: FloatArray) -> FloatArray:
    """Return the rows in an orthonormal basis of their span: the same geometry in at most n dimensions."""
    left, scale, _ = np.linalg.svd(x, full_matrices=False)
    out: FloatArray = left * scale
    return out


def _unit(x: FloatArray) -> FloatArray:
    out: FloatArray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    return out


def _standard(x: FloatArray) -> FloatArray:
    centred = x - x.mean(axis=0)
    size = float(np.linalg.norm(centred))
    out: FloatArray = centred / size if size > 1e-9 * math.sqrt(len(x)) else centred * 0.0
    return out


def _random_frame(rows: int, columns: int, rng: np.random.Generator) -> FloatArray:
    """Return (rows, columns) orthonormal columns, uniform among those that sum to zero."""
    normal = rng.standard_normal((rows, columns))
    frame, triangle = np.linalg.qr(normal - normal.mean(axis=0))
    out: FloatArray = frame * np.sign(np.diag(triangle))
    return out


def _one_each(codes: IntArray, rng: np.random.Generator) -> IntArray:
    order = rng.permutation(len(codes))
    first = np.unique(codes[order], return_index=True)[1]
    return np.sort(order[first])


def _written(ks: Sequence[int]) -> str:
    each = sorted({int(k) for k in ks})
    whole = each == list(range(each[0], each[-1] + 1))
    return f"{each[0]}-{each[-1]}" if whole else ",".join(map(str, each))


def _usable(ks: Sequence[int], x: FloatArray) -> tuple[int, ...]:
    """Return the k that k-means can give: none where all rows are the same."""
    if not ks or min(ks) < 2:
        raise ValueError("ks must hold numbers of clusters from 2 up")
    # Rounded, because k-means counts rows that differ in the last digit as one.
    most = min(len(np.unique(x.round(10), axis=0)), len(x) - 1)
    tried = tuple(sorted({int(k) for k in ks if k <= most}))
    if not tried and most > 1:
        raise ValueError(f"no k in ks is at most {most}, the number of different endpoints that can be clustered")
    return tried
