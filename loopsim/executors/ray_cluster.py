"""A Ray cluster: how it is used, how it is reached, and how many workers it has room for."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loopsim.errors import UsageError
from loopsim.executors.slices import SLICE_SECONDS

_CONNECT = 10.0
"""Seconds to wait for an answer at an address."""


@dataclass(frozen=True)
class RayOptions:
    """How a cluster is used."""

    address: str | None = None
    """Of the cluster; None is that of the environment (`RAY_ADDRESS`), or a new one on this machine."""
    workers: int | None = None
    """How many; None is as many as there is room for."""
    gpus: float | None = None
    """GPUs of each actor, a fraction allowed; None is 1 where the cluster has any, else 0."""
    cpus: float = 1.0
    """CPU cores of each actor."""
    captioners: int = 0
    """Actors that describe for all workers, which then only draw; 0 has each worker hold both models."""
    driver_writes: bool = False
    """Whether the driver stores everything, even where workers see its file system."""
    attempts: int = 6
    """How often a cohort is tried without getting any further before it is given up."""
    backoff: float = 2.0
    """Seconds before the second attempt; each further one waits twice as long: 62 in all, and Ray takes about 30 to see
    that a node is dead."""
    patience: float = 600.0
    """Seconds to wait for the first worker, or for another where all are gone."""
    slice_seconds: float = SLICE_SECONDS
    """About how long a worker is at a cohort before it reports: what is lost with it."""


def workers_for(options: RayOptions, total: Mapping[str, float], gpus: float, spans: int) -> int:
    """How many workers to make.

    Args:
        options: how the cluster is used.
        total: what the cluster has, by resource.
        gpus: GPUs of each actor.
        spans: how many cohorts there are to be carried on.
    """
    if options.workers is not None:
        return options.workers
    rooms = [total.get("GPU", 0.0) / gpus] if gpus else []
    rooms += [total.get("CPU", 0.0) / options.cpus] if options.cpus else []
    room = math.floor(min(rooms) + 1e-9) if rooms else spans
    return max(1, min(room - options.captioners, spans))


@contextlib.contextmanager
def connected(options: RayOptions) -> Iterator[None]:
    """A connection to the cluster, or a cluster on this machine that ends with it."""
    try:
        import ray
    except ImportError:
        raise UsageError("--executor ray needs Ray: pip install 'loopsim[ray]'") from None
    if ray.is_initialized():  # a caller's own
        yield
        return
    check_address(options.address)
    try:
        with _own_signals():
            ray.init(options.address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"no Ray cluster at {options.address or 'RAY_ADDRESS'}: {first}. Is it up (ray status --address …)? Leave "
            "out --address to use this machine"
        ) from None
    try:
        yield
    finally:
        with _own_signals():
            ray.shutdown()


def check_address(address: str | None) -> None:
    """Refuse an address at which nobody answers, which Ray takes minutes to say.

    Raises:
        UsageError: nobody does, or it is that of Ray's client, which cannot hand out actors to wait for.
    """
    if address is None or address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdigit():
        raise UsageError(
            f"--address {address}: must be HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster at {address}: {error}. Is it up (ray status --address {address})? Leave out --address to "
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
