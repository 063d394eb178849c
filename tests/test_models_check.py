"""`loopsim models` and `loopsim models check`: what is listed, and what is said about a model that is tried out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from huggingface_hub import constants, errors
from typer.testing import CliRunner

from loopsim import catalog, models
from loopsim.cli import app
from loopsim.models import check, repositories, revisions
from loopsim.models.hosted.client import httpx
from loopsim.presets.hosted import HOSTED
from loopsim.records import ModelSpec, Price
from tests import hosted_server as served
from tests import tiny_captioners


def loopsim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def good(*arguments: object) -> str:
    result = loopsim(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    """The one message of a command that failed as it should."""
    result = loopsim(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stderr.count("loopsim: ") == 1
    return result.stderr.partition("loopsim: ")[2]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[served.Server]:
    with served.running(monkeypatch) as running:
        yield running


# ---- the list --------------------------------------------------------------------------------------------------------


def test_every_model_is_listed_with_what_is_known_of_it():
    rows = json.loads(good("models", "--json"))
    assert [(r["role"], r["name"]) for r in rows] == [(e.role, e.name) for e in (*catalog.ENTRIES, *HOSTED)]
    by_name = {(r["role"], r["name"]): r for r in rows}
    sdxl = by_name["generator", "sdxl"]
    assert {key: sdxl[key] for key in ("size", "steps", "guidance", "tokens", "gated", "here")} == {
        "size": "1024x1024", "steps": 30, "guidance": 5.0, "tokens": 77, "gated": False, "here": "download",
    }  # fmt: skip
    assert by_name["generator", "sdxl-turbo"]["size"] == "512x512"
    assert by_name["generator", "postcards"]["here"] == "yes"
    assert by_name["captioner", "postcards"]["max tokens"] == 30
    assert by_name["embedder", "mock"]["settings"] == {}
    assert by_name["captioner", "openai:gpt-4o"]["price"] == "$2.5 a million tokens read, $10 a million tokens written"


def test_names_are_printed_whole_so_that_they_can_be_copied():
    text = good("models")
    for entry in (*catalog.ENTRIES, *HOSTED):
        assert f"│ {entry.name} " in text, entry.name


def test_a_cached_model_and_a_key_are_seen(empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    location = catalog.find("generator", "sdxl").location
    (empty_cache / f"models--{location.replace('/', '--')}").mkdir()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    rows = {(r["role"], r["name"]): r["here"] for r in json.loads(good("models", "--json"))}
    assert rows["generator", "sdxl"] == "cached"
    assert rows["captioner", "openai:gpt-4o"] == "yes"
    monkeypatch.delenv("OPENAI_API_KEY")
    rows = {(r["role"], r["name"]): r["here"] for r in json.loads(good("models", "--json"))}
    assert rows["captioner", "openai:gpt-4o"] == "needs OPENAI_API_KEY"


# ---- trying out ------------------------------------------------------------------------------------------------------


def test_a_name_is_tried_in_every_role_it_has():
    results = json.loads(good("models", "check", "mock", "--json"))
    assert [r["needs"]["role"] for r in results] == ["generator", "captioner", "embedder"]
    assert results[0]["trial"]["gave"] == "a picture of 16 × 16 for 'a red boat by the sea at sunset'"
    assert results[2]["trial"]["gave"] == "a text in 48 dimensions and a picture in 48 dimensions"


@pytest.mark.slow
def test_a_real_model_is_loaded_and_runs_one_step():
    text = good("models", "check", "postcards", "steps=1", "--role", "generator", "--device", "cpu")
    assert "a picture of 64 × 64" in text
    assert "parameters:   " in text
    assert "pipeline StableDiffusionPipeline" in text


@pytest.mark.slow
def test_a_directory_is_tried_in_the_role_that_is_said(tmp_path: Path):
    folder = tmp_path / "tiny"
    tiny_captioners.build("blip", folder)
    assert "what is it to do? Say --role" in refused("models", "check", folder)
    (result,) = json.loads(
        good("models", "check", folder, "max_new_tokens=3", "--role", "captioner", "--device", "cpu", "--json")
    )
    assert result["needs"]["here"]
    assert result["trial"]["parameters"] > 1000
    assert result["trial"]["settings"]["device"] == "cpu"


def test_a_hosted_model_is_asked_once_and_its_price_is_said(server: served.Server):
    text = good("models", "check", "endpoint:lab/painter", "price={image: 0.04}", "size=16x16", "--role", "generator")
    assert "price:        $0.04 a picture, as the settings say" in text
    assert "a picture of 16 × 16 for 'a red boat by the sea at sunset', for about $0.0400" in text
    assert len(server.requests) == 1
    assert served.KEY not in text


def test_looking_only_asks_nobody(server: served.Server):
    good("models", "check", "endpoint:lab/painter", "--role", "generator", "--no-load")
    assert server.requests == []


def test_a_refusal_is_said(server: served.Server):
    server.forbidden = ("boat",)
    said = refused("models", "check", "endpoint:lab/painter", "--role", "generator")
    assert "was loaded, but: refused: content_policy_violation" in said


# ---- hub models ------------------------------------------------------------------------------------------------------


def test_a_hub_model_that_is_not_here_names_the_command():
    said = refused("models", "check", "owner/name", "revision=v2", "--role", "captioner")
    assert said.startswith("owner/name is not in the cache, and HF_HUB_OFFLINE is set.")
    assert "`hf download owner/name --revision v2 --include" in said


def test_a_gated_model_names_its_terms(monkeypatch: pytest.MonkeyPatch):
    request = httpx.Request("GET", "https://huggingface.co")

    def gated(self: Any, repo_id: str, **keywords: Any) -> Any:
        raise errors.GatedRepoError("403", response=httpx.Response(403, request=request))

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", gated)
    said = refused("models", "check", "sd-3.5-medium")
    assert "is gated. Accept its terms at https://huggingface.co/stabilityai/stable-diffusion-3.5-medium" in said
    assert "`hf auth login`" in said


def test_what_the_hub_says_goes_before_the_table(monkeypatch: pytest.MonkeyPatch):
    files = {
        "model_index.json": 600,
        "unet/diffusion_pytorch_model.safetensors": 5_000_000_000,
        "unet/diffusion_pytorch_model.fp16.safetensors": 2_500_000_000,
        "unet/diffusion_pytorch_model.bin": 5_000_000_000,
        "vae/diffusion_pytorch_model.safetensors": 2_250_000_000,
        "whole_thing.safetensors": 9_000_000_000,
    }
    found = revisions.Needs("a" * 40, files, frozenset(), True, True, "mit")
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    monkeypatch.setattr(revisions, "needs_of", lambda *arguments: found)
    monkeypatch.setattr(repositories, "read_json", lambda *arguments: index)
    monkeypatch.setattr(models, "check_model", lambda spec: None)
    text = good("models", "check", "sdxl", "variant=native", "--no-load")
    for line in ("licence:      mit", "gated:        yes", f"commit:       {'a' * 40}", "download:     7.2 GB"):
        assert line in text
    assert "memory:       7 GB for the weights in bfloat16" in text
    assert "download:     4.8 GB" in good(
        "models", "check", "sdxl", "--no-load"
    )  # in half precision where there is one


def test_what_a_tag_of_open_clip_is_loaded_from_is_looked_up():
    said = refused("models", "check", "clip-vit-b-32")
    assert said.startswith("embedder 'clip-vit-b-32': laion/CLIP-ViT-B-32-laion2B-s34B-b79K is not in the cache")
    assert '--include "open_clip_model.safetensors"`' in said


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("postcrads",), "is no known name, directory or hub id. Did you mean 'postcards'?"),
        (("qqqqqq",), "`loopsim models` lists the names"),
        (("/no/such/place",), "is no known name, directory or hub id"),
        (("owner/name",), "what is it to do? Say --role generator, captioner or embedder"),
        (("openai:gpt-9",), "what is it to do?"),
        (("mock", "steps=1"), "is known as generator, captioner, embedder: say --role"),
        (("mock", "steps=1", "--role", "embedder"), "an embedder has no settings"),
        (("mock", "steps", "--role", "generator"), "'steps': must be KEY=VALUE"),
        (("mock", "model=x", "--role", "generator"), "must be KEY=VALUE"),
        (("mock", "steps=[", "--role", "generator"), "the value is not YAML"),
        (("mock", "stepz=1", "--role", "generator"), "settings: generator.stepz: unknown key; did you mean 'steps'?"),
        (("mock", "steps=-1", "--role", "generator"), "settings: generator.steps: "),
        (("mock", "steps=[1, 2]", "--role", "generator"), "steps=[1, 2]: a list is an axis of an experiment"),
        (("mock", "--device", "tpu"), "unknown device 'tpu'"),
        (("openai:gpt-4o",), "no key: set the environment variable OPENAI_API_KEY"),
        (("anthropic:m", "--role", "generator"), "offers no image endpoint"),
    ],
)
def test_bad_input_is_answered(arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert words in refused("models", "check", *arguments)


# ---- in words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (Price(image=0.04), "$0.04 a picture"),
        (Price(input=5.0, output=30.0, looked_up="2026-11-22"),
         "$5 a million tokens read, $30 a million tokens written (2026-11-22)"),
        (Price(image=0.0), "$0 a picture"),
    ],
)  # fmt: skip
def test_a_price_in_words(price: Price, words: str):
    assert price.in_words() == words


def test_the_price_of_a_model_is_the_given_one_or_the_known_one():
    known = ModelSpec("captioner", "openai:gpt-4o-mini")
    assert check.price_of(known) == "$0.15 a million tokens read, $0.6 a million tokens written"
    given = ModelSpec("captioner", "openai:gpt-4o-mini", price=Price(input=1.0))
    assert check.price_of(given) == "$1 a million tokens read, as the settings say"
    assert check.price_of(ModelSpec("captioner", "endpoint:lab/x")) is None
    assert check.price_of(ModelSpec("captioner", "mock")) is None


def test_the_picture_that_is_described_is_a_picture():
    picture = check.scene()
    assert picture.shape == (64, 64, 3)
    assert len({tuple(pixel) for pixel in picture.reshape(-1, 3)}) == 3
