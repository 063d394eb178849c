"""Pictures of the postcards world: one scene to one 64 × 64 RGB picture.

Everything that a caption does not say (where the subject stands, the shapes behind it, shades) is drawn from the
generator that is handed in, so one scene has endlessly many pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from loopsim.models.postcards.world import Scene

SIZE = 64
"""Side of a picture in pixels."""
_SCALE = 2  # drawn at twice the size and reduced: cheap anti-aliasing

Colour = tuple[int, int, int]

_PAINT: dict[str, Colour] = {
    "white": (244, 244, 240),
    "red": (206, 32, 36),
    "blue": (36, 92, 214),
    "green": (34, 150, 62),
    "yellow": (246, 208, 36),
    "black": (26, 26, 30),
    "orange": (244, 128, 20),
    "purple": (138, 52, 178),
}
# Sky top, sky bottom, light on the ground (a factor), light on the subject (a factor).
_SKY: dict[str, tuple[Colour, Colour, float, float]] = {
    "sunny": ((92, 160, 240), (206, 230, 252), 1.0, 1.0),
    "sunset": ((248, 132, 72), (255, 202, 120), 0.82, 0.95),
    "night": ((8, 10, 44), (34, 38, 92), 0.34, 0.80),
    "rain": ((96, 112, 136), (140, 154, 172), 0.70, 0.90),
    "fog": ((206, 210, 214), (222, 224, 226), 1.0, 1.0),
    "storm": ((44, 46, 58), (86, 88, 98), 0.52, 0.88),
}
_GROUND: dict[str, Colour] = {
    "street": (112, 112, 116),
    "sea": (44, 112, 178),
    "meadow": (112, 184, 78),
    "city": (150, 144, 140),
    "forest": (52, 104, 52),
    "room": (156, 104, 68),
    "snow": (240, 244, 250),
    "desert": (226, 190, 112),
}
_DARK: Colour = (44, 36, 40)
_LIGHT: Colour = (252, 236, 160)


@dataclass
class _Pen:
    """Draws in a subject's own square: x from 0 to 1, y from 0 (its foot) up to 1."""

    draw: ImageDraw.ImageDraw
    left: float
    foot: float
    side: float
    shade: Callable[[Colour], Colour]

    def _points(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(self.left + x * self.side, self.foot - y * self.side) for x, y in points]

    def poly(self, colour: Colour, *points: tuple[float, float]) -> None:
        self.draw.polygon(self._points(points), fill=self.shade(colour))

    def box(self, colour: Colour, x0: float, y0: float, x1: float, y1: float) -> None:
        self.poly(colour, (x0, y0), (x1, y0), (x1, y1), (x0, y1))

    def disc(self, colour: Colour, x: float, y: float, rx: float, ry: float | None = None) -> None:
        ry = rx if ry is None else ry
        (a, b) = self._points([(x - rx, y + ry), (x + rx, y - ry)])
        self.draw.ellipse([a, b], fill=self.shade(colour))

    def line(self, colour: Colour, width: float, *points: tuple[float, float]) -> None:
        w = max(1, round(width * self.side))
        self.draw.line(self._points(points), fill=self.shade(colour), width=w)

    def dome(self, colour: Colour, x: float, y: float, r: float, height: float) -> None:
        angles = np.linspace(0, np.pi, 16)
        self.poly(colour, *[(x + r * float(np.cos(a)), y + height * float(np.sin(a))) for a in angles])


def _deeper(colour: Colour, factor: float = 0.68) -> Colour:
    # White and black keep an outline that can be seen: white goes to grey, black to a lighter grey.
    if sum(colour) < 120:
        return (84, 84, 92)
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


def _house(p: _Pen, c: Colour) -> None:
    p.box(c, 0.1, 0, 0.9, 0.55)
    p.poly(_deeper(c), (0, 0.55), (0.5, 0.95), (1, 0.55))
    p.box(_DARK, 0.4, 0, 0.58, 0.34)
    p.box(_LIGHT, 0.68, 0.24, 0.82, 0.4)


