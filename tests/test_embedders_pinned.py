"""An embedder from the hub is looked up at a run's first use of it, and the run keeps to that commit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from loopsim.embed import embed_phrases, embed_run
from loopsim.errors import ModelError
from loopsim.models import load_embedder
from loopsim.models.embedder_kinds import hub_of, open_clip_source
from loopsim.runner import ModelPool, run_plan
from loopsim.store import Run, open_run
from loopsim.store.embedders import folder_of
from tests import tiny_embedders as tiny
from tests.test_embedders import directory
from tests.test_generators_pinned import FIRST, SECOND, put

__all__ = ["directory", "put"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")

WEIGHTS = {"clip": "model.safetensors", "dinov2": "model.safetensors", "open-clip": "open_clip_model.safetensors"}


def other(folder: Path, target: Path, file: str) -> Path:
    """A copy of a model with other weights."""
    shutil.copytree(folder, target)
    weights = load_file(target / file)
    torch.manual_seed(3)
    changed = {k: v + 0.3 * torch.randn_like(v) if v.is_floating_point() else v for k, v in weights.items()}
    save_file(changed, target / file, {"format": "pt"})
    return target


def pictures_by(run: Run, embedder: str) -> np.ndarray:
    rows = run.embeddings(embedder).query("modality == 'image'").sort_values(["trajectory_id", "t"])
    return np.stack(list(rows["vector"]))


def carried_out(planned: Any, out: Path, iterations: int, embedder: str) -> Run:
    plan = planned(iterations=iterations, replicates=1, starts=["a red house"], embedders=embedder)
    run = run_plan(plan, out, pool=ModelPool("cpu"))
    with run.writing():
        embed_run(run, embedder, "cpu")
    return open_run(out)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_run_keeps_the_commit_of_its_embedder_when_the_branch_moves(kind, directory, put, planned, out, tmp_path):
    first = directory(kind)
    second = other(first, tmp_path / "second", WEIGHTS[kind])
    put("owner/judge", first, FIRST)
    run = carried_out(planned, out, 1, "owner/judge")
    said = {"embedder": "owner/judge", "location": "owner/judge", "repository": "owner/judge", "commit": FIRST}
    assert run.manifest["provenance"]["embedders"] == [said]
    put("owner/judge", second, SECOND)
    longer = carried_out(planned, out, 3, "owner/judge")
    assert longer.manifest["provenance"]["embedders"] == [said]
    assert json.loads((folder_of(longer.path, "owner/judge") / "weights.json").read_text())["commit"] == FIRST
    with longer.writing():
        embed_run(longer, str(first), "cpu")
        embed_run(longer, str(second), "cpu")
    mine, before, after = (pictures_by(longer, name) for name in ("owner/judge", str(first), str(second)))
    assert len(mine) == 3
    np.testing.assert_allclose(mine, before, atol=1e-5)  # the calls were of other sizes
    assert np.abs(mine - after).max() > 1e-3
    # A run that begins now begins with what the branch is now.
    fresh = carried_out(planned, tmp_path / "fresh", 1, "owner/judge")
    assert fresh.manifest["provenance"]["embedders"][0]["commit"] == SECOND


def test_phrases_are_embedded_at_the_same_commit(directory, put, planned, out, tmp_path):
    put("owner/judge", directory("clip"), FIRST)
    run = carried_out(planned, out, 1, "owner/judge")
    put("owner/judge", other(directory("clip"), tmp_path / "second", WEIGHTS["clip"]), SECOND)
    expected = load_embedder(str(directory("clip")), "cpu").embed_texts(["two birds"])
    np.testing.assert_array_equal(embed_phrases(run, "owner/judge", ["two birds"], "cpu"), expected)


def test_an_embedder_that_is_added_later_is_pinned_then(directory, put, planned, out):
    run = carried_out(planned, out, 1, "mock")
    put("owner/judge", directory("dinov2"), FIRST)
    with run.writing():
        embed_run(run, "owner/judge", "cpu")
    assert [one["embedder"] for one in open_run(out).manifest["provenance"]["embedders"]] == ["mock", "owner/judge"]
    assert open_run(out).pinned_embedder("owner/judge")["commit"] == FIRST
    assert open_run(out).manifest["cohorts"] == run.manifest["cohorts"]


def test_an_embedder_that_is_nowhere_is_refused_before_anything_is_made(put, planned, out):
    with pytest.raises(ModelError, match="owner/judge"):
        run_plan(planned(embedders="owner/judge"), out)
    with pytest.raises(ModelError, match=r"laion/CLIP-ViT-B-32-laion2B-s34B-b79K is not in the cache.*`hf download"):
        run_plan(planned(embedders="clip-vit-b-32"), out)
    assert not out.exists()


def test_vectors_of_another_commit_are_made_again_with_the_runs(directory, put, planned, out):
    put("owner/judge", directory("dinov2"), FIRST)
    run = carried_out(planned, out, 2, "owner/judge")
    path = folder_of(run.path, "owner/judge") / "weights.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"commit": SECOND}))
    with run.writing():
        assert embed_run(run, "owner/judge", "cpu") == 3  # the start and two iterations, all of them
    assert json.loads(path.read_text())["commit"] == FIRST


def as_before_commits(run: Run) -> None:
    """Makes a run look as loopsim 0.1.0 left it."""
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["provenance"].pop("embedders")
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    (folder_of(run.path, "owner/judge") / "weights.json").write_text('{"location": "owner/judge"}')


def test_a_finished_run_from_before_commits_were_kept_asks_nobody(directory, put, planned, out, tmp_path):
    put("owner/judge", directory("dinov2"), FIRST)
    as_before_commits(carried_out(planned, out, 2, "owner/judge"))
    shutil.rmtree(tmp_path / "hub")
    assert len(pictures_by(carried_out(planned, out, 2, "owner/judge"), "owner/judge")) == 2


def test_when_it_goes_on_all_is_embedded_again_with_one_commit(directory, put, planned, out, tmp_path):
    put("owner/judge", directory("dinov2"), FIRST)
    as_before_commits(carried_out(planned, out, 1, "owner/judge"))
    second = other(directory("dinov2"), tmp_path / "second", WEIGHTS["dinov2"])
    put("owner/judge", second, SECOND)
    run = carried_out(planned, out, 2, "owner/judge")
    assert run.pinned_embedder("owner/judge")["commit"] == SECOND
    with run.writing():
        embed_run(run, str(second), "cpu")
    np.testing.assert_array_equal(pictures_by(run, "owner/judge"), pictures_by(run, str(second)))


def test_vectors_are_not_given_up_for_an_embedder_that_cannot_be_loaded(directory, planned, out, tmp_path):
    mine = shutil.copytree(directory("dinov2"), tmp_path / "mine")
    run = carried_out(planned, out, 1, str(mine))
    before = pictures_by(run, str(mine))
    (mine / "model.safetensors").write_bytes(b"cut off")
    with run.writing(), pytest.raises(ModelError, match="or was cut off: fetch it again"):
        embed_run(run, str(mine), "cpu")
    np.testing.assert_array_equal(pictures_by(run, str(mine)), before)


# ---- sentence-transformers and the tags of open_clip -----------------------------------------------------------------


def test_sentence_transformers_are_loaded_at_the_commit(directory, put, tmp_path):
    first = directory("sentence")
    (file,) = first.rglob("model.safetensors")
    second = other(first, tmp_path / "second", str(file.relative_to(first)))
    put("owner/judge", first, FIRST)
    put("owner/judge", second, SECOND)
    for commit, folder in ((FIRST, first), (SECOND, second)):
        mine = load_embedder("owner/judge", "cpu", commit).embed_texts(["two birds"])
        np.testing.assert_array_equal(mine, load_embedder(str(folder), "cpu").embed_texts(["two birds"]))


@pytest.fixture
def tagged(directory, put, tmp_path, monkeypatch):
    """A model and a tag of open_clip's own, on the hub at two commits."""
    import open_clip

    folder = directory("open-clip")
    config = json.loads((folder / "open_clip_config.json").read_text())
    (tmp_path / "tiny.json").write_text(json.dumps(config["model_cfg"]))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", list(open_clip.factory._MODEL_CONFIG_PATHS))
    open_clip.add_model_config(tmp_path / "tiny.json")
    tag = {"hf_hub": "owner/tiny/", "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic",
           "resize_mode": "shortest", "quick_gelu": True}  # fmt: skip
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"mine": tag})
    second = other(folder, tmp_path / "second", WEIGHTS["open-clip"])
    put("owner/tiny", folder, FIRST)
    put("owner/tiny", second, SECOND)
    yield {FIRST: folder, SECOND: second}
    open_clip.factory._MODEL_CONFIGS.pop("tiny", None)


