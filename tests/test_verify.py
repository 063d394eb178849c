"""Damage of every kind to a run directory: found, told, put aside, and made again to the same bytes."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.embed import embed_run
from loopsim.errors import StoreError, UsageError
from loopsim.exchange import export_run
from loopsim.exchange.selection import select, step_tables
from loopsim.plan import Plan
from loopsim.runner import Progress, run_plan
from loopsim.store import Run, Share, create_run, open_run
from loopsim.store.embedders import made_folder
from loopsim.store.manifest import manifest_bytes, manifest_checksum
from loopsim.store.shards import write_shard
from loopsim.store.spans import in_words, joined, missing, runs_of
from loopsim.store.tables import embedding_table
from loopsim.verify import Verdict, repair_run, rerun_steps, verify_run
from loopsim.verify.expected import expected_of
from tests.conftest import Planner
from tests.test_runner import contents

KEYS = {"starts": ["a red house", "fail", "the blue sea"], "iterations": 9, "cohort": 4}


@pytest.fixture(scope="module")
def plan(planner: Planner) -> Plan:
    return planner(**KEYS)


@pytest.fixture(scope="module")
def whole(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two cohorts, embedded; not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    embed_run(run_plan(plan, out), "mock")
    return out


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def pieces(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, a shard for every iteration."""
    out = tmp_path_factory.mktemp("pieces") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loopsim.executors.writer.FLUSH_SECONDS", 0.0)
        patch.setattr(Run, "compact", lambda *_: None)
        run_plan(plan, out)
    return out


def shard_of(run: Path, cohort: str = "c0000") -> Path:
    return next(iter(sorted((run / "steps").glob(f"{cohort}-*.parquet"))))