def _person(p: _Pen, c: Colour) -> None:
    p.box((52, 52, 66), 0.36, 0, 0.48, 0.36)
    p.box((52, 52, 66), 0.53, 0, 0.65, 0.36)
    p.poly(c, (0.24, 0.32), (0.76, 0.32), (0.68, 0.74), (0.32, 0.74))
    p.disc((232, 188, 156), 0.5, 0.86, 0.14)


def _tree(p: _Pen, c: Colour) -> None:
    p.box((110, 74, 46), 0.43, 0, 0.57, 0.4)
    p.disc(c, 0.3, 0.55, 0.25)
    p.disc(c, 0.7, 0.55, 0.25)
    p.disc(c, 0.5, 0.75, 0.27)


def _car(p: _Pen, c: Colour) -> None:
    p.box(c, 0.0, 0.12, 1.0, 0.36)
    p.poly(c, (0.16, 0.34), (0.28, 0.58), (0.72, 0.58), (0.86, 0.34))
    p.poly((190, 220, 236), (0.26, 0.36), (0.33, 0.52), (0.66, 0.52), (0.74, 0.36))
    p.disc(_DARK, 0.22, 0.1, 0.12)
    p.disc(_DARK, 0.78, 0.1, 0.12)


def _boat(p: _Pen, c: Colour) -> None:
    p.poly(c, (0.0, 0.26), (1.0, 0.26), (0.82, 0.0), (0.18, 0.0))
    p.line((110, 74, 46), 0.05, (0.48, 0.24), (0.48, 1.0))
    p.poly((250, 250, 246), (0.53, 0.32), (0.53, 0.98), (0.94, 0.32))
    p.poly(c, (0.43, 0.32), (0.43, 0.86), (0.14, 0.32))


def _church(p: _Pen, c: Colour) -> None:
    p.box(c, 0.3, 0, 1.0, 0.42)
    p.poly(_deeper(c), (0.3, 0.42), (0.42, 0.6), (0.92, 0.6), (1.0, 0.42))
    p.box(c, 0.04, 0, 0.34, 0.58)
    p.poly(_deeper(c), (0.0, 0.58), (0.19, 0.9), (0.38, 0.58))
    p.line(_DARK, 0.05, (0.19, 0.86), (0.19, 1.04))
    p.line(_DARK, 0.05, (0.1, 0.97), (0.28, 0.97))
    p.dome(_DARK, 0.66, 0.12, 0.09, 0.2)


def _flower(p: _Pen, c: Colour) -> None:
    p.line((40, 124, 48), 0.07, (0.5, 0), (0.5, 0.6))
    p.disc((40, 124, 48), 0.64, 0.22, 0.14, 0.06)
    for a in np.linspace(0, 2 * np.pi, 5, endpoint=False):
        p.disc(c, 0.5 + 0.2 * float(np.sin(a)), 0.72 + 0.2 * float(np.cos(a)), 0.14)
    p.disc((250, 220, 90) if sum(c) < 480 else (120, 72, 30), 0.5, 0.72, 0.11)


def _dog(p: _Pen, c: Colour) -> None:
    for x in (0.14, 0.3, 0.54, 0.68):
        p.box(_deeper(c), x, 0, x + 0.09, 0.28)
    p.box(c, 0.12, 0.24, 0.78, 0.5)
    p.line(c, 0.09, (0.14, 0.46), (0.0, 0.74))
    p.box(c, 0.68, 0.44, 1.0, 0.74)
    p.poly(_deeper(c), (0.68, 0.74), (0.72, 0.94), (0.84, 0.74))


