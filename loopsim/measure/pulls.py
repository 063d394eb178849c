"""Where a scalar property is pulled to: caption length, and the position along the main axis of the embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from loopsim.measure.redraws import first_told, told_since
from loopsim.measure.rows import Row, depending, guarded, row
from loopsim.states import Captions, States
from metrics.pull import attractor, serial_reproduction
from metrics.text import words

FloatArray = NDArray[np.float64]


def length_rows(captions: Captions) -> Iterator[Row]:
    """Attractor of, and AR(1) in, the number of words of captions."""
    first, since = first_told(captions), told_since(captions)
    whole = (captions.texts != None).all(axis=1)  # noqa: E711 - element by element
    starts = captions.trajectories["start_id"].to_numpy(dtype=object)[whole]
    lengths = np.vectorize(lambda said: float(len(words(said))), otypes=[float])(captions.texts[whole])
    name = "words"
    yield from guarded("attractor", int(whole.sum()), lambda: _pulled(lengths, starts, first, name, since), item=name)


def projection_rows(states: States) -> Iterator[Row]:
    """The same of the position along the first principal axis of the cell's states."""
    first, since = first_told(states), told_since(states)
    whole = states.present.all(axis=1)
    x = states.vectors[whole].astype(np.float64)
    name = "first axis"

    def rows() -> Iterator[Row]:
        if not whole.any():
            raise ValueError("no trajectory lasted")
        centred = x - x[:, first:].reshape(-1, x.shape[2]).mean(axis=0)
        pool = centred[:, first:].reshape(-1, x.shape[2])
        axis = np.linalg.eigh(pool.T @ pool)[1][:, -1]
        # An axis has no sign of its own: let its largest entry be positive.
        axis = axis * np.sign(axis[np.argmax(np.abs(axis))])
        return _pulled(centred @ axis, states.starts[whole], first, name, since)

    yield from guarded("attractor", int(whole.sum()), rows, item=name)


def _pulled(
    values: FloatArray, starts: NDArray[np.object_], first: int, name: str, since: Mapping[str, object]
) -> Iterator[Row]:
    found = attractor(values[:, 0], values[:, -1], starts)
    for part in ("slope", "strength", "position"):
        yield row(f"attractor_{part}", getattr(found, part), item=name)
    chain = serial_reproduction(values, starts, start=first)
    parts = {"rate": chain.rate, "half_life": chain.half_life, "mean": chain.mean, "deviation": chain.deviation}
    yield from depending((row(f"ar1_{part}", estimate, item=name) for part, estimate in parts.items()), since)