def flip(path: Path, at: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(bytes(data))


def flip_picture(path: Path, group: int | None = None) -> None:
    """Flip a bit in a picture of a row group, by default the last: elsewhere, as in seconds, none is lost."""
    file = pq.ParquetFile(path).metadata
    column = file.row_group(file.num_row_groups - 1 if group is None else group).column(3)
    assert column.path_in_schema == "image.bytes"
    flip(path, column.dictionary_page_offset + 150)  # behind the header of the page


def mended(run: Path, plan: Plan) -> Run:
    """Repair a run, carry the plan out again, and look once more."""
    repair_run(run, verify_run(run))
    done = run_plan(plan, run)
    embed_run(done, "mock")
    assert verify_run(run).findings == ()
    return done


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a Parquet file with another program, which knows nothing of our checksums."""
    pq.write_table(change(pq.read_table(path)), path)


def hits(verdict: Verdict) -> dict[str, str]:
    return {cohort: in_words(runs_of(ts)) for cohort, ts in verdict.hits.items()}


# ---- a sound run -----------------------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_sound_run_and_nothing_is_changed(whole):
    before = {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    verdict = verify_run(whole)
    assert verdict.findings == verdict.notices == ()
    assert (verdict.steps, verdict.pictures, verdict.vectors) == (6 + 4 * 9, 4 * 9, 6 + 2 * 4 * 9)
    assert {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()} == before


def test_an_unfinished_or_uncompacted_run_is_not_wrong(plan, pieces, tmp_path):
    assert verify_run(pieces).findings == ()

    def stop(now: Progress) -> None:
        if now.made > 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, tmp_path / "run", watch=stop)
    assert 0 < open_run(tmp_path / "run").count_steps()[0] < 36
    assert verify_run(tmp_path / "run").findings == ()
    (tmp_path / "run" / "log.jsonl").unlink()
    assert verify_run(tmp_path / "run").findings == ()


def test_a_run_that_is_extended_and_interrupted_is_not_wrong(planner, tmp_path):
    run = run_plan(planner(**KEYS), tmp_path / "run")

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(planner(**KEYS | {"iterations": 12}), tmp_path / "run", watch=stop)
    assert verify_run(run.path).findings == ()


def test_a_run_that_branched_from_another_is_checked_against_its_own_noise(planner, whole, tmp_path):
    one = open_run(whole).steps().query("t == 3")["trajectory_id"].iloc[0]
    branch = planner(starts={"from": f"{whole}/{one}/3"}, iterations=2, replicates=2)
    run_plan(branch, tmp_path / "branch")
    verdict = verify_run(tmp_path / "branch")
    assert verdict.findings == verdict.notices == ()
    # Without the parent the plan cannot be made again; the table of trajectories holds all that noise comes from.
    text = (tmp_path / "branch" / "experiment.yaml").read_text()
    (tmp_path / "branch" / "experiment.yaml").write_text(text.replace(str(whole), str(tmp_path / "gone")))
    verdict = verify_run(tmp_path / "branch")
    assert verdict.findings == ()
    assert "gives no plan here, so trajectories.parquet is believed" in verdict.notices[0]


def test_controls_draw_other_texts_and_are_not_wrong(planner, tmp_path):
    plan = planner(controls=["shuffled", {"redraw": {"at": 1}}, "fixed_caption"], iterations=3)
    run_plan(plan, tmp_path / "run")
    assert verify_run(tmp_path / "run").findings == ()
    again = rerun_steps(tmp_path / "run", 12)
    assert all(made.same for made in again.chosen)


# ---- shards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_shard_is_found_and_made_again(run, whole, plan, share):
    path = shard_of(run)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    (finding,) = verify_run(run).findings
    assert finding.message == f"is cut off: {int(len(data) * share):,} of {len(data):,} bytes are there"
    assert (finding.cohort, finding.iterations, finding.remedy) == ("c0000", ((0, 9),), "move")
    # Whoever failed at the first iteration has lost its start.
    assert set(finding.trajectories) == set(open_run(whole).cohorts["c0000"])
    made = []
    repair_run(run, verify_run(run))
    run_plan(plan, run, watch=lambda now: made.append(now.made))
    assert made[-1] == sum(open_run(whole).steps(["trajectory_id", "t"]).query("t > 0")["trajectory_id"].isin(
        open_run(whole).cohorts["c0000"]
    ))  # fmt: skip
    assert contents(open_run(run)) == contents(open_run(whole))
    assert len(open_run(run).failures()) == 2


def test_a_flipped_bit_anywhere_is_found_and_the_run_comes_back_byte_for_byte(run, whole, plan):
    path = shard_of(run)
    sound = path.read_bytes()
    places = random.Random(1)
    for _ in range(60):
        flip(path, places.randrange(len(sound)), 1 << places.randrange(8))
        verdict = verify_run(run)
        assert verdict.findings, "a flipped bit went unseen"
        assert {f.file for f in verdict.findings} == {f"steps/{path.name}"}
        path.write_bytes(sound)
    for _ in range(4):
        flip(shard_of(run), places.randrange(len(shard_of(run).read_bytes())), 1 << places.randrange(8))
        assert contents(mended(run, plan)) == contents(open_run(whole))


def test_only_the_iterations_that_are_hit_are_made_again(pieces, whole, plan, tmp_path):
    # The compacted shard of pieces has a row group for every iteration.
    shutil.copytree(pieces, tmp_path / "run")
    run = tmp_path / "run"
    open_run(run).compact()
    path = shard_of(run)
    flip_picture(path, 5)
    verdict = verify_run(run)
    assert hits(verdict) == {"c0000": "5"}
    assert len(verdict.findings) == 1
    done = repair_run(run, verdict).done
    assert done == (f"steps/{path.name}: put aside; 9 of its 10 iterations are kept",)
    made = []
    run_plan(plan, run, watch=lambda now: made.append(now.made))
    assert made == [2]  # two of the four have failed at the beginning
    assert contents(open_run(run)) == contents(open_run(whole))


def test_what_is_put_aside_is_never_deleted(run, plan):
    path = shard_of(run)
    flip(path, len(path.read_bytes()) // 3)
    damaged = path.read_bytes()
    repair_run(run, verify_run(run))
    assert [p.read_bytes() for p in (run / "damaged").rglob("*.parquet")] == [damaged]
    flip(shard_of(run, "c0001"), 500)
    repair_run(run, verify_run(run))
    assert len(list((run / "damaged").rglob("*.parquet"))) == 2
    assert damaged in [p.read_bytes() for p in (run / "damaged").rglob("*.parquet")]


def test_a_missing_file_is_told_with_its_iterations(pieces, whole, plan, tmp_path):
    shutil.copytree(pieces, tmp_path / "run")
    for t in (3, 4):
        (tmp_path / "run" / "steps" / f"c0000-{t:07d}-{t:07d}.parquet").unlink()
    (finding,) = verify_run(tmp_path / "run").findings
    assert (finding.iterations, finding.remedy) == (((3, 4),), "again")
    assert finding.message == "2 files of this cohort are missing"
    assert contents(run_plan(plan, tmp_path / "run")) == contents(open_run(whole))


def test_a_file_at_the_end_of_a_cohort_is_missed(pieces, whole, plan, tmp_path):
    shutil.copytree(pieces, tmp_path / "run")
    (tmp_path / "run" / "steps" / "c0001-0000009-0000009.parquet").unlink()
    (finding,) = verify_run(tmp_path / "run").findings
    assert finding.file == "steps/c0001-0000009-0000009.parquet"
    assert (finding.message, finding.iterations, finding.remedy) == ("is missing", ((9, 9),), "again")
    shutil.rmtree(tmp_path / "run" / "steps" / ".checksums")  # then the log knows
    (finding,) = verify_run(tmp_path / "run").findings
    assert (finding.file, finding.iterations, finding.remedy) == ("steps", ((9, 9),), "again")
    assert contents(run_plan(plan, tmp_path / "run")) == contents(open_run(whole))


@pytest.mark.parametrize("known_from", ["checksums", "log", "an old log"])
def test_a_whole_cohort_that_is_gone_is_missed_and_its_vectors_are_not_blamed(run, whole, plan, known_from):
    path = shard_of(run, "c0001")
    path.unlink()
    log = run / "log.jsonl"
    if known_from == "checksums":
        log.unlink()
    else:
        shutil.rmtree(run / "steps" / ".checksums")
    if known_from == "an old log":
        events = [json.loads(line) for line in log.read_text().splitlines()]
        log.write_text("\n".join(json.dumps({k: v for k, v in e.items() if k != "iterations"}) for e in events))
    (finding,) = verify_run(run).findings
    assert (finding.iterations, finding.remedy, finding.cohort) == (((0, 9),), "again", "c0001")
    assert finding.file == (f"steps/{path.name}" if known_from == "checksums" else "steps")
    assert contents(mended(run, plan)) == contents(open_run(whole))


def test_a_cohort_that_is_gone_is_missed_also_where_nothing_says_how_long_it_was(run):
    shard_of(run, "c0001").unlink()
    shutil.rmtree(run / "steps" / ".checksums")
    (run / "experiment.yaml").unlink()
    (run / "log.jsonl").write_text('{"event": "end"}\n')
    assert ("steps", "again", ((0, 0),)) in [(f.file, f.remedy, f.iterations) for f in verify_run(run).findings]


def test_a_share_that_has_ended_says_nothing_of_the_others(plan, tmp_path):
    run = run_plan(plan, tmp_path / "run", share=Share(1, 2))
    assert verify_run(run.path).findings == ()
    shutil.rmtree(run.path / "steps")
    (run.path / "steps").mkdir()
    assert [(f.cohort, f.iterations) for f in verify_run(run.path).findings] == [("c0000", ((0, 9),))]


def test_a_run_that_was_begun_anew_misses_nothing_of_before(planner, tmp_path):
    first = planner(**KEYS)
    run = create_run(tmp_path / "run", first, {}, 1)
    run.commit("c0000", run_plan(first, tmp_path / "other").steps_at("c0000", 0))
    create_run(tmp_path / "run", planner(**KEYS | {"seed": 8}), {}, 1)
    assert verify_run(run.path).findings == ()


@pytest.mark.parametrize("harm", ["none", "first", "second"])
def test_iterations_that_two_workers_stored_are_there_once(planner, tmp_path, harm):
    plan = planner(iterations=4)
    whole = run_plan(plan, tmp_path / "whole")
    run = create_run(tmp_path / "run", plan, {}, 1)
    for first, last in ((0, 2), (1, 3), (3, 4)):
        steps = [step for t in range(first, last + 1) for step in whole.steps_at("c0000", t)]
        run.commit("c0000", steps)
    assert len(list((run.path / "steps").glob("*.parquet"))) == 3
    embed_run(run, "mock")
    assert verify_run(run.path).findings == ()
    assert not run.steps(["trajectory_id", "t"]).duplicated().any()
    assert contents(run) == contents(whole)
    ids, ts, _ = run.vectors("mock", "text")
    assert len(ids) == len(set(zip(ids, ts, strict=True))) == 5 * 6
    assert export_run(run, "table", tmp_path / "steps.csv") == 5 * 6
    assert len((tmp_path / "steps.csv").read_text().splitlines()) == 1 + 5 * 6
    assert sum(table.num_rows for table in step_tables(select(run, ()))) == 5 * 6
    if harm != "none":
        path = run.path / "steps" / ("c0000-0000000-0000002" if harm == "first" else "c0000-0000001-0000003")
        flip(path.with_suffix(".parquet"), path.with_suffix(".parquet").stat().st_size // 2)
        assert contents(mended(run.path, plan)) == contents(whole)


def test_a_file_that_another_program_wrote_anew_is_told_and_its_rows_are_kept(run, whole, plan):
    rewritten(shard_of(run), lambda table: table)
    (finding,) = verify_run(run).findings
    assert finding.message.endswith("every row is intact")
    assert (finding.remedy, finding.iterations) == ("rewrite", ())
    repair_run(run, verify_run(run))
    assert verify_run(run).findings == ()
    assert contents(open_run(run)) == contents(open_run(whole))


def changed(column: str, value: object, t: int = 4) -> Callable[[pa.Table], pa.Table]:
    """Set a column of the first row of an iteration, in a file from before there were checksums."""

    def change(table: pa.Table) -> pa.Table:
        if "checksum" in table.column_names:
            table = table.drop_columns(["checksum"])
        values = table[column].to_pylist()
        values[table["t"].to_pylist().index(t)] = value
        field = table.schema.field(column)
        return table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))

    return change


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("generator_seed", 5, "other noise"),
        ("captioner_seed", None, "other noise"),
        ("trajectory_id", "nobody", "not of this cohort"),
        ("t", 40, "its name does not say"),
        ("t", 5, "other noise"),
        ("parent", "nobody", "whose parent"),
        ("image", {"bytes": b"no picture", "path": None}, "cannot be decoded"),
        ("image", None, "without a picture"),
        ("text", "", "without a picture or without a text"),
        ("text_in", "something else", "not drawn from what was said before"),
        ("text", "something else", "not drawn from what was said before"),
    ],
)
def test_rows_that_contradict_the_plan_are_found_without_checksums(run, whole, plan, column, value, said):
    shutil.rmtree(run / "steps" / ".checksums")
    rewritten(shard_of(run), changed(column, value))
    verdict = verify_run(run)
    assert said in " ".join(f.message for f in verdict.findings)
    assert "from" in " ".join(verdict.notices) or "before there were checksums" in " ".join(verdict.notices)
    assert contents(mended(run, plan)) == contents(open_run(whole))


def test_a_changed_start_is_found(run, whole, plan):
    shutil.rmtree(run / "steps" / ".checksums")
    rewritten(shard_of(run), changed("text", "another prompt", t=0))
    assert "holds starts that are not the plan's" in " ".join(f.message for f in verify_run(run).findings)
    assert contents(mended(run, plan)) == contents(open_run(whole))


def test_a_letter_that_changed_is_found_by_the_row_and_told_by_name(run, whole, plan):
    def letter(table: pa.Table) -> pa.Table:
        texts = table["text"].to_pylist()
        texts[-1] = texts[-1] + "s"
        return table.set_column(table.schema.get_field_index("text"), "text", pa.array(texts))

    path = shard_of(run)
    last = pq.read_table(path)["trajectory_id"].to_pylist()[-1]
    rewritten(path, letter)
    shutil.rmtree(run / "steps" / ".checksums")
    (finding,) = verify_run(run).findings
    assert (finding.iterations, finding.trajectories) == (((9, 9),), (last,))
    assert contents(mended(run, plan)) == contents(open_run(whole))


def test_old_runs_without_checksums_are_checked_as_far_as_can_be_and_told(run):
    shutil.rmtree(run / "steps" / ".checksums")
    for path in (run / "steps").glob("*.parquet"):
        rewritten(path, lambda table: table.drop_columns(["checksum"]))
    verdict = verify_run(run)
    assert verdict.findings == ()
    assert "2 files of steps were written before there were checksums of rows" in verdict.notices[0]


def test_reading_a_damaged_page_names_the_command(run):
    path = shard_of(run)
    flip_picture(path)
    with pytest.raises(StoreError, match="loopsim verify DIR"):
        open_run(run).steps(images=True)


# ---- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["rolf", "bytes", "wrong type"])
def test_a_damaged_line_of_failures_is_found_and_the_failure_is_found_again(run, whole, plan, harm):
    (path,) = (run / "failures").glob("*.jsonl")
    lines = path.read_bytes().split(b"\n")
    old, new = {"rolf": (b'"role"', b'"rolf"'), "bytes": (b"{", b"\xff"), "wrong type": (b'"t": 1', b'"t": "')}[harm]
    lines[1] = lines[1].replace(old, new, 1)
    path.write_bytes(b"\n".join(lines))
    finding, steps = verify_run(run).findings
    assert (finding.file, finding.remedy) == (f"failures/{path.name}", "rewrite")
    assert "line 2 is damaged" in finding.in_words()
    assert (steps.iterations, len(steps.trajectories)) == (((1, 1),), 1)  # where it failed, and nothing after that
    repair_run(run, verify_run(run))
    assert [f.remedy for f in verify_run(run).findings] == ["again"]  # what follows the gap is not blamed
    made = []
    run_plan(plan, run, watch=lambda now: made.append(now.made))
    assert made == [2]  # one iteration, of the two that live
    assert verify_run(run).findings == ()
    assert contents(open_run(run)) == contents(open_run(whole))
    named = {(f.trajectory_id, f.t, f.role, f.message) for f in open_run(run).failures()}
    assert named == {(f.trajectory_id, f.t, f.role, f.message) for f in open_run(whole).failures()}
    (kept,) = (run / "damaged").rglob("failures/*.jsonl")
    assert kept.read_bytes() == b"\n".join(lines)


def test_the_half_line_of_a_killed_writer_is_no_damage(run):
    (path,) = (run / "failures").glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'\n{"trajectory_id": "1be1')
    assert verify_run(run).findings == ()


# ---- start pictures --------------------------------------------------------------------------------------------------


@pytest.fixture
def pictured(planner: Planner, tmp_path: Path) -> tuple[Path, Plan]:
    """A run that begins with two pictures, and its plan, which has the originals."""
    for k in range(2):
        pixels = np.random.default_rng(k).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.bmp")
    plan = planner(starts={"images": [f"{tmp_path}/0.bmp", f"{tmp_path}/1.bmp"]}, iterations=1)
    return run_plan(plan, tmp_path / "pictured").path, plan


@pytest.mark.parametrize("harm", ["a pixel", "no picture", "gone"])
def test_a_damaged_start_picture_is_found_and_copied_again(pictured, harm):
    run, plan = pictured
    assert verify_run(run).findings == verify_run(run).notices == ()
    path = min((run / "starts").iterdir())
    sound = path.read_bytes()
    if harm == "a pixel":
        flip(path, len(sound) // 2)
    else:
        path.write_bytes(b"no picture")
    if harm == "gone":
        path.unlink()
    (finding,) = verify_run(run).findings  # and not experiment.yaml, which gives other trajectories now
    assert finding.file == f"starts/{path.name}"
    assert finding.remedy == ("again" if harm == "gone" else "move")
    assert "put the picture back, or run the experiment's own file" in finding.in_words()
    repair_run(run, verify_run(run))
    assert not path.exists()
    run_plan(plan, run)
    assert path.read_bytes() == sound
    assert verify_run(run).findings == ()


def test_the_whole_folder_of_start_pictures_is_copied_again(pictured):
    run, plan = pictured
    before = {path.name: path.read_bytes() for path in (run / "starts").iterdir()}
    shutil.rmtree(run / "starts")
    assert len(verify_run(run).findings) == len(before) == 2
    run_plan(plan, run)
    assert {path.name: path.read_bytes() for path in (run / "starts").iterdir()} == before


# ---- manifest and tables ---------------------------------------------------------------------------------------------


def test_a_deleted_manifest_is_rebuilt_as_it_was(run, whole, plan):
    (run / "manifest.json").unlink()
    with pytest.raises(UsageError, match="loopsim verify"):
        run_plan(plan, run)
    verdict = verify_run(run)
    assert [(f.file, f.message, f.remedy) for f in verdict.findings] == [("manifest.json", "is missing", "rewrite")]
    assert contents(mended(run, plan)) == contents(open_run(whole))
    was, now = (json.loads((path / "manifest.json").read_text()) for path in (whole, run))
    assert "rebuilt" in now
    for key in ("format", "loopsim", "name", "cohorts", "threads"):
        assert now[key] == was[key]
    assert now["provenance"]["models"] == was["provenance"]["models"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe"])
def test_a_manifest_that_cannot_be_read_is_rebuilt_and_the_old_one_kept(run, plan, whole, content):
    (run / "manifest.json").write_bytes(content)
    mended(run, plan)
    (kept,) = (run / "damaged").rglob("manifest.json")
    assert kept.read_bytes() == content


def test_a_flipped_letter_of_the_manifest_is_found(run):
    text = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text(text.replace('"python": "3', '"python": "2'))
    (finding,) = verify_run(run).findings
    assert finding.message == "is not what was written: its checksum does not agree"
    manifest = json.loads(text)
    assert manifest["checksum"] == manifest_checksum(manifest)


def test_a_manifest_is_not_rebuilt_from_another_experiment(run):
    (run / "manifest.json").unlink()
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(text.replace("seed: 7", "seed: 8"))
    verdict = verify_run(run)
    (finding,) = verdict.findings
    assert finding.remedy == "none"
    assert "cannot be rebuilt: experiment.yaml is not what the stored steps were made from" in finding.message
    assert repair_run(run, verdict).done == ()


def test_a_manifest_is_not_rebuilt_without_a_log(run):
    (run / "manifest.json").unlink()
    (run / "log.jsonl").unlink()
    (finding,) = verify_run(run).findings
    assert "log.jsonl does not say what the run was made with" in finding.message


def test_a_log_of_before_says_nothing_of_weights_and_that_is_told(run, plan):
    (run / "manifest.json").unlink()
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    lines[0]["loopsim"]["models"] = None
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert "does not say which weights" in verify_run(run).notices[0]
    mended(run, plan)


def test_a_manifest_is_rebuilt_with_what_the_steps_were_made_with_and_not_a_blank_run_before(planner, tmp_path):
    out = tmp_path / "run"
    blank = create_run(out, planner(**KEYS | {"seed": 8}), {}, 1)
    with blank.writing():
        other = {"loopsim": "0.0.1", "models": [{"role": "captioner", "model": "other", "commit": "f" * 40}]}
        blank.log("start", pinned={"threads": 77}, loopsim=other, seam="choose")
    plan = planner(**KEYS)
    run_plan(plan, out, threads=1)
    was = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").unlink()
    assert repair_run(out, verify_run(out)).done
    now = json.loads((out / "manifest.json").read_text())
    assert now["provenance"]["models"] == was["provenance"]["models"] != other["models"]
    assert (now["loopsim"], now["threads"], now["cohorts"]) == (was["loopsim"], 1, was["cohorts"])
    # Nor does the seam of the blank run, between whose iterations anything may have happened, speak for this one's.
    assert expected_of(open_run(out), plan).plain


def test_a_log_that_does_not_say_where_a_blank_run_ended_names_the_models_of_the_last_start(run, whole):
    """Such as logs from before it was noted, and those of shares that began in the same second."""
    (run / "manifest.json").unlink()
    (line,) = [e for e in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if e["event"] == "start"]
    other = {**line, "loopsim": {"models": [{"role": "captioner", "model": "other", "commit": "f" * 40}]}}
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, [other, line])))
    repair_run(run, verify_run(run))
    was, now = (json.loads((path / "manifest.json").read_text()) for path in (whole, run))
    assert now["provenance"]["models"] == was["provenance"]["models"]


def test_an_experiment_file_that_was_changed_is_told(run):
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(text.replace("a red house", "a red horse"))
    (finding,) = verify_run(run).findings
    assert finding.file == "experiment.yaml"
    assert "gives other trajectories" in finding.message
    (run / "experiment.yaml").write_bytes(b"a: [")
    assert [f.file for f in verify_run(run).findings] == ["experiment.yaml"]


def test_the_table_of_trajectories_is_written_anew_from_the_experiment(run, whole, plan):
    path = run / "trajectories.parquet"
    table = pq.read_table(path)
    flip(path, 40)
    assert [(f.file, f.remedy) for f in verify_run(run).findings] == [("trajectories.parquet", "rewrite")]
    mended(run, plan)
    assert pq.read_table(path).equals(table)
    rewritten(path, lambda t: t.set_column(t.schema.get_field_index("group"), "group", pa.array(["?"] * t.num_rows)))
    (finding,) = verify_run(run).findings
    assert finding.message == "is not what the experiment says in group"
    path.unlink()
    assert [f.message for f in verify_run(run).findings] == ["is missing"]
    mended(run, plan)
    assert pq.read_table(path).equals(table)


# ---- vectors ---------------------------------------------------------------------------------------------------------


def vectors_of(run: Path) -> Path:
    return next(iter(sorted((run / "embeddings" / "mock").glob("*.parquet"))))


@pytest.mark.parametrize("harm", ["flip", "cut", "drop", "scale", "twice", "stray"])
def test_damaged_vectors_are_found_and_made_again(run, whole, plan, harm):
    path = vectors_of(run)
    if harm == "flip":
        flip(path, len(path.read_bytes()) // 2)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        shutil.rmtree(path.parent / ".checksums")

        def change(table: pa.Table) -> pa.Table:
            if harm == "drop":
                return table.slice(1)
            if harm == "twice":
                return pa.concat_tables([table, table.slice(0, 1)])
            rows = table.to_pylist()
            if harm == "scale":
                rows[0]["vector"] = [2 * x for x in rows[0]["vector"]]
            else:
                rows[0]["t"] = 77
            return pa.Table.from_pylist(rows, table.schema)

        rewritten(path, change)
    said = {
        "flip": "bytes have changed", "cut": "is cut off", "drop": "lacks 1 vectors", "scale": "1 vectors that are not",
        "twice": "holds vectors twice", "stray": "vectors of steps that are not there",
    }  # fmt: skip
    (finding,) = verify_run(run).findings
    assert said[harm] in finding.message
    assert (finding.embedder, finding.remedy) == ("mock", "move")
    mended(run, plan)
    then, now = (open_run(p).vectors("mock", "image") for p in (whole, run))
    order = [sorted(range(len(v[0])), key=lambda i: (v[0][i], v[1][i])) for v in (then, now)]
    assert (then[2][order[0]] == now[2][order[1]]).all()


def test_vectors_that_nobody_says_whose_they_are_are_told_by_every_reader(run):
    (run / "embeddings" / "mock" / "name.txt").unlink()
    for read in (open_run(run).embeddings, open_run(run).embedder_names):
        with pytest.raises(
            StoreError, match=r"name.txt: damaged or unreadable.*\n.*`loopsim verify DIR` says what is hit"
        ):
            read()
    assert [(f.file, f.message) for f in verify_run(run).findings] == [("embeddings/mock/name.txt", "is missing")]


def test_a_file_of_vectors_that_is_gone_is_missed(run, plan):
    path = vectors_of(run)
    path.unlink()
    (finding,) = verify_run(run).findings
    assert (finding.file, finding.message, finding.remedy) == (f"embeddings/mock/{path.name}", "is missing", "again")
    mended(run, plan)


def test_vectors_are_looked_at_a_cohort_at_a_time(planner, tmp_path):
    run = run_plan(planner(iterations=1, cohort=1), tmp_path / "run")
    folder, size = made_folder(run.path, "large"), 1 << 18
    for cohort, (member,) in run.cohorts.items():
        vectors = np.full((2, size), size**-0.5, dtype=np.float32)
        write_shard(folder, cohort, 0, 1, embedding_table([member] * 2, [0, 1], "text", vectors))
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        verdict = verify_run(run.path)
    finally:
        pa.set_memory_pool(before)
    assert (verdict.findings, verdict.vectors) == ((), 12)
    assert pool.max_memory() < 6 * (4 * size)  # of 12 vectors


# ---- imports ---------------------------------------------------------------------------------------------------------


def test_an_import_is_checked_and_nothing_promises_to_make_it_again(tmp_path):
    (tmp_path / "chains.csv").write_text(
        "chain,t,text\n" + "".join(f"a,{t},word {t}\nb,{t},other {t}\n" for t in range(5))
    )
    cli = CliRunner()
    done = cli.invoke(app, ["import", str(tmp_path / "chains.csv"), "--out", str(tmp_path / "theirs"), "--column",
                            "trajectory=chain"])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert verify_run(tmp_path / "theirs").findings == ()
    flip(shard_of(tmp_path / "theirs"), 120)
    (finding,) = verify_run(tmp_path / "theirs").findings
    assert finding.remedy == "none"
    with pytest.raises(UsageError, match="was imported from"):
        rerun_steps(tmp_path / "theirs", 3)


# ---- again with the models -------------------------------------------------------------------------------------------


def test_stored_steps_come_out_the_same_when_made_again(whole):
    again = rerun_steps(whole, 7, seed=3)
    assert len(again.chosen) == 7
    assert all(made.same and made.same_shape for made in again.chosen)
    assert again.beside == again.beside_same
    assert [m.trajectory_id for m in again.chosen] == [m.trajectory_id for m in rerun_steps(whole, 7, seed=3).chosen]
    assert len(rerun_steps(whole, 10_000).chosen) == 36


def test_steps_are_made_again_with_the_threads_that_they_were_made_with_also_without_a_log(run, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr("loopsim.models.torch_setup.pin", lambda threads: asked.append(threads) or {})
    monkeypatch.setattr("loopsim.provenance.usable_cpus", lambda: 96)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_bytes(manifest_bytes(manifest | {"threads": 5}))
    rerun_steps(run, 1)  # the log says with how many it began last
    (run / "log.jsonl").unlink()
    rerun_steps(run, 1)
    (run / "manifest.json").write_bytes(manifest_bytes(manifest | {"threads": None}))
    rerun_steps(run, 1)
    assert asked == [manifest["threads"], 5, 96]


def test_steps_of_other_models_and_of_other_calls_are_told(whole, planner, tmp_path, monkeypatch):
    run_plan(planner(**KEYS | {"generator": {"model": "mock", "batch_size": 2}}), tmp_path / "run")
    text = (tmp_path / "run" / "experiment.yaml").read_text()
    (tmp_path / "run" / "experiment.yaml").write_text(text.replace("batch_size: 2", "batch_size: 4"))
    again = rerun_steps(tmp_path / "run", 100)
    assert {made.same_shape for made in again.chosen} == {True, False}  # the second cohort has two rows only
    assert all(made.same for made in again.chosen)  # mock models round nothing
    monkeypatch.setattr("loopsim.models.mock.MockCaptioner._say", lambda self, image, seed: ["something", "else"])
    again = rerun_steps(whole, 2)
    assert [(m.same_picture, m.same_text) for m in again.chosen] == [(True, False)] * 2


def iterations_set(run: Path, now: int, seal: bool = True) -> None:
    """Edit the number of iterations in a run's experiment; without the seal, as in a run from before there was one."""
    text = (run / "experiment.yaml").read_text()
    text = re.sub(r"(?m)^iterations: \d+$", f"iterations: {now}", text)
    (run / "experiment.yaml").write_text(text if seal else re.sub(r"(?m)^# Checksum.*\n", "", text))


@pytest.mark.parametrize("known_from", ["checksum", "log", "files"])
def test_an_experiment_file_with_fewer_iterations_is_blamed_and_no_step(run, whole, plan, known_from):
    iterations_set(run, 4, seal=known_from == "checksum")
    if known_from != "log":
        (run / "log.jsonl").unlink()
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != "experiment.yaml"}
    verdict = verify_run(run)
    (finding,) = verdict.findings
    assert (finding.file, finding.remedy) == ("experiment.yaml", "none")
    assert "says iterations: 4, and 9 were made" in finding.in_words()
    assert "make it iterations: 9 again, or give the same `loopsim run` command" in finding.in_words()
    assert verdict.steps == 42
    assert repair_run(run, verdict).done == ()
    assert before == {p: p.read_bytes() for p in before}
    assert contents(run_plan(plan, run)) == contents(open_run(whole))
    assert verify_run(run).findings == ()


