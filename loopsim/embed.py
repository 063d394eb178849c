"""The embedding pass: every text and picture of a run to a unit vector, once; continues where it stopped."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loopsim import images
from loopsim.errors import UsageError
from loopsim.models import load_embedder, unread
from loopsim.models.base import Embedder
from loopsim.provenance import describe_embedder
from loopsim.store import Run, checksums
from loopsim.store.embedders import GIVEN, made_folder
from loopsim.store.frames import each_once
from loopsim.store.shards import (
    Shard,
    list_shards,
    reading,
    remove_leftovers,
    stored,
    write_bytes,
    write_shard,
    write_table,
)
from loopsim.store.spans import Range, missing
from loopsim.store.tables import embedding_table

_BATCH = 256
KEPT = 1 << 28
"""Bytes of vectors that a pass remembers for each modality."""


def embed_run(run: Run, name: str, device: str = "auto", on_load: Callable[[str], None] | None = None) -> int:
    """Embed what one embedder has not embedded yet; the model is loaded only if there is something to do.

    Args:
        run: the run.
        name: an embedder `loopsim models` lists, `MODEL/PRETRAINED` of open_clip, a hub id, or a directory.
        device: where to embed.
        on_load: called with a line when the model is loaded, and with one where it reads only texts or only pictures.

    Returns:
        The number of steps embedded now; 0 where the vectors were imported under that name.

    Raises:
        ModelError: the embedder is unknown or cannot be loaded.
        UsageError: the run is of imported vectors only.
        StoreError: the disk is full or refuses.
    """
    folder = made_folder(run.path, name)
    if (folder / GIVEN).exists():
        return 0
    remove_leftovers(folder)
    if _unpinned(run, folder, name) and not _todo(run, stored(folder)):
        return 0
    weights = describe_embedder(name, run.pinned_embedder(name))
    embedded = stored(folder) if _weights_of(folder) == _without_name(weights) else {}
    todo = _todo(run, embedded)
    if not todo:
        return 0
    if on_load is not None:
        on_load(f"embedding with {name}")
    embedder, count = load_embedder(name, device, weights.get("commit")), 0
    once, unseen = _passes(embedder), unread(name, embedder.modalities)
    if on_load is not None and unseen is not None:
        on_load(unseen)
    if not embedded:  # only now: vectors are not given up for an embedder that cannot be loaded
        _begin_anew(run, folder, weights)
    for shard, (first, last) in todo:
        table, n = _embed_shard(once, shard, first, last)
        if table is not None:
            write_shard(folder, shard.cohort, first, last, table)
            count += n
    if not count and not list_shards(folder):
        raise UsageError(f"{run.path}: has neither texts nor pictures that {name} could embed")
    return count


def embed_phrases(run: Run, name: str, phrases: Sequence[str], device: str = "auto") -> NDArray[np.float32]:
    """Unit vectors of phrases, shape (n, d), by the embedder that a run was embedded with; kept beside its vectors.

    Raises:
        ModelError: the embedder is unknown or cannot be loaded.
        StoreError: the disk is full or refuses.
    """
    path = made_folder(run.path, name) / "phrases.parquet"
    known: dict[str, NDArray[np.float32]] = {}
    if path.exists():
        with reading(path):
            table = pq.read_table(path).to_pydict()
            known = {text: np.asarray(v, np.float32) for text, v in zip(table["text"], table["vector"], strict=True)}
    new = [text for text in dict.fromkeys(phrases) if text not in known]
    if new:
        commit = _weights_of(path.parent).get("commit")
        known |= zip(new, load_embedder(name, device, commit).embed_texts(new), strict=True)
        columns = {"text": list(known), "vector": [vector.tolist() for vector in known.values()]}
        write_table(path, pa.table(columns))
    return np.stack([known[text] for text in phrases])


def _todo(run: Run, embedded: Mapping[str, Sequence[Range]]) -> list[tuple[Shard, Range]]:
    """Shards of steps with the iterations of each that are not embedded; what two of them hold is embedded once."""
    return [
        (shard, gap)
        for shard in each_once(run.step_shards())
        for gap in missing(embedded.get(shard.cohort, ()), shard.first, shard.last)
    ]


def _unpinned(run: Run, folder: Path, name: str) -> bool:
    """Whether the vectors are of a hub model, from before commits were kept: they stay as long as none are added."""
    return run.pinned_embedder(name) is None and _weights_of(folder).keys() == {"location"}


def _weights_of(folder: Path) -> dict[str, Any]:
    """What the vectors of a folder were made with; nothing where that cannot be told."""
    path = folder / "weights.json"
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _without_name(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The hashes of the files, or location and commit; a directory that was moved with its run is the same."""
    return dict(weights["files"]) if "files" in weights else {k: v for k, v in weights.items() if k != "embedder"}


