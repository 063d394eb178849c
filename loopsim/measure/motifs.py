"""Motifs: a codebook fitted once on the whole run, its occupancy over time, and the movement between motifs."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loopsim.errors import StoreError, UsageError
from loopsim.measure.cells import end_points, first_fitted
from loopsim.measure.decays import decay_rows
from loopsim.measure.redraws import first_told, told_since
from loopsim.measure.rows import COSTLY, Row, bare, depending, guarded, missing, row
from loopsim.states import States
from loopsim.store import Run
from loopsim.store.embedders import folder_of
from loopsim.store.shards import reading, storing, write_bytes, write_table
from metrics import attractors, codebook, entropy, jackknife, recurrence
from metrics.result import undefined
from metrics.transitions import transitions

MOTIFS = 12
"""Motifs of a codebook unless asked otherwise: what studies of this loop have used."""
NULLS = 99
"""Clouds and swaps that endpoints are compared with."""
_MOST_ALONE = 0.6
FINE = 4
"""Motifs of the fine codebook for each of the coarse one."""
_MOST_ROWS = 10_000
"""States that a codebook is fitted on; more tell it nothing new."""
_CORRECTION: entropy.Correction = "chao-wang-jost"

FloatArray = NDArray[np.float64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Motifs:
    """The codebook of one embedder and modality, and what it says of every state."""

    book: codebook.Codebook
    """The centres."""
    labels: NDArray[np.int64]
    """Motif of each state, shape (N, T); −1 where none is present."""
    distances: FloatArray
    """Squared distance to its motif's centre, shape (N, T); nan where none is present."""
    centred: Vectors | None
    """The states, each model's mean taken out, shape (N, T, d); None where that leaves nothing."""

    def of(self, rows: NDArray[np.bool_], span: slice) -> Motifs:
        """The same of some trajectories and iterations."""
        centred = None if self.centred is None else self.centred[rows][:, span]
        return Motifs(self.book, self.labels[rows][:, span], self.distances[rows][:, span], centred)


def registers(states: States) -> NDArray[np.object_]:
    """Who put each state into words or pictures, shape (N, T): the model, or `start` for the start itself."""
    role = "captioner" if states.modality == "text" else "generator"
    named = [c for c in states.trajectories.columns if c.rstrip("0123456789") == role]
    whose = states.trajectories[named].astype(str).agg("+".join, axis=1) if named else states.trajectories["label"]
    table = np.repeat(whose.to_numpy(dtype=object)[:, None], len(states.ts), axis=1)
    table[states.ts[None, :] == states.trajectories["t0"].to_numpy()[:, None]] = "start"
    return table


def without_registers(states: States) -> Vectors | None:
    """The unit states less the mean of their register; None where some state is then nothing."""
    if not states.present.any():
        return None
    groups = np.unique(registers(states), return_inverse=True)[1].reshape(states.present.shape)
    centred = np.zeros_like(states.vectors)
    # One trajectory at a time, in single precision: copies of all states would fill the memory.
    sums = np.zeros((int(groups.max()) + 1, states.vectors.shape[2]))
    for i, present in enumerate(states.present):
        centred[i, present] = _unit(states.vectors[i, present])
        np.add.at(sums, groups[i, present], centred[i, present].astype(np.float64))
    counts = np.bincount(groups[states.present], minlength=len(sums))[:, None]
    means = np.divide(sums, counts, out=sums, where=counts > 0).astype(np.float32)
    for i, present in enumerate(states.present):
        centred[i, present] -= means[groups[i, present]]
    norms = np.einsum("ntd,ntd->nt", centred, centred)
    return None if (norms[states.present] < 1e-9).any() else centred


def _unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


