"""Which files of a repository count as its weights: what the libraries read, and no copies of it."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest

from loopsim.models.hub_files import Library, parts_of, wanted_of, weights_of

SDXL = [
    "README.md", "model_index.json", "sd_xl_base_1.0.safetensors", "sd_xl_base_1.0_0.9vae.safetensors",
    "scheduler/scheduler_config.json", "tokenizer/vocab.json",
    *(
        f"{part}/{stem}{ending}"
        for part, stem in (("text_encoder", "model"), ("text_encoder_2", "model"), ("unet", "diffusion_pytorch_model"),
                           ("vae", "diffusion_pytorch_model"))
        for ending in (".safetensors", ".fp16.safetensors")
    ),
    "unet/config.json", "unet/model.onnx", "unet/openvino_model.bin", "text_encoder/flax_model.msgpack",
]  # fmt: skip
INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "image_encoder": [None, None],
    "force_zeros_for_empty_prompt": True,
}
PARTS = ("text_encoder", "text_encoder_2", "unet", "vae")
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_the_parts_of_a_pipeline_are_those_with_weights():
    assert parts_of(INDEX) == PARTS
    assert parts_of(INDEX, ("text_encoder_2",)) == ("text_encoder", "unet", "vae")


def test_of_a_pipeline_each_part_is_counted_once():
    found = weights_of("diffusers", SDXL, parts=PARTS)
    assert found.files == tuple(
        f"{part}/{'model' if part.startswith('text') else 'diffusion_pytorch_model'}.safetensors" for part in PARTS
    )
    assert (found.pickled, found.lacking, found.variants, found.in_variant) == ((), (), ("fp16",), False)


def test_a_variant_is_read_where_there_is_one_and_the_plain_weights_elsewhere():
    found = weights_of("diffusers", SDXL, parts=PARTS, variant="fp16")
    assert found.in_variant
    assert all(name.endswith(".fp16.safetensors") for name in found.files)
    half = [name for name in SDXL if not name.startswith("vae/diffusion_pytorch_model.fp16")]
    found = weights_of("diffusers", half, parts=PARTS, variant="fp16")
    assert found.files[-1] == "vae/diffusion_pytorch_model.safetensors"
    assert found.in_variant
    assert not weights_of("diffusers", SDXL, parts=PARTS, variant="bf16").in_variant


@pytest.mark.parametrize(
    ("library", "names", "files"),
    [
        ("transformers", ["model.safetensors", "pytorch_model.bin", "tf_model.h5", "onnx/model.onnx",
                          "onnx/model.safetensors", "consolidated.safetensors"], ["model.safetensors"]),
        ("transformers", [*SHARDS, "pytorch_model-00001-of-00002.bin", "model.safetensors.index.json"], SHARDS),
        ("transformers", ["model.safetensors", *SHARDS], ["model.safetensors"]),
        ("open_clip", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors",
                       "pytorch_model.bin"], ["open_clip_model.safetensors"]),
        ("open_clip", ["open_clip_pytorch_model.bin", "pytorch_model.bin"], ["open_clip_pytorch_model.bin"]),
        ("sentence-transformers", ["model.safetensors", "pytorch_model.bin", "1_Pooling/config.json",
                                   "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "onnx/model.onnx",
                                   "openvino/openvino_model.bin"],
         ["2_Dense/model.safetensors", "model.safetensors"]),
    ],
)  # fmt: skip
def test_the_weights_of_a_model(library: Library, names: list[str], files: list[str]):
    found = weights_of(library, names)
    assert list(found.files) == files
    assert not found.pickled
    assert not found.lacking


def test_shards_that_are_not_all_there_are_no_weights():
    assert weights_of("transformers", SHARDS[:1]).lacking == ("",)


def test_old_names_of_shards_of_a_variant():
    names = [f"unet/diffusion_pytorch_model-0000{k}-of-00002.fp16.safetensors" for k in (1, 2)]
    assert list(weights_of("diffusers", names, parts=["unet"], variant="fp16").files) == names


def test_pickles_are_read_only_with_leave_and_only_without_safetensors():
    names = ["unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.safetensors"]
    assert weights_of("diffusers", names, parts=["unet", "vae"]).pickled == ("unet",)
    found = weights_of("diffusers", names, parts=["unet", "vae"], pickles=True)
    assert (list(found.files), found.pickled) == (names, ())
    both = ["model.safetensors", "pytorch_model.bin"]
    assert list(weights_of("transformers", both, pickles=True).files) == both[:1]


# ---- what a download command names -----------------------------------------------------------------------------------


def downloaded(names: list[str], library: Library, **more: object) -> set[str]:
    wanted = wanted_of(library, **more)  # type: ignore[arg-type]
    taken = {n for n in names if any(fnmatch.fnmatch(n, pattern) for pattern in wanted.include)}
    return {n for n in taken if not any(fnmatch.fnmatch(n, pattern) for pattern in wanted.exclude)}


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_the_patterns_of_a_pipeline_match_what_is_read_and_small_files(variant: str | None):
    read = set(weights_of("diffusers", SDXL, parts=PARTS, variant=variant).files)
    small = {"README.md", "model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json",
             "unet/config.json"}  # fmt: skip
    assert downloaded(SDXL, "diffusers", variant=variant) == read | small


def test_the_patterns_leave_out_what_is_not_loaded():
    names = [
        "safety_checker/model.safetensors",
        "safety_checker/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    assert downloaded(names, "diffusers", left_out=["safety_checker"]) == set(names[1:])


@pytest.mark.parametrize(
    ("library", "names"),
    [
        ("transformers", [*SHARDS, "pytorch_model.bin", "onnx/model.onnx"]),
        ("open_clip", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors"]),
        ("sentence-transformers", ["model.safetensors", "2_Dense/model.safetensors", "pytorch_model.bin"]),
    ],
)
def test_the_patterns_of_a_model_match_what_is_read(library: Library, names: list[str]):
    assert downloaded(names, library) == set(weights_of(library, names).files)


def test_what_is_read_is_what_diffusers_would_download():
    """Against the library's own choice, which is private and may move."""
    utils = pytest.importorskip("diffusers.pipelines.pipeline_loading_utils")
    for variant in (None, "fp16"):
        ours = {Path(n).name for n in weights_of("diffusers", SDXL, parts=PARTS, variant=variant).files}
        theirs, variant_files = utils.variant_compatible_siblings(
            SDXL, variant=variant, ignore_patterns=["*.bin", "*.onnx", "*.msgpack"]
        )
        chosen = {Path(n).name for n in theirs if "/" in n and n.endswith(".safetensors")}
        assert ours <= chosen
        assert bool(variant_files) == (variant is not None)
