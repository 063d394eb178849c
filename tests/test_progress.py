"""What a log says of how far a run is."""

from __future__ import annotations

from loopsim.cli._progress import progress_shown
from loopsim.runner import Progress


def test_no_time_is_promised_before_a_step_was_made(capsys):
    with progress_shown() as watch:
        watch(Progress(0, 100, 0, 3.0))
        watch(Progress(100, 100, 100, 50.0))
    first, last = capsys.readouterr().err.splitlines()
    assert first == "0/100 steps"
    assert last == "100/100 steps, 2.0 images/s, 0.0 min left"