def find_motifs(
    states: States, k: int = MOTIFS, book: codebook.Codebook | None = None, centred: Vectors | None = None
) -> Motifs:
    """Fit a codebook on all states of a run but the starts, or use one that is given, and label every state.

    Each captioner's (or image generator's) mean is taken out first, so that a register is no motif.

    Raises:
        UsageError: the codebook given is of another width.
    """
    centred = without_registers(states) if centred is None else centred
    looked_at = states.vectors if centred is None else centred
    fitted = states.present.copy()
    if fitted[:, first_fitted(states.ts) :].any():
        fitted[:, : first_fitted(states.ts)] = False
    if book is None:
        rows = looked_at[_some(fitted)]
        span = f"t{states.ts[0]}-t{states.ts[-1]}"
        reference = f"pooled-{span}-{'as-is' if centred is None else 'centred'}"
        # Many centres need fewer starts: each one matters less.
        book = codebook.fit(rows, min(k, _different(rows, k)), reference, starts=4 if k <= MOTIFS else 1)
    elif book.centres.shape[1] != states.vectors.shape[2]:
        raise UsageError(
            f"the codebook has {book.centres.shape[1]} dimensions, {states.embedder!r} {states.vectors.shape[2]}: "
            "take the codebook of a run with the same embedder"
        )
    labels = np.full(states.present.shape, -1, dtype=np.int64)
    distances = np.full(states.present.shape, math.nan)
    for i, present in enumerate(states.present):
        if present.any():
            unit = _unit(looked_at[i, present])
            labels[i, present] = book.assign(unit)
            distances[i, present] = ((unit - book.centres[labels[i, present]]) ** 2).sum(axis=1)
    return Motifs(book, labels, distances, centred)


def _file(run: Run, embedder: str, modality: str, suffix: str) -> Path:
    return run.path / "motifs" / f"{folder_of(run.path, embedder).name}-{modality}{suffix}"


def keep(run: Run, states: States, motifs: Motifs) -> None:
    """Store the codebook and every state's motif in the run.

    Raises:
        StoreError: the disk is full or refuses.
    """
    path = _file(run, states.embedder, states.modality, ".parquet")
    with storing(path):
        path.parent.mkdir(exist_ok=True)
    i, k = np.nonzero(states.present)
    table = pa.table(
        {
            "trajectory_id": states.trajectories["trajectory_id"].to_numpy(dtype=object)[i],
            "t": pa.array(states.ts[k], pa.int32()),
            "motif": pa.array(motifs.labels[i, k], pa.int32()),
            "distance": motifs.distances[i, k],
        }
    )
    write_table(path, table)
    buffer = io.BytesIO()
    np.savez(buffer, centres=motifs.book.centres, reference=motifs.book.reference, seed=motifs.book.seed)
    write_bytes(_file(run, states.embedder, states.modality, ".npz"), buffer.getvalue())


def stored_codebook(run: Run, embedder: str, modality: str) -> codebook.Codebook:
    """The codebook that a run was measured with.

    Raises:
        UsageError: it has none for that embedder and modality.
        StoreError: it cannot be read.
    """
    path = _file(run, embedder, modality, ".npz")
    if not path.exists():
        raise UsageError(
            f"{run.path}: no codebook of {embedder!r} for {modality}s; measure that run first: "
            f"`loopsim measure {run.path}`"
        )
    with reading(path), np.load(path) as file:
        return codebook.Codebook(file["centres"], str(file["reference"]), int(file["seed"]))


def stored_motifs(run: Run, embedder: str, modality: str) -> pa.Table:
    """Columns trajectory_id, t, motif and distance (squared, to the motif's centre), as `keep` stored them.

    Raises:
        StoreError: there are none, they cannot be read, or they are of another run.
    """
    path = _file(run, embedder, modality, ".parquet")
    if not path.exists():
        raise StoreError(f"{path}: there are no motifs; run `loopsim measure {run.path}`")
    with reading(path):
        table = pq.read_table(path)
        ids = set(table["trajectory_id"].unique().to_pylist())
    if not ids <= run.members():
        raise StoreError(f"{path}: holds trajectories that the run does not have; run `loopsim measure {run.path}`")
    return table


