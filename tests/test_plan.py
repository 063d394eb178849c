"""The plan: pure, and with ids that depend on what changes the output and on nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loopsim.errors import ExperimentError, ModelError
from loopsim.experiment import load_experiment, parse_experiment
from loopsim.plan import Plan, make_plan
from loopsim.records import ModelSpec, Start, Trajectory
from loopsim.seeds import step_seed

MINIMAL: dict[str, Any] = {
    "name": "try",
    "seed": 7,
    "iterations": 3,
    "starts": ["a boat", "a tree"],
    "generator": "mock",
    "captioner": "mock",
}
CHAIN = [
    {"generator": "mock"},
    {"captioner": "mock"},
    {"generator": {"model": "sdxl", "variant": "native"}},
    {"captioner": "blip-base"},
]


def plan(**keys: Any) -> Plan:
    return make_plan(parse_experiment({k: v for k, v in (MINIMAL | keys).items() if v is not ...}))


def ids(of: Plan) -> list[str]:
    return [trajectory.id for trajectory in of.trajectories]


def labels(**keys: Any) -> list[str]:
    return [condition.label for condition in plan(**keys).conditions]


def seeds(of: Plan, trajectory: Trajectory) -> list[int]:
    experiment = of.experiment
    return [
        step_seed(trajectory, t, role, experiment.seed, experiment.pairing == "independent")
        for t in range(5)
        for role in ("generator", "captioner")
    ]


# ---- purity and golden values ----------------------------------------------------------------------------------------


def test_the_same_experiment_gives_the_same_plan():
    keys = {"generator": {"model": "mock", "steps": [1, 2]}, "replicates": 3, "noise": ["fresh", "fixed"]}
    first, second = plan(**keys), plan(**keys)
    assert ids(first) == ids(second)
    assert [c.id for c in first.conditions] == [c.id for c in second.conditions]
    assert first.cohorts == second.cohorts


# Changing any of these breaks the resuming of every run that was made before, and pairing with them.
def test_ids_are_what_they_were():
    found = plan(replicates=2)
    assert [c.id for c in found.conditions] == ["4c98f919"]
    assert [s.id for s in found.starts] == ["4c1d16d68903", "933644f47cd4"]
    assert ids(found) == ["1bacffc7677dfe4c", "8505600f9be5e250", "332bf027b605695c", "abd97cdb4b379326"]


def test_ids_of_a_longer_chain_are_what_they_were():
    found = plan(generator=..., captioner=..., chain=CHAIN, noise="fixed", pairing="independent", image_format="png")
    assert [c.id for c in found.conditions] == ["a975832f"]
    assert ids(found) == ["31c36b73acbf69a9", "c049b9c5b47a0786"]


# ---- what belongs to identity ----------------------------------------------------------------------------------------


def test_a_setting_that_says_nothing_leaves_the_id_as_it_is():
    spec = ModelSpec("generator", "mock", {"steps": 1})
    assert spec.identity() == ModelSpec("generator", "mock", {"steps": 1, "of_a_later_release": None}).identity()
    assert spec.identity() != ModelSpec("generator", "mock", {"steps": 1, "of_a_later_release": 0}).identity()


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "another"},
        {"description": "words"},
        {"iterations": 99},
        {"embedders": ["mock", "postcards"]},
        {"cohort": 1},
        {"generator": {"model": "mock", "batch_size": 5}},
        {"captioner": {"model": "mock", "batch_size": 5}},
        {"starts": {"prompts": ["a boat", "a tree"], "group": "even"}},
        {"starts": ["  a   boat ", "a\ttree"]},
        {"generator": {"model": "mock", "steps": 1}},
        {"generator": {"model": "mock", "guidance": 1}},
        {"generator": {"model": "mock", "placement": "swap"}},
        {"captioner": {"model": "mock", "temperature": 0, "max_words": None}},
        {"generator": ..., "captioner": ..., "chain": CHAIN[:2]},
    ],
)
def test_what_cannot_change_the_output_changes_no_id(keys: dict[str, Any]):
    assert ids(plan(**keys)) == ids(plan())


@pytest.mark.parametrize(
    "keys",
    [
        {"seed": 8},
        {"noise": "fixed"},
        {"pairing": "independent"},
        {"image_format": "png"},
        {"image_format": "jpeg"},
        {"generator": "sdxl"},
        {"captioner": "blip-base"},
        *(
            {"generator": {"model": "mock", key: value}}
            for key, value in {
                "steps": 2, "guidance": 1.5, "size": 32, "negative_prompt": "blur", "scheduler": "DDIMScheduler",
                "revision": "main", "dtype": "float32", "base": "sdxl", "loras": ["a/b@0.5", "c/d"], "refiner": "a/b",
                "refiner_start": 0.8, "t5": False, "style": "anime", "suffix": "on paper", "expand": 3,
                "temperature": 0.5, "top_k": 5, "safety_checker": True, "compile": True,
                "trust_remote_code": True, "allow_pickle": True, "variant": "fp16",
            }.items()
        ),
        *(
            {"captioner": {"model": "mock", key: value}}
            for key, value in {
                "instruction": "Describe.", "max_new_tokens": 5, "max_words": 5, "temperature": 0.7, "top_p": 0.9,
                "beams": 2, "revision": "main", "dtype": "float32", "structured": ["subject", "mood"],
                "trust_remote_code": True, "allow_pickle": True,
            }.items()
        ),
        {"generator": ..., "captioner": ..., "chain": CHAIN},
        {"generator": ..., "captioner": ..., "chain": CHAIN[:2] * 2},
    ],
)  # fmt: skip
def test_what_can_change_the_output_changes_every_id(keys: dict[str, Any]):
    assert not set(ids(plan(**keys))) & set(ids(plan()))


def test_every_setting_of_the_schema_is_tried_above():
    marks = [
        *test_what_can_change_the_output_changes_every_id.pytestmark,
        *test_what_cannot_change_the_output_changes_no_id.pytestmark,
    ]
    tried = {key for mark in marks for keys in mark.args[1] for role in ("generator", "captioner")
             if isinstance(keys.get(role), dict) for key in keys[role]}  # fmt: skip
    chain = plan().conditions[0].chain
    assert tried - {"model", "batch_size"} == {key for spec in chain for key in spec.settings}


def test_the_order_of_links_is_part_of_the_identity():
    turned = [CHAIN[2], CHAIN[3], CHAIN[0], CHAIN[1]]
    one, other = (plan(generator=..., captioner=..., chain=chain) for chain in (CHAIN, turned))
    assert not set(ids(one)) & set(ids(other))


def test_adding_a_prompt_or_a_replicate_changes_nobody_else():
    before = plan()
    after = plan(starts=["a house", "a boat", "a storm", "a tree"], replicates=2)
    now = {t.id: t for t in after.trajectories}
    assert set(ids(before)) < set(now)
    for trajectory in before.trajectories:
        assert seeds(before, trajectory) == seeds(after, now[trajectory.id])


def test_adding_a_condition_changes_nobody_else():
    before = plan(generator={"model": "mock", "steps": 1})
    after = plan(generator={"model": "mock", "steps": [2, 1]})
    assert set(ids(before)) < set(ids(after))


def test_no_two_trajectories_share_an_id():
    found = plan(
        starts=[f"prompt {i}" for i in range(30)],
        replicates=5,
        generator={"model": "mock", "steps": [1, 2, 3]},
        noise=["fresh", "fixed"],
    )
    assert len(ids(found)) == 30 * 5 * 3 * 2
    assert len(set(ids(found))) == len(ids(found))


# ---- shared randomness -----------------------------------------------------------------------------------------------


def by_condition(found: Plan) -> list[list[list[int]]]:
    return [
        [
            seeds(found, t)
            for t in sorted(found.trajectories, key=lambda t: (t.start.id, t.replicate))
            if t.condition == c
        ]
        for c in found.conditions
    ]


def test_conditions_share_the_seeds_of_their_common_starts():
    first, second = by_condition(plan(captioner={"model": "mock", "temperature": [0.5, 1]}, replicates=2))
    assert first == second
    assert len({tuple(row) for row in first}) == 4


def test_independent_pairing_shares_no_seed_between_conditions():
    keys = {"captioner": {"model": "mock", "temperature": [0.5, 1]}, "pairing": "independent"}
    first, second = by_condition(plan(**keys))
    assert not {s for row in first for s in row} & {s for row in second for s in row}


def test_no_seed_of_an_experiment_is_used_twice():
    found = plan(starts=[f"prompt {i}" for i in range(20)], replicates=4)
    every = [s for trajectory in found.trajectories for s in seeds(found, trajectory)]
    assert len(set(every)) == len(every) == 20 * 4 * 5 * 2


# ---- cohorts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cohort", "sizes"), [(1, [1] * 12), (4, [4, 2, 4, 2]), (5, [5, 1, 5, 1]), (6, [6, 6]), (64, [6, 6])]
)
def test_cohorts_are_full_but_the_last_of_a_condition(cohort: int, sizes: Sequence[int]):
    found = plan(cohort=cohort, replicates=3, generator={"model": "mock", "steps": [1, 2]})
    assert [len(c.trajectories) for c in found.cohorts] == list(sizes)
    assert [c.id for c in found.cohorts] == [f"c{k:04d}" for k in range(len(sizes))]


def test_a_cohort_has_one_condition_and_every_trajectory_has_one_cohort():
    found = plan(cohort=4, replicates=3, generator={"model": "mock", "steps": [1, 2]}, noise=["fresh", "fixed"])
    for cohort in found.cohorts:
        assert len({t.condition.id for t in cohort.trajectories}) == 1
    expected = {(c.id, s.id, r) for c, s, r in itertools.product(found.conditions, found.starts, range(3))}
    assert {(t.condition.id, t.start.id, t.replicate) for t in found.trajectories} == expected
    assert len(found.trajectories) == len(expected)


def test_branches_from_different_iterations_travel_apart():
    def read(reference: str, group: str) -> Start:
        t = int(reference.rpartition("/")[2])
        return Start(f"start{reference}", "text", reference, None, group, t, (0, "s", 0), reference)

    raw = MINIMAL | {"starts": {"from": ["r/a/2", "r/b/1", "r/c/2"]}}
    found = make_plan(parse_experiment(raw), read)
    assert [[t.start.t0 for t in cohort.trajectories] for cohort in found.cohorts] == [[1], [2, 2]]


def test_branching_without_a_reader_is_refused():
    with pytest.raises(ExperimentError, match=r"starts\.0\.from: "):
        plan(starts={"from": "runs/a/b/1"})


def test_the_counts_of_a_plan_multiply():
    found = plan(replicates=2, generator={"model": "mock", "steps": [1, 2, 3]}, iterations=10)
    assert (len(found.conditions), len(found.trajectories), found.steps) == (3, 12, 120)


# ---- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ["all"]),
        ({"generator": {"model": "mock", "steps": 4}}, ["all"]),
        ({"generator": {"model": "mock", "steps": [1, 4]}}, ["steps=1", "steps=4"]),
        ({"captioner": {"model": "mock", "temperature": [0, 1]}}, ["temperature=0.0", "temperature=1.0"]),
        ({"noise": ["fresh", "fixed"]}, ["noise=fresh", "noise=fixed"]),
        (
            {"generator": {"model": "mock", "steps": [1, 4]}, "noise": ["fresh", "fixed"]},
            ["steps=1, noise=fresh", "steps=1, noise=fixed", "steps=4, noise=fresh", "steps=4, noise=fixed"],
        ),
        # What a model brings along is said by its name.
        ({"generator": ["mock", "sdxl"]}, ["generator=mock", "generator=sdxl"]),
        (
            {"generator": {"model": ["mock", "sdxl"], "steps": [1, 2]}},
            [f"generator={m}, steps={s}" for m in ("mock", "sdxl") for s in (1, 2)],
        ),
    ],
)
def test_a_label_shows_what_varies_and_nothing_else(keys: dict[str, Any], expected: list[str]):
    assert labels(**keys) == expected


def test_a_label_tells_settings_of_one_name_apart():
    found = labels(
        generator={"model": "mock", "dtype": ["float32", "float16"]},
        captioner={"model": "mock", "dtype": ["float32", "float16"]},
    )
    assert found[1] == "generator.dtype=float32, captioner.dtype=float16"
    assert len(set(found)) == 4


def test_a_label_of_a_longer_chain_says_which_model():
    chain = [*CHAIN[:2], {"generator": {"model": "sdxl", "steps": [10, 20]}}, CHAIN[3]]
    assert labels(generator=..., captioner=..., chain=chain) == ["generator2.steps=10", "generator2.steps=20"]


def test_factors_name_every_setting():
    factors = plan(generator={"model": "mock", "steps": 4}).conditions[0].factors
    assert (factors["generator"], factors["generator.steps"], factors["noise"]) == ("mock", 4, "fresh")
    assert set(factors) >= {"captioner.temperature", "captioner.instruction", "generator.revision"}


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [{"noise": ["fresh", "fresh"]}, {"generator": {"model": "mock", "steps": [2, 2]}},
                                  {"generator": ["mock", "mock"]}])  # fmt: skip
def test_a_grid_that_repeats_itself_is_refused(keys: dict[str, Any]):
    with pytest.raises(ExperimentError, match="two cells of the grid are the same"):
        plan(**keys)


@pytest.mark.parametrize(
    "starts",
    [["a boat", "a tree", "a  boat "], [{"prompts": ["x", "a boat"], "group": "a"}, {"prompts": ["a boat"]}]],
)
def test_a_start_that_is_there_twice_is_refused_with_both_places(starts: object):
    with pytest.raises(ExperimentError) as caught:
        plan(starts=starts)
    message = str(caught.value)
    assert message.startswith("starts: number ")
    assert "and number 3 are the same ('a boat')" in message
    assert "use replicates" in message


@pytest.mark.parametrize("prompt", ["", "  ", "\n"])
def test_an_empty_prompt_is_refused_with_its_number(prompt: str):
    with pytest.raises(ExperimentError, match=r"starts\.0: prompt number 2 is empty"):
        plan(starts=["a boat", prompt])


def test_an_unknown_model_is_refused():
    with pytest.raises(ModelError, match="unknown generator 'mok'"):
        plan(generator="mok")


# ---- prompt files ----------------------------------------------------------------------------------------------------


def plan_file(path: Path, content: bytes) -> Plan:
    path.write_bytes(content)
    return plan(starts={"file": str(path)})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", b"a boat\na tree\n"),
        ("p.txt", b"\xef\xbb\xbfa boat\r\n\r\n  a  tree"),
        ("p.csv", b"prompt\na boat\na tree\n"),
        ("p.csv", b'\xef\xbb\xbfprompt,note\r\na boat,x\r\n"a\ntree",\r\n'),
        ("p.CSV", b"id,prompt\n1,a boat\n2,a tree\n"),
    ],
)
def test_prompt_files_give_the_same_starts_as_the_list(tmp_path: Path, name: str, content: bytes):
    assert ids(plan_file(tmp_path / name, content)) == ids(plan())


def test_prompts_may_be_in_any_script(tmp_path: Path):
    found = plan_file(tmp_path / "p.txt", "дом у моря\n海辺の家\n".encode())
    assert [s.text for s in found.starts] == ["дом у моря", "海辺の家"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.txt", b"", "holds no prompts"),
        ("p.txt", b"\n  \n", "holds no prompts"),
        ("p.csv", b"prompt\n", "holds no prompts"),
        ("p.csv", b"", "needs a column named 'prompt'; it has no columns"),
        ("p.csv", b"Prompt,b\nx,y\n", "needs a column named 'prompt'; it has Prompt, b. Say which holds the prompts"),
        ("p.csv", b"prompt,note\na boat,x\n,y\n", "row 2: the prompt is empty; fill it in"),
        ("p.csv", b"note,prompt\nx\n", "row 1: the prompt is empty"),
        ("p.csv", b"prompt,note\na boat, red,x\n", "row 1 has more values than the head has columns"),
        ("p.txt", "café".encode("latin-1"), "; save it as UTF-8"),
        ("p.csv", b"prompt\n" + b"x" * 200_000, "cannot be read"),
    ],
    ids=[
        "empty",
        "blank",
        "header",
        "empty csv",
        "other column",
        "empty cell",
        "short row",
        "long row",
        "latin-1",
        "huge cell",
    ],
)
def test_a_prompt_file_that_will_not_do_is_refused(tmp_path: Path, name: str, content: bytes, says: str):
    with pytest.raises(ExperimentError) as caught:
        plan_file(tmp_path / name, content)
    assert str(caught.value).startswith("starts.0")
    assert says in str(caught.value)


def test_a_missing_prompt_file_is_named(tmp_path: Path):
    with pytest.raises(ExperimentError, match=r"starts\.0\.file: .*nope\.txt: there is no such file"):
        plan(starts={"file": str(tmp_path / "nope.txt")})


def test_a_folder_is_no_prompt_file(tmp_path: Path):
    with pytest.raises(ExperimentError, match=r"starts\.0\.file: .*cannot be read"):
        plan(starts={"file": str(tmp_path)})


# ---- image starts ----------------------------------------------------------------------------------------------------


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_image_starts_are_known_by_their_content(tmp_path: Path):
    one, moved = picture(tmp_path / "a.png"), picture(tmp_path / "b" / "c.png")
    assert ids(plan(starts={"images": str(one)})) == ids(plan(starts={"images": str(moved)}))
    other = picture(tmp_path / "d.png", 1)
    found = plan(starts={"images": [str(one), str(other)]})
    assert [(s.kind, s.text, s.image) for s in found.starts] == [("image", None, one), ("image", None, other)]
    assert found.starts[0].id != found.starts[1].id


def test_a_pattern_gives_its_files_in_order(tmp_path: Path):
    for k in (2, 0, 1):
        picture(tmp_path / f"{k}.png", k)
    found = plan(starts={"images": str(tmp_path / "*.png")})
    assert [s.image and s.image.name for s in found.starts] == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("name", ["a.png", "*.png"])
def test_pictures_are_found_in_a_folder_with_brackets_in_its_name(tmp_path: Path, name: str):
    study = tmp_path / "study [final]"
    picture(study / "a.png")
    text = f"name: try\niterations: 1\nstarts: {{images: '{name}'}}\ngenerator: mock\ncaptioner: mock\n"
    (study / "experiment.yaml").write_text(text)
    assert len(make_plan(load_experiment(study)).starts) == 1


def test_a_pattern_without_files_is_refused(tmp_path: Path):
    with pytest.raises(ExperimentError, match=r"starts\.0\.images: .*\*\.png: no file matches"):
        plan(starts={"images": str(tmp_path / "*.png")})


def test_the_same_picture_twice_is_refused_with_its_name(tmp_path: Path):
    one, same = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    with pytest.raises(ExperimentError, match="number 1 and number 2 are the same"):
        plan(starts={"images": [str(one), str(same)]})


def test_a_missing_picture_is_named(tmp_path: Path):
    with pytest.raises(ExperimentError, match=r"nope\.png: there is no such file"):
        plan(starts={"images": str(tmp_path / "nope.png")})


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
@pytest.mark.parametrize("how", ["empty", "text", "cut"])
def test_an_unreadable_picture_is_refused_before_anything_runs(tmp_path: Path, kind: str, how: str):
    path = picture(tmp_path / f"a.{kind}")
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not a picture", "cut": whole[: len(whole) // 2]}[how])
    with pytest.raises(ExperimentError, match=rf"a\.{kind}: cannot be read as an image"):
        plan(starts={"images": str(path)})


def test_a_folder_is_no_picture(tmp_path: Path):
    with pytest.raises(ExperimentError, match="cannot be read as an image"):
        plan(starts={"images": str(tmp_path)})
