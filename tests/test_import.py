"""Importing trajectories made elsewhere: what is stored, what is guessed, what is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from loopsim.cli import app
from loopsim.embed import embed_run
from loopsim.errors import LoopsimError, NothingToDraw, UsageError
from loopsim.exchange import import_run
from loopsim.exchange.roles import SYNONYMS, choose_columns
from loopsim.measure import measure_run
from loopsim.records import EMPTY_CAPTION
from loopsim.report.figures import draw
from loopsim.runner import read_branch
from loopsim.seeds import digest
from loopsim.states import states
from loopsim.store import Run, open_run

CHAINS = "trajectory,t,text\na,0,a red boat\na,1,a boat\na,2,a boat\nb,0,a red boat\nb,1,a ship\nb,2,the sea\n"


def picture(seed: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes a table; the suffix of the name says which kind."""

    def write(content: str | list[dict[str, Any]], name: str = "table.csv") -> Path:
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        elif path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(content), path)
        else:
            with path.open("w", newline="", encoding="utf-8") as handle:
                writer = csv.DictWriter(handle, list(dict.fromkeys(k for row in content for k in row)))
                writer.writeheader()
                writer.writerows(content)
        return path

    return write


def imported(path: Path, out: Path, **options: Any) -> tuple[Run, list[str]]:
    """The run, and the notices."""
    lines: list[str] = []
    return import_run(path, out, notice=lines.append, **options), lines


def cells(run: Run, *names: str) -> list[tuple]:
    frame = run.steps(["trajectory_id", "t", *names])
    return [tuple(row) for row in frame.itertuples(index=False)]


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_a_text_only_chain_becomes_a_run(table, out):
    run, notices = imported(table(CHAINS), out)
    assert cells(run, "text", "text_in") == [
        ("a", 0, "a red boat", None), ("a", 1, "a boat", "a red boat"), ("a", 2, "a boat", "a boat"),
        ("b", 0, "a red boat", None), ("b", 1, "a ship", "a red boat"), ("b", 2, "the sea", "a ship"),
    ]  # fmt: skip
    assert [list(flags) for flags in run.steps(["flags"])["flags"]] == [[], [], ["repeat"], [], [], []]
    trajectories = run.trajectories()
    assert trajectories["start_text"].tolist() == ["a red boat"] * 2
    assert trajectories["start_id"].tolist() == [digest(["text", "a red boat"])] * 2  # as an experiment's prompts
    assert trajectories["replicate"].tolist() == [0, 1]
    assert set(trajectories["condition"]) == set(trajectories["condition"][:1])
    assert trajectories["label"].tolist() == ["all", "all"]
    assert any("2 trajectories from 1 starts" in line for line in notices)
    assert run.iterations == 2
    assert run.count_steps() == (4, 4)
    assert run.name == "table"


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_every_kind_of_table_gives_the_same_run(table, out, name):
    rows = [
        {"trajectory": a, "t": t, "text": f'{a}, "said"\nat\t{t}', "temperature": 0.5} for a in "xy" for t in range(3)
    ]
    if name.endswith(".tsv"):
        lines = ["trajectory\tt\ttext\ttemperature"]
        lines += [f'{r["trajectory"]}\t{r["t"]}\t"{r["text"].replace(chr(34), chr(34) * 2)}"\t0.5' for r in rows]
        path = table("\n".join(lines), name)
    else:
        path = table(rows, name)
    run, _ = imported(path, out)
    assert cells(run, "text") == [(r["trajectory"], r["t"], r["text"]) for r in rows]
    assert run.trajectories()["temperature"].tolist() == [0.5, 0.5]


def test_rows_may_stand_in_any_order(table, out, tmp_path):
    lines = CHAINS.splitlines()
    shuffled = [lines[0], *(lines[i] for i in (6, 2, 1, 5, 3, 4))]
    run, _ = imported(table("\n".join(shuffled), "shuffled.csv"), out)
    straight, _ = imported(table(CHAINS), tmp_path / "straight")
    assert cells(run, "text", "text_in") == cells(straight, "text", "text_in")


def test_columns_that_others_name_otherwise_are_recognised_and_said(table, out):
    path = table(CHAINS.replace("trajectory,t,text", "run_id,Iteration,caption"))
    run, notices = imported(path, out)
    assert len(run.steps()) == 6
    for column, role in (("run_id", "trajectory"), ("Iteration", "t"), ("caption", "text")):
        assert f"the column {column!r} is taken as {role}" in notices


def test_every_synonym_is_one_role_s_only():
    names = [name for role, others in SYNONYMS.items() for name in (role, *others)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("role", "word"), [(role, word) for role, others in SYNONYMS.items() for word in others])
def test_each_synonym_is_taken_for_its_role(role, word):
    others = [name for name in ("trajectory", "t", "text") if name != role]
    assert choose_columns([*others, word], {}).roles[role] == word


