"""What a start brings along beside its text, which becomes columns of the results, and which names it may have."""

from __future__ import annotations

import datetime
import decimal
import math
import re

from loopsim.errors import ExperimentError
from loopsim.records import Setting

TAKEN = frozenset({
    # of the trajectories
    "trajectory_id", "cohort", "condition", "label", "group", "start_id", "start_kind", "start_text", "replicate", "t0",
    "parent", "lineage",
    # of the steps
    "t", "text_in", "image", "text", "generator_seed", "captioner_seed", "generator_chunk", "captioner_chunk",
    "prompt_tokens", "caption_tokens", "flags", "seconds", "details",
    # of the embeddings and measurements
    "modality", "embedder", "vector", "metric", "item", "value", "ci_low", "ci_high", "n", "signature", "undefined",
    "verdict",
    # of what is exported and compared
    "trajectory", "start", "branched_from", "embedding", "text_embedding", "image_embedding", "run",
    # of the experiment file
    "prompt", "noise", "control",
})  # fmt: skip
"""Names of loopsim's own columns."""
_OF_CONDITION = re.compile(r"(generator|captioner)\d*(\..*)?")


def check_name(name: str, where: str, fix: str) -> None:
    """Refuse a column that the results have already, or that no option could name.

    Raises:
        ExperimentError: it is one of these; the message ends with `fix`.
    """
    if name in TAKEN or _OF_CONDITION.fullmatch(name):
        raise ExperimentError(f"{where}: {name!r} is a column of the results already; {fix}")
    if not name.strip() or name != name.strip() or re.search(r"[,=\n]", name):
        raise ExperimentError(f"{where}: {name!r} cannot name a column of the results (no commas, no =); {fix}")


def as_setting(value: object) -> Setting:
    """A value as a column holds it: a text, a number, or None where there is none.

    Raises:
        TypeError: it is nested or binary.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, decimal.Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return str(value)
    raise TypeError(f"{type(value).__name__} is neither a text nor a number")
