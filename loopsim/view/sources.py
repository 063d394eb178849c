"""Where answers come from: a name and a query to content, or nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".bib": "text/plain; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".parquet": "application/vnd.apache.parquet",
    ".woff2": "font/woff2",
}
"""Suffix to media type; what has no suffix of these is not served."""


@dataclass(frozen=True)
class Content:
    """What an address holds now."""

    kind: str
    """The media type."""
    tag: str
    """Changes whenever the content does."""
    make: Callable[[], bytes]
    """The content itself; called only where the browser has not got it yet."""
    keep: bool = True
    """Whether the browser may keep it, to ask next time whether it has changed."""


Source = Callable[[str, Mapping[str, str]], Content | None]
"""A name, as `split_target` gives it, and the query, to what it holds; None where there is nothing of that name."""


def kind_of(name: str) -> str | None:
    """The media type of a name, by its suffix; None where it is none of `KINDS`."""
    return KINDS.get(os.path.splitext(name)[1].lower())


def whole(body: bytes, kind: str, keep: bool = True) -> Content:
    """Content that is there already."""
    return Content(kind, sha256(body).hexdigest()[:20], lambda: body, keep)


def folder(root: Path) -> Source:
    """The plain files of a folder and its sub-folders; no link is followed, whether it leads out or not."""

    def find(name: str, query: Mapping[str, str]) -> Content | None:
        kind = kind_of(name)
        if kind is None:
            return None
        base = os.path.realpath(root)
        path = os.path.join(base, *name.split("/"))
        if os.path.realpath(path) != path:
            return None
        try:
            there = os.lstat(path)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(there.st_mode):
            return None
        return Content(kind, f"{there.st_mtime_ns:x}-{there.st_size:x}-{there.st_ino:x}", lambda: _read(path))

    return find


def _read(path: str) -> bytes:
    # The last part may have become a link since it was looked at.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as handle:
        return handle.read()


def under(prefix: str, source: Source) -> Source:
    """A source whose names all begin with `prefix/`."""

    def find(name: str, query: Mapping[str, str]) -> Content | None:
        head, slash, rest = name.partition("/")
        return source(rest, query) if slash and head == prefix else None

    return find


def first_of(sources: Iterable[Source]) -> Source:
    """Each in turn, until one has it."""
    kept = tuple(sources)

    def find(name: str, query: Mapping[str, str]) -> Content | None:
        return next((found for source in kept if (found := source(name, query)) is not None), None)

    return find
