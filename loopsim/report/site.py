"""A report as files: what there is, what each holds, and the folder of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from loopsim import __version__
from loopsim.cite import bibtex, citations
from loopsim.errors import UsageError
from loopsim.report import sprites, steps
from loopsim.report.chunks import as_json, as_script
from loopsim.report.downloads import described, downloads
from loopsim.report.facts import run_facts, trajectory_columns
from loopsim.report.headline import headline
from loopsim.report.layers import (
    Layer,
    curve_entry,
    curve_lines,
    curve_metrics,
    layers,
    map_chunk,
    motif_chunk,
    motifs_of,
)
from loopsim.report.members import Member, members, span_of, states_in
from loopsim.report.motifs import Assigned
from loopsim.seeds import digest
from loopsim.store import Run

FORMAT = 1
"""Of the data; a page of another one says so instead of showing nonsense."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""The content-security policy of the page. The hash is that of an empty style element, which Plotly adds rules to."""
PAGE = Path(__file__).parent / "page"
"""The page's own files."""
_BLOCK = re.compile(r"^(?:data/steps|sprites/)-?(\d{4,})-(\d{4,})\.(?:js|webp)$")


@dataclass(frozen=True)
class Options:
    """How to make a report.

    Raises:
        UsageError: a picture is to be smaller or larger than a report allows.
    """

    title: str | None = None
    """What to call it; the name of the run where None."""
    thumbnails: int | None = None
    """Pixels of the longer side of a picture; by their number where None."""
    live: bool = False
    """Whether the page asks for a newer head every two seconds; for a server."""
    comparison: Mapping[str, Any] | None = None
    """`by`, `margin`, `lines`, `tests`: what `loopsim compare` says of the runs."""
    progress: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Number of a run to what a server knows of it and the files do not: `state`, `rate`."""

    def __post_init__(self) -> None:
        wanted = self.thumbnails
        if wanted is not None and not sprites.SMALLEST <= wanted <= sprites.LARGEST:
            raise UsageError(
                f"--thumbnails is a number of pixels, {sprites.SMALLEST} to {sprites.LARGEST}; it is {wanted}"
            )


class Site:
    """The files of a report over one run or several, made one by one.

    Args:
        runs: the runs.
        options: how.
        parts: what is stored of the runs, where that has been read already.

    Raises:
        UsageError: there is no run.
        StoreError: a run is damaged.
    """

    def __init__(
        self, runs: Sequence[Run], options: Options | None = None, parts: Sequence[Member] | None = None
    ) -> None:
        self.options = options or Options()
        if not runs:
            raise UsageError("a report needs a run")
        self.parts = members(runs) if parts is None else list(parts)
        self.flags = steps.flag_names(self.parts)
        self._t0, self._last = span_of(self.parts)

    # ---- what there is -------------------------------------------------------------------------------------------

    @cached_property
    def step_blocks(self) -> dict[tuple[int, int], int]:
        """Block of steps to its version."""
        return states_in(self._t0, self._last, steps.ROWS, steps.ITERATIONS)

    @cached_property
    def sheet_blocks(self) -> dict[tuple[int, int], int]:
        """Sprite sheet to its version; none where there are no pictures."""
        return states_in(self._t0, self._last, sprites.ROWS, sprites.ITERATIONS) if self.sheets else {}

    @cached_property
    def sheets(self) -> sprites.Sheets | None:
        """What makes the sheets; None where there are no pictures."""
        planned = sum(len(m.trajectories) * max(m.run.iterations, 1) for m in self.parts)
        form = sprites.choose_format(self.parts, planned, self.options.thumbnails)
        return sprites.Sheets(self.parts, form) if form else None

    @cached_property
    def measured(self) -> list[pd.DataFrame | None]:
        """The measurements of each run; None where it was not measured."""
        there = [(m.run.path / "measurements.parquet").exists() for m in self.parts]
        return [m.run.measurements() if has else None for m, has in zip(self.parts, there, strict=True)]

    @cached_property
    def _steps(self) -> steps.Blocks:
        return steps.Blocks(self.parts, self.flags)

    @cached_property
    def _curves(self) -> list[tuple[str, list[dict[str, Any]]]]:
        return [(metric, curve_lines(metric, self.measured)) for metric in curve_metrics(self.measured)]

    @cached_property
    def _maps(self) -> list[Layer]:
        return layers(self.parts)

    @cached_property
    def _motifs(self) -> list[tuple[Layer, Assigned]]:
        found = ((layer, motifs_of(self.parts[layer.run], layer)) for layer in self._maps)
        return [(layer, assigned) for layer, assigned in found if assigned is not None]

    @cached_property
    def downloads(self) -> dict[str, tuple[str, bytes | Path]]:
        """Name under `downloads/` to its kind and content."""
        found = downloads(self.parts, self.measured)
        seen: dict[str, str] = {}
        for member in self.parts:
            for block in bibtex(citations(member.run)).split("\n\n"):
                seen.setdefault(block.partition("\n")[2] or block, block)
        found["references.bib"] = ("citation", "\n\n".join(seen.values()).encode())
        return found

    def names(self) -> Iterator[str]:
        """Every file but the sheets, the head last."""
        yield "index.html"
        yield from (f"page/{path.name}" for path in sorted(PAGE.iterdir()) if path.suffix in (".js", ".css", ".svg"))
        yield from ("page/plotly.min.js", "data/marks.js")
        yield from (f"data/steps-{row:04d}-{t:04d}.js" for row, t in sorted(self.step_blocks))
        for kind, found in (("curves", self._curves), ("map", self._maps), ("motifs", self._motifs)):
            yield from (f"data/{kind}-{i}.js" for i in range(len(found)))
        yield from (f"downloads/{name}" for name in self.downloads)
        yield from ("data/head.json", "data/head.js")

    @cached_property
    def _head(self) -> dict[str, Any]:
        return self.head()

    # ---- what each holds -----------------------------------------------------------------------------------------

    def head(self) -> dict[str, Any]:
        """Everything that the page needs before it shows anything; see docs/design."""
        heads = [headline(frame) for frame in self.measured]
        facts = [run_facts(m, self.flags, h) for m, h in zip(self.parts, heads, strict=True)]
        for i, known in self.options.progress.items():
            facts[i].update(known)
        version = digest([self._stamp(m) for m in self.parts], 10)
        return {
            "format": FORMAT,
            "live": self.options.live,
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "loopsim": __version__,
            "title": self.options.title or ", ".join(fact["name"] for fact in facts),
            "runs": facts,
            **trajectory_columns(self.parts),
            "blocks": {"rows": steps.ROWS, "iterations": steps.ITERATIONS},
            "sprites": self.sheets.form.described() if self.sheets else None,
            "marks": sum(self.step_blocks.values()),
            "curves": [
                {**curve_entry(metric, lines), "file": f"curves-{i}", "version": version}
                for i, (metric, lines) in enumerate(self._curves)
            ],
            "maps": [self._layer(layer, f"map-{i}", version) for i, layer in enumerate(self._maps)],
            "motifs": [
                {**self._layer(layer, f"motifs-{i}", version), "k": assigned.k}
                for i, (layer, assigned) in enumerate(self._motifs)
            ],
            "comparison": self.options.comparison,
            "downloads": described(self.downloads),
        }

    @staticmethod
    def _layer(layer: Layer, file: str, version: str) -> dict[str, Any]:
        keys = {"run": layer.run, "embedder": layer.embedder, "modality": layer.modality}
        return {**keys, "file": file, "version": version}

    @staticmethod
    def _stamp(member: Member) -> list[str]:
        """What curves, maps and motifs are made from."""
        path = member.run.path
        files = [
            path / "measurements.parquet",
            *sorted((path / "motifs").glob("*")),
            *sorted(path.glob("embeddings/*/*")),
        ]
        return [f"{file.name} {file.stat().st_mtime_ns}" for file in files if file.exists()]

    def make(self, name: str) -> bytes | None:
        """The content of a file of the report; None where it has none of that name."""
        folder, _, rest = name.partition("/")
        if name == "index.html":
            return index_html(self.options.title or self.parts[0].run.name)
        if folder == "page":
            return page_file(rest)
        if name in ("data/head.js", "data/head.json"):
            return as_script("head", self._head) if name.endswith(".js") else as_json(self._head)
        if folder == "downloads" and rest in self.downloads:
            content = self.downloads[rest][1]
            return content if isinstance(content, bytes) else content.read_bytes()
        return self._block(name) if _BLOCK.match(name) else self._chunk(name)

    def _block(self, name: str) -> bytes | None:
        found = _BLOCK.match(name)
        assert found is not None
        block = (int(found[1]), int(found[2]))
        if name.startswith("data/") and name.endswith(".js") and block in self.step_blocks:
            chunk = self._steps.chunk(block)
            return as_script(f"steps-{block[0]:04d}-{block[1]:04d}", chunk)
        if (
            name.startswith("sprites/")
            and name.endswith(sprites.EXTENSION)
            and block in self.sheet_blocks
            and self.sheets
        ):
            return self.sheets.sheet(block)
        return None

    def _chunk(self, name: str) -> bytes | None:
        if name == "data/marks.js":
            return as_script("marks", steps.marks(self.parts, self.flags))
        found = re.match(r"^data/(curves|map|motifs)-(\d+)\.js$", name)
        if not found:
            return None
        kind, i = found[1], int(found[2])
        if kind == "curves" and i < len(self._curves):
            return as_script(f"curves-{i}", {"lines": self._curves[i][1]})
        if kind == "map" and i < len(self._maps):
            return as_script(f"map-{i}", map_chunk(self.parts[self._maps[i].run], self._maps[i]))
        if kind == "motifs" and i < len(self._motifs):
            layer, assigned = self._motifs[i]
            return as_script(f"motifs-{i}", motif_chunk(self.parts[layer.run], assigned))
        return None


def index_html(title: str) -> bytes:
    """The page, with its policy, its title, and what keeps Plotly from adding a style sheet of its own."""
    import html

    text = (PAGE / "index.html").read_text(encoding="utf-8")
    ids = sorted(set(re.findall(rb'getElementById\("([0-9a-f]{64})"\)', plotly_js())))
    kept = "".join(f'<template id="{one.decode()}"></template>' for one in ids)
    for mark, value in (("{{policy}}", POLICY), ("{{title}}", html.escape(title)), ("{{kept}}", kept)):
        text = text.replace(mark, value)
    return text.encode("utf-8", errors="replace")


def page_file(name: str) -> bytes | None:
    """One of the page's own files; None where there is none of that name."""
    if name == "plotly.min.js":
        return plotly_js()
    path = PAGE / name
    return (
        path.read_bytes() if path.parent == PAGE and path.suffix in (".js", ".css", ".svg") and path.is_file() else None
    )


def plotly_js() -> bytes:
    """plotly.js as the installed `plotly` package ships it."""
    from importlib.resources import files

    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
