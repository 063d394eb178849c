"""`variant`: which of several copies of a pipeline's weights is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from loopsim.errors import ExperimentError, ModelError
from loopsim.experiment import parse_experiment
from loopsim.models import check_model, load_generator
from loopsim.runner import ModelPool
from tests import tiny_generators as tiny
from tests.test_generators import spec_for, tiny_dir
from tests.test_generators_pinned import Put, put, two_stages

__all__ = ["put", "tiny_dir"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")


def with_copy(folder: Path, target: Path, *parts: str) -> Path:
    """A copy of a pipeline with other weights in half precision beside those of some parts."""
    shutil.copytree(folder, target)
    for part in parts:
        (plain,) = (target / part).glob("*.safetensors")
        weights = {key: (value * -1.5).half() for key, value in load_file(plain).items()}
        save_file(weights, plain.with_name(f"{plain.stem}.fp16.safetensors"), {"format": "pt"})
    return target


def drawn(folder: object, name: str = "sd", **settings: object) -> np.ndarray:
    torch.set_num_threads(1)
    model = load_generator(spec_for(folder, name, **settings), "cpu")
    return model.generate(tiny.PROMPTS[:1], [1])[0].pixels


def test_the_copy_is_read_where_there_is_one(tiny_dir, tmp_path):
    plain = drawn(tiny_dir("sd"))
    folder = with_copy(tiny_dir("sd"), tmp_path / "both", "unet")
    assert (drawn(folder) == plain).all()
    assert (drawn(folder, variant="native") == plain).all()
    half = drawn(folder, variant="fp16")
    assert (half != plain).any()
    # The same as the plain weights of a pipeline that has only them.
    (copy,) = (folder / "unet").glob("*.fp16.safetensors")
    copy.replace(folder / "unet" / copy.name.replace(".fp16", ""))
    assert (drawn(folder) == half).all()


def test_it_is_in_what_was_pinned_and_computes_in_the_dtype_that_is_asked_for(tiny_dir, tmp_path):
    folder = with_copy(tiny_dir("sd"), tmp_path / "both", "unet", "vae", "text_encoder")
    said = load_generator(spec_for(folder, "sd", variant="fp16"), "cpu").describe_settings()
    assert (said["variant"], said["dtype"]) == ("fp16", "float32")
    assert "variant" not in load_generator(spec_for(folder, "sd"), "cpu").describe_settings()


def test_a_variant_that_is_not_there_is_refused_with_those_that_are(tiny_dir, tmp_path):
    folder = with_copy(tiny_dir("sd"), tmp_path / "both", "unet")
    with pytest.raises(ModelError, match=r"no weights of variant 'bf16'; it has fp16\. Write variant: native"):
        check_model(spec_for(folder, "sd", variant="bf16"))
    with pytest.raises(ModelError, match="it has none but the plain ones"):
        check_model(spec_for(tiny_dir("sd"), "sd", variant="fp16"))
    with pytest.raises(ModelError, match="variant"):
        check_model(spec_for(tiny_dir("janus"), "janus", variant="fp16"))


def test_on_the_hub_too_offline(tiny_dir, tmp_path, put: Put):
    put("owner/sd", with_copy(tiny_dir("sd"), tmp_path / "both", "unet"), "a" * 40)
    assert (drawn("owner/sd", variant="fp16") == drawn(tmp_path / "both", variant="fp16")).all()
    assert (drawn("owner/sd") == drawn(tiny_dir("sd"))).all()


def test_of_a_prior_and_a_refiner(tiny_dir, tmp_path, put: Put):
    decoder, prior = two_stages(tiny_dir, "cascade", tmp_path)
    put("owner/decoder", with_copy(decoder, tmp_path / "d", "decoder"), "a" * 40)
    put("owner/prior", with_copy(prior, tmp_path / "p", "prior"), "b" * 40)
    assert (drawn("owner/decoder", "cascade", variant="fp16") != drawn("owner/decoder", "cascade")).any()
    base = with_copy(tiny_dir("sdxl"), tmp_path / "base", "vae")
    refiner = with_copy(tiny_dir("sdxl-refiner"), tmp_path / "refiner", "unet")
    spec = spec_for(base, "sdxl", refiner=str(refiner), refiner_start=0.5, variant="fp16")
    model = load_generator(spec, "cpu")
    assert isinstance(model.refiner, diffusers.DiffusionPipeline)
    (copy,) = (refiner / "unet").glob("*.fp16.safetensors")
    name, value = next(iter(load_file(copy).items()))
    assert (model.refiner.unet.state_dict()[name] == value.float()).all()


def test_two_variants_are_two_models_in_memory(tiny_dir, tmp_path):
    folder = with_copy(tiny_dir("sd"), tmp_path / "both", "unet")
    pool = ModelPool("cpu")
    first = pool.generator(spec_for(folder, "sd"))
    assert pool.generator(spec_for(folder, "sd", variant="fp16")) is not first
    assert pool.generator(spec_for(folder, "sd")) is first


@pytest.mark.parametrize("wrong", ["fp16/../x", "", "*", 16])
def test_what_is_no_name_of_a_variant_is_refused(wrong: object):
    raw = {"name": "try", "iterations": 1, "starts": ["a"], "captioner": "mock"}
    with pytest.raises(ExperimentError, match=r"generator\.variant"):
        parse_experiment(raw | {"generator": {"model": "sdxl", "variant": wrong}})
