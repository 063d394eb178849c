"""Pictures from pictures, on tiny checkpoints of the classes that diffusers has an image-to-image pipeline for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models import load_generator
from loopsim.models.diffusers import DiffusersGenerator
from loopsim.models.generator_varying import variation_class
from loopsim.records import ModelSpec
from tests import tiny_generators as tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")
CAN = ("sd", "lcm", "sdxl", "sd3", "flux-dev", "z-image", "qwen-image", "kandinsky-2", "kandinsky-3")
CANNOT = ("flux2", "klein", "pixart", "sana", "cascade")


def spec_of(path: Path, name: str) -> ModelSpec:
    given = {"steps": 4, "guidance": 4.0, "dtype": "float32", **tiny.SETTINGS.get(name, {})}
    given["steps"] = 4
    return ModelSpec("generator", str(path), catalog.settings_of("generator", str(path), given), 4)


@pytest.mark.parametrize("name", CAN)
def test_each_picture_is_its_own_and_nearer_to_what_it_was_made_from_the_weaker_it_is(name, tmp_path):
    torch.set_num_threads(1)
    spec = spec_of(tiny.build(name, tmp_path), name)
    generator = load_generator(spec, "cpu")
    type(generator).check_varying(spec.model, spec, 0.5)
    first = [d.pixels for d in generator.generate(tiny.PROMPTS[:3], [1, 2, 3])]
    varied = [d.pixels for d in generator.vary(first, ["", "", ""], [4, 5, 6], 0.5)]
    again = [d.pixels for d in generator.vary(first, ["", "", ""], [4, 5, 6], 0.5)]
    assert all(a.shape == b.shape and a.dtype == np.uint8 for a, b in zip(first, varied, strict=True))
    assert all((a == b).all() for a, b in zip(varied, again, strict=True))
    alone = generator.vary(first[1:2], [""], [5], 0.5)[0].pixels
    assert np.abs(alone.astype(int) - varied[1]).max() <= 2  # kernels round differently for other shapes
    other = generator.vary(first[1:2], [""], [99], 0.5)[0].pixels
    assert (other != varied[1]).any()
    drawn = [d.pixels for d in generator.generate(tiny.PROMPTS[:3], [1, 2, 3])]
    assert all((a == b).all() for a, b in zip(first, drawn, strict=True))  # drawing from words is as it was


@pytest.mark.parametrize("name", CANNOT)
def test_what_has_no_such_pipeline_is_refused_by_its_class(name, tmp_path):
    spec = spec_of(tiny.build(name, tmp_path), name)
    with pytest.raises(ModelError, match="makes no picture from a picture"):
        DiffusersGenerator.check_varying(spec.model, spec, 0.5)


def test_the_class_is_found_by_the_class_that_draws_from_words():
    assert variation_class("StableDiffusionXLPipeline").__name__ == "StableDiffusionXLImg2ImgPipeline"