def test_a_tag_of_open_clip_is_loaded_at_the_commit_with_its_own_pixels_and_activation(tagged, tmp_path):
    assert hub_of("tiny/mine") == "owner/tiny"
    picture = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for commit, folder in tagged.items():
        quick = shutil.copytree(folder, tmp_path / f"quick-{commit[:1]}")
        config = json.loads((quick / "open_clip_config.json").read_text())
        config["model_cfg"]["quick_gelu"] = True
        (quick / "open_clip_config.json").write_text(json.dumps(config))
        mine = load_embedder("tiny/mine", "cpu", commit)
        alike = load_embedder(str(quick), "cpu")
        np.testing.assert_allclose(mine.embed_images([picture]), alike.embed_images([picture]), atol=1e-6)
        np.testing.assert_array_equal(mine.embed_texts(["two birds"]), alike.embed_texts(["two birds"]))
        plain = load_embedder(str(folder), "cpu")
        assert np.abs(mine.embed_images([picture]) - plain.embed_images([picture])).max() > 1e-4


def test_the_branch_of_a_tag_is_loaded_with_its_activation_too(tagged):
    assert np.array_equal(
        load_embedder("tiny/mine", "cpu").embed_texts(["two birds"]),
        load_embedder("tiny/mine", "cpu", SECOND).embed_texts(["two birds"]),
    )


