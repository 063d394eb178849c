"""Captions, seeds and flags of a block of rows and iterations: what a chunk of steps holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loopsim.records import FLAGS
from loopsim.report.members import Member, missing, parent_rows

ROWS, ITERATIONS = 32, 64
"""Of a chunk: about 2,000 states, half a megabyte of captions."""


def flag_names(parts: Sequence[Member]) -> list[str]:
    """Those we know in their order, then any that came with an import."""
    there = {name for m in parts for flags in m.steps["flags"] if flags is not None for name in flags}
    return [*(name for name in FLAGS if name in there), *sorted(there - set(FLAGS))]


def marks(parts: Sequence[Member], names: Sequence[str]) -> dict[str, Any]:
    """Which states carry which flags: for each row a flat list t, index of the flag, t, index, …"""
    number = {name: i for i, name in enumerate(names)}
    rows: list[list[int]] = []
    for member in parts:
        mine: list[list[int]] = [[] for _ in member.rows]
        columns = (member.steps[name] for name in ("row", "t", "flags"))
        for row, t, flags in zip(*columns, strict=True):
            for name in flags if flags is not None else ():
                mine[row - member.first] += [int(t), number[name]]
        rows += mine
    return {"names": list(names), "flags": rows}


class Blocks:
    """Cuts the steps of a report into chunks."""

    def __init__(self, parts: Sequence[Member], names: Sequence[str]) -> None:
        self._parts = parts
        self._number = {name: i for i, name in enumerate(names)}
        self._parents = [parent_rows(member) for member in parts]

    def chunk(self, block: tuple[int, int]) -> dict[str, Any]:
        """The columns of one block, each a list of rows of iterations; None where there is no state."""
        row, t = block[0] * ROWS, block[1] * ITERATIONS
        names = ("text", "drawn", "flags", "seeds", "tokens", "seconds", "parent", "picture", "details")
        columns: dict[str, list[list[Any]]] = {name: [[None] * ITERATIONS for _ in range(ROWS)] for name in names}
        for member, parents in zip(self._parts, self._parents, strict=True):
            steps = member.steps
            low, high = steps["row"].searchsorted([row, row + ROWS])
            mine = steps.iloc[low:high]
            mine = mine[(mine["t"] >= t) & (mine["t"] < t + ITERATIONS)]
            starts = member.trajectories[["t0", "start_kind"]].to_numpy()
            previous: dict[int, Any] = {}
            for step in mine.to_dict("records"):
                i, k = step["row"] - row, step["t"] - t
                t0, kind = starts[step["row"] - member.first]
                cells = self._cells(step, previous.get(step["row"]), t0, kind, parents)
                for name, cell in cells.items():
                    columns[name][i][k] = cell
                previous[step["row"]] = step["text"]
        return {"row": row, "t": t, **{name: _trimmed(rows) for name, rows in columns.items()}}

    def _cells(self, step: dict[Any, Any], before: Any, t0: int, kind: str, parents: dict[str, int]) -> dict[str, Any]:
        drawn = None if missing(step["text_in"]) or step["text_in"] == before else step["text_in"]
        parent = parents.get(step["parent"])
        flags = step["flags"] if step["flags"] is not None else ()
        return {
            "text": None if missing(step["text"]) else step["text"],
            "drawn": drawn,
            "flags": [self._number[name] for name in flags],
            "seeds": _pair(step["generator_seed"], step["captioner_seed"], str),
            "tokens": _pair(step["prompt_tokens"], step["caption_tokens"], int),
            "seconds": None if missing(step["seconds"]) else round(float(step["seconds"]), 3),
            "parent": None if parent == step["row"] else parent,
            "picture": int(step["t"] > t0 or kind == "image"),
            "details": None if missing(step["details"]) else step["details"],
        }


def _pair(first: Any, second: Any, kind: type) -> list[Any] | None:
    # Seeds use 64 bits, which a page's numbers cannot hold: they travel as text.
    pair = [None if missing(one) else kind(int(one)) for one in (first, second)]
    return None if pair == [None, None] else pair


def _trimmed(rows: list[list[Any]]) -> list[list[Any] | None]:
    """Without what is empty at the ends, which a short run would otherwise be mostly made of."""
    short: list[list[Any] | None] = [
        row[: max((k + 1 for k, cell in enumerate(row) if cell not in (None, [])), default=0)] or None for row in rows
    ]
    while short and short[-1] is None:
        short.pop()
    return short