def _bird(p: _Pen, c: Colour) -> None:
    p.line(_DARK, 0.05, (0.45, 0.0), (0.45, 0.3))
    p.line(_DARK, 0.05, (0.57, 0.0), (0.57, 0.3))
    p.disc(c, 0.48, 0.46, 0.34, 0.22)
    p.poly(c, (0.2, 0.5), (-0.04, 0.7), (0.02, 0.42))
    p.disc(c, 0.78, 0.72, 0.16)
    p.poly((244, 150, 30), (0.92, 0.76), (1.08, 0.7), (0.92, 0.64))
    p.poly(_deeper(c), (0.28, 0.54), (0.62, 0.54), (0.38, 0.3))


def _bridge(p: _Pen, c: Colour) -> None:
    p.box(c, -0.06, 0.3, 1.06, 0.42)
    angles = np.linspace(0, np.pi, 14)
    p.line(c, 0.08, *[(0.5 + 0.5 * float(np.cos(a)), 0.36 + 0.42 * float(np.sin(a))) for a in angles])
    for x in (0.25, 0.5, 0.75):
        p.line(c, 0.04, (x, 0.4), (x, 0.36 + 0.42 * float(np.sqrt(1 - (2 * x - 1) ** 2))))
    p.box(_deeper(c), 0.06, 0, 0.16, 0.32)
    p.box(_deeper(c), 0.84, 0, 0.94, 0.32)


def _castle(p: _Pen, c: Colour) -> None:
    p.box(c, 0.12, 0, 0.88, 0.54)
    for x in (0.0, 0.76):
        p.box(_deeper(c, 0.86), x, 0, x + 0.24, 0.74)
        for k in (0.0, 0.09, 0.18):
            p.box(_deeper(c, 0.86), x + k, 0.74, x + k + 0.06, 0.86)
    for k in (0.3, 0.44, 0.58):
        p.box(c, k, 0.54, k + 0.1, 0.66)
    p.dome(_DARK, 0.5, 0, 0.13, 0.34)


def _lighthouse(p: _Pen, c: Colour) -> None:
    p.poly(c, (0.3, 0), (0.7, 0), (0.62, 0.72), (0.38, 0.72))
    band = (250, 250, 250) if min(c) < 200 else (150, 150, 158)
    p.poly(band, (0.34, 0.3), (0.66, 0.3), (0.64, 0.46), (0.36, 0.46))
    p.box(_LIGHT, 0.38, 0.74, 0.62, 0.88)
    p.poly(_deeper(c), (0.32, 0.88), (0.68, 0.88), (0.5, 1.06))


def _clock(p: _Pen, c: Colour) -> None:
    p.box(_deeper(c), 0.28, 0, 0.38, 0.12)
    p.box(_deeper(c), 0.62, 0, 0.72, 0.12)
    p.disc(c, 0.5, 0.5, 0.44)
    p.disc((250, 250, 244) if min(c) < 200 else (150, 150, 158), 0.5, 0.5, 0.31)
    p.line(_DARK, 0.07, (0.5, 0.5), (0.5, 0.74))
    p.line(_DARK, 0.07, (0.5, 0.5), (0.68, 0.44))


def _umbrella(p: _Pen, c: Colour) -> None:
    p.line(_DARK, 0.06, (0.5, 0.04), (0.5, 0.6))
    p.line(_DARK, 0.06, (0.5, 0.05), (0.62, 0.05))
    p.dome(c, 0.5, 0.54, 0.5, 0.42)
    p.poly(_deeper(c), (0.34, 0.54), (0.5, 0.96), (0.66, 0.54))


def _balloon(p: _Pen, c: Colour) -> None:
    p.line((120, 120, 120), 0.04, (0.5, 0.0), (0.5, 0.34))
    p.disc(c, 0.5, 0.66, 0.3, 0.36)
    p.poly(c, (0.42, 0.24), (0.58, 0.24), (0.5, 0.36))
    p.disc((255, 255, 255) if min(c) < 200 else (206, 206, 212), 0.4, 0.8, 0.06, 0.1)


