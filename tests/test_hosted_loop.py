"""Loops with hosted models from beginning to end: what is kept, what fails, what it costs, and that no key leaks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from loopsim.catalog import settings_of
from loopsim.cli import app
from loopsim.errors import BudgetReached, ExperimentError, ModelError, RunFailed, UsageError
from loopsim.experiment import load_experiment, parse_experiment
from loopsim.models.hosted.meter import spent_in
from loopsim.plan import make_plan
from loopsim.presets import hosted
from loopsim.runner import run_plan
from loopsim.store import open_run
from tests import hosted_server as served
from tests import tiny_captioners
from tests.hosted_server import KEY, Server

HOSTED: dict[str, Any] = {
    "iterations": 2,
    "replicates": 1,
    "generator": {"model": "endpoint:lab/painter", "size": "16x16", "price": {"image": 0.04}},
    "captioner": {"model": "endpoint:lab/talker", "price": {"input": 1.0, "output": 1.0}},
}
STEP = 0.04 + 25e-6
"""What one step costs at these prices, in the server's count of tokens."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with served.running(monkeypatch) as running:
        yield running


def whole_directory(folder: Path) -> bytes:
    """Every byte of a run directory, Parquet files also unpacked."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            parts.append(path.read_bytes())
            if path.suffix == ".parquet":
                parts.append(repr(pq.read_table(path).to_pylist()).encode())
    return b"".join(parts)


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_a_loop_of_hosted_models_keeps_what_the_services_said(server: Server, planned, out: Path):
    run = run_plan(planned(**HOSTED), out)
    steps = run.steps(images=True)
    drawn = steps[steps["t"] > 0]
    assert len(drawn) == 6
    assert drawn["text"].str.startswith("a picture of brightness").all()
    assert drawn["caption_tokens"].eq(5).all()
    for details in drawn["details"].map(json.loads):
        assert details["generator"]["revised_prompt"].startswith("A detailed picture: ")
        assert details["generator"]["cost"] == 0.04
        assert details["captioner"]["fingerprint"] == "fp_44709d6fcb"
        assert details["captioner"]["model"] == "served-2026-11-01"
        assert (details["captioner"]["tokens_in"], details["captioner"]["tokens_out"]) == (20, 5)
    assert steps[steps["t"] == 0]["details"].isna().all()
    models = {m["role"]: m for m in run.manifest["provenance"]["models"]}
    assert models["generator"]["base_url"] == server.base_url
    assert models["captioner"]["location"] == "endpoint:lab/talker"
    end = next(event for event in run.events() if event["event"] == "end")
    assert {m["adapter"] for m in end["models"]} == {"HostedGenerator", "HostedCaptioner"}
    assert spent_in(run.events()) == pytest.approx(6 * STEP)


def test_the_step_sends_its_own_seeds(server: Server, planned, out: Path):
    steps = run_plan(planned(**HOSTED), out).steps().query("t > 0")
    sent = {path: {body["seed"] for p, body, _, _ in server.requests if p == path} for path, *_ in server.requests}
    assert sent["/v1/images/generations"] == {int(s) % 2**31 for s in steps["generator_seed"]}
    assert sent["/v1/chat/completions"] == {int(s) % 2**31 for s in steps["captioner_seed"]}


def test_facts_are_asked_for_and_kept(server: Server, planned, out: Path):
    server.faults.append(served.chat({"content": 'Sure: {"subject": "a boat", "mood": "calm"}'}))
    captioner = {"model": "endpoint:lab/talker", "structured": ["subject", "mood"]}
    run = run_plan(planned(iterations=1, replicates=1, starts=["a boat"], captioner=captioner), out)
    (step,) = run.steps().query("t == 1").itertuples()
    assert step.text == "subject: a boat; mood: calm"
    assert json.loads(step.details)["captioner"]["facts"] == {"subject": "a boat", "mood": "calm"}
    assert '"subject", "mood"' in server.requests[0][1]["messages"][0]["content"][0]["text"]


# ---- what fails ------------------------------------------------------------------------------------------------------


def test_a_refused_prompt_fails_its_trajectory_alone_and_is_not_tried_again(server: Server, planned, out: Path):
    server.forbidden = ("boat",)
    plan = planned(**HOSTED, starts=["a boat", "a house", "a tree"])
    run = run_plan(plan, out)
    (failure,) = run.failures()
    assert failure.message.startswith("refused: content_policy_violation")
    assert (failure.t, failure.role, failure.traceback) == (1, "generator", "")
    assert run.count_steps() == (4, 4)
    asked = [body["prompt"] for path, body, _, _ in server.requests if path.endswith("generations")]
    assert asked.count("a boat") == asked.count("a house") == 1
    before = len(server.requests)
    run_plan(plan, out)
    assert len(server.requests) == before


def test_where_every_prompt_is_refused_every_refusal_is_on_record(server: Server, planned, out: Path):
    server.forbidden = ("a", "e", "i", "o", "u")
    run = run_plan(planned(**HOSTED), out)
    assert [f.message.startswith("refused: ") for f in run.failures()] == [True] * 3
    assert run.count_steps() == (0, 0)


def test_an_outage_stops_the_run_and_the_same_command_goes_on(server: Server, planned, out: Path):
    plan = planned(**HOSTED, cohort=1)
    server.faults.extend([lambda handler: False] * 2)
    server.faults.extend([served.status(500)] * 4)
    with pytest.raises(RunFailed, match="run the same command again when the service is back"):
        run_plan(plan, out)
    assert open_run(out).failures() == []
    assert open_run(out).count_steps()[0] == 1
    run = run_plan(plan, out)
    assert run.count_steps() == (6, 6)
    assert run.steps()["text"].notna().all()


def test_a_missing_key_is_said_before_anything_is_drawn(server: Server, planned, out: Path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("LOOPSIM_API_KEY_OPENAI", raising=False)
    plan = planned(**(HOSTED | {"captioner": "openai:gpt-4o-mini"}))
    with pytest.raises(ModelError, match="no key: set the environment variable OPENAI_API_KEY"):
        run_plan(plan, out)
    assert server.requests == []
    monkeypatch.setenv("LOOPSIM_API_KEY_OPENAI", KEY)
    monkeypatch.setenv("LOOPSIM_BASE_URL_OPENAI", server.base_url)
    assert run_plan(plan, out).count_steps() == (6, 6)


def test_a_finished_run_needs_no_key(server: Server, planned, out: Path, monkeypatch):
    plan = planned(**HOSTED)
    run_plan(plan, out)
    monkeypatch.delenv("LOOPSIM_API_KEY_LAB")
    monkeypatch.delenv("LOOPSIM_BASE_URL_LAB")
    assert run_plan(plan, out).count_steps() == (6, 6)


# ---- cost ------------------------------------------------------------------------------------------------------------


def test_the_limit_stops_cleanly_and_a_higher_one_goes_on(server: Server, planned, out: Path):
    plan = planned(**HOSTED, cohort=1)
    with pytest.raises(BudgetReached, match=r"--max-cost 0.15 reached: \$0.1201 is spent"):
        run_plan(plan, out, max_cost=0.15)
    run = open_run(out)
    assert run.count_steps()[0] == 3
    assert run.failures() == []
    assert spent_in(run.events()) == pytest.approx(3 * STEP)
    assert run.events()[-1]["event"] == "stopped"
    with pytest.raises(BudgetReached):
        run_plan(plan, out, max_cost=0.15)
    assert spent_in(open_run(out).events()) == pytest.approx(3 * STEP)
    run = run_plan(plan, out, max_cost=1.0)
    assert run.count_steps() == (6, 6)
    assert spent_in(run.events()) == pytest.approx(6 * STEP)


def test_a_limit_needs_a_price(server: Server, planned, out: Path):
    plan = planned(**(HOSTED | {"captioner": "endpoint:lab/talker"}))
    with pytest.raises(UsageError, match="what does endpoint:lab/talker charge"):
        run_plan(plan, out, max_cost=1.0)
    assert not out.exists()


def test_a_limit_on_models_that_cost_nothing_is_kept(planned, out: Path):
    assert run_plan(planned(iterations=1), out, max_cost=0.5).count_steps() == (6, 6)


def test_the_price_is_no_part_of_a_trajectory(planned):
    cheaper = HOSTED | {"generator": HOSTED["generator"] | {"price": {"image": 0.01}}}
    assert [t.id for t in planned(**HOSTED).trajectories] == [t.id for t in planned(**cheaper).trajectories]


# ---- the key, through the command line -------------------------------------------------------------------------------


def write(tmp_path: Path, **keys: Any) -> Path:
    path = tmp_path / "experiment.yaml"
    raw = {"name": "try", "starts": ["a boat", "a house"], "embedders": "mock", "cohort": 1} | HOSTED | keys
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def loopsim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def echo(status: int) -> served.Fault:
    return served.status(status, f"you sent {KEY}")


@pytest.mark.parametrize(
    ("faults", "exit_status"),
    [
        ([], 0), ([echo(400)], 2), ([echo(401)], 2), ([echo(403)], 2), ([echo(404)], 2), ([echo(402)], 1),
        ([echo(500)] * 4, 1), ([served.body(KEY)] * 4, 1), ([served.truncated] * 4, 1), ([served.hang_up] * 4, 1),
        ([served.status(400, f"content_policy {KEY}")], 1),
        ([served.body(json.dumps({"data": [{"b64_json": KEY}]}))] * 4, 1),
    ],
)  # fmt: skip
def test_the_key_is_in_no_file_and_no_message(
    server: Server, tmp_path: Path, monkeypatch, faults: list[served.Fault], exit_status: int
):
    monkeypatch.setattr("loopsim.report.figures.draw_figures", lambda run, measurements: [])
    server.faults.extend(faults)
    result = loopsim("run", write(tmp_path), "--out", tmp_path / "out")
    assert result.exit_code == exit_status, result.output
    if exit_status and "failed" not in result.stderr:
        assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    everything = whole_directory(tmp_path / "out") + result.output.encode()
    for secret in (KEY, KEY[:12], KEY[-12:]):
        assert secret.encode() not in everything


def test_the_command_says_what_it_cost_and_ends_with_its_own_status(server: Server, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("loopsim.report.figures.draw_figures", lambda run, measurements: [])
    result = loopsim("run", write(tmp_path), "--out", tmp_path / "out", "--max-cost", "0.1")
    assert result.exit_code == 3, result.output
    assert "loopsim: --max-cost 0.1 reached" in result.stderr
    assert "the same command with a higher --max-cost goes on" in result.stderr
    result = loopsim("run", write(tmp_path), "--out", tmp_path / "out", "--max-cost", "1")
    assert result.exit_code == 0, result.output
    assert f"hosted models have cost about ${4 * STEP:.4f}" in result.stderr


# ---- what is asked for -----------------------------------------------------------------------------------------------


def test_what_means_nothing_to_a_service_is_left_out_of_the_identity(planned):
    (condition,) = planned(**HOSTED).conditions
    generator, captioner = (spec.identity()["settings"] for spec in condition.chain)
    assert generator == {"size": "16x16"}
    assert captioner == {
        "instruction": "Describe this image in one or two sentences.", "max_new_tokens": 128, "temperature": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("role", "name", "given", "words"),
    [
        ("generator", "openai:m", {"steps": 5}, "does not know steps; it takes request, size"),
        ("generator", "openai:m", {"guidance": 5.0, "scheduler": "x"}, "does not know guidance, scheduler"),
        ("captioner", "openai:m", {"beams": 2}, "does not know beams"),
        ("captioner", "openai:m", {"revision": "abc"}, "does not know revision"),
        ("captioner", "openai:m", {"temperature": 2.5}, "temperature 2.5 is above what openai takes, 2"),
        ("captioner", "anthropic:m", {"temperature": 1.5}, "temperature 1.5 is above what anthropic takes, 1"),
        ("generator", "anthropic:m", {}, "anthropic offers no image endpoint"),
        ("generator", "openai:m", {"request": '{"n": 2}'}, "request may not set n"),
        ("captioner", "openai:m", {"request": '{"Authorization": "x"}'}, "may not set Authorization"),
        ("generator", "openai:", {}, "names no hosted model: write openai:MODEL"),
        ("generator", "endpoint:lab", {}, "endpoint:NAME/MODEL with the address"),
        ("generator", "mock", {"request": '{"a": 1}'}, "request is for hosted models"),
    ],
)
def test_what_a_service_does_not_take_is_refused_when_planned(role, name: str, given: dict[str, Any], words: str):
    with pytest.raises(ModelError, match=words):
        settings_of(role, name, given)


def test_an_embedder_is_not_hosted():
    with pytest.raises(ModelError, match="embedders run here"):
        hosted.find("embedder", "openai:text-embedding-3-small")


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        ({"model": "openai:m", "price": {}}, "generator.price: an empty price"),
        ({"model": "openai:m", "price": {"image": -1}}, "generator.price.image: "),
        ({"model": "openai:m", "price": 0.04}, "generator.price: "),
        ({"model": "openai:m", "request": "fast"}, "generator.request: must be a mapping"),
        ({"model": "openai:m", "request": {}}, "generator.request: must be a mapping"),
        ({"model": "mock", "price": {"image": 1}}, "a price is for hosted models"),
    ],
)
def test_a_wrong_price_or_request_is_answered(generator: dict[str, Any], words: str):
    raw = {"name": "try", "iterations": 1, "starts": ["a boat"], "generator": generator, "captioner": "mock"}
    with pytest.raises(ExperimentError, match=words):
        make_plan(parse_experiment(raw))


def test_further_fields_survive_the_run_directory(server: Server, planned, out: Path):
    generator = HOSTED["generator"] | {"request": {"quality": "low", "style": None}}
    plan = planned(**(HOSTED | {"generator": generator}))
    run = run_plan(plan, out)
    assert server.requests[0][1]["quality"] == "low"
    assert run.trajectories()["generator.request"].iloc[0] == '{"quality": "low", "style": null}'
    again = make_plan(load_experiment(out / "experiment.yaml"))
    assert [t.id for t in again.trajectories] == [t.id for t in plan.trajectories]


# ---- the table -------------------------------------------------------------------------------------------------------

SERVICES = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY", "max_completion_tokens", False, True, 2.0, True),
    "anthropic": ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "max_tokens", False, False, 1.0, False),
    "google": (
        "https://generativelanguage.googleapis.com/v1beta/openai", "GOOGLE_API_KEY", "max_tokens", False, False, 2.0,
        True,
    ),
}  # fmt: skip
MODELS = {
    "openai:gpt-image-2.6-sunburst": ("generator", "openai-images", "1024x1024", (None, 5.0, 30.0, "2026-11-22")),
    "openai:gpt-image-2": ("generator", "openai-images", "1024x1024", None),
    "openai:gpt-4o": ("captioner", "openai-chat", "", (None, 2.5, 10.0, None)),
    "openai:gpt-4o-mini": ("captioner", "openai-chat", "", (None, 0.15, 0.6, None)),
}


def test_every_service_by_value():
    found = {
        s.name: (
            s.base_url, s.key_variables[-1], s.max_tokens, s.image_seed, s.chat_seed, s.highest_temperature, s.draws,
        )
        for s in hosted.SERVICES.values()
    }  # fmt: skip
    assert found == SERVICES
    assert all(s.key_needed for s in hosted.SERVICES.values())


def test_every_hosted_model_by_value():
    found = {}
    for e in hosted.HOSTED:
        price = hosted.PRICES.get(e.name)
        numbers = None if price is None else (price.image, price.input, price.output, price.looked_up)
        found[e.name] = (e.role, e.family, e.native, numbers)
        assert e.location == e.name
        assert hosted.find(e.role, e.name) is e
    assert found == MODELS
    assert set(hosted.PRICES) <= set(MODELS)


# ---- older runs ------------------------------------------------------------------------------------------------------


def without_details(folder: Path) -> None:
    """Steps as loopsim 0.1.0 wrote them."""
    for path in (folder / "steps").glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["details"]), path)


def test_a_run_from_before_there_were_details_is_read_continued_and_exported(planned, tmp_path: Path):
    run_plan(planned(iterations=2), tmp_path / "old")
    without_details(tmp_path / "old")
    old = open_run(tmp_path / "old")
    assert old.steps()["details"].isna().all()
    assert [step.details for step in old.last_steps("c0000")] == [None] * 6
    longer = run_plan(planned(iterations=4), tmp_path / "old")
    assert longer.count_steps() == (24, 24)
    (shard,) = (tmp_path / "old" / "steps").glob("*.parquet")
    table = pq.read_table(shard)
    assert table.schema.field("details").type == pa.string()
    straight = run_plan(planned(iterations=4), tmp_path / "straight")
    columns = ["trajectory_id", "t", "text", "details"]
    assert longer.steps(columns).equals(straight.steps(columns))
    without_details(tmp_path / "old")
    result = loopsim("export", tmp_path / "old", "--to", "table", "--out", tmp_path / "old.csv")
    assert result.exit_code == 0, result.output
    assert "details" in (tmp_path / "old.csv").read_text().splitlines()[0]


# ---- transformers serve ----------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port of nobody's, below those that the system deals out: no neighbour is given it meanwhile."""
    choice = random.SystemRandom()
    while True:
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", choice.randrange(20_000, 32_000)))
            return int(free.getsockname()[1])


def wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until it answers: importing everything takes seconds, and minutes beside busy neighbours."""
    end = time.monotonic() + 500
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The base URL of `transformers serve` with a tiny model that sees pictures, and the model's folder."""
    folder = tmp_path_factory.mktemp("serve") / "tiny"
    tiny_captioners.build("smolvlm", folder)
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--host", "127.0.0.1",
        "--port", str(port), "--device", "cpu",
    ]  # fmt: skip
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = folder.parent / "log.txt"
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            wait_for(process, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1", folder
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.slow
def test_captions_of_transformers_serve(
    transformers_serve: tuple[str, Path], planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    url, folder = transformers_serve
    monkeypatch.setenv("LOOPSIM_BASE_URL_MINE", url)
    captioner = {"model": f"endpoint:mine/{folder}", "max_new_tokens": 6, "temperature": 0.7, "batch_size": 1}
    plan = planned(iterations=2, replicates=1, starts=["a red house", "the blue sea"], captioner=captioner)
    run = run_plan(plan, tmp_path / "a")
    drawn = run.steps().query("t > 0")
    assert len(drawn) == 4
    assert drawn["caption_tokens"].le(6).all()
    for details in drawn["details"].map(json.loads):
        assert details["captioner"]["model"].removesuffix("@main") == str(
            folder
        )  # as the version of transformers has it
        assert details["captioner"]["tokens_in"] > 0
    # One request at a time, so that the seed that each sends is the one that its words are drawn with.
    again = run_plan(plan, tmp_path / "b")
    assert again.steps()["text"].tolist() == run.steps()["text"].tolist()


@pytest.mark.slow
def test_a_field_that_transformers_serve_does_not_know_is_answered(
    transformers_serve: tuple[str, Path], planned, out: Path, monkeypatch: pytest.MonkeyPatch
):
    url, folder = transformers_serve
    monkeypatch.setenv("LOOPSIM_BASE_URL_MINE", url)
    captioner = {"model": f"endpoint:mine/{folder}", "request": {"no_such_field": 1}}
    plan = planned(iterations=1, replicates=1, starts=["a red house"], captioner=captioner)
    with pytest.raises(ModelError, match=r"Unexpected fields in the request.*no_such_field"):
        run_plan(plan, out)
