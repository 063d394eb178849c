"""Pools of prompts, by name or from a file, and what of a pool may be chosen."""

from __future__ import annotations

import csv
import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loopsim.errors import ExperimentError, UsageError
from loopsim.prompts.postcards import POSTCARDS, draw_prompts
from loopsim.records import Setting
from loopsim.starts.columns import as_setting, check_name
from loopsim.starts.tables import PROMPT, PromptTable, read_table, separator_hint

GENERAL = "general"
"""The pool that ships with the package, for models of the whole visual world."""
TIERS = ("objects", "arrangements", "people", "events", "abstractions")
"""Of the general pool, from the plainest to what no camera sees."""
POOLS: Mapping[str, str] = MappingProxyType(
    {GENERAL: f"written for loopsim, in the tiers {', '.join(TIERS)}"} | POSTCARDS
)
"""Name to what it is."""
MAX_WORDS = 30
_DRAWN_AT_LEAST, _DRAWN_EACH = 600, 20
_FOLDER = Path(__file__).parent / "pools"


@dataclass(frozen=True)
class Prompt:
    """One prompt of a pool."""

    text: str
    """White space evened out."""
    facts: Mapping[str, Setting]
    """Its other columns, less those that an experiment's results could not hold; of the shipped pool tier, id and
    topic."""


@dataclass(frozen=True)
class Pool:
    """Prompts to choose from."""

    name: str
    """As it was asked for: a name or a path."""
    prompts: tuple[Prompt, ...]
    """What may be chosen, in order; no two are the same."""
    notices: tuple[str, ...] = ()
    """What was left out, and why, in words."""
    dropped: tuple[str, ...] = ()
    """Columns of a file that do not go along, because an experiment's results could not hold them."""
    drawn: bool = False
    """Whether it was drawn for this call, and so is in random order."""

    @property
    def texts(self) -> list[str]:
        """The prompts alone."""
        return [prompt.text for prompt in self.prompts]

    @property
    def tagged(self) -> list[str]:
        """The prompts with their tier and topic behind them, which tell counts of words what a prompt is about."""
        tags = ("tier", "topic")
        return [
            " ".join([one.text, *(str(one.facts[tag]) for tag in tags if one.facts.get(tag))]) for one in self.prompts
        ]


def read_pool(
    name: str,
    *,
    n: int,
    seed: int = 0,
    draw_only: bool = False,
    tiers: Sequence[str] = (),
    max_words: int = MAX_WORDS,
    column: str | None = None,
    split: str | None = None,
    without: Sequence[Path] = (),
) -> Pool:
    """The prompts that may be chosen.

    Args:
        name: one of `POOLS`, or a file or folder as `starts` of an experiment reads them.
        n: how many are wanted.
        seed: of a pool that is drawn.
        draw_only: draw no more than needed where the pool is drawn, since nothing will be chosen of it.
        tiers: values of the column `tier` to keep; none keeps all.
        max_words: longer prompts are left out.
        column: of a file, which holds the prompts; None takes `prompt`.
        split: of a folder with several.
        without: files whose prompts are left out, such as those that were chosen before.

    Raises:
        UsageError: there is no such pool, column or tier, or fewer than `n` prompts are left.
    """
    known, drawn = name in POOLS, name in POSTCARDS
    if known and (column or split):
        raise UsageError(f"--{'column' if column else 'split'} is for a file; {name} is a pool that ships with loopsim")
    if drawn and tiers:
        raise UsageError(f"--tier: {name} has no tiers; --pool {GENERAL} has: {', '.join(TIERS)}")
    excluded = _excluded(without)
    if drawn:
        size = n + len(excluded) if draw_only else max(_DRAWN_AT_LEAST, _DRAWN_EACH * n)
        texts = draw_prompts(name, size, seed)
        pool = Pool(name, tuple(Prompt(text, MappingProxyType({})) for text in texts), drawn=True)
    else:
        pool = Pool(name, tuple(_general())) if known else _from_file(name, column, split)
    found, notices = _of_tiers(list(pool.prompts), tiers, name), list(pool.notices)
    rules: tuple[tuple[str, Callable[[str], bool]], ...] = (
        (f"of more than {max_words} words", lambda text: len(text.split()) > max_words),
        (f"that are in {', '.join(map(str, without))}", excluded.__contains__),
    )
    for why, wrong in rules:
        kept = [prompt for prompt in found if not wrong(prompt.text)]
        notices += [f"{len(found) - len(kept)} {why}"] if len(kept) < len(found) else []
        found = kept
    if n > len(found):
        raise UsageError(_too_few(name, n, len(found), notices, tiers))
    return dataclasses.replace(pool, prompts=tuple(found), notices=tuple(notices))


