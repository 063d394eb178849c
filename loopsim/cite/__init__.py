"""What to cite for a run: loopsim, the protocol's origin, the measures, the models, the libraries.

The facts come from one table, `loopsim.cite.references`; what is cited for what is in `loopsim.cite.uses`. Only what
was really used is listed, and a model without a reference that is known for certain is named as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
import pyarrow.parquet as pq

from loopsim import catalog
from loopsim.cite import uses
from loopsim.cite.references import TABLE, Reference
from loopsim.errors import ModelError
from loopsim.presets.hosted import is_hosted
from loopsim.store import Run
from loopsim.store.shards import reading

__all__ = ["Citation", "Citations", "Reference", "bibtex", "citations", "text"]


@dataclass(frozen=True)
class Citation:
    """One reference, and what of the run it is cited for."""

    reference: Reference
    """What to cite."""
    why: tuple[str, ...]
    """Such as `measure vendi`, `generator sdxl`, `library diffusers`."""


@dataclass(frozen=True)
class Citations:
    """What to cite for a run."""

    cited: tuple[Citation, ...]
    """loopsim first, then the protocol, measures, models and libraries; each reference once."""
    unknown: tuple[str, ...]
    """Models without a reference that is known for certain, such as `captioner qwen3-vl-8b`: see their cards."""


def citations(run: Run) -> Citations:
    """What to cite for a run, from its models, its measurements and its embeddings.

    Raises:
        StoreError: the run cannot be read.
    """
    why: dict[str, list[str]] = {}
    unknown: list[str] = []

    def cite(keys: Iterable[str], reason: str) -> None:
        for key in keys:
            reasons = why.setdefault(key, [])
            if reason not in reasons:
                reasons.append(reason)

    cite(("loopsim",), "the software, and the models that ship with it")
    cite(("hintze2025",), "the protocol")
    measured = list(_measures(run))
    for keys, reason in measured:
        cite(keys, reason)
    adapters: list[str] = []
    for role, name in _models(run):
        found, adapter = _model(role, name)
        if found is None:
            unknown.append(f"{role} {name}")
        else:
            cite(found, f"{role} {name}")
        # Somebody else's models were run by somebody else's software.
        if adapter and (role == "embedder" or run.imported is None):
            adapters.append(adapter)
    for adapter in adapters:
        cite(uses.ADAPTERS.get(adapter, ()), "library")
    if measured:
        cite(uses.MEASURING, "library")
    if any((run.path / "figures").glob("*.png")):
        cite(uses.DRAWING, "library")
    return Citations(tuple(Citation(TABLE[key], tuple(reasons)) for key, reasons in why.items()), tuple(unknown))


def _measures(run: Run) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys and reason of every metric that has a value, and of the intervals given."""
    frames = []
    for path in sorted(run.path.glob("measurements*.parquet")):
        with reading(path):
            frames.append(pq.read_table(path, columns=["metric", "value", "ci_low", "signature"]).to_pandas())
    if not frames:
        return
    rows = pd.concat(frames, ignore_index=True)
    for metric in rows.loc[rows["value"].notna(), "metric"].unique():
        base, _, part = str(metric).partition(":")
        if base in uses.MEASURES:
            yield uses.MEASURES[base], f"measure {base}"
        if part in uses.SUMMARIES:
            yield uses.SUMMARIES[part], f"measure {metric}"
    signatures = rows.loc[rows["ci_low"].notna(), "signature"].dropna().unique()
    kinds = dict.fromkeys(found[1] for one in signatures if (found := re.search(r"\|ci:([^|]+)", str(one))))
    for kind in kinds:
        yield uses.INTERVALS.get(kind, ()), f"{kind} intervals"


def _models(run: Run) -> list[tuple[str, str]]:
    """Role and name of every model of the run, parts of generators too, each once."""
    trajectories, found = run.trajectories(), []
    for role in ("generator", "captioner"):
        for column in (c for c in trajectories.columns if c.rstrip("0123456789") == role):
            for name, block in trajectories[trajectories[column].notna()].groupby(column, sort=False):
                found.append((role, str(name)))
                found += [("generator", part) for part in _parts(block, column, str(name))]
    found += [("embedder", name) for name in run.embedder_names()]
    return list(dict.fromkeys(found))


