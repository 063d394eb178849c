"""Bad input through the command line: one message, the right exit status, nothing stored harmed."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.errors import StoreError
from loopsim.store import open_run
from loopsim.store.manifest import manifest_bytes

MINIMAL: dict[str, Any] = {
    "name": "try",
    "seed": 7,
    "iterations": 2,
    "starts": ["a red house", "the blue sea", "two birds at night"],
    "generator": "mock",
    "captioner": "mock",
    "embedders": "mock",
}


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Drawing takes seconds, and is not what is tested here."""
    monkeypatch.setattr("loopsim.report.figures.draw_figures", lambda run, measurements: [])
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes an experiment file; keywords replace, add or (with ...) leave out keys."""

    def make(**keys: Any) -> Path:
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in (MINIMAL | keys).items() if v is not ...}), encoding="utf-8")
        return path

    return make


def loopsim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def good(*arguments: object) -> Result:
    result = loopsim(*arguments)
    assert result.exit_code == 0, result.output
    return result


def message(result: Result, status: int) -> str:
    """The one message of a command that failed as it should."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)  # anything else would print a traceback
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    assert result.stderr.count("loopsim: ") == 1
    return result.stderr.partition("loopsim: ")[2]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def contents(folder: Path) -> list[tuple]:
    """What must be the same in two runs of one experiment."""
    frame = open_run(folder).steps(images=True).drop(columns=["seconds"])
    frame["image"] = [None if i is None else i["bytes"] for i in frame["image"]]
    return [tuple(map(repr, row)) for row in frame.itertuples(index=False)]


def embedded(folder: Path) -> list[tuple]:
    frame = open_run(folder).embeddings().sort_values(["trajectory_id", "t", "modality"])
    return [(*row[:3], np.asarray(row[3]).tobytes()) for row in frame.itertuples(index=False)]