def test_steps_beyond_the_experiment_are_blamed_where_others_end_with_it(planner, tmp_path):
    run = run_plan(planner(cohort=4, iterations=3), tmp_path / "run")
    (run.path / "log.jsonl").unlink()
    path = shard_of(run.path)
    further = [replace(step, t=4) for step in run.steps_at("c0000", 3)]
    run.commit("c0000", further)
    (finding,) = verify_run(run.path).findings
    assert finding.message == "holds iterations that the experiment does not have"
    assert finding.file.startswith("steps/")
    assert finding.file != f"steps/{path.name}"


def test_a_changed_experiment_that_contradicts_nothing_is_noticed(run):
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(text.replace("name: try", "name: dry"))
    verdict = verify_run(run)
    assert verdict.findings == ()
    (notice,) = verdict.notices
    assert notice.startswith("experiment.yaml was changed after it was written")


def test_repairing_looks_again_when_it_holds_the_run(pieces, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(pieces, run)
    path = run / "steps" / "c0000-0000005-0000005.parquet"
    sound = path.read_bytes()
    flip_picture(path)
    verdict = verify_run(run)
    assert hits(verdict) == {"c0000": "5"}
    path.write_bytes(sound)  # a writer makes it again, merges everything and ends
    open_run(run).compact()
    repaired = repair_run(run, verdict)
    assert (repaired.done, repaired.verdict.findings, repaired.verdict.notices) == ((), (), ())
    assert not (run / "damaged").exists()
    assert contents(open_run(run)) == contents(open_run(whole))


# ---- the command -----------------------------------------------------------------------------------------------------


def invoke(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["verify", *map(str, words)])
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_the_command_says_what_is_hit_and_how_to_mend_it(run, plan):
    assert invoke(run)[:2] == (0, f"{run}: nothing is wrong (42 steps, 36 pictures decoded, 78 vectors)\n")
    assert "0 pictures decoded" in invoke(run, "--quick")[1]
    code, text, _ = invoke(run, "--rerun", 3)
    assert code == 0
    assert "made again (choice seeded 0): 3 of 3 steps are the same byte for byte" in text
    path = shard_of(run)
    path.write_bytes(path.read_bytes()[:-1])
    code, text, said = invoke(run, "--rerun", 3)
    assert code == 1
    assert f"steps/{path.name}: is cut off" in text
    assert "hit: iterations 0 to 9 of cohort c0000, 4 trajectories (" in text
    assert f"`loopsim verify {run} --repair` puts what is damaged aside; nothing is deleted." in text
    assert "nothing was made again for comparison" in said
    report = json.loads(invoke(run, "--json")[1])
    assert report["findings"][0]["remedy"] == "move"
    assert report["hits"] == {"c0000": list(range(10))}
    code, text, _ = invoke(run, "--repair")
    assert code == 0
    assert "The same `loopsim run` command makes again what is missing" in text
    run_plan(plan, run)
    assert invoke(run)[0] == 0


def test_the_command_refuses_what_is_no_run(tmp_path):
    code, _, said = invoke(tmp_path)
    assert code == 2
    assert "there is no run here (neither manifest.json nor experiment.yaml)" in said


def test_repairing_waits_for_no_one(run):
    shard_of(run).write_bytes(b"")
    with open_run(run).writing():
        code, _, said = invoke(run, "--repair")
    assert code == 2
    assert "another process is writing to this run" in said


def test_a_run_that_is_being_written_is_told(run):
    with open_run(run).writing():
        code, _, said = invoke(run)
    assert code == 0
    assert "it is being written to now (process " in said


# ---- ranges ----------------------------------------------------------------------------------------------------------


def test_ranges():
    assert joined([(5, 6), (0, 1), (2, 3), (6, 9)]) == [(0, 3), (5, 9)]
    assert missing([(0, 3), (5, 9)], 0, 12) == [(4, 4), (10, 12)]
    assert missing([], 2, 4) == [(2, 4)]
    assert missing([(0, 9)], 0, 4) == []
    assert missing([(5, 9)], 0, 3) == [(0, 3)]
    assert runs_of([3, 1, 2, 9]) == [(1, 3), (9, 9)]
    assert in_words([(1, 3), (9, 9)]) == "1 to 3, 9"


def test_a_repair_that_is_killed_keeps_the_damaged_line_until_its_iteration_is_put_aside(
    planned, tmp_path, monkeypatch
):
    plan = planned(starts=["a red house", "fail", "the blue sea"])
    run = run_plan(plan, tmp_path / "run")
    before = contents(run)
    (file,) = (run.path / "failures").glob("*.jsonl")
    file.write_text(file.read_text().replace('"trajectory_id"', '"rolf"', 1))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("loopsim.verify.repair._without_steps", killed)
        with pytest.raises(KeyboardInterrupt):
            repair_run(run.path, verify_run(run.path))
    assert "rolf" in file.read_text()
    repair_run(run.path, verify_run(run.path))
    again = run_plan(plan, run.path)
    assert contents(again) == before
    assert len(again.failures()) == len(plan.trajectories) // 3
    assert not verify_run(run.path).findings
