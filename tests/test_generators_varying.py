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


def spec_of(path: Path, name: str, dtype: str = "float32") -> ModelSpec:
    given = {"guidance": 4.0, **tiny.SETTINGS.get(name, {}), "steps": 4, "dtype": dtype}
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


def dtypes(generator: DiffusersGenerator) -> dict[str, torch.dtype]:
    parts = {name: part for name, part in generator.pipe.components.items() if isinstance(part, torch.nn.Module)}
    return {f"{name}.{key}": w.dtype for name, part in parts.items() for key, w in part.state_dict().items()}


@pytest.mark.parametrize("name", CAN)
def test_varying_leaves_every_weight_in_its_own_precision(name, tmp_path):
    torch.set_num_threads(1)
    generator = load_generator(spec_of(tiny.build(name, tmp_path), name, "bfloat16"), "cpu")
    before, first = dtypes(generator), [d.pixels for d in generator.generate(tiny.PROMPTS[:2], [1, 2])]
    assert torch.bfloat16 in before.values()
    generator.vary(first, ["", ""], [4, 5], 0.5)
    assert dtypes(generator) == before
    again = [d.pixels for d in generator.generate(tiny.PROMPTS[:2], [1, 2])]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_an_autoencoder_in_single_precision_stays_so_beside_a_network_in_half(tmp_path):
    torch.set_num_threads(1)
    generator = load_generator(spec_of(tiny.build("sdxl", tmp_path), "sdxl", "bfloat16"), "cpu")
    vae = generator.pipe.vae.to(torch.float32)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(1e-6)  # what bfloat16 has no room for
    values = {key: weight.clone() for key, weight in vae.state_dict().items()}
    before = dtypes(generator)
    generator.vary([np.full((32, 32, 3), 90, np.uint8)], [""], [4], 0.5)
    assert dtypes(generator) == before
    assert all(torch.equal(weight, values[key]) for key, weight in vae.state_dict().items())


@pytest.mark.parametrize("name", CANNOT)
def test_what_has_no_such_pipeline_is_refused_by_its_class(name, tmp_path):
    spec = spec_of(tiny.build(name, tmp_path), name)
    with pytest.raises(ModelError, match="makes no picture from a picture"):
        DiffusersGenerator.check_varying(spec.model, spec, 0.5)


def test_the_class_is_found_by_the_class_that_draws_from_words():
    assert variation_class("StableDiffusionXLPipeline").__name__ == "StableDiffusionXLImg2ImgPipeline"
