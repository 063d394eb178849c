"""Values of the experiment file that are brought to the form that a setting has: one text, one number, or an axis."""

from __future__ import annotations

import json
import re

_KEY = re.compile(r"\s*\w[\w -]*")


def as_axis(value: object) -> object:
    """A setting that may be a list is kept as a list, so that the grid is one product."""
    return value if isinstance(value, list) else [value]


def loras_as_text(value: object) -> object:
    """Several LoRAs to the one text that a setting is."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(item, str) and " + " not in item for item in value):
        raise ValueError("each must be a text such as owner/name@0.8, and cannot contain ' + ', which joins several")
    return " + ".join(value)


def keys_as_text(value: object) -> object:
    """The keys of a structured caption to the one text that a setting is."""
    if isinstance(value, str):
        value = value.split(",")
    known = isinstance(value, list) and all(isinstance(key, str) and _KEY.fullmatch(key.strip()) for key in value)
    if not isinstance(value, list) or not value or not known:
        raise ValueError("must be a list of keys of letters, digits, spaces, - and _, such as [subject, setting, mood]")
    keys = [key.strip() for key in value]
    if len({key.casefold() for key in keys}) < len(keys):
        raise ValueError("names a key twice")
    return ", ".join(keys)


def json_object(value: object) -> object:
    """Fields of a request to the one text that a setting is; reads its own text back."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("must be a mapping of the service's own fields, such as {quality: low}") from None
    if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
        raise ValueError("must be a mapping of the service's own fields, such as {quality: low}")
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
