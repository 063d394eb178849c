"""The subjects of the postcards world: how each is drawn, in its own colour, in a square of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

Colour = tuple[int, int, int]

_DARK: Colour = (44, 36, 40)
_LIGHT: Colour = (252, 236, 160)


@dataclass
class Pen:
    """Draws in a subject's own square: x from 0 to 1, y from 0 (its foot) up to 1."""

    draw: ImageDraw.ImageDraw
    left: float
    foot: float
    side: float
    shade: Callable[[Colour], Colour]

    def _points(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(self.left + x * self.side, self.foot - y * self.side) for x, y in points]

    def poly(self, colour: Colour, *points: tuple[float, float]) -> None:
        """A filled polygon."""
        self.draw.polygon(self._points(points), fill=self.shade(colour))

    def box(self, colour: Colour, x0: float, y0: float, x1: float, y1: float) -> None:
        """A filled rectangle, from one corner to the opposite one."""
        self.poly(colour, (x0, y0), (x1, y0), (x1, y1), (x0, y1))

    def disc(self, colour: Colour, x: float, y: float, rx: float, ry: float | None = None) -> None:
        """A filled ellipse about its middle; a circle where one radius is given."""
        ry = rx if ry is None else ry
        (a, b) = self._points([(x - rx, y + ry), (x + rx, y - ry)])
        self.draw.ellipse([a, b], fill=self.shade(colour))

    def line(self, colour: Colour, width: float, *points: tuple[float, float]) -> None:
        """A line through points."""
        w = max(1, round(width * self.side))
        self.draw.line(self._points(points), fill=self.shade(colour), width=w)

    def dome(self, colour: Colour, x: float, y: float, r: float, height: float) -> None:
        """The upper half of an ellipse, filled."""
        angles = np.linspace(0, np.pi, 16)
        self.poly(colour, *[(x + r * float(np.cos(a)), y + height * float(np.sin(a))) for a in angles])


def _deeper(colour: Colour, factor: float = 0.68) -> Colour:
    # White and black keep an outline that can be seen: white goes to grey, black to a lighter grey.
    if sum(colour) < 120:
        return (84, 84, 92)
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


def _house(p: Pen, c: Colour) -> None:
    p.box(c, 0.1, 0, 0.9, 0.55)
    p.poly(_deeper(c), (0, 0.55), (0.5, 0.95), (1, 0.55))
    p.box(_DARK, 0.4, 0, 0.58, 0.34)
    p.box(_LIGHT, 0.68, 0.24, 0.82, 0.4)


def _person(p: Pen, c: Colour) -> None:
    p.box((52, 52, 66), 0.36, 0, 0.48, 0.36)
    p.box((52, 52, 66), 0.53, 0, 0.65, 0.36)
    p.poly(c, (0.24, 0.32), (0.76, 0.32), (0.68, 0.74), (0.32, 0.74))
    p.disc((232, 188, 156), 0.5, 0.86, 0.14)


def _tree(p: Pen, c: Colour) -> None:
    p.box((110, 74, 46), 0.43, 0, 0.57, 0.4)
    p.disc(c, 0.3, 0.55, 0.25)
    p.disc(c, 0.7, 0.55, 0.25)
    p.disc(c, 0.5, 0.75, 0.27)


def _car(p: Pen, c: Colour) -> None:
    p.box(c, 0.0, 0.12, 1.0, 0.36)
    p.poly(c, (0.16, 0.34), (0.28, 0.58), (0.72, 0.58), (0.86, 0.34))
    p.poly((190, 220, 236), (0.26, 0.36), (0.33, 0.52), (0.66, 0.52), (0.74, 0.36))
    p.disc(_DARK, 0.22, 0.1, 0.12)
    p.disc(_DARK, 0.78, 0.1, 0.12)


def _boat(p: Pen, c: Colour) -> None:
    p.poly(c, (0.0, 0.26), (1.0, 0.26), (0.82, 0.0), (0.18, 0.0))
    p.line((110, 74, 46), 0.05, (0.48, 0.24), (0.48, 1.0))
    p.poly((250, 250, 246), (0.53, 0.32), (0.53, 0.98), (0.94, 0.32))
    p.poly(c, (0.43, 0.32), (0.43, 0.86), (0.14, 0.32))


