"""What is said of captioners and embedders by name, against what their cards say; and judges that are in the chain."""

from __future__ import annotations

import re

import pytest

from loopsim.catalog import find
from loopsim.experiment import parse_experiment
from loopsim.presets import encoders
from loopsim.presets.captioners import CAPTIONERS
from loopsim.presets.embedders import DEFAULT_JUDGE, EMBEDDERS
from loopsim.presets.entry import OPEN_CLIP, SENTENCE, TRANSFORMERS, TRANSFORMERS_EMBEDDER, of_postcards
from loopsim.runner import notices

# Name: hub id, family, licence, parameters in 10⁹, whether the hub asks for terms.
CAPTIONER_CARDS = {
    "blip-base": ("Salesforce/blip-image-captioning-base", "BLIP", "BSD 3-Clause", 0.247, False),
    "blip-large": ("Salesforce/blip-image-captioning-large", "BLIP", "BSD 3-Clause", 0.47, False),
    "blip2-opt-2.7b": ("Salesforce/blip2-opt-2.7b", "BLIP-2", "MIT", 3.74, False),
    "blip2-flan-t5-xl": ("Salesforce/blip2-flan-t5-xl", "BLIP-2", "MIT", 3.94, False),
    "instructblip-flan-t5-xl": ("Salesforce/instructblip-flan-t5-xl", "InstructBLIP", "MIT", 4.02, False),
    "instructblip-vicuna-7b": (
        "Salesforce/instructblip-vicuna-7b",
        "InstructBLIP",
        "non-commercial (Vicuna, LLaMA)",
        7.91,
        False,
    ),
    "git-base-coco": ("microsoft/git-base-coco", "GIT", "MIT", 0.177, False),
    "git-large-coco": ("microsoft/git-large-coco", "GIT", "MIT", 0.394, False),
    "kosmos-2": ("microsoft/kosmos-2-patch14-224", "Kosmos-2", "MIT", 1.66, False),
    "florence-2-base": ("florence-community/Florence-2-base", "Florence-2", "MIT", 0.23, False),
    "florence-2-large": ("florence-community/Florence-2-large", "Florence-2", "MIT", 0.77, False),
    "paligemma-3b": ("google/paligemma-3b-mix-448", "PaliGemma", "Gemma", 2.92, True),
    "llava-1.5-7b": ("llava-hf/llava-1.5-7b-hf", "LLaVA", "Llama 2 Community", 7.06, False),
    "llava-1.5-13b": ("llava-hf/llava-1.5-13b-hf", "LLaVA", "Llama 2 Community", 13.35, False),
    "llava-1.6-mistral-7b": ("llava-hf/llava-v1.6-mistral-7b-hf", "LLaVA-NeXT", "Apache 2.0", 7.57, False),
    "llava-onevision-0.5b": ("llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "LLaVA-OneVision", "Apache 2.0", 0.89, False),
    "llava-onevision-7b": ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "LLaVA-OneVision", "Apache 2.0", 8.03, False),
    "qwen2-vl-2b": ("Qwen/Qwen2-VL-2B-Instruct", "Qwen2-VL", "Apache 2.0", 2.21, False),
    "qwen2-vl-7b": ("Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL", "Apache 2.0", 8.29, False),
    "qwen2.5-vl-3b": ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL", "Qwen Research", 3.75, False),
    "qwen2.5-vl-7b": ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL", "Apache 2.0", 8.29, False),
    "qwen3-vl-2b": ("Qwen/Qwen3-VL-2B-Instruct", "Qwen3-VL", "Apache 2.0", 2.13, False),
    "qwen3-vl-4b": ("Qwen/Qwen3-VL-4B-Instruct", "Qwen3-VL", "Apache 2.0", 4.44, False),
    "qwen3-vl-8b": ("Qwen/Qwen3-VL-8B-Instruct", "Qwen3-VL", "Apache 2.0", 8.77, False),
    "idefics3-8b": ("HuggingFaceM4/Idefics3-8B-Llama3", "Idefics3", "Apache 2.0", 8.46, False),
    "smolvlm-256m": ("HuggingFaceTB/SmolVLM-256M-Instruct", "SmolVLM", "Apache 2.0", 0.256, False),
    "smolvlm-2.2b": ("HuggingFaceTB/SmolVLM-Instruct", "SmolVLM", "Apache 2.0", 2.25, False),
    "gemma-3-4b": ("google/gemma-3-4b-it", "Gemma 3", "Gemma", 4.3, True),
    "gemma-3-12b": ("google/gemma-3-12b-it", "Gemma 3", "Gemma", 12.2, True),
    "gemma-4-e2b": ("google/gemma-4-E2B-it", "Gemma 4", "Apache 2.0", 5.55, False),
    "internvl3-1b": ("OpenGVLab/InternVL3-1B-hf", "InternVL", "Qwen", 0.94, False),
    "internvl3-8b": ("OpenGVLab/InternVL3-8B-hf", "InternVL", "Qwen", 7.94, False),
    "pixtral-12b": ("mistral-community/pixtral-12b", "Pixtral", "Apache 2.0", 12.68, False),
    "mistral-small-3.1-24b": ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", "Mistral 3", "Apache 2.0", 24.0, False),
}

