"""Everything loopsim raises on purpose.

    LoopsimError                    something the user can mend; its text is the whole message
    ├── ExperimentError             the experiment file, an override or a prompt file is wrong        (exit status 2)
    ├── UsageError                  a command was asked for something that cannot be                  (exit status 2)
    │   ├── OtherExperimentError    the directory holds a run of another experiment
    │   └── NothingToDraw           a figure needs what the run does not have
    ├── ModelError                  a model is unknown, not a model, or cannot be loaded              (exit status 2)
    │   └── NotAtHand               it is not in the cache and the hub cannot be asked; or its key is missing
    ├── StoreError                  the run directory cannot be read or written                       (exit status 1)
    ├── RunFailed                   some trajectories failed, or all at once                     (exit status 1)
    ├── DeviceLost                  only a new process can use the device again: run it again     (exit status 75)
    └── BudgetReached               the next call would cost more than `--max-cost` leaves            (exit status 3)

Anything else that escapes is a bug, and keeps its traceback.
"""

from __future__ import annotations

RESUME = 75
"""Exit status that asks to be run again: `EX_TEMPFAIL` of sysexits.h."""


class LoopsimError(Exception):
    """Base of the errors a user can mend; `str(error)` says what, where and how."""

    exit_status = 1


class ExperimentError(LoopsimError):
    """The experiment file, an override or a prompt file is wrong."""

    exit_status = 2


class UsageError(LoopsimError):
    """A command was asked for something that cannot be."""

    exit_status = 2


class OtherExperimentError(UsageError):
    """The output directory holds a run of another experiment."""


class NothingToDraw(UsageError):
    """A figure needs pictures or measurements that the run does not have."""


class RunBusy(UsageError):
    """Another process is writing to the run, or to the same share of it."""


class ModelError(LoopsimError):
    """A model is unknown, is not a model, or cannot be loaded."""

    exit_status = 2


class NotAtHand(ModelError):
    """This machine lacks something that a run needs: a model that is not in the cache (or in part only) while the hub
    cannot be asked, the key or address of a hosted one. Elsewhere the same plan may be carried out."""


class StoreError(LoopsimError):
    """The run directory cannot be read or written."""


class RunFailed(LoopsimError):
    """Trajectories failed, or all did and the run stopped; everything made before is stored.

    Args:
        message: what is shown.
        details: what goes into the run's log, such as a traceback.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class DeviceLost(LoopsimError):
    """A device that has failed in a way that only a new process mends; everything made before is stored.

    Args:
        message: what is shown.
        details: what goes into the run's log, such as a traceback.
    """

    exit_status = RESUME

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class BudgetReached(LoopsimError):
    """The next call to a hosted model would cost more than `--max-cost` leaves; everything made before is stored."""

    exit_status = 3
