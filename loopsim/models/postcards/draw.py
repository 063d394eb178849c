"""Pictures of the postcards world: one scene to one 64 × 64 RGB picture.

Everything that a caption does not say (where the subject stands, the shapes behind it, shades) is drawn from the
generator that is handed in, so one scene has endlessly many pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from loopsim.models.postcards.subjects import SUBJECTS, Colour, Pen
from loopsim.models.postcards.world import Scene

SIZE = 64
"""Side of a picture in pixels."""
_SCALE = 2  # drawn at twice the size and reduced: cheap anti-aliasing

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
        SUBJECTS[scene.subject](Pen(d, left, foot + jitter, size, shade), paint)
    if scene.mood == "rain" and not indoors:
        _rain(d, side, side, 34, rng)
    small = image.reduce(_SCALE)
    if scene.mood == "fog" and not indoors:
        veil = np.asarray(small, dtype=np.float32)
        fade = np.linspace(0.42, 0.1, SIZE, dtype=np.float32)[:, None, None]
        return (veil * (1 - fade) + 218 * fade).astype(np.uint8)
    return np.array(small)
