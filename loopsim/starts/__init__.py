"""What t = 0 is: the groups of an experiment's starts, read from texts, files, pictures and runs."""

from __future__ import annotations

from loopsim.starts.loading import BranchReader, load_starts, read_prompts

__all__ = ["BranchReader", "load_starts", "read_prompts"]
