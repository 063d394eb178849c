"""Several processes at one run, each a share of its cohorts; and how a process ends when the machine says so."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from loopsim import cli as commands
from loopsim.cli import app
from loopsim.cli._signals import Stopped, stopping
from loopsim.errors import BudgetReached, LoopsimError, ModelError, RunBusy, StoreError, UsageError
from loopsim.runner import run_plan
from loopsim.store import Run, Share, create_run, open_run, read_share
from loopsim.store.shards import remove_leftovers
from loopsim.store.shares import holders, latest
from loopsim.verify import verify_run
from tests.test_runner import contents

RAW: dict[str, Any] = {
    "name": "shared", "seed": 7, "iterations": 6, "replicates": 2, "cohort": 2, "embedders": "mock",
    "starts": ["a red house", "the blue sea", "a fish", "two birds", "a boat"],
    "generator": "mock", "captioner": {"model": "mock", "temperature": 1.0},
}  # fmt: skip


def invoke(*words: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(RAW))
    return tmp_path / "e.yaml"


# ---- which cohorts ---------------------------------------------------------------------------------------------------


def test_shares_are_counted_from_one_and_together_are_everything():
    cohorts = list("abcdefgh")
    parts = [Share(i, 3).of(cohorts) for i in (1, 2, 3)]
    assert parts == [["a", "d", "g"], ["b", "e", "h"], ["c", "f"]]
    assert Share(5, 9).of(cohorts) == ["e"]
    assert Share(9, 9).of(cohorts) == []
    assert read_share(" 2/4 ") == Share(2, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0/4", r"--shard 0/4: shards are counted from 1, so these are 1/4 to 4/4; in Slurm, #SBATCH --array=1-4"),
        ("5/4", "counted from 1, so these are 1/4 to 4/4"),
        ("1/0", "counted from 1, so these are 1/1"),
        ("2", "must be I/N, such as 1/4 for the first of four"),
        ("a/b", "must be I/N"),
        ("/4", "must be I/N"),  # $SLURM_ARRAY_TASK_ID where there is none
        ("-1/4", "must be I/N"),
    ],
)
def test_what_is_no_share_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        read_share(text)


# ---- one directory ---------------------------------------------------------------------------------------------------


def test_shares_in_any_order_give_the_bytes_of_one_process(planned, tmp_path):
    plan = planned(**RAW)
    whole = run_plan(plan, tmp_path / "whole")
    for i in (3, 1, 2):
        run_plan(plan, tmp_path / "run", share=Share(i, 3))
    assert contents(open_run(tmp_path / "run")) == contents(whole)
    assert verify_run(tmp_path / "run").findings == ()
    assert sorted(p.name for p in (tmp_path / "run" / "steps").glob("c*")) == sorted(
        p.name for p in (tmp_path / "whole" / "steps").glob("c*")
    )


def test_shares_that_begin_at_the_same_moment_make_one_run(planned, tmp_path):
    plan = planned(cohort=1)
    for k in range(5):
        with ThreadPoolExecutor(6) as threads:
            made = list(threads.map(lambda _, k=k: create_run(tmp_path / str(k), plan, {}, 1), range(6)))
        assert len({json.dumps(dict(run.manifest)) for run in made}) == 1
        assert not [p for p in (tmp_path / str(k)).rglob("*") if ".tmp-" in p.name]


def test_shares_made_in_directories_of_their_own_may_be_copied_together(planned, tmp_path):
    """Machines that see no directory in common: every writer has files of its own, so nothing is overwritten."""
    whole, plan = run_plan(planned(**RAW), tmp_path / "whole"), planned(**RAW)
    for i in (1, 2):
        run_plan(plan, tmp_path / f"{i}", share=Share(i, 2))
    subprocess.run(["cp", "-rn", f"{tmp_path}/2/.", f"{tmp_path}/1/"], check=False)  # says 1 of what was there
    assert contents(run_plan(plan, tmp_path / "1")) == contents(whole)
    assert verify_run(tmp_path / "1").findings == ()


def test_another_number_of_shares_may_go_on_with_what_is_left(planned, tmp_path):
    plan = planned(cohort=1)
    run_plan(plan, tmp_path / "run", share=Share(1, 2))
    run = run_plan(plan, tmp_path / "run", share=Share(2, 3))
    run_plan(plan, tmp_path / "run")
    assert contents(run) == contents(run_plan(plan, tmp_path / "whole"))
    assert latest(tmp_path / "run") == [Share(1, 3), Share(2, 3), Share(3, 3)]


def test_who_may_write_beside_whom(planned, out):
    run = run_plan(planned(cohort=1, iterations=1), out)
    with run.writing(Share(1, 4)):
        again = open_run(out)
        with again.writing(Share(2, 4)):
            assert [str(s) for s, h in holders(out).items() if h.held] == ["1/4", "2/4"]
            assert open_run(out).writer().held
        with pytest.raises(RunBusy, match=rf"writing to shard 1/4 of this run \(process {os.getpid()} on "):
            again.writing(Share(1, 4)).__enter__()
        with pytest.raises(RunBusy, match=r"shard 1/4 of this run is being written .* use --shard I/4, or wait"):
            again.writing(Share(1, 3)).__enter__()
        with pytest.raises(RunBusy, match="another process is writing to this run"):
            again.writing().__enter__()
    with run.writing(), pytest.raises(RunBusy, match="another process is writing to this run"):
        open_run(out).writing(Share(1, 4)).__enter__()
    with run.writing():
        assert not any(holder.held for holder in holders(out).values())


def test_a_share_leaves_the_unfinished_files_of_others_alone(tmp_path):
    for name in (".tmp-1-ab-c0001-0000000-0000001.parquet.part", ".tmp-1-ab-c0002-0000000-0000001.parquet.part"):
        (tmp_path / name).write_bytes(b"half")
    remove_leftovers(tmp_path, ["c0001"])
    assert [p.name for p in tmp_path.iterdir()] == [".tmp-1-ab-c0002-0000000-0000001.parquet.part"]
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_share_returns_while_the_last_one_measures(planned, out):
    run = run_plan(planned(cohort=1), out)
    with run.writing():
        run_plan(planned(cohort=1), out, share=Share(2, 4))


def test_a_budget_cannot_be_kept_by_several_processes(planned, out):
    with pytest.raises(UsageError, match="several processes that spend at once: leave out --shard"):
        run_plan(planned(), out, share=Share(1, 2), max_cost=1.0)


# ---- the command -----------------------------------------------------------------------------------------------------


FINISHING = """
import time
from loopsim.cli import main, run
def finish(plan, done, device, request):
    with done.writing():
        if not done.is_measured():  # by one that ended so long before that it holds the run no more
            run.say("embedding and measuring")
            time.sleep(1)
            done.mark_measured()
