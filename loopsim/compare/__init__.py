"""Conditions, groups of starts or runs against each other: what differs, what is shown to be equal, and what neither.

Everything is computed on the states, paired by start where the cells share their starts. Over all lines of one
comparison, p-values are Holm-adjusted, those of differences and those of equivalence each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from loopsim.compare.cells import pairs_of
from loopsim.compare.lines import Planned, compared, omnibus, planned
from loopsim.compare.measures import Measures, pool
from loopsim.compare.reach import out_of_reach
from loopsim.compare.records import MEASURES, Comparison, Omnibus, Settings
from loopsim.compare.survival import survival_lines
from loopsim.errors import UsageError
from loopsim.measure.cells import checked
from loopsim.states import embedders_of, states
from loopsim.store import Run
from metrics.comparison import holm

__all__ = ["MEASURES", "Comparison", "Omnibus", "Settings", "as_frame", "compare_runs", "out_of_reach", "run_names"]


def compare_runs(runs: Sequence[Run], settings: Settings | None = None) -> tuple[list[Comparison], list[Omnibus]]:
    """Compare the cells of one run or of several.

    Raises:
        UsageError: there are no two cells to compare, or no embedder that all runs have.
    """
    settings = settings or Settings()
    names = run_names(runs)
    if not 0 < settings.margin < 1:
        raise UsageError(f"--margin is a share, between 0 and 1; it is {settings.margin}")
    for what, given, known in (("measure", settings.measures, tuple(MEASURES)),
                               ("modality", settings.modalities, ("image", "text"))):  # fmt: skip
        unknown = [name for name in given if name not in known]
        if unknown:
            raise UsageError(f"--{what} {unknown[0]!r} is not known; known: {', '.join(known)}")
    looks = bool(set(settings.measures) - {"survival"})
    embedder = _common_embedder(runs, settings.embedder) if looks else ""
    lines: list[Comparison] = []
    tests: list[Planned] = []
    for modality in settings.modalities if looks else ():
        parts = [
            checked(states(run, embedder, modality), str(run.path)) for run in runs if _has(run, embedder, modality)
        ]
        if not parts:
            continue
        pooled = pool(parts, [n for n, run in zip(names, runs, strict=True) if _has(run, embedder, modality)])
        pairs = list(pairs_of(pooled.trajectories, settings, len(runs) > 1))
        measures = Measures(pooled)
        for first, second in pairs:
            lines += compared(measures, first, second, settings)
        tests += planned(measures, pooled.trajectories, settings, len(runs) > 1)
    if "text" in settings.modalities and "survival" in settings.measures:
        lines += survival_lines(runs, names, settings)
    if not lines:
        raise UsageError(_nothing(runs, settings))
    return _adjusted(lines, settings.alpha), _adjusted_tests(omnibus(tests, settings))


def run_names(runs: Sequence[Run]) -> list[str]:
    """What to call each run: its name, or its directory where several have the same name.

    Raises:
        UsageError: a directory is given twice.
    """
    paths = [run.path.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise UsageError(f"{next(p for p in paths if paths.count(p) > 1)}: this run is given twice")
    for names in ([run.name for run in runs], [path.name for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _nothing(runs: Sequence[Run], settings: Settings) -> str:
    where = ", ".join(str(run.path) for run in runs)
    return (
        f"{where}: there is one cell only, nothing to compare it with. Give several runs, make a setting a list in "
        "the experiment file, or compare groups of starts with --by group"
    )


def _common_embedder(runs: Sequence[Run], wanted: str | None) -> str:
    common = [name for name in embedders_of(runs[0]) if all(name in embedders_of(run) for run in runs)]
    if wanted is not None:
        if wanted not in common:
            lacking = next(run for run in runs if wanted not in embedders_of(run))
            raise UsageError(
                f"{lacking.path} has no embeddings by {wanted!r}; make them with "
                f"`loopsim measure {lacking.path} --embedder {wanted}`"
            )
        return wanted
    if not common:
        raise UsageError(
            "the runs have no embedder in common; give them one with `loopsim measure DIR --embedder NAME`"
        )
    return common[0]


def _has(run: Run, embedder: str, modality: str) -> bool:
    return modality in run.modalities(embedder)


def _adjusted(lines: list[Comparison], alpha: float) -> list[Comparison]:
    p, equal = (_holm([getattr(line, name) for line in lines]) for name in ("p", "p_equivalence"))
    out = []
    for line, differs, same in zip(lines, p, equal, strict=True):
        shown, equivalent = differs <= alpha, same <= alpha
        verdict = "undecided"
        if shown:
            verdict = "differs by less than the margin" if equivalent else "differs"
        elif equivalent:
            verdict = "equivalent"
        out.append(replace(line, p_adjusted=differs, p_equivalence_adjusted=same, verdict=verdict))
    return out


def _adjusted_tests(tests: list[Omnibus]) -> list[Omnibus]:
    adjusted = _holm([test.p for test in tests])
    return [replace(test, p_adjusted=p) for test, p in zip(tests, adjusted, strict=True)]


def _holm(values: Sequence[float]) -> list[float]:
    known = [v for v in values if not math.isnan(v)]
    done = iter(holm(known)) if known else iter(())
    return [math.nan if math.isnan(v) else float(next(done)) for v in values]


def as_frame(lines: Sequence[Comparison]) -> pd.DataFrame:
    """The comparisons as a table, one row a line."""
    rows: list[dict[str, Any]] = [{name: getattr(line, name) for name in line.__dataclass_fields__} for line in lines]
    return pd.DataFrame(rows)
