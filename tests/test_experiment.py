"""The experiment file: what is read, what is refused, and what a refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from loopsim.errors import ExperimentError
from loopsim.experiment import CaptionerSettings, Experiment, GeneratorSettings, load_experiment, parse_experiment

MINIMAL: dict[str, Any] = {
    "name": "try",
    "iterations": 3,
    "starts": ["a boat", "a tree"],
    "generator": "mock",
    "captioner": "mock",
}


def parse(**keys: Any) -> Experiment:
    return parse_experiment({k: v for k, v in (MINIMAL | keys).items() if v is not ...}, "file.yaml")


def refusal(**keys: Any) -> str:
    with pytest.raises(ExperimentError) as caught:
        parse(**keys)
    return str(caught.value)


def write(folder: Path, text: str | None = None, name: str = "experiment.yaml", **keys: Any) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(MINIMAL | keys) if text is None else text, encoding="utf-8")
    return path


# ---- defaults --------------------------------------------------------------------------------------------------------


def test_what_is_left_out_has_the_documented_default():
    experiment = parse()
    assert (experiment.seed, experiment.replicates, experiment.cohort) == (0, 1, 64)
    assert experiment.noise == ["fresh"]
    assert experiment.pairing == "common"
    assert experiment.image_format == "webp"
    assert experiment.embedders == ["postcards"]
    assert experiment.description == ""


# ---- starts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        (["a boat", "a tree"], [{"prompts": ["a boat", "a tree"], "group": "all"}]),
        ("a boat", [{"prompts": ["a boat"], "group": "all"}]),
        ("prompts.txt", [{"file": "prompts.txt", "group": "all"}]),
        ("prompts.csv", [{"file": "prompts.csv", "group": "all"}]),
        (["prompts.txt"], [{"file": "prompts.txt", "group": "all"}]),
        ({"prompts": ["a boat"]}, [{"prompts": ["a boat"], "group": "all"}]),
        ({"prompts": "a boat"}, [{"prompts": ["a boat"], "group": "all"}]),
        ({"file": "prompts.txt", "group": "prior"}, [{"file": "prompts.txt", "group": "prior"}]),
        ({"images": "a.png"}, [{"images": ["a.png"], "group": "all"}]),
        ({"images": ["a.png", "b.png"]}, [{"images": ["a.png", "b.png"], "group": "all"}]),
        ({"from": "runs/a/0f3c/5"}, [{"from": ["runs/a/0f3c/5"], "group": "all"}]),
        (
            [{"prompts": ["a boat"], "group": "even"}, {"file": "p.csv", "group": "prior"}, {"images": ["a.png"]}],
            [
                {"prompts": ["a boat"], "group": "even"},
                {"file": "p.csv", "group": "prior"},
                {"images": ["a.png"], "group": "all"},
            ],
        ),
    ],
)
def test_every_form_of_starts_is_read(starts: object, expected: list[dict[str, Any]]):
    assert parse(starts=starts).resolved()["starts"] == expected


@pytest.mark.parametrize(
    ("starts", "says"),
    [
        ([], "starts: "),
        (None, "starts: "),
        (5, "starts: "),
        ([5], "starts.0: "),
        (["a boat", {"prompts": ["b"]}], "starts.0: "),
        ({"group": "x"}, "starts.0: give exactly one of prompts, file, template, images, from"),
        ({"prompts": ["a"], "file": "b.txt"}, "starts.0: give exactly one of prompts, file, template, images, from"),
        ({"prompts": []}, "starts.0: the list is empty: a run needs at least one start"),
        ({"images": []}, "starts.0: the list is empty: a run needs at least one start"),
        ({"from": []}, "starts.0: the list is empty: a run needs at least one start"),
        ({"file": ""}, "starts.0: the list is empty: a run needs at least one start"),
        ({"prompts": ["a", 5]}, "starts.0.prompts.1: "),
        ([{"prompts": ["a"]}, {"prompts": ["b"], "gruop": "x"}], "starts.1.gruop: unknown key; did you mean 'group'?"),
        ({"branch": ["runs/a/b/1"]}, "starts.0.branch: unknown key"),
    ],
)
def test_starts_that_cannot_be_are_refused_with_their_place(starts: object, says: str):
    message = refusal(starts=starts)
    assert message.startswith("file.yaml: ")
    assert says in message


def test_an_unknown_key_of_a_start_lists_the_keys_of_a_start():
    assert (
        "known keys: prompts, file, template, factors, images, from, column, columns, split, where, skip, "
        in refusal(starts={"promts": ["a"]})
    )


def test_missing_starts_are_named():
    assert refusal(starts=...).startswith("file.yaml: starts: ")


# ---- chain and grid --------------------------------------------------------------------------------------------------


def test_a_chain_of_two_links_is_the_plain_pair():
    chain = [{"generator": "mock"}, {"captioner": "mock"}]
    assert parse(generator=..., captioner=..., chain=chain) == parse()


def test_a_chain_of_four_links_keeps_its_order():
    chain = [
        {"generator": "mock"},
        {"captioner": "blip-base"},
        {"generator": {"model": "sdxl", "steps": 4}},
        {"captioner": {"model": "mock", "temperature": [0, 1]}},
    ]
    links = parse(generator=..., captioner=..., chain=chain).chain
    assert [[spec.model for spec in link.generator or link.captioner or ()] for link in links] == [
        ["mock"],
        ["blip-base"],
        ["sdxl"],
        ["mock", "mock"],
    ]
    assert links[2].generator == [GeneratorSettings(model="sdxl", steps=4)]


def test_lists_of_settings_are_the_axes_of_one_product():
    generator = {"model": ["mock", "sdxl"], "steps": [1, 2, 4], "guidance": 5}
    specs = parse(generator=generator).chain[0].generator
    assert [(s.model, s.steps, s.guidance) for s in specs or ()] == [
        (model, steps, 5.0) for model in ("mock", "sdxl") for steps in (1, 2, 4)
    ]


def test_captioner_settings_are_axes_too():
    captioner = {"model": "mock", "temperature": [0, 0.5], "max_new_tokens": [5, 9]}
    specs = parse(captioner=captioner).chain[1].captioner
    assert [(s.temperature, s.max_new_tokens) for s in specs or ()] == [(0, 5), (0, 9), (0.5, 5), (0.5, 9)]


def test_a_list_of_specs_is_their_grids_one_after_another():
    generator = ["mock", {"model": "sdxl", "steps": [10, 20]}]
    specs = parse(generator=generator).chain[0].generator
    assert [(s.model, s.steps) for s in specs or ()] == [("mock", None), ("sdxl", 10), ("sdxl", 20)]


@pytest.mark.parametrize(
    ("noise", "expected"), [("fixed", ["fixed"]), (["fresh", "fixed"], ["fresh", "fixed"]), (["fixed"], ["fixed"])]
)
def test_noise_is_an_axis(noise: object, expected: list[str]):
    assert parse(noise=noise).noise == expected


@pytest.mark.parametrize(("size", "kept"), [(512, "512x512"), ("640x480", "640x480"), ("native", "native")])
def test_a_size_is_a_number_two_numbers_or_native(size: object, kept: str):
    assert parse(generator={"model": "mock", "size": size}).chain[0].generator == [
        GeneratorSettings(model="mock", size=kept)
    ]


@pytest.mark.parametrize("size", [0, -64, "0x64", "64x0", "64", "64x", "64 x 64", "64X64", "big", 64.5, True])
def test_other_sizes_are_refused(size: object):
    assert refusal(generator={"model": "mock", "size": size}).startswith("file.yaml: generator.size: ")


@pytest.mark.parametrize(
    "chain",
    [
        [{"captioner": "mock"}, {"generator": "mock"}],
        [{"generator": "mock"}, {"generator": "mock"}],
        [{"generator": "mock"}, {"captioner": "mock"}, {"generator": "mock"}],
    ],
)
def test_a_chain_that_does_not_alternate_is_refused(chain: list[dict[str, str]]):
    message = refusal(generator=..., captioner=..., chain=chain)
    assert "chain: must alternate generator, captioner" in message
    assert message.endswith(", ".join(next(iter(link)) for link in chain))


def test_a_chain_of_one_link_is_refused():
    assert refusal(generator=..., captioner=..., chain=[{"generator": "mock"}]).startswith("file.yaml: chain: ")


def test_a_link_with_both_roles_is_refused_at_its_place():
    chain = [{"generator": "mock", "captioner": "mock"}, {"captioner": "mock"}]
    assert "chain.0: each link is one generator or one captioner" in refusal(generator=..., captioner=..., chain=chain)


def test_an_unknown_role_in_a_link_lists_the_two_roles():
    chain = [{"generater": "mock"}, {"captioner": "mock"}]
    message = refusal(generator=..., captioner=..., chain=chain)
    assert "chain.0.generater: unknown key; did you mean 'generator'?" in message
    assert "known keys: generator, captioner" in message


def test_a_chain_beside_a_pair_is_refused():
    message = refusal(chain=[{"generator": "mock"}, {"captioner": "mock"}])
    assert message == "file.yaml: give either chain, or generator and captioner, not both"


@pytest.mark.parametrize("role", ["generator", "captioner"])
def test_a_missing_role_is_named(role: str):
    assert f"{role} is missing" in refusal(**{role: ...})


@pytest.mark.parametrize("role", ["generator", "captioner"])
@pytest.mark.parametrize("spec", [None, [], {"model": []}, {"model": "mock", "revision": []}, {}, 5, [5], {"model": 5}])
def test_a_role_without_a_model_is_refused_under_its_own_name(role: str, spec: object):
    message = refusal(**{role: spec})
    assert message.startswith(f"file.yaml: {role}")
    assert "alternate" not in message


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("iterations", 0),
        ("iterations", -1),
        ("iterations", 1.5),
        ("iterations", "3"),
        ("iterations", True),
        ("iterations", 1_000_001),
        ("replicates", 0),
        ("replicates", "2"),
        ("cohort", 0),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 1.0),
        ("noise", "loud"),
        ("noise", []),
        ("pairing", "twins"),
        ("image_format", "gif"),
        ("embedders", []),
        ("embedders", [5]),
        ("name", ""),
        ("name", "a/b"),
        ("name", "x" * 101),
        ("name", 5),
        ("description", 5),
    ],
)
def test_a_value_out_of_range_or_of_a_wrong_type_is_refused_with_key_and_value(key: str, value: object):
    message = refusal(**{key: value})
    assert message.startswith(f"file.yaml: {key}")
    if value not in ("", "x" * 101):
        assert f"it is {str(value[0] if value == [5] else value)!r}" in message  # type: ignore[index]


@pytest.mark.parametrize("name", [".", "..", " "])
def test_a_name_that_is_no_name_for_a_folder_is_refused(name: str):
    # `runs/..` would put a run into somebody else's folder.
    assert refusal(name=name).startswith("file.yaml: name: ")


@pytest.mark.parametrize(
    ("role", "key", "value"),
    [
        ("generator", "steps", 0),
        ("generator", "steps", 1001),
        ("generator", "steps", 2.5),
        ("generator", "steps", "four"),
        ("generator", "guidance", -1),
        ("generator", "guidance", 101),
        ("generator", "guidance", "high"),
        ("generator", "guidance", True),
        ("generator", "guidance", float("nan")),
        ("generator", "guidance", float("inf")),
        ("generator", "negative_prompt", 5),
        ("generator", "scheduler", 5),
        ("generator", "revision", 5),
        ("generator", "dtype", "float8"),
        ("generator", "batch_size", 0),
        ("captioner", "max_new_tokens", 0),
        ("captioner", "max_words", 0),
        ("captioner", "temperature", -0.1),
        ("captioner", "temperature", 101),
        ("captioner", "temperature", True),
        ("captioner", "temperature", float("nan")),
        ("captioner", "top_p", 0),
        ("captioner", "top_p", 1.1),
        ("captioner", "beams", 0),
        ("captioner", "instruction", 5),
        ("captioner", "batch_size", "all"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_role_and_key(role: str, key: str, value: object):
    message = refusal(**{role: {"model": "mock", key: value}})
    assert message.startswith(f"file.yaml: {role}.{key}: ")
    assert f"it is {str(value)!r}" in message


def test_a_wrong_value_in_an_axis_is_said_once():
    message = refusal(generator={"model": ["mock", "sdxl"], "steps": [1, 0]})
    assert message.count("generator.steps") == 1


def test_a_wrong_setting_in_a_longer_chain_is_refused_with_its_link():
    chain = [{"generator": "mock"}, {"captioner": "mock"}, {"generator": {"model": "mock", "steps": 0}}]
    chain.append({"captioner": "mock"})
    assert "chain.2.generator.steps: " in refusal(generator=..., captioner=..., chain=chain)


def test_beams_with_a_temperature_are_refused_with_what_to_set():
    message = refusal(captioner={"model": "mock", "beams": 3, "temperature": 0.7})
    assert message.startswith("file.yaml: captioner: beams")
    assert "set beams: 1 or temperature: 0" in message


@pytest.mark.parametrize("given", [{"beams": 3}, {"beams": 3, "temperature": 0}, {"beams": 1, "temperature": 0.7}])
def test_beams_without_temperature_and_the_reverse_are_fine(given: dict[str, Any]):
    assert parse(captioner={"model": "mock", **given}).chain[1].captioner == [CaptionerSettings(model="mock", **given)]


def test_every_mistake_is_told_at_once():
    message = refusal(iterations=0, replicates=0, generator={"model": "mock", "steps": 0})
    assert [line.split(":")[0].strip() for line in message.removeprefix("file.yaml: ").splitlines()] == [
        "iterations",
        "replicates",
        "generator.steps",
    ]


# ---- unknown keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "where", "near", "known"),
    [
        ({"iteration": 3}, "iteration", "iterations", "name, description, seed, iterations"),
        ({"captoner": "mock"}, "captoner", "captioner", "generator, captioner"),
        ({"generator": {"model": "mock", "step": 4}}, "generator.step", "steps", "model, steps, guidance"),
        (
            {"captioner": {"model": "mock", "temprature": 1}},
            "captioner.temprature",
            "temperature",
            "model, instruction",
        ),
    ],
)
def test_an_unknown_key_lists_the_known_ones_and_the_near_one(keys: dict[str, Any], where: str, near: str, known: str):
    message = refusal(**keys)
    assert message.startswith(f"file.yaml: {where}: unknown key; did you mean {near!r}? known keys: ")
    assert known in message


def test_an_unknown_key_like_no_other_gets_no_guess():
    message = refusal(zzz=1)
    assert message.startswith("file.yaml: zzz: unknown key; known keys: ")


@pytest.mark.parametrize("key", ["model_config", "model_dump", "resolved", "__class__", 5])
def test_names_that_the_code_uses_are_not_keys(key: object):
    with pytest.raises(ExperimentError, match=f"{key}: "):
        parse_experiment({**MINIMAL, key: 1})


def test_an_experiment_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse().iterations = 5


# ---- round trip ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"starts": {"from": "runs/a/b/3"}},
        {"starts": [{"file": "a.txt", "group": "x"}, {"images": ["a.png"]}]},
        {"generator": {"model": "mock", "steps": [1, 2], "size": [64, "64x32"], "negative_prompt": ""}},
        {"captioner": ["mock", {"model": "mock", "temperature": [0.1, 1], "top_p": 0.9}]},
        {"noise": ["fresh", "fixed"], "pairing": "independent", "embedders": ["mock", "postcards"]},
        {"generator": ..., "captioner": ..., "chain": [{"generator": "mock"}, {"captioner": "mock"}] * 2},
        {"description": "ça: [x] #\nline two", "seed": 2**63 - 1},
    ],
)
def test_a_resolved_experiment_reads_back_as_itself(keys: dict[str, Any]):
    experiment = parse(**keys)
    text = yaml.safe_dump(experiment.resolved(), sort_keys=False, allow_unicode=True)
    assert parse_experiment(yaml.safe_load(text)) == experiment


lists = st.lists(st.integers(1, 50), min_size=1, max_size=3, unique=True)


@settings(max_examples=25, deadline=None)
@given(lists, st.lists(st.floats(0, 3), min_size=1, max_size=3), st.lists(st.text(), min_size=1, max_size=4))
def test_any_grid_and_any_text_reads_back_as_itself(steps: list[int], temperatures: list[float], prompts: list[str]):
    experiment = parse(
        generator={"model": "mock", "steps": steps},
        captioner={"model": "mock", "temperature": temperatures},
        starts={"prompts": prompts},
    )
    assert parse_experiment(experiment.resolved()) == experiment
    assert len(experiment.chain[0].generator or ()) == len(steps)
    assert len(experiment.chain[1].captioner or ()) == len(temperatures)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_folder_stands_for_the_experiment_file_in_it(tmp_path: Path):
    path = write(tmp_path)
    assert load_experiment(tmp_path) == load_experiment(path)


def test_prompt_files_and_images_are_found_beside_the_experiment(tmp_path: Path):
    starts = [{"file": "p.txt"}, {"images": ["pictures/*.png", "/abs/a.png"]}]
    first, second = load_experiment(write(tmp_path, starts=starts)).starts
    assert first.file == str(tmp_path.resolve() / "p.txt")
    assert second.images == [str(tmp_path.resolve() / "pictures/*.png"), "/abs/a.png"]


@pytest.mark.parametrize("name", ["~$prompts.txt", "~nobody-has-this-name/prompts.txt"])
def test_a_prompt_file_that_begins_with_a_tilde_and_no_user_is_a_plain_name(tmp_path: Path, name: str):
    starts = load_experiment(write(tmp_path, starts={"file": name})).starts
    assert starts[0].file == str(tmp_path.resolve() / name)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ExperimentError, match=r"nope\.yaml: there is no such experiment file"):
        load_experiment(tmp_path / "nope.yaml")


def test_a_folder_without_an_experiment_is_named_with_the_file_that_is_missing(tmp_path: Path):
    with pytest.raises(ExperimentError, match=r"experiment\.yaml: there is no such experiment file"):
        load_experiment(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "not YAML: line "),
        ("name: a\n  b: c\n", "not YAML: line 2, column "),
        ("name: 'a", "not YAML: line "),
        ("\tname: a", "not YAML: line 1, column 1: "),
        ("name: \x07", "not YAML: "),
        ("{[1]: 2}", "not YAML: "),
        ("name: !!python/object:os.system x", "not YAML: line 1, column 7: "),
        # These two are found by the reader of values, not by the parser.
        ("name: try\ndescription: 2024-13-45", "not YAML: "),
        ("seed: !!int five", "not YAML: "),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(tmp_path: Path, text: str, says: str):
    path = write(tmp_path, text)
    with pytest.raises(ExperimentError) as caught:
        load_experiment(path)
    assert str(caught.value).startswith(f"{path}: {says}")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "5", "# only a comment\n", "null"])
def test_yaml_that_is_no_mapping_is_refused(tmp_path: Path, text: str):
    path = write(tmp_path, text)
    with pytest.raises(ExperimentError) as caught:
        load_experiment(path, ["iterations=5"])
    assert str(caught.value).startswith(f"{path}: must be a mapping of keys such as name, iterations, starts")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path):
    path = tmp_path / "experiment.yaml"
    path.write_bytes("name: café".encode("latin-1"))
    with pytest.raises(ExperimentError, match="cannot be read: 'utf-8' codec"):
        load_experiment(path)


def test_a_path_through_a_file_is_refused(tmp_path: Path):
    path = write(tmp_path)
    with pytest.raises(ExperimentError, match="cannot be read"):
        load_experiment(path / "experiment.yaml")


# ---- overrides -------------------------------------------------------------------------------------------------------


def test_an_override_of_a_top_key_wins_over_the_file(tmp_path: Path):
    path = write(tmp_path)
    assert load_experiment(path, ["iterations=9"]).iterations == 9
    assert load_experiment(path, ["iterations=9", "iterations=4"]).iterations == 4
    assert load_experiment(path, ["noise=[fresh, fixed]"]).noise == ["fresh", "fixed"]
    assert load_experiment(path, ["description=a = b"]).description == "a = b"
    assert load_experiment(path).iterations == 3


def test_an_override_reaches_into_a_model_named_by_a_string(tmp_path: Path):
    experiment = load_experiment(write(tmp_path), ["generator.steps=4", "generator.guidance=[1, 2]"])
    assert experiment.chain[0].generator == [
        GeneratorSettings(model="mock", steps=4, guidance=1),
        GeneratorSettings(model="mock", steps=4, guidance=2),
    ]


def test_an_override_reaches_into_a_mapping(tmp_path: Path):
    path = write(tmp_path, captioner={"model": "mock", "temperature": 0.5, "beams": 1})
    assert load_experiment(path, ["captioner.temperature=1"]).chain[1].captioner == [
        CaptionerSettings(model="mock", temperature=1, beams=1)
    ]


def test_an_override_reaches_into_a_list_by_number(tmp_path: Path):
    starts = [{"prompts": ["a"], "group": "x"}, {"prompts": ["b"], "group": "y"}]
    path = write(tmp_path, starts=starts)
    assert [s.group for s in load_experiment(path, ["starts.1.group=z"]).starts] == ["x", "z"]
    assert load_experiment(path, ["starts.1.prompts.0=c"]).starts[1].prompts == ["c"]
    assert load_experiment(write(tmp_path), ["starts.0=a house"]).starts[0].prompts == ["a house", "a tree"]


def test_an_override_reaches_into_a_chain(tmp_path: Path):
    chain = [{"generator": "mock"}, {"captioner": "mock"}]
    raw = {k: v for k, v in MINIMAL.items() if k not in ("generator", "captioner")} | {"chain": chain}
    path = write(tmp_path, yaml.safe_dump(raw))
    assert load_experiment(path, ["chain.0.generator.steps=4"]).chain[0].generator == [
        GeneratorSettings(model="mock", steps=4)
    ]


def test_an_override_reaches_a_model_named_by_a_string_in_a_list(tmp_path: Path):
    path = write(tmp_path, generator=["mock", "sdxl"])
    assert load_experiment(path, ["generator.1.steps=4"]).chain[0].generator == [
        GeneratorSettings(model="mock"),
        GeneratorSettings(model="sdxl", steps=4),
    ]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("iterations", "must be key=value, such as iterations=5"),
        ("=5", "must be key=value, such as iterations=5"),
        ("", "must be key=value"),
        ("iterations=[", "the value is not YAML"),
        ("description=2024-13-45", "the value is not YAML"),
        ("captoner.steps=4", "the experiment has no 'captoner'"),
        ("generator.steps.more=4", "has no 'generator.steps'"),
        ("starts.9.group=x", "the experiment has no 'starts.9'"),
        ("starts.².group=x", "the experiment has no 'starts.²'"),
        ("starts.9=x", "'starts'"),
        ("iterations.x=1", "'iterations' has no settings of its own"),
    ],
)
def test_an_override_that_cannot_be_is_refused_with_its_text(tmp_path: Path, override: str, says: str):
    with pytest.raises(ExperimentError) as caught:
        load_experiment(write(tmp_path), [override])
    message = str(caught.value)
    assert message.startswith(f"override {override!r}: ")
    assert says in message


@pytest.mark.parametrize("override", ["iterations=", "iterations=many", "generator.steps=0", "generator.stps=4", "x=1"])
def test_an_override_to_a_wrong_value_is_refused_like_the_file(tmp_path: Path, override: str):
    path = write(tmp_path)
    with pytest.raises(ExperimentError) as caught:
        load_experiment(path, [override])
    assert str(caught.value).startswith(f"{path}: {override.partition('=')[0]}: ")


def test_a_key_given_twice_is_refused_with_its_place(tmp_path: Path):
    path = tmp_path / "experiment.yaml"
    path.write_text("name: a\niterations: 5\niterations: 50\n")
    with pytest.raises(ExperimentError, match=r"line 3.*'iterations' is given twice"):
        load_experiment(path)


def test_a_lone_name_of_another_kind_of_file_is_asked_about():
    assert "is 'prompts.xlsx' a file?" in refusal(starts="prompts.xlsx")
