"""The measuring pass over one run: cells × embedders × modalities × families of metrics."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from loopsim.embed import embed_phrases
from loopsim.errors import ModelError, UsageError
from loopsim.measure import concepts, design, geometry, motifs, origins, pulls, wording
from loopsim.measure.cells import Cell, cells_of, checked, key_columns
from loopsim.measure.redraws import Redraws, find_redraws, first_told, redraws_of_controls, told_since
from loopsim.measure.rows import COLUMNS, Row, depending, guarded, missing
from loopsim.measure.tasks import Task, carried_out
from loopsim.measure.vocabulary import Vocabulary, named_in, read_vocabulary, vocabulary_of
from loopsim.presets.entry import of_postcards
from loopsim.records import NO_CONTROL
from loopsim.states import Captions, States, captions, embedders_of, states
from loopsim.store import Run, open_run
from loopsim.store.shards import write_table

FAMILIES = ("diversity", "text", "drift", "between", "entropy", "attractors", "survival", "attribution")
"""What can be measured by itself; `text` needs no embeddings."""
BY = ("condition", "group")
"""Columns that trajectories are grouped by unless asked otherwise."""


@dataclass(frozen=True)
class Options:
    """What to measure, and how."""

    by: tuple[str, ...] = BY
    """Columns that trajectories are grouped by."""
    families: tuple[str, ...] = FAMILIES
    """Names from `FAMILIES`."""
    motifs: int = motifs.MOTIFS
    """Motifs of the codebook."""
    codebook: Path | None = None
    """A run whose codebook is taken instead of a fresh one."""
    redraws: Path | None = None
    """A run that branches from steps of this one, with 2 or more replicates: the seed noise of those steps."""
    concepts: Path | None = None
    """A file of concepts; see `loopsim.measure.vocabulary.read_vocabulary`."""
    jobs: int = 0
    """Processes; as many as there are cores for a large run, one for a small one, where 0."""
    on_note: Callable[[str], None] = field(default=lambda _: None)
    """Called with a line for every decision a reader should know."""

    def __post_init__(self) -> None:
        if not self.by or not self.families:
            raise UsageError(f"--{'by' if not self.by else 'families'}: name at least one")
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown:
            raise UsageError(f"unknown family {unknown[0]!r}; known: {', '.join(FAMILIES)}")
        if self.motifs < 1:
            raise UsageError(f"--motifs must be 1 or more; it is {self.motifs}")

    @property
    def whole(self) -> bool:
        """Whether everything is measured, by condition and group: what the run's figures and report are made from."""
        return self.by == BY and set(self.families) == set(FAMILIES)

    @property
    def file(self) -> str:
        """The file of the run that the measurements are written to, so that a part never takes the whole's place."""
        by = "" if self.by == BY else "-by-" + "+".join(self.by)
        part = "" if set(self.families) == set(FAMILIES) else "-" + "+".join(self.families)
        return f"measurements{by}{part}.parquet"


def measure_run(run: Run, options: Options | None = None) -> pd.DataFrame:
    """Measure everything stored and embedded so far, and write `measurements.parquet` (a part: `Options.file`).

    Returns:
        The measurements: grouping columns, t (null for summaries), modality, embedder, metric, item (of what), value,
        ci_low, ci_high, n, signature, undefined (the reason where a number is nan), verdict (of summaries).

    Raises:
        UsageError: an option names what is not there.
        StoreError: the disk is full or refuses, or vectors are damaged.
    """
    options = options or Options()
    trajectories = run.trajectories()
    cells = list(cells_of(trajectories, _apart(trajectories, options.by)))
    pass_ = _Pass(run, options, trajectories, cells)
    rows = list(carried_out(pass_.tasks(), options.jobs))
    frame = pd.DataFrame(rows, columns=[*key_columns(trajectories), *COLUMNS])
    frame = frame.astype({"t": "Int64", "n": "Int64", **dict.fromkeys(("value", "ci_low", "ci_high"), "float64")})
    for name in ("item", "modality", "embedder", "verdict"):
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    write_table(run.path / options.file, pa.Table.from_pandas(frame, preserve_index=False))
    return frame


def _apart(trajectories: pd.DataFrame, by: Sequence[str]) -> tuple[str, ...]:
    """The grouping, the loop and its controls apart: pooled, they would be neither."""
    named = {"condition", "label", "control"} & set(by)
    return tuple(by) if named or "control" not in trajectories else (*by, "control")


