"""Figures: what is drawn is what was measured, the CSV is what is drawn, files are the same again, words are clear."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from matplotlib.collections import FillBetweenPolyCollection
from PIL import Image
from sklearn.decomposition import PCA
from typer.testing import CliRunner

from loopsim import images
from loopsim.cli import app
from loopsim.embed import embed_run
from loopsim.errors import NothingToDraw, StoreError, UsageError
from loopsim.exchange import import_run
from loopsim.experiment import parse_experiment
from loopsim.measure import measure_run
from loopsim.plan import make_plan
from loopsim.report import maps, motifs, selection
from loopsim.report.figures import FORMATS, KINDS, Animation, Drawing, Request, draw, draw_figures, mosaic, plot, style
from loopsim.report.figures.style import STYLE, wrap
from loopsim.report.lines import CROWD, lines_of
from loopsim.runner import read_branch, run_plan
from loopsim.states import states
from loopsim.store import Run, open_run

GROUPS = [
    {"prompts": ["a red house", "the blue sea", "two birds", "fail later"], "group": "far"},
    {"prompts": ["a road", "a tree at night", "a storm"], "group": "near"},
]
PLAIN = {"seed": 7, "generator": "mock", "captioner": {"model": "mock", "temperature": 0.7}, "embedders": "mock"}


def carried_out(out: Path, **keys: Any) -> Run:
    run = run_plan(make_plan(parse_experiment({"name": "try", **PLAIN, **keys}), read_branch), out)
    embed_run(run, "mock")
    measure_run(run)
    return run


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at these."""
    monkeypatch.setattr(style, "DPI", 60)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two temperatures × two groups of starts × two replicates × nine iterations."""
    captioner = {"model": "mock", "temperature": [0.0, 0.7]}
    path = tmp_path_factory.mktemp("figures") / "run"
    return carried_out(path, starts=GROUPS, iterations=9, replicates=2, captioner=captioner)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One trajectory of one iteration, its start in letters that no font here has, and dollar signs."""
    return carried_out(tmp_path_factory.mktemp("short") / "run", starts=["海辺の家 $x$ <img src=x>"], iterations=1)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Pictures and texts from elsewhere; one trajectory ends at t = 2, one picture is missing."""
    folder = tmp_path_factory.mktemp("failing")
    rows = []
    for i, name in enumerate("abcde"):
        for t in range(3 if name == "b" else 6):
            pixels = np.full((8, 12, 3), 40 * i + 5 * t, dtype=np.uint8)
            pixels[t % 8, i] = 255
            picture = images.encode(pixels, "png") if t and (name, t) != ("c", 3) else None
            rows.append({"trajectory": name, "t": t, "text": f"word{i} thing {t}", "image": picture})
    pd.DataFrame(rows).to_parquet(folder / "chains.parquet")
    imported = import_run(folder / "chains.parquet", folder / "run", notice=lambda _: None)
    embed_run(imported, "mock")
    measure_run(imported)
    return imported


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Texts from elsewhere, without pictures."""
    folder = tmp_path_factory.mktemp("texts")
    lines = [f"{c},{t},a {w} boat {t % 3}" for c, w in zip("abcd", ("red", "big", "old", "far"), strict=True)
             for t in range(9)]  # fmt: skip
    (folder / "chains.csv").write_text("trajectory,t,text\n" + "\n".join(lines) + "\n", encoding="utf-8")
    imported = import_run(folder / "chains.csv", folder / "run", notice=lambda _: None)
    embed_run(imported, "mock")
    measure_run(imported)
    return imported


def drawn(run: Run, kind: str, measurements: pd.DataFrame | None = None, **request: Any) -> Drawing:
    found = draw(run, kind, Request(**request), measurements)
    assert isinstance(found, Drawing)
    return found


def lines_in(drawing: Drawing) -> list[np.ndarray]:
    """The y values of every line of every panel."""
    return [np.asarray(one.get_ydata(), dtype=float) for axes in drawing.figure.axes for one in axes.get_lines()]


def has_line(drawing: Drawing, values: np.ndarray) -> bool:
    return any(len(y) == len(values) and np.allclose(y, values, equal_nan=True) for y in lines_in(drawing))


def texts_in(drawing: Drawing) -> str:
    parts = [t.get_text() for axes in drawing.figure.axes for t in axes.texts]
    titles = [axes.get_title(loc) for axes in drawing.figure.axes for loc in ("left", "center")]
    legends = [t.get_text() for legend in drawing.figure.legends for t in legend.get_texts()]
    return "\n".join([*parts, *titles, *legends, drawing.figure.get_supxlabel() or ""])


