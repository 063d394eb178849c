"""Prompt templates: `{occupation} in {place}`, and what stands for each name; crossed, with a column for each."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass

from loopsim.errors import ExperimentError
from loopsim.records import Setting
from loopsim.starts.crossing import balanced_sample, full_crossing

PATTERN = "template"
"""The column that tells several templates apart."""
_ARTICLE = re.compile(r"\b([Aa])\(n\)\s+([\"'“‘(]*)(\w+)")
# Letters mislead here: these begin with a vowel that is spoken as a consonant, or the other way round.
_SPOKEN_CONSONANT = re.compile(r"(uni([^dmn]|$)|us[aeu]|eu|ewe|one\b|once\b|ut[eio]|ubiq|uk[eru]|ura)", re.IGNORECASE)
_SPOKEN_VOWEL = re.compile(r"(hour|honest|honou?r|heir|8\d*\b|1[18]\b)", re.IGNORECASE)

Words = str | Mapping[str, str]
"""What a level says: one text, or several forms of it, such as `{noun: woman, her: her}`."""


@dataclass(frozen=True)
class Filled:
    """A prompt made from a template."""

    text: str
    """The prompt."""
    facts: Mapping[str, Setting]
    """Factor to the level that the prompt has."""


def fill(
    templates: Mapping[Setting, str], factors: Mapping[str, Mapping[Setting, Words]], sample: int | None, seed: int,
    where: str,
) -> list[Filled]:  # fmt: skip
    """Every prompt that the templates and their factors make, or a balanced sample of them.

    Args:
        templates: name to template; the column `template` tells them apart where there are several.
        factors: factor to its levels, each with its words.
        sample: how many of the crossing, each level equally often up to one; all where None.
        seed: of the sample.
        where: the key of the experiment file, for messages.

    Raises:
        ExperimentError: a template names no factor, a factor is in no template, or a level lacks a form.
    """
    fields = {name: _fields(template, f"{where}.template") for name, template in templates.items()}
    _check(fields, factors, where)
    several = len(templates) > 1
    levels = {name: list(values) for name, values in factors.items()}
    axes: dict[str, list[Setting]] = {PATTERN: list(templates), **levels} if several else levels
    sizes = [len(values) for values in axes.values()]
    total = full_crossing(sizes)
    if sample is not None and sample > len(total):
        raise ExperimentError(f"{where}.sample: {sample} of {len(total)} prompts; the crossing has no more")
    chosen = total if sample is None else balanced_sample(sizes, sample, seed)
    filled = []
    for codes in chosen:
        facts = {name: values[code] for (name, values), code in zip(axes.items(), codes, strict=True)}
        template = templates[facts[PATTERN] if several else next(iter(templates))]
        words = {name: factors[name][level] for name, level in facts.items() if name in factors}
        filled.append(Filled(with_articles(_filled(template, words)), facts))
    return filled


def with_articles(text: str) -> str:
    """`a(n)` to `a` or `an`, by the letters of the word that follows: a(n) old house, a(n) university, a(n) hour.

    English goes by sound, and letters tell it for most words only; where they do not, write the article into the words.
    """

    def article(match: re.Match[str]) -> str:
        a, quote, word = match.groups()
        vowel = word[0].lower() in "aeiou" and not _SPOKEN_CONSONANT.match(word)
        return f"{a}{'n' if vowel or _SPOKEN_VOWEL.match(word) else ''} {quote}{word}"

    return _ARTICLE.sub(article, text)


def _fields(template: str, where: str) -> list[tuple[str, str]]:
    """The names in braces, each with its form (`` where none is asked for)."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ExperimentError(f"{where}: {template!r}: {error}; a brace of the text itself is written {{{{") from None
    found = []
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        name, _, form = field.partition(".")
        if (
            spec
            or conversion
            or not re.fullmatch(r"\w[\w -]*", name)
            or (form and not re.fullmatch(r"\w[\w -]*", form))
        ):
            raise ExperimentError(
                f"{where}: {template!r}: {{{field}}} must be {{factor}} or {{factor.form}}; a brace of the text itself "
                "is written {{ or }}"
            )
        found.append((name, form))
    return found


def _check(
    fields: Mapping[Setting, list[tuple[str, str]]], factors: Mapping[str, Mapping[Setting, Words]], where: str
) -> None:
    for template in fields.values():
        for name, form in template:
            if name not in factors:
                known = ", ".join(factors) or "none"
                raise ExperimentError(f"{where}.template: {{{name}}} is no factor; factors: {known}")
            for level, words in factors[name].items():
                _check_form(words, form, f"{where}.factors.{name}.{level}", name)
    for name in factors:
        lacking = next((t for t, template in fields.items() if name not in [n for n, _ in template]), None)
        if lacking is not None:
            which = f"the template {lacking!r}" if len(fields) > 1 else "the template"
            raise ExperimentError(
                f"{where}.factors.{name}: {which} does not name {{{name}}}, so it would make equal prompts; "
                "put it into the template, or leave the factor out"
            )


def _check_form(words: Words, form: str, where: str, name: str) -> None:
    if isinstance(words, str):
        if form:
            raise ExperimentError(
                f"{where}: the template asks for {{{name}.{form}}}; write the forms: {{{form}: …}} instead of {words!r}"
            )
        return
    if not form and name not in words:
        raise ExperimentError(
            f"{where}: has the forms {', '.join(words)}; say in the template which, such as "
            f"{{{name}.{next(iter(words))}}}"
        )
    if form and form not in words:
        raise ExperimentError(f"{where}: lacks the form {form!r} of the template's {{{name}.{form}}}")


def _filled(template: str, words: Mapping[str, Words]) -> str:
    parts = []
    for text, field, _, _ in string.Formatter().parse(template):
        parts.append(text)
        if field is not None:
            name, _, form = field.partition(".")
            value = words[name]
            parts.append(value if isinstance(value, str) else value[form or name])
    return "".join(parts)
