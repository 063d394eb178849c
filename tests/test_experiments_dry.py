"""Every study's own file, carried out end to end on models that take no time: no run fails for reasons of the file.

The models keep their names, defaults and checks; what is loaded for them is `mock`. Starts and iterations are few, the
rest is as in the file: conditions, chains, templates, controls, instructions, replicates. The commands of the READMEs
are tried on what comes of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from loopsim import catalog
from loopsim.cli import app
from loopsim.compare import Settings
from loopsim.compare.cells import cells_of
from loopsim.embed import embed_run
from loopsim.experiment import load_experiment
from loopsim.measure import Options, measure_run
from loopsim.plan import make_plan
from loopsim.runner import run_plan
from loopsim.store import open_run

ROOT = Path(__file__).resolve().parent.parent
STUDIES = sorted(
    path
    for path in (ROOT / "experiments").glob("*/*.yaml")
    if not path.name.startswith("postcards") and "embedders: postcards" not in path.read_text(encoding="utf-8")
)
FOLDERS = list(dict.fromkeys(path.parent for path in STUDIES))


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model known by name is loaded as `mock`, and draws small pictures."""
    mocks = {entry.role: entry for entry in catalog.ENTRIES if entry.name == "mock"}

    def as_mock(entry: catalog.Entry) -> catalog.Entry:
        mock = mocks[entry.role]
        size = {"size": "16x16"} if entry.role == "generator" else {}
        return replace(entry, adapter=mock.adapter, location=mock.location, defaults={**entry.defaults, **size})

    monkeypatch.setattr(catalog, "ENTRIES", tuple(map(as_mock, catalog.ENTRIES)))


def few(raw: dict[str, Any]) -> list[str]:
    """Overrides that leave few starts of each group, two iterations and small pictures."""
    starts = raw["starts"]
    if isinstance(starts, str):
        out = [f"starts={{file: {starts}, limit: 2}}"]
    else:
        out = [
            f"starts.{i}.{'limit=2' if 'file' in group and 'sample' not in group else 'sample=2'}"
            for i, group in enumerate(starts)
            if "images" not in group
        ]
    if isinstance(raw.get("generator"), dict) and "size" in raw["generator"]:
        out.append("generator.size=16x16")
    return [*out, "iterations=2", "image_format=png"]


def said(arguments: Sequence[str]) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, f"loopsim {shlex.join(arguments)}: {done.output}"
    return done.output


def commands(folder: Path, runs: Path) -> list[list[str]]:
    """What the README of a study does with what was run, there and with few permutations."""
    block = (folder / "README.md").read_text(encoding="utf-8").split("**Command.**")[1].split("```")[1]
    out = []
    for line in re.findall(r"^loopsim ((?:compare|measure|certify) .*)$", block.replace("\\\n", ""), re.MULTILINE):
        words = [re.sub("^runs/", f"{runs}/", word) for word in shlex.split(line, comments=True)]
        out.append([*words, "--permutations", "19"] if words[0] == "compare" else words)
    return out


def pooled(command: Sequence[str]) -> list[str]:
    """The cells of a comparison that hold trajectories of several conditions."""
    by = command[command.index("--by") + 1] if "--by" in command else "condition"
    tables = [open_run(Path(word)).trajectories().assign(run=word) for word in command[1:] if Path(word).is_dir()]
    table = pd.concat(tables).reset_index(drop=True)
    families = cells_of(table, Settings(by=by), len(tables) > 1)
    return [cell.name for cells in families for cell in cells if table[cell.rows]["condition"].nunique() > 1]


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_a_study_is_carried_out_as_its_files_say_and_its_readme_goes_on(folder: Path, mocked: None, tmp_path: Path):
    for path in [path for path in STUDIES if path.parent == folder]:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        plan = make_plan(load_experiment(path, few(raw)))
        run = run_plan(plan, tmp_path / raw["name"], threads=1)
        assert not len(run.failures())
        assert len(run.steps(["t"])) == plan.steps + len(plan.trajectories)
        for name in plan.experiment.embedders:
            embed_run(run, name)
        measure_run(run, Options(families=("drift", "attribution")))
    for command in commands(folder, tmp_path):
        said(command)
        if command[0] == "compare":  # a comparison of pooled conditions answers another question
            assert not pooled(command), shlex.join(command)
