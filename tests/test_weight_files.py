"""Weights that are not there, or not whole: told by name and header before anything is made, for every library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models import check_embedder, check_model, load_captioner, load_embedder
from loopsim.models.hub_files import Library, weights_of
from loopsim.models.weight_files import check_weights, read_header
from loopsim.records import ModelSpec, Role, Setting
from tests import tiny_captioners, tiny_embedders, tiny_generators

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
SINGLE = "model.safetensors"


def spec_of(role: Role, model: str, **settings: Setting) -> ModelSpec:
    return ModelSpec(role, model, catalog.settings_of(role, model, settings), 1)


def weights(path: Path, **more: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"a.weight": np.ones((4, 4), np.float32), **more}, path)
    return path


def cut(path: Path, left: int | None = None) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: left if left is not None else len(content) - 1])


def remove(path: Path) -> None:
    path.unlink()


def point(path: Path) -> None:
    path.write_text(POINTER)


HARM: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (cut, r"was cut off after [\d,]+ of its [\d,]+ bytes: fetch it again"),
    "removed": (remove, "there are no weights"),
    "a pointer": (point, "is a pointer of git-lfs and not the weights: run `git lfs pull`"),
}


# ---- one file --------------------------------------------------------------------------------------------------------


def test_the_header_names_the_tensors_of_a_whole_file(tmp_path: Path):
    path = weights(tmp_path / "x.safetensors", b=np.zeros(3, np.float16))
    assert set(read_header("lora", "x", path)) == {"a.weight", "b"}


@pytest.mark.parametrize("left", [0, 3, 8, 30])
def test_a_header_that_is_not_whole_is_none(left: int, tmp_path: Path):
    path = weights(tmp_path / "x.safetensors")
    cut(path, left)
    with pytest.raises(ModelError, match=r"lora 'mine': x.safetensors is no safetensors file, or was cut off"):
        read_header("lora", "mine", path)


def test_one_byte_less_is_noticed_and_both_sizes_are_said(tmp_path: Path):
    path = weights(tmp_path / "unet" / "x.safetensors")
    size = path.stat().st_size
    cut(path)
    with pytest.raises(ModelError, match=rf"unet/x.safetensors was cut off after {size - 1:,} of its {size:,} bytes"):
        read_header("generator", "mine", path)


def test_another_file_is_no_safetensors(tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes(b"\x00" * 8 + b"[1, 2]")
    with pytest.raises(ModelError, match="is no safetensors file"):
        read_header("lora", "mine", tmp_path / "x.safetensors")


# ---- a directory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "parts", "library", "words"),
    [
        (["config.json"], (), "transformers", "there are no weights that transformers reads, which are model.safet"),
        (["model-00001-of-00002.safetensors"], (), "transformers", "only some of the shards are there (model-00001-of"),
        (["pytorch_model.bin"], (), "transformers", "pickles (pytorch_model.bin), which can run code"),
        (["unet/config.json"], ("unet",), "diffusers", "no weights of unet that diffusers reads, which are unet/diff"),
        (["unet/diffusion_pytorch_model.bin"], ("unet",), "diffusers", "the weights of unet are pickles"),
        (["modules.json"], (), "sentence-transformers", "there are no weights that sentence-transformers reads"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(
    names: list[str], parts: tuple[str, ...], library: Library, words: str, tmp_path: Path
):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ModelError) as refusal:
        check_weights("generator", "./mine", tmp_path, library, parts=parts)
    assert words in str(refusal.value)
    assert str(refusal.value).startswith("generator './mine': ")


def test_weights_in_folders_are_enough_for_a_sentence_model(tmp_path: Path):
    weights(tmp_path / "0_StaticEmbedding" / SINGLE)
    check_weights("embedder", "./mine", tmp_path, "sentence-transformers")


def test_a_network_that_comes_from_elsewhere_may_lack(tmp_path: Path):
    weights(tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    check_weights("base", "./mine", tmp_path, "diffusers", parts=("vae", "unet"), filled=("unet",))


def test_shards_may_be_called_anything_where_an_index_names_them():
    odd = "model.safetensors-00001-of-00001.safetensors"
    assert weights_of("transformers", [odd, "model.safetensors.index.json"]).files == (odd,)
    assert weights_of("transformers", [odd]).lacking == ("",)


# ---- through the adapters --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small model of each library."""
    folder = tmp_path_factory.mktemp("made")
    tiny_captioners.build("blip", folder / "captioner")
    tiny_embedders.build("dinov2", folder / "transformers")
    tiny_embedders.build("clip", folder / "clip")
    tiny_embedders.build_open_clip(folder / "open_clip")
    tiny_generators.build("sd", folder)
    tiny_generators.build("janus", folder)
    return folder


