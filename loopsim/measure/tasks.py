"""Work that does not depend on other work, one after the other or in several processes, results in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopsim.measure.rows import Row, depending
from loopsim.provenance import usable_cpus

SMALL = 5_000_000
"""Numbers that tasks must hold between them before several processes are worth their start, which takes seconds."""


@dataclass(frozen=True, eq=False)
class Task:
    """Some rows that are computed together."""

    keys: Mapping[str, Any]
    """What stands before each row: grouping columns, modality, embedder."""
    make: Callable[[], Iterable[Row]]
    """A `functools.partial` of a module's function, so that it can go to another process."""
    depends: Mapping[str, object] = field(default_factory=dict)
    """What else the numbers depend on: put into every signature."""

    def rows(self) -> list[Row]:
        """Compute them."""
        return [dict(self.keys) | one for one in depending(self.make(), self.depends)]


def carried_out(tasks: Iterable[Task], jobs: int = 0) -> Iterator[Row]:
    """The rows of tasks, in order.

    The matrices are small, so a thread a core in the linear algebra costs more than it gives: each process has one.

    Args:
        tasks: the work.
        jobs: processes; 0 is one core each for much work, and one process for little.
    """
    from joblib import Parallel, delayed, parallel_config
    from threadpoolctl import threadpool_limits

    coming = iter(tasks)
    if jobs == 0:
        # Look ahead only as far as it takes to know.
        seen, size = [], 0
        for task in coming:
            seen.append(task)
            size += _size(task.make)
            if size > SMALL:
                break
        coming = itertools.chain(seen, coming)
        jobs = usable_cpus() if size > SMALL else 1
    with threadpool_limits(1):
        if jobs == 1:
            for task in coming:
                yield from task.rows()
            return
        with parallel_config(backend="loky", inner_max_num_threads=1):
            # pre_dispatch bounds what waits: a task may hold a hundred megabytes.
            work = Parallel(n_jobs=jobs, return_as="generator", batch_size=1, pre_dispatch="n_jobs")
            for rows in work(delayed(Task.rows)(task) for task in coming):
                yield from rows


def _size(make: Callable[[], Iterable[Row]]) -> int:
    """Numbers in the vectors that a task holds."""
    held = getattr(make, "args", ())
    return sum(int(one.vectors.size) for one in held if hasattr(one, "vectors"))
