"""The measuring pass: store × metrics → `measurements.parquet`, long and tidy, one row a value.

Values are per condition, group of starts and iteration, or per coarser cell. The independent unit is the start, so
intervals leave out, or resample, one start at a time; see `metrics.jackknife`.
"""

from __future__ import annotations

from loopsim.measure.decays import SUMMARIES
from loopsim.measure.early import early_curves
from loopsim.measure.listing import CURVES, METRICS
from loopsim.measure.passes import FAMILIES, Options, measure_run
from loopsim.measure.summary import Summary, interval, number, summaries

__all__ = [
    "CURVES", "FAMILIES", "METRICS", "SUMMARIES", "Options", "Summary", "early_curves", "interval", "measure_run",
    "number", "summaries",
]  # fmt: skip