run._finish = finish
main()
"""


def test_processes_at_once_share_a_run_and_the_last_one_measures(planned, experiment, tmp_path):
    whole = run_plan(planned(**RAW), tmp_path / "whole")
    words = [sys.executable, "-c", FINISHING, "run", str(experiment), "--out", str(tmp_path / "run"), "--shard"]
    processes = [
        subprocess.Popen([*words, f"{i}/3"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for i in (1, 2, 3)
    ]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert sum("embedding and measuring" in errors for _, errors in said) == 1, said
    assert contents(open_run(tmp_path / "run")) == contents(whole)
    shards = json.loads(invoke("status", tmp_path / "run", "--json").stdout)["shards"]
    assert [(s["shard"], s["steps"], s["total"], s["state"]) for s in shards] == [
        ("1/3", 24, 24, "finished"), ("2/3", 24, 24, "finished"), ("3/3", 12, 12, "finished"),
    ]  # fmt: skip
    assert verify_run(tmp_path / "run").findings == ()


def test_status_tells_of_each_shard(planned, experiment, tmp_path, monkeypatch):
    out = tmp_path / "run"
    first = invoke("run", experiment, "--out", out, "--shard", "2/3")
    assert first.exit_code == 0
    assert "shard 2/3: 2 of 5 cohorts" in first.stderr
    assert "shard 2/3 is done; 3 of 5 cohorts of other shards are not. The last shard to end embeds" in first.stderr
    with monkeypatch.context() as patch:
        patch.setattr(Run, "commit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert invoke("run", experiment, "--out", out, "--shard", "3/3").exit_code == 130
    text = invoke("status", out).stdout
    assert "shared: 24 of 60 steps (40%), unfinished" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("1/3", "0 of 24", "not begun"), ("2/3", "24 of 24", "finished"),
        ("3/3", "0 of 12", "stopped: KeyboardInterrupt"),
    ]  # fmt: skip
    with open_run(out).writing(Share(3, 3)):
        said = json.loads(invoke("status", out, "--json").stdout)
        assert (said["shards"][2]["state"], str(os.getpid()) in said["shards"][2]["where"]) == ("running", True)
        assert (said["state"], said["where"]) == ("running", said["shards"][2]["where"])
        assert "24 of 60 steps (40%), running, shard 3/3, not measured yet" in invoke("status", out).stdout
    # Whoever leaves out --shard does what is left.
    run_plan(planned(**RAW), out)
    assert "shared: 60 of 60 steps (100%), finished, not measured yet" in invoke("status", out).stdout


def test_status_of_a_run_that_is_being_written_says_by_whom_and_not_to_run_it_again(planned, out):
    plan = planned(**RAW)
    run = create_run(out, plan, {})
    resumes = "unfinished: the same `loopsim run` command resumes it, not measured yet"
    assert resumes in invoke("status", out).stdout
    with run.writing():
        text = invoke("status", out).stdout
        assert f"0 of 60 steps (0%), running (process {os.getpid()} on " in text
        assert "resumes" not in text
    (out / ".lock").write_text("elsewhere.example 12\n")
    text = invoke("status", out).stdout
    assert "unfinished: unless it still runs (process 12 on elsewhere.example), which cannot be seen from here" in text
    run_plan(plan, out)
    with run.writing():
        assert "finished, being embedded and measured (process " in invoke("status", out).stdout
        assert json.loads(invoke("status", out, "--json").stdout)["state"] == "measuring"
    said = json.loads(invoke("status", out, "--json").stdout)
    assert (said["state"], said["where"]) == ("finished", "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreError("full: no space left\n  free some"), "failed: full: no space left"),
        (ModelError("postcards: damaged"), "failed: postcards: damaged"),
        (ZeroDivisionError("by zero"), "failed: ZeroDivisionError: by zero"),  # a bug of ours
        (AssertionError(), "failed: AssertionError"),
        (BudgetReached("spent"), "stopped: spent"),
    ],
)
def test_a_shard_that_ended_with_a_message_is_not_told_as_killed(planned, out, monkeypatch, error, said):
    with monkeypatch.context() as patch:
        patch.setattr(Run, "commit", lambda *_, **__: (_ for _ in ()).throw(error))
        with pytest.raises(type(error)):
            run_plan(planned(**RAW), out, share=Share(1, 3))
    assert json.loads(invoke("status", out, "--json").stdout)["shards"][0]["state"] == said
    event = open_run(out).events()[-1]
    assert ("Traceback" in event.get("details", "")) == (not isinstance(error, LoopsimError))


def test_a_shard_that_has_more_to_do_since_it_ended_is_not_told_as_killed(planned, out):
    for i in (1, 2):
        run_plan(planned(**RAW), out, share=Share(i, 2))
    run_plan(planned(**RAW | {"iterations": 8}), out, share=Share(1, 2))
    shards = json.loads(invoke("status", out, "--json").stdout)["shards"]
    assert [shard["state"] for shard in shards] == ["finished", "ended, with more to do since"]


def test_an_error_that_cannot_be_logged_is_still_the_error(planned, out, monkeypatch):
    real = Run.log

    def full(run: Run, event: str, **details: object) -> None:
        if event == "failed":
            raise StoreError("no space for the log either")
        real(run, event, **details)

    monkeypatch.setattr(Run, "log", full)
    monkeypatch.setattr(Run, "commit", lambda *_, **__: (_ for _ in ()).throw(StoreError("no space for steps")))
    with pytest.raises(StoreError, match="no space for steps"):
        run_plan(planned(**RAW), out)


def test_more_shards_than_cohorts_are_told(experiment, tmp_path):
    done = invoke("run", experiment, "--out", tmp_path / "run", "--shard", "7/8")
    assert done.exit_code == 0
    assert "nothing to do: the plan has only 5 cohorts; a smaller `cohort:`" in done.stderr


def test_a_wrong_shard_is_one_message(experiment, tmp_path):
    done = invoke("run", experiment, "--out", tmp_path / "run", "--shard", "0/4")
    assert done.exit_code == 2
    assert "counted from 1" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_cluster_that_is_not_there_makes_no_run(experiment, tmp_path):
    """It would begin with the threads of a worker, and whoever then runs it without a cluster would have these."""
    pytest.importorskip("ray")
    for words in (["--address", "127.0.0.1:1"], ["--num-cpus", "inf"]):
        done = invoke("run", experiment, "--out", tmp_path / "run", "--executor", "ray", *words)
        assert done.exit_code == 2
        assert words[0] in done.stderr
    assert not (tmp_path / "run").exists()


# ---- signals ---------------------------------------------------------------------------------------------------------


def waiting_for(*numbers: int) -> None:
    with stopping():
        try:
            os.kill(os.getpid(), numbers[0])
            time.sleep(5)
        finally:
            for number in numbers[1:]:  # while what is finished is being stored
                os.kill(os.getpid(), number)


def test_a_signal_is_an_interruption_once_and_handlers_are_put_back():
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(Stopped, match="SIGUSR1"):
        waiting_for(signal.SIGUSR1)
    with pytest.raises(Stopped, match="SIGTERM"):
        waiting_for(signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1)
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGUSR1)] == before


def test_a_signal_that_native_code_has_made_a_plain_interruption_of_is_told_apart():
    def waiting() -> None:
        with stopping():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            except KeyboardInterrupt:
                raise KeyboardInterrupt from None

    with pytest.raises(Stopped, match="SIGTERM"):
        waiting()
    with pytest.raises(KeyboardInterrupt) as plain, stopping():
        raise KeyboardInterrupt
    assert plain.type is KeyboardInterrupt


SLOW = """
import time
from loopsim.executors import writer
from loopsim.models import mock
writer.FLUSH_SECONDS = 1e6
draw, drawn = mock.MockGenerator._draw, []
def stuck(self, *row):
    drawn.append(None)
    if len(drawn) == 15:
        print("drawing", flush=True)
        time.sleep(600)
    return draw(self, *row)
