"""Survival of a concept behind an imperfect detector: a two-state hidden Markov model.

A detector that misses 5 % of what is there "kills" a lasting concept at a median of 14 iterations. Here the concept is
present or absent, is lost with a hazard that may change over the run, may come back, and is seen
through misses and false alarms that are estimated along, or given where they were calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from metrics._checks import FloatArray, IntArray, as_codes, as_confidence
from metrics.result import Estimate, signature

__all__ = ["HiddenSurvival", "hidden_survival"]

# Half an event on each side keeps rates off 0 and 1, where no interval exists (Jeffreys).
_PRIOR = 0.5
_STEPS = 500


@dataclass(frozen=True, slots=True, eq=False)
class HiddenSurvival:
    """What lies behind the detections."""

    survival: FloatArray
    """Share of concepts not truly lost by iterations 0 … T, shape (T + 1,)."""
    ci_low: FloatArray
    """Lower limits, nan at t = 0."""
    ci_high: FloatArray
    """Upper limits, nan at t = 0."""
    losses: tuple[Estimate, ...]
    """Hazard of loss per iteration within each block of iterations."""
    blocks: tuple[tuple[int, int], ...]
    """First and last iteration of each block."""
    reappearance: Estimate
    """Hazard of coming back per iteration while absent."""
    miss: Estimate
    """Share of present concepts not detected."""
    false_alarm: Estimate
    """Share of absent concepts detected."""
    present: FloatArray
    """Posterior probability that each was there, shape (n, T)."""
    converged: bool
    """Whether the estimation came to rest."""


def hidden_survival(
    detected: ArrayLike,
    prompts: ArrayLike | Sequence[object] | None = None,
    *,
    miss: float | None = None,
    false_alarm: float | None = None,
    breaks: Sequence[int] = (2, 4, 8, 16, 32, 64),
    initially_present: bool = True,
    confidence: float = 0.95,
) -> HiddenSurvival:
    """Estimate loss and return of a concept, and the errors of its detector, from detections over iterations.

    Hidden state present or absent, present at t = 0; loss hazard λ_b constant within blocks of iterations, one
    hazard of return μ; detections independent given the state, with share of misses m and of false alarms f.
    Maximum likelihood, with half an event added on each side of each rate;
    survival S(t) = Π_{u ≤ t} (1 − λ_{b(u)}). Intervals from the sandwich over prompts on the logit of the rates,
    and on ln(−ln S) for the curve.

    Args:
        detected: (n, T) booleans at iterations 1 … T, one row a concept of a trajectory.
        prompts: (n,), the prompt of each row, the independent unit; None makes each a unit of its own.
        miss: share of misses, where known from re-draws or labelled images; None estimates it.
        false_alarm: share of false alarms, likewise.
        breaks: first iterations of the blocks after the first; those beyond T are ignored. () is one hazard.
        initially_present: False for concepts not named: then "reappearance" is their hazard of birth.
        confidence: of the intervals.

    Returns:
        A `HiddenSurvival`. A rate that ends at ½ has no interval, and the others' are then given that it is ½
        (of a concept that is never absent, return and false alarms are unknown). Errors are told from changes
        by persistence alone: a concept that comes and goes independently at every iteration and one that is
        always there behind a bad detector look the same. So unless both errors are given, an absence is
        assumed to last 2 iterations or more on average (μ ≤ ½). Give `miss` and `false_alarm` where you can.

    Raises:
        ValueError: not booleans, empty, T below 3, or shares outside of 0 … 0.5.

    References:
        Baum et al. (1970), forward and backward; MacKenzie et al. (2003), occupancy with imperfect
        detection; White (1982).
    """
    seen = _checked(detected, miss, false_alarm)
    count, points = seen.shape
    codes = as_codes(prompts, count, "prompts")
    level = as_confidence(confidence)
    model = _Model.build(seen, breaks, initially_present, miss, false_alarm)
    theta, converged = model.fit()
    covariance, why = _sandwich(model, theta, codes)
    units = int(codes.max()) + 1
    if units < 3:
        why = f"{units} prompts; intervals over prompts need 3 or more"
    wide = float(stats.t.isf((1 - level) / 2, max(units - 1, 1)))
    own: dict[str, object] = {
        "t": points,
        "breaks": ",".join(str(first) for first, _ in model.blocks[1:]) or None,
        "initially": "present" if initially_present else "absent",
        "miss": miss,
        "false_alarm": false_alarm,
        "ci": "sandwich",
        "unit": "prompt",
        "level": level,
    }
    at_bound = "it ran into 1/2, beyond which errors and changes look alike: no interval"
    reasons = [why or at_bound if stuck else why for stuck in model.stuck(theta)]
    rates = [
        _rate(theta, covariance, j, name, not model.free[j], wide, units, own, reasons[j])
        for j, name in enumerate(model.names())
    ]
    survival, low, high = _curve(model, theta, covariance, wide, why)
    b = len(model.blocks)
    return HiddenSurvival(
        survival, low, high, tuple(rates[:b]), model.blocks, rates[b], rates[b + 1], rates[b + 2],
        model.present(theta), converged,
    )  # fmt: skip


def _checked(detected: ArrayLike, miss: float | None, false_alarm: float | None) -> NDArray[np.bool_]:
    seen = np.asarray(detected)
    if seen.dtype != bool or seen.ndim != 2 or seen.size == 0:
        raise ValueError(f"detected must be booleans (n, T) and not empty; it is {seen.dtype} of {seen.shape}")
    if seen.shape[1] < 3:
        raise ValueError(f"detected has {seen.shape[1]} iterations; errors and losses are told apart from 3 on")
    for name, share in (("miss", miss), ("false_alarm", false_alarm)):
        if share is not None and not 0 < share < 0.5:
            raise ValueError(f"{name} must lie between 0 and 0.5; it is {share}")
    return seen


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """The likelihood. Parameters are logits: loss in each block, return, miss, false alarm."""

    seen: NDArray[np.bool_]
    block: IntArray  # block of each iteration, (T,)
    blocks: tuple[tuple[int, int], ...]
    initially_present: bool
    fixed: tuple[float | None, float | None]  # miss and false alarm, where given

    @staticmethod
    def build(
        seen: NDArray[np.bool_], breaks: Sequence[int], present: bool, miss: float | None, alarm: float | None
    ) -> _Model:
        points = seen.shape[1]
        if any(b < 2 for b in breaks) or sorted(set(breaks)) != list(breaks):
            raise ValueError(f"breaks must rise from 2 on; they are {tuple(breaks)}")
        first = [1, *(int(b) for b in breaks if b <= points)]
        last = [*(b - 1 for b in first[1:]), points]
        block = np.searchsorted(np.array(first), np.arange(1, points + 1), side="right") - 1
        return _Model(seen, block.astype(np.intp), tuple(zip(first, last, strict=True)), present, (miss, alarm))

    @property
    def free(self) -> NDArray[np.bool_]:
        return np.array([True] * (len(self.blocks) + 1) + [value is None for value in self.fixed])

    def halved(self, j: int) -> bool:
        """Whether a rate is kept to ½: errors always, returns where they might be errors."""
        return j > len(self.blocks) or (j == len(self.blocks) and None in self.fixed)

    def stuck(self, theta: FloatArray) -> NDArray[np.bool_]:
        """Which rates lie at the bound of a half, where the likelihood has no curvature to give an interval."""
        return np.array([self.halved(j) and theta[j] > -1e-3 for j in range(theta.size)]) & self.free

    def among_free(self, chosen: IntArray) -> IntArray:
        """Positions of the chosen rates among the free ones."""
        return np.searchsorted(np.flatnonzero(self.free), chosen)

    def names(self) -> list[str]:
        losses = [f"loss_{a}-{b}" for a, b in self.blocks]
        return [*losses, "reappearance", "miss", "false_alarm"]

    def fit(self) -> tuple[FloatArray, bool]:
        """Return the logits of the posterior mode, from the better of two starts, and whether it was reached."""
        best: optimize.OptimizeResult | None = None
        # Errors that pass for changes, and changes that pass for errors, can both be local modes.
        for loss, back, miss, alarm in ((0.05, 0.03, 0.1, 0.05), (0.3, 0.3, 0.01, 0.01)):
            errors = [value if value is not None else v for value, v in zip(self.fixed, (miss, alarm), strict=True)]
            start = special.logit(np.array([loss] * len(self.blocks) + [back, *errors]))
            result = optimize.minimize(
                self._cost, start[self.free], args=(start,), jac=True, method="L-BFGS-B",
                bounds=[(-14.0, 0.0 if self.halved(int(j)) else 14.0) for j in np.flatnonzero(self.free)],
            )  # fmt: skip
            theta = start.copy()
            theta[self.free] = result.x
            if best is None or result.fun < best.fun:
                best, found = result, theta
        assert best is not None
        return found, bool(best.success)

    def _cost(self, free: FloatArray, start: FloatArray) -> tuple[float, FloatArray]:
        theta = start.copy()
        theta[self.free] = free
        events, trials, _, log_likelihood = self._expect(theta)
        p = special.expit(theta)
        prior = _PRIOR * float((np.log(p) + np.log1p(-p))[self.free].sum())
        gradient = (events - trials * p).sum(axis=0) + _PRIOR * (1 - 2 * p)
        return -(log_likelihood + prior), -gradient[self.free]

    def scores(self, theta: FloatArray) -> FloatArray:
        """Return each row's gradient with respect to the free logits, (n, free), without the prior."""
        events, trials, _, _ = self._expect(theta)
        out: FloatArray = (events - trials * special.expit(theta))[:, self.free]
        return out

    def present(self, theta: FloatArray) -> FloatArray:
        """Return the posterior probability of presence, (n, T)."""
        return self._expect(theta)[2]

    def _expect(self, theta: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Return expected events and trials of each rate, (n, parameters), presence (n, T), log-likelihood."""
        count, points = self.seen.shape
        b = len(self.blocks)
        p = special.expit(theta)
        # Axis 0 is the state: present, absent.
        emit = np.where(self.seen, np.array([1 - p[b + 1], p[b + 2]])[:, None, None],
                        np.array([p[b + 1], 1 - p[b + 2]])[:, None, None])  # fmt: skip
        moves = np.array([[[1 - lost, lost], [p[b], 1 - p[b]]] for lost in p[:b]])[self.block]
        ahead = np.empty((points + 1, 2, count))
        ahead[0] = np.array([[1.0], [0.0]]) if self.initially_present else np.array([[0.0], [1.0]])
        scale = np.empty((points, count))
        for t in range(points):
            now = (moves[t].T @ ahead[t]) * emit[:, :, t]
            scale[t] = now.sum(axis=0)
            ahead[t + 1] = now / scale[t]
        events, trials = np.zeros((count, b + 3)), np.zeros((count, b + 3))
        after = np.ones((2, count))
        for t in range(points - 1, -1, -1):
            weight = emit[:, :, t] * after / scale[t]
            joint = ahead[t][:, None] * moves[t][:, :, None] * weight
            j = self.block[t]
            events[:, j] += joint[0, 1]
            trials[:, j] += joint[0, 0] + joint[0, 1]
            events[:, b] += joint[1, 0]
            trials[:, b] += joint[1, 0] + joint[1, 1]
            after = moves[t] @ weight
            ahead[t + 1] = joint.sum(axis=0)  # from here on the state given all detections
        given = ahead[1:]
        trials[:, b + 1 :] = given.sum(axis=0).T
        events[:, b + 1] = np.where(self.seen.T, 0.0, given[:, 0]).sum(axis=0)
        events[:, b + 2] = np.where(self.seen.T, given[:, 1], 0.0).sum(axis=0)
        return events, trials, given[:, 0].T, float(np.log(scale).sum())


def _sandwich(model: _Model, theta: FloatArray, codes: IntArray) -> tuple[FloatArray, str]:
    """Return the covariance of all logits (0 for given ones, and for those at a bound), and why there is none."""
    free = np.flatnonzero(model.free & ~model.stuck(theta))
    step = 1e-4
    columns = []
    for j in free:
        shift = np.zeros_like(theta)
        shift[j] = step
        difference = model.scores(theta - shift).sum(axis=0) - model.scores(theta + shift).sum(axis=0)
        columns.append(difference / (2 * step))
    out = np.zeros((theta.size, theta.size))
    p = special.expit(theta[free])
    information = np.stack(columns, axis=1)[model.among_free(free)] + np.diag(2 * _PRIOR * p * (1 - p))
    information = (information + information.T) / 2
    if np.linalg.eigvalsh(information).min() <= 1e-9:
        return out, "the detections do not tell errors and changes apart"
    scores = model.scores(theta)[:, model.among_free(free)]
    by_unit = np.zeros((int(codes.max()) + 1, free.size))
    np.add.at(by_unit, codes, scores)
    units = len(by_unit)
    bread = np.linalg.inv(information)
    out[np.ix_(free, free)] = bread @ (by_unit.T @ by_unit * units / max(units - 1, 1)) @ bread
    return out, ""


def _rate(
    theta: FloatArray, covariance: FloatArray, j: int, name: str, given: bool, wide: float, units: int,
    own: dict[str, object], why: str,
) -> Estimate:  # fmt: skip
    sign = signature(f"hidden_{name}", own)
    value = float(special.expit(theta[j]))
    if given:
        return Estimate(value, value, value, units, sign)
    if why:
        return Estimate(value, math.nan, math.nan, units, sign, why)
    half = wide * math.sqrt(covariance[j, j])
    low, high = (float(special.expit(theta[j] + s * half)) for s in (-1, 1))
    return Estimate(value, low, high, units, sign)


def _curve(
    model: _Model, theta: FloatArray, covariance: FloatArray, wide: float, why: str
) -> tuple[FloatArray, FloatArray, FloatArray]:
    b = len(model.blocks)
    loss = special.expit(theta[:b])
    spent = np.cumsum(np.eye(b)[model.block], axis=0)  # iterations spent in each block by t
    log_s = spent @ np.log1p(-loss)
    survival = np.exp(np.concatenate([[0.0], log_s]))
    low, high = np.full(survival.size, np.nan), np.full(survival.size, np.nan)
    if not why:
        slope = -spent * loss
        error = np.sqrt(np.maximum(np.einsum("tb,bc,tc->t", slope, covariance[:b, :b], slope), 0.0))
        half = wide * error / -log_s
        low[1:], high[1:] = np.exp(log_s * np.exp(half)), np.exp(log_s * np.exp(-half))
    return survival, low, high