def legend(drawing: Drawing) -> list[str]:
    return [t.get_text() for one in drawing.figure.legends for t in one.get_texts()]


# ---- curves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("diversity", "mean_pairwise_distance"), ("diversity", "vendi"), ("drift", "distance_to_start"),
     ("drift", "distance_to_first"), ("drift", "step_distance"), ("entropy", "word_entropy"),
     ("entropy", "caption_entropy"), ("motifs", "motif_entropy"), ("motifs", "effective_motifs"),
     ("memory", "twin_distance"), ("memory", "stranger_distance")],
)  # fmt: skip
def test_curves_are_the_measurements(run: Run, kind: str, metric: str):
    drawing, frame = drawn(run, kind), run.measurements()
    curves = frame[(frame["metric"] == metric) & frame["t"].notna() & frame["item"].isna()]
    assert len(curves)
    in_csv = drawing.data[(drawing.data["metric"] == metric) & drawing.data["t"].notna()]
    for _, cell in curves.groupby(["modality", "label", "group"]):
        values = cell.sort_values("t")["value"].to_numpy(dtype=float)
        assert has_line(drawing, values)
        same = in_csv.merge(cell[["modality", "label", "group", "t", "value"]], how="inner")
        assert len(same) == len(cell)


def test_bands_are_the_intervals(run: Run):
    drawing, frame = drawn(run, "diversity", metrics=("vendi",), modalities=("text",)), run.measurements()
    cell = frame[(frame["metric"] == "vendi") & frame["t"].notna() & (frame["modality"] == "text")]
    bands = [c for c in drawing.figure.axes[0].collections if isinstance(c, FillBetweenPolyCollection)]
    assert len(bands) == 4
    for band, (_, rows) in zip(bands, cell.groupby(["label", "group"], sort=False), strict=True):
        low, high = (rows.sort_values("t")[c].to_numpy(dtype=float) for c in ("ci_low", "ci_high"))
        y = np.concatenate([p.vertices[:, 1] for p in band.get_paths()])
        assert np.isclose(y.min(), np.nanmin(low))
        assert np.isclose(y.max(), np.nanmax(high))


def test_images_and_texts_stand_side_by_side(run: Run):
    axes = drawn(run, "diversity").figure.axes
    titles = [one.get_title("left") for one in axes]
    assert [t.partition(":")[0] for t in titles] == ["images", "texts", "images", "texts"]


def test_verdicts_half_lives_and_plateaus_are_noted_where_there_are_some(run: Run):
    frame = run.measurements()
    one = (frame["metric"].str.startswith("vendi:")) & (frame["modality"] == "image") & (frame["group"] == "far")
    one &= frame["label"] == frame["label"].iloc[0]
    frame.loc[one, "verdict"] = "decay: it falls"
    frame.loc[one & (frame["metric"] == "vendi:half_life"), "value"] = 2.5
    frame.loc[one & (frame["metric"] == "vendi:plateau"), "value"] = 1.25
    drawing = drawn(run, "diversity", frame, where=(("group", "far"),))
    assert "decay, half-life 2.5, plateau 1.25" in texts_in(drawing)
    assert {"half of the change done", "plateau"} <= set(legend(drawing))
    marks = [one for axes in drawing.figure.axes for one in axes.get_lines() if one.get_marker() == "v"]
    assert [float(m.get_xdata()[0]) for m in marks] == [3.5]  # pictures begin at t = 1
    kept = drawing.data[drawing.data["metric"] == "vendi:half_life"]
    assert 2.5 in kept["value"].to_list()


def test_raw_numbers_of_motifs_are_those_of_the_stored_assignments(run: Run):
    drawing = drawn(run, "motifs", modalities=("text",), where=(("group", "near"), ("temperature", "0")))
    raw = drawing.data[drawing.data["metric"] == "motif_entropy (raw)"].sort_values("t")
    found = motifs.assigned_motifs(run, "mock", "text")
    table = run.trajectories()
    rows = ((table["group"] == "near") & (table["captioner.temperature"] == 0)).to_numpy()
    for t, value in zip(raw["t"], raw["value"], strict=True):
        counts = np.bincount(found.labels[rows, int(t) - found.ts[0]])
        p = counts[counts > 0] / counts.sum()
        assert value == pytest.approx(-(p * np.log2(p)).sum())
    assert has_line(drawing, raw["value"].to_numpy(dtype=float))


def test_motifs_of_another_run_are_told_with_the_command_that_makes_them(run, tmp_path):
    copy = open_run(shutil.copytree(run.path, tmp_path / "copy"))
    path = copy.path / "motifs" / "mock-text.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "trajectory_id", pa.array(["f" * 16] * len(table))), path)
    with pytest.raises(StoreError, match=r"mock-text.*trajectories that the run does not have; run `loopsim meas"):
        motifs.assigned_motifs(copy, "mock", "text")


