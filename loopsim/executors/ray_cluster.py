"""A Ray cluster: how it is used, how it is reached, and how many workers it has room for."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loopsim.errors import UsageError
from loopsim.executors.slices import SLICE_SECONDS

Node = Mapping[str, float]
"""What a node has, by resource."""
_DUST = 1e-6
"""What is left of three thirds."""
_LEAST = 1e-4
"""Of what Ray gives to an actor."""
_NO_RAY = "--executor ray needs Ray: pip install 'loopsim[ray]'"
_CONNECT = 10.0
"""Seconds to wait for an answer at an address."""


@dataclass(frozen=True)
class RayOptions:
    """How a cluster is used."""

    address: str | None = None
    """Of the cluster; None is that of the environment (`RAY_ADDRESS`), or a new one on this machine."""
    workers: int | None = None
    """How many; None is as many as there is room for. Never more than there are cohorts to carry on."""
    gpus: float | None = None
    """GPUs of each worker, a fraction of one allowed; None is 1 where the cluster has any, else 0."""
    cpus: float = 1.0
    """CPU cores of each actor."""
    captioners: int = 0
    """Actors that describe for all workers, which then only draw; 0 has each worker hold both models."""
    captioner_gpus: float | None = None
    """GPUs of each of these; None is as many as of a worker."""
    driver_writes: bool = False
    """Whether the driver stores everything, even where workers see its file system."""
    attempts: int = 6
    """How often a cohort is tried without getting any further before it is given up."""
    backoff: float = 2.0
    """Seconds before the second attempt; each further one waits twice as long: 62 in all, and Ray takes about 30 to see
    that a node is dead."""
    patience: float = 600.0
    """Seconds to wait for a first worker and captioner, or for others where all are gone."""
    slice_seconds: float = SLICE_SECONDS
    """About how long a worker is at a cohort before it reports: what is lost with it."""


@dataclass(frozen=True)
class Needs:
    """What an actor takes."""

    cpus: float
    """CPU cores."""
    gpus: float
    """GPUs; a fraction is of one and the same."""

    def __str__(self) -> str:
        return f"{_counted(self.cpus, 'CPU core')} and {_counted(self.gpus, 'GPU')}"


@dataclass(frozen=True)
class _Free:
    """What is left of a node."""

    cpus: float
    gpus: tuple[float, ...]
    """Of each GPU, from the fullest on."""

    def less(self, taken: Needs) -> _Free | None:
        """With one such actor on it; None where there is no room for it."""
        if self.cpus + _DUST < taken.cpus:
            return None
        left, whole = list(self.gpus), math.floor(taken.gpus) if taken.gpus >= 1 else 0
        for _ in range(whole):
            if not left or left.pop() + _DUST < 1:
                return None
        if part := taken.gpus - whole:
            fit = [i for i, free in enumerate(left) if free + _DUST >= part]
            if not fit:
                return None
            left[fit[0]] -= part
        return _Free(self.cpus - taken.cpus, tuple(sorted(left)))

    def room(self, each: Needs, most: int) -> int:
        """How many such actors fit, counted up to `most`."""
        free = self.less(each)
        n = 0
        while free is not None and n < most:
            free, n = free.less(each), n + 1
        return n


def needs(options: RayOptions, nodes: Sequence[Node]) -> tuple[Needs, Needs]:
    """What a worker takes, and a shared captioner."""
    any_gpu = any(node.get("GPU") for node in nodes)
    gpus = (1.0 if any_gpu else 0.0) if options.gpus is None else options.gpus
    return Needs(options.cpus, gpus), Needs(
        options.cpus, gpus if options.captioner_gpus is None else options.captioner_gpus
    )


def room_for(options: RayOptions, nodes: Sequence[Node], most: int) -> int:
    """How many workers a cluster has room for beside its captioners, which are placed first.

    Args:
        options: how the cluster is used.
        nodes: what each node of the cluster has.
        most: how far to count.
    """
    worker, captioner = needs(options, nodes)
    left = [_Free(node.get("CPU", 0.0), (1.0,) * int(node.get("GPU", 0.0))) for node in nodes]
    for _ in range(options.captioners):
        fit = [(i, less) for i, node in enumerate(left) if (less := node.less(captioner)) is not None]
        if not fit:
            return 0
        # Where they cost the fewest workers.
        i, less = min(fit, key=lambda each: left[each[0]].room(worker, most) - each[1].room(worker, most))
        left[i] = less
    return min(most, sum(node.room(worker, most) for node in left))


def workers_for(options: RayOptions, nodes: Sequence[Node], spans: int) -> int:
    """How many workers to make.

    Args:
        options: how the cluster is used.
        nodes: what each node of the cluster has.
        spans: how many cohorts there are to be carried on.
    """
    return max(1, min(spans, room_for(options, nodes, spans) if options.workers is None else options.workers))


def short_of_room(options: RayOptions, nodes: Sequence[Node], count: int) -> str | None:
    """What to say where there is no room for so many workers."""
    (worker, captioner), room = needs(options, nodes), room_for(options, nodes, count)
    if room >= count:
        return None
    beside = f" beside {_counted(options.captioners, 'captioner')} ({captioner} each)" if options.captioners else ""
    if not room:
        return (
            f"the cluster has no room for a worker ({worker}){beside}: the first begins when there is some (ray "
            "status); Ctrl-C ends the waiting"
        )
    return (
        f"the cluster has room for {room} of {_counted(count, 'worker')} ({worker} each){beside}: the others begin "
        "when it has more (ray status)"
    )


def _counted(number: float, what: str) -> str:
    return f"{number:g} {what}" + ("" if number == 1 else "s")


def cause(error: BaseException) -> str:
    """What an error of Ray comes from, on one line: its own first line often says only that there was one."""
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit|Interrupt)\b.*", line)]
    dead = [line.partition(" Some common causes")[0] for line in lines if line.startswith("The actor is dead because")]
    found = (raised or dead or lines or [type(error).__name__])[-1 if raised else 0].strip()
    return found[:300]


def check_options(options: RayOptions) -> None:
    """Refuse what no cluster can give to an actor.

    Raises:
        UsageError: a number that is none, or a part of a GPU, or of several, that Ray does not know.
    """
    for option, number in (
        ("--num-cpus", options.cpus), ("--num-gpus", options.gpus), ("--captioner-gpus", options.captioner_gpus)
    ):  # fmt: skip
        if number is None:
            continue
        if not math.isfinite(number) or number < 0:
            raise UsageError(f"{option} {number:g}: must be a number from 0 on")
        if 0 < number < _LEAST:
            raise UsageError(f"{option} {number:g}: must be 0 or at least {_LEAST:g}, the smallest part that Ray gives")
        if option != "--num-cpus" and number > 1 and number != int(number):
            raise UsageError(f"{option} {number:g}: above 1 it must be a whole number, for a part is of one GPU only")
    if options.captioner_gpus is not None and not options.captioners:
        raise UsageError("--captioner-gpus is for captioners that workers share: add --captioners K")


def check_cluster(options: RayOptions) -> None:
    """Refuse a cluster that cannot be reached, before anything is made for it.

    Raises:
        UsageError: Ray is not installed, or nobody answers at the address.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError(_NO_RAY)
    check_address(options.address)
    if options.address in (None, "auto"):  # which Ray takes from there too
        check_address(os.environ.get("RAY_ADDRESS"), "RAY_ADDRESS")


