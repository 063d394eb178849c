"""The known answer: what its scripts count, and that the page shows what is stored."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from loopsim.models.postcards import chains, world
from metrics import entropy

ROOT = Path(__file__).resolve().parent.parent
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT)
    known_answer, known_theory = (
        importlib.import_module(f"scripts.{name}") for name in ("known_answer", "known_theory")
    )
known_tables, known_tracking = known_theory.known_tables, known_theory.known_tracking


def captions(chain: dict[str, list[int]], group: str = "even") -> pd.DataFrame:
    """Rows of `known_theory.states` for chains of subject codes; the other attributes stay 0."""
    rows = []
    for name, codes in chain.items():
        for t, code in enumerate(codes):
            row = dict.fromkeys(world.ATTRIBUTES, 0) | {"subject": code}
            rows.append({"trajectory_id": name, "group": group, "start_id": name, "replicate": 0, "t": t, **row})
    return pd.DataFrame(rows)


def of_sixty_draws(p: np.ndarray) -> float:
    return float(np.quantile(chains.variation_of_chains(p, 60, 1, 25, 32, float("inf")), 0.975))


def test_the_page_shows_what_is_stored():
    page = (ROOT / "docs" / "known-answer.md").read_text(encoding="utf-8")
    for name, body in known_tables.bodies(ROOT / "experiments" / "known_answer" / "results").items():
        assert known_tables.put(page, name, body) == page, name


def test_transitions_are_within_a_chain_after_the_prompt_and_up_to_an_iteration():
    before, after = known_theory.transitions(captions({"a": [9, 1, 2, 3, 4], "b": [8, 5, 6, 7, 7]}), 3)
    pairs = sorted(zip(before[:, 0].tolist(), after[:, 0].tolist(), strict=True))
    assert pairs == [(1, 2), (2, 3), (5, 6), (6, 7)]


def test_chains_drawn_from_the_prior_cannot_be_told_from_it_and_others_can():
    rng = np.random.default_rng(3)
    prior = world.prior_marginals()["subject"]

    def drawn(p: np.ndarray) -> dict[str, list[int]]:
        return {f"c{k}": rng.choice(len(p), size=33, p=p).tolist() for k in range(60)}

    here = known_theory.settled(captions(drawn(prior)), "postcards", "postcards-flat", "subject")
    assert here["n"] == 60
    assert here["to_generator"] < here["limit_generator"] < here["to_captioner"]
    assert here["limit_captioner"] < here["to_captioner"]
    # Draws that know nothing of the one before: 60 chains × 8 iterations are 480 draws, and the limit knows that.
    assert here["limit_generator"] < 0.5 * of_sixty_draws(prior)
    assert here["to_stationary"] < 0.15
    assert here["relaxation"] < 1.5
    even = known_theory.settled(
        captions(drawn(np.full_like(prior, 1 / len(prior)))), "postcards", "postcards", "subject"
    )
    assert even["to_generator"] > even["limit_generator"]


def test_what_is_near_the_prior_but_not_there_is_told_from_it():
    """A quarter evenly, three quarters from the prior: nearer than 60 draws could tell, not nearer than 480."""
    rng = np.random.default_rng(5)
    prior = world.prior_marginals()["subject"]
    p = 0.75 * prior + 0.25 / len(prior)
    rows = captions({f"c{k}": rng.choice(len(p), size=33, p=p).tolist() for k in range(60)})
    found = known_theory.settled(rows, "postcards", "postcards", "subject")
    assert found["limit_generator"] < found["to_generator"] < of_sixty_draws(prior)


def test_what_only_later_steps_do_is_not_foretold():
    # Nothing changes up to the middle, then all goes to subject 0.
    rows = captions({f"c{k}": [k % 8] * 17 + [0] * 16 for k in range(40)})
    found = known_theory.settled(rows, "postcards", "postcards", "subject")
    assert found["relaxation"] == float("inf")
    assert np.isnan(found["to_stationary"])
    assert found["to_foretold"] == pytest.approx(7 / 8)


def test_entropies_of_few_captions_are_not_told():
    rows = captions({f"c{k}": [k % 4] * 5 for k in range(9)})
    found = known_theory.entropies(rows, "postcards", "postcards-flat", "subject")
    assert np.isnan(found["bits_even_first"])
    assert found["bits_of_captioner"] == pytest.approx(np.log2(len(world.VALUES["subject"])))
    more = known_theory.entropies(
        captions({f"c{k}": [k % 4] * 5 for k in range(40)}), "postcards", "postcards", "subject"
    )
    assert more["bits_even_last"] == pytest.approx(entropy.shannon(np.array([10] * 4), "chao-wang-jost"))
    assert more["bits_even_last"] == pytest.approx(2.0, abs=0.1)
    uneven = captions({f"c{k}": [min(k % 7, 3)] * 5 for k in range(40)})
    assert 0.05 < known_theory.entropies(uneven, "postcards", "postcards", "subject")["spread_even"] < 0.4


def test_twins_that_say_the_same_are_not_counted_twice():
    once = captions({f"c{k}": [k % 7] * 3 for k in range(20)})
    twice = pd.concat([once, once.assign(replicate=1)])
    assert known_theory.corrected_of(twice, "subject") == known_theory.corrected_of(once, "subject")


def test_a_corrected_entropy_is_at_most_that_of_even_values():
    codes = np.arange(40) % 3
    assert entropy.shannon(np.bincount(codes), "chao-wang-jost") > np.log2(3)
    assert known_theory.corrected(codes, 3) == pytest.approx(np.log2(3))


def test_indicators_are_as_far_apart_as_attributes_differ():
    codes = np.array([[0, 1, 2, 3, 4], [0, 1, 2, 3, 5], [-1, 1, 2, 3, 4], [5, 2, 1, 0, 0]])
    x = known_tracking.indicators(codes)
    assert x.shape == (4, sum(len(world.VALUES[a]) + 1 for a in world.ATTRIBUTES))
    distances = 1 - x @ x[0] / 5
    assert distances == pytest.approx([0, 0.2, 0.2, 1.0])


def test_two_priors_are_both_shown_and_bold_where_chains_at_rest_would_be_as_far():
    row = pd.Series({"n": 60, "relaxation": 5.0, "to_generator": 0.1, "limit_generator": 0.2, "to_captioner": 0.4,
                     "limit_captioner": 0.3})  # fmt: skip
    assert known_tables.prior_cell(row) == "**0.10 [0.20]** / 0.40 [0.30]"
    same = row.copy()
    same["to_captioner"], same["limit_captioner"] = same["to_generator"], same["limit_generator"]
    assert known_tables.prior_cell(same) == "**0.10 [0.20]**"
    slow = same.copy()
    slow["relaxation"] = 40.0
    assert known_tables.prior_cell(slow) == "(0.10)"
    few = same.copy()
    few["n"] = 9
    assert known_tables.prior_cell(few) == "–"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give theory=DIR and usual=DIR"),
        (["theory=/nowhere"], "give theory=DIR and usual=DIR"),
        (["theory=/nowhere", "usual=/nowhere"], "no measured run is here"),
    ],
)
def test_wrong_runs_are_refused_before_anything_is_written(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["known_theory.py", *arguments, "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        known_theory.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_is_measured_stored_and_shown(tmp_path, monkeypatch):
    """Two pairs of models that only look like those of the study: mock ones whose captions are scenes."""
    rng = np.random.default_rng(0)
    frames, texts = [], []
    for generator in ("postcards", "postcards-flat"):
        for group in known_theory.GROUPS:
            for start in range(6):
                kept = world.draw_even(1, rng)[0]  # all but the subject stay what the start was
                for replicate in range(2):
                    name = f"{generator}-{group}-{start}-{replicate}"
                    codes = np.tile(kept, (33, 1))
                    codes[:, 0] = world.draw_even(33, rng)[:, 0]
                    frames.append({"trajectory_id": name, "group": group, "start_id": f"{group}{start}",
                                   "replicate": replicate, "generator": generator,
                                   "captioner": "postcards"})  # fmt: skip
                    texts += [(name, t, world.plain_caption(world.Scene.from_codes(c))) for t, c in enumerate(codes)]

    class Told:
        def trajectories(self) -> pd.DataFrame:
            return pd.DataFrame(frames)

        def steps(self, columns: list[str]) -> pd.DataFrame:
            return pd.DataFrame(texts, columns=columns)

        def measurements(self) -> pd.DataFrame:
            cells = pd.DataFrame(frames)[known_tracking.CELL].drop_duplicates().to_dict("records")
            rows = []
            for cell in cells:
                for t in range(1, 33):
                    rows.append({**cell, "metric": "attribute_entropy", "modality": "text", "t": t, "value": t / 10})
                    rows += [
                        {**cell, "metric": m, "modality": o, "t": t, "value": -t} for m, o in known_tracking.MEASURES
                    ]
                    rows += [{**cell, "metric": "concept_survival", "item": "all", "modality": o, "t": t,
                              "value": 1 / t + d} for o, d in (("text", 0.0), ("image", 0.1))]  # fmt: skip
                rows += [{**cell, "metric": "memory", "item": w, "modality": o, "value": 0.2}
                         for w in ("early", "late") for o in ("text", "image")]  # fmt: skip
            return pd.DataFrame(rows)

    for module in (known_theory, known_tracking):
        monkeypatch.setattr(module, "open_run", lambda path: Told())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "measurements.parquet").touch()
    names = (
        "curves",
        "measures",
        "priors",
        "starts",
        "stationary",
        "foretold",
        "entropies",
        "correlations",
        "memory",
        "survival",
    )
    marks = [f"<!-- {name}: begin -->\n<!-- {name}: end -->" for name in names]
    (tmp_path / "page.md").write_text("\n".join(marks))
    runs = [f"theory={tmp_path / 'a'}", f"usual={tmp_path / 'b'}"]
    (tmp_path / "results").mkdir()
    for name in ("curves", "measures"):  # of known_answer.py
        shutil.copy(known_theory.RESULTS / f"{name}.csv", tmp_path / "results")
    places = ["--results", str(tmp_path / "results"), "--page", str(tmp_path / "page.md")]
    monkeypatch.setattr(sys, "argv", ["known_theory.py", *runs, *places])
    known_theory.main()
    found = pd.read_csv(tmp_path / "results" / "correlations.csv")
    assert found["r"].unique().tolist() == [-1.0]
    memory = pd.read_csv(tmp_path / "results" / "memory.csv")
    assert memory["truth"].min() > 0.9
    assert memory["truth"].max() < 1.1
    page = (tmp_path / "page.md").read_text()
    assert "| first × first |" in page
    assert "| flat × first |" in page
    kept = pd.read_csv(tmp_path / "results" / "survival.csv").query("t > 8")
    assert kept["truth"].between(0.8, 0.95).all()  # four of five attributes stay, and now and then a subject
    assert (kept["image"] - kept["text"]).to_numpy() == pytest.approx(0.1, abs=2e-4)


def test_a_limit_rises_with_the_time_that_forgetting_takes_as_the_page_says():
    said = "chains that forgot in 20 and 16 iterations would show up to 0.17 and 0.20"
    assert said in (ROOT / "docs" / "known-answer.md").read_text(encoding="utf-8")
    for world_name, iterations, limit in (("prior", 20, 0.17), ("even", 16, 0.20)):
        simulated = chains.variation_of_chains(chains.prior_of(world_name, "subject"), 60, 2, 25, 32, iterations)
        assert round(float(np.quantile(simulated, 0.975)), 2) == limit


def test_the_figure_of_the_page_comes_from_the_run_that_its_tables_come_from(tmp_path, monkeypatch):
    cells = [(group, t) for group in known_theory.GROUPS for t in range(1, 5)]
    rows = [{"group": g, "t": t, "metric": m, "modality": o, "value": float(t)} for g, t in cells
            for m, o in (*known_answer.MEASURES, (known_answer.TRUTH, "text"))]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "measurements.parquet")
    (tmp_path / "figures").mkdir()
    Image.new("RGB", (2000, 1000), "#0072B2").save(tmp_path / "figures" / "truth.png")
    run = type("Told", (), {"measurements": lambda self: pd.DataFrame(rows)})()
    monkeypatch.setattr(known_answer, "open_run", lambda path: run)
    monkeypatch.setattr(known_answer, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(known_answer, "FIGURE", tmp_path / "page.png")
    monkeypatch.setattr(sys, "argv", ["known_answer.py", str(tmp_path)])
    known_answer.main()
    assert pd.read_csv(tmp_path / "results" / "measures.csv")["r"].tolist() == [1.0] * len(known_answer.MEASURES)
    with Image.open(tmp_path / "page.png") as figure:
        assert figure.size == (1400, 700)


def test_the_prior_of_each_shipped_model_is_known():
    assert set(known_theory.WORLDS) == {"postcards", "postcards-flat", "postcards-terse"}
    for name in set(known_theory.WORLDS.values()):
        assert chains.prior_of(name, "subject").sum() == pytest.approx(1.0)
