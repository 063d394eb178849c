"""Embedding, measuring and drawing a run."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from loopsim.embed import embed_run
from loopsim.measure import measure_run, number, summaries
from loopsim.report.figures import draw
from loopsim.runner import run_plan
from loopsim.store.embedders import folder_of
from metrics import diversity


@pytest.fixture
def measured(planned, out):
    starts = [{"prompts": ["a red house", "the blue sea", "two birds", "a lamp"], "group": "far"},
              {"prompts": ["a road", "a tree at night", "a storm"], "group": "near"}]  # fmt: skip
    run = run_plan(planned(starts=starts, iterations=10), out)
    embed_run(run, "mock")
    return run, measure_run(run)


def test_every_text_and_picture_gets_one_unit_vector(measured):
    run, _ = measured
    vectors = run.embeddings()
    keys = vectors[["trajectory_id", "t", "modality"]]
    assert not keys.duplicated().any()
    assert len(keys) == 14 * (11 + 10)  # texts of t = 0 … 10, pictures of 1 … 10
    np.testing.assert_allclose(np.linalg.norm(np.stack(vectors["vector"]), axis=1), 1, atol=1e-6)


def test_embedding_again_does_nothing_and_an_extended_run_is_embedded_from_where_it_ended(measured, planned, out):
    run, _ = measured
    assert embed_run(run, "mock") == 0
    starts = run.experiment["starts"]
    longer = run_plan(planned(starts=starts, iterations=12), out)
    assert embed_run(longer, "mock") == 14 * 2
    assert len(longer.embeddings()) == 14 * (13 + 12)


def test_values_are_those_of_the_metrics_on_the_stored_vectors(measured):
    run, frame = measured
    vectors = run.embeddings().merge(run.trajectories()[["trajectory_id", "group"]])
    for key, block in vectors.groupby(["group", "modality", "t"]):
        group, modality, t = key
        x = np.stack(block.sort_values("trajectory_id")["vector"])
        of_cell = (frame["group"] == group) & (frame["modality"] == modality) & (frame["t"] == t)
        row = frame[of_cell].set_index("metric")
        assert row.loc["mean_pairwise_distance", "value"] == pytest.approx(diversity.mean_pairwise_distance(x))
        assert row.loc["vendi", "value"] == pytest.approx(diversity.vendi(x))
        assert row.loc["vendi", "n"] == len(x)


def test_distances_are_to_the_start_and_to_the_step_before(measured):
    run, frame = measured
    texts = run.embeddings().query("modality == 'text'").merge(run.trajectories()[["trajectory_id", "group"]])
    x = {t: np.stack(b.sort_values("trajectory_id")["vector"]) for t, b in texts.query("group == 'far'").groupby("t")}
    row = frame.query("group == 'far' and modality == 'text' and t == 5").set_index("metric")["value"]
    assert row["distance_to_start"] == pytest.approx(1 - (x[5] * x[0]).sum(axis=1).mean(), abs=1e-6)
    assert row["distance_to_first"] == pytest.approx(1 - (x[5] * x[1]).sum(axis=1).mean(), abs=1e-6)
    assert row["step_distance"] == pytest.approx(1 - (x[5] * x[4]).sum(axis=1).mean(), abs=1e-6)


def test_every_number_has_its_n_its_signature_and_a_reason_where_it_is_missing(measured):
    _, frame = measured
    assert frame["signature"].str.contains(r"\|v:").all()
    assert frame["n"].notna().all()
    missing = frame[["value", "ci_low", "ci_high"]].isna().any(axis=1)
    assert (frame["undefined"].ne("") == missing).all()
    known = frame[~missing]
    assert (known["ci_low"] <= known["value"] + 1e-9).all()
    assert (known["value"] <= known["ci_high"] + 1e-9).all()


def test_the_table_has_a_line_a_group_and_modality(measured):
    _, frame = measured
    lines = summaries(frame)
    assert {(line.group, line.modality) for line in lines} == {
        (g, m) for g in ("far", "near") for m in ("text", "image")
    }
    for line in lines:
        assert line.verdict in {"decay", "no decay", "rise", "undecided"}
        curve = frame.query(
            "group == @line.group and modality == @line.modality and metric == 'mean_pairwise_distance'"
        )
        assert line.first[0] == curve.query("t == 1")["value"].item()
        assert line.last[0] == curve.query("t == 10")["value"].item()
        assert math.isnan(line.half_life[0]) or line.verdict in ("decay", "rise")


def test_a_collapsing_run_is_found_to_decay(planned, out, monkeypatch):
    # A captioner that forgets a share of what it sees: texts run into one another with a half-life of two iterations.
    from loopsim.models.mock import MockCaptioner

    calls = iter(range(10_000))

    def forget(self, image, seed):
        t = next(calls) // 24
        kept = np.random.default_rng(seed).random(10) < 0.5 ** (t / 2)
        return [f"w{seed % 997}x{i}" if keep else f"common{i}" for i, keep in enumerate(kept)]

    monkeypatch.setattr(MockCaptioner, "_say", forget)
    run = run_plan(planned(starts=[f"prompt {k}" for k in range(12)], iterations=20, noise="fixed"), out)
    embed_run(run, "mock")
    (line,) = (line for line in summaries(measure_run(run)) if line.modality == "text")
    assert line.verdict == "decay"
    assert 0.5 < line.half_life[0] < 6
    assert line.last[0] < line.first[0] / 3


def test_one_start_has_values_where_it_can_and_reasons_where_it_cannot(planned, out):
    run = run_plan(planned(starts=["a boat"], replicates=1, iterations=1), out)
    embed_run(run, "mock")
    frame = measure_run(run)
    distance = frame.query("metric == 'mean_pairwise_distance'")
    assert distance["value"].isna().all()
    assert distance["undefined"].str.len().gt(0).all()
    assert number(math.nan) == "–"


def test_vectors_of_other_weights_are_made_anew(measured):
    run, _ = measured
    folder = folder_of(run.path, "mock")
    (folder / "weights.json").write_text('{"weights": "other"}')
    assert embed_run(run, "mock") == 14 * 11
    assert len(run.embeddings()) == 14 * (11 + 10)


def test_a_run_counts_as_measured_only_while_nothing_has_been_added(measured, planned, out):
    run, _ = measured
    assert not run.is_measured()
    run.mark_measured()
    assert run.is_measured()
    assert not run_plan(planned(starts=run.experiment["starts"], iterations=12), out).is_measured()


def test_image_first_runs_are_measured_and_drawn(planned, tmp_path):
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    run = run_plan(planned(starts={"images": [str(tmp_path / "*.png")]}, iterations=9), tmp_path / "run")
    embed_run(run, "mock")
    frame = measure_run(run)
    assert frame.query("modality == 'image' and metric == 'vendi'")["t"].min() == 0
    for kind in ("diversity", "drift", "filmstrip"):
        draw(run, kind, measurements=frame)
    assert {(line.first_t, line.last_t) for line in summaries(frame)} <= {(0, 9), (1, 9)}


def test_measurements_are_read_back_as_they_were(measured):
    run, frame = measured
    pd.testing.assert_frame_equal(run.measurements(), frame, check_dtype=False)
