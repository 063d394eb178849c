"""What is no captioner, or cannot do what is asked, is refused from its configuration; and what needs leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from loopsim import catalog
from loopsim.errors import ExperimentError, ModelError
from loopsim.models import check_model, load_captioner
from loopsim.records import ModelSpec
from loopsim.runner import ModelPool, run_plan
from tests import tiny_captioners as tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")


def spec(folder: object, **settings: object) -> ModelSpec:
    return ModelSpec("captioner", str(folder), catalog.settings_of("captioner", str(folder), settings))  # type: ignore[arg-type]


def of_kind(folder: Path, **config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(ModelError) as caught:
        check_model(spec(folder, **settings))
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("llama", "a llama model reads text only and sees no pictures"),
        ("qwen2", "a qwen2 model reads text only and sees no pictures"),
        ("clip", "a clip model embeds and writes nothing: name it under embedders"),
        ("siglip2", "embeds and writes nothing"),
        ("dinov3_vit", "embeds and writes nothing"),
        ("bert", "embeds and writes nothing"),
        ("evolla", "it describes proteins, not pictures"),
        ("diffusion_gemma", "cannot be sampled a token at a time"),
        ("wav2vec2", "a wav2vec2 model does not describe pictures"),
        ("moondream9", "does not know model_type 'moondream9'"),
    ],
)
def test_a_model_of_another_kind_is_refused_with_what_it_is(kind, said, tmp_path):
    message = refusal(of_kind(tmp_path, model_type=kind))
    assert said in message
    assert "blip-large" in message


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model_index.json", "a pipeline of diffusers, which draws pictures: name it as the generator"),
        ("open_clip_config.json", "which embeds: name it under embedders"),
        ("modules.json", "which embeds texts: name it under embedders"),
        ("README.md", "there is no config.json that names a model_type"),
    ],
)
def test_a_directory_of_another_library_is_refused_with_what_it_is(file, said, tmp_path):
    (tmp_path / file).write_text("{}")
    assert said in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["blip", "git", "florence2", "instructblip", "vision-encoder-decoder"])
def test_structured_captions_need_a_model_that_follows_instructions(kind, tmp_path):
    message = refusal(of_kind(tmp_path, model_type=kind), structured="subject, mood")
    assert f"a {kind} model follows no free instructions" in message
    assert "leave structured out" in message


def test_a_silent_captioner_takes_no_instruction(tmp_path):
    folder = of_kind(tmp_path, model_type="vision-encoder-decoder")
    assert "takes no instruction; leave it out" in refusal(folder, instruction="Describe.")


def test_a_captioner_of_fixed_tasks_lists_them(tmp_path):
    message = refusal(of_kind(tmp_path, model_type="florence2"), instruction="Describe.")
    assert "<CAPTION>, <DETAILED_CAPTION>, <MORE_DETAILED_CAPTION>; it is 'Describe.'" in message
    assert "there are no weights" in refusal(tmp_path, instruction="<CAPTION>")  # which are looked at afterwards


def test_a_broken_configuration_is_one_message(tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert "cannot be loaded" in refusal(tmp_path)


def test_a_hub_model_that_is_not_in_the_cache_is_one_message():
    with pytest.raises(ModelError, match="captioner 'owner/nothing-here'"):
        check_model(spec("owner/nothing-here"))


def test_a_refused_captioner_stops_the_run_before_anything_is_made(planned, out, tmp_path):
    folder = of_kind(tmp_path, model_type="llama")
    with pytest.raises(ModelError, match="sees no pictures"):
        run_plan(planned(captioner=str(folder)), out)
    assert not out.exists()


def test_a_refused_embedder_stops_the_run_before_anything_is_made(planned, out, tmp_path):
    folder = of_kind(tmp_path, model_type="llama")
    with pytest.raises(ModelError, match="embedder"):
        run_plan(planned(embedders=str(folder)), out)
    assert not out.exists()


def test_a_base_model_without_a_template_is_refused_before_its_weights_are_read(tmp_path):
    folder = tiny.build("qwen2-vl", tmp_path)
    (folder / "chat_template.jinja").unlink()
    weights = folder / "model.safetensors"
    weights.rename(folder / "hidden")
    assert "no chat template" in refusal(folder)
    with pytest.raises(ModelError, match="no chat template"):
        load_captioner(spec(folder), "cpu")
    (folder / "hidden").rename(weights)
    # Loading tells where the small files do not.
    (folder / "tokenizer_config.json").rename(folder / "elsewhere.json")
    check_model(spec(folder))


def test_a_template_may_stand_in_the_tokenizers_configuration(tmp_path):
    folder = tiny.build("qwen2-vl", tmp_path)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    check_model(spec(folder))
    assert "Describe" in load_captioner(spec(folder, instruction="Describe."), "cpu").prompt


# ---- leave -----------------------------------------------------------------------------------------------------------


def test_pickled_weights_are_read_only_with_leave(tmp_path):
    from safetensors.torch import load_file

    folder = tiny.build("llava", tmp_path)
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    message = refusal(folder)
    assert "pickles (pytorch_model.bin), which can run code" in message
    assert "allow_pickle: true" in message
    with pytest.raises(ModelError, match="allow_pickle"):
        load_captioner(spec(folder), "cpu")
    assert load_captioner(spec(folder, allow_pickle=True), "cpu").describe_settings()["class"].startswith("Llava")


_CODE = """
from transformers import LlavaConfig, LlavaForConditionalGeneration