def test_a_told_column_goes_before_a_guessed_one(table, out):
    path = table("who,when,caption,notes\nq,0,a,b\nq,1,c,d\n")
    run, notices = imported(path, out, columns={"trajectory": "who", "t": "when", "text": "notes"})
    assert [text for *_, text in cells(run, "text")] == ["b", "d"]
    assert any("left out: 'caption' (changes within a trajectory)" in line for line in notices)


def test_further_columns_are_factors_and_make_conditions(table, out):
    rows = [
        {"trajectory": f"{p}{c}{r}", "t": t, "text": f"{p} {t}", "model": c, "prompt_no": p, "score": t}
        for p in range(3) for c in "AB" for r in range(2) for t in range(2)
    ]  # fmt: skip
    run, notices = imported(table(rows), out)
    trajectories = run.trajectories()
    assert sorted(trajectories["label"].unique()) == ["model=A", "model=B"]
    assert trajectories["condition"].nunique() == 2
    assert trajectories["start_id"].nunique() == 3
    assert trajectories["prompt_no"].tolist() == [float(name[0]) for name in trajectories["trajectory_id"]]
    assert "score" not in trajectories
    assert sorted(trajectories["replicate"]) == [0] * 6 + [1] * 6
    assert any(line.startswith("2 conditions, by model;") for line in notices)
    assert any("prompt_no" in line and "comes with the start" in line for line in notices)


def test_given_conditions_starts_groups_and_replicates_are_kept(table, out):
    path = table(
        "trajectory,t,text,condition,start,group,replicate,generator,captioner\n"
        "a,0,x,hot,s1,far,0,G,C\na,1,y,hot,s1,far,0,G,C\nb,0,z,cold,s1,near,3,G,C\nb,1,w,cold,s1,near,3,G,C\n"
    )
    row = imported(path, out)[0].trajectories().set_index("trajectory_id").loc["b"]
    assert row[["condition", "label", "group", "start_id", "replicate"]].tolist() == ["cold", "cold", "near", "s1", 3]
    assert row[["generator", "captioner"]].tolist() == ["G", "C"]


def test_a_factor_with_a_name_of_loopsims_own_is_renamed(table, out):
    run, notices = imported(table("trajectory,t,text,value\na,0,x,5\na,1,y,5\n"), out)
    assert run.trajectories()["value_"].tolist() == [5.0]
    assert any("'value' is called 'value_'" in line for line in notices)


def test_ignored_columns_are_as_if_not_there(table, out):
    path = table("trajectory,t,text,caption,clip_sim,clip_norm\na,0,x,q,1,2\na,1,y,r,1,2\n")
    run, notices = imported(path, out, ignore=["caption", "clip_*"])
    assert not {"caption", "clip_sim", "clip_norm"} & set(run.trajectories())
    assert not any("clip" in line for line in notices)


def test_words_that_are_numbers_in_part_stay_words(table, out):
    rows = [{"trajectory": c, "t": 0, "text": c, "code": v} for c, v in zip("abc", ["007", "1", "2"], strict=True)]
    assert imported(table(rows), out)[0].trajectories()["code"].tolist() == ["007", "1", "2"]


def test_an_empty_text_is_stored_as_one_and_flagged(table, out):
    run, notices = imported(table("trajectory,t,text\na,0,x\na,1,\na,2,y\n"), out)
    assert cells(run, "text", "text_in") == [
        ("a", 0, "x", None),
        ("a", 1, EMPTY_CAPTION, "x"),
        ("a", 2, "y", EMPTY_CAPTION),
    ]
    assert list(run.steps(["flags"])["flags"][1]) == ["empty_caption"]
    assert any("1 texts are empty" in line for line in notices)


def test_given_flags_do_not_make_words_of_an_empty_text(table, out):
    rows = [("a", 0, "x", "repeat"), ("a", 1, "", "caption_truncated"), ("a", 2, "y", "repeat")]
    run, _ = imported(table([dict(zip(("trajectory", "t", "text", "flags"), r, strict=True)) for r in rows]), out)
    flags = [tuple(flags) for flags in run.steps(["flags"])["flags"]]
    assert flags == [("repeat",), ("empty_caption", "caption_truncated"), ("repeat",)]


def test_a_column_of_first_prompts_becomes_t_0(table, out):
    path = table("trajectory,t,caption,initial_prompt\na,0,one,go\na,1,two,go\nb,0,three,do\nb,1,four,do\n")
    run, notices = imported(path, out)
    assert cells(run, "text", "text_in") == [
        ("a", 0, "go", None), ("a", 1, "one", "go"), ("a", 2, "two", "one"),
        ("b", 0, "do", None), ("b", 1, "three", "do"), ("b", 2, "four", "three"),
    ]  # fmt: skip
    assert run.trajectories()["start_text"].tolist() == ["go", "do"]
    assert "start_text becomes t = 0, and every t of the table one more" in notices


def test_a_first_prompt_that_is_a_row_already_is_not_made_twice(table, out):
    path = table("trajectory,t,caption,initial_prompt\na,0,go,go\na,1,two,go\n")
    assert cells(imported(path, out)[0], "text") == [("a", 0, "go"), ("a", 1, "two")]


