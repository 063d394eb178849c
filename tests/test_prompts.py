"""`loopsim prompts`: what it chooses, prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from loopsim.catalog import find
from loopsim.cli import app
from loopsim.experiment import parse_experiment
from loopsim.plan import make_plan
from loopsim.prompts import METHODS, POOLS, TIERS, choose, read_pool
from loopsim.prompts.postcards import draw_prompts
from loopsim.starts import read_prompts
from tests import tiny_embedders

ROOT = Path(__file__).parent.parent


def loopsim(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["prompts", *(str(a) for a in arguments)])


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A pool of fifteen short prompts in three tiers, some of them twins."""
    path = tmp_path / "pool.csv"
    rows = [
        "a red boat", "a red boat at sea", "a blue boat", "the boat is red", "a boat",
        "two violins", "a man with a violin", "old violin", "violin and bow", "a violin on the moon",
        "the feeling of rain", "rain", "why it rains", "memory of rain", "a democracy of pigeons, arguing",
    ]  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "tier", "prompt", "group"])
        writer.writerows([i, ("boats", "violins", "rain")[i // 5], text, "g"] for i, text in enumerate(rows))
    return path


@pytest.mark.parametrize("method", METHODS)
def test_the_same_arguments_give_the_same_prompts(pool: Path, method: str):
    found = [choose(read_pool(str(pool), n=4), 4, method=method, embedder="mock", seed=3) for _ in range(2)]
    assert found[0] == found[1]
    assert len({one.text for one in found[0].prompts}) == 4


def test_far_apart_is_farther_than_chance_and_narrow_is_nearer(pool: Path):
    spread = {
        method: choose(read_pool(str(pool), n=4), 4, method=method, embedder="tfidf").spread
        for method in ("farthest", "dpp", "narrow")
    }
    assert spread["farthest"].mean > spread["farthest"].random_mean
    assert spread["farthest"].minimum > spread["farthest"].random_minimum
    assert spread["dpp"].mean > spread["dpp"].random_mean
    assert spread["narrow"].mean < spread["narrow"].random_mean


def test_what_is_written_is_what_an_experiment_reads(pool: Path, tmp_path: Path):
    out = tmp_path / "far.csv"
    done = loopsim("--pool", pool, "--n", 6, "--balance", "tier", "--embedder", "mock", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "6 of 15 prompts" in done.stdout
    assert "mean of all pairs" in done.stdout
    assert out.read_text(encoding="utf-8").splitlines()[0] == "prompt,tier,id"
    assert "(lists, or names of their own): group" in done.stderr
    plan = make_plan(
        parse_experiment({
            "name": "try", "iterations": 1, "starts": str(out), "generator": "mock", "captioner": "mock",
            "embedders": "mock",
        })
    )  # fmt: skip
    starts = [start for group in plan.starts for start in group] if isinstance(plan.starts[0], tuple) else plan.starts
    assert Counter(start.facts["tier"] for start in starts) == {"boats": 2, "violins": 2, "rain": 2}
    assert all(isinstance(start.facts["id"], int) for start in starts)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
def test_every_format_reads_back(pool: Path, tmp_path: Path, suffix: str):
    out = tmp_path / f"far{suffix}"
    shown = json.loads(loopsim("--pool", pool, "--n", 3, "--embedder", "tfidf", "--out", out, "--json").stdout)
    assert read_prompts(out, "starts") == [row["prompt"] for row in shown["prompts"]]
    assert shown["spread"]["subsets"] == 500
    assert shown["embedder"]["embedder"] == "tfidf"


def test_printed_prompts_are_alone_on_stdout_and_the_rest_is_told_beside(pool: Path):
    done = loopsim("--pool", pool, "--n", 3)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 3
    assert "500 random subsets" in done.stderr
    assert "knows nothing of what they mean" in done.stderr


def test_a_large_pool_is_sampled_first_and_that_is_told(pool: Path):
    done = loopsim("--pool", pool, "--n", 3, "--at-most", 6, "--embedder", "tfidf", "--out", pool.with_name("few.txt"))
    assert "left out: all but 6 of 15 prompts, drawn by --seed 2025" in done.stderr
    assert done.stdout.startswith("3 of 6 prompts")


@pytest.mark.parametrize("kind", ["sentence", "open-clip", "transformers"])
def test_any_embedder_of_texts_can_be_the_space(pool: Path, tmp_path: Path, kind: str):
    if kind == "sentence":
        folder = tiny_embedders.build_sentence(tmp_path / "model")
    elif kind == "open-clip":
        folder = Path(find("embedder", "postcards").path())
    else:
        folder = tmp_path / "siglip"
        tiny_embedders.build("siglip", folder)
    done = loopsim("--pool", pool, "--n", 4, "--embedder", folder, "--json")
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["embedder"]["files"]  # hashes: the same name need not be the same weights
    assert shown["spread"]["mean"] > shown["spread"]["random_mean"]


@pytest.mark.parametrize("kind", ["even", "prior"])
def test_the_prompts_of_the_quickstart_are_drawn_again(kind: str):
    done = loopsim("--pool", f"postcards-{kind}", "--n", 12, "--seed", 2025, "--method", "random")
    assert done.stdout == (ROOT / f"experiments/quickstart/prompts_{kind}.txt").read_text(encoding="utf-8")
    assert done.stderr == ""


@pytest.mark.parametrize("kind", ["even", "prior", "narrow"])
def test_the_prompts_of_the_known_answer_are_drawn_again(kind: str):
    text = (ROOT / f"experiments/known_answer/prompts_{kind}.txt").read_text(encoding="utf-8")
    assert draw_prompts(f"postcards-{kind}", 60, 7) == text.splitlines()


def test_the_far_prompts_of_the_elevator_music_are_chosen_again(tmp_path: Path):
    done = loopsim("--n", 100, "--out", tmp_path / "far.csv")
    assert done.exit_code == 0
    here = ROOT / "experiments/elevator_music/prompts_far.csv"
    assert (tmp_path / "far.csv").read_text(encoding="utf-8") == here.read_text(encoding="utf-8")


def test_terse_prompts_name_two_or_three_attributes():
    from loopsim.models.postcards import world

    texts = draw_prompts("postcards-terse", 200, 1)
    assert len(set(texts)) == 200
    assert {sum(v is not None for v in world.parse(text).values()) for text in texts} == {2, 3}


def test_a_random_sample_of_a_file_is_in_its_order_and_changes_with_the_seed(pool: Path):
    everything = read_pool(str(pool), n=15).texts
    samples = [
        [one.text for one in choose(read_pool(str(pool), n=5), 5, method="random", seed=s).prompts] for s in (1, 2)
    ]
    assert samples[0] != samples[1]
    assert all(sample == [text for text in everything if text in sample] for sample in samples)


def test_long_empty_and_repeated_prompts_are_left_out_and_told(tmp_path: Path):
    path = tmp_path / "pool.csv"
    path.write_text('prompt\na boat\n""\na  boat\none two three four\nthe sea\n', encoding="utf-8")
    found = read_pool(str(path), n=2, max_words=3)
    assert found.texts == ["a boat", "the sea"]
    assert found.notices == ("1 empty", "1 there twice", "1 of more than 3 words")


def test_groups_chosen_one_after_another_share_no_prompt(pool: Path, tmp_path: Path):
    first, second = tmp_path / "far.csv", tmp_path / "typical.txt"
    options = ("--pool", pool, "--n", 5, "--embedder", "tfidf")
    assert loopsim(*options, "--out", first).exit_code == 0
    done = loopsim(*options, "--typical", "--without", first, "--out", second)
    assert f"left out: 5 that are in {first}" in done.stderr
    done = loopsim(*options, "--narrow", "--without", first, "--without", second)
    chosen = [*read_prompts(first, ""), *read_prompts(second, ""), *done.stdout.splitlines()]
    assert len(set(chosen)) == 15
    drawn = loopsim("--pool", "postcards-even", "--n", 3, "--method", "random").stdout
    first.with_suffix(".txt").write_text(drawn, encoding="utf-8")
    more = loopsim(
        "--pool", "postcards-even", "--n", 3, "--method", "random", "--without", first.with_suffix(".txt")
    ).stdout.splitlines()
    assert len(more) == 3
    assert not set(more) & set(drawn.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", 16], "has 15 prompts to choose from; ask for fewer, or name a larger pool"),
        (["--n", 6, "--tier", "boats"], "has 5 prompts of the tier boats to choose from"),
        (["--n", 2, "--tier", "boat"], "has no such tier; did you mean boats? It has boats, violins, rain"),
        (["--n", 2, "--tier", "people"], "has no such tier; it has boats, violins, rain"),
        (["--n", 9, "--max-words", 2], "left out"),
        (["--n", 2, "--embedder", "mockk"], "--embedder mockk: is not known; did you mean mock?"),
        (["--n", 2, "--embedder", "nothing"], "is not known; known: tfidf, "),
        (["--n", 2, "--embedder", "dinov2-b"], "sees pictures only"),
        (["--n", 2, "--embedder", "clip-vit-b-32"], "Without a download: --embedder tfidf"),
        (["--n", 2, "--balance", "colour"], "has no such column beside the prompts; it has id, tier"),
        (["--n", 2, "--balance", "tier", "--typical"], "is for the methods farthest and dpp, not for typical"),
        (["--n", 2, "--typical", "--narrow"], "exclude each other"),
        (["--n", 2, "--column", "text"], "has no column 'text'; it has id, tier, prompt, group"),
        (["--n", 2, "--column", "id"], "the prompt is no text"),
        (["--n", 2, "--out", "far.docx"], "must end in .csv"),
        (["--n", 2, "--out", "nowhere/far.csv"], "mkdir -p nowhere"),
        (["--n", 2, "--out", "pool.csv"], "is there already"),
        (["--n", 2, "--out", "pool.csv", "--force"], "is the pool itself"),
        (["--n", 2, "--device", "cdua"], "cdua"),
        (["--n", 2, "--without", "gone.csv"], "--without gone.csv: there is no such file"),
        (["--n", 2, "--without", "empty.txt"], "--without empty.txt: holds no prompts"),
        (["--n", 2, "--without", "pool.csv"], "has 0 prompts to choose from (left out: 15 that are in pool.csv)"),
        (["--n", 4, "--at-most", 3], "--at-most 3: is fewer than the 4 prompts to choose"),
        (["--pool", "genral"], "did you mean general? The pools are general, postcards-even"),
        (["--pool", "prompts.csv"], "neither a file here nor a pool; the pools are general, postcards-even"),
        (["--pool", "postcards-even", "--tier", "objects"], "has no tiers"),
        (["--pool", "general", "--split", "train"], "--split is for a file"),
        (["--pool", "empty.txt"], "holds no prompts"),
        (["--pool", "picture.png"], "cannot be read"),
        (["--pool", "marks.txt", "--n", 2], "no prompt of the pool has a word"),
        (["--pool", "postcards-narrow", "--n", 11000, "--method", "random"], "different prompts are not to be had"),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    pool: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], message: str
):
    monkeypatch.chdir(pool.parent)
    Path("empty.txt").write_text("\n\n", encoding="utf-8")
    Path("marks.txt").write_text("?!\n...\n", encoding="utf-8")
    Path("picture.png").write_bytes(b"\x89PNG\xff\xfe")
    before = pool.read_bytes()
    done = loopsim(*(() if "--pool" in arguments else ("--pool", pool)), *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert pool.read_bytes() == before


def test_pools_are_described():
    assert set(POOLS) == {"general", "postcards-even", "postcards-prior", "postcards-narrow", "postcards-terse"}
    assert len(TIERS) == 5
