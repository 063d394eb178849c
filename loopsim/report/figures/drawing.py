"""What a figure is asked for, what it is drawn from, and what comes out: the records that all kinds share."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from numpy.typing import NDArray

from loopsim import states
from loopsim.errors import NothingToDraw, UsageError
from loopsim.measure import CURVES, METRICS, Options
from loopsim.measure.cells import checked
from loopsim.measure.cells import key_columns as trajectory_columns
from loopsim.report import motifs
from loopsim.report.lines import key_columns, value_in_words
from loopsim.states import States
from loopsim.store import Run
from loopsim.store.embedders import folder_of
from loopsim.store.shards import reading

MODALITIES = ("image", "text")


@dataclass(frozen=True)
class Request:
    """What is wanted of a figure; every kind says which of these it takes."""

    by: str | None = None
    """Column that gives the colour, or the panels."""
    where: tuple[tuple[str, str], ...] = ()
    """(column, value): only these. Several values of one column are alternatives."""
    pooled: bool = False
    """Whether cells are those of `loopsim measure --by`, which pool all conditions that agree in `by`."""
    metrics: tuple[str, ...] = ()
    """Instead of the kind's own."""
    modalities: tuple[str, ...] = ()
    """`image`, `text`; both where empty."""
    embedder: str | None = None
    """Whose vectors; the first of the run where None."""
    trajectories: tuple[str, ...] = ()
    """Ids, or their beginnings."""
    choose: str = "spread"
    """A name from `loopsim.report.selection.CHOICES`."""
    rows: int | None = None
    """Trajectories shown."""
    columns: int | None = None
    """Iterations shown."""
    method: str = "pca"
    """A name from `loopsim.report.maps.METHODS`."""
    width: str = "page"
    """A name from `loopsim.report.figures.style.WIDTHS`."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with the numbers in it."""

    figure: Figure
    """Not yet written."""
    data: pd.DataFrame
    """The very numbers drawn, tidy."""
    notes: tuple[str, ...] = ()
    """What was left out or changed to make it readable."""
    alt: str = ""
    """What it shows, in a sentence, for those who cannot see it."""


@dataclass(frozen=True, eq=False)
class Animation:
    """Frames with what is in them."""

    frames: tuple[NDArray[np.uint8], ...]
    """Each of shape (height, width, 3), all alike."""
    data: pd.DataFrame
    """Which tile is which trajectory, and what it shows at each iteration."""
    notes: tuple[str, ...] = ()
    """What was left out or changed."""
    alt: str = ""
    """What it shows, in a sentence."""


