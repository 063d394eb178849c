"""Pixels to bytes and back. The captioner sees exactly the pixels that the bytes give."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = {
    # Method 0 is three to five times faster than the default at a few per cent of size.
    "webp": {"format": "WEBP", "lossless": True, "method": 0, "quality": 0},
    "png": {"format": "PNG", "compress_level": 1},
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}
LOSSLESS = frozenset({"webp", "png"})

_BLACK = 4  # a level of 255 that no eye tells from black


def encode(pixels: NDArray[np.uint8], kind: str) -> bytes:
    """A picture, uint8 (height, width, 3), as bytes of a kind in `FORMATS`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **FORMATS[kind])  # type: ignore[arg-type]
    return buffer.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    """Bytes of any common kind as uint8 (height, width, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def read(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 (height, width, 3), upright; transparency is laid on white."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)  # phones store how they were held
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            over = image.convert("RGBA")
            flat = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
            return np.array(flat.convert("RGB"))
        return np.array(image.convert("RGB"))


def image_flags(pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    """`black_image` or `constant_image` where a picture is one."""
    if int(pixels.max()) <= _BLACK:
        return ("black_image",)
    # A reduction over the first two axes is several times slower in numpy than these two.
    return ("constant_image",) if bool((pixels == pixels[0, 0]).all()) else ()
