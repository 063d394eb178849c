"""The pictures that experiments/recursion begins with; the same bytes each time with the same libraries."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from loopsim.models.postcards import draw, world

SIDE = 256
SEED = 2029
INK = ((24, 24, 28), (206, 32, 36), (36, 92, 214), (246, 208, 36), (244, 240, 228), (34, 130, 90))
PAPER = (240, 234, 220)

Pen = ImageDraw.ImageDraw
Rng = np.random.Generator


def drawn(folder: Path, rng: Rng) -> None:
    """Eight scenes of the postcards world, evenly drawn, four times as large."""
    for k, codes in enumerate(world.draw_stratified(8, rng)):
        scene = world.Scene.from_codes(codes)
        small = Image.fromarray(draw.draw(scene, rng))
        small.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(folder / f"{k + 1:02d}.png", optimize=True)


def photographs(folder: Path) -> None:
    """Eight crops of the two photographs that scikit-learn ships; their authors and licence: pictures/README.md."""
    from sklearn.datasets import load_sample_images

    china, flower = (Image.fromarray(picture) for picture in load_sample_images().images)
    crops = [(china, x, y) for x in (0, 190, 384) for y in (0, 171)] + [(flower, 40, 90), (flower, 300, 60)]
    for k, (picture, x, y) in enumerate(crops):
        picture.crop((x, y, x + SIDE, y + SIDE)).save(folder / f"{k + 1:02d}.jpg", quality=90)


def art(folder: Path, rng: Rng) -> None:
    """Eight compositions of plain shapes."""
    makers: tuple[Callable[[Pen, Rng], None], ...] = (
        _squares, _grid, _rings, _triangles, _waves, _spiral, _dots, _strokes,
    )  # fmt: skip
    for k, make in enumerate(makers):
        picture = Image.new("RGB", (SIDE, SIDE), PAPER)
        make(ImageDraw.Draw(picture), rng)
        picture.save(folder / f"{k + 1:02d}.png", optimize=True)


def _ink(rng: Rng) -> tuple[int, int, int]:
    return INK[int(rng.integers(len(INK)))]


def _squares(pen: Pen, rng: Rng) -> None:
    for k, edge in enumerate((8, 36, 66, 96)):
        pen.rectangle((edge, edge + 6 * k, SIDE - edge, SIDE - edge + 4 * k), fill=INK[(k * 2 + 3) % len(INK)])


def _grid(pen: Pen, rng: Rng) -> None:
    xs, ys = ([0, *sorted(int(v) for v in rng.choice(np.arange(40, 220, 12), 3, replace=False)), SIDE] for _ in "xy")
    for left, right in itertools.pairwise(xs):
        for top, bottom in itertools.pairwise(ys):
            fill = _ink(rng) if rng.random() < 0.4 else PAPER
            pen.rectangle((left, top, right, bottom), fill=fill, outline=INK[0], width=5)


def _rings(pen: Pen, rng: Rng) -> None:
    for k, radius in enumerate(range(124, 8, -14)):
        pen.ellipse((128 - radius, 128 - radius, 128 + radius, 128 + radius), fill=INK[k % len(INK)])


def _triangles(pen: Pen, rng: Rng) -> None:
    for _ in range(14):
        x, y = rng.integers(0, SIDE, 2)
        corners = [(int(x + dx), int(y + dy)) for dx, dy in rng.integers(-70, 70, (3, 2))]
        pen.polygon(corners, fill=_ink(rng))


def _waves(pen: Pen, rng: Rng) -> None:
    for top in range(-20, SIDE + 20, 12):
        line = [(x, top + round(10 * np.sin(x / 18 + top / 40))) for x in range(0, SIDE + 4, 4)]
        pen.line(line, fill=INK[0], width=6)


def _spiral(pen: Pen, rng: Rng) -> None:
    turns = np.linspace(0, 12 * np.pi, 600)
    pen.line([(128 + 3.2 * t * np.cos(t), 128 + 3.2 * t * np.sin(t)) for t in turns], fill=INK[1], width=7)


def _dots(pen: Pen, rng: Rng) -> None:
    for x, y in rng.integers(0, SIDE, (1500, 2)):
        fill = INK[2] if y + 20 * np.sin(x / 30) < 110 else INK[5] if rng.random() < 0.7 else INK[3]
        pen.ellipse((int(x) - 3, int(y) - 3, int(x) + 3, int(y) + 3), fill=fill)


def _strokes(pen: Pen, rng: Rng) -> None:
    for _ in range(40):
        x, y = (int(v) for v in rng.integers(0, SIDE, 2))
        dx, dy = (int(v) for v in rng.integers(-60, 60, 2))
        pen.line((x, y, x + dx, y + dy), fill=_ink(rng), width=int(rng.integers(4, 16)))


def main(folder: Path) -> None:
    """Make all of them below a folder."""
    rng = np.random.default_rng(SEED)
    for name in ("drawn", "photographs", "art"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    drawn(folder / "drawn", rng)
    photographs(folder / "photographs")
    art(folder / "art", rng)


if __name__ == "__main__":
    main(Path(*(sys.argv[1:] or ["experiments/recursion/pictures"])))
