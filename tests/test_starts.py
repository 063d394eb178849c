"""Starts that bring columns along: templates with factors, and tables of many formats."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from loopsim import open_run
from loopsim.cli import app
from loopsim.compare.records import Comparison
from loopsim.embed import embed_run
from loopsim.errors import ExperimentError
from loopsim.exchange.roles import SYNONYMS
from loopsim.exchange.selection import RENAMED
from loopsim.experiment import Experiment, load_experiment, parse_experiment
from loopsim.measure import Options, measure_run
from loopsim.measure.rows import COLUMNS
from loopsim.plan import Plan, make_plan
from loopsim.runner import read_branch, run_plan
from loopsim.starts.columns import TAKEN
from loopsim.starts.crossing import balanced_sample, full_crossing
from loopsim.starts.templates import with_articles
from loopsim.store import Run, create_run
from loopsim.store.tables import STEP_SCHEMA

BASE: dict[str, Any] = {"name": "try", "iterations": 2, "generator": "mock", "captioner": "mock", "embedders": "mock"}


def parsed(starts: Any, **keys: Any) -> Experiment:
    return parse_experiment(BASE | {"starts": starts} | keys, "file.yaml")


def planned(starts: Any, **keys: Any) -> Plan:
    return make_plan(parsed(starts, **keys), read_branch)


def found(starts: Any) -> list[tuple[str | None, dict[str, Any]]]:
    return [(start.text, dict(start.facts)) for start in planned(starts).starts]


def refusal(starts: Any) -> str:
    with pytest.raises(ExperimentError) as caught:
        planned(starts)
    return str(caught.value)


PEOPLE: dict[str, Any] = {
    "template": "a(n) {age} {who.noun} with {who.their} {thing}",
    "factors": {
        "age": ["old", "young"],
        "who": {"woman": {"noun": "woman", "their": "her"}, "man": {"noun": "man", "their": "his"}},
        "thing": {"cat": "grey cat", "none": "bare hands"},
    },
}


# ---- templates -------------------------------------------------------------------------------------------------------


def test_a_template_makes_every_combination_with_its_levels_as_columns():
    made = found(PEOPLE)
    assert len(made) == 8
    assert made[0] == ("an old woman with her grey cat", {"age": "old", "who": "woman", "thing": "cat"})
    assert made[-1] == ("a young man with his bare hands", {"age": "young", "who": "man", "thing": "none"})


def test_the_text_makes_the_id_and_the_columns_do_not():
    made = planned(PEOPLE)
    same = planned([text for text, _ in found(PEOPLE)])
    assert [t.id for t in made.trajectories] == [t.id for t in same.trajectories]


def test_numbers_are_levels_too_and_white_space_is_evened_out():
    made = found(
        {"template": "{who} aged {age}  {note}", "factors": {"who": ["she"], "age": [20, 70], "note": {"no": ""}}}
    )
    assert made == [(f"she aged {age}", {"who": "she", "age": age, "note": "no"}) for age in (20, 70)]


def test_several_templates_are_a_factor_of_their_own():
    made = found({"template": {"plain": "a {x}", "noisy": "the {x}, loud"}, "factors": {"x": ["dog", "cat"]}})
    assert made[0] == ("a dog", {"template": "plain", "x": "dog"})
    assert made[-1] == ("the cat, loud", {"template": "noisy", "x": "cat"})
    assert [facts["template"] for _, facts in found({"template": ["a {x}", "b {x}"], "factors": {"x": ["c"]}})] == [
        1,
        2,
    ]


def test_a_double_brace_is_a_brace():
    assert found({"template": "{{x}} {x}", "factors": {"x": ["a"]}}) == [("{x} a", {"x": "a"})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a(n) old house", "an old house"), ("A(n) boat", "A boat"), ("a(n) university", "a university"),
        ("a(n) unimportant man", "an unimportant man"), ("a(n) hour", "an hour"), ("a(n) European", "a European"),
        ("a(n) user", "a user"), ("a(n) uncle", "an uncle"), ("a(n) one-eyed cat", "a one-eyed cat"),
        ("a(n) “old” man", "an “old” man"), ("a(n) 80-year-old", "an 80-year-old"),
        ("a(n) 20-year-old", "a 20-year-old"),
        ("a(n) heir and a(n) house", "an heir and a house"), ("a(n) unicorn", "a unicorn"), ("banana(n)", "banana(n)"),
    ],
)  # fmt: skip
def test_articles_follow_the_next_word(text: str, expected: str):
    assert with_articles(text) == expected


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"template": "{wo} {age}"}, "starts.0.template: {wo} is no factor; factors: age, who, thing"),
        ({"template": "{age} {who.noun}"}, "starts.0.factors.thing: the template does not name {thing}"),
        ({"template": "{age} {who} {thing}"}, "starts.0.factors.who.woman: has the forms noun, their; say"),
        ({"template": "{age} {who.me} {thing}"}, "starts.0.factors.who.woman: lacks the form 'me'"),
        ({"template": "{age.x} {who.noun} {thing}"}, "starts.0.factors.age.old: the template asks for {age.x}"),
        ({"template": "{age:3}"}, "must be {factor} or {factor.form}"),
        ({"template": "{age"}, "a brace of the text itself is written {{"),
        ({"template": ""}, "must be a text such as '{person} in {place}'"),
        ({"template": "{0}", "factors": {"0": ["a", "a "]}}, "0=a and 0=a  make the same prompt ('a')"),
        ({"factors": {"label": ["a"]}}, "starts.0.factors: 'label' is a column of the results already; give"),
        ({"factors": {"generator.steps": ["a"]}}, "'generator.steps' is a column of the results already"),
        ({"factors": {"a, b": ["a"]}}, "'a, b' cannot name a column of the results"),
        ({"factors": {"x": [True, False]}}, "YAML reads yes, no, on, off, true and false as truth values"),
        ({"factors": {"x": {"no": False}}}, "YAML reads yes, no"),
        ({"factors": {"x": []}}, "starts.0.factors.x: an empty factor leaves no prompt"),
        ({"factors": {"x": ["a", "a"]}}, "starts.0.factors.x: names a level twice"),
        ({"factors": {"x": 5}}, "starts.0.factors.x: must be a list of words, or a mapping of labels to words"),
        ({"factors": {}}, "a template needs factors"),
        ({"sample": 9}, "starts.0.sample: 9 of 8 prompts; the crossing has no more"),
        ({"column": "x"}, "starts.0: column goes with file, and this group has template"),
        ({"sample_seed": 1}, "starts.0: sample_seed goes with sample"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_is_refused_with_its_place(change: dict[str, Any], says: str):
    assert says in refusal(PEOPLE | change)


# ---- samples of a crossing -------------------------------------------------------------------------------------------

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(SIZES, st.data(), st.integers(0, 99))
def test_every_level_of_a_sample_is_there_equally_often(sizes: list[int], data: st.DataObject, seed: int):
    n = data.draw(st.integers(1, len(full_crossing(sizes))))
    rows = balanced_sample(sizes, n, seed)
    assert len(set(rows)) == n
    assert set(rows) <= set(full_crossing(sizes))
    for k, size in enumerate(sizes):
        counts = [sum(row[k] == code for row in rows) for code in range(size)]
        assert max(counts) - min(counts) <= 1


def test_a_sample_does_not_confound_two_factors():
    for seed in range(20):
        pairs = Counter((row[a], row[b], a, b) for row in balanced_sample([2, 2, 2], 4, seed)
                        for a, b in itertools.combinations(range(3), 2))  # fmt: skip
        assert set(pairs.values()) == {1}, "four of 2 × 2 × 2: the half fraction has each pair of levels once"


def test_a_sample_is_the_same_for_the_same_seed_only():
    assert balanced_sample([6, 6, 3], 20, 1) == balanced_sample([6, 6, 3], 20, 1)
    assert balanced_sample([6, 6, 3], 20, 1) != balanced_sample([6, 6, 3], 20, 2)
    one, other = (found(PEOPLE | {"sample": 4, "sample_seed": seed}) for seed in (1, 2))
    assert len(one) == len(other) == 4
    assert planned(PEOPLE | {"sample": 4}, seed=5).starts == planned(PEOPLE | {"sample": 4}, seed=6).starts


# ---- tables ----------------------------------------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"caption": "a boat", "tier": "objects", "year": 1990, "tags": ["x"]},
    {"caption": " two   birds ", "tier": "people", "year": 2001, "tags": []},
    {"caption": "a nurse", "tier": "people", "year": None, "tags": ["y", "z"]},
]


def hugging_face(folder: Path, rows: list[dict[str, Any]], shards: int = 2) -> Path:
    """A folder as `save_to_disk` of datasets 5.2 writes it; labels are numbers with names in the features."""
    names = sorted({row["tier"] for row in rows})
    features = {"tier": {"names": names, "_type": "ClassLabel"}, "caption": {"dtype": "string", "_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    folder.mkdir(parents=True)
    files = []
    for k in range(shards):
        part = [{**row, "tier": names.index(row["tier"])} for row in rows[k::shards]]
        table = pa.Table.from_pylist(part).replace_schema_metadata(metadata)
        files.append({"filename": f"data-{k:05d}-of-{shards:05d}.arrow"})
        with pa.ipc.new_stream(folder / files[-1]["filename"], table.schema) as stream:
            stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def write_table(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"p.{kind}"
    if kind in ("csv", "tsv"):
        frame = pd.DataFrame([{k: v for k, v in row.items() if k != "tags"} for row in rows])
        frame.astype({"year": "Int64"}).to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif kind == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "arrow":
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    elif kind == "saved":
        return hugging_face(folder / "saved", rows, 1)
    elif kind == "folder":
        (folder / "hub" / "data").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "hub" / "data" / "train-00000-of-00001.parquet")
        return folder / "hub"
    return path


KINDS = ("csv", "tsv", "jsonl", "json", "parquet", "arrow", "saved", "folder")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_starts_and_keeps_its_columns(tmp_path: Path, kind: str):
    path = write_table(tmp_path, kind, ROWS)
    assert found({"file": str(path), "column": "caption"}) == [
        ("a boat", {"tier": "objects", "year": 1990}),
        ("two birds", {"tier": "people", "year": 2001}),
        ("a nurse", {"tier": "people", "year": None}),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_says_where_a_prompt_is_empty(tmp_path: Path, kind: str):
    path = write_table(tmp_path, kind, [*ROWS, ROWS[0] | {"caption": None}])
    unit = "line" if kind == "jsonl" else "row"
    assert f"{path}: {unit} 4: the prompt is empty; fill it in, or leave such rows out: skip: empty" in refusal(
        {"file": str(path), "column": "caption"}
    )


def test_shards_are_read_in_order(tmp_path: Path):
    path = hugging_face(tmp_path / "d", [ROWS[0], ROWS[2], ROWS[1]])
    assert [text for text, _ in found({"file": str(path), "column": "caption"})] == ["a boat", "two birds", "a nurse"]


def test_splits_are_asked_for(tmp_path: Path):
    for name, rows in (("train", ROWS[:2]), ("test", ROWS[2:])):
        hugging_face(tmp_path / "d" / name, rows, 1)
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    group = {"file": str(tmp_path / "d"), "column": "caption"}
    assert "has the splits train, test; say which, such as split: train" in refusal(group)
    assert "starts.0.split: " in refusal(group | {"split": "tets"})
    assert "has no split 'tets'; it has train, test" in refusal(group | {"split": "tets"})
    assert [text for text, _ in found(group | {"split": "test"})] == ["a nurse"]


def test_columns_are_chosen_and_renamed(tmp_path: Path):
    group = {"file": str(write_table(tmp_path, "csv", ROWS)), "column": "caption"}
    assert found(group | {"columns": ["tier"]})[0] == ("a boat", {"tier": "objects"})
    assert found(group | {"columns": {"kind": "tier"}})[0] == ("a boat", {"kind": "objects"})
    assert found(group | {"columns": []})[0] == ("a boat", {})


def test_filters_limits_and_samples(tmp_path: Path):
    rows = [{"caption": f"prompt {k}", "tier": "ab"[k % 2], "year": k, "tags": []} for k in range(40)]
    group = {"file": str(write_table(tmp_path, "csv", rows)), "column": "caption", "columns": []}
    assert [text for text, _ in found(group | {"limit": 2})] == ["prompt 0", "prompt 1"]
    assert [text for text, _ in found(group | {"where": {"tier": "b"}, "limit": 2})] == ["prompt 1", "prompt 3"]
    assert [text for text, _ in found(group | {"where": {"tier": ["a", "b"], "year": ["3", 4.0]}})] == [
        "prompt 3",
        "prompt 4",
    ]
    first, again, other = (found(group | {"sample": 10, "sample_seed": seed}) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 10
    # More rows, in another order, change few of a sample: each row's place in it depends on its text only.
    (tmp_path / "more").mkdir()
    more = write_table(tmp_path / "more", "csv", [*reversed(rows), rows[0] | {"caption": "another"}])
    assert len({t for t, _ in first} & {t for t, _ in found(group | {"file": str(more), "sample": 10})}) >= 9


def test_empty_and_equal_prompts_are_skipped_where_asked(tmp_path: Path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n\n{"prompt": ""}\n{"prompt": " a "}\n{"prompt": "b"}\n')
    group = {"file": str(path)}
    assert "line 3: the prompt is empty" in refusal(group)
    assert (
        "lines 1 and 4 have the same prompt ('a'); remove one, or keep the first of each: skip: duplicates"
        in refusal(group | {"skip": "empty"})
    )
    assert [text for text, _ in found(group | {"skip": ["empty", "duplicates"]})] == ["a", "b"]


def test_numbers_of_a_csv_are_numbers_unless_they_are_names(tmp_path: Path):
    path = tmp_path / "p.csv"
    path.write_text("prompt,age,id,share\na,20,007,-0.5\nb,,010,1e3\n")
    assert [facts for _, facts in found(str(path))] == [
        {"age": 20, "id": "007", "share": -0.5}, {"age": None, "id": "010", "share": 1000.0}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "keys", "says"),
    [
        ("p.csv", "prompt,label\na,b\n", {}, ("'label' is a column of the results already; rename it: columns: "
         "{label_of_start: label}, or leave it out: columns: []")),
        ("p.csv", "prompt,t,x\na,b,c\n", {}, "columns: {t_of_start: t, x: x}, or leave it out: columns: [x]"),
        ("p.csv", "caption,b\na,b\n", {"column": "captoin"}, "has no column 'captoin'; did you mean 'caption'?"),
        ("p.csv", "caption,b\na,b\n", {}, "needs a column named 'prompt'; it has caption, b. Say which"),
        ("p.csv", "prompt;tier\na;b\n", {}, "it has prompt;tier. It seems to be separated by ';': save it separated"),
        ("p.csv", "text;tier\na;b\n", {"column": "text"}, "it has text;tier. It seems to be separated by ';'"),
        ("p.csv", "prompt;tier\na, b;c\n", {}, "than the head has columns. It seems to be separated by ';'"),
        ("p.csv", "prompt\ttier\na\tb\n", {}, "separated by tabs: save it separated by ',', or name it .tsv"),
        ("p.tsv", "prompt,tier\na,b\n", {}, "separated by ',': save it separated by tabs, or name it .csv"),
        ("p.csv", "prompt,b\na,b\n", {"columns": ["c"]}, "starts.0.columns: "),
        ("p.csv", "prompt,b\na,b\n", {"where": {"c": "x"}}, "has no column 'c'; it has prompt, b"),
        ("p.csv", "prompt,b\na,b\n", {"where": {"b": "x"}}, "nothing is left of b = x; values of b: b"),
        ("p.csv", "prompt,b\na,b\n", {"where": []}, "must be a mapping of columns to values"),
        ("p.csv", "prompt,b\na,b\n", {"sample": 2}, "2 of 1 rows; there are no more"),
        ("p.csv", "prompt,b\na,b\n", {"split": "x"}, "is one file and has no splits; leave split out"),
        ("p.csv", "prompt,b\na,b\n", {"skip": "blank"}, "starts.0.skip.0: "),
        ("p.csv", "prompt,b\na,b\n", {"limit": 1, "sample": 1}, "limit takes the first, sample draws"),
        ("p.csv", "prompt,b,b\na,b,c\n", {}, "two columns are named 'b'"),
        ("p.csv", "prompt,n\n1,2\n", {"column": "n"}, "row 1: the prompt is no text, but 2; is 'n' the right column?"),
        ("p.jsonl", '{"prompt": "a"}\nnot json\n', {}, "line 2 is not JSON: "),
        ("p.jsonl", "[1]\n", {}, "line 1 is no object such as"),
        ("p.jsonl", '{"prompt": "a", "b": [1]}\n', {"columns": ["b"]}, "the column 'b': list is neither a text nor a"),
        ("p.json", '{"prompt": "a"}', {}, "must be a list of objects"),
        ("p.json", "[", {}, "is not JSON: "),
        ("p.parquet", "no parquet", {}, "cannot be read as a dataset: "),
        ("p.arrow", "no arrow", {}, "cannot be read as a dataset: "),
    ],
)  # fmt: skip
def test_a_table_that_will_not_do_is_refused_with_file_and_row(
    tmp_path: Path, name: str, content: str, keys: dict[str, Any], says: str
):
    (tmp_path / name).write_text(content)
    message = refusal({"file": str(tmp_path / name), **keys})
    assert message.startswith(("starts.0", "file.yaml: starts.0"))
    assert says in message
    if not message.startswith("file.yaml"):
        assert name in message


def test_a_missing_dataset_is_named(tmp_path: Path):
    for name in ("p.parquet", "p"):
        assert "there is no such file" in refusal({"file": str(tmp_path / name), "split": "train"})
    (tmp_path / "empty").mkdir()
    assert "a folder with neither .parquet files nor" in refusal({"file": str(tmp_path / "empty")})


def test_prompts_may_be_written_with_columns_in_the_experiment():
    made = found({"prompts": ["a", {"prompt": "b", "mood": "calm", "count": 2}]})
    assert made == [("a", {}), ("b", {"mood": "calm", "count": 2})]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (5, "starts.0.prompts.0: must be a text, or a mapping"),
        ({"text": "a"}, "starts.0.prompts.0: a mapping needs the key prompt"),
        ({"prompt": "a", "b": [1]}, "starts.0.prompts.0: b: a column holds texts and numbers"),
        ({"prompt": "a", "t": 1}, "'t' is a column of the results already; give it another name"),
    ],
)
def test_a_prompt_with_columns_that_cannot_be_is_refused(row: Any, says: str):
    assert says in refusal({"prompts": [row]})


def test_no_column_of_a_start_can_be_one_of_ours(tmp_path: Path):
    run = create_run(tmp_path / "run", planned(["a"]), {})
    ours = {*run.trajectories().columns, *STEP_SCHEMA.names, *COLUMNS, *RENAMED.values(), *SYNONYMS}
    conditions = {name for name in ours if name.split(".")[0] in ("generator", "captioner")}
    assert ours - conditions - TAKEN <= {"branched_from"}
    assert "run" in TAKEN
    assert Comparison  # `compare` names its cells by `run` and the columns above


# ---- columns of the results ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    groups = [PEOPLE, {"prompts": [f"the {k}th sea" for k in range(3)], "group": "sea"}]
    plan = planned(groups, generator={"model": "mock", "steps": [1, 2]}, replicates=2)
    run = run_plan(plan, tmp_path_factory.mktemp("starts") / "run")
    embed_run(run, "mock")
    return run


def test_factors_are_columns_of_the_trajectories(finished: Run):
    table = finished.trajectories()
    assert finished.start_columns == ["age", "who", "thing"]
    row = table[table["start_text"] == "an old man with his grey cat"].iloc[0]
    assert (row["age"], row["who"], row["thing"]) == ("old", "man", "cat")
    assert table[table["group"] == "sea"]["who"].isna().all()


def test_measurements_are_grouped_by_a_factor(finished: Run):
    rows = measure_run(finished, Options(by=("who",), families=("diversity",)))
    assert set(rows["who"].dropna()) == {"woman", "man"}
    assert rows["age"].isna().all(), "pooled"


def test_what_a_start_is_explains_no_variance_between_conditions(finished: Run):
    items = measure_run(finished, Options(families=("attribution",)))["item"].dropna()
    factors = {word for item in items for word in item.replace(":", " ").split()}
    assert "generator.steps" in " ".join(items)
    assert not {"age", "who", "thing"} & factors


def test_a_run_directory_says_the_columns_itself(finished: Run):
    raw = yaml.safe_load((finished.path / "experiment.yaml").read_text())
    assert raw["starts"][0]["prompts"][0] == {
        "prompt": "an old woman with her grey cat", "age": "old", "who": "woman", "thing": "cat"
    }  # fmt: skip
    assert raw["starts"][1]["prompts"] == ["the 0th sea", "the 1th sea", "the 2th sea"]
    again = make_plan(load_experiment(finished.path))
    assert [dict(s.facts) for s in again.starts] == [dict(s.facts) for s in planned([PEOPLE, ["x"]][:1]).starts] + [
        {}
    ] * 3


def test_a_branch_keeps_the_columns_of_its_parent(finished: Run, tmp_path: Path):
    table = finished.trajectories()
    name = table[table["who"] == "man"]["trajectory_id"].iloc[0]
    branch = planned({"from": f"{finished.path}/{name}/1"})
    assert branch.starts[0].facts["who"] == "man"
    assert create_run(tmp_path / "b", branch, {}).trajectories()["who"].tolist() == ["man"]


def test_columns_may_be_added_to_a_run_that_is_there(tmp_path: Path):
    run = run_plan(planned(["a boat", "a tree"]), tmp_path / "run")
    rows = [{"prompt": "a boat", "kind": "thing"}, {"prompt": "a tree", "kind": "plant"}]
    again = run_plan(planned({"prompts": rows}), tmp_path / "run")
    assert again.trajectories()["kind"].tolist() == ["thing", "plant"]
    assert open_run(run.path).start_columns == ["kind"]


# ---- through the command line ----------------------------------------------------------------------------------------


def loopsim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_compare_holds_the_levels_of_a_factor_against_each_other(finished: Run):
    options = ("--by", "who", "--measure", "late distance", "--modality", "text", "--permutations", 19, "--json")
    said = json.loads(loopsim("compare", finished.path, *options).stdout)
    cells = {(line["first"].split(",")[0], line["second"].split(",")[0]) for line in said["comparisons"]}
    assert cells == {("woman", "man")}, "the sea, which has no factors, is compared with nobody"
    unknown = loopsim("compare", finished.path, "--by", "whoo")
    assert unknown.exit_code == 2
    assert "--by whoo: there is no such column; known: " in unknown.stderr
    assert "age, who, thing" in unknown.stderr


def test_plot_says_that_a_factor_has_to_be_measured_first(finished: Run, tmp_path: Path):
    out = tmp_path / "figure.png"
    if not (finished.path / "measurements.parquet").exists():
        measure_run(finished)
    refused = loopsim("plot", "diversity", finished.path, "--by", "thing", "--out", out)
    assert refused.exit_code != 0
    assert f"`loopsim measure {finished.path} --by thing`, then plot with --by thing --pooled" in refused.stderr
    refused = loopsim("plot", "diversity", finished.path, "--where", "thing=cat", "--out", out)
    assert "thing is of the starts" in refused.stderr
    assert loopsim("measure", finished.path, "--by", "thing").exit_code == 0
    drawn = loopsim("plot", "diversity", finished.path, "--by", "thing", "--pooled", "--out", out)
    assert drawn.exit_code == 0, drawn.stderr
    assert set(pd.read_csv(out.with_suffix(".csv"))["thing"].dropna()) == {"cat", "none"}
    assert loopsim("plot", "map", finished.path, "--by", "thing", "--out", out).exit_code == 0


def test_what_is_exported_has_the_columns_and_keeps_them_when_it_is_imported(finished: Run, tmp_path: Path):
    whole = finished.trajectories().set_index("trajectory_id")
    table, folder = tmp_path / "steps.csv", tmp_path / "dataset"
    assert loopsim("export", finished.path, "--to", "table", "--out", table).exit_code == 0
    assert loopsim("export", finished.path, "--to", "huggingface", "--out", folder).exit_code == 0
    for rows in (pd.read_csv(table, keep_default_na=False), pq.read_table(next(folder.glob("data/*"))).to_pandas()):
        row = rows[rows["start"] == whole["start_id"].iloc[0]].iloc[0]
        assert [row["age"], row["who"], row["thing"]] == ["old", "woman", "cat"]
    done = loopsim("import", table, "--out", tmp_path / "theirs")
    assert done.exit_code == 0, done.stderr
    theirs = open_run(tmp_path / "theirs").trajectories()
    assert set(theirs["who"].dropna()) == {"woman", "man"}


def test_a_run_no_longer_needs_its_table(tmp_path: Path):
    path = write_table(tmp_path, "csv", ROWS)
    run = run_plan(planned({"file": str(path), "column": "caption"}), tmp_path / "run")
    path.unlink()
    assert open_run(run.path).trajectories()["tier"].tolist() == ["objects", "people", "people"]
    again = make_plan(load_experiment(run.path))
    assert [start.facts["tier"] for start in again.starts] == ["objects", "people", "people"]
    assert run_plan(again, run.path).count_steps() == run.count_steps()