class _Pass:
    """One measuring pass; holds what several cells share."""

    def __init__(self, run: Run, options: Options, trajectories: pd.DataFrame, cells: Sequence[Cell]) -> None:
        self.run, self.options, self.trajectories, self.cells = run, options, trajectories, cells
        self.captions = captions(run)
        drawers = trajectories.filter(regex=r"^generator\d*$").astype(str)
        self.world = not drawers.empty and bool(drawers.map(of_postcards).all(axis=None))
        self.wanted = frozenset(options.families)
        self.detection = self._text_detection() if "survival" in self.wanted else None

    def tasks(self) -> Iterator[Task]:
        """Everything that is to be computed; vectors of one embedder at a time are held."""
        if "text" in self.wanted:
            yield from self._texts()
        if self.detection is not None:
            yield from self._survival_in_texts(*self.detection)
        for embedder in embedders_of(self.run):
            both = {
                modality: checked(states(self.run, embedder, modality), str(self.run.path))
                for modality in self.run.modalities(embedder)
            }
            self._note_unread(embedder, both)
            for modality, found in both.items():
                for task in self._vectors(found):
                    yield replace(task, keys={"embedder": embedder, "modality": modality, **task.keys})
            yield from self._pairs(embedder, both)

    def _note_unread(self, embedder: str, read: Container[str]) -> None:
        """Say what an embedder has no vectors of: nothing stands in the measurements for it."""
        if "text" not in read and len(self.captions.ts):
            self.options.on_note(f"{embedder} has no vectors of texts, so texts are not measured by it")
        if "image" not in read and "generator" in self.trajectories:
            self.options.on_note(f"{embedder} has no vectors of pictures, so pictures are not measured by it")

    # ---- texts ---------------------------------------------------------------------------------------------------

    def _texts(self) -> Iterator[Task]:
        keys = {"modality": "text", "embedder": None}
        said = [(cell, self.captions.of(cell.rows)) for cell in self.cells]
        budgets = wording.token_budgets([mine for _, mine in said if len(mine.ts)])
        for cell, mine in said:
            if len(mine.ts):
                for make in (
                    partial(wording.wording_rows, mine, budgets, self.world),
                    partial(wording.repetition_rows, mine),
                    partial(pulls.length_rows, mine),
                    partial(_repeats, mine),
                ):
                    yield Task(cell.keys | keys, make)

    def _text_detection(self) -> tuple[NDArray[np.bool_], Vocabulary] | None:
        """Which concepts every caption names, shape (N, T, C)."""
        if not len(self.captions.ts) or (self.captions.texts == None).all():  # noqa: E711 - element by element
            return None
        if self.options.concepts is not None:
            vocabulary = read_vocabulary(self.options.concepts)
        elif self.world:
            return concepts.postcard_concepts(self.captions)
        else:
            vocabulary = vocabulary_of([t for t in self.trajectories["start_text"].dropna().unique() if t])
        if not vocabulary.concepts:
            return None
        return named_in(self.captions.texts, vocabulary), vocabulary

    def _survival_in_texts(self, detected: NDArray[np.bool_], vocabulary: Vocabulary) -> Iterator[Task]:
        keys = {"modality": "text", "embedder": None}
        one = concepts.after_start(self.captions)
        whole = (self.captions.texts[:, one - 1 :] != None).all(axis=1)  # noqa: E711 - element by element
        if not whole.any() or detected.shape[1] <= one:
            return
        starts = self.trajectories["start_id"].to_numpy(dtype=object)
        others = concepts.shown_by_others(detected[:, one:], vocabulary, self.trajectories, whole)
        for cell in self.cells:
            lasted = cell.rows & whole
            if lasted.any():
                seen, named = detected[lasted, one:], detected[lasted, one - 1]
                make = partial(
                    concepts.survival_rows, seen, named, vocabulary, starts[lasted], others[lasted], (0.0, 0.0), 1
                )
                yield Task(cell.keys | keys, make, vocabulary.parameters)

    # ---- vectors -------------------------------------------------------------------------------------------------

    def _vectors(self, found: States) -> Iterator[Task]:
        """Every family that looks at vectors of one embedder and modality."""
        needs = bool({"entropy", "attractors", "drift"} & self.wanted)
        labelled = self._motifs(found) if needs else None
        fine = None
        if labelled is not None and "entropy" in self.wanted:
            fine = motifs.find_motifs(found, motifs.FINE * self.options.motifs, centred=labelled.centred)
            fine = replace(fine, centred=None)  # it is not looked at again, and is large
        sizes = [len(np.unique(found.starts[c.rows])) for c in self.cells]
        redraws = self._redraws(found)
        for cell in self.cells:
            mine = found.of(cell.rows)
            if not len(mine.ts):
                continue
            own = None if labelled is None else labelled.of(cell.rows, found.span(cell.rows))
            for make, depends in self._cell(mine, cell, own, redraws, min(sizes) if len(set(sizes)) > 1 else None):
                yield Task(cell.keys, make, depends)
            if fine is not None:
                make = partial(motifs.fine_rows, mine, fine.of(cell.rows, found.span(cell.rows)))
                yield Task(cell.keys, make, fine.book.parameters)
        if "survival" in self.wanted and found.modality == "image":
            yield from self._survival_in_pictures(found)
        if "attribution" in self.wanted:
            yield from self._attribution(found)

    def _cell(
        self, mine: States, cell: Cell, labelled: motifs.Motifs | None, redraws: Redraws | None, size: int | None,
    ) -> Iterator[tuple[Callable[[], Iterable[Row]], Mapping[str, object]]]:  # fmt: skip
        """What is measured of a cell, and what else the numbers depend on."""
        book = {} if labelled is None else labelled.book.parameters
        if "diversity" in self.wanted:
            yield partial(geometry.diversity_rows, mine), {}
            if size and size > 2:
                yield partial(geometry.rarefied_rows, mine, size), {}
        if "drift" in self.wanted and labelled is not None:
            yield partial(geometry.drift_rows, mine, labelled.centred), {}
            yield partial(origins.origin_rows, mine), {}
            yield partial(design.failure_rows, mine, int((~mine.present[:, -1]).sum())), {}
        if "between" in self.wanted:
            own = None if redraws is None else redraws.of(mine)
            yield partial(geometry.between_rows, mine, cell.conditions, own), {} if own is None else own.parameters
        if "entropy" in self.wanted and labelled is not None:
            yield partial(motifs.occupancy_rows, mine, labelled), book
        if "attractors" in self.wanted and labelled is not None:
            yield partial(motifs.movement_rows, mine, labelled.labels, len(labelled.book.centres)), book
            yield partial(motifs.ending_rows, mine), {"nulls": motifs.NULLS, "seed": 0}
            yield partial(pulls.projection_rows, mine), {}

    def _motifs(self, found: States) -> motifs.Motifs:
        book = None
        if self.options.codebook is not None:
            book = motifs.stored_codebook(open_run(self.options.codebook), found.embedder, found.modality)
        labelled = motifs.find_motifs(found, self.options.motifs, book)
        if len(labelled.book.centres) < self.options.motifs and book is None:
            self.options.on_note(
                f"{found.embedder}, {found.modality}s: only {len(labelled.book.centres)} states differ, so there are "
                "no more motifs than that"
            )
        if self.options.whole:  # a part leaves the whole's codebook as it is
            motifs.keep(self.run, found, labelled)
        return labelled

    def _redraws(self, found: States) -> Redraws | None:
        """Draws of the same steps: from a run of branches, or from the run's own controls."""
        if "between" not in self.wanted:
            return None
        if self.options.redraws is None:
            redraws = redraws_of_controls(found)
            self._note_between_quarters(found, redraws)
            return redraws
        other = states(open_run(self.options.redraws), found.embedder, found.modality)
        redraws = find_redraws(found, other, str(self.options.redraws))
        if not redraws.draws:
            raise UsageError(
                f"--redraws {self.options.redraws}: no step of {self.run.path} is drawn there twice under its own "
                "condition; it must branch from its steps (starts: from: RUN/TRAJECTORY/t) with replicates: 2 or more"
            )
        return redraws

    def _note_between_quarters(self, found: States, redraws: Redraws) -> None:
        """Say which steps were drawn again without being in a quarter that the panel is given for."""
        quarters = [(int(found.ts[a]), int(found.ts[b - 1])) for a, b in geometry.windows(found).values() if a < b]
        for t in redraws.ts:
            if not any(first <= t <= last for first, last in quarters):
                self.options.on_note(
                    f"{found.embedder}, {found.modality}s: the step of t = {t} was drawn again (controls: redraw), "
                    "which is in neither the first nor the last quarter: seed_noise is measured there, and assumed to "
                    "be that of a random walk in the quarters"
                )

    def _survival_in_pictures(self, found: States) -> Iterator[Task]:
        """Concepts found in pictures by a zero-shot detector, where the embedder can be had."""
        if self.detection is None:
            return
        detected, vocabulary = self.detection
        named = detected[:, concepts.after_start(self.captions) - 1]
        one = concepts.after_start(found)
        if one >= len(found.ts):  # nothing was drawn after the start
            return
        lasted = np.asarray(found.present[:, one:].all(axis=1))
        detector: concepts.Detector | str
        try:
            phrases = embed_phrases(self.run, found.embedder, [f"a picture of {c}" for c in vocabulary.concepts])
            detector = concepts.calibrate(phrases, found.vectors[lasted, one], named[lasted])
        except ModelError as error:
            detector = f"the embedder cannot be loaded here: {error}"
        if isinstance(detector, str):
            for cell in self.cells:
                yield Task(cell.keys, partial(_one, missing("concept_survival", int(cell.rows.sum()), detector)))
            return
        seen = np.stack([detector.detect(chain) for chain in found.vectors[:, one:]])  # one at a time: scores are large
        others = concepts.shown_by_others(seen, vocabulary, self.trajectories, lasted)
        errors = (detector.miss, detector.false_alarm)
        for cell in self.cells:
            mine = cell.rows & lasted
            if mine.any():
                make = partial(
                    concepts.survival_rows, seen[mine], named[mine], vocabulary, found.starts[mine], others[mine],
                    errors, 2,
                )  # fmt: skip
                yield Task(cell.keys, make, vocabulary.parameters)

    def _attribution(self, found: States) -> Iterator[Task]:
        """Of each group of starts, over all conditions."""
        whole = np.ones(len(self.trajectories), dtype=bool)
        if "control" in self.trajectories:  # a broken loop is no setting that variance could be attributed to
            whole = (self.trajectories["control"] == NO_CONTROL).to_numpy()
        factors = design.varying_factors(self.trajectories[whole], self.run.start_columns)
        if not [name for name in factors if name != "replicate"]:
            self.options.on_note(f"{found.modality}s: there is one condition only, so nothing to attribute variance to")
            return
        shared = next(iter(cells_of(self.trajectories, ()))).keys
        for group in self.trajectories["group"].unique():
            mine = found.of((self.trajectories["group"] == group).to_numpy() & whole)
            if len(mine.ts):
                yield Task(shared | {"group": group}, partial(design.attribution_rows, mine, factors))

    def _pairs(self, embedder: str, both: dict[str, States]) -> Iterator[Task]:
        """What looks at pictures and texts together."""
        keys = {"modality": "pair", "embedder": embedder}
        if "drift" not in self.wanted:
            return
        same = len(both) == 2 and both["image"].vectors.shape[2] == both["text"].vectors.shape[2]
        if same:
            for cell in self.cells:
                pictures, texts = both["image"].of(cell.rows), both["text"].of(cell.rows)
                yield Task(cell.keys | keys, partial(geometry.pair_rows, pictures, texts))
        for condition in cells_of(self.trajectories, ("condition",)):
            pair = {m: found.of(condition.rows) for m, found in both.items()} if same else {}
            mine = {m: found for m, found in pair.items() if len(found.ts)}
            make = partial(design.telephone_rows, mine.get("image"), mine.get("text"))
            yield Task(condition.keys | keys, make)


def _one(row: Row) -> list[Row]:
    return [row]


def _repeats(mine: Captions) -> Iterator[Row]:
    """Fixed points and cycles of captions, of trajectories that lasted."""
    first = first_told(mine)
    whole = (mine.texts[:, first:] != None).all(axis=1)  # noqa: E711 - element by element
    texts = mine.texts[whole, first:].tolist()
    starts = mine.trajectories["start_id"].to_numpy(dtype=object)[whole]
    rows = guarded("absorbed", len(texts), lambda: motifs.repeated_texts(texts, starts))
    yield from depending(rows, told_since(mine))
