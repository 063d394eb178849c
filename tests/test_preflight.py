"""What is refused before anything is made: `plan` and `run` say the same, and what cannot be looked at is said."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import yaml
from click.testing import Result
from huggingface_hub import constants, errors
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.errors import ModelError, NotAtHand
from loopsim.models.hosted.client import httpx
from loopsim.runner import check_plan, run_plan
from loopsim.runner.preflight import check_again
from loopsim.store import create_run

COMMIT = "a" * 40
MINIMAL: dict[str, Any] = {
    "name": "try", "iterations": 1, "starts": ["a red house"], "generator": "mock", "captioner": "mock",
    "embedders": "mock",
}  # fmt: skip
PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("OPENAI_API_KEY", "LOOPSIM_API_KEY_OPENAI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(**keys: Any) -> Path:
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(MINIMAL | keys), encoding="utf-8")
        return path

    return make


def loopsim(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def folder(path: Path, **files: object) -> str:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return str(path)


# ---- plan and run say the same ---------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "a text model as captioner": (
        lambda p: {"captioner": folder(p / "m", config={"model_type": "gpt2"})}, "a gpt2 model"),
    "a picture model as captioner": (
        lambda p: {"captioner": folder(p / "m", config={"model_type": "clip"})}, "a clip model embeds"),
    "a language model as embedder": (
        lambda p: {"embedders": folder(p / "m", config={"model_type": "gpt2"})}, "gives no vectors"),
    "a pipeline as embedder": (
        lambda p: {"embedders": folder(p / "m", model_index=PIPELINE)}, "name it as the generator"),
    "an unknown embedder": (lambda p: {"embedders": "clip-vit-b-23"}, "Did you mean 'clip-vit-b-32'?"),
    "a tag that open_clip does not have": (
        lambda p: {"embedders": "ViT-B-32/laion2b_s34b_b79"}, "Did you mean ViT-B-32/laion2b_s34b_b79k?"),
    "a second embedder": (lambda p: {"embedders": ["mock", "nonsense"]}, "unknown embedder 'nonsense'"),
    "guidance on a distilled model": (
        lambda p: {"generator": {"model": "sdxl-turbo", "guidance": 7.0}}, "on a distilled model"),
    "an unknown style": (lambda p: {"generator": {"model": "sdxl", "style": "baroque"}}, "style 'baroque' is unknown"),
    "a directory that is no pipeline": (lambda p: {"generator": folder(p / "m")}, "model_index.json"),
    "a variant that a directory does not have": (
        lambda p: {"generator": {"model": folder(p / "m", model_index=PIPELINE), "variant": "fp16"}},
        "has no weights of variant 'fp16'; it has none but the plain ones. Write variant: native"),
    "a revision of a directory": (
        lambda p: {"generator": {"model": folder(p / "m", model_index=PIPELINE), "revision": "main"}},
        "revision is a branch, tag or commit on the hub"),
    "a picture from words only": (
        lambda p: {"generator": "openai:gpt-image-2", "controls": ["image_to_image"]}, "draws from words only"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_plan_ends_as_run_would(what: str, write: Callable[..., Path], tmp_path: Path):
    keys, words = REFUSED[what]
    path = write(**keys(tmp_path))
    planned = loopsim("plan", path)
    ran = loopsim("run", path, "--out", "run")
    assert planned.exit_code == ran.exit_code == 2, planned.output
    message = planned.stderr.partition("loopsim: ")[2]
    assert words in message
    assert message == ran.stderr.partition("loopsim: ")[2]
    assert planned.stdout == ""
    assert "notice" not in planned.stderr
    assert not (tmp_path / "run").exists()


def test_weights_cannot_be_swapped_with_a_gpu_that_is_not_there(write: Callable[..., Path], tmp_path: Path):
    path = write(generator={"model": "postcards", "placement": "swap"})
    assert loopsim("plan", path).exit_code == 0  # elsewhere there may be one
    ran = loopsim("run", path, "--device", "cpu", "--out", "run")
    assert ran.exit_code == 2
    assert "placement: swap moves weights to a GPU when they are needed, and this runs on cpu" in ran.stderr
    assert not (tmp_path / "run").exists()


def test_a_directory_is_called_what_the_user_called_it(write: Callable[..., Path], tmp_path: Path):
    folder(tmp_path / "mine", config={"model_type": "gpt2"})
    for role in ("captioner", "embedders"):
        said = loopsim("plan", write(**{role: "./mine"})).stderr
        assert "'./mine'" in said
        assert str(tmp_path) not in said.replace(str(tmp_path / "experiment.yaml"), "")


# ---- what cannot be looked at ----------------------------------------------------------------------------------------


OFFLINE = "{0} is not in the cache, and HF_HUB_OFFLINE is set. Where there is a network: `hf download {0}"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"generator": "sdxl"}, "generator 'sdxl': stabilityai/stable-diffusion-xl-base-1.0 is not in the cache, and "),
        ({"captioner": "owner/name"}, OFFLINE.format("owner/name") + ' --include "*.json"'),
        ({"embedders": "dinov2-b"}, "embedder 'dinov2-b': facebook/dinov2-base is not in the cache"),
        ({"embedders": "clip-vit-b-32"}, "embedder 'clip-vit-b-32': laion/CLIP-ViT-B-32-laion2B-s34B-b79K is not in"),
        ({"embedders": "owner/name"}, "owner/name is not in the cache"),
        ({"captioner": "openai:gpt-4o"}, "openai:gpt-4o: no key: set the environment variable OPENAI_API_KEY"),
    ],
)  # fmt: skip
def test_offline_a_plan_is_shown_and_what_a_run_would_end_with_is_said(
    keys: dict[str, Any], words: str, write: Callable[..., Path], tmp_path: Path
):
    path = write(**keys)
    planned = loopsim("plan", path)
    assert planned.exit_code == 0, planned.output
    assert "1 trajectories" in planned.stdout
    assert f"notice: not checked, and a run would end here: {words}" in planned.stderr
    (unchecked,) = json.loads(loopsim("plan", path, "--json").stdout)["unchecked"]
    ran = loopsim("run", path, "--out", "run")
    assert ran.exit_code == 2
    assert f"loopsim: {unchecked}" in ran.stderr
    assert not (tmp_path / "run").exists()


def test_everything_that_is_not_at_hand_is_said(write: Callable[..., Path]):
    said = loopsim("plan", write(generator=["sdxl", "sdxl-turbo"], captioner="blip-base", embedders="dinov2-b")).stderr
    assert said.count("not checked") == 4
    # Two conditions of one model are looked at once.
    said = loopsim("plan", write(generator={"model": "sdxl", "steps": [10, 20]})).stderr
    assert said.count("not checked") == 1


def test_the_command_names_only_what_is_read(write: Callable[..., Path], tmp_path: Path):
    said = loopsim("plan", write(generator="sdxl")).stderr
    assert '--include "*/*.fp16.safetensors"' in said
    assert '--exclude "safety_checker/*.safetensors"' in said
    said = loopsim("plan", write(generator={"model": "sdxl", "variant": "native"})).stderr
    assert '--include "*/*model.safetensors"' in said
    assert "fp16" not in said
    said = loopsim("plan", write(embedders="owner/name")).stderr  # of whatever kind it is
    assert '--include "model.safetensors"' in said
    assert '--include "open_clip_model.safetensors"' in said
    (tmp_path / "mine.safetensors").write_bytes(b"weights")
    said = loopsim("plan", write(generator={"model": "mine.safetensors", "base": "sdxl"})).stderr
    assert "base 'sdxl': stabilityai/stable-diffusion-xl-base-1.0 is not in the cache" in said
    assert '--include "*/*model.safetensors"' in said


# ---- what the hub says -----------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Repositories by name: their files with bytes, and with contents where these are read."""
    importlib.import_module("diffusers")  # before, or it would keep what is put in place of the hub here
    there = SimpleNamespace(files={}, contents={}, asked=[], gated=())

    def model_info(self: Any, repo_id: str, **keywords: Any) -> Any:
        there.asked.append(repo_id)
        request = httpx.Request("GET", f"https://huggingface.co/{repo_id}")
        if repo_id in there.gated:
            raise errors.GatedRepoError("403", response=httpx.Response(403, request=request))
        if repo_id not in there.files:
            raise errors.RepositoryNotFoundError("404", response=httpx.Response(404, request=request))
        files = [SimpleNamespace(rfilename=name, size=size) for name, size in there.files[repo_id].items()]
        return SimpleNamespace(sha=COMMIT, gated=False, siblings=files, card_data=None)

    def download(repo_id: str, name: str, **keywords: Any) -> str:
        if (repo_id, name) not in there.contents:
            raise errors.EntryNotFoundError(f"{repo_id} has no {name}")
        path = tmp_path / "downloaded" / repo_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(there.contents[repo_id, name]))
        return str(path)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return there