mock.MockGenerator._draw = stuck
from loopsim.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_terminated_run_stores_what_is_finished_and_asks_to_be_run_again(experiment, tmp_path, number):
    words = [sys.executable, "-c", SLOW, "run", str(experiment), "iterations=200", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert first == "drawing\n", said
    assert process.returncode == 75, said
    assert f"stopped by {number.name}; everything made so far is stored in" in said
    # Nothing was flushed before: these steps, seven iterations of two, would be lost, were they not stored at the end.
    run = open_run(tmp_path / "run")
    assert run.count_steps()[0] == 14
    assert run.events()[-1] == run.events()[-1] | {"event": "stopped", "message": number.name}
    assert verify_run(tmp_path / "run").findings == ()


SWALLOWED = """
import os, signal
from loopsim.models import mock
draw, drawn = mock.MockGenerator._draw, []
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
def late(self, *row):
    drawn.append(None)
    if len(drawn) == 35: Last()
    return draw(self, *row)
mock.MockGenerator._draw = late
from loopsim.cli import main
main()
"""


def test_a_signal_that_arrives_in_a_destructor_is_not_lost(experiment, tmp_path):
    words = [sys.executable, "-c", SWALLOWED, "run", str(experiment), "iterations=50", "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert "Exception ignored in" in done.stderr  # by Python
    assert done.returncode == 75, done.stderr
    assert "stopped by SIGTERM; everything made so far is stored in" in done.stderr
    assert 0 < open_run(tmp_path / "run").count_steps()[0] < 500


@pytest.mark.parametrize("swallowed", [False, True])
def test_a_signal_before_anything_is_made_asks_to_be_run_again(experiment, tmp_path, monkeypatch, swallowed):
    def planned(path: Path, overrides: Any) -> Any:
        with contextlib.suppress(Stopped) if swallowed else contextlib.nullcontext():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return real(path, overrides)

    real = commands.run.planned
    monkeypatch.setattr(commands.run, "planned", planned)
    done = invoke("run", experiment, "--out", tmp_path / "run")
    assert done.exit_code == 75
    assert "stopped by SIGTERM; nothing was changed. The same command resumes" in done.stderr
    assert not (tmp_path / "run").exists()


LOADING = """
import os, signal, sys, time
from loopsim.__main__ import main
class Slow:
    def find_spec(self, name, *_):
        if name == "loopsim.cli":
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(5)
sys.meta_path.insert(0, Slow())
main()
"""


@pytest.mark.parametrize(("command", "status"), [("run", 75), ("status", -signal.SIGUSR1)])
def test_a_signal_while_the_command_is_loaded_asks_to_be_run_again(command, status):
    done = subprocess.run(
        [sys.executable, "-c", LOADING, command, "x"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status
    assert ("stopped by SIGUSR1; nothing is half done. The same command resumes." in done.stderr) == (status == 75)