def _church(p: Pen, c: Colour) -> None:
    p.box(c, 0.3, 0, 1.0, 0.42)
    p.poly(_deeper(c), (0.3, 0.42), (0.42, 0.6), (0.92, 0.6), (1.0, 0.42))
    p.box(c, 0.04, 0, 0.34, 0.58)
    p.poly(_deeper(c), (0.0, 0.58), (0.19, 0.9), (0.38, 0.58))
    p.line(_DARK, 0.05, (0.19, 0.86), (0.19, 1.04))
    p.line(_DARK, 0.05, (0.1, 0.97), (0.28, 0.97))
    p.dome(_DARK, 0.66, 0.12, 0.09, 0.2)


def _flower(p: Pen, c: Colour) -> None:
    p.line((40, 124, 48), 0.07, (0.5, 0), (0.5, 0.6))
    p.disc((40, 124, 48), 0.64, 0.22, 0.14, 0.06)
    for a in np.linspace(0, 2 * np.pi, 5, endpoint=False):
        p.disc(c, 0.5 + 0.2 * float(np.sin(a)), 0.72 + 0.2 * float(np.cos(a)), 0.14)
    p.disc((250, 220, 90) if sum(c) < 480 else (120, 72, 30), 0.5, 0.72, 0.11)


def _dog(p: Pen, c: Colour) -> None:
    for x in (0.14, 0.3, 0.54, 0.68):
        p.box(_deeper(c), x, 0, x + 0.09, 0.28)
    p.box(c, 0.12, 0.24, 0.78, 0.5)
    p.line(c, 0.09, (0.14, 0.46), (0.0, 0.74))
    p.box(c, 0.68, 0.44, 1.0, 0.74)
    p.poly(_deeper(c), (0.68, 0.74), (0.72, 0.94), (0.84, 0.74))


def _bird(p: Pen, c: Colour) -> None:
    p.line(_DARK, 0.05, (0.45, 0.0), (0.45, 0.3))
    p.line(_DARK, 0.05, (0.57, 0.0), (0.57, 0.3))
    p.disc(c, 0.48, 0.46, 0.34, 0.22)
    p.poly(c, (0.2, 0.5), (-0.04, 0.7), (0.02, 0.42))
    p.disc(c, 0.78, 0.72, 0.16)
    p.poly((244, 150, 30), (0.92, 0.76), (1.08, 0.7), (0.92, 0.64))
    p.poly(_deeper(c), (0.28, 0.54), (0.62, 0.54), (0.38, 0.3))


def _bridge(p: Pen, c: Colour) -> None:
    p.box(c, -0.06, 0.3, 1.06, 0.42)
    angles = np.linspace(0, np.pi, 14)
    p.line(c, 0.08, *[(0.5 + 0.5 * float(np.cos(a)), 0.36 + 0.42 * float(np.sin(a))) for a in angles])
    for x in (0.25, 0.5, 0.75):
        p.line(c, 0.04, (x, 0.4), (x, 0.36 + 0.42 * float(np.sqrt(1 - (2 * x - 1) ** 2))))
    p.box(_deeper(c), 0.06, 0, 0.16, 0.32)
    p.box(_deeper(c), 0.84, 0, 0.94, 0.32)


def _castle(p: Pen, c: Colour) -> None:
    p.box(c, 0.12, 0, 0.88, 0.54)
    for x in (0.0, 0.76):
        p.box(_deeper(c, 0.86), x, 0, x + 0.24, 0.74)
        for k in (0.0, 0.09, 0.18):
            p.box(_deeper(c, 0.86), x + k, 0.74, x + k + 0.06, 0.86)
    for k in (0.3, 0.44, 0.58):
        p.box(c, k, 0.54, k + 0.1, 0.66)
    p.dome(_DARK, 0.5, 0, 0.13, 0.34)


def _lighthouse(p: Pen, c: Colour) -> None:
    p.poly(c, (0.3, 0), (0.7, 0), (0.62, 0.72), (0.38, 0.72))
    band = (250, 250, 250) if min(c) < 200 else (150, 150, 158)
    p.poly(band, (0.34, 0.3), (0.66, 0.3), (0.64, 0.46), (0.36, 0.46))
    p.box(_LIGHT, 0.38, 0.74, 0.62, 0.88)
    p.poly(_deeper(c), (0.32, 0.88), (0.68, 0.88), (0.5, 1.06))


def _clock(p: Pen, c: Colour) -> None:
    p.box(_deeper(c), 0.28, 0, 0.38, 0.12)
    p.box(_deeper(c), 0.62, 0, 0.72, 0.12)
    p.disc(c, 0.5, 0.5, 0.44)
    p.disc((250, 250, 244) if min(c) < 200 else (150, 150, 158), 0.5, 0.5, 0.31)
    p.line(_DARK, 0.07, (0.5, 0.5), (0.5, 0.74))
    p.line(_DARK, 0.07, (0.5, 0.5), (0.68, 0.44))


