"""What differs between two experiments, in words a person can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN = 8


def _flatten(value: Any, key: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for name, inner in value.items() for k, v in _flatten(inner, f"{key}.{name}").items()}
    if isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        return {k: v for i, inner in enumerate(value) for k, v in _flatten(inner, f"{key}.{i}").items()}
    return {key.removeprefix("."): value}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 70 else text[:67] + "…"


def describe_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """One indented line for each key that differs, old value first; long lists by what was added and removed."""
    before, after = _flatten(old), _flatten(new)
    lines = []
    for key in dict.fromkeys([*before, *after]):
        a, b = before.get(key), after.get(key)
        if a == b:
            continue
        if isinstance(a, list) and isinstance(b, list):
            gone, come = [v for v in a if v not in b], [v for v in b if v not in a]
            changed = (("removed", gone), ("added", come))
            parts = [f"{len(items)} {what} ({_short(items[0])}…)" for what, items in changed if items]
            lines.append(f"    {key}: {', '.join(parts) or 'another order'}")
        else:
            there, here = ("(not given)" if v is None else _short(v) for v in (a, b))
            lines.append(f"    {key}: there {there}, here {here}")
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"    … and {len(lines) - _SHOWN} more"]
    return "\n".join(lines) or "    settings that an older version of a model's entry had"
