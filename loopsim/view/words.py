"""What the page says about a run that is not finished, in place of findings that there are not yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from loopsim.view.activity import Activity


def headline_of(facts: dict[str, Any], doing: Activity, path: Path) -> list[str]:
    """The sentences at the top: those of the measurements where they are of all there is, else how far it is."""
    if facts["measured"] or (doing.state == "finished" and facts["headline"] and facts["verdicts"]):
        return list(facts["headline"])
    end = "What it shows about convergence comes at its end, when it is embedded and measured."
    said = {
        "running": f"This run is going. {end}",
        "measuring": "All steps are made; they are being embedded and measured.",
        "stopped": f"This run is not going, and not at its end: the same `loopsim run` command resumes it. {end}",
        "finished": f"All steps are made, and not measured yet: `{_measure(facts, path)}` does it.",
        "gone": "The run directory is no longer there; this is what was seen of it last.",
    }
    return [said[doing.state]] if doing.state in said else list(facts["headline"])


def _measure(facts: dict[str, Any], path: Path) -> str:
    """The command that measures a run; an imported one without vectors needs an embedder first."""
    return f"loopsim measure {path}" + (" --embedder NAME" if facts["imported"] and not facts["embedders"] else "")


def notes_of(facts: dict[str, Any], doing: Activity, early: pd.DataFrame | None, trouble: str) -> list[str]:
    """What a reader must know to read the page rightly."""
    notes = list(facts["notes"])
    if trouble:
        notes.insert(0, f"The newest cannot be read, so this is what was seen before: {trouble}")
    if early is not None and len(early):
        needs = "those of distances, motifs and memory need vectors"
        if doing.state == "finished":
            notes.append(f"Curves are of words only: {needs}.")
        else:
            notes.append(
                f"Curves are of words only, and of the {_numbers(early)} that have got farthest; they are made anew "
                f"while the run goes, and {needs}, which are made at its end."
            )
    elif not facts["measured"] and facts["verdicts"]:
        notes.append("The run has gone on since it was measured: curves, maps and motifs are of what there was then.")
    return notes


def _numbers(early: pd.DataFrame) -> str:
    counts = early.loc[early["metric"] == "caption_words"].groupby(["label", "group"], dropna=False)["n"].max()
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" + (f" to {high:,}" if high > low else "") + " trajectories of each condition and group"


def rounded_rate(rate: float | None) -> float | None:
    """Two digits: the head is not sent again for a third."""
    return None if rate is None else float(f"{rate:.2g}")