def test_trajectories_of_different_length_are_kept_to_their_end(table, out):
    run, notices = imported(table("trajectory,t,text\na,0,x\na,1,y\na,2,z\nb,0,x\nb,1,q\n"), out)
    assert run.iterations == 2
    assert run.count_steps() == (3, 3)
    assert any("1 of 2 trajectories end before t = 2" in line for line in notices)


def test_a_parent_says_whose_text_was_drawn(table, out):
    path = table("trajectory,t,text,parent\na,0,x,\na,1,y,b\nb,0,q,\nb,1,r,b\n")
    run, _ = imported(path, out)
    assert cells(run, "text_in", "parent") == [
        ("a", 0, None, "a"),
        ("a", 1, "q", "b"),
        ("b", 0, None, "b"),
        ("b", 1, "q", "b"),
    ]


# ---- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_stored_byte_for_byte(table, out, tmp_path, kind):
    (tmp_path / "pics").mkdir()
    for t in (1, 2):
        (tmp_path / "pics" / f"{t}.img").write_bytes(picture(t, kind))
    rows = [{"trajectory": "a", "t": t, "text": f"w{t}", "image": f"pics/{t}.img" if t else None} for t in range(3)]
    run, _ = imported(table(rows), out)
    assert run.pictures(["a"], [0, 1, 2]) == {("a", t): picture(t, kind) for t in (1, 2)}
    assert run.trajectories()["start_kind"].tolist() == ["text"]


def test_pictures_of_other_kinds_are_stored_as_png_with_the_same_pixels(table, out, tmp_path):
    (tmp_path / "a.bmp").write_bytes(picture(1, "BMP"))
    run, notices = imported(table("trajectory,t,image\na,0,a.bmp\n"), out)
    assert run.pictures(["a"], [0])["a", 0] == _as(picture(1, "PNG"), run.pictures(["a"], [0])["a", 0])
    assert "1 BMP pictures are stored as PNG" in notices


def _as(expected: bytes, found: bytes) -> bytes:
    """`found` where both have the same pixels."""
    pair = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in (expected, found)]
    np.testing.assert_array_equal(*pair)
    assert found.startswith(b"\x89PNG")
    return found


@pytest.mark.parametrize("layout", ["bytes", "struct", "path"])
def test_an_image_only_chain_from_parquet(table, out, tmp_path, layout):
    data = {(name, t): picture(10 * i + t) for i, name in enumerate("ab") for t in range(3)}
    data["b", 0] = data["a", 0]  # twins
    for (name, t), content in data.items():
        (tmp_path / f"{name}{t}.png").write_bytes(content)
    value = {
        "bytes": lambda key: data[key],
        "struct": lambda key: {"bytes": data[key], "path": None},
        "path": lambda key: {"bytes": None, "path": f"{key[0]}{key[1]}.png"},
    }[layout]
    rows = [{"trajectory": key[0], "t": key[1], "image": value(key)} for key in data]
    run, _ = imported(table(rows, "t.parquet"), out)
    assert run.pictures(["a", "b"], [0, 1, 2]) == data
    trajectories = run.trajectories()
    assert trajectories["start_kind"].tolist() == ["image", "image"]
    assert trajectories["start_id"].tolist() == [hashlib.sha256(data["a", 0]).hexdigest()[:12]] * 2
    assert run.steps(["text"])["text"].isna().all()
    embed_run(run, "mock")
    assert set(run.embeddings()["modality"]) == {"image"}


