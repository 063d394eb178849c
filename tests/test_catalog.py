"""The models known by name: what is found, what is refused, and which settings a name stands for."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from loopsim import catalog
from loopsim.catalog import ENTRIES, find, settings_of
from loopsim.errors import ModelError
from loopsim.experiment import CaptionerSettings, GeneratorSettings
from loopsim.presets.entry import of_postcards

ROLES = ("generator", "captioner", "embedder")
SCHEMA = {"generator": GeneratorSettings, "captioner": CaptionerSettings}

# What each name stands for. A change here changes the identity of every trajectory of that model.
GENERATORS = {
    "postcards": {"steps": 5, "guidance": 2.0},
    "postcards-flat": {"steps": 5, "guidance": 2.0, "base": "postcards"},
    "mock": {"steps": 1, "guidance": 1.0},
    "sd-1.5": {"steps": 30, "guidance": 7.5, "variant": "fp16"},
    "sdxl": {"steps": 30, "guidance": 5.0, "variant": "fp16"},
    "sdxl-turbo": {"steps": 1, "guidance": 0.0, "size": "512x512", "variant": "fp16"},
    "sd-2.1": {"steps": 30, "guidance": 7.5, "variant": "fp16"},
    "sd-turbo": {"steps": 1, "guidance": 0.0, "variant": "fp16"},
    "lcm-dreamshaper": {"steps": 4, "guidance": 8.0},
    "sdxl-refined": {"refiner": "stabilityai/stable-diffusion-xl-refiner-1.0", "refiner_start": 0.8, "variant": "fp16"},
    "sdxl-lightning": {
        "steps": 4, "guidance": 0.0, "scheduler": "EulerDiscreteScheduler(timestep_spacing=trailing)",
        "loras": "ByteDance/SDXL-Lightning/sdxl_lightning_4step_lora.safetensors", "variant": "fp16",
    },
    "sdxl-lcm": {
        "steps": 4, "guidance": 1.0, "scheduler": "LCMScheduler", "loras": "latent-consistency/lcm-lora-sdxl",
        "variant": "fp16",
    },
    "sd-3": {"steps": 28, "guidance": 7.0},
    "sd-3.5-medium": {"steps": 40, "guidance": 4.5},
    "sd-3.5-large": {"steps": 28, "guidance": 3.5},
    "sd-3.5-large-turbo": {"steps": 4, "guidance": 0.0},
    "flux1-dev": {"steps": 50, "guidance": 3.5},
    "flux1-schnell": {"steps": 4, "guidance": 0.0},
    "flux2-dev": {"steps": 50, "guidance": 4.0},
    "flux2-klein-4b": {"steps": 4, "guidance": 1.0},
    "pixart-sigma": {"steps": 20, "guidance": 4.5},
    "sana-1.6b": {"steps": 20, "guidance": 4.5},
    "z-image": {"steps": 50, "guidance": 4.0},
    "z-image-turbo": {"steps": 9, "guidance": 0.0},
    "qwen-image": {"steps": 50, "guidance": 4.0, "size": "1328x1328"},
    "kandinsky-2.2": {"steps": 100, "guidance": 4.0, "size": "512x512"},
    "kandinsky-3": {"steps": 25, "guidance": 3.0, "size": "1024x1024", "variant": "fp16"},
    "wuerstchen": {"steps": 60, "guidance": 4.0, "size": "1024x1024"},
    "stable-cascade": {"steps": 20, "guidance": 4.0, "size": "1024x1024", "variant": "bf16"},
    "janus-pro-1b": {"steps": None, "scheduler": None, "guidance": 5.0, "temperature": 1.0},
    "janus-pro-7b": {"steps": None, "scheduler": None, "guidance": 5.0, "temperature": 1.0},
    "emu3": {"steps": None, "scheduler": None, "guidance": 3.0, "temperature": 1.0, "top_k": 2048},
}  # fmt: skip
CAPTIONERS = {
    **{name: {"max_new_tokens": 30} for name in ("postcards", "postcards-flat", "postcards-terse")},
    "mock": {},
    **{name: {} for name in ("blip-base", "blip-large", "blip2-opt-2.7b", "blip2-flan-t5-xl", "git-base-coco",
                             "git-large-coco", "kosmos-2", "paligemma-3b")},
    **{name: {"max_new_tokens": 128} for name in ("florence-2-base", "florence-2-large")},
    **{name: {"max_new_tokens": 96} for name in (
        "instructblip-flan-t5-xl", "instructblip-vicuna-7b", "llava-1.5-7b", "llava-1.5-13b", "llava-1.6-mistral-7b",
        "llava-onevision-0.5b", "llava-onevision-7b", "qwen2-vl-2b", "qwen2-vl-7b", "qwen2.5-vl-3b", "qwen2.5-vl-7b",
        "qwen3-vl-2b", "qwen3-vl-4b", "qwen3-vl-8b", "idefics3-8b", "smolvlm-256m", "smolvlm-2.2b", "gemma-3-4b",
        "gemma-3-12b", "gemma-4-e2b", "internvl3-1b", "internvl3-8b", "pixtral-12b", "mistral-small-3.1-24b",
    )},
}  # fmt: skip


def test_every_chain_model_is_in_the_table_above():
    assert {e.name for e in ENTRIES if e.role == "generator"} == set(GENERATORS)
    assert {e.name for e in ENTRIES if e.role == "captioner"} == set(CAPTIONERS)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_has_its_defaults(name: str):
    plain = {
        "steps": 30, "guidance": 5.0, "size": "native", "negative_prompt": "", "scheduler": "native",
        "revision": None, "dtype": "auto", "base": None, "loras": None, "refiner": None, "refiner_start": None,
        "t5": None, "style": None, "suffix": None, "expand": None, "temperature": None, "top_k": None,
        "safety_checker": None,
        "placement": None, "compile": None, "trust_remote_code": None, "allow_pickle": None, "variant": None,
    }  # fmt: skip
    assert settings_of("generator", name, {}) == plain | GENERATORS[name]


@pytest.mark.parametrize("name", CAPTIONERS)
def test_a_captioner_has_its_defaults(name: str):
    plain = {
        "instruction": None, "max_new_tokens": 64, "max_words": None, "temperature": 0.0, "top_p": 1.0, "beams": 1,
        "structured": None, "revision": None, "dtype": "auto", "trust_remote_code": None, "allow_pickle": None,
    }  # fmt: skip
    assert settings_of("captioner", name, {}) == plain | CAPTIONERS[name]


@pytest.mark.parametrize("role", ["generator", "captioner"])
def test_the_schema_and_the_defaults_have_the_same_settings(role):
    assert set(settings_of(role, "mock", {})) == set(SCHEMA[role].model_fields) - {
        "model", "batch_size", "request", "price",
    }  # fmt: skip


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.role != "embedder"], ids=lambda e: f"{e.role}-{e.name}")
def test_the_defaults_of_a_model_fit_the_schema(entry: catalog.Entry):
    assert SCHEMA[entry.role].model_validate({"model": entry.name, **settings_of(entry.role, entry.name, {})})


def test_given_settings_win_and_none_means_not_given():
    found = settings_of("generator", "postcards", {"steps": 3, "guidance": None})
    assert (found["steps"], found["guidance"], found["size"]) == (3, 2.0, "native")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.role}-{e.name}")
def test_every_entry_is_found_by_role_and_name_and_its_adapter_exists(entry: catalog.Entry):
    assert find(entry.role, entry.name) is entry
    assert entry.note
    module, _, kind = entry.adapter.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert f"class {kind}(" in Path(str(spec.origin)).read_text(encoding="utf-8")


def test_a_name_stands_for_one_model_in_a_role():
    assert len({(e.role, e.name) for e in ENTRIES}) == len(ENTRIES)


def test_what_is_shipped_or_code_needs_no_download_and_the_rest_does():
    for entry in ENTRIES:
        assert entry.embedded == (entry.name == "mock" or of_postcards(entry.name))
    assert Path(find("generator", "postcards").path()).is_absolute()
    assert find("generator", "sdxl").path() == "stabilityai/stable-diffusion-xl-base-1.0"
    assert find("generator", "mock").path() == ""


@pytest.mark.parametrize("role", ROLES)
def test_an_unknown_name_lists_the_known_ones_of_its_role(role):
    with pytest.raises(ModelError) as caught:
        find(role, "no such thing")
    message = str(caught.value)
    assert message.startswith(f"unknown {role} 'no such thing'.")
    assert ", ".join(e.name for e in ENTRIES if e.role == role) in message
    assert "'owner/name'" in message
    assert "Did you mean" not in message


def test_a_near_name_is_suggested():
    with pytest.raises(ModelError, match="Did you mean 'postcards'"):
        find("captioner", "postcard")


@pytest.mark.parametrize(
    ("role", "name", "words"),
    [
        ("captioner", "sdxl", "known as a generator (Stable Diffusion XL base 1.0, 1024 × 1024): name it under gen"),
        ("generator", "Salesforce/blip-image-captioning-large", "known as a captioner (BLIP large, short captions): n"),
        ("captioner", "ViT-B-32/laion2b_s34b_b79k", "known as an embedder (OpenCLIP ViT-B/32, LAION-2B): name it un"),
        ("embedder", "blip-large", "known as a captioner"),
    ],
)
def test_a_name_of_another_role_is_told_where_it_belongs(role, name, words):
    with pytest.raises(ModelError) as refusal:
        find(role, name)
    assert str(refusal.value).startswith(f"{role} {name!r}: this is {words}")


@pytest.mark.parametrize("role", ROLES)
def test_a_hub_id_is_taken_as_it_is(role):
    entry = find(role, "owner/name")
    assert (entry.role, entry.name, entry.path(), entry.embedded) == (role, "owner/name", "owner/name", False)


@pytest.mark.parametrize("role", ROLES)
def test_a_directory_is_taken_as_a_model_of_the_role(role, tmp_path: Path):
    (tmp_path / "open_clip_config.json").touch()
    entry = find(role, str(tmp_path))
    assert (entry.role, entry.path()) == (role, str(tmp_path))
    assert entry.adapter == find(role, "postcards").adapter


def test_a_directory_without_a_configuration_is_no_embedder(tmp_path: Path):
    with pytest.raises(ModelError, match=r"has no modules\.json, open_clip_config\.json, config\.json"):
        find("embedder", str(tmp_path))


@pytest.mark.parametrize("name", ["./nope", "../nope", "/nope/there", "~/nope-there", "~nobody-has-this-name/x"])
def test_a_path_that_is_no_directory_is_refused_as_such(name: str):
    with pytest.raises(ModelError, match="there is no such directory"):
        find("generator", name)


@pytest.mark.parametrize("name", ["", "x" * 5000, "\0"], ids=["empty", "too long", "null"])
def test_a_name_that_no_file_can_have_is_unknown(name: str):
    with pytest.raises(ModelError, match="unknown generator"):
        find("generator", name)


def test_a_name_in_the_catalog_wins_over_a_directory_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mock").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find("generator", "mock").location == ""


def test_no_default_is_nan():
    for entry in ENTRIES:
        assert not any(isinstance(v, float) and math.isnan(v) for v in entry.defaults.values())
