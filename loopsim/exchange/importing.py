"""Importing: a table or folder made elsewhere, checked and written as a run directory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsim import provenance
from loopsim.errors import UsageError
from loopsim.exchange import mollah
from loopsim.exchange.cast import Origin, cohorts_of, trajectory_table
from loopsim.exchange.cells import CellError, flags_of, name_of, vectors_of, whole_of
from loopsim.exchange.pictures import Album, Picture
from loopsim.exchange.roles import VECTORS, Columns, choose_columns
from loopsim.exchange.sources import Batch, Source, open_source, sha256
from loopsim.exchange.survey import Survey, Track, step_columns, summary, survey
from loopsim.records import EMPTY_CAPTION, Step
from loopsim.seeds import digest
from loopsim.store import Run
from loopsim.store.imported import ImportedRun, refuse_existing

_THREADS = 4


@dataclass
class _Vectors:
    """The vectors of one column."""

    embedder: str
    """The name they are stored under."""
    column: str
    """Where they are."""
    modality: str | None
    """`text` or `image`; None where each row tells."""
    size: int | None = None
    """Their dimension, once one was seen."""


def import_run(
    source: Path | str,
    out: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    half_steps: bool = False,
    allow_gaps: bool = False,
    modality: str | None = None,
    embedder_name: str = "given",
    name: str | None = None,
    notice: Callable[[str], None] | None = None,
) -> Run:
    """Make a run directory of trajectories from elsewhere.

    Args:
        source: a .csv, .tsv, .jsonl or .parquet table, a folder of Parquet files, or the layout of Mollah et al.
        out: the run directory, which must not be there.
        columns: role (`trajectory`, `t`, `text`, …), or the name a factor shall have, to column.
        ignore: columns to leave out; `*` and `?` are wildcards.
        half_steps: rows alternate between a picture and a text, so that two rows are one iteration.
        allow_gaps: iterations in the middle of a trajectory may be missing.
        modality: what the vectors of the column `embedding` are of, `text` or `image`; each row tells where None.
        embedder_name: what to store the vectors under.
        name: of the run; that of the source where None.
        notice: called with each line about what was guessed or left out.

    Raises:
        UsageError: the source cannot be understood; nothing was made.
        StoreError: the disk refuses; nothing was made.
    """
    path, target = Path(source), Path(out)
    refuse_existing(target)
    _check_options(modality, embedder_name)
    say = _Notices(notice)
    layout = mollah.is_layout(path)
    table: Source = mollah.MollahSource(path) if layout else open_source(path)
    if isinstance(table, mollah.MollahSource):
        say(table.notices)
    half_steps = half_steps or layout
    chosen = choose_columns(table.columns, columns or {}, ignore, str(path))
    say(chosen.notices)
    found = survey(table, chosen, half_steps=half_steps, allow_gaps=allow_gaps)
    say(found.notices)
    short, last = summary(list(found.tracks.values()))
    if short:
        say([f"{short} of {len(found.tracks)} trajectories end before t = {last}, where the longest ends"])
    spans = cohorts_of(found.tracks)
    begun = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with ImportedRun(target, spans) as run:
        writer = _Writer(run, table, chosen, found, half_steps, _vector_columns(chosen, embedder_name, modality))
        writer.write()
        say(writer.notices())
        trajectories, said = trajectory_table(found, writer.origins, spans, as_text=table.as_text, source=path)
        say(said)
        experiment = {
            "name": name or _clean_name(path),
            "imported": str(path),
            "seed": 0,
            "iterations": max(track.last - track.first for track in found.tracks.values()),
            "embedders": list(dict.fromkeys(one.embedder for one in writer.vectors if one.size)),
        }
        options = {"half_steps": half_steps, "allow_gaps": allow_gaps, "modality": modality, "ignore": [*ignore]}
        manifest = {
            "source": str(path), "files": _files_of(table), "when": begun, "columns": chosen.described(),
            "options": options, "rows": found.rows, "notices": say.lines,
        }  # fmt: skip
        return run.finish(trajectories, experiment, manifest, provenance.collect(()))


def _files_of(table: Source) -> list[dict[str, object]]:
    """What every file of the source is, for the manifest."""
    return [
        {"file": str(file.relative_to(table.folder)), "sha256": sha256(file), "bytes": file.stat().st_size}
        for file in table.files()
    ]


class _Notices:
    """Passes lines on, and keeps them for the manifest."""

    def __init__(self, notice: Callable[[str], None] | None) -> None:
        self.lines: list[str] = []
        self._notice = notice

    def __call__(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.lines.append(line)
            if self._notice is not None:
                self._notice(line)


def _check_options(modality: str | None, embedder_name: str) -> None:
    if modality not in (None, "text", "image"):
        raise UsageError(f"--modality {modality}: it is text or image")
    if not embedder_name.strip():
        raise UsageError("--embedder-name: a name is needed")


def _clean_name(path: Path) -> str:
    return re.sub(r"[^\w.-]+", "-", path.resolve().stem)[:100].strip("-.") or "imported"


def _vector_columns(columns: Columns, embedder: str, modality: str | None) -> list[_Vectors]:
    known = {"embedding": modality, "text_embedding": "text", "image_embedding": "image"}
    return [_Vectors(embedder, columns.roles[role], known[role]) for role in VECTORS if role in columns.roles]


@dataclass
class _Writer:
    """The second pass: every row into the shards."""

    run: ImportedRun
    source: Source
    columns: Columns
    found: Survey
    half_steps: bool
    vectors: list[_Vectors]
    origins: dict[str, Origin] = field(default_factory=dict)
    """Trajectory to what it began with."""

    def write(self) -> None:
        """Write every step and vector.

        Raises:
            UsageError: a picture or vector cannot be read.
        """
        self.album = Album(self.source.folder)
        self.cohort_of = {name: span.id for span in self.run.spans.values() for name in span.members}
        for name, track in self.found.tracks.items():
            if track.prompt is not None:
                self._begin(name, track, track.first, None, None)
                said, flags = _said(track.prompt)
                self.run.add_step(self.cohort_of[name], Step(name, track.first, None, None, said, name, flags=flags))
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="loopsim-decode") as pool:
            for batch in self.source.batches():
                self._batch(batch, pool)
        self.album.refuse_bad(self.source.path)

    def notices(self) -> list[str]:
        """What was found on the way, one line each."""
        lines = self.album.notices()
        empty = sum(text == "" for track in self.found.tracks.values() for text in track.texts.values())
        if empty:
            lines.append(f"{empty} texts are empty: stored as {EMPTY_CAPTION}, with the flag empty_caption")
        sizes = {one.embedder: one.size for one in self.vectors if one.size}
        return [*lines, *(f"vectors of {size} numbers are stored as {name!r}" for name, size in sizes.items())]

    def _batch(self, batch: Batch, pool: ThreadPoolExecutor) -> None:
        roles = self.columns.roles
        names = [name_of(value, "trajectory") for value in batch.values(roles["trajectory"])]
        ks = [whole_of(value, "t") for value in batch.values(roles["t"])]
        places = [f"{self.source.unit} {n} (trajectory {a}, t {k})" for n, a, k in zip(batch.numbers, names, ks)]  # noqa: B905
        pictures: list[Picture | None] = [None] * len(batch)
        if "image" in roles:
            pictures = self.album.read(batch.values(roles["image"]), places, pool)
        vectors = [self._read_vectors(one, batch, places) for one in self.vectors]
        more = {role: (read, batch.values(roles[role])) for role, read in step_columns(self.columns).items()}
        flags = batch.values(roles["flags"]) if "flags" in roles else None
        for i, (name, k) in enumerate(zip(names, ks, strict=True)):
            track = self.found.tracks[name]
            try:
                kept = {role: read(values[i]) for role, (read, values) in more.items()}
                given = None if flags is None else flags_of(flags[i])
            except CellError as error:
                raise UsageError(f"{self.source.path}: {places[i]}: {error}") from None
            picture, t = pictures[i], track.times[k]
            states = [one[i] for one in vectors]
            if t == track.first:
                self._begin(name, track, t, picture, next((v for v in states if v is not None), None))
            if self._has_step(track, k):
                self.run.add_step(self.cohort_of[name], self._step(name, track, k, picture, given, kept))
            for one, vector in zip(self.vectors, states, strict=True):
                if vector is not None:
                    of = one.modality or self._modality(track, k, places[i])
                    self.run.add_vector(one.embedder, self.cohort_of[name], (name, t, of), vector)

    def _has_step(self, track: Track, k: int) -> bool:
        """Of the two rows of an iteration, the picture's makes the step."""
        if not self.half_steps or k in track.pictured:
            return True
        return not (k - 1 in track.pictured and track.times[k - 1] == track.times[k])

    def _step(
        self, name: str, track: Track, k: int, picture: Picture | None, given: tuple[str, ...] | None,
        kept: dict[str, Any],
    ) -> Step:  # fmt: skip
        t = track.times[k]
        parent = track.parents.get(k, name)
        before = self.found.tracks[parent].said.get(t - 1) if t > track.first else None
        text_in = kept.pop("text_in", None) or (None if before is None else _said(before)[0])
        text, flags = _said(track.said.get(t))
        if given is not None:  # what is given goes before what is found, but `[empty]` must never pass for words
            flags = tuple(dict.fromkeys((*flags, *given)))
        else:
            flags += () if picture is None else picture.flags
            flags += ("repeat",) if text is not None and text == text_in else ()
        data = None if picture is None else picture.data
        return Step(name, t, text_in, data, text, parent, flags=flags, **kept)

    def _begin(
        self, name: str, track: Track, t: int, picture: Picture | None, vector: NDArray[np.float32] | None
    ) -> None:
        """Note what a trajectory began with; a picture counts before the text that describes it."""
        known = self.origins.get(name)
        text = track.said.get(t)
        if picture is not None:
            self.origins[name] = Origin("image", hashlib.sha256(picture.data).hexdigest()[:12], None)
        elif known is not None:
            return
        elif text is not None:
            normal = " ".join(text.split())  # as the prompts of an experiment are, so that runs pair up
            self.origins[name] = Origin("text", digest(["text", normal]), _said(text)[0])
        elif vector is not None:
            kind = next((one.modality for one in self.vectors if one.modality), "text")
            self.origins[name] = Origin(kind, hashlib.sha256(vector.tobytes()).hexdigest()[:12], None)
        else:  # a picture that could not be read: the import will be refused
            self.origins[name] = Origin("image", name, None)

    def _read_vectors(self, one: _Vectors, batch: Batch, places: Sequence[str]) -> list[NDArray[np.float32] | None]:
        try:
            found = vectors_of(batch.columns[one.column], self.source.folder)
        except CellError as error:
            raise UsageError(f"{self.source.path}: {places[error.args[1]]}: {error.args[0]}") from None
        for i, vector in enumerate(found):
            if vector is None:
                continue
            if one.size is None:
                one.size = len(vector)
                self._keep_apart(one)
            if len(vector) != one.size:
                raise UsageError(
                    f"{self.source.path}: {places[i]}: the embedding has {len(vector)} numbers, the others {one.size}"
                )
        return found

    def _keep_apart(self, one: _Vectors) -> None:
        """Texts and pictures in spaces of different size are two embedders."""
        others = [v for v in self.vectors if v is not one and v.embedder == one.embedder and v.size]
        if any(other.size != one.size for other in others):
            one.embedder = f"{one.embedder}-{one.modality or 'embedding'}"

    def _modality(self, track: Track, k: int, place: str) -> str:
        has_text, has_picture = k in track.texts, k in track.pictured
        if has_text is has_picture:
            what = "a text and a picture" if has_text else "neither text nor picture"
            raise UsageError(
                f"{self.source.path}: {place}: is the embedding of a text or of a picture? The row has {what}: say "
                "--modality text or --modality image, or name the columns text_embedding and image_embedding"
            )
        return "text" if has_text else "image"


def _said(text: str | None) -> tuple[str | None, tuple[str, ...]]:
    """A text as it is stored, and its flag where it is empty."""
    return (EMPTY_CAPTION, ("empty_caption",)) if text is not None and not text.strip() else (text, ())