def test_black_and_constant_pictures_are_flagged(table, out, tmp_path):
    for name, level in (("black", 0), ("flat", 99)):
        Image.fromarray(np.full((4, 4, 3), level, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    run, _ = imported(table("trajectory,t,image\na,0,black.png\na,1,flat.png\n"), out)
    assert [list(f) for f in run.steps(["flags"])["flags"]] == [["black_image"], ["constant_image"]]


def test_transparency_is_said(table, out, tmp_path):
    (tmp_path / "a.png").write_bytes(picture(1, "PNG", "RGBA"))
    _, notices = imported(table("trajectory,t,image\na,0,a.png\n"), out)
    assert any("1 pictures are transparent in part" in line for line in notices)


# ---- half-steps ------------------------------------------------------------------------------------------------------


def test_half_steps_are_paired_into_iterations(table, out, tmp_path):
    for k in (1, 3):
        (tmp_path / f"{k}.png").write_bytes(picture(k))
    rows = "".join(f"a,{k},{'' if k % 2 else f'w{k}'},{f'{k}.png' if k % 2 else ''}\n" for k in range(5))
    run, _ = imported(table("trajectory,t,text,image\n" + rows), out, half_steps=True)
    assert cells(run, "text", "text_in") == [("a", 0, "w0", None), ("a", 1, "w2", "w0"), ("a", 2, "w4", "w2")]
    assert run.pictures(["a"], [0, 1, 2]) == {("a", 1): picture(1), ("a", 2): picture(3)}


def test_half_steps_may_begin_with_a_picture_and_end_with_one(table, out, tmp_path):
    for k in (0, 2):
        (tmp_path / f"{k}.png").write_bytes(picture(k))
    run, _ = imported(table("trajectory,t,text,image\na,0,,0.png\na,1,w,\na,2,,2.png\n"), out, half_steps=True)
    assert cells(run, "text", "text_in") == [("a", 0, "w", None), ("a", 1, None, "w")]
    assert run.trajectories()["start_kind"].tolist() == ["image"]


def test_vectors_of_half_steps_go_to_the_modality_of_their_row(table, out):
    rows = [
        {
            "trajectory": "a",
            "t": k,
            "embedding": [1.0, k],
            **({"image": picture(k + 1)} if k % 2 else {"text": f"w{k}"}),
        }
        for k in range(-1, 4)
    ]
    for row in rows:  # panic-tda counts from -1
        row["text"], row["image"] = row.get("text"), row.get("image")
    run, _ = imported(table(rows, "t.parquet"), out, half_steps=True)
    found = {(r.t, r.modality) for r in run.embeddings().itertuples()}
    assert found == {(0, "image"), (0, "text"), (1, "image"), (1, "text"), (2, "image")}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a,0,x,\na,1,y,\n", "line 3 (trajectory a, t 1): here is a text where the turn is an image's"),
        ("a,0,x,p.png\n", "line 2 (trajectory a, t 0): the row has both a text and an image"),
        ("a,0,x,\na,2,y,\n", "t 1 is missing (0 and 2 are there)"),
    ],
)
def test_half_steps_that_do_not_alternate_are_refused(table, out, tmp_path, rows, says):
    (tmp_path / "p.png").write_bytes(picture(0))
    with pytest.raises(UsageError) as error:
        import_run(table("trajectory,t,text,image\n" + rows), out, half_steps=True)
    assert says in str(error.value)


# ---- embeddings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "npy"])
def test_embeddings_are_stored_as_unit_vectors_of_what_the_row_has(table, out, tmp_path, form):
    vectors = {t: [float(t + 1), 2.0, -1.0] for t in range(3)}
    rows = [{"trajectory": "a", "t": t, "text": f"w{t}", "embedding": v} for t, v in vectors.items()]
    if form == "csv":
        rows = [row | {"embedding": json.dumps(row["embedding"])} for row in rows]
    if form == "npy":
        for t, vector in vectors.items():
            np.save(tmp_path / f"{t}.npy", np.asarray(vector))
        rows = [row | {"embedding": f"{row['t']}.npy"} for row in rows]
    run, notices = imported(table(rows, f"t.{'csv' if form == 'npy' else form}"), out, embedder_name="sbert/mini")
    found = run.embeddings("sbert/mini").sort_values("t")
    assert found["modality"].tolist() == ["text"] * 3
    expected = np.asarray([vectors[t] for t in range(3)])
    np.testing.assert_allclose(
        np.stack(found["vector"]), expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6
    )
    assert run.experiment["embedders"] == ["sbert/mini"]
    assert "vectors of 3 numbers are stored as 'sbert/mini'" in notices
    assert states(run, None, "text").vectors.shape == (1, 3, 3)
    with pytest.raises(UsageError, match="no image embeddings"):
        states(run, None, "image")


def test_given_vectors_are_never_made_anew(table, out):
    rows = [{"trajectory": "a", "t": t, "text": "x", "embedding": [1.0, t]} for t in range(2)]
    run, _ = imported(table(rows, "t.jsonl"), out, embedder_name="mock")
    before = run.embeddings()
    assert embed_run(run, "mock") == 0
    pd.testing.assert_frame_equal(run.embeddings(), before)


def test_vectors_alone_are_enough_when_told_what_they_are_of(table, out):
    rows = [{"trajectory": a, "t": t, "embedding": [1.0, t, float(t and ord(a))]} for a in "ab" for t in range(2)]
    path = table(rows, "t.jsonl")
    with pytest.raises(UsageError, match="is the embedding of a text or of a picture"):
        import_run(path, out)
    assert not out.exists()
    run, _ = imported(path, out, modality="image")
    assert run.trajectories()["start_kind"].tolist() == ["image"] * 2
    assert run.trajectories()["start_id"].nunique() == 1  # the same vector at t = 0
    assert states(run).vectors.shape == (2, 2, 3)


def test_vectors_alone_cannot_be_embedded(table, out):
    run, _ = imported(table([{"trajectory": "a", "t": 0, "embedding": [1.0]}], "t.jsonl"), out, modality="text")
    with pytest.raises(UsageError, match="neither texts nor pictures that mock could embed"):
        embed_run(run, "mock")
    assert run.embedder_names() == ["given"]


def test_texts_and_pictures_in_spaces_of_different_size_are_two_embedders(table, out):
    rows = [
        {"trajectory": "a", "t": t, "text": "x", "text_embedding": [1.0, t], "image_embedding": [1.0, t, 2.0]}
        for t in range(2)
    ]
    run, _ = imported(table(rows, "t.jsonl"), out)
    assert run.embedder_names() == ["given", "given-image"]
    same = [row | {"image_embedding": [0.5, 1.0]} for row in rows]
    other, _ = imported(table(same, "u.jsonl"), out.with_name("other"))
    assert other.embedder_names() == ["given"]
    assert set(other.embeddings()["modality"]) == {"text", "image"}


