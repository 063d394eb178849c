"""The experiment file: YAML in, one validated `Experiment` out. Unknown keys are refused; errors name file and key."""

from __future__ import annotations

from loopsim.experiment.controls import ControlSettings
from loopsim.experiment.reading import load_experiment, parse_experiment
from loopsim.experiment.schema import (
    CaptionerSettings,
    CaptionPrice,
    ChainLink,
    Experiment,
    GeneratorSettings,
    PicturePrice,
    given_settings,
)
from loopsim.experiment.starts import StartSettings

__all__ = [
    "CaptionPrice",
    "CaptionerSettings",
    "ChainLink",
    "ControlSettings",
    "Experiment",
    "GeneratorSettings",
    "PicturePrice",
    "StartSettings",
    "given_settings",
    "load_experiment",
    "parse_experiment",
]