MODELS: dict[str, tuple[catalog.AnyRole, str]] = {
    "captioner": ("captioner", SINGLE),
    "transformers": ("embedder", SINGLE),
    "open_clip": ("embedder", "open_clip_model.safetensors"),
    "sd": ("generator", "unet/diffusion_pytorch_model.safetensors"),
    "janus": ("generator", SINGLE),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", MODELS)
def test_a_damaged_directory_is_refused_before_anything_is_loaded(name: str, harm: str, made: Path, tmp_path: Path):
    role, file = MODELS[name]
    folder = tmp_path / "mine"
    shutil.copytree(made / name, folder)

    def check() -> None:
        if role == "embedder":
            check_embedder(str(folder))
        else:
            check_model(spec_of(role, str(folder)))

    check()
    do, words = HARM[harm]
    do(folder / file)
    with pytest.raises(ModelError, match=words) as refusal:
        check()
    assert str(refusal.value).startswith(f"{role} {str(folder)!r}: ")
    if role == "embedder":  # open_clip would go on with random weights
        with pytest.raises(ModelError, match=words):
            load_embedder(str(folder), "cpu")


@pytest.mark.parametrize(
    ("name", "removed", "words"),
    [
        (
            "captioner",
            "processor_config.json",
            r"no processor \(preprocessor_config.json or processor_config.json\)\. Put",
        ),
        (
            "captioner",
            "tokenizer*",
            r"no tokenizer \(tokenizer.json\)\. .*AutoProcessor.from_pretrained\('OWNER/NAME'\)",
        ),
        ("clip", "tokenizer*", r"no tokenizer \(tokenizer.json\)"),  # transformers would read texts with an empty one
        ("transformers", "preprocessor_config.json", r"no processor .*AutoImageProcessor"),
    ],
)
def test_what_makes_the_input_is_asked_for(name: str, removed: str, words: str, made: Path, tmp_path: Path):
    folder = tmp_path / "mine"
    shutil.copytree(made / name, folder)
    for path in folder.glob(removed):
        path.unlink()
    mine = str(folder)
    with pytest.raises(ModelError, match=words):
        check_model(spec_of("captioner", mine)) if name == "captioner" else check_embedder(mine)


@pytest.mark.parametrize("lacking", ["scheduler", "tokenizer", "vae"])
def test_a_pipeline_lacks_no_folder(lacking: str, made: Path, tmp_path: Path):
    shutil.copytree(made / "sd", tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / lacking)
    with pytest.raises(ModelError, match=f"model_index.json names {lacking}, and there is no such folder"):
        check_model(spec_of("generator", str(tmp_path / "mine")))


def test_a_refiner_is_whole_but_for_what_it_shares(made: Path, tmp_path: Path):
    base, refiner = tiny_generators.build("sdxl", tmp_path), tiny_generators.build("sdxl-refiner", tmp_path)
    wanted = spec_of("generator", str(base), refiner=str(refiner))
    remove(refiner / "vae" / "diffusion_pytorch_model.safetensors")
    check_model(wanted)
    cut(refiner / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ModelError, match=r"refiner .*unet/diffusion_pytorch_model.safetensors was cut off"):
        check_model(wanted)


def test_weights_that_only_loading_finds_wrong_are_one_message(made: Path, tmp_path: Path):
    folder = tmp_path / "mine"
    shutil.copytree(made / "captioner", folder)
    path = folder / SINGLE
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    one = next(key for key in header if key != "__metadata__")
    header[one]["shape"] = [7]
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + bytes(content[8 + length :]))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_captioner(spec_of("captioner", str(folder)), "cpu")


def test_a_whole_network_is_no_lora(made: Path):
    whole = made / "captioner" / SINGLE
    with pytest.raises(ModelError, match="is no LoRA: its weights are those of a whole network"):
        check_model(spec_of("generator", str(made / "sd"), loras=f"{whole}@1"))
