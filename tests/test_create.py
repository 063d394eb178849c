"""Making and extending a run: one experiment wins, whoever is refused changes nothing, a kill leaves no dead end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from loopsim.embed import embed_run
from loopsim.errors import OtherExperimentError, RunBusy, StoreError
from loopsim.measure import FAMILIES, Options, measure_run
from loopsim.records import Failure
from loopsim.report.figures import draw_figures
from loopsim.runner import run_plan
from loopsim.store import Run, Share, carrying_out, create, create_run, open_run, standing
from loopsim.store.shares import latest
from loopsim.verify import repair_run, verify_run
from tests.test_runner import contents

FAILURE = Failure("aa", 1, "generator", "mock", "ValueError: no", "")


def every_file(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@contextlib.contextmanager
def unchanged(path: Path) -> Iterator[None]:
    before = every_file(path)
    yield
    assert every_file(path) == before


# ---- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [None, Share(1, 2)])
def test_who_would_extend_a_run_that_is_being_written_is_refused_and_has_changed_nothing(planned, out, share):
    run = run_plan(planned(iterations=1), out)
    with run.writing():
        with unchanged(out), pytest.raises(RunBusy, match="another process is writing"):
            run_plan(planned(iterations=2), out, share=share)
        with unchanged(out), pytest.raises(RunBusy, match="another process is writing"):
            run_plan(planned(iterations=2, name="renamed", starts=planned().experiment.starts), out)
    run_plan(planned(iterations=1), out)  # what was being written can still go on


@pytest.mark.parametrize("share", [None, Share(1, 2), Share(2, 2)])
def test_shares_that_are_being_written_keep_their_iterations(planned, out, share):
    plan = planned(cohort=1, iterations=2)
    run = create_run(out, plan, {})
    with carrying_out(run, plan, Share(1, 2)):
        said = (
            r"shard 1/2 of this run is being written \(process .*\) with iterations=2, and here it is 3: use the same"
        )
        with unchanged(out), pytest.raises(RunBusy, match=said):
            run_plan(planned(cohort=1, iterations=3), out, share=share)
        if share == Share(2, 2):
            run_plan(plan, out, share=share)
    run_plan(planned(cohort=1, iterations=3), out, share=share)
    assert open_run(out).iterations == 3


def test_shares_of_another_number_leave_no_trace(planned, out):
    run = create_run(out, planned(cohort=1), {})
    with run.writing(Share(1, 2)):
        with unchanged(out), pytest.raises(RunBusy, match="use --shard I/2"):
            run_plan(planned(cohort=1), out, share=Share(1, 3))
        assert latest(out) == [Share(1, 2), Share(2, 2)]


def test_shares_that_extend_a_run_at_the_same_moment_all_go_on(planned, out):
    create_run(out, planned(cohort=1, iterations=1), {})
    longer, together = planned(cohort=1, iterations=2), threading.Barrier(4)

    def extend(i: int) -> int:
        run = open_run(out)
        with carrying_out(run, longer, Share(i, 4)):
            together.wait(120)
            return run.iterations

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(extend, (1, 2, 3, 4))) == [2, 2, 2, 2]


def test_an_experiment_that_was_made_just_before_wins_and_is_unchanged(planned, out, monkeypatch):
    real, before = create.lock.beginning, {}

    def late(path: Path) -> Any:
        if not before:
            before.update({"": b""})
            run_plan(planned(), out)  # between the check and the writing
            before.update(every_file(out))
        return real(path)

    monkeypatch.setattr(create.lock, "beginning", late)
    with pytest.raises(OtherExperimentError, match=r"nothing was changed\. It differs in\n    seed: there 7, here 8"):
        run_plan(planned(seed=8), out)
    assert every_file(out) == {name: data for name, data in before.items() if name}
    assert contents(run_plan(planned(), out)) == contents(open_run(out))


def test_of_several_experiments_at_the_same_moment_one_is_carried_out(planned, tmp_path):
    plans = [planned(seed=seed, iterations=1, starts=["a boat", f"house {seed}"]) for seed in range(6)]

    def attempt(plan: Any) -> Run | None:
        run = None
        with contextlib.suppress(OtherExperimentError, RunBusy):
            run = create_run(tmp_path / "run", plan, {})
            with carrying_out(run, plan):
                run.record_failure("c0000", FAILURE)  # not blank from here on
                return run
        return None

    with ThreadPoolExecutor(6) as threads:
        carried = list(threads.map(attempt, plans))
    (winner,) = [k for k in range(6) if carried[k] is not None]
    run = open_run(tmp_path / "run")
    assert run.experiment["seed"] == winner
    ids = {t.id for t in plans[winner].trajectories}
    assert {t for members in run.cohorts.values() for t in members} == ids == set(run.trajectories()["trajectory_id"])


def test_without_locks_the_second_of_two_experiments_says_so_and_the_first_goes_on(planned, out, monkeypatch):
    def refuse(handle: object, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    def late(path: Path, resolved: Any) -> None:
        monkeypatch.setattr(create, "_write_yaml", real)
        before.extend(contents(run_plan(planned(), out)))
        real(path, resolved)

    real, before = create._write_yaml, []
    monkeypatch.setattr("loopsim.store.lock.fcntl.flock", refuse)
    monkeypatch.setattr(create, "_write_yaml", late)
    with pytest.raises(StoreError, match="another process made a run of another experiment here at this moment"):
        run_plan(planned(seed=8), out)
    run = run_plan(planned(), out)
    assert (run.experiment["seed"], contents(run)) == (7, before)
    assert verify_run(out).findings == ()


# ---- a run whose steps are away ------------------------------------------------------------------------------------


@pytest.fixture
def results(planned, out) -> Path:
    """A run that was finished, embedded, measured and drawn, in outline."""
    run = run_plan(planned(iterations=1), out)
    embed_run(run, "mock")
    for name in ("measurements.parquet", "measurements-by-generator.parquet"):
        (out / name).write_bytes(b"values")
    for name in ("motifs/mock-text.parquet", "figures/curves.png", "report/index.html"):
        (out / name).parent.mkdir()
        (out / name).write_bytes(b"drawn")
    return out


def leave(out: Path, *kept: str) -> None:
    """Take the results and the files of steps away, but for what is named."""
    for path in [*out.glob("measurements*"), *(out / n for n in ("motifs", "figures", "report", "embeddings"))]:
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (out / "steps").glob("c*.parquet"):
        path.unlink()
    if ".checksums" not in kept:
        shutil.rmtree(out / "steps" / ".checksums")
    if "log.jsonl" not in kept:
        (out / "log.jsonl").unlink()


@pytest.mark.parametrize("how", ["moved", "emptied", "put aside"])
def test_a_run_whose_steps_are_away_keeps_its_results_and_says_so(planned, results, tmp_path, how):
    steps = results / "steps"
    if how == "put aside":
        for path in steps.glob("c*.parquet"):
            path.write_bytes(b"damaged")
        assert repair_run(results, verify_run(results)).done
    else:
        steps.rename(tmp_path / "elsewhere")
    if how == "emptied":  # as the place of a disk that is not mounted
        steps.mkdir()
    with unchanged(results), pytest.raises(OtherExperimentError, match=r"It differs in\n    seed") as said:
        run_plan(planned(iterations=1, seed=8), results)
    assert "None of its steps is there now, but some were made: there is figures, measurements-by-generator" in str(
        said.value
    )
    assert "vectors; " in str(said.value)
    assert "If steps/ was moved, or is on a disk that is not mounted, put it back." in str(said.value)
    assert standing(results, planned(iterations=1, seed=8)) is not None


@pytest.mark.parametrize(
    ("kept", "clause", "how"),
    [
        ("measurements.parquet", "there is measurements.parquet", "may have been"),
        ("measurements-by-generator.parquet", "there is measurements-by-generator.parquet", "may have been"),
        ("motifs", "there is motifs", "may have been"),
        ("figures", "there is figures", "may have been"),
        ("report", "there is report", "may have been"),
        ("embeddings", "there are vectors", "were"),
        (".checksums", "steps/ tells of files of steps", "were"),
        ("log.jsonl", "its log says that it ended", "were"),
    ],
)
def test_each_trace_of_what_was_made_keeps_a_run(planned, results, kept, clause, how):
    leave(results, kept)
    pattern = rf"{how} made: {clause}\. If steps/ was"
    with unchanged(results), pytest.raises(OtherExperimentError, match=pattern) as said:
        run_plan(planned(iterations=1, seed=8), results)
    assert ("if no step was ever made, remove what is named here" in str(said.value)) == (how != "were")
    assert len(run_plan(planned(iterations=1), results).steps(["t"])) == 12  # its own experiment makes them again


def blank_with_starts(planned, out: Path, tmp_path: Path) -> Run:
    """A run whose process ended when all its starts were stored, and no step was."""
    plan = planned(seed=8, starts=["one red house", "two blue boats", "three birds at night"])
    blank = create_run(out, plan, {})
    blank.commit("c0000", run_plan(plan, tmp_path / "whole").steps_at("c0000", 0))
    return blank


@pytest.mark.parametrize("starts", [False, True])
def test_a_run_of_which_nothing_was_made_gives_way_also_when_that_was_measured(planned, out, tmp_path, starts):
    blank = blank_with_starts(planned, out, tmp_path) if starts else create_run(out, planned(seed=8), {})
    for by in (("condition", "group"), ("generator",)):
        measure_run(blank, Options(by=by))
    blank.mark_measured()
    run = run_plan(planned(iterations=1), out)
    assert run.experiment["seed"] == 7
    assert not [*out.glob("measurements*"), *out.glob("figures")], "nothing of the other run's starts stays"


@pytest.mark.parametrize("families", [FAMILIES, *([family] for family in FAMILIES)])
def test_measurements_of_steps_keep_a_run_whatever_was_measured(planned, out, families):
    captioner = {"model": "mock", "temperature": [0.2, 0.9]}  # two conditions: one has nothing to attribute
    run = run_plan(planned(captioner=captioner), out)
    embed_run(run, "mock")
    options = Options(families=tuple(families))
    measure_run(run, options)
    leave(out, options.file)
    with unchanged(out), pytest.raises(OtherExperimentError, match=rf"made: there is {re.escape(options.file)}\."):
        run_plan(planned(captioner=captioner, seed=8), out)


def test_figures_of_starts_keep_a_run_until_they_are_removed(planned, out, tmp_path):
    blank = blank_with_starts(planned, out, tmp_path)
    draw_figures(blank, measure_run(blank))
    with unchanged(out), pytest.raises(OtherExperimentError, match=r"may have been made: there is figures\. .*remove"):
        run_plan(planned(iterations=1), out)
    shutil.rmtree(out / "figures")
    assert open_run(run_plan(planned(iterations=1), out).path).experiment["seed"] == 7


def test_a_run_without_a_trace_of_anything_made_gives_way(planned, results):
    leave(results)
    assert open_run(run_plan(planned(iterations=1, seed=8), results).path).experiment["seed"] == 8


def test_a_run_that_took_the_place_of_another_is_not_taken_for_it(planned, out):
    """What the log says above `gave way` is of the run that gave way."""
    create_run(out, planned(seed=8), {}).log("end")
    (out / "log.jsonl").write_text((out / "log.jsonl").read_text() + '{"time": "2999", "event": "gave way"}\n')
    assert open_run(run_plan(planned(), out).path).experiment["seed"] == 7


# ---- killed ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ended here."""


