"""Where cohorts are carried on: in this process, or on a Ray cluster."""

from loopsim.executors.base import Advanced, Executor, Job, Span
from loopsim.executors.local import LocalExecutor
from loopsim.executors.ray_cluster import RayOptions
from loopsim.executors.ray_driver import RayExecutor

__all__ = ["Advanced", "Executor", "Job", "LocalExecutor", "RayExecutor", "RayOptions", "Span"]