def _robot(p: _Pen, c: Colour) -> None:
    p.box(_deeper(c), 0.28, 0, 0.42, 0.16)
    p.box(_deeper(c), 0.58, 0, 0.72, 0.16)
    p.box(c, 0.18, 0.14, 0.82, 0.54)
    p.box(_deeper(c), 0.02, 0.24, 0.14, 0.52)
    p.box(_deeper(c), 0.86, 0.24, 0.98, 0.52)
    p.box(c, 0.26, 0.58, 0.74, 0.9)
    p.box(_LIGHT, 0.33, 0.7, 0.45, 0.82)
    p.box(_LIGHT, 0.55, 0.7, 0.67, 0.82)
    p.line(_DARK, 0.05, (0.5, 0.9), (0.5, 1.04))


def _fish(p: _Pen, c: Colour) -> None:
    p.disc(c, 0.58, 0.42, 0.42, 0.27)
    p.poly(c, (0.22, 0.42), (-0.06, 0.7), (-0.06, 0.14))
    p.poly(_deeper(c), (0.44, 0.66), (0.62, 0.9), (0.74, 0.64))
    p.disc((255, 255, 255), 0.8, 0.5, 0.08)
    p.disc((10, 10, 10), 0.82, 0.5, 0.04)


def _mushroom(p: _Pen, c: Colour) -> None:
    p.box((238, 226, 202), 0.37, 0, 0.63, 0.5)
    p.dome(c, 0.5, 0.44, 0.48, 0.5)
    dot = (255, 255, 255) if min(c) < 200 else (150, 150, 158)
    for x, y in ((0.28, 0.6), (0.52, 0.76), (0.74, 0.58)):
        p.disc(dot, x, y, 0.08)


def _rocket(p: _Pen, c: Colour) -> None:
    p.poly(_deeper(c), (0.14, 0.08), (0.4, 0.2), (0.4, 0.5))
    p.poly(_deeper(c), (0.86, 0.08), (0.6, 0.2), (0.6, 0.5))
    p.poly(c, (0.34, 0.14), (0.66, 0.14), (0.7, 0.6), (0.5, 1.08), (0.3, 0.6))
    p.disc((120, 200, 236), 0.5, 0.62, 0.1)
    p.poly((255, 160, 30), (0.38, 0.14), (0.62, 0.14), (0.5, -0.06))


def _cactus(p: _Pen, c: Colour) -> None:
    p.line(c, 0.2, (0.5, 0), (0.5, 0.96))
    p.line(c, 0.14, (0.5, 0.36), (0.14, 0.36))
    p.line(c, 0.14, (0.18, 0.3), (0.18, 0.7))
    p.line(c, 0.14, (0.5, 0.5), (0.86, 0.5))
    p.line(c, 0.14, (0.82, 0.44), (0.82, 0.84))


_SUBJECT: dict[str, Callable[[_Pen, Colour], None]] = {
    "house": _house, "person": _person, "tree": _tree, "car": _car, "boat": _boat, "church": _church,
    "flower": _flower, "dog": _dog, "bird": _bird, "bridge": _bridge, "castle": _castle,
    "lighthouse": _lighthouse, "clock": _clock, "umbrella": _umbrella, "balloon": _balloon, "robot": _robot,
    "fish": _fish, "mushroom": _mushroom, "rocket": _rocket, "cactus": _cactus,
}  # fmt: skip


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return (
        int(a[0] + (b[0] - a[0]) * share),
        int(a[1] + (b[1] - a[1]) * share),
        int(a[2] + (b[2] - a[2]) * share),
    )


def _lit(colour: Colour, light: float) -> Colour:
    return (int(colour[0] * light), int(colour[1] * light), int(colour[2] * light))


