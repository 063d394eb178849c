"""The families of measurements: each is there, says what it is of, and answers what is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.embed import embed_run
from loopsim.errors import StoreError, UsageError
from loopsim.exchange import import_run
from loopsim.measure import METRICS, Options, measure_run
from loopsim.measure.cells import checked
from loopsim.measure.concepts import calibrate
from loopsim.measure.design import telephone_rows, varying_factors
from loopsim.measure.geometry import between_rows, diversity_rows, drift_rows
from loopsim.measure.motifs import ending_rows, find_motifs, occupancy_rows, stored_motifs
from loopsim.measure.vocabulary import Vocabulary, fold, named_in, read_vocabulary, vocabulary_of
from loopsim.records import EMPTY_CAPTION
from loopsim.runner import run_plan
from loopsim.seeds import digest
from loopsim.states import States, captions, states
from loopsim.store import open_run
from metrics import entropy
from metrics.text import ngram_entropy

STARTS = [f"a {colour} house by the {place}" for colour in ("red", "blue", "old") for place in ("sea", "road", "lake")]


def made_states(vectors, replicates=1, modality="text"):
    """States of vectors (n, T, d), t = 0 … T − 1, replicates of a start side by side."""
    n, length = vectors.shape[:2]
    table = pd.DataFrame(
        {
            "trajectory_id": [f"t{i}" for i in range(n)],
            "start_id": [f"s{i // replicates}" for i in range(n)],
            "condition": "c", "label": "all", "group": "all", "start_kind": "text", "start_text": "x", "t0": 0,
            "replicate": [i % replicates for i in range(n)], "captioner": "a",
        }
    )  # fmt: skip
    present = np.ones((n, length), dtype=bool)
    return States("e", modality, table, np.arange(length), vectors.astype(np.float32), present)


def rows_of(rows, metric, **where):
    return [r for r in rows if r["metric"] == metric and all(r[k] == v for k, v in where.items())]


@pytest.fixture
def crossed(planned, out):
    captioner = [{"model": "mock", "temperature": 0.7}, {"model": "mock", "temperature": 0.9}]
    run = run_plan(planned(starts=STARTS, iterations=9, captioner=captioner), out)
    embed_run(run, "mock")
    return run


def test_every_metric_is_listed_and_has_numbers_of_both_conditions(crossed):
    frame = measure_run(crossed)
    assert set(frame["metric"]) <= set(METRICS)
    for metric in (
        "vendi",
        "stranger_distance",
        "motif_entropy",
        "word_entropy",
        "prompt_fixes",
        "clip_score",
        "path_length",
    ):
        assert frame[(frame["metric"] == metric) & frame["value"].notna()]["condition"].nunique() == 2, metric
    missing = frame[["value", "ci_low", "ci_high"]].isna().any(axis=1)
    assert (frame["undefined"].ne("") == missing).all()
    assert frame[frame["value"].isna()]["undefined"].str.len().min() > 5


def test_the_time_to_lose_the_origin_is_told_of_texts_and_pictures_or_why_not(planned, out, crossed):
    enough = measure_run(crossed, Options(families=("drift",)))
    for metric in ("time_to_lose_origin:never", "origin_kept"):
        rows = enough[enough["metric"] == metric]
        assert rows.groupby("modality")["condition"].nunique().to_dict() == {"image": 2, "text": 2}
        assert rows["value"].between(0, 1).all()
    assert enough.query("metric == 'origin_kept'").groupby("modality")["t"].min().to_dict() == {"image": 2, "text": 1}
    run = run_plan(planned(starts=STARTS, iterations=9, replicates=1), out.with_name("few"))
    embed_run(run, "mock")
    few = measure_run(run, Options(families=("drift",))).query("metric == 'time_to_lose_origin'")
    assert set(few["modality"]) == {"image", "text"}
    assert few["value"].isna().all()
    assert few["undefined"].str.contains("at most 8 trajectories of other starts").all()


def test_words_are_compared_at_equal_amounts_of_text_everywhere(crossed):
    frame = measure_run(crossed, Options(families=("text",)))
    signatures = frame[frame["metric"] == "word_entropy"]["signature"]
    tokens = {part for sign in signatures for part in sign.split("|") if part.startswith("tokens:")}
    assert len(tokens) == 1
    assert int(tokens.pop().removeprefix("tokens:")) > 20


def test_attribution_names_the_factor_that_varies_and_says_for_whom_it_speaks(crossed):
    frame = measure_run(crossed, Options(families=("attribution",)))
    items = set(frame[frame["metric"] == "attribution"]["item"])
    assert "drift: captioner.temperature" in items
    assert "endpoint: prompt" in items
    assert "drift: replicate" in items
    verdict = frame[frame["item"] == "drift: captioner.temperature"]["verdict"].dropna().iloc[0]
    assert "these" in verdict.lower()
    assert varying_factors(crossed.trajectories()) == ["captioner.temperature", "replicate"]


def test_a_coarser_grouping_has_its_own_file_and_leaves_twins_to_conditions(crossed):
    whole = measure_run(crossed)
    frame = measure_run(crossed, Options(by=("captioner",)))
    pd.testing.assert_frame_equal(crossed.measurements(), whole, check_dtype=False)
    assert (crossed.path / "measurements-by-captioner.parquet").exists()
    vendi = frame[(frame["metric"] == "vendi") & (frame["modality"] == "text")]
    assert set(vendi["n"]) == {36}
    assert vendi["condition"].isna().all()
    assert "pools 2 conditions" in frame[frame["metric"] == "memory"]["undefined"].iloc[0]
    with pytest.raises(UsageError, match="no such column; known: condition, label, group, generator"):
        measure_run(crossed, Options(by=("colour",)))


def test_a_codebook_can_be_taken_from_another_run_and_labels_are_stored(crossed, planned, tmp_path):
    first = measure_run(crossed, Options(motifs=5))
    labels = stored_motifs(crossed, "mock", "text").to_pandas()
    assert set(labels["motif"]) == set(range(5))
    assert len(labels) == len(crossed.steps(["t"]))
    other = run_plan(planned(starts=STARTS[:4], seed=8, iterations=9), tmp_path / "other")
    embed_run(other, "mock")
    again = measure_run(other, Options(families=("entropy",), codebook=crossed.path))
    digest = {
        p for s in first.query("metric == 'motif_entropy' and modality == 'text'")["signature"] for p in s.split("|")
    }
    assert {p for p in digest if p.startswith("codebook:")} <= {
        p for s in again.query("metric == 'motif_entropy' and modality == 'text'")["signature"] for p in s.split("|")
    }
    fresh = run_plan(planned(starts=STARTS[:4], seed=9), tmp_path / "fresh")
    with pytest.raises(UsageError, match="measure that run first"):
        measure_run(crossed, Options(codebook=fresh.path))


def test_redraws_of_steps_give_the_seed_noise(planned, out, tmp_path):
    run = run_plan(planned(starts=STARTS, iterations=9), out)
    embed_run(run, "mock")
    ids = run.trajectories()["trajectory_id"].tolist()[::2]
    drawn = planned(starts=[{"from": [f"{out}/{i}/7" for i in ids]}], iterations=1, replicates=3)
    again = run_plan(drawn, tmp_path / "redraws")
    embed_run(again, "mock")
    frame = measure_run(run, Options(families=("between",), redraws=again.path))
    noise = frame.query("metric == 'seed_noise' and modality == 'image' and item == 'late'").iloc[0]
    found = states(again, "mock", "image")
    blocks = [found.vectors[i : i + 3, 0].astype(float) for i in range(0, len(found.vectors), 3)]
    pairs = [1 - b[i] @ b[j] for b in blocks for i, j in ((0, 1), (0, 2), (1, 2))]
    assert noise["value"] == pytest.approx(np.mean(pairs), rel=1e-5)
    assert "redraws_of:" in noise["signature"]
    early = frame.query("metric == 'memory' and modality == 'image' and item == 'early'").iloc[0]
    assert "no step of t = 2 to 4 was drawn again" in early["undefined"]
    with pytest.raises(UsageError, match=r"no step of .* is drawn there twice"):
        measure_run(run, Options(redraws=out))
    # A branch under other settings is a causal edit, no re-draw.
    warmer = {"model": "mock", "temperature": 0.9}
    edits = run_plan(
        planned(starts=[{"from": [f"{out}/{i}/7" for i in ids]}], iterations=1, replicates=3, captioner=warmer),
        tmp_path / "edits",
    )
    embed_run(edits, "mock")
    with pytest.raises(UsageError, match="drawn there twice under its own condition"):
        measure_run(run, Options(redraws=edits.path))


def test_failed_trajectories_widen_the_bounds_and_leave_the_panel_balanced(planned, out):
    captioner = [{"model": "mock", "temperature": 0.7}, {"model": "mock", "temperature": 0.9}]
    run = run_plan(planned(starts=[*STARTS, "fail"], iterations=9, captioner=captioner), out)
    embed_run(run, "mock")
    frame = measure_run(run)
    bounds = frame.query("metric == 'distance_to_start:worst_case' and modality == 'text'").iloc[0]
    curve = frame.query("metric == 'distance_to_start' and modality == 'text' and t == 9").iloc[0]
    # A tenth of the trajectories could lie anywhere in 0 … 2.
    assert bounds["ci_high"] - bounds["ci_low"] > curve["ci_high"] - curve["ci_low"] + 0.1
    assert frame.query("metric == 'failed_share' and modality == 'text'")["value"].unique() == pytest.approx([0.1])
    shares = frame.query("metric == 'attribution' and item == 'drift: prompt' and modality == 'text'")
    assert shares["value"].notna().all()


def test_text_first_and_image_first_starts_together_have_an_mcd(planned, out, tmp_path):
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    starts = [{"prompts": STARTS[:3], "group": "texts"}, {"images": [str(tmp_path / "*.png")], "group": "pictures"}]
    run = run_plan(planned(starts=starts, iterations=9), out)
    embed_run(run, "mock")
    rows = list(telephone_rows(states(run, "mock", "image"), states(run, "mock", "text")))
    (mcd,) = rows_of(rows, "mcd")
    means = {r["item"]: r["value"] for r in rows_of(rows, "telephone_similarity")}
    assert set(means) == {"text-text", "image-image", "text-image", "image-text"}
    assert mcd["value"] == pytest.approx(np.mean(list(means.values())))
    # Generation 1 of an image-first chain is the description of its picture at t = 0.
    found = states(run, "mock", "text")
    first = (found.trajectories["start_kind"] == "image").to_numpy()
    pictures = states(run, "mock", "image")
    cosines = np.einsum("nd,ntd->nt", pictures.vectors[first, 0], found.vectors[first])
    assert means["image-text"] == pytest.approx(cosines.mean(), abs=1e-6)


def test_damaged_vectors_are_named(crossed):
    found = states(crossed, "mock", "text")
    found.vectors[3, 2] = 0
    with pytest.raises(StoreError, match=r"trajectory \w+ at t = 2 is zero or not finite"):
        checked(found, "run")


# ---- known answers ---------------------------------------------------------------------------------------------------


def test_a_contraction_decays_and_a_stationary_set_does_not():
    rng = np.random.default_rng(1)
    common, own = rng.normal(size=32) * 3, rng.normal(size=(40, 1, 32)) * 3
    shrink = np.exp(-np.arange(40) / 5)[None, :, None]
    noise = rng.normal(size=(40, 40, 32)) * 0.3
    falling = list(diversity_rows(made_states(common + own * shrink + noise)))
    (half_life,) = rows_of(falling, "mean_pairwise_distance:half_life")
    assert half_life["verdict"].startswith("decay")
    assert 1 < half_life["value"] < 6
    steady = list(diversity_rows(made_states(common + own * 0.5 + noise)))
    assert rows_of(steady, "mean_pairwise_distance:half_life")[0]["verdict"].startswith("no decay")


def test_twins_that_share_nothing_but_the_start_have_its_memory():
    rng = np.random.default_rng(2)
    start, noise = rng.normal(size=(20, 1, 24)).repeat(2, axis=0), rng.normal(size=(40, 12, 24))
    kept = list(between_rows(made_states(3 * start + 0.3 * noise, replicates=2), 1, None))
    lost = list(between_rows(made_states(noise, replicates=2), 1, None))
    assert rows_of(kept, "prompt_fixes", item="late")[0]["ci_low"] > 0.5
    forgotten = rows_of(lost, "prompt_fixes", item="late")[0]
    assert forgotten["ci_low"] < 0 < forgotten["ci_high"]


def test_three_motifs_are_counted_as_three():
    rng = np.random.default_rng(3)
    centres = np.eye(3, 16) * 5
    labels = rng.integers(0, 3, (30, 10))
    found = made_states(centres[labels] + 0.01 * rng.normal(size=(30, 10, 16)))
    motifs = find_motifs(found, 3)
    rows = list(occupancy_rows(found, motifs))
    for t in range(1, 10):
        expected = entropy.shannon(np.bincount(labels[:, t], minlength=3), "chao-wang-jost")
        assert rows_of(rows, "motif_entropy", t=t)[0]["value"] == pytest.approx(min(expected, np.log2(3)))
        assert rows_of(rows, "motifs_90", t=t)[0]["value"] == 3


def test_a_two_cycle_is_found_and_drift_knows_it_goes_nowhere():
    rng = np.random.default_rng(4)
    two = rng.normal(size=(12, 2, 16))
    vectors = two[:, np.arange(24) % 2] + 0.01 * rng.normal(size=(12, 24, 16))
    found = made_states(vectors)
    rows = list(ending_rows(found, n_nulls=19))
    assert rows_of(rows, "cycle_contrast", item="period 2")[0]["verdict"] == "cycle"
    moved = list(drift_rows(found, None))
    assert rows_of(moved, "step_distance", t=20)[0]["value"] > 0.5
    assert rows_of(moved, "distance_lag_2", t=20)[0]["value"] < 0.01


def test_motifs_are_never_more_than_there_are_and_singletons_say_nothing():
    rng = np.random.default_rng(6)
    found = made_states(rng.normal(size=(12, 10, 16)))
    rows = list(occupancy_rows(found, find_motifs(found, 6)))
    values = [r for r in rows if r["metric"] == "effective_motifs"]
    assert all(r["value"] <= 6 and not r["ci_high"] > 6 for r in values)
    few = made_states(rng.normal(size=(4, 10, 16)))
    alone = rows_of(list(occupancy_rows(few, find_motifs(few, 12))), "effective_motifs", t=5)[0]
    assert "alone in their motif" in alone["undefined"]
    assert np.isnan(alone["value"])


def test_what_the_numbers_depend_on_is_in_their_signatures(crossed, tmp_path):
    listed = tmp_path / "concepts.txt"
    listed.write_text("house\nsea\n")
    whole = measure_run(crossed)
    kept = sorted((crossed.path / "motifs").iterdir())
    before = [path.read_bytes() for path in kept]
    families = ("entropy", "attractors", "survival", "drift")
    other = measure_run(crossed, Options(families=families, motifs=5, concepts=listed))
    assert [path.read_bytes() for path in kept] == before  # a part leaves the whole's codebook alone
    keys = ["condition", "group", "t", "modality", "embedder", "metric", "item"]
    both = whole.merge(other, on=keys, suffixes=("", "_other"))
    known = both[both["value"].notna() & both["value_other"].notna()]
    changed = known[(known["value"] - known["value_other"]).abs() > 1e-12]
    assert len(changed) > 50
    assert (changed["signature"] != changed["signature_other"]).all(), set(
        changed[changed["signature"] == changed["signature_other"]]["metric"]
    )


# ---- concepts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "folded"),
    [
        ("boats", "boat"),
        ("ladies", "lady"),
        ("churches", "church"),
        ("glass", "glass"),
        ("bus", "bus"),
        ("tie", "tie"),
        ("woman's", "woman"),
        ("nurse’s", "nurse"),
        ("don't", "don't"),
    ],
)
def test_plurals_are_folded(word, folded):
    assert fold(word) == folded


def test_concepts_are_found_as_words_not_as_parts_of_words():
    texts = np.array([["Two red boats.", "a boathouse", None, "an old stone bridge"]], dtype=object)
    found = named_in(texts, Vocabulary(("boat", "stone bridge"), ("all", "all")))
    assert found[0].tolist() == [[True, False], [False, False], [False, False], [False, True]]


def test_a_vocabulary_is_read_with_categories_and_comments(tmp_path):
    path = tmp_path / "concepts.txt"
    path.write_text("# things\nthing: boat, House\nplace: sea # the open one\nalone\n")
    found = read_vocabulary(path)
    assert found == Vocabulary(("boat", "house", "sea", "alone"), ("thing", "thing", "place", "all"), listed=True)
    for text, message in (("\n", "no concept"), ("boat\nboat", "'boat' is there twice")):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_vocabulary(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_vocabulary(tmp_path / "none.txt")
    assert vocabulary_of(["the red boats", "a red house of 1999"]).concepts == ("red", "boat", "house")


def named(text: str, vocabulary: Vocabulary) -> list[str]:
    found = named_in(np.array([text], dtype=object), vocabulary)[0]
    return [name for name, there in zip(vocabulary.concepts, found, strict=True) if there]


def test_synonyms_name_the_first_of_their_group_and_longer_phrases_take_shorter_ones_in(tmp_path):
    path = tmp_path / "concepts.txt"
    path.write_text(
        "gender: woman|women|Lady, man | men\ngender: child|children|\nsize: small group|small crowd, crowd\n"
        "person: person|woman|man|crowd\nold farmer, farmer\n"
    )
    found = read_vocabulary(path)
    assert found.concepts[:3] == ("woman", "man", "child")
    assert found.categories[:4] == ("gender", "gender", "gender", "size")
    assert named("two women and three men at work", found) == ["woman", "man"]
    assert named("An old farmer, a lady", found) == ["woman", "old farmer", "farmer"]  # no category: both, as ever
    assert named("a small crowd", found) == ["small group", "person"]  # inside one category only
    assert named("a small crowd before a crowd", found) == ["small group", "crowd", "person"]
    assert named("the man's hat, a womanly snowman", found) == ["man", "person"]
    for text, message in (
        ("gender: woman|lady, man|lady", "'lady' is there twice"),
        ("gender: woman|lady\ngender: lady", "'lady' is there twice"),
        ("a: boat\nb: boat", "'boat' is there twice"),
        ("a: |,|", "no concept"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_vocabulary(path)


def test_synonyms_and_phrases_are_in_the_signature_and_a_plain_list_has_the_one_it_had(tmp_path):
    path, seen = tmp_path / "concepts.txt", []
    for text in ("a: boat, sea", "a: boat|ship, sea", "a: boat, sea|ship", "a: boat, old sea"):
        path.write_text(text)
        seen.append(read_vocabulary(path).parameters["vocabulary"])
    assert len(set(seen)) == 4
    assert seen[0] == digest([["boat", "sea"], ["a", "a"]], 6)


def test_a_detector_calibrated_on_clear_pictures_hardly_errs_and_on_noise_it_says_so():
    rng = np.random.default_rng(5)
    phrases = np.eye(4, 32, dtype=np.float32)
    named = rng.random((60, 4)) < 0.4
    clear = (named @ phrases + 0.05 * rng.normal(size=(60, 32))).astype(np.float32)
    detector = calibrate(phrases, clear, named)
    assert (detector.miss, detector.false_alarm) == (pytest.approx(0, abs=0.05), pytest.approx(0, abs=0.05))
    assert (detector.detect(clear) == named).mean() > 0.95
    blind = calibrate(phrases, rng.normal(size=(60, 32)).astype(np.float32), named)
    assert blind.miss + blind.false_alarm > 0.6
    assert "needs 20" in calibrate(phrases, clear[:12], named[:12] & (np.arange(12) < 2)[:, None])


def test_a_concept_that_is_dropped_at_a_known_iteration_has_that_median(planned, out, monkeypatch, tmp_path):
    from loopsim.models.mock import MockCaptioner

    calls = iter(range(10_000))

    def describe(self, image, seed):
        return ["a", "boat"] if next(calls) // 8 < 4 else ["a", "house"]

    monkeypatch.setattr(MockCaptioner, "_say", describe)
    starts = [f"boat number {'abcdefgh'[k]}" for k in range(8)]
    run = run_plan(planned(starts=starts, replicates=1, iterations=9), out)
    embed_run(run, "mock")
    listed = tmp_path / "concepts.txt"
    listed.write_text("thing: boat, house\n")
    frame = measure_run(run, Options(families=("survival",), concepts=listed)).query("modality == 'text'")
    curve = frame[(frame["metric"] == "concept_survival") & (frame["item"] == "all")].set_index("t")["value"]
    assert curve.loc[:4].eq(1).all()
    assert curve.loc[5:].eq(0).all()
    summary = frame[frame["t"].isna() & (frame["item"] != "thing: boat > house")].set_index("metric")["value"]
    assert summary["concept_survival:median"] == 5
    assert summary["concept_losses"] == summary["concept_births"] == summary["concept_replacements"] == 1
    assert summary["concept_reappearances"] == 0


def test_what_gave_way_to_what_is_measured_and_held_against_all_chains_of_the_condition(
    planned, out, monkeypatch, tmp_path
):
    from loopsim.models.mock import MockCaptioner

    calls = iter(range(10_000))

    def describe(self, image, seed):
        call = next(calls)  # 16 captions an iteration; of the first four chains, which begin with ladies, 2 turn
        turned = call % 16 < 2 and call // 16 >= 2
        return ["the", "man's", "hat"] if call % 16 >= 4 or turned else ["two", "women"]

    monkeypatch.setattr(MockCaptioner, "_say", describe)
    texts = [f"a {'lady' if k < 4 else 'man' if k < 10 else 'boy'} of {'abcdefghijklmnop'[k]}" for k in range(16)]
    starts = [{"file": str(tmp_path / "starts.csv")}]
    (tmp_path / "starts.csv").write_text("prompt,who\n" + "".join(f"{text},{text.split()[1]}\n" for text in texts))
    listed = tmp_path / "concepts.txt"
    listed.write_text("gender: woman|women|lady, man|men|boy, robot\n")
    run = run_plan(planned(starts=starts, replicates=1, iterations=4), out)
    done = CliRunner().invoke(
        app,
        ["measure", str(run.path), "--concepts", str(listed), "--by", "who", "--families", "survival", "--no-figures"],
    )
    assert done.exit_code == 0, done.output
    frame = pd.read_parquet(next(run.path.glob("measurements-by-who*"))).query("modality == 'text' and who == 'lady'")
    whole = frame[frame["t"].isna()].set_index(["metric", "item"])["value"]
    assert whole["concept_replacements", "gender: woman > man"] == 0.5
    assert whole["concept_replacements:expected", "gender: woman > man"] == 0.5
    assert "gender: man > woman" not in whole.index.get_level_values("item")
    assert whole["concept_to_majority", "gender"] == 1  # of the whole condition, though ladies are alone in their cell
    shares = frame[frame["metric"] == "concept_share"].set_index(["item", "t"])["value"]
    assert shares["gender: man"].tolist() == [0, 0, 0, 0.5, 0.5]
    assert shares["gender: woman"].tolist() == [1, 1, 1, 0.5, 0.5]
    assert ("gender: robot", 0) not in shares.index


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_measures_again_and_wrong_words_get_a_message(crossed):
    runner = CliRunner()
    done = runner.invoke(app, ["measure", str(crossed.path), "--no-figures", "--families", "diversity", "--json"])
    assert done.exit_code == 0, done.output
    lines = json.loads(done.stdout)
    assert len(lines) == 4
    assert lines[0]["memory"][0][0] is None
    for words, message in (
        ([str(crossed.path), "--by", "colour"], "no such column"),
        ([str(crossed.path), "--families", "magic"], "unknown family 'magic'; known: diversity"),
        ([str(crossed.path), "--embedder", "klip"], "unknown embedder 'klip'"),
        ([str(crossed.path), "--concepts", "nowhere.txt"], "cannot be read"),
        ([str(crossed.path), "--codebook", str(crossed.path.parent)], "there is no run here"),
        (["nowhere"], "there is no run here"),
    ):
        failed = runner.invoke(app, ["measure", *words])
        assert failed.exit_code in (1, 2)
        assert message in " ".join(failed.stderr.split())
        assert "Traceback" not in failed.output


def test_a_run_without_embeddings_still_has_its_texts_measured(planned, out):
    run = run_plan(planned(starts=STARTS, iterations=9), out)
    frame = measure_run(run)
    assert set(frame["modality"]) == {"text"}
    assert {"word_entropy", "concept_survival", "absorbed", "attractor_slope"} <= set(frame["metric"])
    with pytest.raises(UsageError, match="make them with `loopsim measure"):
        states(run)
    assert captions(open_run(run.path)).texts.shape == (18, 10)


def test_a_caption_without_words_adds_no_words_but_is_there(out, tmp_path):
    rows = [(s, t, "" if s == 0 and t == 4 else f"a boat {s} at sea {t % 3}") for s in range(6) for t in range(9)]
    pd.DataFrame(rows, columns=["trajectory", "t", "text"]).to_csv(tmp_path / "table.csv", index=False)
    run = import_run(tmp_path / "table.csv", out)
    assert run.steps(["text"])["text"].tolist().count(EMPTY_CAPTION) == 1  # what is stored and drawn stays
    found = captions(run)
    assert not (found.texts == None).any()  # noqa: E711 - element by element
    assert (found.texts == "").sum() == 1
    assert found.texts[0, 4] == ""
    frame = measure_run(run)
    at = frame[(frame["t"] == 4) & frame["item"].isna()].set_index("metric")
    said = [text for _, t, text in rows if t == 4 and text]
    tokens = int(at.loc["word_entropy", "signature"].partition("tokens:")[2].partition("|")[0])
    assert at.loc["word_entropy", "value"] == pytest.approx(ngram_entropy(said, 1, tokens))
    assert at.loc["caption_words", "value"] == pytest.approx(6 * 5 / 6)  # five captions of six words and one of none
    assert at.loc["word_entropy", "n"] == at.loc["caption_words", "n"] == 6


def test_every_metric_is_in_the_docs():
    text = (Path(__file__).parents[1] / "docs" / "measures.md").read_text(encoding="utf-8")
    for metric in METRICS:
        if metric == "attractor":  # stands for its parts where none of them can be computed
            continue
        curve, colon, part = metric.partition(":")
        assert f"`{metric}`" in text or (colon and f"`{curve}`" in text and f"`…:{part}`" in text), metric