def _excluded(files: Sequence[Path]) -> frozenset[str]:
    texts: set[str] = set()
    for file in files:
        if not file.exists():
            raise UsageError(f"--without {file}: there is no such file")
        texts.update(_from_file(str(file), None, None, "--without").texts)
    return frozenset(texts)


def _too_few(name: str, n: int, left: int, notices: Sequence[str], tiers: Sequence[str]) -> str:
    of = f" of the tier{'s' * (len(tiers) > 1)} {', '.join(tiers)}" if tiers else ""
    out = f" (left out: {'; '.join(notices)})" if notices else ""
    fix = "name a larger pool" if not tiers and not notices else "widen --tier, --max-words or --without"
    return f"--n {n}: {name} has {left} prompt{'s' * (left != 1)}{of} to choose from{out}; ask for fewer, or {fix}"


def _general() -> list[Prompt]:
    found = []
    for tier in TIERS:
        with (_FOLDER / f"{tier}.csv").open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                facts = {"tier": row["tier"], "id": row["id"], "topic": row["topic"]}
                found.append(Prompt(row[PROMPT], MappingProxyType(facts)))
    return found


def _from_file(name: str, column: str | None, split: str | None, option: str = "--pool") -> Pool:
    path = Path(name)
    if not path.exists():
        close = difflib.get_close_matches(name, POOLS, 1)
        known = f"did you mean {close[0]}? The" if close else "the"
        raise UsageError(f"--pool {name}: is neither a file here nor a pool; {known} pools are {', '.join(POOLS)}")
    try:
        table = read_table(path, split, option)
        return _prompts_of(table, column, name, f"{option} {name}")
    except ExperimentError as error:
        said = str(error).replace(f"{option}.file: ", f"{option} ").replace(f"{option}.split: ", "--split: ")
        raise UsageError(said) from None


def _prompts_of(table: PromptTable, column: str | None, name: str, at: str) -> Pool:
    column = column or PROMPT
    if column not in table.names:
        has = ", ".join(table.names) or "no columns"
        fix = separator_hint(table.path, table.names) or ". Say which holds the prompts, such as --column caption"
        raise UsageError(f"{at}: has no column {column!r}; it has {has}{fix}")
    texts: list[Any] = table.values(column)
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise UsageError(
                f"{at}: {table.unit} {table.number(row)}: the prompt is no text, but {text!r:.80}; is "
                f"{column!r} the right column? It has {', '.join(table.names)}"
            )
    first: dict[str, int] = {}
    even = [" ".join((text or "").split()) for text in texts]
    for row, text in enumerate(even):
        if text:
            first.setdefault(text, row)
    if not first:
        raise UsageError(f"{at}: holds no prompts (one a line, or a CSV with a column 'prompt')")
    empty = sum(not text for text in even)
    again = len(even) - empty - len(first)
    notices = [f"{count} {what}" for count, what in ((empty, "empty"), (again, "there twice")) if count]
    others = [one for one in table.names if one != column]
    dropped = [one for one in others if _refused(table, one)]
    columns = [one for one in others if one not in dropped]
    rows = list(first.values())
    facts = {one: [as_setting(value) for value in table.values(one, rows)] for one in columns}
    prompts = [
        Prompt(text, MappingProxyType({one: values[i] for one, values in facts.items()}))
        for i, text in enumerate(first)
    ]
    return Pool(name, tuple(prompts), tuple(notices), tuple(dropped))


def _refused(table: PromptTable, name: str) -> bool:
    """Whether a column cannot go along into an experiment: nested, or a name of the results' own."""
    try:
        check_name(name, "", "")
    except ExperimentError:
        return True
    return table.nested(name)


def _of_tiers(prompts: list[Prompt], tiers: Sequence[str], name: str) -> list[Prompt]:
    if not tiers:
        return prompts
    if "tier" not in prompts[0].facts:
        raise UsageError(f"--tier: {name} has no column 'tier'; leave --tier out")
    counts = Counter(str(prompt.facts["tier"]) for prompt in prompts)
    for tier in tiers:
        if tier not in counts:
            close = difflib.get_close_matches(tier, counts, 1)
            known = f"did you mean {close[0]}? It" if close else "it"
            raise UsageError(f"--tier {tier}: {name} has no such tier; {known} has {', '.join(counts)}")
    return [prompt for prompt in prompts if str(prompt.facts["tier"]) in tiers]
