"""Which commit of a hub model is meant, that a run keeps to it, and what is said about models that cannot be had."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from loopsim import models, provenance
from loopsim.errors import ModelError, OtherExperimentError
from loopsim.models import revisions
from loopsim.models.hosted.client import httpx
from loopsim.records import ModelSpec
from loopsim.runner import ModelPool, run_plan
from loopsim.store import create_run, open_run

FIRST, SECOND = "a" * 40, "b" * 40
REQUEST = httpx.Request("GET", "https://huggingface.co/api/models/owner/name")


def no_file(repository: str, name: str, **keywords: Any) -> Any:
    raise errors.EntryNotFoundError(f"{repository} has no {name}")


def answer(status: int) -> httpx.Response:
    return httpx.Response(status, request=REQUEST)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def put(cache: Path, commit: str, ref: str = "main", name: str = "owner/name") -> None:
    """A model in the cache, as the hub's library lays it out."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "model.safetensors").write_bytes(b"weights")
    (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / ref).write_text(commit)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub to be told what to answer; counts how often it was asked."""
    hub = SimpleNamespace(info=None, error=None, access=None, asked=0)

    def model_info(self: Any, repo_id: str, **keywords: Any) -> Any:
        hub.asked += 1
        hub.keywords = keywords
        if hub.error is not None:
            raise hub.error
        return hub.info

    def auth_check(self: Any, repo_id: str) -> None:
        if hub.access is not None:
            raise hub.access

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", auth_check)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_file)
    return hub


def info(
    commit: str = SECOND, gated: object = False, licence: str | None = "mit", prior: object = None, **sizes: int
) -> Any:
    files = [SimpleNamespace(rfilename=name.replace("__", "."), size=size) for name, size in sizes.items()]
    card = None if licence is None and prior is None else SimpleNamespace(license=licence, prior=prior)
    return SimpleNamespace(sha=commit, gated=gated, siblings=files, card_data=card)


# ---- which commit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("owner/name", "owner/name"), ("hf-hub:owner/name", "owner/name"), ("", None), ("openai:gpt-4o", None),
        ("/there/is/none", None), ("endpoint:lab/m", None), ("a/b/c", None),
    ],
)  # fmt: skip
def test_what_is_a_hub_id(location: str, name: str | None):
    assert revisions.hub_id(location) == name


def test_a_directory_is_none_though_it_looks_like_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert revisions.hub_id("owner/name") is None


def test_offline_it_is_what_the_cache_has_noted(cache: Path):
    put(cache, FIRST)
    put(cache, SECOND, "v2")
    put(cache, "c" * 40, "refs-of/people")
    assert revisions.commit_of("owner/name", None) == FIRST
    assert revisions.commit_of("owner/name", "main") == FIRST
    assert revisions.commit_of("owner/name", "v2") == SECOND
    assert revisions.commit_of("owner/name", "refs-of/people") == "c" * 40
    assert revisions.commit_of("owner/name", SECOND) == SECOND


def test_online_the_hub_says_it(cache: Path, online: Any):
    put(cache, FIRST)
    online.info = info(SECOND)
    assert revisions.commit_of("owner/name", "main") == SECOND
    assert online.keywords["revision"] == "main"


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("no route"), httpx.ReadTimeout("slow"), OSError("no network"),
              errors.HfHubHTTPError("bad gateway", response=answer(502))],
)  # fmt: skip
def test_where_the_hub_does_not_answer_the_cache_does(cache: Path, online: Any, error: Exception):
    online.error = error
    with pytest.raises(ModelError, match="is not in the cache, and cannot be looked up on the hub"):
        revisions.commit_of("owner/name", None)
    put(cache, FIRST)
    assert revisions.commit_of("owner/name", None) == FIRST


def test_what_the_hub_says_a_model_needs(cache: Path, online: Any):
    online.info = info(SECOND, gated="manual", a__safetensors=3_000_000_000, b__safetensors=500_000_000, c__bin=9)
    needs = revisions.needs_of("owner/name", None)
    files = {"a.safetensors": 3_000_000_000, "b.safetensors": 500_000_000, "c.bin": 9}
    assert needs == revisions.Needs(SECOND, files, frozenset(), True, True, "mit")
    assert needs.gigabytes(["a.safetensors", "b.safetensors"]) == 3.5
    assert needs.gigabytes(["nothing"]) is None
    put(cache, SECOND)
    online.info = info(SECOND, licence=None, prior="owner/first")
    needs = revisions.needs_of("owner/name", None)
    cached = frozenset({"model.safetensors"})
    assert needs == revisions.Needs(SECOND, {}, cached, True, False, None, ("owner/first",))


def test_offline_it_is_what_the_cache_holds(cache: Path):
    put(cache, FIRST)
    needs = revisions.needs_of("owner/name", None)
    assert needs == revisions.Needs(FIRST, {"model.safetensors": 7}, frozenset({"model.safetensors"}), False)


# ---- what cannot be had ----------------------------------------------------------------------------------------------

GATED = errors.GatedRepoError("403", response=answer(403))
MISSING = errors.RepositoryNotFoundError("404", response=answer(404))
SAID = [
    (GATED, r"owner/name is gated. Accept its terms at https://huggingface.co/owner/name, then .*`hf auth login`"),
    (MISSING, r"there is no such model on the hub, or it is private.*https://huggingface.co/owner/name.*hf auth login"),
    (errors.RevisionNotFoundError("404", response=answer(404)), "owner/name has no revision 'v9'; see https://"),
    (errors.DisabledRepoError("403", response=answer(403)), "was disabled"),
]


@pytest.mark.parametrize(("error", "words"), SAID, ids=["gated", "missing", "revision", "disabled"])
def test_a_model_that_the_hub_does_not_hand_out_is_answered_though_it_is_in_the_cache(
    cache: Path, online: Any, error: Exception, words: str
):
    put(cache, FIRST, "v9")
    online.error = error
    with pytest.raises(ModelError, match=words):
        revisions.commit_of("owner/name", "v9")


def test_a_gated_model_with_a_public_card_is_found_out(cache: Path, online: Any):
    online.info, online.access = info(gated="auto"), GATED
    with pytest.raises(ModelError, match="owner/name is gated"):
        revisions.commit_of("owner/name", None)
    online.access = None
    assert revisions.commit_of("owner/name", None) == SECOND


@pytest.mark.parametrize(("revision", "command"), [(None, "owner/name`"), ("v2", "owner/name --revision v2`")])
def test_offline_and_not_in_the_cache(cache: Path, revision: str | None, command: str):
    with pytest.raises(ModelError, match=rf"not in the cache, and HF_HUB_OFFLINE is set.*`hf download {command}"):
        revisions.commit_of("owner/name", revision)


def test_offline_a_commit_that_is_not_in_the_cache(cache: Path):
    put(cache, FIRST)
    with pytest.raises(ModelError, match=f"hf download owner/name --revision {SECOND}"):
        revisions.commit_of("owner/name", SECOND)


@pytest.mark.parametrize("what", ["generator", "captioner"])
@pytest.mark.parametrize(("error", "words"), SAID[:2], ids=["gated", "missing"])
def test_the_same_is_said_when_a_library_wraps_the_error(what: str, error: Exception, words: str):
    try:
        try:
            raise error
        except Exception as inner:
            raise OSError("You are trying to access a gated repo.\nor so") from inner
    except OSError as wrapped:
        found = models.cannot_load(what, "owner/name", wrapped)
    assert str(found).startswith(f"{what} 'owner/name' cannot be loaded: owner/name")
    with pytest.raises(ModelError, match=words):
        raise found


def test_other_errors_of_loading_keep_their_words():
    assert revisions.advice("owner/name", None, OSError("weights are cut off")) is None
    assert "weights are cut off" in str(models.cannot_load("generator", "x", OSError("weights are cut off")))


# ---- a run keeps to its commit ---------------------------------------------------------------------------------------


@pytest.fixture
def hub_mock(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The mock models under hub ids; what is loaded, and at which revision."""
    from loopsim import catalog
    from loopsim.models import mock

    loaded: list[tuple[str, Any]] = []
    kinds = {"generator": mock.MockGenerator, "captioner": mock.MockCaptioner}

    def load(role: str) -> Any:
        def made(spec: ModelSpec, device: str) -> Any:
            loaded.append((spec.model, spec.settings["revision"]))
            return kinds[role]("", spec, device)

        return made

    monkeypatch.setattr(models, "load_generator", load("generator"))
    monkeypatch.setattr(models, "load_captioner", load("captioner"))
    monkeypatch.setattr(models, "check_model", lambda spec: None)
    assert catalog.find("generator", "owner/name").path() == "owner/name"
    return loaded


