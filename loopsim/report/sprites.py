"""Sprite sheets: small pictures of a block of rows and iterations in one file."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow.dataset as ds
from PIL import Image

from loopsim.provenance import usable_cpus
from loopsim.report.members import Member
from loopsim.store import shards
from loopsim.store.tables import STEP_SCHEMA

ROWS, ITERATIONS = 8, 8
"""Of a sheet."""
EXTENSION = "webp"
SMALLEST, LARGEST = 32, 512
"""Sides that may be asked for, in pixels."""
_SIDES = ((2_000, 256), (8_000, 192), (30_000, 128), (120_000, 96))
_GROUP = 8
"""Sheets that are made at once, from one reading of their shards."""
Block = tuple[int, int]


@dataclass(frozen=True)
class Format:
    """What a sheet of a report is like."""

    width: int
    """Of a picture, in pixels."""
    height: int
    """Of a picture, in pixels."""

    def described(self) -> dict[str, object]:
        """As the head of a report says it."""
        size = {"width": self.width, "height": self.height}
        return {"rows": ROWS, "iterations": ITERATIONS, **size, "ext": EXTENSION}


def side(pictures: int) -> int:
    """Pixels of the longer side, so that a report of so many pictures stays one that can be copied."""
    return next((pixels for most, pixels in _SIDES if pictures <= most), 64)


def choose_format(parts: Sequence[Member], pictures: int, wanted: int | None = None) -> Format | None:
    """The size of pictures in the sheets of a report: the shape of each run's first one, square where they differ.

    Args:
        parts: the runs.
        pictures: how many there will be.
        wanted: pixels of the longer side; by their number where None.

    Returns:
        None where there are no pictures.
    """
    sizes = [size for size in map(_first_size, parts) if size is not None]
    if not sizes:
        return None
    longest = min(wanted or side(pictures), max(max(size) for size in sizes))
    shapes = {round(w / h, 2) for w, h in sizes}
    if len(shapes) > 1:
        return Format(longest, longest)
    width, height = sizes[0]
    scale = longest / max(width, height)
    return Format(max(1, round(width * scale)), max(1, round(height * scale)))


def _first_size(member: Member) -> tuple[int, int] | None:
    """Of the first picture that was drawn, or of the first start where none was."""
    there = ds.field("image").is_valid()
    for wanted in (there & ds.field("text_in").is_valid(), there):
        for shard in member.run.step_shards():
            with shards.reading(shard.path):
                data = ds.dataset(str(shard.path), schema=STEP_SCHEMA)
                found = data.head(1, columns=["image"], filter=wanted, batch_size=16, batch_readahead=1).to_pylist()
            if found:
                with Image.open(io.BytesIO(found[0]["image"]["bytes"])) as image:
                    return image.size
    return None


class Sheets:
    """Makes the sheets of a report."""

    def __init__(self, parts: Sequence[Member], form: Format) -> None:
        self.form = form
        self._parts = parts
        self._rows = sum(len(member.trajectories) for member in parts)

    def sheet(self, block: Block) -> bytes:
        """One sheet as a file."""
        return next(self._sheets([block]))[1]

    def all(self, blocks: Sequence[Block]) -> Iterator[tuple[Block, bytes]]:
        """Many sheets; those of neighbouring rows and the same iterations are read at once."""
        columns: dict[Block, list[Block]] = {}
        for row, t in sorted(blocks):
            columns.setdefault((row // _GROUP, t), []).append((row, t))
        for group in columns.values():
            yield from self._sheets(group)

    def _sheets(self, blocks: Sequence[Block]) -> Iterator[tuple[Block, bytes]]:
        """Sheets of the same iterations."""
        t = blocks[0][1] * ITERATIONS
        height, width = ROWS * self.form.height, ITERATIONS * self.form.width
        canvases = {row: np.zeros((height, width, 4), dtype=np.uint8) for row, _ in blocks}
        rows = [r for row, _ in blocks for r in range(row * ROWS, min((row + 1) * ROWS, self._rows))]
        with ThreadPoolExecutor(min(8, usable_cpus())) as threads:
            for wanted, pictures in self._pictures(rows, t):
                small = threads.map(self._small, pictures)
                for (r, k), pixels in zip(wanted, small, strict=True):
                    y, x = r % ROWS * self.form.height, (k - t) * self.form.width
                    canvases[r // ROWS][y : y + self.form.height, x : x + self.form.width] = pixels
            yield from zip(blocks, threads.map(_encoded, canvases.values()), strict=True)

    def _pictures(self, rows: Sequence[int], t: int) -> Iterator[tuple[list[tuple[int, int]], list[bytes]]]:
        """Batches of (row, t) and encoded pictures."""
        for member in self._parts:
            mine = [r for r in rows if r in member.rows]
            if not mine:
                continue
            table = member.trajectories.iloc[[r - member.first for r in mine]]
            row_of = dict(zip(table["trajectory_id"], mine, strict=True))
            cohorts = set(table["cohort"])
            folder = member.run.path / "steps"
            for shard in shards.list_shards(folder):
                if shard.cohort not in cohorts or shard.last < t or shard.first >= t + ITERATIONS:
                    continue
                at = ds.field("t")
                wanted = ds.field("trajectory_id").isin(list(row_of)) & (at >= t) & (at < t + ITERATIONS)
                with shards.reading(shard.path):
                    data = ds.dataset(str(shard.path), schema=STEP_SCHEMA)
                    columns = ["trajectory_id", "t", "image"]
                    # Few rows at a time: a large picture is megabytes, and only its small copy is kept.
                    for batch in data.to_batches(columns, filter=wanted, batch_size=64, batch_readahead=1):
                        there = [one for one in batch.to_pylist() if one["image"] is not None]
                        keys = [(row_of[one["trajectory_id"]], one["t"]) for one in there]
                        yield keys, [one["image"]["bytes"] for one in there]

    def _small(self, data: bytes) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
        """A picture within its place, the rest see-through."""
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (2 * self.form.width, 2 * self.form.height))
            scale = min(self.form.width / image.width, self.form.height / image.height, 1.0)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            small = image.convert("RGB")
            if small.size != size:
                small = small.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        placed = np.zeros((self.form.height, self.form.width, 4), dtype=np.uint8)
        y, x = (self.form.height - size[1]) // 2, (self.form.width - size[0]) // 2
        placed[y : y + size[1], x : x + size[0], :3] = np.asarray(small)
        placed[y : y + size[1], x : x + size[0], 3] = 255
        return placed


def _encoded(canvas: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> bytes:
    """A sheet as WebP; see-through only where some place is empty."""
    full = canvas[..., 3] > 0
    buffer = io.BytesIO()
    image = Image.fromarray(canvas if not full.all() else canvas[..., :3])
    image.save(buffer, "WEBP", quality=82, method=2)
    return buffer.getvalue()