# ---- provenance, and being a run -------------------------------------------------------------------------------------


def test_the_manifest_says_where_it_came_from(table, out):
    path = table(CHAINS.replace("text", "caption"))
    run, notices = imported(path, out)
    source = run.manifest["imported"]
    assert source["source"] == str(path)
    assert source["files"] == [
        {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    ]
    assert source["columns"]["roles"] == {"trajectory": "trajectory", "t": "t", "text": "caption"}
    assert source["rows"] == 6
    assert source["notices"] == notices
    assert source["when"] <= run.manifest["created"]
    assert run.imported == str(path)
    assert run.manifest["provenance"]["loopsim"]


def test_a_run_can_branch_from_an_imported_step(table, out):
    run, _ = imported(table(CHAINS + "ab,0,q\nab,1,r\n"), out)
    start = read_branch(f"{run.path}/a/1", "all")
    assert (start.text, start.t0, start.parent) == ("a boat", 1, "a@1")


def test_runs_of_texts_or_pictures_only_are_measured_and_drawn(table, tmp_path):
    for kind, state in (("text", lambda k: f"word{k}"), ("image", picture)):
        rows = [{"trajectory": a, "t": t, kind: state(ord(a) + t)} for a in "abcd" for t in range(4)]
        run, _ = imported(table(rows, f"{kind}.parquet"), tmp_path / kind)
        embed_run(run, "mock")
        assert set(measure_run(run)["modality"].dropna()) == {kind}
        if kind == "image":
            draw(run, "filmstrip")
        else:
            with pytest.raises(NothingToDraw, match="imported as texts or vectors"):
                draw(run, "filmstrip")


def test_a_large_table_is_cut_into_cohorts(table, out):
    rows = [{"trajectory": f"r{i}", "t": t, "text": f"w{i} {t}"} for i in range(150) for t in range(2)]
    run, _ = imported(table(rows), out)
    assert [len(members) for members in run.cohorts.values()] == [64, 64, 22]
    assert len(run.steps()) == 300
    run.compact()
    assert len(run.steps()) == 300


# ---- layouts of others -----------------------------------------------------------------------------------------------


def write_mollah(root: Path, names: tuple[str, ...] = ("cat", "dog")) -> None:
    """Two trajectories a half, three generations, as their README and preparation script lay them out."""
    for half, texts in (("text-first", (0, 2)), ("image-first", (1,))):
        (root / half).mkdir(parents=True)
        for k in range(3):
            if k in texts:
                lines = [f'{name}.png,"{half} {name}, {k}"' for name in names]
                (root / half / f"gen-{k}.csv").write_text("filename,caption\n" + "\n".join(lines) + "\n")
            else:
                (root / half / f"gen-{k}").mkdir()
                for i, name in enumerate(names):
                    (root / half / f"gen-{k}" / f"{name}.png").write_bytes(picture(10 * i + k))
    (root / "text-first" / "gen-0").mkdir()  # their preparation leaves it, empty


def test_the_layout_of_mollah_is_read_as_half_steps(tmp_path, out):
    write_mollah(tmp_path / "data")
    run, notices = imported(tmp_path / "data", out)
    assert cells(run, "text") == [
        ("image-first-cat", 0, "image-first cat, 1"), ("image-first-cat", 1, None),
        ("image-first-dog", 0, "image-first dog, 1"), ("image-first-dog", 1, None),
        ("text-first-cat", 0, "text-first cat, 0"), ("text-first-cat", 1, "text-first cat, 2"),
        ("text-first-dog", 0, "text-first dog, 0"), ("text-first-dog", 1, "text-first dog, 2"),
    ]  # fmt: skip
    assert run.pictures(["text-first-dog", "image-first-cat"], [0, 1]) == {
        ("text-first-dog", 1): picture(11), ("image-first-cat", 0): picture(0), ("image-first-cat", 1): picture(2)
    }  # fmt: skip
    trajectories = run.trajectories().set_index("trajectory_id")
    assert trajectories["group"].to_dict() == {name: name[:-4] for name in trajectories.index}
    assert any("the trajectories' names say which" in line for line in notices)
    assert len(run.manifest["imported"]["files"]) == 3


def test_captions_in_latin_1_are_read_as_their_code_reads_them(tmp_path, out):
    (tmp_path / "d" / "text-first").mkdir(parents=True)
    (tmp_path / "d" / "text-first" / "gen-0.csv").write_bytes("filename,caption\na.png,café\n".encode("latin1"))
    run, notices = imported(tmp_path / "d", out)
    assert cells(run, "text") == [("a", 0, "café")]
    assert any("read as Latin-1" in line for line in notices)


def test_a_folder_of_folders_is_a_condition_each(tmp_path, out):
    for name in ("bagel", "vila"):
        write_mollah(tmp_path / "data" / name)
    trajectories = imported(tmp_path / "data", out)[0].trajectories()
    assert trajectories["condition"].value_counts().to_dict() == {"bagel": 4, "vila": 4}
    assert "bagel-text-first-cat" in set(trajectories["trajectory_id"])


def test_the_documented_lines_import_a_dump_of_panic_tda(tmp_path, out, monkeypatch):
    # Columns as its `mix experiment.export_data` writes them, of those that matter.
    runs = [
        {"id": f"r{i}", "network": '["FLUX","Moondream"]', "run_number": i, "initial_prompt": "a fish"} for i in (0, 1)
    ]
    steps = [
        {"id": f"{r['id']}-{k}", "run_id": r["id"], "sequence_number": k, "type": "text" if k % 2 else "image",
         "output_text": f"said {k}" if k % 2 else None, "model": "M"}
        for r in runs for k in range(4)
    ]  # fmt: skip
    vectors = [
        {"invocation_id": s["id"], "embedding_model": "nomic", "vector": [1.0, s["sequence_number"]]}
        for s in steps if s["type"] == "text"
    ]  # fmt: skip
    for name, rows in (("runs", runs), ("invocations", steps), ("embeddings", vectors)):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    monkeypatch.chdir(tmp_path)
    exec(_documented("panic-tda"), {})
    run, _ = imported(Path("panic.parquet"), out, embedder_name="nomic")
    assert cells(run, "text") == [(r, t, x) for r in ("r0", "r1") for t, x in enumerate(("a fish", "said 1", "said 3"))]
    trajectories = run.trajectories()
    assert trajectories["replicate"].tolist() == [0, 1]
    assert trajectories["condition"].tolist() == ['["FLUX","Moondream"]'] * 2
    assert len(run.embeddings("nomic")) == 4


def test_the_documented_line_imports_a_run_of_vlm_iterative_loss(tmp_path, out, monkeypatch):
    folder = tmp_path / "RUN"
    (folder / "images").mkdir(parents=True)
    header = "image_id,iteration,caption,similarity_to_original,vision_converged,error\n"
    rows = "".join(f"{i},{t},said {i} {t},0.{t}5,{t > 0},\n" for i in range(2) for t in range(2))
    (folder / "RUN_iteration_results.csv").write_text(header + rows)
    for i in range(2):
        for t in range(2):
            name = f"p_img{i:03d}_iter{t}_{'generated' if t else 'original'}.png"
            (folder / "images" / name).write_bytes(picture(10 * i + t))
    captions, _ = imported(folder / "RUN_iteration_results.csv", out)
    assert cells(captions, "text") == [(str(i), t, f"said {i} {t}") for i in range(2) for t in range(2)]
    monkeypatch.chdir(folder)
    exec(_documented("vlm-iterative-loss"), {})
    run, _ = imported(Path("vlm.csv"), tmp_path / "with pictures")
    assert run.pictures(["1"], [0, 1]) == {("1", 0): picture(10), ("1", 1): picture(11)}
    assert run.trajectories()["start_kind"].tolist() == ["image"] * 2


def test_the_documented_lines_import_a_telephone_game(tmp_path, out, monkeypatch):
    folder = tmp_path / "Results" / "Llama" / "rephrase" / "Difficulty1" / "seed_1"
    folder.mkdir(parents=True)
    (folder / "output0.json").write_text(json.dumps({"initial_story": "once", "stories": [["once"], ["twice"]]}))
    monkeypatch.chdir(tmp_path)
    exec(_documented("TelephoneGameLLM"), {})
    run, _ = imported(Path("telephone.jsonl"), out)
    assert [text for *_, text in cells(run, "text")] == ["once", "twice"]
    assert run.trajectories()["condition"].tolist() == ["Llama, rephrase"]


def _documented(name: str) -> str:
    """The first block of Python under a heading of the documentation."""
    text = (Path(__file__).parent.parent / "docs" / "import-export.md").read_text(encoding="utf-8")
    return text.split(f"### {name}", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]


# ---- through the command line, and what is refused -------------------------------------------------------------------


def loopsim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def message(result: Result, status: int) -> str:
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == status, result.output
    return result.stderr.partition("loopsim: ")[2]


def test_the_command_says_what_it_made_and_what_to_do_next(table, out):
    result = loopsim("import", table(CHAINS), "--out", out)
    assert result.exit_code == 0, result.output
    assert "table: 2 trajectories from 1 starts in 1 conditions, 6 states, up to 2 iterations" in result.stdout
    assert f"loopsim measure {out}" in result.stdout
    status = json.loads(loopsim("status", out, "--json").stdout)
    assert (status["steps"], status["total"], status["failed"]) == (4, 4, 0)


def test_json_has_the_counts(table, out):
    counts = json.loads(loopsim("import", table(CHAINS), "--out", out, "--name", "mine", "--json").stdout)
    assert (counts["name"], counts["trajectories"], counts["starts"], counts["rows"]) == ("mine", 2, 1, 6)


def test_an_imported_run_is_not_gone_on_with(table, out, tmp_path):
    loopsim("import", table(CHAINS), "--out", out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    experiment = {"name": "x", "iterations": 3, "starts": ["a"], "generator": "mock", "captioner": "mock"}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment | {"embedders": "mock"}))
    text = message(loopsim("run", tmp_path / "e.yaml", "--out", out), 2)
    assert "was imported from" in text
    assert "cannot go on with it. Choose another --out" in text
    assert "there is nothing to run" in message(loopsim("run", out), 2)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


