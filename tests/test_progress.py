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


def test_slow_models_are_told_in_seconds_an_image_and_long_runs_in_hours(capsys):
    with progress_shown() as watch:
        watch(Progress(200, 100_000, 100, 2500.0))
    assert capsys.readouterr().err == "200/100000 steps, 25.0 s an image, 693.1 h left\n"