SAFE, FP16, BIN = (f"diffusion_pytorch_model{e}" for e in (".safetensors", ".fp16.safetensors", ".bin"))


@pytest.mark.parametrize(
    ("files", "settings", "words"),
    [
        ([f"unet/{BIN}", f"vae/{SAFE}"], {}, "the weights of unet are pickles, which can run code"),
        ([f"unet/{SAFE}", f"vae/{SAFE}"], {"variant": "fp16"}, "has no weights of variant 'fp16'; it has none but"),
        ([f"unet/{SAFE}", f"unet/{FP16}", f"vae/{SAFE}"], {"variant": "bf16"}, "it has fp16. Write variant: native"),
    ],
)
def test_the_files_of_a_generator_on_the_hub(hub: Any, planned, files: list[str], settings: dict[str, Any], words: str):
    hub.files["owner/name"] = dict.fromkeys([*files, "safety_checker/pytorch_model.bin"], 10)
    hub.contents["owner/name", "model_index.json"] = PIPELINE
    with pytest.raises(ModelError, match=f"generator 'owner/name'.*{words}") as caught:
        check_plan(planned(generator={"model": "owner/name", **settings}))
    assert not isinstance(caught.value, NotAtHand)


@pytest.mark.parametrize("role", ["captioner", "embedders"])
def test_a_repository_of_pickles_only_is_refused_from_the_list_of_its_files(hub: Any, planned, role: str):
    hub.files["owner/name"] = {"config.json": 9, "pytorch_model.bin": 10}
    with pytest.raises(ModelError, match=f"{role.rstrip('s')} 'owner/name': the weights are pickles"):
        check_plan(planned(**{role: "owner/name"}))