@contextlib.contextmanager
def connected(options: RayOptions) -> Iterator[None]:
    """A connection to the cluster, or a cluster on this machine that ends with it."""
    check_options(options)
    try:
        import ray
    except ImportError:
        raise UsageError(_NO_RAY) from None
    if ray.is_initialized():  # a caller's own
        yield
        return
    check_cluster(options)
    try:
        with _own_signals():
            ray.init(options.address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(_unreached(options.address, first[:300])) from None
    try:
        yield
    finally:
        with _own_signals():
            ray.shutdown()


def _unreached(asked: str | None, why: str) -> str:
    """What to say where Ray refuses: who was asked, and what helps there.

    Args:
        asked: `--address`; RAY_ADDRESS counts where it is none, and before `auto`.
        why: what Ray says.
    """
    given = os.environ.get("RAY_ADDRESS") if asked in (None, "auto") else None
    address = given or asked
    if address == "local":
        return (
            f"no Ray cluster could be begun on this machine: {why}\n  Ray's own logs, in "
            "/tmp/ray/session_latest/logs (RAY_TMPDIR in place of /tmp), may say more"
        )
    token = (
        "Newer ones ask for a token, which every process must have: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
        "~/.ray/auth_token as on its head. `--address local` begins a cluster on this machine"
    )
    if address is None:
        return (
            f"Ray found no cluster on this machine that it can use, and began none: {why}\n  Neither --address nor "
            "RAY_ADDRESS says which. Then one that `ray start` began here counts, even if it has died (`ray stop` "
            f"forgets it). {token}"
        )
    where = "on this machine" if address == "auto" else f"at {address}"
    return (
        f"no Ray cluster {where} ({'RAY_ADDRESS' if given else '--address'}"
        f"{' auto' * (address == 'auto')}): {why}\n  Is it up (ray status)? {token}"
    )


def check_address(address: str | None, given: str = "--address") -> None:
    """Refuse an address at which nobody answers, which Ray takes minutes to say.

    Args:
        address: HOST:PORT, `auto` or `local`.
        given: the option or environment variable that it comes from.

    Raises:
        UsageError: nobody does, or it is that of Ray's client, which cannot hand out actors to wait for.
    """
    if not address or address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdigit():
        raise UsageError(f"{given} {address}: must be HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except (OSError, OverflowError) as error:
        away = "Leave out --address" if given == "--address" else f"Unset {given}"
        raise UsageError(
            f"no Ray cluster at {address} ({given}): {error}. Is it up (ray status --address {address})? {away} to "
            "use this machine"
        ) from None


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what a caller does on SIGTERM: Ray replaces it when it begins, and sets it to the system's when it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