def _parts(block: pd.DataFrame, column: str, name: str) -> Iterator[str]:
    """Weights that an experiment put on top of a generator; those that belong to it are cited with it."""
    try:
        own = catalog.find("generator", catalog.preset_name("generator", name)).defaults
    except ModelError:  # a name of another machine, or of an imported run
        own = {}
    for part in ("base", "refiner", "loras"):
        values = block[f"{column}.{part}"].dropna().unique() if f"{column}.{part}" in block else ()
        yield from (str(value) for value in values if value and value != own.get(part))


def _model(role: str, name: str) -> tuple[tuple[str, ...] | None, str]:
    """Keys of a model, None where no reference is known, and the module of its adapter."""
    known: catalog.AnyRole = "generator" if role == "generator" else "captioner" if role == "captioner" else "embedder"
    preset = catalog.preset_name(known, name)
    keys = uses.MODELS[role].get(preset)
    if is_hosted(name):
        return keys, ""
    try:
        entry = catalog.find(known, preset)
    except ModelError:  # of another machine, or of an imported run: only its name is known
        return keys, ""
    # What ships with loopsim is cited with it.
    return ((), "") if preset == "mock" else (() if entry.embedded else keys, entry.adapter.partition(":")[0])


# ---- formats ---------------------------------------------------------------------------------------------------------


def bibtex(found: Citations) -> str:
    """The references as BibTeX, each with a comment that says what it is cited for."""
    blocks = [f"% {_reasons(one)}\n{_bibtex(one.reference)}" for one in found.cited]
    blocks += [f"% no reference is known for certain: {name}; see its model card" for name in found.unknown]
    return "\n\n".join(blocks) + "\n"


def _reasons(one: Citation) -> str:
    shown = ", ".join(one.why[:6])
    return f"{shown}, and {len(one.why) - 6} more" if len(one.why) > 6 else shown


def _bibtex(reference: Reference) -> str:
    year = {} if reference.year is None else {"year": str(reference.year)}
    fields = {"author": " and ".join(reference.authors), "title": f"{{{reference.title}}}", **year, **reference.fields}
    lines = [f"  {name} = {{{_escaped(value, name)}}}," for name, value in fields.items()]
    return "\n".join([f"@{reference.kind}{{{reference.key},", *lines, "}"])


def _escaped(value: str, name: str) -> str:
    return value if name in ("url", "doi") else value.replace("&", r"\&").replace("_", r"\_")


def text(found: Citations) -> str:
    """The references as plain text, one a line, in the order of authors; then the models that have none."""
    lines = sorted((_plain(one.reference) for one in found.cited), key=str.casefold)
    lines += [f"No reference is known for certain: {name}; see its model card." for name in found.unknown]
    return "\n".join(lines) + "\n"


def _plain(reference: Reference) -> str:
    names = [name.strip("{}") for name in reference.authors]
    who = ", ".join(names[:-1]) + (" et al." if names[-1] == "others" else f" and {names[-1]}")
    who = names[0] if len(names) == 1 else who
    more = reference.fields
    where = more.get("journal") or more.get("booktitle") or more.get("publisher") or more.get("howpublished", "")
    if "volume" in more:
        where += f" {more['volume']}" + (f"({more['number']})" if "number" in more else "")
    if "pages" in more:
        where += (":" if "volume" in more else ", ") + more["pages"].replace("--", "–")
    if "doi" in more:
        link = f" https://doi.org/{more['doi']}"
    elif "url" in more:
        link = f" {more['url']}"
    else:
        link = f" arXiv:{more['eprint']}" if "eprint" in more and "arXiv" not in where else ""
    note = f", {more['note']}" if "note" in more else ""
    return f"{who} ({reference.year or 'no year'}). {reference.title}. {where}{note}.{link}"
