"""Following a run: looks at its directory every second, and keeps what was seen for the page."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loopsim.errors import LoopsimError, UsageError
from loopsim.records import FLAGS
from loopsim.report.chunks import as_json, as_script
from loopsim.report.members import Member
from loopsim.report.site import Options, Site
from loopsim.store import Run, open_run
from loopsim.view.activity import Activity, Watch, activity
from loopsim.view.early import Early, EarlyCurves
from loopsim.view.reading import GrowingSteps
from loopsim.view.words import headline_of, notes_of, rounded_rate

PAUSE = 1.0
"""Seconds between two looks."""
SHARE = 0.25
"""Of the time, at most, that is spent looking: on a slow file system, or at a large run, looks become fewer."""
_OURS = frozenset({"steps", "starts", "experiment.yaml", "trajectories.parquet", "manifest.json", "checksums"})
"""What a directory may hold that is about to become a run."""

log = logging.getLogger("loopsim.view")


@dataclass(frozen=True, eq=False)
class Seen:
    """What there was at one look."""

    site: Site
    """Makes the files of the page."""
    facts: dict[str, Any]
    """The head, without what changes from second to second."""
    doing: Activity
    """What the run was doing."""
    trouble: str
    """Why the newest could not be read; empty where it could."""
    epoch: str
    """Names the run, beside the versions of its chunks: changes when another one takes its place."""
    made_from: tuple[object, ...]
    """What `site` and `facts` were made from."""
    early: Early | None
    """Curves that were made while the run goes; None where they are the measured ones."""
    head: bytes = b""
    """The head as JSON."""
    script: bytes = b""
    """The head as a script."""


class Follower:
    """Follows one run directory; nothing in it is changed.

    Args:
        path: the directory; it need not be a run yet.
        thumbnails: pixels of the longer side of a picture; by their number where None.
    """

    def __init__(self, path: Path, thumbnails: int | None = None) -> None:
        self.path = path
        self._options = Options(thumbnails=thumbnails, live=True)
        self._session, self._epoch = secrets.token_hex(4), 0
        self._run: Run | None = None
        self._identity: tuple[object, ...] = ()
        self._steps: GrowingSteps | None = None
        self._watch, self._early = Watch(), EarlyCurves()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.seen: Seen | None = None

    # ---- again and again -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look again and again, in a thread of its own, until `stop`."""
        self._thread = threading.Thread(target=self._keep_looking, name="loopsim-follow", daemon=True)
        self._thread.start()

    def stop(self, patience: float = 1.0) -> bool:
        """Look no more; whether everything had come to rest after so many seconds at most."""
        self._over.set()
        rested = self._early.stop(patience)
        if self._thread is not None:
            self._thread.join(patience)
            rested = rested and not self._thread.is_alive()
        return rested

    def _keep_looking(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self.look()
            except Exception:
                log.exception("looking at %s", self.path)
            spent = time.monotonic() - began
            self._over.wait(max(PAUSE, spent * (1 - SHARE) / SHARE))

    # ---- one look ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """See what there is now.

        Raises:
            UsageError: it is no run, and will not become one.
            StoreError: it cannot be read; where something was seen before, that stays, with a note.
        """
        try:
            identity = self._read_identity()
            if not identity:
                self._absent()
                return
            self._open(identity)
            self._see()
        except (LoopsimError, OSError) as error:
            if self.seen is None:
                raise
            if str(error) != self.seen.trouble:
                log.warning("%s", error)
                self._show(self.seen, self.seen.doing, str(error))

    def _read_identity(self) -> tuple[object, ...]:
        """Changes when the run is made anew or extended; empty where there is none."""
        files = ("manifest.json", "experiment.yaml", "trajectories.parquet")
        try:
            stats = [os.stat(self.path / name) for name in files]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)

    def _absent(self) -> None:
        if self.seen is not None:
            if self.seen.doing.state != "gone":
                self._show(self.seen, Activity("gone", None), "")
            return
        check_place(self.path)

    def _open(self, identity: tuple[object, ...]) -> None:
        if identity == self._identity and self._steps is not None:
            return
        run = open_run(self.path)
        same = self._run is not None and self._steps is not None and _same(self._run, run)
        if same and self._steps is not None:
            self._steps.renew(run)
        else:
            self._steps = GrowingSteps(run)
            self._watch = Watch()
            self._early.forget()
            self._epoch += 1
        self._run, self._identity = run, identity

    def _see(self) -> None:
        assert self._run is not None
        assert self._steps is not None
        run, before = self._run, self.seen
        writer = run.writer()  # before the steps: what it wrote until it ended is seen then
        grew, now = self._steps.update(), time.monotonic()  # what follows may take seconds, and its steps count later
        measured, measurable = run.is_measured(), (run.path / "measurements.parquet").exists()
        early = None if measurable else self._early.latest()
        made_from = (self._epoch, self._identity, measured, writer.held, _listing(run.path), early)
        if grew or before is None or before.made_from != made_from:
            member = self._steps.member()
            if grew and not measurable:
                self._early.want(member)
            before = self._make(member, writer.held, early, made_from)
        facts = before.facts["runs"][0]
        self._watch.note(now, facts["done"])
        doing = activity(facts["done"], facts["total"], measured, writer, self._age(), self._watch, now)
        self._show(before, doing, "")

    def _make(self, member: Member, working: bool, early: Early | None, made_from: tuple[object, ...]) -> Seen:
        """The files of the page from what is stored now."""
        site = Site([member.run], self._options, [member])
        # All that there may be: a flag that appears for the first time must not give the others new numbers.
        site.flags = list(dict.fromkeys([*FLAGS, *site.flags]))
        if working:  # tables of everything said so far take long, and are old in a second
            site.downloads = {}
        if early is not None:
            site.downloads = site.downloads  # made now: curves for the moment are no measurements to take away
            site.measured = [early.frame]
        facts = site.head()
        if early is not None:
            for curve in facts["curves"]:
                curve["version"] = f"{curve['version']}-{early.number}"
        return Seen(site, facts, _NOTHING, "", f"{self._session}-{self._epoch}", made_from, early)

    def _age(self) -> float:
        """Seconds since a shard was written, by the clock of whoever wrote it."""
        try:
            return max(0.0, time.time() - os.stat(self.path / "steps").st_mtime)
        except OSError:
            return 0.0

    def _show(self, seen: Seen, doing: Activity, trouble: str) -> None:
        """From now on this is what the page gets."""
        doing = replace(doing, rate=rounded_rate(doing.rate))
        if seen.head and seen.doing == doing and seen.trouble == trouble:
            self.seen = seen
            return
        facts = seen.facts["runs"][0]
        early = None if seen.early is None else seen.early.frame
        changes = {
            "state": doing.state, "rate": doing.rate, "headline": headline_of(facts, doing, self.path),
            "notes": notes_of(facts, doing, early, trouble),
        }  # fmt: skip
        head = {**seen.facts, "runs": [{**facts, **changes}]}
        self.seen = replace(seen, doing=doing, trouble=trouble, head=as_json(head), script=as_script("head", head))


_NOTHING = Activity("", None)


def check_place(path: Path) -> None:
    """Whether a run may appear in a directory that holds none.

    Raises:
        UsageError: there is no such directory, or it holds something else.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is nothing here. `loopsim run EXPERIMENT --out {path}` makes a run here")
    if not path.is_dir():
        raise UsageError(f"{path}: this is a file; give the directory of a run")
    other = sorted(p.name for p in path.iterdir() if p.name not in _OURS and not p.name.startswith("."))
    if (path / "data" / "head.json").is_file():
        raise UsageError(f"{path}: this is a report, not a run: open {path / 'index.html'} in a browser")
    if other:
        below = [p.name for p in sorted(path.iterdir()) if (p / "manifest.json").is_file()]
        hint = f"; did you mean {path / below[0]}?" if below else ""
        raise UsageError(f"{path}: there is no run here (no manifest.json){hint}")


def _same(before: Run, now: Run) -> bool:
    """Whether it is the run of before, extended or renamed perhaps."""
    return before.cohorts == now.cohorts and before.manifest.get("created") == now.manifest.get("created")


def _listing(path: Path) -> tuple[object, ...]:
    """Names, sizes and times of all that a page is made from beside the steps."""
    found: list[object] = []
    for pattern in ("measurements.parquet", "failures/*", "motifs/*", "embeddings/*/*", "figures/*"):
        for one in sorted(path.glob(pattern)):
            try:
                there = one.stat()
            except OSError:  # gone since it was listed
                continue
            found.append((str(one), there.st_mtime_ns, there.st_size))
    return tuple(found)