def test_the_commit_is_in_the_manifest_and_is_what_is_loaded(cache: Path, planned, out: Path, hub_mock):
    put(cache, FIRST)
    put(cache, SECOND, "v2")
    plan = planned(generator="owner/name", captioner={"model": "owner/name", "revision": "v2"})
    run = run_plan(plan, out)
    pinned = {(m["role"], m["revision"]): m["commit"] for m in run.manifest["provenance"]["models"]}
    assert pinned == {("generator", None): FIRST, ("captioner", "v2"): SECOND}
    assert hub_mock == [("owner/name", FIRST), ("owner/name", SECOND)]
    assert provenance.commits_in(run.manifest) == {
        ("generator", "owner/name", None): FIRST,
        ("captioner", "owner/name", "v2"): SECOND,
    }


def test_a_run_goes_on_with_its_commit_when_the_branch_has_moved(cache: Path, online, planned, out: Path, hub_mock):
    online.info = info(FIRST)
    run_plan(planned(generator="owner/name", iterations=1), out)
    online.info, asked = info(SECOND), online.asked
    run = run_plan(planned(generator="owner/name", iterations=2), out)
    assert run.count_steps() == (12, 12)
    assert [c for m, c in hub_mock if m == "owner/name"] == [FIRST, FIRST]
    assert online.asked == asked