def test_by_colours_by_that_factor_and_dashes_tell_the_rest(run: Run):
    frame = run.measurements()
    found = lines_of(frame[(frame["metric"] == "vendi") & frame["t"].notna()], "captioner.temperature")
    assert [one.name for one in found.lines] == [
        "temperature=0, far", "temperature=0, near", "temperature=0.7, far", "temperature=0.7, near",
    ]  # fmt: skip
    assert len({one.colour for one in found.lines[:2]}) == 1
    assert {one.dashes for one in found.lines[:2]} == {"-", "--"}
    assert found.lines[0].colour != found.lines[2].colour
    assert legend(drawn(run, "diversity", by="temperature"))[0] == "temperature=0, far"


def test_where_leaves_only_those(run: Run):
    drawing = drawn(run, "drift", where=(("group", "near"), ("captioner.temperature", "0.70")))
    assert set(drawing.data["group"].dropna()) == {"near"}
    assert set(drawing.data["label"].dropna()) == {"temperature=0.7"}


def test_pooled_cells_are_those_measured_by_that_factor(run: Run):
    with pytest.raises(NothingToDraw, match=r"`loopsim measure .* --by captioner.temperature`"):
        drawn(run, "diversity", by="temperature", pooled=True)
    from loopsim.measure import Options

    pooled = measure_run(run, Options(by=("captioner.temperature",), families=("diversity",)))
    (run.path / "measurements-by-captioner.temperature-diversity.parquet").rename(
        run.path / "measurements-by-captioner.temperature.parquet"
    )
    drawing = drawn(run, "diversity", by="temperature", pooled=True, metrics=("vendi",))
    rows = pooled[(pooled["metric"] == "vendi") & (pooled["modality"] == "text")]
    for _, cell in rows[rows["t"].notna()].groupby("captioner.temperature"):
        assert has_line(drawing, cell.sort_values("t")["value"].to_numpy(dtype=float))
    assert legend(drawing)[:2] == ["temperature=0", "temperature=0.7"]
    (run.path / "measurements-by-captioner.temperature.parquet").unlink()


def many(run: Run, temperatures: int) -> pd.DataFrame:
    """Measurements as if there were so many temperatures."""
    frame = run.measurements()
    frame = frame[frame["label"] == frame["label"].iloc[0]]
    parts = []
    for i in range(temperatures):
        name = f"a label that is long, and says in many words what temperature={i / 10}"
        part = frame.assign(label=name, condition=f"c{i}", **{"captioner.temperature": i / 10})
        parts.append(part.assign(value=part["value"] * (1 + i / 100)))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("kind", ["diversity", "drift", "entropy", "survival", "memory"])