def _umbrella(p: Pen, c: Colour) -> None:
    p.line(_DARK, 0.06, (0.5, 0.04), (0.5, 0.6))
    p.line(_DARK, 0.06, (0.5, 0.05), (0.62, 0.05))
    p.dome(c, 0.5, 0.54, 0.5, 0.42)
    p.poly(_deeper(c), (0.34, 0.54), (0.5, 0.96), (0.66, 0.54))


def _balloon(p: Pen, c: Colour) -> None:
    p.line((120, 120, 120), 0.04, (0.5, 0.0), (0.5, 0.34))
    p.disc(c, 0.5, 0.66, 0.3, 0.36)
    p.poly(c, (0.42, 0.24), (0.58, 0.24), (0.5, 0.36))
    p.disc((255, 255, 255) if min(c) < 200 else (206, 206, 212), 0.4, 0.8, 0.06, 0.1)


def _robot(p: Pen, c: Colour) -> None:
    p.box(_deeper(c), 0.28, 0, 0.42, 0.16)
    p.box(_deeper(c), 0.58, 0, 0.72, 0.16)
    p.box(c, 0.18, 0.14, 0.82, 0.54)
    p.box(_deeper(c), 0.02, 0.24, 0.14, 0.52)
    p.box(_deeper(c), 0.86, 0.24, 0.98, 0.52)
    p.box(c, 0.26, 0.58, 0.74, 0.9)
    p.box(_LIGHT, 0.33, 0.7, 0.45, 0.82)
    p.box(_LIGHT, 0.55, 0.7, 0.67, 0.82)
    p.line(_DARK, 0.05, (0.5, 0.9), (0.5, 1.04))


def _fish(p: Pen, c: Colour) -> None:
    p.disc(c, 0.58, 0.42, 0.42, 0.27)
    p.poly(c, (0.22, 0.42), (-0.06, 0.7), (-0.06, 0.14))
    p.poly(_deeper(c), (0.44, 0.66), (0.62, 0.9), (0.74, 0.64))
    p.disc((255, 255, 255), 0.8, 0.5, 0.08)
    p.disc((10, 10, 10), 0.82, 0.5, 0.04)


def _mushroom(p: Pen, c: Colour) -> None:
    p.box((238, 226, 202), 0.37, 0, 0.63, 0.5)
    p.dome(c, 0.5, 0.44, 0.48, 0.5)
    dot = (255, 255, 255) if min(c) < 200 else (150, 150, 158)
    for x, y in ((0.28, 0.6), (0.52, 0.76), (0.74, 0.58)):
        p.disc(dot, x, y, 0.08)


def _rocket(p: Pen, c: Colour) -> None:
    p.poly(_deeper(c), (0.14, 0.08), (0.4, 0.2), (0.4, 0.5))
    p.poly(_deeper(c), (0.86, 0.08), (0.6, 0.2), (0.6, 0.5))
    p.poly(c, (0.34, 0.14), (0.66, 0.14), (0.7, 0.6), (0.5, 1.08), (0.3, 0.6))
    p.disc((120, 200, 236), 0.5, 0.62, 0.1)
    p.poly((255, 160, 30), (0.38, 0.14), (0.62, 0.14), (0.5, -0.06))


def _cactus(p: Pen, c: Colour) -> None:
    p.line(c, 0.2, (0.5, 0), (0.5, 0.96))
    p.line(c, 0.14, (0.5, 0.36), (0.14, 0.36))
    p.line(c, 0.14, (0.18, 0.3), (0.18, 0.7))
    p.line(c, 0.14, (0.5, 0.5), (0.86, 0.5))
    p.line(c, 0.14, (0.82, 0.44), (0.82, 0.84))


SUBJECTS: dict[str, Callable[[Pen, Colour], None]] = {
    "house": _house, "person": _person, "tree": _tree, "car": _car, "boat": _boat, "church": _church,
    "flower": _flower, "dog": _dog, "bird": _bird, "bridge": _bridge, "castle": _castle,
    "lighthouse": _lighthouse, "clock": _clock, "umbrella": _umbrella, "balloon": _balloon, "robot": _robot,
    "fish": _fish, "mushroom": _mushroom, "rocket": _rocket, "cactus": _cactus,
}  # fmt: skip
"""The painter of each subject of the world, called with a pen and the subject's colour."""