# Parameters of both towers in 10⁶; those of transformers and sentence-transformers were counted on networks built from
# the cards' configurations, with no weights.
EMBEDDER_MILLIONS = {
    "clip-vit-b-32": 151.3, "clip-vit-l-14": 427.6, "clip-openai-l-14": 427.6, "siglip-so400m": 878,
    "siglip2-b-16": 375, "siglip2-so400m": 1136, "dinov2-b": 86.6, "dinov2-l": 304.4, "dinov3-b": 85.7,
    "all-mpnet-base-v2": 109.5, "all-minilm-l6-v2": 22.7,
}  # fmt: skip

# Name: adapter, location, family, licence, tokens read, whether the hub asks for terms.
EMBEDDER_CARDS = {
    "clip-vit-b-32": (OPEN_CLIP, "ViT-B-32/laion2b_s34b_b79k", "CLIP", "MIT", 77, False),
    "clip-vit-l-14": (OPEN_CLIP, "ViT-L-14/datacomp_xl_s13b_b90k", "CLIP", "MIT", 77, False),
    "clip-openai-l-14": (OPEN_CLIP, "ViT-L-14/openai", "CLIP", "MIT", 77, False),
    "siglip-so400m": (TRANSFORMERS_EMBEDDER, "google/siglip-so400m-patch14-384", "SigLIP", "Apache 2.0", 64, False),
    "siglip2-b-16": (TRANSFORMERS_EMBEDDER, "google/siglip2-base-patch16-224", "SigLIP 2", "Apache 2.0", 64, False),
    "siglip2-so400m": (TRANSFORMERS_EMBEDDER, "google/siglip2-so400m-patch14-384", "SigLIP 2", "Apache 2.0", 64, False),
    "dinov2-b": (TRANSFORMERS_EMBEDDER, "facebook/dinov2-base", "DINOv2", "Apache 2.0", None, False),
    "dinov2-l": (TRANSFORMERS_EMBEDDER, "facebook/dinov2-large", "DINOv2", "Apache 2.0", None, False),
    "dinov3-b": (
        TRANSFORMERS_EMBEDDER, "facebook/dinov3-vitb16-pretrain-lvd1689m", "DINOv3", "DINOv3", None, True,
    ),
    "all-mpnet-base-v2": (
        SENTENCE, "sentence-transformers/all-mpnet-base-v2", "sentence-transformers", "Apache 2.0", 384, False,
    ),
    "all-minilm-l6-v2": (
        SENTENCE, "sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers", "Apache 2.0", 256, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("entry", CAPTIONERS, ids=lambda e: e.name)
def test_what_is_said_of_a_captioner_is_what_its_card_says(entry):
    if entry.embedded:
        assert entry.name == "mock" or of_postcards(entry.name)
        return
    location, family, licence, billions, gated = CAPTIONER_CARDS[entry.name]
    assert (entry.adapter, entry.location, entry.family, entry.licence, entry.gated) == (
        TRANSFORMERS, location, family, licence, gated,
    )  # fmt: skip
    # Two bytes a weight, rounded up to whole or half GB.
    assert 2 * billions <= entry.vram_gb <= 2 * billions + 1.2


@pytest.mark.parametrize("entry", EMBEDDERS, ids=lambda e: e.name)
def test_what_is_said_of_an_embedder_is_what_its_card_says(entry):
    if entry.embedded:
        assert entry.name == "mock" or of_postcards(entry.name)
        return
    found = (entry.adapter, entry.location, entry.family, entry.licence, entry.token_limit, entry.gated)
    assert found == EMBEDDER_CARDS[entry.name]
    # Embedders run in float32: four bytes a weight, rounded up to a tenth of a GB.
    assert 0 <= entry.vram_gb - 4 * EMBEDDER_MILLIONS[entry.name] / 1000 < 0.101
    only_pictures, only_texts = entry.family.startswith("DINO"), entry.adapter == SENTENCE
    assert entry.reads == {"image"} - ({"image"} if only_texts else set()) | ({"text"} if not only_pictures else set())


def test_no_card_is_of_a_model_that_is_not_there():
    assert set(CAPTIONER_CARDS) <= {entry.name for entry in CAPTIONERS}
    assert set(EMBEDDER_CARDS) <= {entry.name for entry in EMBEDDERS}


def test_a_captioner_called_by_its_hub_id_keeps_its_defaults():
    assert find("captioner", "llava-hf/llava-1.5-7b-hf").defaults == {"max_new_tokens": 96}


# ---- judges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "name", "inside"),
    [
        ("generator", "sd-1.5", (encoders.CLIP_L,)),
        ("generator", "lcm-dreamshaper", (encoders.CLIP_L,)),
        ("generator", "sd-2.1", (encoders.OPEN_CLIP_H,)),
        ("generator", "sd-turbo", (encoders.OPEN_CLIP_H,)),
        ("generator", "sdxl", (encoders.CLIP_L, encoders.OPEN_CLIP_G)),
        ("generator", "sdxl-turbo", (encoders.CLIP_L, encoders.OPEN_CLIP_G)),
        ("generator", "sd-3.5-medium", (encoders.CLIP_L, encoders.OPEN_CLIP_G)),
        ("generator", "flux1-dev", (encoders.CLIP_L,)),
        ("generator", "kandinsky-2.2", (encoders.OPEN_CLIP_G,)),
        ("generator", "stable-cascade", (encoders.OPEN_CLIP_G,)),
        ("generator", "qwen-image", ()),
        ("generator", "postcards", ()),
        ("captioner", "llava-1.5-7b", (encoders.CLIP_L,)),
        ("captioner", "llava-1.6-mistral-7b", (encoders.CLIP_L,)),
        ("captioner", "kosmos-2", (encoders.CLIP_L,)),
        ("captioner", "git-large-coco", (encoders.CLIP_L,)),
        ("captioner", "git-base-coco", (encoders.CLIP_B16,)),
        ("captioner", "blip2-opt-2.7b", (encoders.EVA_G,)),
        ("captioner", "instructblip-vicuna-7b", (encoders.EVA_G,)),
        ("captioner", "llava-onevision-7b", (encoders.SIGLIP,)),
        ("captioner", "paligemma-3b", (encoders.SIGLIP,)),
        ("captioner", "gemma-3-4b", (encoders.SIGLIP,)),
        ("captioner", "idefics3-8b", (encoders.SIGLIP,)),
        ("captioner", "smolvlm-2.2b", (encoders.SIGLIP,)),
        ("captioner", "smolvlm-256m", (encoders.SIGLIP_B,)),
        ("captioner", "qwen3-vl-4b", (encoders.SIGLIP2_L,)),
        ("captioner", "qwen3-vl-8b", (encoders.SIGLIP2,)),
        ("captioner", "blip-large", ()),
        ("captioner", "qwen2.5-vl-7b", ()),
        ("captioner", "internvl3-8b", ()),
    ],
)
def test_the_encoders_inside_a_model(role, name, inside):
    assert encoders.encoders_in(find(role, name).location) == inside


@pytest.mark.parametrize(
    ("location", "encoder"),
    [
        ("ViT-L-14/openai", encoders.CLIP_L),
        ("ViT-L-14-336/openai", encoders.CLIP_L),
        ("openai/clip-vit-large-patch14-336", encoders.CLIP_L),
        ("ViT-B-16/openai", encoders.CLIP_B16),
        ("ViT-H-14/laion2b_s32b_b79k", encoders.OPEN_CLIP_H),
        ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", encoders.OPEN_CLIP_H),
        ("ViT-bigG-14/laion2b_s39b_b160k", encoders.OPEN_CLIP_G),
        ("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", encoders.OPEN_CLIP_G),
        ("EVA01-g-14/laion400m_s11b_b41k", encoders.EVA_G),
        ("google/siglip-so400m-patch14-384", encoders.SIGLIP),
        ("ViT-SO400M-14-SigLIP-384/webli", encoders.SIGLIP),
        ("google/siglip2-so400m-patch14-384", encoders.SIGLIP2),
        ("ViT-SO400M-16-SigLIP2-384/webli", encoders.SIGLIP2),
        ("google/siglip2-large-patch16-384", encoders.SIGLIP2_L),
        ("google/siglip-base-patch16-224", encoders.SIGLIP_B),
        ("ViT-B-32/laion2b_s34b_b79k", None),
        ("ViT-L-14/datacomp_xl_s13b_b90k", None),
        ("google/siglip2-base-patch16-224", None),
        ("facebook/dinov2-base", None),
    ],
)
def test_the_encoder_that_an_embedder_is(location, encoder):
    assert encoders.encoder_of(location) == encoder


def test_every_pattern_is_met_by_a_test_above():
    rows = globals()["test_the_encoders_inside_a_model"].pytestmark[0].args[1]
    locations = [find(role, name).location.lower() for role, name, _ in rows]
    assert all(any(re.search(pattern, one) for one in locations) for pattern, _ in encoders.CONTAINED)


def judged(planned, **keys):
    return [line for line in notices(planned(**keys)) if "no judge apart" in line]


def test_an_embedder_that_is_part_of_the_chain_is_said_to_be(planned):
    (line,) = judged(planned, generator="sdxl", captioner="qwen2.5-vl-7b", embedders=["clip-openai-l-14"])
    assert line.startswith("the embedder clip-openai-l-14 is no judge apart: sdxl has OpenAI's CLIP ViT-L/14 inside")
    assert f"set embedders: {DEFAULT_JUDGE}" in line
    assert len(judged(planned, generator="sdxl", captioner="llava-1.5-7b", embedders=["clip-openai-l-14"])) == 2


def test_an_embedder_that_is_in_no_model_of_the_chain_needs_no_word(planned):
    for embedder in ("siglip2-b-16", "dinov2-b", "mock"):
        assert not judged(planned, generator="sdxl", captioner="llava-1.5-7b", embedders=[embedder])
    assert not judged(planned, embedders="mock")
    assert not judged(planned, generator="postcards", captioner="postcards", embedders="postcards")


@pytest.mark.parametrize(
    ("generator", "captioner", "judge"),
    [
        ("sdxl", "llava-1.5-7b", DEFAULT_JUDGE), ("mock", "owner/name", DEFAULT_JUDGE),
        ("postcards", "mock", "postcards"), (["mock", {"model": "postcards"}], "mock", "postcards"),
        (["mock", "sdxl"], "mock", DEFAULT_JUDGE),
    ],
)  # fmt: skip
def test_where_no_embedder_is_named_the_judge_is_apart_from_every_known_model(generator, captioner, judge):
    raw = {"name": "try", "iterations": 1, "starts": ["a boat"], "generator": generator, "captioner": captioner}
    assert parse_experiment(raw).embedders == [judge]
    assert encoders.encoder_of(find("embedder", judge).location) is None
