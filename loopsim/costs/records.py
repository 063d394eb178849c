"""What a study costs before it is run: the records. None stands for what nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loopsim.presets.entry import AnyRole
from loopsim.records import ModelSpec

Unit = Literal["pictures", "captions", "embeddings of pictures", "embeddings of texts"]


@dataclass(frozen=True)
class Rate:
    """How fast a model is somewhere."""

    seconds: float
    """For one row: a picture, a caption, a vector."""
    hardware: str
    """The device."""
    batch: int
    """Rows of the call."""
    source: str
    """`measured here`, or where it is published."""
    note: str = ""
    """What was assumed, such as a proportion of steps."""


@dataclass(frozen=True)
class Money:
    """What hosted models charge, in US dollars."""

    low: float
    """At least …"""
    high: float | None
    """… and at most; None where what is not known has no bound."""
    unknown: tuple[str, ...] = ()
    """What is not in it, one line each."""


@dataclass(frozen=True)
class Work:
    """What one model, with settings that decide its speed, has to do."""

    key: str
    """Of the model and these settings."""
    role: AnyRole
    """Its role."""
    model: str
    """Its name."""
    settings: str
    """The settings that tell it from the others of its name; empty where there is one."""
    spec: ModelSpec | None
    """One of its specs; None for an embedder."""
    unit: Unit
    """What it makes."""
    rows: int
    """How many."""
    size: tuple[int, int] | None = None
    """Width and height of its pictures; None where that is not known, or it draws none."""
    rates: tuple[Rate, ...] = ()
    """Known speeds; measured here, or else published; none where nobody has said."""
    money: Money | None = None
    """Of a hosted model."""

    @property
    def name(self) -> str:
        """Role, model and what tells it apart."""
        return f"{self.role} {self.model}" + (f" ({self.settings})" if self.settings else "")


@dataclass(frozen=True)
class Loads:
    """How often weights are loaded while pictures and captions are made."""

    models: int
    """Different models, embedders left out: those are loaded afterwards, once each."""
    together: int
    """Loads where all of them stay on the device."""
    in_turn: int
    """Loads where there is room for one at a time: all cohorts go through it before the next is loaded."""
    weights_gb: float | None
    """GB (10⁹ bytes) of all weights together in bfloat16; None where a model's are not known."""
    unknown: tuple[str, ...]
    """Models whose weights are not known."""
    room_gb: float | None = None
    """Memory of the device, where it was said."""
    fit: bool | None = None
    """Whether they stay together; None where that is not known."""

    @property
    def expected(self) -> int | None:
        """How many there will be; None where it is not known whether they fit."""
        return None if self.fit is None else self.together if self.fit else self.in_turn


@dataclass(frozen=True)
class Disk:
    """Bytes of the run directory; figures and reports come on top."""

    pictures: int | None
    """Of the pictures."""
    rows: int
    """Of the other columns of the steps."""
    vectors: int | None
    """Of the embeddings."""
    basis: str
    """Where the size of a picture comes from."""

    @property
    def total(self) -> int | None:
        """All of it; None where a part is not known."""
        return None if self.pictures is None or self.vectors is None else self.pictures + self.rows + self.vectors


@dataclass(frozen=True)
class Estimate:
    """Time on one kind of hardware; measuring and figures come on top."""

    hardware: str
    """The device."""
    seconds: float
    """Of what is known."""
    unknown: tuple[str, ...]
    """The models whose time is not in it."""


@dataclass(frozen=True)
class Probe:
    """What a step or two of each pair measured on this machine."""

    hardware: str
    """The device."""
    rates: Mapping[str, Rate]
    """Key of a `Work` to its speed."""
    picture_bytes: Mapping[str, float]
    """Key of a generator's `Work` to the bytes of a picture in the format of the experiment."""
    widths: Mapping[str, int]
    """Embedder to the numbers in each vector."""
    load_seconds: Mapping[str, float]
    """Seconds until a model was loaded, for each set of weights."""
    fit: bool
    """Whether all models stayed on the device together."""
    not_measured: Mapping[str, str]
    """Key of a `Work` to why it was not measured."""


@dataclass(frozen=True)
class Costs:
    """What a plan costs."""

    works: tuple[Work, ...]
    """What each model has to do."""
    pictures: int
    """Pictures drawn."""
    captions: int
    """Captions said."""
    embeddings: int
    """Vectors, at most: equal texts are embedded once."""
    loads: Loads
    """Model loads."""
    disk: Disk
    """Disk."""
    times: tuple[Estimate, ...]
    """One for each kind of hardware of which something is known."""
    money: Money | None
    """Of all hosted models together; None where there is none."""
    probe: Probe | None
    """What was measured for it."""