@contextlib.contextmanager
def killed_at(k: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """End at the k-th time that a name in a folder changes; the list holds how many there have been."""
    count = [0]

    def ending(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] >= k:  # what tidies up behind an exception does not happen either
                raise Killed
            return real(*args, **options)

        return change

    with monkeypatch.context() as patch:
        for name in ("replace", "link", "unlink", "mkdir"):
            patch.setattr(os, name, ending(getattr(os, name)))
        for name in ("unlink", "mkdir"):
            patch.setattr(Path, name, ending(getattr(Path, name)))
        yield count


def moments(attempt: Callable[[int], bool]) -> int:
    """Attempt with a kill at the first, second, … change until none is left; how many there were."""
    for k in range(1, 100):
        if not attempt(k):
            return k - 1
    raise AssertionError("no end")


def test_a_run_that_was_killed_while_it_was_made_can_be_made_again(planned, tmp_path, monkeypatch):
    whole = contents(run_plan(planned(iterations=1), tmp_path / "whole"))

    def attempt(k: int) -> bool:
        out = tmp_path / str(k)
        with killed_at(k, monkeypatch) as count, contextlib.suppress(Killed):
            create_run(out, planned(seed=8), {})
        if count[0] < k:
            return False
        if not (out / "manifest.json").exists():  # not a run yet: another experiment may be made there
            assert contents(run_plan(planned(iterations=1), out)) == whole
        else:
            assert len(run_plan(planned(seed=8), out).steps(["t"])) == 30
        return True

    assert moments(attempt) >= 8


def test_a_blank_run_that_was_killed_while_it_was_replaced_can_be_made_again(planned, tmp_path, monkeypatch):
    whole = contents(run_plan(planned(iterations=1), tmp_path / "whole"))

    def attempt(k: int) -> bool:
        out = tmp_path / str(k)
        blank = create_run(out, planned(seed=8), {})
        with blank.writing():
            blank.log("start", pinned={"threads": 1})
        with killed_at(k, monkeypatch) as count, contextlib.suppress(Killed):
            create_run(out, planned(seed=9), {})
        if count[0] < k:
            return False
        assert contents(run_plan(planned(iterations=1), out)) == whole
        return True

    assert moments(attempt) >= 6


def test_vectors_of_the_starts_of_a_blank_run_are_not_those_of_the_next(planned, out, tmp_path):
    first = planned(seed=8, starts=["one", "two", "three"])
    blank = create_run(out, first, {})
    blank.commit("c0000", run_plan(first, tmp_path / "other").steps_at("c0000", 0))
    embed_run(blank, "mock")
    run = run_plan(planned(iterations=1), out)
    embed_run(run, "mock")
    assert verify_run(out).findings == ()
    assert set(run.embeddings()["trajectory_id"]) == set(run.trajectories()["trajectory_id"])


def test_an_extension_that_was_killed_can_be_given_again(planned, tmp_path, monkeypatch):
    def attempt(k: int) -> bool:
        out = tmp_path / str(k)
        run, longer = create_run(out, planned(iterations=1), {}), planned(iterations=2)
        with killed_at(k, monkeypatch) as count, contextlib.suppress(Killed), carrying_out(run, longer):
            pass
        if count[0] < k:
            return False
        assert {int(t) for t in run_plan(longer, out).steps(["t"])["t"]} == {0, 1, 2}
        return True

    assert moments(attempt) >= 2


def test_stored_steps_without_a_manifest_are_nobodys_to_take(planned, out):
    run_plan(planned(), out)
    for name in ("manifest.json", "log.jsonl", "measurements.parquet"):
        (out / name).unlink(missing_ok=True)
    with unchanged(out), pytest.raises(OtherExperimentError, match=r"exists and is not a run; .* `loopsim verify"):
        create_run(out, planned(seed=8), {})