def _begin_anew(run: Run, folder: Path, weights: Mapping[str, Any]) -> None:
    """Drop the vectors of other weights, which new ones cannot be compared with, and note which weights these are."""
    for shard in list_shards(folder):
        shard.path.unlink()
    checksums.forget(folder)
    (folder / "phrases.parquet").unlink(missing_ok=True)
    run.pin_embedder(weights)
    write_bytes(folder / "weights.json", json.dumps(_without_name(weights), indent=1, sort_keys=True).encode())


class _Once:
    """Vectors by the hash of the content, so that what a loop repeats is embedded once.

    Args:
        embed: unit rows of contents: texts, or pictures as they are stored.
    """

    def __init__(self, embed: Callable[[Sequence[Any]], NDArray[np.float32]]) -> None:
        self._embed = embed
        self._known: dict[bytes, NDArray[np.float32]] = {}

    def vectors(self, contents: Sequence[str | bytes]) -> NDArray[np.float32]:
        """Unit rows of shape (n, d), the same for the same content."""
        keys = [sha256(c.encode() if isinstance(c, str) else c).digest() for c in contents]
        new = {key: c for key, c in zip(keys, contents, strict=True) if key not in self._known}
        if new:
            self._known |= zip(new, self._embed(list(new.values())), strict=True)
        found = np.stack([self._known[key] for key in keys])
        while len(self._known) * found[0].nbytes > KEPT:  # the oldest first
            del self._known[next(iter(self._known))]
        return found


def _passes(embedder: Embedder) -> dict[str, _Once]:
    made = {
        "text": _Once(embedder.embed_texts),
        "image": _Once(lambda pictures: embedder.embed_images([images.decode(p) for p in pictures])),
    }
    return {modality: once for modality, once in made.items() if modality in embedder.modalities}


def _embed_shard(once: Mapping[str, _Once], shard: Shard, first: int, last: int) -> tuple[pa.Table | None, int]:
    """Embeddings of a shard's iterations `first` to `last`, None if it has nothing that the embedder reads."""
    parts: list[pa.Table] = []
    count = 0
    file = pq.ParquetFile(shard.path, page_checksum_verification=True)
    for batch in file.iter_batches(_BATCH, columns=["trajectory_id", "t", "text", "image"]):
        rows = batch.filter(pc.and_(pc.greater_equal(batch["t"], first), pc.less_equal(batch["t"], last)))
        count += rows.num_rows
        ids, ts = rows["trajectory_id"].to_pylist(), rows["t"].to_pylist()
        texts: list[Any] = rows["text"].to_pylist()
        pictures: list[Any] = [None if picture is None else picture["bytes"] for picture in rows["image"].to_pylist()]
        for modality, contents in (("text", texts), ("image", pictures)):
            which = [i for i, content in enumerate(contents) if content]
            if which and modality in once:
                vectors = once[modality].vectors([contents[i] for i in which])
                parts.append(embedding_table([ids[i] for i in which], [ts[i] for i in which], modality, vectors))
    return (pa.concat_tables(parts) if parts else None), count