def test_a_repository_without_weights_that_are_read_is_refused(hub: Any, planned):
    hub.files["owner/name"] = {"config.json": 9, "model-Q4_K_M.gguf": 10}
    with pytest.raises(ModelError, match=r"captioner 'owner/name' has no weights that transformers reads"):
        check_plan(planned(captioner="owner/name"))


def test_a_lora_on_the_hub_is_one_file(hub: Any, planned):
    hub.files |= {
        "owner/name": {f"unet/{SAFE}": 10, f"vae/{SAFE}": 10},
        "owner/lora": {"a.safetensors": 1, "b.safetensors": 1},
    }
    hub.contents["owner/name", "model_index.json"] = PIPELINE

    def plan(lora: str) -> Any:
        return planned(generator={"model": "owner/name", "loras": [lora]})

    with pytest.raises(ModelError, match=r"lora 'owner/lora' holds several files: write which.*a.safetensors"):
        check_plan(plan("owner/lora"))
    with pytest.raises(ModelError, match=r"lora 'owner/lora': c.safetensors is not in owner/lora, which has a.safet"):
        check_plan(plan("owner/lora/c.safetensors"))
    found = check_plan(plan("owner/lora/a.safetensors"))
    assert found.commits["lora", "owner/lora", None] == COMMIT


def test_gated_and_missing_models_end_a_plan(hub: Any, planned):
    hub.gated = ("owner/gated",)
    with pytest.raises(
        ModelError, match=r"captioner 'paligemma-3b': google/paligemma-3b-mix-448: there is no such model"
    ):
        check_plan(planned(captioner="paligemma-3b"))
    with pytest.raises(ModelError, match=r"owner/gated is gated. Accept its terms at"):
        check_plan(planned(captioner="owner/gated"))
    with pytest.raises(ModelError, match="there is no such model on the hub"):
        check_plan(planned(captioner="owner/nothing"))


def test_the_hub_is_asked_once_and_its_commit_is_kept(hub: Any, planned, monkeypatch: pytest.MonkeyPatch):
    hub.files["owner/name"] = {"model.safetensors": 10, "pytorch_model.bin": 10}
    monkeypatch.setattr("loopsim.models.check_model", lambda spec: None)
    found = check_plan(planned(captioner={"model": "owner/name", "temperature": [0.1, 0.7]}))
    assert found.commits == {("captioner", "owner/name", None): COMMIT}
    assert hub.asked == ["owner/name"]
    assert found.unseen == ()


# ---- a run that goes on ----------------------------------------------------------------------------------------------


def test_where_a_run_goes_on_only_what_is_new_is_looked_at(planned, out: Path):
    run_plan(planned(iterations=1), out)
    more = planned(iterations=1, embedders=["mock", "owner/name"])
    with pytest.raises(NotAtHand, match="hf download owner/name"):
        check_again(more, {"mock"})
    check_again(more, {"mock", "owner/name"})


def test_what_takes_the_place_of_a_blank_run_is_looked_at_like_any_new_run(
    planned, write: Callable[..., Path], tmp_path: Path, out: Path
):
    create_run(out, planned(), {"models": [{"role": "captioner", "model": "other", "commit": COMMIT}]})
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix}
    refused = folder(tmp_path / "m", config={"model_type": "gpt2"})
    with pytest.raises(ModelError, match="a gpt2 model"):
        run_plan(planned(captioner=refused), out)
    with pytest.raises(NotAtHand, match="hf download owner/name"):
        run_plan(planned(embedders=["mock", "owner/name"], seed=8), out)
    said = loopsim("run", write(captioner=refused), "--out", out)
    assert said.exit_code == 2
    assert "a gpt2 model" in said.stderr
    assert "notice" not in said.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix} == before
