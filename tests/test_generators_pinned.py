"""What is loaded beside a generator is loaded at the commit that the run's manifest pins, whatever the branch does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from loopsim import provenance
from loopsim.errors import ModelError
from loopsim.experiment import parse_experiment
from loopsim.models import check_model
from loopsim.models.generator_files import parts_of
from loopsim.models.revisions import pinned_spec
from loopsim.plan import make_plan
from loopsim.records import ModelSpec
from loopsim.runner import ModelPool, run_plan
from loopsim.store import Run, open_run
from tests import tiny_generators as tiny
from tests.test_generators import settings_for, spec_for, tiny_dir
from tests.test_generators_parts import lora

__all__ = ["lora", "tiny_dir"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")

OWN, FIRST, SECOND = "0" * 40, "a" * 40, "b" * 40
Put = Callable[[str, Path, str], None]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put a directory into an offline hub cache as a commit of a repository, to which its branch then points."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repository: str, source: Path, commit: str) -> None:
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        shutil.copytree(source, folder / "snapshots" / commit)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(commit)

    return put


def altered(folder: Path, target: Path, file: str) -> Path:
    """A copy with other weights in one file."""
    shutil.copytree(folder, target)
    weights = load_file(target / file)
    save_file({key: value * -1.5 for key, value in weights.items()}, target / file, {"format": "pt"})
    return target


def two_stages(tiny_dir: Any, name: str, target: Path) -> tuple[Path, Path]:
    """A decoder's directory, whose card names the prior's repository, and the prior's, as they are published."""
    whole = tiny_dir(name)
    kind = getattr(diffusers, json.loads((whole / "model_index.json").read_text())["_class_name"])
    from loopsim.models.generator_loading import _put_back_moved

    _put_back_moved(json.loads((whole / "model_index.json").read_text()))
    pipe = kind.from_pretrained(whole)
    for part, folder in ((pipe.decoder_pipe, "decoder"), (pipe.prior_pipe, "prior")):
        part.save_pretrained(target / folder)
        tiny.fix_moved(target / folder)
    (target / "decoder" / "README.md").write_text("---\nprior:\n- owner/prior\n---\nA decoder.\n")
    return target / "decoder", target / "prior"


def run_of(generator: dict[str, object], out: Path, iterations: int) -> Run:
    experiment = parse_experiment(
        {
            "name": "try", "iterations": iterations, "starts": tiny.PROMPTS[:1], "captioner": "mock",
            "embedders": "mock", "generator": {"steps": 3, "dtype": "float32", **generator},
        }
    )  # fmt: skip
    return run_plan(make_plan(experiment), out, device="cpu", threads=1, pool=ModelPool("cpu"))


def pictures(run: Run) -> list[bytes]:
    return [row["bytes"] for row in run.steps(["image", "t"], images=True).query("t > 0")["image"]]


@pytest.mark.parametrize("what", ["base", "refiner", "lora", "prior"])
def test_a_run_keeps_the_commit_of_what_stands_beside_its_model(tiny_dir, lora, put, tmp_path, what):
    torch.set_num_threads(1)
    if what == "base":
        repository, file = "owner/base", "vae/diffusion_pytorch_model.safetensors"
        shutil.copytree(tiny_dir("sd") / "unet", tmp_path / "mine")
        first, generator = tiny_dir("sd"), {"model": str(tmp_path / "mine"), "base": repository, "guidance": 4.0}
    elif what == "refiner":
        repository, file = "owner/refiner", "unet/diffusion_pytorch_model.safetensors"
        first, generator = tiny_dir("sdxl-refiner"), {"model": str(tiny_dir("sdxl")), "refiner": repository}
    elif what == "lora":
        repository, file = "owner/lora", lora.name
        first, generator = lora.parent, {"model": str(tiny_dir("sd")), "loras": f"{repository}@0.7"}
    else:
        repository, file = "owner/prior", "prior/diffusion_pytorch_model.safetensors"
        decoder, first = two_stages(tiny_dir, "cascade", tmp_path)
        put("owner/decoder", decoder, OWN)
        generator = {**settings_for("cascade"), "model": "owner/decoder"}
    put(repository, first, FIRST)
    straight = run_of(generator, tmp_path / "straight", 2)
    run_of(generator, tmp_path / "run", 1)
    put(repository, altered(first, tmp_path / "second", file), SECOND)
    with pytest.MonkeyPatch.context() as patch:  # what is pinned is not looked up again
        patch.setattr(provenance.revisions, "commit_of", lambda *a: pytest.fail(f"asked for {a}"))
        resumed = run_of(generator, tmp_path / "run", 2)
    (described, _) = open_run(tmp_path / "run").manifest["provenance"]["models"]
    assert [(part["part"], part["location"], part["commit"]) for part in described["parts"]] == [
        (what, repository, FIRST)
    ]
    assert pictures(resumed) == pictures(straight)
    fresh = run_of(generator, tmp_path / "fresh", 1)
    assert fresh.manifest["provenance"]["models"][0]["parts"][0]["commit"] == SECOND
    assert pictures(fresh)[0] != pictures(straight)[0]