def test_a_crowd_of_lines_is_coloured_by_one_factor_without_bands_and_that_is_said(run: Run, kind: str):
    frame = many(run, 7)
    assert CROWD < 2 * 7
    drawing = drawn(run, kind, frame)
    assert any("14 lines are too many" in note for note in drawing.notes)
    assert {f"temperature={i / 10:g}" for i in range(7)} <= set(legend(drawing))
    assert len(legend(drawing)) <= 9
    assert not [c for axes in drawing.figure.axes for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    assert len(drawing.data.loc[drawing.data["t"].notna(), "line"].unique()) == 14


def test_more_levels_than_colours_and_line_styles_are_counted(run: Run):
    said = legend(drawn(run, "entropy", many(run, 40), by="temperature"))
    assert len(said) == 29
    assert "and 12 more" in said


def test_missing_values_are_gaps_and_lone_points_are_seen(run: Run):
    frame = run.measurements()
    late = frame["t"].isin([3, 4, 6]) & (frame["metric"] == "vendi")
    frame.loc[late, ["value", "ci_low", "ci_high"]] = np.nan
    drawing = drawn(run, "diversity", frame, metrics=("vendi",), modalities=("text",), where=(("group", "far"),))
    lines = [y for y in lines_in(drawing) if len(y) == 10 and np.isnan(y).any()]
    assert lines
    assert np.flatnonzero(np.isnan(lines[0])).tolist() == [3, 4, 6]
    points = [one for one in drawing.figure.axes[0].get_lines() if one.get_marker() == "o"]
    assert [float(p.get_xdata()[0]) for p in points] == [5.0, 5.0]
    assert drawing.data["value"].isna().any()


# ---- other measurements ----------------------------------------------------------------------------------------------


def test_memory_is_drawn_early_and_late_with_its_interval(run: Run):
    frame = run.measurements()  # the mock models keep nothing, so their memory is not defined
    mine = (frame["metric"] == "memory") & frame["item"].isin(["early", "late"])
    frame.loc[mine, "value"] = np.linspace(0.9, 0.1, mine.sum())
    drawing = drawn(run, "memory", frame, modalities=("text",))
    shares = frame[mine & (frame["modality"] == "text")]
    assert len(shares)
    for _, cell in shares.groupby(["label", "group"]):
        by_window = cell.set_index("item")["value"]
        known = [by_window[one] for one in ("early", "late") if one in by_window.index]
        assert any(np.allclose(y[~np.isnan(y)], known) for y in lines_in(drawing) if len(y[~np.isnan(y)]) == len(known))


def test_memory_tells_lines_of_one_colour_apart_by_lightness(run: Run):
    drawing = drawn(run, "memory", by="temperature", modalities=("image",))
    solid = [
        one for one in drawing.figure.axes[0].get_lines() if one.get_linestyle() == "-" and one.get_linewidth() > 1
    ]
    assert len({one.get_color() for one in solid}) == 4


def test_survival_steps_are_kaplan_and_meiers(run: Run):
    drawing, frame = drawn(run, "survival"), run.measurements()
    steps = frame[(frame["metric"] == "concept_survival") & frame["t"].notna() & frame["value"].notna()]
    for _, cell in steps.groupby(["modality", "label", "group", "item"]):
        assert has_line(drawing, cell.sort_values("t")["value"].to_numpy(dtype=float))
    with pytest.raises(UsageError, match="survival is drawn of concept_survival or concept_survival_modelled"):
        drawn(run, "survival", metrics=("vendi",))


def test_survival_has_a_panel_for_each_category(run: Run):
    frame = run.measurements()
    mine = frame[(frame["metric"] == "concept_survival") & (frame["modality"] == "text")]
    frame = pd.concat([frame, mine.assign(item="colour", value=mine["value"] / 2)], ignore_index=True)
    drawing = drawn(run, "survival", frame, modalities=("text",))
    assert [a.get_title("left") for a in drawing.figure.axes] == ["texts: all concepts", "texts: colour"]


def test_attribution_bars_are_omega_squared(run: Run):
    drawing, frame = drawn(run, "attribution"), run.measurements()
    rows = frame[(frame["metric"] == "attribution") & frame["value"].notna()]
    widths = [p.get_width() for axes in drawing.figure.axes for p in axes.patches]
    assert sorted(widths) == pytest.approx(sorted(rows["value"]))
    assert set(drawing.data["factor"]) == {"prompt", "captioner.temperature", "replicate"}
    assert sorted(drawing.data["value"]) == pytest.approx(sorted(rows["value"]))


def test_transitions_are_the_counted_moves(run: Run):
    drawing, frame = drawn(run, "transitions", modalities=("image",)), run.measurements()
    counted = frame[(frame["metric"] == "transition_count") & (frame["modality"] == "image")]
    assert drawing.data["count"].sum() == counted["value"].sum()
    k = motifs.assigned_motifs(run, "mock", "image").k
    first = counted[(counted["label"] == counted["label"].iloc[0]) & (counted["group"] == "far")]
    shown = np.ma.filled(drawing.figure.axes[0].images[0].get_array(), np.nan)
    assert shown.shape == (k, k)
    matrix = np.zeros((k, k))
    for item, value in zip(first["item"], first["value"], strict=True):
        a, b = (int(part.split()[1]) for part in item.split(" > "))
        matrix[a, b] = value
    totals = matrix.sum(axis=1, keepdims=True)
    assert np.allclose(shown[totals[:, 0] > 0], (matrix / np.where(totals, totals, 1))[totals[:, 0] > 0])


def test_truth_draws_the_attributes_beside_the_prior(run: Run):
    frame = run.measurements()
    words = frame[frame["metric"] == "word_entropy"]
    parts = [words.assign(metric=f"{one}_entropy", value=words["value"] / 3) for one in
             ("attribute", "subject", "colour", "number", "place", "mood")]  # fmt: skip
    drawing = drawn(run, "truth", pd.concat([frame, *parts], ignore_index=True))
    assert [a.get_title("left") for a in drawing.figure.axes][:2] == ["mean of the five", "subject"]
    assert drawing.data["line"].str.contains("draws from the prior").sum() == 6
    n = int(words["n"].max())
    legend = {text.get_text() for text in drawing.figure.legends[0].get_texts()}
    assert {f"{n} draws from the prior", f"{n} evenly drawn scenes"} <= legend
    few = pd.concat([frame, *parts], ignore_index=True).assign(n=n)
    assert "lie lower" not in drawn(run, "truth", few).figure.get_supxlabel()
    few.loc[few["group"] == "near", "n"] = 3
    assert f"fewer than {n} captions (here from 3 on)" in drawn(run, "truth", few).figure.get_supxlabel()
    with pytest.raises(NothingToDraw, match="known on postcards only"):
        drawn(run, "truth")


# ---- motifs, maps, choices -------------------------------------------------------------------------------------------


def test_occupancy_adds_up_to_the_trajectories_that_are_there(run: Run):
    drawing = drawn(run, "occupancy")
    stored = motifs.assigned_motifs(run, "mock", "text")
    table = drawing.data[drawing.data["modality"] == "text"]
    assert (table.groupby(["cell", "t"])["share"].sum().round(9) == 1).all()
    per_motif = table.groupby(["t", "motif"])["count"].sum().unstack().to_numpy()
    assert (per_motif == stored.counts()).all()
    assert stored.counts().sum(axis=1).tolist() == [28] * 10


def test_medoids_are_the_nearest_to_their_centres_and_shares_add_up(run: Run):
    stored = motifs.assigned_motifs(run, "mock", "image")
    found = motifs.medoids(stored)
    assert sum(one.share for one in found) == pytest.approx(1)
    assert [one.share for one in found] == sorted((one.share for one in found), reverse=True)
    for one in found:
        mine = stored.distances[stored.labels == one.motif]
        assert one.distance == mine.min()
        i = stored.ids.tolist().index(one.trajectory_id)
        assert stored.labels[i, one.t - stored.ts[0]] == one.motif


def test_a_medoid_of_texts_is_never_a_start(run: Run):
    assert all(one.t > 0 for one in motifs.medoids(motifs.assigned_motifs(run, "mock", "text")))


def test_the_map_is_that_of_principal_component_analysis(run: Run):
    found = states(run, "mock", "text")
    made = maps.make_map(found)
    unit = found.vectors / np.linalg.norm(found.vectors, axis=2, keepdims=True)
    after = unit[:, 1:].reshape(-1, unit.shape[2]).astype(np.float64)
    theirs = PCA(2, svd_solver="full").fit(after)
    assert made.explained == pytest.approx(tuple(theirs.explained_variance_ratio_))
    assert made.fitted == len(after)
    placed = theirs.transform(unit.reshape(-1, unit.shape[2]).astype(np.float64)).reshape(*unit.shape[:2], 2)
    assert np.allclose(np.abs(made.points), np.abs(placed), atol=1e-6)


def test_the_drawn_map_has_every_state_and_the_chosen_ways(run: Run):
    drawing = drawn(run, "map", rows=3, modalities=("image",))
    assert len(drawing.data) == 28 * 9
    assert drawing.data.loc[drawing.data["line"], "trajectory_id"].nunique() == 3
    offsets = drawing.figure.axes[0].collections[0].get_offsets()
    assert np.allclose(offsets, drawing.data[["x", "y"]])
    assert "of the variance" in drawing.figure.axes[0].get_xlabel()


@pytest.mark.slow
def test_umap_is_the_same_again_and_refused_for_few(run: Run, short: Run):
    pytest.importorskip("umap")
    found = states(run, "mock", "text")
    first, again = (maps.make_map(found, "umap").points for _ in range(2))
    assert np.array_equal(first, again)
    assert np.isfinite(first).all()
    with pytest.raises(UsageError, match="UMAP needs 30 states or more"):
        drawn(short, "map", method="umap")


def test_umap_says_how_to_install_it(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(UsageError, match=r'pip install "loopsim\[umap\]"'):
        drawn(run, "map", method="umap")


def test_the_most_and_least_drifted_are_found(run: Run):
    found = states(run, "mock", "image")
    unit = found.vectors / np.linalg.norm(found.vectors, axis=2, keepdims=True)
    distances = 1 - np.einsum("nd,nd->n", unit[:, 0], unit[:, -1])
    ids = found.trajectories["trajectory_id"].to_numpy()
    assert selection.drift(found).to_numpy() == pytest.approx(distances, abs=1e-6)
    assert selection.drifted(found, 1) == [ids[np.argmax(distances)]]
    assert selection.drifted(found, 1, least=True) == [ids[np.argmin(distances)]]


def test_trajectories_are_named_by_their_first_characters(run: Run):
    table = run.trajectories()
    whole = table["trajectory_id"].iloc[5]
    assert selection.by_ids(table, [whole[:6]]) == [whole]
    with pytest.raises(UsageError, match="28 trajectories begin so"):
        selection.by_ids(table.assign(trajectory_id=["x" + i for i in table["trajectory_id"]]), ["x"])


def test_a_spread_takes_conditions_and_groups_in_turn(run: Run):
    table = run.trajectories().set_index("trajectory_id")
    chosen = table.loc[selection.spread(run.trajectories(), 4)]
    assert len(chosen[["condition", "group"]].drop_duplicates()) == 4
    assert set(chosen["replicate"]) == {0}


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_a_filmstrip_shows_the_stored_pictures_and_captions(run: Run):
    drawing = drawn(run, "filmstrip", rows=2, columns=3)
    assert sorted(drawing.data["t"].unique()) == [1, 5, 9]
    ids = drawing.data["trajectory_id"].unique()
    stored = run.pictures(list(ids), [1, 5, 9])
    shown = [axes.images[0].get_array() for axes in drawing.figure.axes if axes.images]
    assert len(shown) == 6
    for one, (name, t) in zip(shown, drawing.data[["trajectory_id", "t"]].itertuples(index=False), strict=True):
        assert np.array_equal(one, images.decode(stored[name, t]))
    said = run.steps().set_index(["trajectory_id", "t"])["text"]
    assert all(said[row.trajectory_id, row.t] == row.text for row in drawing.data.itertuples())
    assert wrap(drawing.data["text"].iloc[0], 200).split()[0] in texts_in(drawing)


def test_a_filmstrip_through_motifs_marks_each_medoid(run: Run):
    drawing = drawn(run, "filmstrip", choose="motifs", rows=3, columns=4)
    first = motifs.medoids(motifs.assigned_motifs(run, "mock", "image"))[0]
    assert drawing.data["trajectory_id"].iloc[0] == first.trajectory_id
    assert first.t in drawing.data["t"].to_list()
    marked = [axes for axes in drawing.figure.axes if axes.images and axes.patches]
    assert len(marked) == 3
    assert f"motif {first.motif}, {first.share:.0%}" in texts_in(drawing)


def test_a_filmstrip_says_where_a_trajectory_ended_and_where_a_picture_is_missing(failing: Run):
    drawing = drawn(failing, "filmstrip", rows=5, columns=8)
    status = drawing.data.set_index(["trajectory_id", "t"])["status"]
    assert status["b", 5] == "ended"
    assert status["b", 2] == "drawn"
    assert status["c", 3] == "missing"
    assert "ended" in texts_in(drawing)
    assert "no picture" in texts_in(drawing)


def test_many_columns_leave_out_captions_and_say_so(run: Run):
    assert "no room for captions" in " ".join(drawn(run, "filmstrip", width="column", columns=9).notes)


def test_a_sheet_has_a_card_for_each_motif(run: Run):
    drawing = drawn(run, "sheet")
    found = motifs.medoids(motifs.assigned_motifs(run, "mock", "image"))
    assert drawing.data["motif"].tolist() == [one.motif for one in found]
    titles = [a.get_title() for a in drawing.figure.axes if a.get_title()]
    assert titles == [f"motif {one.motif}: {one.share:.0%}" for one in found]
    assert [style.percent(one) for one in (0.0, 0.002, 0.01, 0.994, 1.0)] == ["0%", "<1%", "1%", "99%", "100%"]


def test_a_sheet_of_texts_without_pictures_is_of_words(texts: Run):
    drawing = drawn(texts, "sheet")
    assert drawing.data["text"].iloc[0] in texts_in(drawing).replace("\n", " ")


def test_a_mosaic_has_a_frame_an_iteration_and_a_tile_a_trajectory(failing: Run, tmp_path: Path):
    found = draw(failing, "mosaic")
    assert isinstance(found, Animation)
    assert len(found.frames) == 5  # t = 0 has no picture
    assert found.data.groupby("t").size().tolist() == [5] * 5
    cell = found.data[(found.data["trajectory_id"] == "d") & (found.data["t"] == 2)].iloc[0]
    stored = images.decode(failing.pictures(["d"], [2])["d", 2])
    high, wide = 8 * 5, 12 * 5  # tiny pictures are shown larger, whole times
    x, y = 1 + cell["column"] * (wide + 1), mosaic._BAR + 1 + cell["row"] * (high + 1)
    assert np.array_equal(found.frames[1][y : y + high : 5, x : x + wide : 5], stored)
    paths, _ = plot(failing, "mosaic", out=tmp_path, formats=["gif"])
    with Image.open(paths[0]) as picture:
        assert picture.n_frames == 5


def test_tiles_shrink_so_that_a_mosaic_of_hundreds_fits_a_screen():
    for count in (1, 7, 48, 700, 3000):
        across, (high, wide) = mosaic._layout(count, (512, 512))
        assert across * (wide + 1) <= 1500
        assert -(-count // across) * (high + 1) <= 1500
        assert wide >= 12


def test_a_video_is_made_where_ffmpeg_is_and_otherwise_asked_for(
    failing: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if mosaic.ffmpeg() is not None:
        made = [plot(failing, "mosaic", out=tmp_path / name, formats=["mp4"])[0][0].read_bytes() for name in ("a", "b")]
        assert made[0][4:8] == b"ftyp"
        assert made[0] == made[1]
    monkeypatch.setattr(mosaic, "ffmpeg", lambda: None)
    with pytest.raises(UsageError, match="MP4 needs ffmpeg"):
        plot(failing, "mosaic", out=tmp_path, formats=["mp4"])
    assert [p.suffix for p in plot(failing, "mosaic", out=tmp_path)[0]] == [".gif", ".csv"]


# ---- every kind ------------------------------------------------------------------------------------------------------

MISSING = {
    "run": {"truth"},
    "short": {"truth", "memory", "transitions", "attribution"},
    "failing": {"truth", "memory", "attribution"},
    "texts": {"truth", "memory", "attribution", "motifs", "filmstrip", "mosaic"},
}


@pytest.mark.parametrize("which", MISSING)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_or_says_in_one_line_why_not(
    which: str, kind: str, request: pytest.FixtureRequest, tmp_path
):
    of = request.getfixturevalue(which)
    formats = ["gif" if kind == "mosaic" else "png"]
    if kind in MISSING[which]:
        with pytest.raises(NothingToDraw) as why:
            plot(of, kind, out=tmp_path, formats=formats)
        assert "\n" not in str(why.value)
        assert str(of.path) in str(why.value)
        return
    paths, _ = plot(of, kind, out=tmp_path, formats=formats)
    assert [p.suffix for p in paths] == [f".{formats[0]}", ".csv"]
    with Image.open(paths[0]) as picture:
        assert min(picture.size) > 50
    assert len(pd.read_csv(paths[1]))


@pytest.mark.parametrize("width", ["page", "column"])
def test_widths_are_those_of_a_journal(run: Run, tmp_path: Path, width: str):
    paths, _ = plot(run, "diversity", Request(width=width), tmp_path, ["png"])
    with Image.open(paths[0]) as picture:
        millimetres = picture.width / style.DPI * 25.4
    assert millimetres == pytest.approx({"page": 183, "column": 89}[width], abs=0.5)


@pytest.mark.parametrize("kind", ["diversity", "map", "filmstrip", "occupancy", "mosaic"])
def test_files_are_the_same_again(run: Run, tmp_path: Path, kind: str):
    formats = ["gif"] if kind == "mosaic" else list(FORMATS)
    first, again = (plot(open_run(run.path), kind, out=tmp_path / name, formats=formats)[0] for name in ("a", "b"))
    assert len(first) == len(formats) + 1
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


def test_the_default_set_is_all_that_the_run_allows(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loopsim.report.figures.FORMATS", ("png",))
    made = draw_figures(run, run.measurements())
    assert [p.stem for p in made] == [kind for kind in KINDS if kind not in MISSING["run"]]
    assert all((p.with_suffix(".csv")).exists() for p in made)
    assert {p.suffix for p in made} == {".png", ".gif"}


def test_a_csv_holds_the_very_numbers(run: Run, tmp_path: Path):
    paths, _ = plot(run, "drift", out=tmp_path, formats=["svg"])
    table, frame = pd.read_csv(paths[-1], float_precision="round_trip"), run.measurements()
    both = table[table["t"].notna()].merge(frame, on=["condition", "group", "modality", "metric", "t"])
    assert len(both) == table["t"].notna().sum()
    assert np.array_equal(both["value_x"], both["value_y"], equal_nan=True)
    assert np.array_equal(both["ci_low_x"], both["ci_low_y"], equal_nan=True)


def test_alternative_texts_say_what_is_seen(run: Run):
    for kind in ("diversity", "attribution", "sheet", "survival"):
        assert draw(run, kind).alt.endswith(".")


def test_nothing_is_left_behind_in_matplotlib(run: Run):
    import matplotlib as mpl

    before = mpl.rcParams["font.size"]
    drawn(run, "diversity")
    assert mpl.rcParams["font.size"] == before != STYLE["font.size"]


# ---- the command -----------------------------------------------------------------------------------------------------


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_without_a_kind_the_kinds_are_listed():
    for result in (invoke("plot"), invoke("plot", "--list")):
        assert result.exit_code == 0
        assert all(kind in result.stdout for kind in KINDS)


def test_the_command_prints_the_files_it_wrote(run: Run, tmp_path: Path):
    result = invoke("plot", "drift", run.path, "--by", "temperature", "--where", "group=far", "--format", "png,svg",
                    "--out", tmp_path)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    names = [Path(line).name for line in result.stdout.split()]
    stem = "drift-by-temperature-group-far"
    assert names == [f"{stem}.png", f"{stem}.svg", f"{stem}.csv"]
    assert all((tmp_path / name).exists() for name in names)


def test_a_file_may_be_named(run: Run, tmp_path: Path):
    result = invoke("plot", "sheet", run.path, "--out", tmp_path / "new" / "motifs.pdf")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "new" / "motifs.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "new" / "motifs.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["diversty"], "no kind of figure is called 'diversty'. Did you mean 'diversity'?"),
        (["diversity", "--by", "colour"], "--by colour: there is no such column to group by; those that vary:"),
        (["diversity", "--where", "group=nar"], "--where group=nar: no trajectory has that value; there are far, near"),
        (["diversity", "--where", "grup=near"], "--where grup: there is no such column here; those that vary:"),
        (["diversity", "--where", "near"], "write COLUMN=VALUE"),
        (["diversity", "--metric", "vendy"], "--metric 'vendy' is not known. Did you mean vendi"),
        (["diversity", "--metric", "path_length"], "path_length has no curve over iterations"),
        (["diversity", "--metric", "word_entropy", "--modality", "image"], "word_entropy is measured of texts only"),
        (["diversity", "--embedder", "clip"], "--embedder clip`"),
        (["diversity", "--modality", "sound"], "--modality 'sound' is not known; known: image, text"),
        (["diversity", "--format", "jpeg"], "diversity is written as png, svg, pdf"),
        (["diversity", "--out", "figure.jpeg"], "diversity is written as png, svg, pdf"),
        (["diversity", "--out", "f.png", "--format", "svg"], "says png, --format svg: give one of them"),
        (["diversity", "--width", "poster"], "--width 'poster' is not known; known: column, page"),
        (["diversity", "--pooled"], "--pooled: say by what, with --by FACTOR"),
        (["entropy", "--choose", "motifs"], "entropy does not heed --choose; it heeds"),
        (["map", "--method", "tsne"], "--method 'tsne' is not known; known: pca, umap"),
        (["filmstrip", "--choose", "best"], "--choose 'best' is not known; known: spread, most-drifted"),
        (["filmstrip", "--trajectory", "zz"], "--trajectory 'zz': there is no such trajectory here; there are"),
        (["truth"], "the answer is known on postcards only"),
    ],
)
def test_what_cannot_be_drawn_is_answered_with_what_can(run: Run, arguments: list[str], said: str):
    result = invoke("plot", arguments[0], run.path, *arguments[1:])
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_a_run_that_was_not_measured_is_answered_with_the_command(planned, out: Path):
    run = run_plan(planned(iterations=1), out)
    for kind, said in (("diversity", f"has not been measured: `loopsim measure {run.path}`"),
                       ("map", "no embeddings: there are none"), ("sheet", "no embeddings: ")):  # fmt: skip
        result = invoke("plot", kind, run.path)
        assert result.exit_code == 2
        assert said in result.stderr
    assert invoke("plot", "filmstrip", run.path).exit_code == 0


def test_a_kind_or_a_run_that_was_forgotten_is_asked_for(run: Run):
    assert "say of which run: `loopsim plot diversity DIR`" in invoke("plot", "diversity").stderr
    assert "say which figure of" in invoke("plot", run.path).stderr


def test_letters_that_no_font_has_are_said(short: Run, tmp_path: Path):
    _, notes = plot(short, "filmstrip", out=tmp_path, formats=["png"])
    assert any("font" in note for note in notes)


def test_a_broken_picture_is_a_message(failing: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Run, "pictures", lambda self, ids, ts: {(i, t): b"no picture" for i in ids for t in ts})
    result = invoke("plot", "filmstrip", failing.path)
    assert result.exit_code == 1
    assert "a stored picture cannot be read" in result.stderr


def test_text_is_never_a_formula_and_is_cut_with_an_ellipsis():
    assert wrap("$x$", 20) == r"\$x\$"
    assert wrap("one two three four", 8, 1) == "one two…"
    assert wrap("a " * 100, 10, 3).count("\n") == 2


@pytest.mark.parametrize(("entries", "letters", "columns"), [(4, 24, 2), (5, 24, 3), (8, 5, 4), (1, 60, 1), (7, 5, 7)])
def test_no_entry_of_a_legend_is_left_alone_under_full_rows(entries, letters, columns):
    assert style._legend_columns(entries, letters, 7.2) == columns
    assert style.legend_rows(["x" * letters] * entries, 7.2) == -(-entries // columns)
