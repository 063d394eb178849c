"""Conditions or runs side by side: what a report's head says of how they compare."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from loopsim.compare import MEASURES, Settings, compare_runs, out_of_reach, run_names
from loopsim.errors import UsageError
from loopsim.report.lines import value_in_words
from loopsim.states import embedders_of
from loopsim.store import Run

_WHOLE = ("iterations", "seed", "noise", "pairing", "image_format")
"""Keys of an experiment that are of the whole run, beside its starts and models."""
_SHOWN = 6
"""Values of a setting that are listed; more are counted."""


def default_by(runs: Sequence[Run]) -> str | None:
    """What the cells of a comparison differ in, unless asked otherwise.

    Conditions, where there are several or several runs; else groups of starts; None where there is one cell only.
    """
    if len(runs) > 1:
        return "condition"
    table = runs[0].trajectories()
    return next((by for by in ("condition", "group") if table[by].nunique() > 1), None)


def comparison(runs: Sequence[Run], settings: Settings | None = None) -> dict[str, Any] | None:
    """The comparison of one run's conditions, or of several runs, as the head of a report holds it.

    Every number is of `loopsim.compare.compare_runs`; what cannot be compared is a note.

    Args:
        runs: one run, or several.
        settings: how to compare; as `default_by` says where None.

    Returns:
        `by`, `margin`, `level`, `embedder`, `permutations`, `measures` (name to meaning), `lines` and `tests` (of
        `compare_runs`), `settings` (`names` and `rows` of what differs), `notes`; None where there is nothing to
        compare.

    Raises:
        UsageError: a setting names what is not there.
        StoreError: a run is damaged.
    """
    if settings is None:
        by = default_by(runs)
        if by is None:
            return None
        settings = Settings(by=by)
    names = run_names(runs)
    notes = list(notes_on(runs, names))
    lines: list[Any] = []
    tests: list[Any] = []
    common = [name for name in embedders_of(runs[0]) if all(name in embedders_of(run) for run in runs)]
    if common or settings.embedder is not None:
        lines, tests = compare_runs(runs, settings)
    else:
        lines, tests = _without_vectors(runs, settings, notes)
    notes += out_of_reach(lines, tests, settings)
    return {
        "by": settings.by,
        "margin": settings.margin,
        "level": 1 - settings.alpha,
        "permutations": settings.n_permutations,
        "embedder": settings.embedder or (common[0] if common else None),
        "measures": {name: MEASURES[name] for name in settings.measures},
        "lines": [dataclasses.asdict(line) for line in lines],
        "tests": [dataclasses.asdict(test) for test in tests],
        "settings": differing(runs, names),
        "notes": notes,
    }


def _without_vectors(runs: Sequence[Run], settings: Settings, notes: list[str]) -> tuple[list[Any], list[Any]]:
    """What can be compared of captions alone, where the runs have no embedder in common."""
    if "survival" not in settings.measures or "text" not in settings.modalities:
        return [], []
    try:
        return compare_runs(runs, dataclasses.replace(settings, measures=("survival",)))
    except UsageError as error:
        notes.append(str(error))
        return [], []


# ---- what differs between the experiments ----------------------------------------------------------------------------


def differing(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    """Settings that are not the same everywhere: of several runs, or of the conditions of one.

    Returns:
        `names` of the columns, and `rows`: the setting, then its value in each.
    """
    if len(runs) == 1:
        table = runs[0].trajectories()
        first = table.drop_duplicates("condition")
        columns = [str(label) for label in first["label"]]
        told = [{c: value_in_words(row[c]) for c in _factors(table)} for _, row in first.iterrows()]
    else:
        columns, told = list(names), [_told(run) for run in runs]
    keys = list(dict.fromkeys(itertools.chain.from_iterable(told)))
    rows = [[key, *(one.get(key, "") for one in told)] for key in keys]
    return {"names": columns, "rows": [row for row in rows if len(set(row[1:])) > 1]}


def _factors(table: pd.DataFrame) -> list[str]:
    roles = ("generator", "captioner", "noise", "control")
    return [c for c in table.columns if c.partition(".")[0].rstrip("0123456789") in roles]


def _told(run: Run) -> dict[str, str]:
    """Every setting of a run in words."""
    table = run.trajectories()
    told = {c: _several([value_in_words(v) for v in table[c].dropna().unique()]) for c in _factors(table)}
    told = {key: value for key, value in told.items() if value}
    for key in _WHOLE:
        if key in run.experiment and key not in told:
            value = run.experiment[key]
            told[key] = _several([str(v) for v in value]) if isinstance(value, list) else str(value)
    groups = table.drop_duplicates("start_id")["group"].value_counts(sort=False)
    told["starts"] = ", ".join(f"{count} {name}" if len(groups) > 1 else str(count) for name, count in groups.items())
    told["replicates"] = str(table["replicate"].nunique())
    told["loopsim"] = str(run.manifest.get("loopsim") or "")
    return told | _weights(run)


def _weights(run: Run) -> dict[str, str]:
    """Which files each model was loaded from, where the run says so: the same name is not always the same model."""
    told = {}
    for model in (run.manifest.get("provenance") or {}).get("models") or ():
        files: Mapping[str, str] = model.get("files") or {}
        made = str(model.get("commit") or "")[:12] or " ".join(sorted(str(v)[:6] for v in files.values()))[:48]
        if made:
            told[f"weights of {model['role']} {model['model']}"] = made
    return told


def _several(values: Sequence[str]) -> str:
    shown = ", ".join(values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"


# ---- where they cannot be compared -----------------------------------------------------------------------------------


def notes_on(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """What stands in the way of comparing runs, or must be known when reading the comparison."""
    notes = []
    for run, name in zip(runs, names, strict=True):
        done, total = run.count_steps()
        if done < total:
            notes.append(f"{name} is not at its end: {done:,} of {total:,} steps are made ({done / total:.0%}).")
        failed = len(run.failures())
        if failed:
            what = "1 trajectory" if failed == 1 else f"{failed:,} trajectories"
            notes.append(f"{what} of {name} failed and {'is' if failed == 1 else 'are'} left out.")
    if len(runs) > 1:
        notes += [*_on_starts(runs, names), *_on_iterations(runs, names), *_on_seeds(runs), *_on_embedders(runs, names)]
    return notes


def _on_starts(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    starts = [set(run.trajectories()["start_id"]) for run in runs]
    notes = []
    for (a, first), (b, second) in itertools.combinations(zip(names, starts, strict=True), 2):
        shared = len(first & second)
        if not shared:
            notes.append(
                f"{a} and {b} have no start in common: they are compared as independent samples, and a difference may "
                "be one of their starts."
            )
        elif first != second:
            notes.append(
                f"{a} and {b} have {shared} starts in common ({len(first)} and {len(second)} in all): these are "
                "compared in pairs, the others are left out."
            )
    return notes


def _on_iterations(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    last = [max(run.progress().values(), default=0) for run in runs]
    if len(set(last)) == 1:
        return []
    told = ", ".join(f"{name} {t}" for name, t in zip(names, last, strict=True))
    return [f"The runs have different numbers of iterations ({told}): {min(last)}, which all have, are compared."]


def _on_seeds(runs: Sequence[Run]) -> list[str]:
    seeds = {str(run.experiment.get("seed")) for run in runs if run.imported is None}
    if len(seeds) < 2:
        return []
    return ["The runs have different seeds: their common starts are paired, but were not drawn from the same noise."]


def _on_embedders(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    there = [embedders_of(run) for run in runs]
    if set(there[0]).intersection(*map(set, there[1:])):
        return []
    told = "; ".join(f"{name}: {', '.join(one) or 'none'}" for name, one in zip(names, there, strict=True))
    why = "so their distances, which are of different spaces, cannot be compared"
    mend = f"`loopsim measure {runs[-1].path} --embedder NAME` adds one"
    return [f"The runs have no embedder in common ({told}), {why}; {mend}."]
