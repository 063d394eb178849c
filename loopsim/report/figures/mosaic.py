"""Mosaic animation: a frame an iteration, a tile a trajectory; GIF, and MP4 where ffmpeg is there."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from loopsim.errors import NothingToDraw, UsageError
from loopsim.report.figures.drawing import Animation, Source
from loopsim.report.figures.filmstrip import no_pictures
from loopsim.store import Run
from loopsim.store.shards import write_bytes

FORMATS = ("gif", "mp4")
CHEAP = 60_000_000
"""Stored pixels that are decoded within a minute or so: more of them are animated only when asked for."""
_SIDE = 1280
"""Pixels of the longer side of a mosaic, about."""
_SMALLEST, _LARGEST, _BAR = 12, 160, 22
_SECONDS = 0.4

Frame = NDArray[np.uint8]


def mosaic(source: Source) -> Animation:
    """All trajectories at once, iteration by iteration, ordered by condition, group of starts and start."""
    table = source.trajectories.sort_values(["label", "group", "start_id", "replicate"], kind="stable")
    ids = [str(one) for one in table["trajectory_id"]]
    steps = source.run.steps(["trajectory_id", "t"])
    steps = steps[steps["trajectory_id"].isin(ids)]
    ts = sorted(int(t) for t in steps["t"].unique())
    shape = _first_shape(source.run, ids, ts)
    if shape is None:
        raise NothingToDraw(no_pictures(source, ids))
    across, tile = _layout(len(ids), shape)
    last = steps.groupby("trajectory_id")["t"].max().to_dict()
    frames, data = [], []
    for t in ts:
        pictures = source.run.pictures(ids, [t])
        if not pictures:  # texts are where text-first chains begin
            continue
        frames.append(_frame(t, ts[-1], [pictures.get((one, t)) for one in ids], across, tile))
        for i, one in enumerate(ids):
            status = "drawn" if (one, t) in pictures else "ended" if t > last.get(one, -1) else "missing"
            data.append({"t": t, "row": i // across, "column": i % across, "trajectory_id": one, "status": status})
    named = table[["trajectory_id", "label", "group", "start_text", "replicate"]]
    alt = f"{len(ids)} trajectories as tiles, one frame an iteration, from t = {data[0]['t']} to {data[-1]['t']}."
    return Animation(tuple(frames), pd.DataFrame(data).merge(named, on="trajectory_id", how="left"), (), alt)


def pixels(run: Run) -> int:
    """About how many stored pixels a mosaic of the whole run decodes."""
    table = run.trajectories()
    steps = run.steps(["t"])
    ts = sorted(int(t) for t in steps["t"].unique())
    shape = _first_shape(run, [str(one) for one in table["trajectory_id"]], ts)
    return 0 if shape is None else len(steps) * shape[0] * shape[1]


def _first_shape(run: Run, ids: Sequence[str], ts: Sequence[int]) -> tuple[int, int] | None:
    """Height and width of the first picture; None where there is none."""
    for t in ts[:2]:  # image-first at the start, text-first one later
        for one in run.pictures(ids, [t]).values():
            with Image.open(io.BytesIO(one)) as picture:
                return picture.height, picture.width
    return None


def _layout(count: int, shape: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Tiles across, and height and width of a tile, for a mosaic about 4 : 3."""
    ratio = shape[1] / shape[0]
    across = max(1, min(count, round(math.sqrt(count * 4 / 3 / ratio))))
    wide = max(_SMALLEST, min(_LARGEST, _SIDE // across, shape[1]))
    if wide == shape[1] and wide < 64:  # tiny pictures are shown larger, whole times
        wide *= max(1, min(64 // wide, _SIDE // across // wide))
    return across, (max(1, round(wide / ratio)), wide)


def _frame(t: int, last: int, pictures: Sequence[bytes | None], across: int, tile: tuple[int, int]) -> Frame:
    down = math.ceil(len(pictures) / across)
    high, wide = tile
    # Even sides, as video needs.
    size = (across * (wide + 1) + 1, down * (high + 1) + 1 + _BAR)
    canvas = Image.new("RGB", (size[0] + size[0] % 2, size[1] + size[1] % 2), "white")
    pen = ImageDraw.Draw(canvas)
    for i, one in enumerate(pictures):
        x, y = 1 + i % across * (wide + 1), _BAR + 1 + i // across * (high + 1)
        if one is None:
            pen.rectangle((x, y, x + wide - 1, y + high - 1), fill="#eeeeee")
            pen.line((x, y, x + wide - 1, y + high - 1), fill="#bbbbbb")
            continue
        with Image.open(io.BytesIO(one)) as picture:
            shown = picture.convert("RGB")
            how = Image.Resampling.NEAREST if wide >= shown.width else Image.Resampling.BOX
            canvas.paste(shown.resize((wide, high), how), (x, y))
    pen.text((4, 4), f"t = {t} of {last}", fill="black")
    done = round((canvas.width - 2) * t / max(last, 1))
    pen.rectangle((0, _BAR - 3, max(done, 1), _BAR - 2), fill="#0072B2")
    return np.asarray(canvas, dtype=np.uint8)


# ---- files -----------------------------------------------------------------------------------------------------------


def write_animation(animation: Animation, path: Path) -> None:
    """Write a GIF or an MP4, by the suffix.

    Raises:
        UsageError: there is no ffmpeg for MP4.
        StoreError: the disk is full or refuses.
    """
    write_bytes(path, _gif(animation.frames) if path.suffix == ".gif" else _mp4(animation.frames))


def _gif(frames: Sequence[Frame]) -> bytes:
    # One palette for all frames: colours that jump would pass for change.
    sample = np.concatenate([frame[:: max(1, len(frames) // 8)] for frame in frames])
    palette = Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    shown = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for f in frames]
    buffer = io.BytesIO()
    # The last frame stays longer, before it begins again.
    times = [int(_SECONDS * 1000)] * (len(shown) - 1) + [int(_SECONDS * 4000)]
    shown[0].save(buffer, "GIF", save_all=True, append_images=shown[1:], duration=times, loop=0, optimize=False)
    return buffer.getvalue()


def ffmpeg() -> str | None:
    """The program that makes MP4: on the path, or that of the package imageio-ffmpeg; None where there is neither."""
    found = shutil.which("ffmpeg")
    if found is None:
        try:
            import imageio_ffmpeg
        except ImportError:
            return None
        try:
            found = str(imageio_ffmpeg.get_ffmpeg_exe())
        except RuntimeError:  # the package has no program for this machine
            return None
    return found


def _mp4(frames: Sequence[Frame]) -> bytes:
    program = ffmpeg()
    if program is None:
        raise UsageError(
            'MP4 needs ffmpeg, which is not here: `apt install ffmpeg`, or `pip install "loopsim[video]"`, or ask for '
            "--format gif"
        )
    high, wide = frames[0].shape[:2]
    rate = 1 / _SECONDS
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "mosaic.mp4"
        command = [
            program, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{wide}x{high}", "-r",
            f"{rate}", "-i", "-", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-threads", "1",
            # No dates or versions: the same run gives the same file.
            "-bitexact", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", str(out),
        ]  # fmt: skip
        done = subprocess.run(command, input=b"".join(f.tobytes() for f in frames), capture_output=True, check=False)
        if done.returncode != 0:
            raise UsageError(f"ffmpeg could not make the MP4: {done.stderr.decode(errors='replace').strip()[-300:]}")
        return out.read_bytes()
