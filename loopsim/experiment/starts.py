"""The `starts` of an experiment file: groups of prompts, files, templates, pictures or steps of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from loopsim.experiment.strict import Strict

_SOURCES = ("prompts", "file", "template", "images", "from")
_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "factors": ("template",),
    "column": ("file",),
    "columns": ("file",),
    "split": ("file",),
    "where": ("file",),
    "skip": ("file",),
    "limit": ("file",),
    "sample": ("file", "template"),
    "sample_seed": ("file", "template"),
}
"""Keys that only some sources have a use for."""
_QUOTE = "YAML reads yes, no, on, off, true and false as truth values: put it into quotes"


def _plain(value: object) -> bool:
    """Whether a value can stand in a column: a text, a finite number, or nothing."""
    return value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _row(value: Any) -> Any:
    """A prompt: its text, or a mapping with `prompt` and columns of the results."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be a text, or a mapping such as {prompt: a boat, mood: calm}")
    if not isinstance(value.get("prompt"), str):
        raise ValueError("a mapping needs the key prompt, with a text")
    for key, one in value.items():
        if not isinstance(key, str) or not _plain(one):
            raise ValueError(f"{key}: a column holds texts and numbers; it is {one!r:.80}")
    return value


def _levels(value: Any) -> Any:
    """A factor: a list of words, or a mapping of labels to words or to forms of words."""
    if isinstance(value, list):
        for one in value:
            if isinstance(one, bool) or not isinstance(one, (str, int, float)):
                raise ValueError(
                    f"{one!r:.80} is neither words nor a number" + (f"; {_QUOTE}" if one in (True, False) else "")
                )
        if len({str(one) for one in value}) < len(value):
            raise ValueError("names a level twice")
    elif isinstance(value, dict):
        value = {_label(label): _words(label, words) for label, words in value.items()}
    else:
        raise ValueError(
            "must be a list of words, or a mapping of labels to words such as {young: a young, old: an old}"
        )
    if not value:
        raise ValueError("an empty factor leaves no prompt")
    return value


def _label(label: object) -> str:
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        raise ValueError(f"the label {label!r} is neither words nor a number; {_QUOTE}")
    return str(label)


def _words(label: object, words: object) -> object:
    if isinstance(words, (int, float)) and not isinstance(words, bool):
        return str(words)
    if isinstance(words, dict) and words and all(isinstance(k, str) and isinstance(v, str) for k, v in words.items()):
        return words
    if not isinstance(words, str):
        raise ValueError(f"{label}: {words!r:.80} is no text" + (f"; {_QUOTE}" if isinstance(words, bool) else ""))
    return words


def _templates(value: Any) -> Any:
    """One template, or several: a list, or a mapping of labels to templates."""
    several: list[Any] = (
        list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    )
    if not several or not all(isinstance(one, str) and one.strip() for one in several):
        raise ValueError("must be a text such as '{person} in {place}', or a list or mapping of such texts")
    return {_label(label): text for label, text in value.items()} if isinstance(value, dict) else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _allowed(value: Any) -> Any:
    """The values that a filter lets through, as a list for each column."""
    if not isinstance(value, dict) or not value:
        raise ValueError("must be a mapping of columns to values, such as {tier: [people, events]}")
    allowed = {str(column): _listed(values) for column, values in value.items()}
    for column, values in allowed.items():
        if not values or not all(_plain(one) for one in values):
            raise ValueError(f"{column}: must be a value or a list of values")
    return allowed


class StartSettings(Strict):
    """A group of starts: exactly one of `prompts`, `file`, `template`, `images`, `from`."""

    prompts: list[Annotated[Any, AfterValidator(_row)]] | None = None
    file: str | None = None
    template: Annotated[Any, AfterValidator(_templates)] | None = None
    factors: dict[str, Annotated[Any, AfterValidator(_levels)]] | None = None
    images: list[str] | None = None
    branch: list[str] | None = Field(None, alias="from")
    column: str | None = None
    columns: list[str] | dict[str, str] | None = None
    split: str | None = None
    where: Annotated[dict[str, list[Any]], BeforeValidator(_allowed)] | None = None
    skip: Annotated[list[Literal["empty", "duplicates"]], BeforeValidator(_listed)] | None = None
    limit: int | None = Field(None, ge=1, strict=True)
    sample: int | None = Field(None, ge=1, strict=True)
    sample_seed: int | None = Field(None, ge=0, strict=True)
    group: str = "all"

    @model_validator(mode="after")
    def _one_source(self) -> StartSettings:
        sources = (self.prompts, self.file, self.template, self.images, self.branch)
        given = {name: value for name, value in zip(_SOURCES, sources, strict=True) if value is not None}
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(_SOURCES)}")
        source = next(iter(given))
        if given[source] in ([], ""):
            raise ValueError("the list is empty: a run needs at least one start")
        for key, wanted in _ONLY_FOR.items():
            if getattr(self, key) is not None and source not in wanted:
                raise ValueError(f"{key} goes with {' or '.join(wanted)}, and this group has {source}")
        if self.template is not None and not self.factors:
            raise ValueError("a template needs factors, such as factors: {place: [a kitchen, a street]}")
        if self.sample_seed is not None and self.sample is None:
            raise ValueError("sample_seed goes with sample")
        if self.limit is not None and self.sample is not None:
            raise ValueError("limit takes the first, sample draws: give one of them")
        return self
