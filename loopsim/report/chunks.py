"""Data of a report as files that a page may load from disk: scripts that hand one value to one function."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np


def as_json(value: object) -> bytes:
    """A value as JSON in ASCII; nan and infinity become null.

    `<` is escaped too, so that no text can end a script or begin a comment, wherever the JSON ends up. Half surrogate
    pairs and U+2028 are escapes like any other character outside ASCII.
    """
    text = json.dumps(_plain(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").encode("ascii")


def as_script(name: str, value: object) -> bytes:
    """A value as a script that registers it: `Loopsim.chunk("NAME", VALUE);`."""
    return b"Loopsim.chunk(" + as_json(name) + b"," + as_json(value) + b");\n"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        # Whole numbers and texts have no nan to look for, and there are hundreds of thousands of them.
        return value.tolist() if value.dtype.kind in "iub" else [_plain(one) for one in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    return str(value)


def rounded(values: Any, digits: int = 5) -> list[float | None]:
    """Numbers to so many significant digits, missing ones as None: what a curve on a screen can show."""
    return [float(f"{v:.{digits}g}") if v is not None and math.isfinite(v) else None for v in values]
