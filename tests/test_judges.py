"""An embedder inside a model of the chain is no judge apart, whatever the model is called; what one does not read is
said wherever it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loopsim import models
from loopsim.cli import app
from loopsim.embed import embed_run
from loopsim.errors import NotAtHand
from loopsim.measure import Options, measure_run
from loopsim.models.inside import Encoder, encoder_of_embedder, encoders_inside
from loopsim.presets import encoders
from loopsim.presets.embedders import EMBEDDERS
from loopsim.records import ModelSpec
from loopsim.runner import notices, run_plan

CLIP_L_TEXT = {"model_type": "clip_text_model", "hidden_size": 768, "num_hidden_layers": 12}
CLIP_G_TEXT = {"model_type": "clip_text_model", "hidden_size": 1280, "num_hidden_layers": 32}
CLIP_L_EYE = {"hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14}
LLAVA = {"model_type": "llava", "vision_config": {"model_type": "clip_vision_model", **CLIP_L_EYE}}
JUDGE = {"model_type": "clip", "vision_config": CLIP_L_EYE, "text_config": {"hidden_size": 768}}


def put(folder: Path, **configs: object) -> Path:
    """A directory of configurations; `__` in a name is a slash."""
    for name, config in configs.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config))
    return folder


@pytest.fixture
def finetune(tmp_path: Path) -> Path:
    """A pipeline under a name of its own that was made from Stable Diffusion XL."""
    return put(
        tmp_path / "my-pictures",
        model_index={"_class_name": "StableDiffusionXLPipeline"},
        text_encoder__config=CLIP_L_TEXT,
        text_encoder_2__config=CLIP_G_TEXT,
    )


def judged(plan: Any) -> list[str]:
    return [line for line in notices(plan) if "judge apart" in line]


def inside(role: str, model: object, **settings: Any) -> dict[str, bool]:
    return {e.name: e.certain for e in encoders_inside(ModelSpec(role, str(model), settings))}  # type: ignore[arg-type]


# ---- what is inside --------------------------------------------------------------------------------------------------


def test_a_directory_tells_by_its_configurations(finetune: Path, tmp_path: Path):
    assert inside("generator", finetune) == {encoders.CLIP_L: False, encoders.OPEN_CLIP_G: False}
    assert inside("captioner", put(tmp_path / "cap", config=LLAVA)) == {encoders.CLIP_L: False}


def test_a_name_in_a_configuration_is_surer_than_a_shape(tmp_path: Path):
    eye = {**CLIP_L_EYE, "model_type": "clip_vision_model", "_name_or_path": "openai/clip-vit-large-patch14-336"}
    assert inside("captioner", put(tmp_path / "cap", config={"model_type": "llava", "vision_config": eye})) == {
        encoders.CLIP_L: True
    }


def test_weights_on_a_base_have_the_bases_encoders(finetune: Path, tmp_path: Path):
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"weights")
    assert inside("generator", file, base="sd-1.5") == {encoders.CLIP_L: True}
    assert inside("generator", file, base=str(finetune)) == {encoders.CLIP_L: False, encoders.OPEN_CLIP_G: False}
    component = put(tmp_path / "unet", config={"_class_name": "UNet2DConditionModel"})
    assert inside("generator", component, base="sdxl") == {encoders.CLIP_L: True, encoders.OPEN_CLIP_G: True}


def test_a_lora_changes_nothing(finetune: Path):
    assert inside("generator", "sd-1.5", loras="owner/lora@0.8") == {encoders.CLIP_L: True}
    assert set(inside("generator", finetune, loras="owner/lora@0.8")) == {encoders.CLIP_L, encoders.OPEN_CLIP_G}


@pytest.mark.parametrize(
    ("config", "encoder"),
    [
        ({"model_type": "git", "vision_config": {"hidden_size": 768, "num_hidden_layers": 12, "patch_size": 16}},
         encoders.CLIP_B16),
        ({"model_type": "blip-2", "vision_config": {"hidden_size": 1408, "num_hidden_layers": 39}}, encoders.EVA_G),
        ({"model_type": "paligemma", "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152,
                                                       "num_hidden_layers": 27}}, encoders.SIGLIP),
        ({"model_type": "qwen3_vl", "vision_config": {"hidden_size": 1024, "depth": 24}}, encoders.SIGLIP2_L),
        ({"model_type": "llava", "mm_vision_tower": "openai/clip-vit-large-patch14-336"}, encoders.CLIP_L),
        ({"model_type": "florence2", "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24}}, None),
        ({"model_type": "clip_vision_model", "hidden_size": 64, "num_hidden_layers": 2, "patch_size": 14}, None),
        ({"vision_config": "broken"}, None),
    ],
)  # fmt: skip
def test_what_a_configuration_tells(config: dict[str, Any], encoder: str | None):
    assert next((name for name, _ in encoders.told_by(config)), None) == encoder


def test_an_embedders_directory_tells_too(tmp_path: Path):
    assert encoder_of_embedder(str(put(tmp_path / "clip", config=JUDGE))) == Encoder(encoders.CLIP_L, False)
    open_clip = {"model_cfg": {"vision_cfg": {"width": 1280, "layers": 32, "patch_size": 14}}}
    found = encoder_of_embedder(str(put(tmp_path / "oc", open_clip_config=open_clip)))
    assert found == Encoder(encoders.OPEN_CLIP_H, False)
    (tmp_path / "clip" / "config.json").write_text("{")
    assert encoder_of_embedder(str(tmp_path / "clip")) is None


# ---- the notice ------------------------------------------------------------------------------------------------------


def test_a_custom_checkpoint_is_warned_of(planned, finetune: Path):
    (line,) = judged(planned(generator=str(finetune), embedders="clip-openai-l-14"))
    assert line.startswith(f"the embedder clip-openai-l-14 is likely no judge apart: {finetune} has a network inside")
    assert "by its shape is OpenAI's CLIP ViT-L/14" in line
    assert not judged(planned(generator=str(finetune), embedders="clip-vit-b-32"))


def test_a_custom_embedder_is_warned_of(planned, finetune: Path, tmp_path: Path):
    judge = put(tmp_path / "judge", config=JUDGE)
    lines = judged(planned(generator="sdxl", captioner=str(put(tmp_path / "cap", config=LLAVA)), embedders=str(judge)))
    assert len(lines) == 2
    assert all("is likely no judge apart" in line for line in lines)


def test_one_model_on_two_bases_is_looked_at_twice(planned, tmp_path: Path):
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"weights")
    generators = [{"model": str(file), "base": base} for base in ("flux2-klein-4b", "sd-1.5")]
    (line,) = judged(planned(generator=generators, embedders="clip-openai-l-14"))
    assert "mine.safetensors has OpenAI's CLIP ViT-L/14 inside" in line


# ---- embedders of one kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", EMBEDDERS, ids=lambda e: e.name)
def test_what_an_embedder_reads_is_known_by_name(entry):
    assert entry.reads == models.modalities_of(entry.name)
    said = models.unread(entry.name, entry.reads)
    assert (said is None) == (entry.reads == {"image", "text"})


def test_what_a_directory_reads_is_told_by_its_configuration(tmp_path: Path):
    assert models.modalities_of(str(put(tmp_path / "a", config={"model_type": "dinov2"}))) == {"image"}
    assert models.modalities_of(str(put(tmp_path / "b", config=JUDGE))) == {"image", "text"}
    assert models.modalities_of(str(put(tmp_path / "c", modules=[]))) == {"text"}
    with pytest.raises(NotAtHand):
        models.modalities_of("owner/name")


def test_a_plan_says_what_is_not_measured(planned):
    def said(*names: str) -> list[str]:
        return [line for line in notices(planned(embedders=list(names))) if "not measured by it" in line]

    assert said("mock", "clip-vit-b-32") == []
    (line,) = said("dinov2-b")
    assert line == (
        "the embedder dinov2-b sees pictures only: texts are not measured by it; add one that does, such as "
        "all-mpnet-base-v2 or clip-vit-b-32"
    )
    (line,) = said("all-mpnet-base-v2", "mock")
    assert line.endswith("pictures are not measured by it, but by mock")
    # Two that together see all: each has the other.
    assert [line.partition(", but by ")[2] for line in said("dinov2-b", "all-mpnet-base-v2")] == [
        "all-mpnet-base-v2", "dinov2-b",
    ]  # fmt: skip
    # Two that both see pictures only leave texts to nobody.
    assert all("add one that does" in line for line in said("dinov2-b", "dinov2-l"))


def test_embedding_and_measuring_say_it_too(planned, out: Path, monkeypatch: pytest.MonkeyPatch):
    from loopsim.models.mock import MockEmbedder

    run = run_plan(planned(iterations=2), out)
    monkeypatch.setattr(MockEmbedder, "modalities", frozenset({"image"}))
    lines: list[str] = []
    with run.writing():
        embed_run(run, "mock", on_load=lines.append)
    assert lines == ["embedding with mock", "the embedder mock sees pictures only: texts are not measured by it"]
    assert run.modalities("mock") == ["image"]
    notes: list[str] = []
    with run.writing():
        frame = measure_run(run, Options(families=("diversity",), jobs=1, on_note=notes.append))
    assert notes == ["mock has no vectors of texts, so texts are not measured by it"]
    assert set(frame["modality"]) == {"image"}
    result = CliRunner().invoke(app, ["measure", str(out), "--families", "diversity"])
    assert result.exit_code == 0, result.output
    assert "note: mock has no vectors of texts, so texts are not measured by it" in result.stderr
