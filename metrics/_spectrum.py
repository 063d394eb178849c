"""Eigenvalues of the similarity matrix of unit rows, and Hill numbers of them."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import logsumexp

from metrics._checks import FloatArray, IntArray


def gram(rows: FloatArray) -> FloatArray:
    """Return X Xᵀ or Xᵀ X, whichever is smaller; both have the same eigenvalues other than 0."""
    n, d = rows.shape
    return np.asarray(rows @ rows.T if n <= d else rows.T @ rows, dtype=np.float64)


def eigenvalues(rows: FloatArray) -> FloatArray:
    """Return the eigenvalues of X Xᵀ / ‖X‖² that are above rounding error; they sum to 1."""
    return _normalised(np.asarray(np.linalg.eigvalsh(gram(rows)), dtype=np.float64), max(rows.shape))


def hill_number(shares: FloatArray, q: float) -> float:
    """Hill number of order q of positive shares that sum to 1: (Σ p^q)^(1/(1−q)), exp(H) at q = 1."""
    logs = np.log(shares)
    if math.isinf(q):
        return float(math.exp(-logs.max()))
    if q == 0.0:
        return float(shares.size)
    if q == 1.0:
        return float(math.exp(-np.dot(shares, logs)))
    if abs(q - 1.0) < 0.5:
        # Σ p^q − 1 loses all its digits to cancellation as q → 1; this form does not.
        return float(math.exp(math.log1p(np.dot(shares, np.expm1((q - 1.0) * logs))) / (1.0 - q)))
    return float(math.exp(logsumexp(q * logs) / (1.0 - q)))


def log_vendi_without_each(rows: FloatArray, codes: IntArray) -> FloatArray:
    """Return ln Vendi (q = 1) of unit rows without each group in turn, from one eigendecomposition.

    With A = Σ xxᵀ/n, B = A − UUᵀ (the group's rows taken out) and Δ(s) = tr(B + s)⁻¹ − tr(A + s)⁻¹,

        tr B ln B − tr A ln A = ∫₀^∞ (s Δ(s) − tr UUᵀ/(1 + s)) ds,
        Δ(s) = tr[(I − Uᵀ(A + s)⁻¹U)⁻¹ Uᵀ(A + s)⁻²U]        (Woodbury),

    where the matrix to invert is only as wide as the group. The integrand is analytic in the strip
    |Im ln s| < π, so the trapezoid rule in ln s converges like exp(−2π²/step).
    """
    n = len(rows)
    values, coordinates = _eigen_coordinates(rows)
    step = 0.75
    nodes = np.exp(np.arange(-22.0, 22.0, step))
    entropy = -float(np.dot(values, np.log(values)))
    result = np.empty(int(codes.max()) + 1)
    order = np.argsort(codes, kind="stable")
    for group, members in enumerate(np.split(order, np.cumsum(np.bincount(codes))[:-1])):
        u = coordinates[members]
        removed = len(members) / n
        integrand = nodes * _trace_shift(values, u, nodes) - removed / (1.0 + nodes)
        left = entropy - float(np.sum(integrand * nodes)) * step
        result[group] = left / (1.0 - removed) + math.log(1.0 - removed)
    return result


def _trace_shift(values: FloatArray, u: FloatArray, nodes: FloatArray) -> FloatArray:
    """Δ(s) at every node, for U given by its coordinates `u` of shape (rows of the group, rank)."""
    resolvent = 1.0 / (values[:, None] + nodes)
    if len(u) == 1:
        squared = u[0] ** 2
        return np.asarray((squared @ resolvent**2) / (1.0 - squared @ resolvent), dtype=np.float64)
    i, j = np.triu_indices(len(u))
    products = (u[i] * u[j]) @ np.hstack([resolvent, resolvent**2])
    both = np.empty((len(u), len(u), 2 * len(nodes)))
    both[i, j] = both[j, i] = products
    first, second = np.moveaxis(both[..., : len(nodes)], 2, 0), np.moveaxis(both[..., len(nodes) :], 2, 0)
    return np.asarray(np.trace(np.linalg.solve(np.eye(len(u)) - first, second), axis1=1, axis2=2))


def _eigen_coordinates(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the eigenvalues of Σ xxᵀ/n and the coordinates of x/√n in its eigenvectors, shape (n, rank)."""
    n, d = rows.shape
    values, vectors = np.linalg.eigh(gram(rows) / n)
    keep = values > values.max() * max(n, d) * np.finfo(np.float64).eps
    values, vectors = values[keep], vectors[:, keep]
    coordinates = vectors * np.sqrt(values) if n <= d else rows @ vectors / math.sqrt(n)
    return values, coordinates


def _normalised(values: FloatArray, size: int) -> FloatArray:
    # A Gram matrix has no negative eigenvalue, and one below this is rounding error: it would add to the rank
    # and, for q < 1, to the score.
    kept = values[values > values.max() * size * np.finfo(np.float64).eps]
    return np.asarray(kept / kept.sum(), dtype=np.float64)
