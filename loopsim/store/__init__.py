"""The run directory: what a run leaves behind, and how it is read."""

from loopsim.store.create import carrying_out, check_directory, create_run, standing
from loopsim.store.run import FORMAT_VERSION, Run, open_run
from loopsim.store.shares import Share, check_free, read_share

__all__ = [
    "FORMAT_VERSION",
    "Run",
    "Share",
    "carrying_out",
    "check_directory",
    "check_free",
    "create_run",
    "open_run",
    "read_share",
    "standing",
]
