"""What is refused before any weight of a generator is read, and what is only said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models import load_generator
from loopsim.models.generator_checks import check_settings, remarks
from loopsim.models.generator_files import checkpoint_of
from loopsim.presets.generators import FEW_STEPS
from loopsim.records import ModelSpec
from tests import tiny_generators as tiny
from tests.test_generators import spec_for, tiny_dir

__all__ = ["tiny_dir"]


def named(model: str, **settings: object) -> ModelSpec:
    return ModelSpec("generator", model, catalog.settings_of("generator", model, settings))


@pytest.fixture
def unread(monkeypatch):
    """Fails the test if weights are read."""

    def forbidden(*arguments, **keywords):
        raise AssertionError("weights were read before the settings were refused")

    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr("loopsim.models.diffusers.load_pipeline", forbidden)


REFUSED = [
    ("flux-schnell", {"guidance": 3.5}, "guidance 3.5 on a distilled model, which does not read it; write guidance: 0"),
    ("klein", {"guidance": 4.0}, "guidance 4 on a distilled model, which does not read it"),
    ("sd", {"size": "33x32"}, "size 33x32: Stable Diffusion draws multiples of 2 only; write size: 32x32"),
    ("sd3", {"size": "32x34"}, "Stable Diffusion 3 draws multiples of 4 only; write size: 32x32"),
    ("flux-dev", {"size": "30x32"}, "FLUX.1 draws multiples of 4 only; write size: 32x32"),
    ("flux2", {"size": "30x32"}, "FLUX.2 draws multiples of 4 only"),
    ("pixart", {"size": "30x32"}, "PixArt-Σ draws multiples of 4 only"),
    ("sana", {"size": "40x32"}, "Sana draws multiples of 32 only"),
    ("z-image", {"size": "30x32"}, "Z-Image draws multiples of 4 only"),
    ("qwen-image", {"size": "30x32"}, "Qwen-Image draws multiples of 4 only"),
    ("kandinsky-2", {"size": "30x32"}, "Kandinsky 2 draws multiples of 4 only"),
    ("kandinsky-3", {"size": "96x96"}, "Kandinsky 3 draws multiples of 64 only; write size: 128x128"),
    ("wuerstchen", {"size": "64x128"}, "Würstchen draws multiples of 128 only; write size: 128x128"),
    ("cascade", {"size": "64x128"}, "Stable Cascade draws multiples of 128 only"),
    ("sd", {"negative_prompt": "blur", "guidance": 1.0}, "since there is no guidance up to 1, and guidance is 1"),
    ("z-image", {"negative_prompt": "blur", "guidance": 0.0}, "no effect, since there is no guidance up to 0"),
    ("lcm", {"negative_prompt": "blur"}, "no effect, since Latent Consistency reads none; leave negative_prompt out"),
    ("flux-dev", {"negative_prompt": "blur"}, "no effect, since FLUX.1 reads none"),
    ("flux2", {"negative_prompt": "blur"}, "no effect, since FLUX.2 reads none"),
    ("klein", {"negative_prompt": "blur"}, "no effect, since FLUX.2 klein reads none"),
    ("sd", {"style": "baroque"}, "style 'baroque' is unknown; there are 3d-render, anime"),
    ("sd", {"refiner": "a/b"}, "a refiner goes on after Stable Diffusion XL only, and this is Stable Diffusion"),
    ("sdxl", {"refiner_start": 0.5}, "there is none; set refiner too"),
    ("sd", {"temperature": 0.5}, "temperature is for generators that draw token by token"),
    ("sd", {"top_k": 5}, "top_k is for generators that draw token by token"),
    ("sd", {"base": "sdxl"}, "is a whole pipeline, and takes no base"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "message"), REFUSED, ids=lambda v: str(v)[:40])
def test_what_cannot_be_is_refused_before_weights_are_read(tiny_dir, unread, name, settings, message):
    with pytest.raises(ModelError) as caught:
        load_generator(spec_for(tiny_dir(name), name, **settings), "cpu")
    assert message in str(caught.value)
    assert str(caught.value).startswith("generator ")


def test_the_units_of_the_published_models_follow_from_their_configurations(tmp_path):
    from loopsim.models.generator_checks import size_unit
    from loopsim.models.generator_files import Checkpoint
    from loopsim.presets.pipelines import PIPELINES

    kl = {"block_out_channels": [128, 256, 512, 512]}
    configs = {
        "StableDiffusionPipeline": ("vae", kl, 8),
        "StableDiffusion3Pipeline": ("vae", kl, 16),
        "FluxPipeline": ("vae", kl, 16),
        "ZImagePipeline": ("vae", kl, 16),
        "PixArtSigmaPipeline": ("vae", kl, 16),
        "SanaPipeline": ("vae", {"encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024]}, 32),
        "QwenImagePipeline": ("vae", {"temperal_downsample": [False, True, True], "dim_mult": [1, 2, 4, 4]}, 16),
        "KandinskyV22CombinedPipeline": ("movq", kl, 64),
    }
    for name, (part, config, unit) in configs.items():
        (tmp_path / name / part).mkdir(parents=True)
        (tmp_path / name / part / "config.json").write_text(json.dumps(config))
        assert size_unit(PIPELINES[name], Checkpoint(str(tmp_path / name))) == unit, name


@pytest.mark.parametrize("name", ["flux-schnell", "klein"])
@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_a_distilled_model_takes_no_guidance_either_way_it_is_written(tiny_dir, name, guidance):
    load_generator(spec_for(tiny_dir(name), name, guidance=guidance), "cpu")


def test_schnell_is_read_from_its_configuration_and_gets_the_shorter_text(tiny_dir):
    assert load_generator(spec_for(tiny_dir("flux-schnell"), "flux-schnell"), "cpu").pinned == {
        "max_sequence_length": 256
    }
    assert load_generator(spec_for(tiny_dir("flux-dev"), "flux-dev"), "cpu").pinned == {"max_sequence_length": 512}


@pytest.mark.parametrize(
    ("model", "wrong", "right"),
    [
        ("sdxl-turbo", 5.0, 0.0), ("sd-turbo", 7.5, 1.0), ("sdxl-lightning", 5.0, 0.0), ("sdxl-lcm", 7.0, 1.5),
        ("lcm-dreamshaper", 1.0, 8.0), ("sd-3.5-large-turbo", 4.5, 0.0), ("flux1-schnell", 3.5, 0.0),
        ("flux2-klein-4b", 4.0, 1.0), ("z-image-turbo", 1.0, 0.0), ("stabilityai/sdxl-turbo", 5.0, 0.0),
    ],
)  # fmt: skip
def test_a_known_few_step_model_takes_the_guidance_it_was_trained_with(model, wrong, right):
    with pytest.raises(ModelError, match=r"on a distilled model, which was trained for .* or leave guidance out"):
        check_settings(named(model, guidance=wrong))
    check_settings(named(model, guidance=right))
    check_settings(named(model))


def test_every_few_step_model_is_tried_above():
    marks = test_a_known_few_step_model_takes_the_guidance_it_was_trained_with.pytestmark
    assert {row[0] for row in marks[0].args[1]} >= set(FEW_STEPS)


def test_steps_0_is_refused_by_the_experiment_file():
    from loopsim.errors import ExperimentError
    from loopsim.experiment import parse_experiment

    raw = {
        "name": "t",
        "iterations": 1,
        "starts": ["a b"],
        "captioner": "mock",
        "generator": {"model": "sd-1.5", "steps": 0},
    }
    with pytest.raises(ExperimentError, match=r"generator\.steps: .*greater than or equal to 1"):
        parse_experiment(raw)


# ---- no generator ----------------------------------------------------------------------------------------------------


def test_a_text_model_is_no_generator(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match=r"is no text-to-image model: it is a 'llama' model of transformers"):
        load_generator(named(str(tmp_path)), "cpu")


def test_an_empty_directory_is_no_generator(tmp_path):
    with pytest.raises(ModelError, match=r"is no text-to-image model: it has no model_index\.json"):
        load_generator(named(str(tmp_path)), "cpu")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("StableDiffusionImg2ImgPipeline", "is no text-to-image pipeline"),
        ("WanPipeline", "is no text-to-image pipeline"),
        ("UnconditionalPipeline", "which diffusers .* does not have: install a newer diffusers"),
        ("DDPMPipeline", "is no text-to-image pipeline: it takes no prompt"),
    ],
)
def test_another_kind_of_pipeline_is_refused_by_its_class(tmp_path, unread_index, kind, message):
    unread_index(kind)
    with pytest.raises(ModelError, match=message):
        load_generator(named(str(tmp_path)), "cpu")


@pytest.fixture
def unread_index(tmp_path):
    def write(kind: str) -> None:
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind, "_diffusers_version": "0.42.0"}))

    return write


def test_a_broken_index_is_told_by_its_name(tmp_path):
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(ModelError, match=r"model_index\.json cannot be read"):
        load_generator(named(str(tmp_path)), "cpu")


def test_a_file_of_weights_needs_a_base(tmp_path):
    (tmp_path / "mine.safetensors").touch()
    with pytest.raises(ModelError, match=r"is a single file, not a pipeline: .* such as base: sdxl"):
        load_generator(named(str(tmp_path / "mine.safetensors")), "cpu")


def test_one_component_needs_a_base_that_has_it(tiny_dir, tmp_path):
    shutil.copytree(tiny_dir("flux-dev") / "transformer", tmp_path / "mine")
    with pytest.raises(ModelError, match="is one component, not a pipeline"):
        load_generator(named(str(tmp_path / "mine")), "cpu")
    with pytest.raises(ModelError, match=r"is a FluxTransformer2DModel, and its base .* has no such part"):
        load_generator(named(str(tmp_path / "mine"), base=str(tiny_dir("sd"))), "cpu")


def test_a_checkpoint_that_is_a_pickle_is_refused_unread(tiny_dir, tmp_path):
    (tmp_path / "mine.ckpt").touch()
    with pytest.raises(ModelError, match=r"is a pickle, which can run any program .* allow_pickle: true"):
        load_generator(named(str(tmp_path / "mine.ckpt"), base=str(tiny_dir("sd"))), "cpu")


def test_code_that_a_repository_brings_is_not_run(tiny_dir, tmp_path):
    shutil.copytree(tiny_dir("sd"), tmp_path / "mine")
    index = tmp_path / "mine" / "model_index.json"
    tiny.edit(index, unet=["own_unet", "UNet2DConditionModel"])
    (tmp_path / "mine" / "unet" / "own_unet.py").write_text("raise SystemExit('the code was run')")
    with pytest.raises(
        ModelError,
        match=r"brings code of its own \(unet/own_unet\.py\), which would run here: .* write trust_remote_code: true",
    ):
        load_generator(named(str(tmp_path / "mine"), guidance=1.0), "cpu")


# ---- only said -------------------------------------------------------------------------------------------------------


def said(spec: ModelSpec, path: Path) -> str:
    return "\n".join(remarks(spec, checkpoint_of(str(path), spec)))


def test_more_steps_than_a_distilled_model_knows_are_remarked_upon(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    assert "30 steps for a model distilled to at most 4: more do not help" in said(
        named("sdxl-turbo", steps=30), tmp_path
    )
    assert said(named("sdxl-turbo"), tmp_path) == ""


def test_a_style_whose_negative_part_goes_unheard_is_remarked_upon(tiny_dir):
    path = tiny_dir("flux-dev")
    line = said(spec_for(path, "flux-dev", style="anime"), path)
    assert "the negative part of style anime has no effect, since FLUX.1 reads none" in line
    assert said(spec_for(tiny_dir("sd"), "sd", style="anime"), tiny_dir("sd")) == ""


def test_a_checker_that_is_asked_for_and_not_there_is_remarked_upon(tiny_dir):
    path = tiny_dir("sdxl")
    assert "it comes with no safety checker" in said(spec_for(path, "sdxl", safety_checker=True), path)


def test_a_pipeline_that_is_not_in_the_table_is_driven_by_its_signature(tmp_path):
    import diffusers

    from loopsim.models.generator_classes import by_signature

    (tmp_path / "model_index.json").write_text('{"_class_name": "AuraFlowPipeline"}')
    assert "AuraFlowPipeline is not in loopsim's table of pipelines" in said(named(str(tmp_path)), tmp_path)
    row = by_signature(diffusers.AuraFlowPipeline)
    assert (row.guidance, row.negative, row.steps) == ("guidance_scale", True, "num_inference_steps")
    assert by_signature(diffusers.HunyuanImagePipeline).guidance == "distilled_guidance_scale"
