"""Embedded states as unit vectors, for functions whose answer has no place for a nan."""

from __future__ import annotations

from numpy.typing import ArrayLike

from metrics._checks import FloatArray, UndefinedError, as_array, unit


def directions(x: ArrayLike, name: str, ndim: int) -> FloatArray:
    """Return `x` with its last axis scaled to length 1; a zero vector, which has no direction, is a ValueError."""
    try:
        return unit(as_array(x, name, ndim), name)
    except UndefinedError as error:
        raise ValueError(f"{error}; leave such states out, or see why they are empty") from None
