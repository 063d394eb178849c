"""Carrying out a plan: what is missing, do it, store it."""

from loopsim.models.pool import ModelPool
from loopsim.runner.ahead import check_placements, hosted_models, look_ahead
from loopsim.runner.branches import read_branch
from loopsim.runner.notices import check_device, check_executor, notices
from loopsim.runner.plans import run_plan, unfinished
from loopsim.runner.preflight import Checked, check_plan
from loopsim.runner.progress import Progress, Watcher, describe_failures

__all__ = [
    "Checked",
    "ModelPool",
    "Progress",
    "Watcher",
    "check_device",
    "check_executor",
    "check_placements",
    "check_plan",
    "describe_failures",
    "hosted_models",
    "look_ahead",
    "notices",
    "read_branch",
    "run_plan",
    "unfinished",
]
