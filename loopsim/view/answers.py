"""Answers for the page: each name to what it holds now, made when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

from loopsim.report.site import Site, page_file
from loopsim.report.sprites import EXTENSION
from loopsim.view.cache import Cache
from loopsim.view.follow import Follower, Seen
from loopsim.view.sources import KINDS, Content, folder, kind_of, whole

_CHUNK = re.compile(r"^(?:data/steps|sprites/)-?(\d{4,6})-(\d{4,6})\.(?:js|" + EXTENSION + ")$")
_LAYER = re.compile(r"^data/((?:curves|map|motifs)-\d{1,5})\.js$")


class Answers:
    """A source (`loopsim.view.sources.Source`) of what a follower has seen."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._cache = Cache()

    def __call__(self, name: str, query: Mapping[str, str]) -> Content | None:
        """What a name holds now; None where there is nothing of that name."""
        kind, seen = kind_of(name), self._follower.seen
        if kind is None:
            return None
        if name == "state.json":
            state = "waiting" if seen is None else seen.doing.state
            return whole(b'{"state":"%s"}' % state.encode(), kind, keep=False)
        if seen is None:
            return _waiting("waiting.html" if name == "index.html" else name)
        if name == "data/head.json":
            return whole(seen.head, kind)
        if name == "data/head.js":
            return whole(seen.script, kind)
        if name.startswith("downloads/"):
            return self._download(seen, name, kind)
        version = _version(seen, name)
        return None if version is None else self._made(seen.site, name, kind, f"{seen.epoch}-{version}")

    def _made(self, site: Site, name: str, kind: str, tag: str) -> Content | None:
        def make() -> bytes:
            made = site.make(name)
            if made is None:
                raise FileNotFoundError(f"{name}: there is no such file in this report")
            return made

        return Content(kind, tag, lambda: self._cache.get((name, tag), make))

    def _download(self, seen: Seen, name: str, kind: str) -> Content | None:
        found = seen.site.downloads.get(name.partition("/")[2])
        if found is None:
            return None
        content = found[1]
        if isinstance(content, bytes):
            return whole(content, kind)
        root = self._follower.path
        try:
            return folder(root)(content.relative_to(root).as_posix(), {})
        except ValueError:  # not of the run
            return None


def _version(seen: Seen, name: str) -> str | None:
    """Changes when what the name holds does; None where there is nothing of that name."""
    site = seen.site
    found = _CHUNK.match(name)
    if found:
        block = (int(found[1]), int(found[2]))
        count = (site.step_blocks if name.startswith("data/") else site.sheet_blocks).get(block)
        return None if count is None else str(count)
    if name == "data/marks.js":
        return str(seen.facts["marks"])
    found = _LAYER.match(name)
    if found:
        entries = (*seen.facts["curves"], *seen.facts["maps"], *seen.facts["motifs"])
        return next((str(one["version"]) for one in entries if one["file"] == found[1]), None)
    if name == "index.html" or name.startswith("page/"):
        return "page" if name in set(_page_names(site)) else None
    return None


def _page_names(site: Site) -> list[str]:
    return [name for name in site.names() if name == "index.html" or name.startswith("page/")]


def _waiting(name: str) -> Content | None:
    """The page of a run that has not begun."""
    if name == "page/icon.svg":
        icon = page_file("icon.svg")
        return None if icon is None else whole(icon, KINDS[".svg"])
    if name not in ("waiting.html", "waiting.js", "waiting.css"):
        return None
    kind = kind_of(name)
    assert kind is not None
    return whole((files("loopsim.view") / "page" / name).read_bytes(), kind, keep=False)
