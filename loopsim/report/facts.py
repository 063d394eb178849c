"""What was run: the part of a report's head that describes each run and its trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from loopsim.measure.cells import key_columns
from loopsim.records import FLAGS
from loopsim.report.headline import Headline
from loopsim.report.lines import value_in_words
from loopsim.report.members import Member, missing
from loopsim.report.selection import drift
from loopsim.states import embedders_of, states
from metrics.recurrence import absorption_of_texts

_ROLES = ("generator", "captioner")
_MOST_FAILURES = 200


def run_facts(member: Member, flags: Sequence[str], head: Headline) -> dict[str, Any]:
    """One entry of the head's `runs`."""
    run, table = member.run, member.trajectories
    done, total = run.count_steps()
    experiment = run.experiment
    return {
        "name": run.name,
        "description": _text(experiment.get("description")).strip(),
        "created": _text(run.manifest.get("created")),
        "loopsim": _text(run.manifest.get("loopsim")),
        "state": "finished" if done >= total else "stopped",
        "iterations": run.iterations,
        "done": done,
        "total": total,
        "rate": None,
        "seed": _text(experiment.get("seed")),
        "noise": _listed(experiment.get("noise")),
        "replicates": int(table["replicate"].nunique()) if len(table) else 0,
        "starts": int(table["start_id"].nunique()),
        "trajectories": len(table),
        "imported": None if run.imported is None else PurePath(run.imported).name,
        "measured": run.is_measured(),
        "models": list(_models(table, run.manifest)),
        "embedders": embedders_of(run),
        "failed": len(run.failures()),
        "failures": _failures(member),
        "flags": _flags(member, flags),
        "headline": list(head.sentences),
        "notes": list(head.notes),
        "verdicts": [
            {
                "label": line.label, "group": line.group, "modality": line.modality, "embedder": line.embedder,
                "first_t": line.first_t, "last_t": line.last_t, "first": list(line.first), "last": list(line.last),
                "half_life": list(line.half_life), "memory": list(line.memory[1]), "verdict": line.verdict,
                "reason": line.reason, "clusters": line.clusters,
            }
            for line in head.lines
        ],
    }  # fmt: skip


def _text(value: Any) -> str:
    return "" if missing(value) else str(value)


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else _text(value)


