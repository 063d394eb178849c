"""What a plan costs: counted rows against what a run really does, published rates, probes, and what is unknown."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from loopsim import catalog
from loopsim.cli import app
from loopsim.cli._costs import duration
from loopsim.costs import price_plan, probe_plan, probing
from loopsim.costs.counting import count_turns
from loopsim.errors import UsageError
from loopsim.models import load_embedder, mock
from loopsim.presets.rates import EMBEDDING_WIDTHS, RATES
from loopsim.runner import ModelPool, run_plan
from tests.conftest import Planner

CHAIN: list[dict[str, Any]] = [
    {"generator": "mock"},
    {"captioner": "mock"},
    {"generator": {"model": "mock", "batch_size": 3}},
    {"captioner": {"model": "mock", "batch_size": 3}},
]


def picture(folder: Path, shade: int) -> str:
    path = folder / f"{shade}.png"
    Image.fromarray(np.full((16, 16, 3), shade, np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"generator": ["mock", {"model": "mock", "steps": 2, "batch_size": 2}], "iterations": 5},
        {"chain": CHAIN, "iterations": 5},
        {"controls": ["fixed_caption"], "noise": ["fresh", "fixed"]},
    ],
)
def test_counts_and_loads_are_those_of_the_run(planner: Planner, out: Path, keys: dict[str, Any]):
    plan = planner(**keys)
    costs = price_plan(plan)
    loaded: list[str] = []
    run = run_plan(plan, out, pool=ModelPool("cpu", room=1, on_load=loaded.append))
    assert costs.loads.in_turn == len(loaded)
    loaded.clear()
    again = run_plan(plan, out.with_name("again"), pool=ModelPool("cpu", on_load=loaded.append))
    assert costs.loads.together == len(loaded)
    steps = run.steps(["t"])
    assert costs.pictures == costs.captions == int((steps["t"] > 0).sum()) == plan.steps
    assert costs.embeddings == len(steps) + plan.steps
    assert len(again.steps(["t"])) == len(steps)


def test_each_place_of_a_longer_chain_is_counted(planner: Planner):
    works = {(w.unit, w.settings): w.rows for w in price_plan(planner(chain=CHAIN, iterations=5)).works}
    n = 3 * 2
    counted = sorted(rows for (unit, _), rows in works.items() if unit == "pictures")
    assert counted == [2 * n, 3 * n]


def test_image_starts_are_described_once_more(planner: Planner, tmp_path: Path):
    starts = [{"images": [picture(tmp_path, 10), picture(tmp_path, 90)]}]
    costs = price_plan(planner(starts=starts, iterations=3, replicates=1))
    assert (costs.pictures, costs.captions) == (6, 8)
    assert costs.embeddings == 8 + 8
    run = run_plan(planner(starts=starts, iterations=3, replicates=1), tmp_path / "run")
    assert run.steps(["text"])["text"].notna().sum() == costs.captions


def test_image_starts_among_texts_are_described_once_more(planner: Planner, tmp_path: Path):
    starts = [{"prompts": ["a red boat", "a blue dog"]}, {"images": [picture(tmp_path, 10)]}]
    plan = planner(starts=starts, iterations=3, replicates=1)
    costs = price_plan(plan)
    assert (costs.pictures, costs.captions) == (9, 10)
    loaded: list[str] = []
    run_plan(plan, tmp_path / "run", pool=ModelPool("cpu", room=1, on_load=loaded.append))
    assert costs.loads.in_turn == len(loaded)


def test_conditions_that_take_equally_long_are_one_line(planner: Planner):
    costs = price_plan(planner(captioner={"model": "mock", "temperature": [0, 0.5], "max_new_tokens": [5, 9]}))
    said = [(w.settings, w.rows) for w in costs.works if w.role == "captioner"]
    assert said == [("max_new_tokens=5", 2 * 24), ("max_new_tokens=9", 2 * 24)]


def test_one_place_serves_everyone_who_waits():
    assert count_turns([["g", "c"] * 3]) == 6
    assert count_turns([["g", "c"] * 3, ["g", "c"] * 3]) == 6
    assert count_turns([["g", "c"], ["h", "c"]]) == 3 + 1
    assert count_turns([["g", "g", "g"]]) == 1
    assert count_turns([[], []]) == 0


# ---- published rates -------------------------------------------------------------------------------------------------


def test_published_rates_are_taken_with_their_source_and_in_proportion_to_steps(planner: Planner):
    models = [{"model": "sdxl", "steps": [30, 60]}, {"model": "stabilityai/stable-diffusion-xl-base-1.0", "steps": 15}]
    costs = price_plan(planner(generator=models, captioner="llava-1.5-7b", embedders="clip-vit-b-32"))
    rates = {w.spec.settings["steps"]: w.rates[0] for w in costs.works if w.role == "generator" and w.spec}
    assert rates[30].seconds == 2.496
    assert (rates[60].seconds, rates[15].seconds) == (2 * 2.496, 2.496 / 2)
    assert rates[60].note == "2.496 s at 30 steps, in proportion"
    assert rates[30].source.startswith("https://huggingface.co/stabilityai/")
    h100 = next(one for one in costs.times if one.hardware == "NVIDIA H100")
    assert h100.seconds == pytest.approx(24 * 2.496 * 3.5)
    assert "captioner llava-1.5-7b" in h100.unknown
    assert "loading the models" in h100.unknown


@pytest.mark.parametrize(
    "given",
    [{"size": "768x768"}, {"guidance": 0}, {"loras": "a/b"}, {"model": "sdxl-turbo"}],
    ids=lambda given: next(iter(given)),
)
def test_a_rate_of_something_else_is_not_taken(planner: Planner, given: dict[str, Any]):
    costs = price_plan(planner(generator={"model": "sdxl", **given}))
    assert not costs.works[0].rates
    assert not costs.times


def test_the_tables_are_about_models_that_are_known():
    for name, rates in RATES.items():
        entry = catalog.find("generator", name)
        assert all(rate.size == entry.native and rate.source.startswith("https://") for rate in rates)
    for name in EMBEDDING_WIDTHS:
        assert catalog.find("embedder", name).name == name
    for name in ("mock", "postcards"):
        assert load_embedder(name, "cpu").embed_texts(["a boat"]).shape[1] == EMBEDDING_WIDTHS[name]


# ---- what is unknown, and what is decided ----------------------------------------------------------------------------


def test_memory_decides_whether_models_stay(planner: Planner):
    plan = planner(generator="sdxl", captioner="llava-1.5-7b")
    assert price_plan(plan).loads.expected is None
    assert price_plan(plan, room_gb=24).loads.expected == 2
    assert price_plan(plan, room_gb=16).loads.expected == 2 * 4
    unknown = price_plan(planner(generator="someone/pipeline", captioner="llava-1.5-7b"), room_gb=80).loads
    assert (unknown.weights_gb, unknown.unknown, unknown.expected) == (None, ("someone/pipeline",), None)


def test_disk_goes_by_size_and_format(planner: Planner):
    sizes = {kind: price_plan(planner(generator="sdxl", image_format=kind)).disk.pictures for kind in ("webp", "jpeg")}
    assert sizes["webp"] == round(24 * 1024**2 * 1.3)
    assert sizes["jpeg"] == round(24 * 1024**2 * 0.55)
    folder = price_plan(planner(generator="someone/pipeline", embedders="someone/embedder")).disk
    assert (folder.pictures, folder.vectors, folder.total) == (None, None, None)


def test_hosted_models_are_priced_as_far_as_anyone_can_know(planner: Planner):
    def money(**keys: Any) -> Any:
        return price_plan(planner(**keys)).money

    drawn = {"model": "openai:gpt-image-2", "price": {"image": 0.04}}
    said = {"model": "endpoint:lab/vl", "max_new_tokens": 100, "price": {"output": 10}}
    both = money(generator=drawn, captioner=said)
    assert both.low == pytest.approx(24 * 0.04)
    assert both.high == pytest.approx(24 * 0.04 + 24 * 100 * 10e-6)
    assert both.unknown == ()
    read = money(captioner="openai:gpt-4o")
    assert read.high is None
    assert "the service counts the tokens read, $2.5 a million" in read.unknown[0]
    assert "nobody has said what it charges" in money(captioner="endpoint:lab/vl").unknown[0]
    assert money() is None


# ---- measured here ---------------------------------------------------------------------------------------------------


def test_a_probe_measures_at_the_batch_of_the_plan(planner: Planner, monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count()
    monkeypatch.setattr(probing, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 4))  # a call takes 1/4 s
    plan = planner(generator={"model": "mock", "batch_size": 4}, starts=[f"boat {k}" for k in range(6)], replicates=1)
    found = probe_plan(plan, "cpu")
    costs = price_plan(plan, found)
    assert [rate.batch for work in costs.works for rate in work.rates] == [3, 6, 32, 32]
    assert all(rate.source == "measured here" for work in costs.works for rate in work.rates)
    assert costs.loads.expected == 2
    (time,) = costs.times
    assert time.unknown == ()
    assert [rate.seconds for work in costs.works for rate in work.rates] == [0.25 / 3, 0.25 / 6, 0.25 / 32, 0.25 / 32]
    # 24 pictures, as many captions, 54 vectors, and two models to load.
    assert time.seconds == pytest.approx(24 / 12 + 24 / 24 + 54 / 128 + 2 / 4)
    assert costs.disk.basis == "webp, as measured here"


def test_a_probe_goes_on_whatever_one_model_raises(planner: Planner, monkeypatch: pytest.MonkeyPatch):
    def raising(error: Exception):
        def call(*_: object, **__: object) -> None:
            raise error

        return call

    monkeypatch.setattr(mock.MockCaptioner, "describe", raising(ValueError("no such template\nmore")))
    monkeypatch.setattr(mock.MockEmbedder, "embed_texts", raising(OSError()))
    plan = planner()
    found = probe_plan(plan, "cpu")
    named = {work.key: (work.role, work.unit) for work in price_plan(plan, found).works}
    assert {named[key]: why for key, why in found.not_measured.items()} == {
        ("captioner", "captions"): "ValueError: no such template",
        ("embedder", "embeddings of texts"): "OSError",
    }
    assert {named[key] for key in found.rates} == {("generator", "pictures"), ("embedder", "embeddings of pictures")}


def test_a_probe_says_what_it_could_not_measure(planner: Planner):
    plan = planner(generator=["mock", "sdxl"], captioner=["mock", "openai:gpt-4o"])
    found = probe_plan(plan, "cpu")
    reasons = " ".join(found.not_measured.values())
    assert "a service, which would charge for it" in reasons
    assert "not in the cache" in reasons
    (time,) = price_plan(plan, found).times
    assert "generator sdxl" in time.unknown
    with pytest.raises(UsageError, match=r"nothing could be measured here: .*not in the cache"):
        probe_plan(planner(generator="sdxl", captioner="blip-base", embedders="clip-vit-b-32"), "cpu")


def test_plan_prints_costs_and_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    raw = {"name": "try", "iterations": 3, "starts": ["a", "b"], "generator": "mock", "captioner": "mock"}
    Path("e.yaml").write_text(yaml.safe_dump(raw | {"embedders": "mock"}))
    plain = CliRunner().invoke(app, ["plan", "e.yaml"])
    assert "time: unknown; --probe measures a step or two of each model" in plain.stdout
    assert "6 pictures" in plain.stdout
    probed = CliRunner().invoke(app, ["plan", "e.yaml", "--probe", "--device", "cpu"])
    assert "measuring generator mock" in probed.stderr
    assert "time: about" in probed.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["e.yaml"]
    said = json.loads(CliRunner().invoke(app, ["plan", "e.yaml", "--json"]).stdout)["costs"]
    assert (said["pictures"], said["loads"]["together"], said["times"], said["dollars"]) == (6, 2, [], None)
    wrong = CliRunner().invoke(app, ["plan", "e.yaml", "--probe", "--device", "gpu"])
    assert wrong.exit_code == 2
    assert "unknown device 'gpu'" in wrong.stderr


def test_durations_are_readable():
    assert [duration(s) for s in (0.5, 40, 700, 8000, 8e5)] == ["0.5 s", "40 s", "11.7 min", "2.22 h", "9.26 days"]