BAD: list[tuple[str, str, list[str], str]] = [
    ("t.csv", "", [], "the file is empty"),
    ("t.csv", "trajectory,t,text\n", [], "holds no rows"),
    ("t.csv", "\n", [], "line 1 must name the columns"),
    ("t.csv", "who,t,text\na,0,x\n", [], "which column is 'trajectory'? None is named trajectory, "),
    ("t.csv", "trajectory,text\na,x\n", [], "which column is 't'?"),
    ("t.csv", "trajectory,t\na,0\n", [], "it needs a column text, image or embedding"),
    ("t.csv", "trajectory,t,text,t\na,0,x,1\n", [], "two columns are named 't'"),
    ("t.csv", "trajectory,t,text\na,0,x\na,0,y\n", [], "line 3 (trajectory a, t 0): there is a row of that"),
    ("t.csv", "trajectory,t,text\na,0,x\na,2,y\n", [], "trajectory a: t 1 is missing (0 and 2 are there); "),
    ("t.csv", "trajectory,t,text\na,0.5,x\n", [], "line 2 (trajectory a, t 0.5): t must be a whole number, not '0.5'"),
    ("t.csv", "trajectory,t,text\na,one,x\n", [], "t must be a whole number"),
    ("t.csv", "trajectory,t,text\na,,x\n", [], "t is missing"),
    ("t.csv", "trajectory,t,text\n,0,x\n", [], "trajectory is missing"),
    ("t.csv", "trajectory,t,text\na,-1,x\n", [], "t is -1; it must be 0 or more"),
    ("t.csv", "trajectory,t,text\na,0,x,y\n", [], "line 2: 4 cells where the header has 3"),
    ("t.csv", 'trajectory,t,text\na,0,"x\n', [], "is not CSV"),
    ("t.csv", "trajectory,t,text,image\na,0,,\n", [], "the row has no text, image or embedding"),
    ("t.csv", "trajectory,t,image\na,0,no.png\na,1,nope.png\n", [], "2 pictures named in 'image' are not there"),
    ("t.csv", "trajectory,t,text,start\na,0,x,p\na,1,y,q\n", [], "start is 'q' here, and 'p' above"),
    ("t.csv", "trajectory,t,text,start\na,0,x,p\nb,0,y,\n", [], "start: trajectory b has none"),
    ("t.csv", "trajectory,t,text,replicate\na,0,x,0\nb,0,x,0\n", [], "trajectories a and b are both replicate 0"),
    ("t.csv", "trajectory,t,text,replicate\na,0,x,one\n", [], "trajectory a: replicate must be a whole number"),
    ("t.csv", "trajectory,t,text,parent\na,0,x,\na,1,y,z\n", [], "parent 'z' is no trajectory of this table"),
    ("t.csv", "trajectory,t,text,flags\na,0,x,odd\n", [], "flags: 'odd' is none of loopsim's"),
    ("t.csv", "trajectory,t,text,generator_seed\na,0,x,-4\n", [], "generator_seed is -4; it must be at least 0"),
    ("t.csv", "trajectory,t,text,embedding\na,0,x,\"[1, 2\"\n", [], "an embedding must be a list of numbers"),
    ("t.csv", "trajectory,t,text,embedding\na,0,x,gone.npy\n", [], "the embedding gone.npy cannot be read"),
    ("t.jsonl", '{"trajectory": "a", "t": 0, "text": "x"}\n{"trajectory": "a"', [], "line 2: is not JSON"),
    ("t.jsonl", "[1]\n", [], "line 1: must be an object"),
    ("t.jsonl", '{"trajectory": 1, "t": 0, "text": "x"}\n{"trajectory": "1", "t": 1, "text": "x"}', [],
     "line 2 (trajectory 1, t 1): trajectory is text here, and not above"),
    ("t.jsonl", '{"trajectory": "a", "t": true, "text": "x"}', [], "t must be a whole number, not True"),
    ("t.jsonl", '{"trajectory": "a", "t": 0, "text": 5}', [], "text must be text, not 5"),
    ("t.jsonl", '{"trajectory": "a", "t": 0, "text": "x", "embedding": [1, NaN]}', [], "a number that is not finite"),
    ("t.jsonl", '{"trajectory": "a", "t": 0, "text": "x", "embedding": [0, 0]}', [], "zero: it has no direction"),
    ("t.jsonl", '{"trajectory": "a", "t": 0, "text": "x", "embedding": []}', [], "its shape is (0,)"),
    ("t.jsonl", '{"trajectory": "a", "t": 0, "text": "x", "embedding": [1, "q"]}', [], "must be a list of numbers"),
    ("t.jsonl", '{"trajectory": 0, "t": 0, "embedding": [1, 2]}\n{"trajectory": 0, "t": 1, "embedding": [1]}', [],
     "line 2 (trajectory 0, t 1): the embedding has 1 numbers, the others 2"),
    ("t.parquet", "no parquet", [], "cannot be read as Parquet"),
    ("t.xlsx", "x", [], "what kind of table is this? Known: .csv, .tsv, .jsonl, .parquet"),
    ("t.csv", CHAINS, ["--column", "t"], "--column 't': must be ROLE=NAME"),
    ("t.csv", CHAINS, ["--column", "t=tt"], "--column t=tt: "),
    ("t.csv", CHAINS, ["--column", "t=text", "--column", "text=text"], "'text' cannot be both t and text"),
    ("t.csv", CHAINS, ["--column", "t=t", "--column", "t=text"], "--column t: is given twice"),
    ("t.csv", CHAINS, ["--column", "cohort=text"], "'cohort' is a name of loopsim's own"),
    ("t.csv", CHAINS, ["--ignore", "nope"], "--ignore nope: "),
    ("t.csv", CHAINS, ["--modality", "sound"], "--modality sound: it is text or image"),
    ("t.csv", CHAINS, ["--embedder-name", " "], "--embedder-name: a name is needed"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "options", "says"), BAD)
