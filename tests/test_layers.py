"""The layering of the code, read from its imports, and what importing it must not import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    {"metrics", "loopsim"},  # `loopsim` alone holds the version and the public names
    {"loopsim.records", "loopsim.errors", "loopsim.paths"},
    {"loopsim.presets"},
    {"loopsim.catalog", "loopsim.seeds", "loopsim.experiment", "loopsim.images"},
    {"loopsim.starts"},
    {"loopsim.plan", "loopsim.seams"},
    {"loopsim.models", "loopsim.store"},
    {"loopsim.provenance", "loopsim.engine"},
    {"loopsim.executors"},
    {"loopsim.runner", "loopsim.embed", "loopsim.exchange", "loopsim.states", "loopsim.prompts", "loopsim.rehearsal"},
    {"loopsim.measure", "loopsim.verify"},
    {"loopsim.compare", "loopsim.certify", "loopsim.power", "loopsim.cite", "loopsim.costs"},
    {"loopsim.report"},
    {"loopsim.view"},
    {"loopsim.cli"},
    {"loopsim.__main__"},
)
"""Low to high. A module imports its own sub-package and lower layers, never a neighbour or a higher one."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def sources() -> dict[str, Path]:
    """Module name to file."""
    found = {}
    for package in ("loopsim", "metrics"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOURCES = sources()


def imported(module: str) -> Iterator[str]:
    """Every module that a module imports, wherever in it, type checking included."""
    for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if SOURCES[module].name == "__init__.py" else module.split(".")[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield whole if whole in SOURCES else source


def unit(module: str) -> str:
    """The name in `LAYERS` that a module belongs to."""
    parts = module.split(".")
    return "metrics" if parts[0] == "metrics" else ".".join(parts[:2])


def ours(module: str) -> set[str]:
    return {name for name in imported(module) if name.split(".")[0] in ("loopsim", "metrics", "experiments", "tests")}


def test_the_sources_are_found():
    assert {"loopsim", "loopsim.cli", "loopsim.models.base", "metrics.diversity"} <= set(SOURCES)
    assert "loopsim.plan" in ours("loopsim.store.create")


@pytest.mark.parametrize("module", SOURCES)
def test_every_module_has_a_layer(module: str):
    assert unit(module) in LEVEL


# `loopsim` itself offers names of every layer, lazily: what importing it brings is tested below.
@pytest.mark.parametrize("module", sorted(set(SOURCES) - {"loopsim"}))
def test_a_module_imports_only_its_own_package_and_lower_layers(module: str):
    here = unit(module)
    for name in ours(module):
        there = unit(name)
        assert there in LEVEL, f"{module} imports {name}"
        assert there == here or LEVEL[there] < LEVEL[here], f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", [m for m in SOURCES if unit(m) == "metrics"])
def test_metrics_know_nothing_of_loopsim(module: str):
    assert not any(name.split(".")[0] == "loopsim" for name in imported(module))


@pytest.mark.parametrize("module", [m for m in SOURCES if unit(m) == "metrics"])
def test_metrics_need_numpy_scipy_and_scikit_learn_only(module: str):
    roots = {name.split(".")[0] for name in imported(module)}
    assert roots - set(sys.stdlib_module_names) <= {"metrics", "numpy", "scipy", "sklearn"}


HEAVY = ("torch", "diffusers", "transformers", "open_clip", "pandas", "matplotlib")


def heavy_after(code: str, cwd: Path) -> list[str]:
    """The heavy libraries that a fresh interpreter holds after running code."""
    code += f"\nimport sys\nsys.stderr.write('loaded: ' + ' '.join(n for n in {HEAVY} if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.rpartition("loaded: ")[2].split()


def test_importing_loopsim_imports_nothing_heavy(tmp_path: Path):
    assert heavy_after("import loopsim", tmp_path) == []


def test_the_command_line_and_reading_an_experiment_import_nothing_heavy(tmp_path: Path):
    assert heavy_after("import loopsim.cli, loopsim.plan, loopsim.catalog", tmp_path) == []


@pytest.mark.parametrize("model", ["mock", "postcards"])
def test_planning_imports_no_torch(tmp_path: Path, model: str):
    (tmp_path / "e.yaml").write_text(
        f"name: try\niterations: 2\nstarts: [a boat]\ngenerator: {model}\ncaptioner: {model}\nembedders: {model}\n"
    )
    code = "from loopsim.cli import app\napp(['plan', 'e.yaml', '--json'], standalone_mode=False)"
    assert not {"torch", "diffusers", "transformers", "open_clip"} & set(heavy_after(code, tmp_path))