def _some(fitted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """At most `_MOST_ROWS` of the states to fit on, at random."""
    chosen = np.flatnonzero(fitted)
    if len(chosen) > _MOST_ROWS:
        chosen = np.random.default_rng(0).choice(chosen, _MOST_ROWS, replace=False)
    some = np.zeros(fitted.size, dtype=bool)
    some[chosen] = True
    return some.reshape(fitted.shape)


def _different(rows: Vectors, enough: int) -> int:
    """How many directions there are, to six digits, counted up to `enough`."""
    seen: set[bytes] = set()
    for one in rows:
        seen.add(_unit(one).round(6).tobytes())
        if len(seen) >= enough:
            break
    return len(seen)


# ---- occupancy -------------------------------------------------------------------------------------------------------


def occupancy_rows(states: States, motifs: Motifs) -> Iterator[Row]:
    """Entropy and effective number of motifs at every iteration, and whether the latter decays; of one cell."""
    labels, looked_at = motifs.labels, states.vectors if motifs.centred is None else motifs.centred
    ends, parameters = end_points(states.ts), motifs.book.parameters
    for k, t in enumerate(states.ts):
        live = states.present[:, k]
        if not live.any():
            continue
        own, starts = labels[live, k], states.starts[live]
        yield from _occupancy(("motif_entropy", "effective_motifs"), own, starts, motifs, int(t))
        for share in (0.5, 0.9):
            estimate = entropy.coverage_number_estimate(own, share, starts, parameters=parameters)
            yield row(f"motifs_{share * 100:.0f}", estimate, int(t))
        members = motifs.book.memberships(looked_at[live, k])
        if k in ends:
            estimate = jackknife.estimate(
                codebook.soft_effective_number, members, starts, name="soft-effective-motifs",
                parameters={"temperature": 0.1, **parameters}, low=1.0,
            )  # fmt: skip
            yield row("soft_effective_motifs", estimate, int(t))
        else:
            value = codebook.soft_effective_number(members)
            yield bare("soft_effective_motifs", value, len(members), {"temperature": 0.1, **parameters}, COSTLY, int(t))
    yield from _occupancy_decay(states, labels, len(motifs.book.centres))


def _occupancy(
    names: tuple[str, str], labels: NDArray[np.int64], starts: NDArray[np.object_], motifs: Motifs, t: int
) -> Iterator[Row]:
    """Corrected entropy and effective number, within what so many motifs can have; refused where most are alone."""
    parameters, k = motifs.book.parameters, len(motifs.book.centres)
    alone = float(np.sum(np.bincount(labels) == 1)) / len(labels)
    for name, estimate, most in (
        (names[0], entropy.shannon_estimate, math.log2(k)),
        (names[1], entropy.effective_number_estimate, float(k)),
    ):
        made = estimate(labels, starts, _CORRECTION, parameters=parameters)
        if alone > _MOST_ALONE and k > 1:
            why = f"{alone:.0%} of the trajectories are alone in their motif: too few to correct for those not seen"
            yield row(name, undefined(why, made.n, made.signature), t)
        else:
            low, high = min(made.ci_low, most), min(made.ci_high, most)
            yield row(name, replace(made, value=min(made.value, most), ci_low=low, ci_high=high), t)


def fine_rows(states: States, motifs: Motifs) -> Iterator[Row]:
    """Entropy and effective number on a codebook of many motifs, at every iteration, of one cell."""
    for k, t in enumerate(states.ts):
        live = states.present[:, k]
        if live.any():
            names = ("fine_motif_entropy", "fine_effective_motifs")
            yield from _occupancy(names, motifs.labels[live, k], states.starts[live], motifs, int(t))


def _occupancy_decay(states: States, labels: NDArray[np.int64], k: int) -> Iterator[Row]:
    first = first_fitted(states.ts)
    whole = states.present[:, first:].all(axis=1)
    codes = np.unique(states.starts[whole], return_inverse=True)[1]
    if not whole.any() or codes.max() < 1:
        yield missing("effective_motifs:half_life", int(whole.sum()), "fewer than 2 starts last throughout")
        return
    counts = np.zeros((codes.max() + 1, len(states.ts) - first, k))
    kept = labels[whole, first:]
    np.add.at(counts, (codes[:, None], np.arange(kept.shape[1])[None, :], kept), 1)
    total = counts.sum(axis=0)
    # Plug-in: a correction is not smooth in single counts, and a curve at one n needs none.
    curve = np.array([entropy.effective_number(one) for one in total])
    without = np.array([[entropy.effective_number(one) for one in total - start] for start in counts])
    yield from decay_rows("effective_motifs", curve, without, int(whole.sum()))


# ---- movement and ends -----------------------------------------------------------------------------------------------


def movement_rows(states: States, labels: NDArray[np.int64], k: int) -> Iterator[Row]:
    """Transitions, dwell and escape times, long-run shares; of trajectories that lasted."""
    first, since = first_told(states), told_since(states)
    whole = np.asarray(states.present[:, first:].all(axis=1))
    rows = guarded("transition_memory", int(whole.sum()), lambda: _moved(labels[whole, first:], states, whole, k))
    yield from depending(rows, since)


def _moved(labels: NDArray[np.int64], states: States, whole: NDArray[np.bool_], k: int) -> Iterator[Row]:
    n = len(labels)
    found = transitions(labels, k, states.starts[whole], start=0)
    for i in range(k):
        yield row("dwell_time", found.dwell[i], item=f"motif {i}")
        yield row("escape_time", found.escape[i], item=f"motif {i}")
        if found.stationary_undefined:
            yield missing("long_run_share", n, found.stationary_undefined, item=f"motif {i}")
        else:
            share = float(found.stationary[i])
            yield bare("long_run_share", share, n, {}, "it follows from all transitions together", item=f"motif {i}")
    for i, j in np.argwhere(found.counts):
        count = float(found.counts[i, j])
        yield bare("transition_count", count, n, {}, "a count", item=f"motif {i} > motif {j}")
    yield bare("transition_memory", found.memory, n, {}, "it is a distance of matrices")


def ending_rows(states: States, n_nulls: int = NULLS) -> Iterator[Row]:
    """Whether endpoints are clustered beyond the nulls, density clusters, fixed points and cycles."""
    last = states.present[:, -1]
    both = last & states.present[:, 0]
    n = int(both.sum())
    yield from guarded("endpoint_silhouette", n, lambda: _clusters(states, both, n_nulls))
    yield from guarded("density_clusters", n, lambda: _density(states, last))
    shift, since = first_told(states), told_since(states)
    whole = states.present[:, shift:].all(axis=1)
    x, starts = states.vectors[whole, shift:], states.starts[whole]
    for name, make in (
        ("absorbed", lambda: _absorbed(recurrence.absorption(x, starts), starts)),
        ("cycle_contrast", lambda: _cycles(x, starts)),
        ("lag_distance", lambda: _lags(x, starts)),
    ):
        yield from depending(guarded(name, len(x), make), since)


def _clusters(states: States, both: NDArray[np.bool_], n_nulls: int) -> Iterator[Row]:
    found = attractors.endpoint_clusters(
        states.vectors[both, -1], states.vectors[both, 0], states.starts[both], n_nulls=n_nulls
    )
    verdict = "clustered" if found.clustered else "no clusters shown"
    n, why = found.n, "the nulls are its yardstick"
    best = max(found.silhouettes, default=math.nan)
    yield bare("endpoint_silhouette", best, n, {}, why, item=f"k={found.best_k}", verdict=verdict)
    for k, score in zip(found.ks, found.silhouettes, strict=True):
        yield bare("endpoint_silhouette_by_k", score, n, {}, why, item=f"k={k}")
    for k, gap in zip(found.tested_ks, found.gaps, strict=True):
        yield bare("endpoint_gap", gap, n, {}, why, item=f"k={k}")
    for name, p in (("p_gaussian", found.p_gaussian), ("p_start", found.p_start)):
        if math.isnan(p):
            yield missing(f"endpoint_clusters:{name}", n, found.undefined or "there is no such null", verdict=verdict)
        else:
            yield bare(f"endpoint_clusters:{name}", p, n, {}, "a p-value has none", verdict=verdict)


def _density(states: States, last: NDArray[np.bool_]) -> Iterator[Row]:
    found = attractors.density_clusters(states.vectors[last, -1])
    n, why = int(last.sum()), "a count of clusters is not smooth"
    yield bare("density_clusters", float(found.clusters), n, {"min_size": 5}, why)
    yield bare("density_noise", found.noise, n, {"min_size": 5}, why)


def _absorbed(found: recurrence.Absorption, starts: NDArray[np.object_]) -> Iterator[Row]:
    from metrics.survival import kaplan_meier

    yield row("absorbed", found.share)
    for period, estimate in enumerate(found.share_by_period, start=1):
        yield row("absorbed", estimate, item=f"period {period}")
    yield row("absorption_time", kaplan_meier(found.entry, found.absorbed, starts).median)


def _cycles(x: NDArray[np.float32], starts: NDArray[np.object_]) -> Iterator[Row]:
    for period, estimate in enumerate(recurrence.cycle_contrasts(x, starts), start=2):
        shown = estimate.ci_low > 0
        yield row("cycle_contrast", estimate, item=f"period {period}", verdict="cycle" if shown else "no cycle shown")


def _lags(x: NDArray[np.float32], starts: NDArray[np.object_]) -> Iterator[Row]:
    most = min(8, x.shape[1] - 1)
    if most < 1:
        raise ValueError(f"{x.shape[1]} iterations; a distance between two of them needs 2")
    for lag, estimate in enumerate(recurrence.lag_distances(x, starts, max_lag=most, burn_in=0), start=1):
        yield row("lag_distance", estimate, item=f"lag {lag}")


def repeated_texts(texts: list[list[str]], starts: NDArray[np.object_]) -> list[Row]:
    """Fixed points and cycles of captions that repeat to the letter."""
    return list(_absorbed(recurrence.absorption_of_texts(texts, starts.tolist()), starts))