def test_another_commit_under_the_same_name_is_refused(cache: Path, planned, out: Path, hub_mock):
    put(cache, FIRST)
    plan = planned(generator="owner/name", iterations=1)
    run_plan(plan, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    found = provenance.collect([spec for c in plan.conditions for spec in c.chain], {
        ("generator", "owner/name", None): SECOND,
    })  # fmt: skip
    with pytest.raises(OtherExperimentError, match=f"made with commit {FIRST} of the generator owner/name, .*{SECOND}"):
        create_run(out, plan, found)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_run_without_commits_goes_on(cache: Path, planned, out: Path, hub_mock):
    """As loopsim 0.1.0 wrote them."""
    put(cache, FIRST)
    run_plan(planned(generator="owner/name", iterations=1), out)
    manifest = json.loads((out / "manifest.json").read_text())
    for model in manifest["provenance"]["models"]:
        model.pop("commit", None)
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert run_plan(planned(generator="owner/name", iterations=2), out).count_steps() == (12, 12)
    assert provenance.commits_in(open_run(out).manifest) == {}


def test_a_missing_model_is_said_before_there_is_a_run_directory(cache: Path, planned, out: Path, hub_mock):
    with pytest.raises(ModelError, match="hf download owner/name"):
        run_plan(planned(captioner="owner/name"), out)
    assert not out.exists()


def test_two_revisions_of_a_model_are_two_models_in_memory(cache: Path, planned, out: Path, hub_mock):
    put(cache, FIRST)
    put(cache, SECOND, "v2")
    plan = planned(generator=[{"model": "owner/name", "revision": r} for r in ("main", "v2")], iterations=1)
    run_plan(plan, out, pool=ModelPool("cpu"))
    assert [c for m, c in hub_mock if m == "owner/name"] == [FIRST, SECOND]


# ---- what is loaded beside a model -----------------------------------------------------------------------------------


def test_what_is_loaded_on_top_of_a_model_is_in_the_manifest_too(cache: Path, planned, out: Path, tmp_path, hub_mock):
    put(cache, FIRST)
    put(cache, SECOND, name="owner/refiner")
    lora = tmp_path / "watercolour.safetensors"
    lora.write_bytes(b"weights")
    generator = {"model": "owner/name", "refiner": "owner/refiner", "loras": [f"{lora}@0.8", "owner/name"]}
    plan = planned(generator=generator, iterations=1)
    run = run_plan(plan, out)
    (described, _) = run.manifest["provenance"]["models"]
    assert described["commit"] == FIRST
    assert [(p["part"], p["location"], p.get("commit"), sorted(p.get("files", ()))) for p in described["parts"]] == [
        ("refiner", "owner/refiner", SECOND, []),
        ("lora", str(lora), None, ["watercolour.safetensors"]),
        ("lora", "owner/name", FIRST, []),
    ]
    lora.write_bytes(b"other weights")
    with pytest.raises(OtherExperimentError, match=r"made with other files of the lora \(for generator owner/name\)"):
        run_plan(plan, out)
    lora.write_bytes(b"weights")
    (cache / "models--owner--refiner" / "refs" / "main").write_text(FIRST)  # the branch moves, the run does not
    again = run_plan(planned(generator=generator, iterations=2), out)
    assert again.manifest["provenance"]["models"][0] == described


def test_another_commit_of_what_stands_beside_a_model_is_refused(cache: Path, planned, out: Path, hub_mock):
    put(cache, FIRST)
    put(cache, SECOND, name="owner/refiner")
    plan = planned(generator={"model": "owner/name", "refiner": "owner/refiner"}, iterations=1)
    run_plan(plan, out)
    specs = [spec for c in plan.conditions for spec in c.chain]
    other = {("generator", "owner/name", None): FIRST, ("refiner", "owner/refiner", None): FIRST}
    with pytest.raises(OtherExperimentError, match=rf"commit {SECOND} of the refiner .* owner/refiner, and this is"):
        create_run(out, plan, provenance.collect(specs, other))


def test_a_single_file_of_weights_is_hashed(tmp_path: Path):
    path = tmp_path / "custom.safetensors"
    path.write_bytes(b"weights")
    (described,) = provenance.describe_models([ModelSpec("generator", str(path))])
    assert list(described["files"]) == ["custom.safetensors"]