def test_what_cannot_be_understood_is_said_and_nothing_is_made(tmp_path, name, content, options, says):
    (tmp_path / name).write_text(content, encoding="utf-8")
    text = message(loopsim("import", tmp_path / name, "--out", tmp_path / "out", *options), 2)
    assert says in text
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_gaps_may_be_allowed(table, out):
    run, _ = imported(table("trajectory,t,text\na,0,x\na,2,y\n"), out, allow_gaps=True)
    assert cells(run, "text", "text_in") == [("a", 0, "x", None), ("a", 2, "y", None)]


def test_pictures_that_cannot_be_read_are_listed_three_of_them(table, tmp_path):
    for k in range(5):
        (tmp_path / f"{k}.png").write_bytes(picture(k)[:60] if k else picture(k))
    path = table("trajectory,t,image\n" + "".join(f"a,{k},{k}.png\n" for k in range(5)))
    text = message(loopsim("import", path, "--out", tmp_path / "out"), 2)
    assert "4 pictures cannot be read" in text
    assert text.count("cannot be read as an image") == 3
    assert "line 3 (trajectory a, t 1)" in text
    assert "… and 1 more" in text
    assert not list(tmp_path.glob("*out*"))


def test_text_that_is_not_utf_8_is_refused_with_the_way_to_convert_it(tmp_path):
    (tmp_path / "t.csv").write_bytes("trajectory,t,text\na,0,café\n".encode("latin1"))
    text = message(loopsim("import", tmp_path / "t.csv", "--out", tmp_path / "out"), 2)
    assert "is not UTF-8" in text
    assert "iconv" in text


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_place_that_is_taken_is_refused(table, out, kind):
    out.mkdir() if kind == "folder" else out.write_text("mine")
    assert "is there already" in message(loopsim("import", table(CHAINS), "--out", out), 2)
    assert out.is_dir() if kind == "folder" else out.read_text() == "mine"