class OwnConfig(LlavaConfig):
    model_type = "own_llava"

class OwnModel(LlavaForConditionalGeneration):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch) -> Path:
    """A captioner that comes with Python code of its own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder = tiny.build("llava", tmp_path / "own")
    (folder / "own_model.py").write_text(_CODE)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own_llava",
        "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "own_model.OwnConfig", "AutoModelForImageTextToText": "own_model.OwnModel"},
    }
    return of_kind(folder, **config)


def test_a_models_own_code_is_run_only_with_leave_and_then_said(own_code, planned, out):
    message = refusal(own_code)
    assert "comes with Python code of its own" in message
    assert "trust_remote_code: true" in message
    captioner = {"model": str(own_code), "max_new_tokens": 4, "trust_remote_code": True}
    run = run_plan(planned(captioner=captioner, iterations=1, replicates=1), out, pool=ModelPool("cpu"), threads=1)
    assert not run.failures()
    assert any(model.get("trust_remote_code") for model in run.manifest["provenance"]["models"])
    (said,) = [m for e in run.events() if e["event"] == "end" for m in e["models"] if m.get("class")]
    assert said["class"] == "OwnModel"


# ---- the setting in the file -----------------------------------------------------------------------------------------


def test_a_list_of_keys_is_one_value_and_a_list_of_lists_an_axis(planned):
    plan = planned(captioner={"model": "mock", "structured": ["subject", "mood"]})
    assert [c.factors["captioner.structured"] for c in plan.conditions] == ["subject, mood"]
    plan = planned(captioner={"model": "mock", "structured": [["subject", "mood"], ["subject"]]})
    assert [c.factors["captioner.structured"] for c in plan.conditions] == ["subject, mood", "subject"]
    assert planned(captioner={"model": "mock", "structured": "subject,  mood"}).conditions[0].label == "all"


@pytest.mark.parametrize("keys", [[], ["a", "A"], ["a,b"], [1], ['a"'], "", 5])
def test_keys_that_cannot_be_are_refused(keys, planned):
    with pytest.raises(ExperimentError, match=r"captioner\.structured"):
        planned(captioner={"model": "mock", "structured": keys})


def test_an_answer_that_is_not_structured_is_stored_and_flagged(planned, out):
    steps = run_plan(planned(captioner={"model": "mock", "structured": ["subject"]}), out).steps().query("t > 0")
    assert steps["flags"].map(lambda flags: "not_structured" in flags).all()
    assert steps["details"].isna().all()


def test_a_chat_model_is_asked_for_the_keys(tmp_path):
    captioner = load_captioner(spec(tiny.build("llava", tmp_path), structured="subject, mood"), "cpu")
    prompt = str(captioner.describe_settings()["prompt"])
    assert "<image>Describe this image. Answer with nothing but one JSON object that has exactly these keys" in prompt
    assert '"subject", "mood"' in prompt
