"""Files to take away from a report: figures, tables, the experiment, what to cite."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from loopsim.report.members import Member

_FIGURES = (".png", ".svg", ".pdf", ".csv", ".gif", ".mp4")


def downloads(parts: Sequence[Member], measured: Sequence[pd.DataFrame | None]) -> dict[str, tuple[str, bytes | Path]]:
    """Name under `downloads/` to kind and content: bytes, or the file to copy."""
    found: dict[str, tuple[str, bytes | Path]] = {}
    several = len(parts) > 1
    for member, frame in zip(parts, measured, strict=True):
        run = member.run
        prefix = f"{member.index + 1}-{_safe(run.name)}/" if several else ""
        for path in sorted((run.path / "figures").glob("*")):
            plain = path.is_file() and not path.is_symlink()  # a link may lead out of the run, or nowhere
            if plain and path.suffix in _FIGURES and not path.name.startswith("."):
                found[f"{prefix}figures/{path.name}"] = ("figure", path)
        if frame is not None:
            found[f"{prefix}measurements.csv"] = ("table", _csv(frame))
        found[f"{prefix}trajectories.csv"] = ("table", _csv(member.trajectories))
        found[f"{prefix}captions.csv"] = ("table", _csv(_captions(member)))
        found[f"{prefix}experiment.yaml"] = ("experiment", run.path / "experiment.yaml")
        found[f"{prefix}manifest.json"] = ("experiment", run.path / "manifest.json")
    return found


def _captions(member: Member) -> pd.DataFrame:
    steps = member.steps[["row", "t", "text_in", "text", "flags"]].copy()
    ids = member.trajectories["trajectory_id"].to_numpy()
    steps.insert(0, "trajectory_id", ids[steps.pop("row").to_numpy() - member.first])
    steps["flags"] = ["" if flags is None else " ".join(flags) for flags in steps["flags"]]
    return steps


def _csv(frame: pd.DataFrame) -> bytes:
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, lineterminator="\n")
    # Half surrogate pairs can be in a caption, not in UTF-8.
    return buffer.getvalue().encode("utf-8", errors="replace")


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in name)[:60] or "run"


def described(files: dict[str, tuple[str, bytes | Path]]) -> list[dict[str, Any]]:
    """What the head says of them."""
    return [
        {
            "kind": kind,
            "name": name.rpartition("/")[2],
            "file": f"downloads/{name}",
            "bytes": len(content) if isinstance(content, bytes) else content.stat().st_size,
        }
        for name, (kind, content) in files.items()
    ]
