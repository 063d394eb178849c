"""What to cite: each reference once, for what was really used, and no reference that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from loopsim import catalog, cite
from loopsim.cite import uses
from loopsim.cite.references import TABLE
from loopsim.cli import app
from loopsim.embed import embed_run
from loopsim.exchange import import_run
from loopsim.measure import METRICS, measure_run
from loopsim.runner import run_plan
from loopsim.store import Run


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Imported texts whose models are named, one of them unknown."""
    folder = tmp_path_factory.mktemp("cite")
    rows = [
        {"trajectory": c, "t": t, "text": f"a {w} boat {t}", "generator": "sdxl", "captioner": "somebody/unheard-of"}
        for c, w in zip("abcd", ("red", "big", "old", "far"), strict=True)
        for t in range(4)
    ]
    pd.DataFrame(rows).to_parquet(folder / "chains.parquet")
    run = import_run(folder / "chains.parquet", folder / "run", notice=lambda _: None)
    embed_run(run, "mock")
    measure_run(run)
    return run


def keys(run: Run) -> set[str]:
    return {one.reference.key for one in cite.citations(run).cited}


def test_every_key_that_is_cited_is_in_the_table_and_every_entry_is_cited_for_something():
    tables = (uses.MEASURES, uses.SUMMARIES, uses.INTERVALS, uses.ADAPTERS, *uses.MODELS.values())
    used = {key for table in tables for found in table.values() for key in found}
    used |= {*uses.MEASURING, *uses.DRAWING, "loopsim", "hintze2025"}
    assert used == set(TABLE)


def test_every_measure_and_model_that_is_cited_for_exists():
    assert set(uses.MEASURES) <= {name.partition(":")[0] for name in METRICS}
    assert set(uses.SUMMARIES) <= {name.partition(":")[2] for name in METRICS}
    for role, table in uses.MODELS.items():
        assert set(table) <= {entry.name for entry in catalog.ENTRIES if entry.role == role}


def test_every_entry_is_whole():
    for key, one in TABLE.items():
        assert key == one.key
        assert one.title
        assert all(", " in name or name.startswith("{") or name == "others" for name in one.authors), key
        if one.kind == "article":
            assert one.fields["journal"], key
        if one.kind == "inproceedings":
            assert one.fields["booktitle"], key
        if "eprint" in one.fields:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", one.fields["eprint"]), key
        if "doi" in one.fields:
            assert one.fields["doi"].startswith("10."), key
        assert one.year is None or 1900 < one.year < 2030


def test_the_origin_of_the_protocol_is_cited_by_value():
    one = TABLE["hintze2025"]
    assert one.authors == ("Hintze, Arend", "Proschinger Åström, Frida", "Schossau, Jory")
    assert one.fields["doi"] == "10.1016/j.patter.2025.101451"
    assert (one.fields["journal"], one.fields["volume"], one.fields["number"]) == ("Patterns", "7", "1")


def test_a_run_cites_its_measures_and_models_and_names_those_without_a_reference(texts: Run):
    found = cite.citations(texts)
    assert [one.reference.key for one in found.cited[:2]] == ["loopsim", "hintze2025"]
    assert {"friedman2023", "podell2023", "kaplan1958", "harris2020"} <= keys(texts)
    assert found.unknown == ("captioner somebody/unheard-of",)
    why = {one.reference.key: one.why for one in found.cited}
    assert "generator sdxl" in why["podell2023"]
    assert "measure vendi" in why["friedman2023"]
    # Their models ran elsewhere, and the mock embedder needs no library.
    assert not {"vonplaten2022", "wolf2020", "paszke2019"} & keys(texts)


def test_nothing_is_cited_for_what_was_not_measured(planned, out: Path):
    run = run_plan(planned(iterations=1), out)
    assert keys(run) == {"loopsim", "hintze2025"}


def test_what_ships_is_cited_with_loopsim_and_its_libraries_are_cited(planned, out: Path):
    run = run_plan(planned(iterations=1), out)
    table = run.trajectories().assign(generator="postcards", captioner="postcards")
    table.to_parquet(out / "trajectories.parquet")
    found = cite.citations(run)
    assert found.unknown == ()
    assert {"vonplaten2022", "wolf2020", "paszke2019"} <= {one.reference.key for one in found.cited}


def test_weights_on_top_are_named_unless_they_belong_to_the_model(planned, out: Path):
    run = run_plan(planned(iterations=1), out)
    own = catalog.find("generator", "sdxl-lightning").defaults["loras"]
    table = run.trajectories().assign(generator="sdxl-lightning")
    table["generator.loras"] = own
    table.to_parquet(out / "trajectories.parquet")
    assert cite.citations(run).unknown == ()
    table["generator.loras"] = "somebody/a-lora"
    table.to_parquet(out / "trajectories.parquet")
    assert cite.citations(run).unknown == ("generator somebody/a-lora",)


def test_bibtex_can_be_read_and_keys_are_there_once(texts: Run):
    text = cite.bibtex(cite.citations(texts))
    entries = re.findall(r"^@(\w+)\{([^,]+),$", text, re.M)
    assert len({key for _, key in entries}) == len(entries) == len(keys(texts))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count("{") == body.count("}")
    assert "% no reference is known for certain: captioner somebody/unheard-of; see its model card" in text
    assert "author = {Hintze, Arend and Proschinger Åström, Frida and Schossau, Jory}" in text
    assert not re.search(r"(?<!\\)&", body)


def test_the_command_prints_bibtex_or_text(texts: Run):
    made = CliRunner().invoke(app, ["cite", str(texts.path)])
    assert made.exit_code == 0
    assert "@article{hintze2025," in made.stdout
    text = CliRunner().invoke(app, ["cite", str(texts.path), "--text"]).stdout
    assert "Hintze, Arend, Proschinger Åström, Frida and Schossau, Jory (2025)." in text
    assert "Patterns 7(1):101451. https://doi.org/10.1016/j.patter.2025.101451" in text
    assert "Podell, Dustin, English, Zion, Lacey, Kyle et al. (2023)." in text
    assert "@" not in text
    none = CliRunner().invoke(app, ["cite", str(texts.path / "nowhere")])
    assert none.exit_code == 2
    assert "there is no run here" in none.stderr
