"""What is refused before any weight of a generator is read, and what is only said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models import check_model, load_generator
from loopsim.models.generator_checks import check_settings, remarks
from loopsim.models.generator_files import checkpoint_of
from loopsim.models.loras import choose_lora
from loopsim.presets.generators import FEW_STEPS
from loopsim.records import ModelSpec
from loopsim.runner import run_plan
from tests import tiny_generators as tiny
from tests.test_generators import spec_for, tiny_dir
from tests.test_generators_parts import lora
from tests.test_generators_pinned import put

__all__ = ["lora", "put", "tiny_dir"]


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
    ("sd", {"t5": False}, "third text encoder of Stable Diffusion 3 is loaded, and this is Stable Diffusion, which"),
    ("flux-dev", {"t5": True}, "and this is FLUX.1, which has none; leave t5 out"),
    ("sd3-no-t5", {"t5": True}, "t5: true, but it comes without T5 (model_index.json); leave t5 out"),
    ("sd", {"revision": "main"}, "revision is a branch, tag or commit on the hub, and this is a directory; leave it"),
    ("sd", {"scheduler": "Euler"}, "scheduler 'Euler': this generator can use DDIMScheduler,"),
    ("sd", {"scheduler": "DDIMScheduler(trailing)"}, "options are written NAME(key=value, key=value)"),
    ("sd", {"scheduler": "DDIMScheduler(spacing=trailing)"}, "DDIMScheduler has no 'spacing', but num_train"),
    ("sd", {"scheduler": "DDIMScheduler(timestep_spacing=even)"}, "with steps: 2: even is not supported"),
    ("sd", {"scheduler": "LCMScheduler", "steps": 60}, "scheduler 'LCMScheduler' with steps: 60: "),
    ("sd", {"scheduler": "what is this"}, "it is written NAME, or NAME(key=value, key=value)"),
    ("flux-dev", {"scheduler": "DDIMScheduler"}, "scheduler 'DDIMScheduler': this generator can use "),
    ("cascade", {"scheduler": "DDPMWuerstchenScheduler"}, "has stages, each with a scheduler of its own; write native"),
    ("pixart", {"loras": "a/b"}, "a PixArtSigmaPipeline takes no loras; leave loras out"),
    ("sd", {"loras": "a/b/x.bin"}, "lora 'a/b' is a pickle (x.bin)"),
    ("sd", {"loras": "./gone.safetensors"}, "there is no such file; a LoRA is"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "message"), REFUSED, ids=lambda v: str(v)[:40])
def test_what_cannot_be_is_refused_before_weights_are_read(tiny_dir, unread, name, settings, message):
    for refuse in (check_model, lambda spec: load_generator(spec, "cpu")):
        with pytest.raises(ModelError) as caught:
            refuse(spec_for(tiny_dir(name), name, **settings))
        assert message in str(caught.value)
        assert str(caught.value).startswith("generator ") or "lora" in message or "LoRA" in message


@pytest.mark.parametrize("name", [*tiny.BUILDERS, *tiny.TOKEN_BUILDERS])
def test_what_can_be_passes_the_check(tiny_dir, unread, name):
    if name == "sdxl-refiner":
        with pytest.raises(ModelError, match="is no text-to-image pipeline: it needs more than a prompt"):
            check_model(spec_for(tiny_dir(name), name))
    else:
        check_model(spec_for(tiny_dir(name), name))


@pytest.mark.parametrize("name", ["sd", "sd3", "sdxl"])
def test_every_scheduler_that_the_message_names_passes_the_check(tiny_dir, name):
    with pytest.raises(ModelError) as caught:
        check_model(spec_for(tiny_dir(name), name, scheduler="none"))
    usable = str(caught.value).partition("can use ")[2].partition(";")[0].split(", ")
    assert {"LCMScheduler", "DPMSolverMultistepScheduler"} <= set(usable) or name == "sd3"
    for scheduler in usable:
        check_model(spec_for(tiny_dir(name), name, scheduler=scheduler))


def test_the_schedulers_of_presets_go_with_their_pipelines(tiny_dir):
    entries = [e for e in catalog.ENTRIES if e.role == "generator" and "scheduler" in e.defaults]
    chosen = {e.name: str(e.defaults["scheduler"]) for e in entries if e.defaults["scheduler"]}
    assert set(chosen) == {"sdxl-lightning", "sdxl-lcm"}  # both on SDXL, whose own is Euler's
    for scheduler in chosen.values():
        generator = load_generator(spec_for(tiny_dir("sdxl"), "sdxl", scheduler=scheduler, guidance=1.0), "cpu")
        assert type(generator.pipe.scheduler).__name__ == scheduler.partition("(")[0]
        assert generator.generate(tiny.PROMPTS[:2], [1, 2])[0].pixels.std() > 5


def test_a_wrong_cell_of_the_grid_is_refused_before_there_is_a_run(planned, out):
    grid = {"model": "postcards", "scheduler": ["native", "DDIMScheduler", "DDIMSchedular"]}
    with pytest.raises(ModelError, match=r"generator 'postcards': scheduler 'DDIMSchedular': this generator can use "):
        run_plan(planned(generator=grid), out)
    assert not out.exists()


def test_checking_needs_no_torch(tmp_path):
    program = (
        "import sys\nfrom loopsim import catalog, models\nfrom loopsim.records import ModelSpec\n"
        "settings = catalog.settings_of('generator', 'postcards', {})\n"
        "models.check_model(ModelSpec('generator', 'postcards', settings))\n"
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


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


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": {"model_type": "blip"}}, "a 'blip' model of transformers, which describes pictures: name it"),
        ({"config.json": {"model_type": "qwen2_vl", "vision_config": {}}}, "which describes pictures: name it"),
        ({"config.json": {"model_type": "clip"}}, "a 'clip' model of transformers, which embeds: name it"),
        ({"config.json": {"model_type": "resnet"}}, "a 'resnet' model of transformers, which draws no pictures"),
        ({"open_clip_config.json": {}}, "a model of open_clip, which embeds: name it under embedders"),
        ({"modules.json": [], "config.json": {"model_type": "bert"}}, "a model of sentence-transformers, which embeds"),
        ({"adapter_config.json": {}}, "an adapter (a LoRA): name the pipeline that it was made for as the model, and"),
        ({"scheduler_config.json": {}}, "a scheduler: name the pipeline as the model, and this one's class"),
        ({}, "it has no model_index.json"),
    ],
)  # fmt: skip
def test_another_kind_of_model_is_told_where_it_belongs(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ModelError) as caught:
        check_model(named(str(tmp_path)))
    assert message in str(caught.value)


def test_on_the_hub_too(put, tmp_path):
    for repository, name, content in (
        ("owner/captioner", "config.json", {"model_type": "blip"}),
        ("owner/unet", "config.json", {"_class_name": "UNet2DConditionModel"}),
        ("owner/janus", "config.json", {"model_type": "janus"}),
        ("owner/nothing", "notes.txt", {}),
    ):
        folder = tmp_path / repository.replace("/", "-")
        folder.mkdir()
        (folder / name).write_text(json.dumps(content))
        put(repository, folder, "a" * 40)
    for repository, message in (
        ("owner/captioner", "which describes pictures: name it as the captioner"),
        ("owner/unet", "it is one component, a UNet2DConditionModel; .*`hf download owner/unet --local-dir DIRECTORY`"),
        ("owner/janus", "it draws token by token, .*`hf download owner/janus --local-dir DIRECTORY`"),
        ("owner/nothing", r"it has no model_index\.json"),
        ("owner/gone", "owner/gone is not in the cache, and HF_HUB_OFFLINE is set.*`hf download owner/gone`"),
    ):
        with pytest.raises(ModelError, match=message):
            check_model(named(repository))


def test_a_hub_that_refuses_is_told_with_what_mends_it(monkeypatch, put, tmp_path):
    import huggingface_hub
    from huggingface_hub import errors

    from loopsim.models.hosted.client import httpx

    response = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co/owner/name"))

    def refuse(*arguments, **keywords):
        raise errors.GatedRepoError("403", response=response)

    (tmp_path / "empty").mkdir()
    put("owner/name", tmp_path / "empty", "a" * 40)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(ModelError, match=r"owner/name is gated\. Accept its terms"):
        check_model(named("owner/name"))


def test_a_hub_that_cannot_be_reached_is_tried_once(monkeypatch, put, tmp_path, tiny_dir):
    import huggingface_hub
    from huggingface_hub import constants

    asked = []

    def unreachable(self, name, **keywords):
        asked.append(name)
        raise OSError("no route")

    real = huggingface_hub.hf_hub_download

    def watched(*arguments, **keywords):
        assert keywords["local_files_only"]
        return real(*arguments, **keywords)

    put("owner/there", tiny_dir("sd"), "a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", watched)
    with pytest.raises(ModelError, match="owner/name is not in the cache, and cannot be looked up on the hub"):
        check_model(named("owner/name"))
    assert asked == ["owner/name"]
    check_model(spec_for(Path("owner/there"), "sd", size="32x32", scheduler="DDIMScheduler"))
    assert asked == ["owner/name", "owner/there"]


def test_an_empty_directory_is_no_generator(tmp_path):
    with pytest.raises(ModelError, match=r"is no text-to-image model: it has no model_index\.json"):
        load_generator(named(str(tmp_path)), "cpu")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("StableDiffusionImg2ImgPipeline", "is no text-to-image pipeline"),
        ("WanPipeline", "is no text-to-image pipeline"),
        ("StableDiffusionControlNetPipeline", "is no text-to-image pipeline: it needs more than a prompt"),
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


# ---- what is put on it ----------------------------------------------------------------------------------------------


def test_a_preset_is_no_base_if_it_is_more_than_a_pipeline(tiny_dir, tmp_path):
    shutil.copytree(tiny_dir("sdxl") / "unet", tmp_path / "mine")
    with pytest.raises(
        ModelError, match=r"base 'sdxl-lcm' is more than a pipeline.*write base: stabilityai/.*beside it"
    ):
        check_model(named(str(tmp_path / "mine"), base="sdxl-lcm", guidance=1.0))


def test_a_lora_is_no_single_file_of_weights(tiny_dir, lora, tmp_path):
    with pytest.raises(ModelError, match=r"is a LoRA, which goes on top of a model; write model: .*sd, loras: .*@1"):
        check_model(named(str(lora), base=str(tiny_dir("sd"))))
    (tmp_path / "cut.safetensors").write_bytes(lora.read_bytes()[:40])
    with pytest.raises(ModelError, match="is no safetensors file, or was cut off"):
        check_model(named(str(tmp_path / "cut.safetensors"), base=str(tiny_dir("sd"))))


def test_a_pipeline_that_takes_no_single_file_says_so(tiny_dir, tmp_path):
    tiny.save_as_single_file(tiny_dir("sd"), tmp_path / "mine.safetensors")
    with pytest.raises(ModelError, match="takes no single file of weights"):
        check_model(named(str(tmp_path / "mine.safetensors"), base=str(tiny_dir("kandinsky-3"))))


def test_a_refiner_is_a_pipeline_of_its_kind(tiny_dir, tmp_path):
    check_model(spec_for(tiny_dir("sdxl"), "sdxl", refiner=str(tiny_dir("sdxl-refiner"))))
    with pytest.raises(
        ModelError, match=r"refiner .*sd' is a StableDiffusionPipeline; Stable Diffusion XL is refined by"
    ):
        check_model(spec_for(tiny_dir("sdxl"), "sdxl", refiner=str(tiny_dir("sd"))))
    with pytest.raises(ModelError, match=r"refiner .* has no model_index\.json"):
        check_model(spec_for(tiny_dir("sdxl"), "sdxl", refiner=str(tmp_path)))


def test_a_directory_of_loras_says_which_there_are(tiny_dir, lora, tmp_path):
    for name in ("one.safetensors", "two.safetensors"):
        shutil.copy(lora, tmp_path / name)
    with pytest.raises(ModelError, match=r"holds several files: write which, .*one\.safetensors, two\.safetensors"):
        check_model(spec_for(tiny_dir("sd"), "sd", loras=str(tmp_path)))
    check_model(spec_for(tiny_dir("sd"), "sd", loras=f"{tmp_path / 'two.safetensors'}@0.5"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x.safetensors"], "x.safetensors"),
        (["README.md", "pytorch_lora_weights.safetensors", "extra.safetensors"], "pytorch_lora_weights.safetensors"),
        (["optimizer.safetensors", "x.safetensors"], "x.safetensors"),
        (["x.bin", "x.safetensors"], "x.safetensors"),
        (["a.safetensors", "b.safetensors"], None), (["README.md"], None), (["x.bin"], None),
    ],
)  # fmt: skip
def test_the_file_of_a_lora_is_found_or_asked_for(names, expected):
    if expected is None:
        with pytest.raises(ModelError, match=r"^me (holds|is a pickle)"):
            choose_lora(names, False, "me")
    else:
        assert choose_lora(names, False, "me") == expected


def test_a_component_whose_only_weights_are_pickles_is_refused_before_loading(tiny_dir, tmp_path, unread):
    shutil.copytree(tiny_dir("sd"), tmp_path / "mine")
    file = tmp_path / "mine" / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(
        ModelError, match=r"the weights of unet are pickles, which can run code.*write allow_pickle: true"
    ):
        check_model(spec_for(tmp_path / "mine", "sd"))
    check_model(spec_for(tmp_path / "mine", "sd", allow_pickle=True))


# ---- LoRAs of presets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("my/style@0.8", "latent-consistency/lcm-lora-sdxl + my/style@0.8"),
        ("my/style + my/other@-0.5", "latent-consistency/lcm-lora-sdxl + my/style + my/other@-0.5"),
        ("latent-consistency/lcm-lora-sdxl@0.7", "latent-consistency/lcm-lora-sdxl@0.7"),
        ("my/style + latent-consistency/lcm-lora-sdxl@0.7", "my/style + latent-consistency/lcm-lora-sdxl@0.7"),
    ],
)
def test_a_presets_lora_stays_beside_the_users(given, expected):
    assert named("sdxl-lcm", loras=given).settings["loras"] == expected
    check_settings(named("sdxl-lcm", loras=given))


def test_a_preset_without_a_lora_takes_the_users_alone():
    assert named("sdxl", loras="my/style@0.8").settings["loras"] == "my/style@0.8"


def test_a_distilling_lora_on_the_plain_model_takes_the_guidance_it_was_trained_with():
    lightning = "ByteDance/SDXL-Lightning/sdxl_lightning_4step_lora.safetensors"
    with pytest.raises(ModelError, match=r"guidance 5 on a distilled model, which was trained for 0 to 1"):
        check_settings(named("sdxl", loras=f"{lightning}@1 + my/style"))
    check_settings(named("sdxl", loras=f"{lightning}@1", guidance=0.0))


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