def test_a_revision_beside_a_base_is_the_revision_of_the_base(tiny_dir, put, tmp_path):
    shutil.copytree(tiny_dir("sd") / "unet", tmp_path / "mine")
    put("owner/base", tiny_dir("sd"), FIRST)
    put("owner/base", altered(tiny_dir("sd"), tmp_path / "b", "vae/diffusion_pytorch_model.safetensors"), SECOND)
    generator = {"model": str(tmp_path / "mine"), "base": "owner/base"}
    old = run_of({**generator, "revision": FIRST}, tmp_path / "old", 1)
    new = run_of(generator, tmp_path / "new", 1)
    assert pictures(old) != pictures(new)
    commits = [run.manifest["provenance"]["models"][0]["parts"][0]["commit"] for run in (old, new)]
    assert commits == [FIRST, SECOND]


def test_one_run_has_one_commit_of_what_several_of_its_models_share(put, monkeypatch, tmp_path):
    (tmp_path / "some").mkdir()
    put("owner/lora", tmp_path / "some", FIRST)
    asked = []
    real = provenance.revisions.commit_of
    monkeypatch.setattr(
        provenance.revisions, "commit_of", lambda name, revision: (asked.append(name), real(name, revision))[1]
    )
    specs = [ModelSpec("generator", str(tmp_path / name), {"loras": f"owner/lora@{k}"}) for k, name in enumerate("ab")]
    for spec in specs:
        Path(spec.model).mkdir()
    described = provenance.describe_models(specs)
    assert [part["commit"] for model in described for part in model["parts"]] == [FIRST, FIRST]
    assert asked == ["owner/lora"]


def test_what_a_run_of_an_older_loopsim_did_not_pin_is_loaded_as_its_branch_stands():
    spec = ModelSpec("generator", "owner/name", {"revision": None, "refiner": "owner/refiner"})
    manifest = {"provenance": {"models": [{"role": "generator", "model": "owner/name", "commit": OWN}]}}
    pinned = pinned_spec(spec, provenance.commits_in(manifest))
    assert pinned.settings["revision"] == OWN
    assert dict(pinned.commits) == {}


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nprior:\n- owner/prior\n---\n", ["owner/prior"]), ("---\nprior: owner/prior\n---\n", ["owner/prior"]),
        ("---\nlicense: mit\n---\n", []), ("no head", []), (None, []),
    ],
)  # fmt: skip
def test_a_prior_is_found_in_the_card(tmp_path, card, expected):
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyV22Pipeline"}')
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert [part.location for part in parts_of(str(tmp_path), ModelSpec("generator", "x"))] == expected


def test_a_component_goes_on_a_pipeline_of_two_stages_too(tiny_dir, put, tmp_path):
    decoder, prior = two_stages(tiny_dir, "cascade", tmp_path)
    put("owner/prior", prior, FIRST)
    mine = altered(decoder, tmp_path / "other", "decoder/diffusion_pytorch_model.safetensors") / "decoder"
    settings = settings_for("cascade")
    plain = run_of({**settings, "model": str(decoder)}, tmp_path / "plain", 1)
    changed = run_of({**settings, "model": str(mine), "base": str(decoder)}, tmp_path / "changed", 1)
    assert pictures(plain) != pictures(changed)
    parts = changed.manifest["provenance"]["models"][0]["parts"]
    assert [(part["part"], part.get("commit")) for part in parts] == [("base", None), ("prior", FIRST)]


def test_a_decoder_whose_card_names_no_prior_is_refused(tiny_dir, tmp_path):
    decoder, _ = two_stages(tiny_dir, "cascade", tmp_path)
    (decoder / "README.md").unlink()
    with pytest.raises(ModelError, match=r"the second of two stages, and the head of its README\.md names no prior"):
        check_model(spec_for(decoder, "cascade"))


def test_a_card_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyV22Pipeline"}')
    (tmp_path / "README.md").write_text("---\nprior: [\n---\n")
    with pytest.raises(ModelError, match=r"the head of README\.md cannot be read"):
        list(parts_of(str(tmp_path), ModelSpec("generator", "x")))