# ---- the experiment file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"itertions": 3}, ["itertions: unknown key", "did you mean 'iterations'?", "known keys: name, "]),
        ({"iterations": "many"}, ["iterations: ", "'many'"]),
        ({"iterations": ...}, ["iterations: "]),
        ({"starts": []}, ["starts: "]),
        ({"starts": {"prompts": []}}, ["starts.0: the list is empty: a run needs at least one start"]),
        ({"starts": ["a", " "]}, ["starts.0: prompt number 2 is empty"]),
        ({"starts": ["a", "a"]}, ["number 1 and number 2 are the same"]),
        ({"starts": "nope.txt"}, ["starts.0.file: ", "nope.txt: there is no such file"]),
        ({"starts": {"images": ["nope.png"]}}, ["nope.png: there is no such file"]),
        ({"starts": {"from": "nope/0f/1"}}, ["nope: there is no run here"]),
        ({"starts": {"from": "nope"}}, ["'nope' must be RUN/TRAJECTORY/t"]),
        (
            {"generator": "mok"},
            ["unknown generator 'mok'. Did you mean 'mock'?", "Known: postcards, postcards-flat, mock, sd-1.5"],
        ),
        ({"captioner": "sdxl"}, ["captioner 'sdxl': this is known as a generator", "name it under generator"]),
        (
            {"captioner": "no-such-model"},
            ["unknown captioner 'no-such-model'", "Known: postcards, postcards-flat, postcards-terse, mock, blip-base"],
        ),
        ({"embedders": ["mock", "klip"]}, ["unknown embedder 'klip'", "Known: postcards, mock, clip-vit-b-32"]),
        ({"generator": "./nope"}, ["generator './nope': there is no such directory"]),
        ({"captioner": "./nope"}, ["captioner './nope': there is no such directory"]),
        ({"embedders": "./nope"}, ["embedder './nope': there is no such directory"]),
        (
            {"captioner": {"model": "mock", "beams": 3, "temperature": 0.5}},
            ["captioner: beams", "set beams: 1 or temperature: 0"],
        ),
        ({"noise": ["fresh", "fresh"]}, ["two cells of the grid are the same"]),
    ],
)
def test_a_wrong_experiment_is_a_usage_error_and_makes_nothing(
    write: Callable[..., Path], tmp_path: Path, command: str, keys: dict[str, Any], says: list[str]
):
    path = write(**keys)
    text = message(loopsim(command, path), 2)
    for part in says:
        assert part in text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope.yaml"], "nope.yaml: there is no such experiment file"),
        (["empty"], "experiment.yaml: there is no such experiment file"),
        (["e.yaml", "iterations"], "override 'iterations': must be key=value"),
        (["e.yaml", "generator.stps=4"], "e.yaml: generator.stps: unknown key; did you mean 'steps'?"),
        (["e.yaml", "iterations=0"], "e.yaml: iterations: "),
        (["e.yaml", "captoner.beams=2"], "the experiment has no 'captoner'"),
        (["broken.yaml"], "broken.yaml: not YAML: line 1"),
        (["list.yaml"], "list.yaml: must be a mapping"),
        (["latin.yaml"], "latin.yaml: cannot be read"),
    ],
)
def test_a_wrong_file_or_override_is_a_usage_error(tmp_path: Path, arguments: list[str], says: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(MINIMAL))
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "list.yaml").write_text("- a")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    assert says in message(loopsim("run", *arguments), 2)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("how", ["text", "cut"])
def test_an_unreadable_image_start_is_refused_before_the_run_begins(
    write: Callable[..., Path], tmp_path: Path, how: str
):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(b"not a picture" if how == "text" else whole[: len(whole) // 2])
    text = message(loopsim("run", write(starts={"images": ["a.jpg"]}), "--out", "out"), 2)
    assert "a.jpg: cannot be read as an image" in text
    assert not (tmp_path / "out").exists()


def test_brackets_in_the_name_of_a_directory_are_shown(write: Callable[..., Path]):
    # Rich takes [x] for markup, and an unpaired [/x] for a mistake.
    assert "study [final]" in good("run", write(), "--out", "study [final]").stderr
    good("run", write(), "--out", "a[/b]")


def test_brackets_in_a_label_are_shown_in_the_table_of_a_plan(write: Callable[..., Path]):
    captioner = {"model": "mock", "instruction": ["[INST] describe [/INST]", "say"]}
    assert "[/INST]" in good("plan", write(captioner=captioner)).stdout


def test_brackets_in_a_message_are_shown(write: Callable[..., Path]):
    assert "unknown generator 'a[bold]b[/c]'" in message(loopsim("run", write(generator="a[bold]b[/c]")), 2)


@pytest.mark.parametrize("device", ["warp", "cuda:x", ""])
def test_an_unknown_device_lists_the_known_ones(write: Callable[..., Path], tmp_path: Path, device: str):
    result = loopsim("run", write(), "--device", device)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert all(name in result.stderr for name in ("auto", "cpu", "cuda", "mps"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments", [["run"], ["status"], ["fly"], ["run", "e.yaml", "--threads", "0"], ["run", "e.yaml", "--nope"]]
)
def test_a_command_that_is_not_understood_is_a_usage_error(arguments: list[str]):
    result = loopsim(*arguments)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "Usage" in result.stderr


def test_a_real_process_prints_one_message_and_no_traceback(write: Callable[..., Path]):
    done = subprocess.run(
        [sys.executable, "-m", "loopsim", "run", str(write(itertions=3))], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("loopsim: ")
    assert "itertions: unknown key" in done.stderr
    assert "Traceback" not in done.stderr


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["generator", "captioner"])
@pytest.mark.parametrize("junk", [{}, {"model_index.json": "{}", "config.json": "{}"}, {"config.json": "not JSON"}])
def test_a_directory_that_is_no_model_is_a_usage_error(
    write: Callable[..., Path], tmp_path: Path, role: str, junk: dict[str, str]
):
    folder = tmp_path / "not a model"
    folder.mkdir()
    for name, text in junk.items():
        (folder / name).write_text(text)
    text = message(loopsim("run", write(**{role: str(folder)}), "--out", "out"), 2)
    assert text.startswith(f"{role} {str(folder)!r}")
    assert not (tmp_path / "out").exists()


def test_a_directory_that_is_no_embedder_is_refused_before_anything_is_generated(
    write: Callable[..., Path], tmp_path: Path
):
    folder = tmp_path / "not a model"
    folder.mkdir()
    text = message(loopsim("run", write(embedders=str(folder)), "--out", "out"), 2)
    assert text.startswith(f"embedder {str(folder)!r}: the directory has no modules.json, open_clip_config.json, ")
    assert not (tmp_path / "out").exists()
    (folder / "open_clip_config.json").write_text("{}")
    text = message(loopsim("run", write(embedders=str(folder)), "--out", "out"), 2)
    assert text.startswith(f"embedder {str(folder)!r}: there are no weights in the directory")
    good("run", write(), "--out", "out")
    assert json.loads(good("status", "out", "--json").stdout)["measured"]


def test_after_a_model_that_could_not_be_loaded_the_mended_experiment_may_have_the_directory(
    write: Callable[..., Path], tmp_path: Path
):
    (tmp_path / "not a model").mkdir()
    message(loopsim("run", write(generator="./not a model"), "--out", "out"), 2)
    good("run", write(), "--out", "out")
    assert json.loads(good("status", "out", "--json").stdout)["steps"] == 6


def test_an_unknown_scheduler_lists_those_the_generator_can_use(write: Callable[..., Path]):
    path = write(generator={"model": "postcards", "scheduler": "DPM"})
    text = message(loopsim("run", path, "--out", "out"), 2)
    assert "scheduler 'DPM': this generator can use " in text
    assert "DPMSolverMultistepScheduler" in text


# ---- the run directory -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "experiment.yaml").write_text(yaml.safe_dump(MINIMAL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loopsim.report.figures.draw_figures", lambda run, measurements: [])
        good("run", folder / "experiment.yaml", "--out", folder / "out")
    return folder / "out"


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    """A finished run, `out`, to do with as one likes."""
    return Path(shutil.copytree(finished_once, tmp_path / "out"))


@pytest.mark.parametrize(
    ("keys", "shows"),
    [
        ({"seed": 8}, "seed: there 7, here 8"),
        ({"generator": {"model": "mock", "steps": 2}}, "steps: there (not given), here 2"),
        ({"starts": MINIMAL["starts"][:2]}, "1 removed ('two birds at night'…)"),
        ({"starts": [*MINIMAL["starts"], "a storm"]}, "1 added ('a storm'…)"),
        ({"noise": "fixed"}, "noise: 1 removed ('fresh'…), 1 added ('fixed'…)"),
        ({"replicates": 2}, "replicates: there 1, here 2"),
        ({"cohort": 2}, "cohort: there 64, here 2"),
        ({"iterations": 1}, "iterations: there 2, here 1"),
    ],
)
def test_another_experiment_is_refused_with_the_difference_and_changes_no_byte(
    write: Callable[..., Path], finished: Path, keys: dict[str, Any], shows: str
):
    before = everything(finished)
    text = message(loopsim("run", write(**keys), "--out", "out"), 2)
    assert "out holds a run of another experiment; nothing was changed" in text
    assert shows in text
    assert "Choose another --out" in text
    assert everything(finished) == before


def test_what_is_no_part_of_the_identity_may_change(write: Callable[..., Path], finished: Path):
    before = contents(finished)
    good("run", write(name="other", description="x", generator={"model": "mock", "batch_size": 2}), "--out", "out")
    assert contents(finished) == before


def test_a_folder_with_other_things_in_it_is_left_alone(write: Callable[..., Path], tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    before = everything(tmp_path / "out")
    assert "out: exists and is not a run; choose another --out" in message(loopsim("run", write(), "--out", "out"), 2)
    assert everything(tmp_path / "out") == before


def test_a_file_is_no_run_directory(write: Callable[..., Path], tmp_path: Path):
    (tmp_path / "out").write_text("words")
    assert "out: exists and is not a run" in message(loopsim("run", write(), "--out", "out"), 2)
    assert (tmp_path / "out").read_text() == "words"


def test_a_directory_cannot_be_made_under_a_file(write: Callable[..., Path], tmp_path: Path):
    (tmp_path / "file").write_text("words")
    assert "cannot be written" in message(loopsim("run", write(), "--out", "file/out"), 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_directory_that_may_not_be_written_is_named(write: Callable[..., Path], tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o500)
    text = message(loopsim("run", write(), "--out", "closed/out"), 1)
    assert "closed/out: cannot be written: Permission denied" in text


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nobody may make a directory")
def test_a_directory_that_nobody_can_make_is_named(write: Callable[..., Path]):
    assert "/proc/loopsim-out: cannot be written" in message(loopsim("run", write(), "--out", "/proc/loopsim-out"), 1)


def test_a_finished_run_that_cannot_be_locked_is_named_and_still_has_a_status(
    write: Callable[..., Path], finished: Path
):
    # As in a read-only copy of someone else's run, which root cannot make.
    (finished / ".lock").unlink()
    (finished / ".lock").mkdir()
    assert "out" in message(loopsim("run", write(), "--out", "out"), 1)
    good("status", "out")


@pytest.mark.parametrize("where", ["nope", ".", "experiment.yaml"])
def test_the_status_of_what_is_no_run_is_a_usage_error(write: Callable[..., Path], where: str):
    write()
    assert "there is no run here (no manifest.json)" in message(loopsim("status", where), 2)


@pytest.mark.parametrize("command", ["run", "status"])
def test_a_run_of_a_newer_format_is_refused_with_the_command_to_upgrade(
    write: Callable[..., Path], finished: Path, command: str
):
    manifest = json.loads((finished / "manifest.json").read_text())
    (finished / "manifest.json").write_text(json.dumps(manifest | {"format": 99, "loopsim": "9.0"}))
    before = everything(finished)
    text = message(loopsim("status", "out") if command == "status" else loopsim("run", write(), "--out", "out"), 1)
    assert "written in format 99 by loopsim 9.0; this one reads up to 1: upgrade with `pip install -U loopsim`" in text
    assert everything(finished) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b"{"),
        ("manifest.json", b"[]"),
        ("manifest.json", b'{"format": 1}'),
        ("experiment.yaml", b""),
        ("experiment.yaml", b"name: ["),
        ("experiment.yaml", None),
        ("trajectories.parquet", b"PAR1 cut"),
        ("trajectories.parquet", None),
        ("steps/c0000-0000000-0000002.parquet", b"PAR1 cut"),
    ],
)
@pytest.mark.parametrize("command", ["run", "status"])
def test_a_damaged_run_is_named_with_the_file(
    write: Callable[..., Path], finished: Path, command: str, name: str, content: bytes | None
):
    if content is None:
        (finished / name).unlink()
    else:
        (finished / name).write_bytes(content)
    text = message(loopsim("status", "out") if command == "status" else loopsim("run", write(), "--out", "out"), 1)
    assert Path(name).name in text


STRAY = "f" * 16


def other_ids(path: Path) -> None:
    """Say of the first trajectory in a table that it is one which the run does not have."""
    table = pq.read_table(path)
    ids = table["trajectory_id"].to_pylist()
    renamed = pa.array([STRAY if name == ids[0] else name for name in ids])
    pq.write_table(table.set_column(table.column_names.index("trajectory_id"), "trajectory_id", renamed), path)


def first_row_gone(run: Path) -> None:
    path = run / "trajectories.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)


def member_gone(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["cohorts"]["c0000"].pop()
    (run / "manifest.json").write_bytes(manifest_bytes(manifest))


def of_no_cohort(folder: Path) -> None:
    (path,) = folder.glob("c0000-*.parquet")
    shutil.copy(path, path.with_name(path.name.replace("c0000", "c0099")))


ALL = ("run", "status", "measure", "plot", "report", "export", "view")
DISAGREEMENTS: dict[str, tuple[Callable[[Path], None], str, tuple[str, ...]]] = {
    "a row of the table": (lambda run: other_ids(run / "trajectories.parquet"), f"holds trajectory {STRAY}", ALL),
    "a row too few": (first_row_gone, "trajectories.parquet: lacks trajectory ", ALL),
    "the manifest": (member_gone, "trajectories.parquet: holds trajectory ", ALL[1:]),
    "a step": (lambda run: other_ids(next((run / "steps").glob("c*"))), f"holds trajectory {STRAY}", ALL),
    "a file of steps": (lambda run: of_no_cohort(run / "steps"), "is of cohort c0099, which manifest", ALL),
    "a vector": (
        lambda run: other_ids(next((run / "embeddings" / "mock").glob("c*"))), f"holds trajectory {STRAY}",
        ("measure", "report", "view"),
    ),
    "a file of vectors": (
        lambda run: of_no_cohort(run / "embeddings" / "mock"), "is of cohort c0099", ("measure", "report", "view")
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DISAGREEMENTS)
def test_files_of_a_run_that_disagree_are_one_message_in_every_command(
    write: Callable[..., Path], finished: Path, what: str
):
    harm, says, commands = DISAGREEMENTS[what]
    harm(finished)
    arguments = {
        "run": ("run", write(), "--out", "out"),
        "plot": ("plot", "filmstrip", "out"),
        "export": ("export", "out", "--to", "table", "--out", "steps.csv"),
    }
    for command in commands:
        result = loopsim(*arguments.get(command, (command, "out")))
        assert result.exit_code == 1, command
        text = message(result, 1)
        assert says in text, command
        assert "`loopsim verify out` says what is hit" in " ".join(text.split()), command
    assert "Traceback" not in loopsim("verify", "out").output
    assert loopsim("verify", "out").exit_code == 1


@pytest.mark.parametrize(
    ("folder", "commands"),
    [("steps", ("run", "status", "measure", "plot", "report", "export")), ("embeddings/mock", ("measure", "report"))],
)
def test_a_file_with_the_rows_of_another_cohort_is_named_and_its_rows_do_not_count_twice(
    write: Callable[..., Path], tmp_path: Path, folder: str, commands: tuple[str, ...]
):
    good("run", write(cohort=2), "--out", "out")
    first, second = sorted((tmp_path / "out" / folder).glob("c*.parquet"))
    shutil.copy(first, second)
    run = open_run("out")
    (other,) = run.cohorts["c0001"]
    reads: list[Callable[[], object]] = [lambda: run.steps(["t"]), lambda: run.pictures(run.cohorts["c0000"], [1])]
    if folder != "steps":
        reads = [run.embeddings, lambda: run.vectors("mock", "text"), lambda: run.vectors("mock", "text", [other])]
    for read in reads:
        with pytest.raises(StoreError, match=rf"{second.name}: holds trajectory \w+ and 1 more, which manifest.json"):
            read()
    arguments = {
        "run": ("run", tmp_path / "experiment.yaml", "--out", "out"),
        "plot": ("plot", "filmstrip", "out"),
        "export": ("export", "out", "--to", "table", "--out", "steps.csv"),
    }
    for command in commands:
        text = message(loopsim(*arguments.get(command, (command, "out"))), 1)
        assert second.name in text, command
    assert second.name in loopsim("verify", "out").output


def test_a_second_writer_is_refused(write: Callable[..., Path], finished: Path):
    before = everything(finished)
    with open_run(finished).writing():
        text = message(loopsim("run", write(iterations=3), "--out", "out"), 2)
    assert "another process is writing to this run" in text
    assert {k: v for k, v in everything(finished).items() if k.startswith("steps")} == {
        k: v for k, v in before.items() if k.startswith("steps")
    }


# ---- failed runs -----------------------------------------------------------------------------------------------------


def test_a_run_with_failures_ends_with_status_1_and_says_whose(write: Callable[..., Path]):
    text = message(loopsim("run", write(starts=["fail", "a boat", "a tree"]), "--out", "out"), 1)
    assert "1 trajectories failed" in text
    assert "iteration 1, generator mock: RuntimeError: the mock generator was asked to fail" in text
    assert json.loads(good("status", "out", "--json").stdout)["failed"] == 1


def test_a_run_in_which_everything_fails_says_so(write: Callable[..., Path]):
    assert "failed for all 2 trajectories" in message(
        loopsim("run", write(starts=["fail"], replicates=2), "--out", "out"), 1
    )


def test_strict_stops_at_the_first_failure(write: Callable[..., Path]):
    assert "asked to fail" in message(loopsim("run", write(starts=["fail", "a boat"]), "--out", "out", "--strict"), 1)


def test_one_prompt_and_one_iteration_are_enough(write: Callable[..., Path]):
    good("run", write(starts=["a boat"], iterations=1), "--out", "out")


# ---- full disks ------------------------------------------------------------------------------------------------------


class Disk:
    """A disk that is full from the n-th call of an `os` function on."""

    def __init__(self, real: Callable[..., Any], code: int = errno.ENOSPC) -> None:
        self.real, self.code, self.room, self.calls = real, code, 10**9, 0

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self.calls += 1
        if self.calls > self.room:
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*arguments, **keywords)


@pytest.fixture(params=["fsync", "replace"])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(getattr(os, request.param))
    monkeypatch.setattr(os, request.param, disk)
    return disk


@pytest.mark.timeout(300)  # a writer that fails at its last file once waited for ever
def test_a_full_disk_is_said_harms_nothing_and_the_run_resumes(
    write: Callable[..., Path], tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("loopsim.executors.writer.FLUSH_BYTES", 0)  # every iteration its own file
    path = write(iterations=3)
    good("run", path, "--out", "whole")
    needed = disk.calls
    # While the directory is made, between the first steps, while embedding, and at the very last file.
    for room in (0, 1, 2, needed // 2, needed - 1):
        out = tmp_path / f"out{room}"
        disk.calls, disk.room = 0, room
        text = message(loopsim("run", path, "--out", out), 1)
        assert "no space left on the disk. Everything stored so far is whole; free some space" in text
        assert not [name for name in everything(out) if "tmp" in Path(name).name]
        kept = everything(out / "steps")
        shards = {name: data for name, data in kept.items() if name.endswith(".parquet")}
        assert all(".checksums" in Path(name).parts for name in set(kept) - set(shards))
        for name, data in shards.items():
            assert pq.read_table(io.BytesIO(data)).num_rows, name
        disk.room = 10**9
        good("run", path, "--out", out)
        assert contents(out) == contents(tmp_path / "whole")
        assert embedded(out) == embedded(tmp_path / "whole")
        assert json.loads(good("status", out, "--json").stdout)["measured"]


@pytest.mark.timeout(300)  # a writer that fails at its last file once waited for ever
def test_extending_a_run_on_a_full_disk_keeps_what_was_there(write: Callable[..., Path], finished: Path, disk: Disk):
    before = everything(finished)
    disk.calls, disk.room = 0, 0
    message(loopsim("run", write(iterations=4), "--out", "out"), 1)
    after = everything(finished)
    assert {name: after[name] for name in before if name != ".lock"} == {
        name: data for name, data in before.items() if name != ".lock"
    }
    disk.room = 10**9
    good("run", write(iterations=4), "--out", "out")
    assert json.loads(good("status", "out", "--json").stdout)["steps"] == 12


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EROFS, errno.EIO])
def test_other_refusals_of_the_disk_are_told_as_such(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, code: int
):
    disk = Disk(os.fsync, code)
    disk.room = 0
    monkeypatch.setattr(os, "fsync", disk)
    text = message(loopsim("run", write(), "--out", "out"), 1)
    assert ("no space left" if code == errno.EDQUOT else os.strerror(code)) in text


def test_a_real_limit_of_the_file_system_is_one_message(write: Callable[..., Path], tmp_path: Path):
    # 200 pictures do not fit into files of 20 kB: the write itself fails, not the call that makes it durable.
    starts = [f"prompt {k}" for k in range(200)]
    path = write(starts=starts, generator={"model": "mock", "size": 64})
    done = subprocess.run(
        [sys.executable, "-m", "loopsim", "run", str(path), "--out", "out"],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert not list((tmp_path / "out").rglob("*.tmp*"))
