"""Whether a run directory is what was made: damage found, put aside, and made again."""

from loopsim.verify.records import REMEDIES, Finding, Verdict
from loopsim.verify.repair import Repaired, repair_run
from loopsim.verify.rerun import Rerun, rerun_steps
from loopsim.verify.runs import verify_run

__all__ = ["REMEDIES", "Finding", "Repaired", "Rerun", "Verdict", "repair_run", "rerun_steps", "verify_run"]
