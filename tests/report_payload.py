"""A report of any size without a run: the data format of docs/design/0005 written by hand, quickly."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from loopsim.report import sprites, steps
from loopsim.report.chunks import as_json, as_script
from loopsim.report.layers import GRID
from loopsim.report.members import states_in
from loopsim.report.site import PAGE, index_html, page_file

WORDS = ("a", "the", "red", "blue", "old", "small", "house", "boat", "tree", "lighthouse", "storm", "meadow", "near",
         "under", "by", "sea", "at", "night", "in", "rain", "two")  # fmt: skip


def write(folder: Path, rows: int, iterations: int, side: int = 64) -> Path:
    """A report of so many trajectories and iterations with pictures, a map, motifs and curves; the page to open."""
    rng, words = np.random.default_rng(0), random.Random(0)
    t0, last = np.zeros(rows, np.int64), np.full(rows, iterations, np.int64)
    for name in ("page", "data", "sprites"):
        (folder / name).mkdir(parents=True)
    (folder / "index.html").write_bytes(index_html("synthetic"))
    for name in (*(path.name for path in PAGE.iterdir() if path.suffix != ".html"), "plotly.min.js"):
        content = page_file(name)
        if content is not None:
            (folder / "page" / name).write_bytes(content)
    head = _head(rows, iterations, side)

    def put(name: str, value: Any) -> None:
        (folder / "data" / f"{name}.js").write_bytes(as_script(name, value))

    put("head", head)
    (folder / "data" / "head.json").write_bytes(as_json(head))
    put("marks", {"names": ["repeat"], "flags": [[3, 0] if row % 50 == 0 else [] for row in range(rows)]})
    for row, t in states_in(t0, last, steps.ROWS, steps.ITERATIONS):
        put(f"steps-{row:04d}-{t:04d}", _steps(row, t, rows, iterations, words))
    sheet = _sheet(side)
    for row, t in states_in(t0, last, sprites.ROWS, sprites.ITERATIONS):
        (folder / "sprites" / f"{row:04d}-{t:04d}.webp").write_bytes(sheet)
    walk = np.cumsum(rng.normal(0, 60, (rows, iterations + 1, 2)), axis=1) + rng.uniform(800, GRID - 800, (rows, 1, 2))
    points = walk.clip(0, GRID).astype(int).reshape(rows, -1)
    put("map-0", {"row": 0, "t": 0, "points": points, "explained": [0.3, 0.2], "fitted": rows * iterations})
    labels = rng.integers(0, 12, (rows, iterations))
    put("motifs-0", {"row": 0, "t": 1, "labels": labels, "medoids": [[m, 1] for m in range(12)],
                     "words": [[f"word{m}"] for m in range(12)]})  # fmt: skip
    put("curves-0", {"lines": [_line(group, iterations) for group in head["groups"]]})
    return folder / "index.html"


def _head(rows: int, iterations: int, side: int) -> dict[str, Any]:
    groups, starts = ["far", "near"], max(1, rows // 2)
    run = {
        "name": "synthetic", "description": "", "created": "2026-01-01", "loopsim": "0", "state": "finished",
        "iterations": iterations, "done": rows * iterations, "total": rows * iterations, "rate": None, "seed": "1",
        "noise": "fresh", "replicates": 2, "starts": starts, "trajectories": rows, "imported": None, "measured": True,
        "models": [], "embedders": ["synthetic"], "failed": 0, "failures": [],
        "headline": ["Nothing was run."], "notes": [],
        "flags": [{"name": "repeat", "meaning": "said again", "steps": rows // 50, "share": 0.01}], "verdicts": [],
    }  # fmt: skip
    layer = {"run": 0, "embedder": "synthetic", "modality": "image", "version": "1"}
    return {
        "format": 1, "live": False, "made": "2026-01-01T00:00:00+00:00", "loopsim": "0", "title": "synthetic",
        "runs": [run], "groups": groups, "conditions": [{"run": 0, "id": "c", "label": "all", "factors": []}],
        "starts": [{"id": f"s{i}", "kind": "text", "text": f"start {i}", "group": i % 2, "factors": []}
                   for i in range(starts)],
        "trajectories": {
            "id": [f"id{row:06d}" for row in range(rows)], "run": [0] * rows, "condition": [0] * rows,
            "start": [min(row // 2, starts - 1) for row in range(rows)], "replicate": [row % 2 for row in range(rows)],
            "t0": [0] * rows, "last": [iterations] * rows, "parent": [None] * rows, "failed": [None] * rows,
            "period": [0] * rows, "entry": [None] * rows, "drift": [row / rows for row in range(rows)],
        },
        "blocks": {"rows": steps.ROWS, "iterations": steps.ITERATIONS},
        "sprites": sprites.Format(side, side).described(), "marks": rows * iterations,
        "curves": [{"metric": "mean_pairwise_distance", "what": "distance", "file": "curves-0", "version": "1",
                    "modalities": ["image"], "embedders": ["synthetic"]}],
        "maps": [{**layer, "file": "map-0"}], "motifs": [{**layer, "file": "motifs-0", "k": 12}],
        "comparison": None, "downloads": [],
    }  # fmt: skip


def _steps(row: int, t: int, rows: int, iterations: int, words: random.Random) -> dict[str, Any]:
    height = min(steps.ROWS, rows - row * steps.ROWS)
    ts = range(t * steps.ITERATIONS, min((t + 1) * steps.ITERATIONS, iterations + 1))
    # Thirty words a caption, as captioners of today say.
    text = [[" ".join(words.choices(WORDS, k=30)) for _ in ts] for _ in range(height)]
    empty = [[[] for _ in ts] for _ in range(height)]
    none = [[None for _ in ts] for _ in range(height)]
    seeds = [[["12345678901234567890", "9876543210987654321"] for _ in ts] for _ in range(height)]
    picture = [[int(k > 0) for k in ts] for _ in range(height)]
    return {
        "row": row * steps.ROWS, "t": t * steps.ITERATIONS, "text": text, "drawn": none, "flags": empty, "seeds": seeds,
        "tokens": none, "seconds": none, "parent": none, "picture": picture, "details": none,
    }  # fmt: skip


def _sheet(side: int) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (sprites.ROWS * 4, sprites.ITERATIONS * 4, 3), dtype=np.uint8)
    size = (side * sprites.ITERATIONS, side * sprites.ROWS)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def _line(group: str, iterations: int) -> dict[str, Any]:
    t = list(range(1, iterations + 1))
    value = [0.5 + 0.3 * 0.95**k + (0.05 if group == "far" else 0) for k in t]
    return {
        "run": 0, "label": "all", "group": group, "modality": "image", "embedder": "synthetic", "item": None, "t": t,
        "value": value, "low": [v - 0.05 for v in value], "high": [v + 0.05 for v in value],
    }  # fmt: skip