def _models(table: pd.DataFrame, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each model of a chain with its settings; those that vary with all their values."""
    known = {(one["role"], one["model"]): one for one in (manifest.get("provenance") or {}).get("models") or ()}
    found = []
    for column in [c for c in table.columns if c.rstrip("0123456789") in _ROLES]:
        for name in table[column].dropna().unique():
            mine = table[table[column] == name]
            settings = []
            for setting in [c for c in table.columns if c.startswith(f"{column}.") and c != f"{column}.revision"]:
                values = [value_in_words(v) for v in mine[setting].dropna().unique() if str(v) != ""]
                if values:
                    settings.append([setting.partition(".")[2], ", ".join(values)])
            asked = [str(v) for v in mine.get(f"{column}.revision", pd.Series(dtype=object)).dropna().unique()]
            made = known.get((column.rstrip("0123456789"), name), {})
            revision = _text(made.get("revision")) or ", ".join(asked)
            files = made.get("files") or {}
            found.append({
                "role": column, "model": str(name), "revision": revision, "files": len(files), "settings": settings,
            })  # fmt: skip
    return found


def _failures(member: Member) -> list[dict[str, Any]]:
    row_of = {name: member.first + i for i, name in enumerate(member.trajectories["trajectory_id"])}
    return [
        {"row": row_of.get(f.trajectory_id), "t": f.t, "role": f.role, "model": f.model, "message": f.message}
        for f in member.run.failures()[:_MOST_FAILURES]
    ]


def _flags(member: Member, names: Sequence[str]) -> list[dict[str, Any]]:
    """How often each flag occurs; the starts, which no model made, are not counted."""
    t0 = member.t0[member.steps["row"].to_numpy() - member.first] if len(member.steps) else np.empty(0)
    total = int((member.steps["t"].to_numpy() > t0).sum())
    counts = member.steps["flags"].explode().value_counts()
    found = []
    for name in names:
        steps = int(counts.get(name, 0))
        if steps:
            share = steps / total if total else None
            found.append({"name": name, "meaning": FLAGS.get(name, ""), "steps": steps, "share": share})
    return found


# ---- trajectories ----------------------------------------------------------------------------------------------------


def conditions_of(parts: Sequence[Member]) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """The conditions of all runs with their factors that vary, and the condition of each trajectory of each run."""
    found: list[dict[str, Any]] = []
    of_rows = []
    for member in parts:
        table = member.trajectories
        of_starts = set(member.run.start_columns)
        varying = [c for c in _varying(member) if c not in of_starts]
        number: dict[str, int] = {}
        for _, row in table.drop_duplicates("condition").iterrows():
            number[row["condition"]] = len(found)
            found.append({
                "run": member.index, "id": row["condition"], "label": _text(row["label"]),
                "factors": _values(row, varying),
            })  # fmt: skip
        of_rows.append([number[c] for c in table["condition"]])
    return found, of_rows


def _varying(member: Member) -> list[str]:
    """The factors, of conditions and of starts, that are not the same everywhere in a run."""
    table = member.trajectories
    factors = [c for c in key_columns(table) if c not in ("condition", "label", "group")]
    return [c for c in factors if table[c].map(repr).nunique() > 1]


def _values(row: Mapping[str, Any], factors: Sequence[str]) -> list[list[str]]:
    return [[c, "none" if missing(row[c]) else value_in_words(row[c])] for c in factors]


def trajectory_columns(parts: Sequence[Member]) -> dict[str, Any]:
    """The head's `groups`, `conditions`, `starts` and `trajectories`."""
    conditions, of_rows = conditions_of(parts)
    groups = list(dict.fromkeys(_text(g) for member in parts for g in member.trajectories["group"]))
    starts: list[dict[str, Any]] = []
    columns: dict[str, list[Any]] = {name: [] for name in (
        "id", "run", "condition", "start", "replicate", "t0", "last", "parent", "failed", "period", "entry", "drift",
    )}  # fmt: skip
    for member, condition in zip(parts, of_rows, strict=True):
        number: dict[tuple[str, str], int] = {}
        failed = {f.trajectory_id: f.t for f in member.run.failures()}
        of_starts = [c for c in _varying(member) if c in set(member.run.start_columns)]
        periods, entries = _absorbed(member)
        drifts = _drifts(member)
        for i, row in enumerate(member.trajectories.to_dict("records")):
            key = (row["start_id"], _text(row["group"]))
            if key not in number:
                number[key] = len(starts)
                starts.append({
                    "id": row["start_id"], "kind": row["start_kind"],
                    "text": None if missing(row["start_text"]) else row["start_text"], "group": groups.index(key[1]),
                    "factors": _values(row, of_starts),
                })  # fmt: skip
            values = (
                row["trajectory_id"], member.index, condition[i], number[key], row["replicate"], row["t0"],
                member.last[i], None if missing(row.get("parent")) else row["parent"],
                failed.get(row["trajectory_id"]), periods[i], entries[i], drifts[i],
            )  # fmt: skip
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    return {"groups": groups, "conditions": conditions, "starts": starts, "trajectories": columns}


def _absorbed(member: Member) -> tuple[list[int], list[int | None]]:
    """The period of the cycle of captions that each trajectory ends in, 0 for none, and when it entered it."""
    size = len(member.trajectories)
    periods = [0] * size
    entries: list[int | None] = [None] * size
    said: dict[int, list[str]] = {}
    t0 = member.t0
    for row, t, text in member.steps[["row", "t", "text"]].itertuples(index=False):
        if t > t0[row - member.first] and not missing(text):
            said.setdefault(row - member.first, []).append(text)
    lengths: dict[int, list[int]] = {}
    for i, texts in said.items():
        lengths.setdefault(len(texts), []).append(i)
    for length, rows in lengths.items():
        if length < 12:  # two laps of the longest cycle looked for
            continue
        found = absorption_of_texts([said[i] for i in rows])
        for i, period, entry in zip(rows, found.period.tolist(), found.entry.tolist(), strict=True):
            if period:
                periods[i], entries[i] = period, int(t0[i]) + 1 + entry
    return periods, entries


def _drifts(member: Member) -> list[float | None]:
    """Cosine distance from the first to the last caption, or picture where captions have no vectors."""
    for embedder in embedders_of(member.run):
        for modality in reversed(member.run.modalities(embedder)):
            values = drift(states(member.run, embedder, modality)).to_dict()
            return [values.get(name) for name in member.trajectories["trajectory_id"]]
    return [None] * len(member.trajectories)