class Source:
    """What figures of one run are drawn from; read when it is first needed, and kept."""

    def __init__(self, run: Run, request: Request | None = None, measurements: pd.DataFrame | None = None) -> None:
        self.run, self.request = run, request or Request()
        self._given = measurements

    @property
    def path(self) -> str:
        """The run directory, for messages."""
        return str(self.run.path)

    # ---- measurements --------------------------------------------------------------------------------------------

    @functools.cached_property
    def measured(self) -> pd.DataFrame:
        """The measurements that `where` leaves.

        Raises:
            NothingToDraw: the run has not been measured, or not so.
            UsageError: `where` or `by` names what is not there.
        """
        frame = self._given if self._given is not None else self._stored()
        keys = key_columns(frame)
        self._check_by(frame, keys)
        for name in (self.by, *(column for column, _ in self.request.where)):
            self._check_not_pooled(frame, name)
        return filtered(frame, self.request.where, keys, self.run.trajectories())

    @property
    def by(self) -> str | None:
        """The column that was asked for, by its whole name."""
        table = self.run.trajectories()
        return None if self.request.by is None else whole_name(self.request.by, table, [*table.columns, "t"])

    def _stored(self) -> pd.DataFrame:
        by = self.by if self.request.pooled else None
        if self.request.pooled and by is None:
            raise UsageError("--pooled: say by what, with --by FACTOR")
        options = Options() if by is None else Options(by=(by,))
        path = self.run.path / options.file
        if not path.exists():
            more = f" --by {by}" if by else ""
            raise NothingToDraw(
                f"{self.path} has not been measured{' so' if more else ''}: `loopsim measure {self.path}{more}`"
            )
        if options.file == "measurements.parquet":
            return self.run.measurements()
        with reading(path):
            return pq.read_table(path).to_pandas()

    def _check_by(self, frame: pd.DataFrame, keys: Sequence[str]) -> None:
        if self.by is not None and self.by not in keys:
            raise UsageError(f"--by {self.by}: there is no such column to group by; {_columns_in_words(frame, keys)}")

    def _check_not_pooled(self, frame: pd.DataFrame, name: str | None) -> None:
        """What tells starts of one group apart tells no cell of theirs apart: it has to be measured so first."""
        if name not in self.run.start_columns or frame[name].notna().any():
            return
        raise NothingToDraw(
            f"{name} is of the starts, and the measurements are of whole groups of these: `loopsim measure {self.path} "
            f"--by {name}`, then plot with --by {name} --pooled"
        )

    def rows(self, metrics: Sequence[str], vectors: bool = True) -> pd.DataFrame:
        """Measurements of some metrics that have a value, of the wanted modalities and embedder.

        Raises:
            NothingToDraw: there are none; the message says what is missing and what to do.
        """
        frame = self.measured
        named = frame[frame["metric"].isin(list(metrics))]
        wanted = self.request.modalities or (*MODALITIES, "pair")
        mine = named[named["modality"].isin(wanted)]
        if vectors and mine["embedder"].notna().any():
            mine = mine[mine["embedder"].isna() | (mine["embedder"] == self.embedder)]
        if mine["value"].notna().any():
            return mine
        raise NothingToDraw(self._why_none(list(metrics), named, mine))

    def _why_none(self, metrics: list[str], named: pd.DataFrame, mine: pd.DataFrame) -> str:
        what = ", ".join(metrics)
        if not mine.empty:
            reasons = list(dict.fromkeys(str(r) for r in mine["undefined"].dropna()))
            return f"{self.path}: no value of {what} is defined here: {'; '.join(reasons[:2])}"
        if not named.empty:
            there = ", ".join(f"{m}s" for m in named["modality"].dropna().unique())
            return f"{self.path}: {what} is measured of {there} only"
        if self.request.where:
            chosen = " ".join(f"--where {column}={value}" for column, value in self.request.where)
            return f"{self.path}: no measurement of {what} is left by {chosen}"
        unknown = [name for name in metrics if name.partition(":")[0] not in METRICS]
        if unknown:
            close = difflib.get_close_matches(unknown[0], CURVES, 3)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            return f"--metric {unknown[0]!r} is not known.{hint} Curves over iterations: {', '.join(CURVES)}"
        mend = f"`loopsim measure {self.path}` makes all that its data allow"
        return f"{self.path}: there is no measurement of {what}; {mend}"

    # ---- vectors and motifs --------------------------------------------------------------------------------------

    @functools.cached_property
    def embedder(self) -> str:
        """The wanted embedder, or the first.

        Raises:
            NothingToDraw: the run has no vectors, or none by that one.
        """
        there, wanted = states.embedders_of(self.run), self.request.embedder
        if wanted is None and there:
            return there[0]
        if wanted is None or wanted not in there:
            known = f"there are those of {', '.join(there)}" if there else "there are none"
            name = wanted or "NAME"
            raise NothingToDraw(
                f"{self.path}: no embeddings{f' by {wanted!r}' if wanted else ''}: {known}; make them with "
                f"`loopsim measure {self.path} --embedder {name}`"
            )
        return wanted

    @functools.cached_property
    def modalities(self) -> tuple[str, ...]:
        """The wanted modalities that the embedder has vectors of.

        Raises:
            NothingToDraw: it has none of these.
        """
        there = self.run.modalities(self.embedder)
        found = tuple(m for m in MODALITIES if m in there and m in (self.request.modalities or MODALITIES))
        if not found:
            raise NothingToDraw(
                f"{self.path}: {self.embedder!r} has vectors of {', '.join(f'{m}s' for m in there)} only"
            )
        return found

    @functools.cache  # noqa: B019 - a source lives as long as its figures
    def states(self, modality: str) -> States:
        """Vectors of all trajectories of the run."""
        return checked(states.states(self.run, self.embedder, modality), self.path)

    @functools.cache  # noqa: B019
    def motifs(self, modality: str) -> motifs.Assigned:
        """The motif of every state of the run.

        Raises:
            NothingToDraw: none were measured.
        """
        folder = folder_of(self.run.path, self.embedder).name
        if not (self.run.path / "motifs" / f"{folder}-{modality}.parquet").exists():
            raise NothingToDraw(
                f"{self.path}: no motifs of {modality}s by {self.embedder!r} are stored; `loopsim measure {self.path}`"
            )
        return motifs.assigned_motifs(self.run, self.embedder, modality)

    # ---- trajectories --------------------------------------------------------------------------------------------

    @functools.cached_property
    def trajectories(self) -> pd.DataFrame:
        """The trajectories that `where` leaves.

        Raises:
            UsageError: `where` or `by` names what is not there.
        """
        table = self.run.trajectories()
        self._check_by(table, [*trajectory_columns(table), *(["t"] if self.request.by == "t" else [])])
        return filtered(table, self.request.where, list(table.columns), table)

    def with_request(self, **changes: Any) -> Source:
        """The same run, asked for something else."""
        return Source(self.run, replace(self.request, **changes), self._given)