def test_a_source_that_is_not_there_or_is_no_layout_is_refused(tmp_path):
    assert "there is no such file" in message(loopsim("import", tmp_path / "no.csv", "--out", tmp_path / "o"), 2)
    (tmp_path / "empty").mkdir()
    assert "text-first/" in message(loopsim("import", tmp_path / "empty", "--out", tmp_path / "o"), 2)


def test_a_run_directory_is_told_from_a_folder_of_tables(table, out, tmp_path):
    imported(table(CHAINS), out)
    text = " ".join(message(loopsim("import", out, "--out", tmp_path / "again"), 2).split())
    assert "is a run directory already" in text
    assert "loopsim measure" in text
    assert "has other columns" not in text
    assert not (tmp_path / "again").exists()
    # A data set may come with a manifest of its own.
    folder = tmp_path / "dataset"
    folder.mkdir()
    table([{"trajectory": "a", "t": t, "text": f"x {t}"} for t in range(3)], "t.parquet").rename(folder / "t.parquet")
    (folder / "manifest.json").write_text("{}")
    assert len(imported(folder, tmp_path / "fine")[0].steps()) == 3


def test_a_full_disk_leaves_nothing(table, out, monkeypatch):
    import os

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "no space left on the disk" in message(loopsim("import", table(CHAINS), "--out", out), 1)
    assert [p.name for p in out.parent.iterdir()] == ["table.csv"]


VALUES = st.one_of(
    st.none(), st.integers(-3, 3), st.floats(), st.text(max_size=3), st.booleans(), st.lists(st.floats(), max_size=2)
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys(("trajectory", "t", "text", "embedding", "x"), VALUES)), max_size=4)
)
def test_no_table_ends_in_anything_but_a_run_or_a_message(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        run = import_run(path, folder / "out")
    except LoopsimError:
        assert not (folder / "out").exists()
    else:
        assert len(open_run(run.path).steps()) == len(rows)
