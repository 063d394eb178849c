"""Where cohorts are carried on: in this process."""

from loopsim.executors.base import Advanced, Executor, Job, Span
from loopsim.executors.local import LocalExecutor

__all__ = ["Advanced", "Executor", "Job", "LocalExecutor", "Span"]