def filtered(
    frame: pd.DataFrame, where: Sequence[tuple[str, str]], columns: Sequence[str], trajectories: pd.DataFrame
) -> pd.DataFrame:
    """Rows of the wanted values; numbers are compared as numbers, several values of one column are alternatives.

    Args:
        frame: measurements or trajectories.
        where: column and value.
        columns: columns of the frame that can be asked for.
        trajectories: of the run: the values there are.

    Raises:
        UsageError: a column or value is not there; the message lists those that are.
    """
    where = [(whole_name(name, trajectories, columns), value) for name, value in where]
    for column in dict.fromkeys(name for name, _ in where):
        if column not in columns:
            raise UsageError(
                f"--where {column}: there is no such column here; {_columns_in_words(trajectories, columns)}"
            )
        known = list(dict.fromkeys(value_in_words(v) for v in trajectories[column]))
        wanted = {value for name, value in where if name == column}
        fits = {one for one in known if any(_same(one, value) for value in wanted)}
        missing = [value for value in wanted if not any(_same(one, value) for one in known)]
        if missing:
            some = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
            raise UsageError(f"--where {column}={sorted(missing)[0]}: no trajectory has that value; there are {some}")
        frame = frame[frame[column].map(value_in_words).isin(fits)]
    return frame


def whole_name(name: str, frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """A column's whole name from its last part, as labels have it; of several the one that varies. Otherwise itself."""
    if name in columns:
        return name
    fits = [one for one in columns if one.rpartition(".")[2] == name]
    vary = [one for one in fits if one in frame and frame[one].map(repr).nunique() > 1]
    for found in (vary, fits):
        if len(found) == 1:
            return found[0]
    return name


def _same(known: str, wanted: str) -> bool:
    try:
        return known == wanted or float(known) == float(wanted)
    except ValueError:
        return False


def _columns_in_words(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    there = [name for name in columns if name in frame]
    vary = [name for name in there if frame[name].map(repr).nunique() > 1]
    rest = [name for name in there if name not in vary]
    head = f"those that vary: {', '.join(vary)}" if vary else "none varies in this run"
    some = ", ".join(rest[:4]) + (f" and {len(rest) - 4} more" if len(rest) > 4 else "")
    return f"{head}; the same everywhere: {some}" if rest else head