def _sky(image: Image.Image, mood: str, horizon: int, rng: np.random.Generator) -> None:
    top, bottom, _, _ = _SKY[mood]
    rows = np.linspace(0, 1, horizon)[:, None, None]
    sky = np.asarray(top) * (1 - rows) + np.asarray(bottom) * rows
    sky = np.repeat(sky, image.width, axis=1) + rng.normal(0, 3, 3)
    image.paste(Image.fromarray(sky.clip(0, 255).astype(np.uint8)), (0, 0))
    d = ImageDraw.Draw(image)
    x, y = rng.uniform(0.1, 0.9) * image.width, rng.uniform(0.08, 0.2) * image.width
    if mood == "sunny":
        d.ellipse([x - 9, y - 9, x + 9, y + 9], fill=(255, 238, 120))
    elif mood == "sunset":
        d.ellipse([x - 12, horizon - 20, x + 12, horizon + 4], fill=(255, 88, 58))
    elif mood == "night":
        d.ellipse([x - 8, y - 8, x + 8, y + 8], fill=(246, 242, 214))
        for sx, sy in rng.uniform(0, 1, (7, 2)):
            d.rectangle([sx * image.width, sy * horizon, sx * image.width + 1, sy * horizon + 1], fill=(220, 220, 240))
    elif mood == "storm":
        bolt = [(0, 0), (-5, 12), (1, 12), (-5, 28), (8, 9), (2, 9), (6, 0)]
        d.polygon([(x + bx, y - 8 + by) for bx, by in bolt], fill=(255, 244, 120))


def _backdrop(d: ImageDraw.ImageDraw, place: str, mood: str, horizon: int, rng: np.random.Generator) -> None:
    side = SIZE * _SCALE
    light = _SKY[mood][2]
    far = _mix(_lit((104, 108, 124), light), _SKY[mood][1], 0.35)
    if place == "city":
        for x in np.arange(-4.0, side, 17.0):
            height, width = rng.uniform(18, 44), rng.uniform(11, 17)
            d.rectangle([x, horizon - height, x + width, horizon], fill=far)
    elif place == "forest":
        for x in rng.permutation(np.arange(-4, side, 12)):
            h = rng.uniform(24, 42)
            d.polygon(
                [(x, horizon + 2), (x + 9, horizon - h), (x + 18, horizon + 2)],
                fill=_lit((30, 84, 48), max(light, 0.42)),
            )
    elif place == "desert":
        for x in rng.uniform(0, side, 2):
            d.ellipse([x - 44, horizon - 11, x + 44, horizon + 22], fill=_lit((206, 164, 92), light))
    elif place == "street":
        x = rng.uniform(0.3, 0.7) * side
        d.polygon(
            [(x - 8, horizon), (x + 8, horizon), (x + 44, side), (x - 44, side)],
            fill=_lit((62, 62, 68), max(light, 0.5)),
        )
        d.line([(x, horizon), (x, side)], fill=_lit((236, 236, 220), max(light, 0.7)), width=3)
        for lamp in (rng.uniform(4, 18), side - rng.uniform(4, 18)):
            d.line([(lamp, horizon + 8), (lamp, horizon - 34)], fill=_lit((40, 40, 44), 1.0), width=3)
            d.ellipse([lamp - 5, horizon - 42, lamp + 5, horizon - 32], fill=(255, 232, 150))
    elif place == "sea":
        for y in rng.uniform(horizon + 5, side - 3, 7):
            x, w = rng.uniform(0, side), rng.uniform(10, 26)
            d.line([(x, y), (x + w, y)], fill=_lit((150, 200, 236), max(light, 0.45)), width=2)
    elif place == "meadow":
        for x, y in rng.uniform(0, 1, (16, 2)):
            gy = horizon + 4 + y * (side - horizon)
            d.line([(x * side, gy), (x * side, gy - 5)], fill=_lit((68, 140, 48), light), width=2)
    elif place == "snow":
        for x in rng.uniform(0, side, 2):
            d.polygon(
                [(x - 40, horizon), (x, horizon - 26), (x + 40, horizon)],
                fill=_mix((214, 226, 240), _SKY[mood][1], 0.35),
            )


