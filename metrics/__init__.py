"""Measures of what a feedback loop does, as pure functions of arrays and lists of texts.

Needs NumPy, SciPy and scikit-learn only, and nothing of loopsim, so it serves anyone's trajectories. The
public surface is the modules: `from metrics import diversity`. A number that does not exist is nan with its
reason, never 0 (`metrics.result`); an interval takes the prompt as the independent unit
(`metrics.jackknife`).
"""

from metrics import (
    attractors,
    attribution,
    between,
    certificate,
    codebook,
    comparison,
    concepts,
    decay,
    detection,
    diversity,
    drift,
    entropy,
    jackknife,
    missing,
    origins,
    paired,
    panel,
    power,
    pull,
    rarefaction,
    recurrence,
    resampling,
    result,
    selection,
    survival,
    telephone,
    text,
    transitions,
)

__all__ = [
    "attractors",
    "attribution",
    "between",
    "certificate",
    "codebook",
    "comparison",
    "concepts",
    "decay",
    "detection",
    "diversity",
    "drift",
    "entropy",
    "jackknife",
    "missing",
    "origins",
    "paired",
    "panel",
    "power",
    "pull",
    "rarefaction",
    "recurrence",
    "resampling",
    "result",
    "selection",
    "survival",
    "telephone",
    "text",
    "transitions",
]
