"""The run directory: what a run leaves behind, and how it is read."""

from loopsim.store.create import create_run
from loopsim.store.run import FORMAT_VERSION, Run, open_run
from loopsim.store.shares import Share, read_share

__all__ = ["FORMAT_VERSION", "Run", "Share", "create_run", "open_run", "read_share"]