@pytest.mark.parametrize(
    ("location", "repository"),
    [
        ("ViT-B-32/laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("ViT-L-14/openai", "timm/vit_large_patch14_clip_224.openai"), ("owner/name", "owner/name"),
        ("hf-hub:owner/name", "owner/name"), ("ViT-B-32/laion400m_e31", None), ("", None), ("/a/directory", None),
    ],
)  # fmt: skip
def test_the_repository_that_an_embedder_comes_from(location, repository):
    found = hub_of(location)
    if location == "ViT-B-32/laion400m_e31":  # from elsewhere, or from a repository that open_clip has learnt of since
        assert found == open_clip_source(*location.split("/"))[0]
    else:
        assert found == repository


def test_the_tokenizer_of_another_repository_is_where_the_configuration_says(tmp_path):
    from loopsim.models.open_clip import _tokenizer_source

    config: dict[str, Any] = {"model_cfg": {"text_cfg": {"hf_tokenizer_name": "other/words"}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    source = f"local-dir:{tmp_path}"
    assert _tokenizer_source(source, "owner/name") == "hf-hub:owner/name"
    (tmp_path / "tokenizer.json").touch()
    assert _tokenizer_source(source, "owner/name") == source
    assert _tokenizer_source("ViT-B-32", "ViT-B-32/openai") == "ViT-B-32"
    assert _tokenizer_source(source, str(tmp_path)) == source
    assert tiny.BOTH  # the rest is tested on whole embedders, above