def _window(image: Image.Image, mood: str, rng: np.random.Generator) -> None:
    """A room: wall, and a window with the weather in it."""
    light = (_SKY[mood][2] + 1.6) / 2.6
    wall = _lit((216, 196, 164), light)
    d = ImageDraw.Draw(image)
    d.rectangle([0, 0, image.width, image.height], fill=wall)
    w, h = 50, 42
    pane = Image.new("RGB", (w, h))
    small = np.random.default_rng(rng.integers(2**32))
    _sky(pane, mood, h, small)
    if mood == "rain":
        _rain(ImageDraw.Draw(pane), w, h, 10, small)
    x, y = int(rng.choice([rng.uniform(4, 20), rng.uniform(58, 72)])), int(rng.uniform(6, 14))
    d.rectangle([x - 4, y - 4, x + w + 3, y + h + 3], fill=_lit((98, 62, 36), light))
    image.paste(pane, (x, y))
    d.line([(x + w // 2, y), (x + w // 2, y + h)], fill=_lit((98, 62, 36), light), width=2)


def _rain(d: ImageDraw.ImageDraw, width: int, height: int, drops: int, rng: np.random.Generator) -> None:
    for x, y in rng.uniform(0, 1, (drops, 2)):
        d.line([(x * width, y * height), (x * width - 4, y * height + 11)], fill=(206, 220, 240), width=1)


def draw(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One picture of `scene`: uint8 of shape (64, 64, 3)."""
    side = SIZE * _SCALE
    light, subject_light = _SKY[scene.mood][2:]
    image = Image.new("RGB", (side, side))
    horizon = int(side * rng.uniform(0.52, 0.62))
    indoors = scene.place == "room"
    if indoors:
        _window(image, scene.mood, rng)
    else:
        _sky(image, scene.mood, horizon, rng)
    d = ImageDraw.Draw(image)
    ground = np.clip(np.asarray(_GROUND[scene.place]) + rng.normal(0, 5, 3), 0, 255)
    lit_ground = _lit((int(ground[0]), int(ground[1]), int(ground[2])), (light + 1.6) / 2.6 if indoors else light)
    d.rectangle([0, horizon, side, side], fill=lit_ground)
    _backdrop(d, scene.place, scene.mood, horizon, rng)

    count = {"one": 1, "two": 2, "three": 3}[scene.number]
    size = {1: 62.0, 2: 46.0, 3: 37.0}[count] * rng.uniform(0.92, 1.06)
    gap = side / count if count > 1 else side
    foot = side * rng.uniform(0.82, 0.9)
    shift = rng.uniform(-0.2, 0.2) * side if count == 1 else rng.uniform(-0.02, 0.02) * side
    lamp = subject_light if not indoors else (subject_light + 1) / 2

    def shade(colour: Colour) -> Colour:
        colour = _lit(colour, lamp)
        return _mix(colour, (212, 216, 220), 0.28) if scene.mood == "fog" and not indoors else colour

    paint = _PAINT[scene.colour]
    for k in range(count):
        left = gap * (k + 0.5) - size / 2 + shift
        jitter = rng.uniform(-2, 2)
        d.ellipse(
            [left + 0.05 * size, foot + jitter - 4, left + 0.95 * size, foot + jitter + 4],
            fill=_lit(lit_ground, 0.78),
        )
        _SUBJECT[scene.subject](_Pen(d, left, foot + jitter, size, shade), paint)
    if scene.mood == "rain" and not indoors:
        _rain(d, side, side, 34, rng)
    small = image.reduce(_SCALE)
    if scene.mood == "fog" and not indoors:
        veil = np.asarray(small, dtype=np.float32)
        fade = np.linspace(0.42, 0.1, SIZE, dtype=np.float32)[:, None, None]
        return (veil * (1 - fade) + 218 * fade).astype(np.uint8)
    return np.array(small)
