"""Where a hosted model is, and with which key: from the environment only, and never written down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from loopsim.errors import ModelError, NotAtHand
from loopsim.presets.hosted import Service, service_of

_SECRET = 8
"""Shorter keys are placeholders such as `EMPTY`, which are no secret, and may well be words of a caption."""


@dataclass(frozen=True)
class Endpoint:
    """One model of one service."""

    service: Service
    """The service."""
    model: str
    """The model's name there."""
    base_url: str
    """Without a slash at its end."""
    key: str | None = field(repr=False)
    """The key, or None."""
    key_variable: str
    """The environment variable that the key is, or should be, in."""

    def scrubbed(self, text: str) -> str:
        """A text with the key blotted out, wherever a service may have repeated it."""
        if self.key is None or len(self.key) < _SECRET:
            return text
        return text.replace(self.key, f"[{self.key_variable}]")


def endpoint_of(name: str, environment: Mapping[str, str] | None = None) -> Endpoint:
    """The endpoint of a hosted model's name.

    Args:
        name: `openai:MODEL`, `anthropic:MODEL`, `google:MODEL` or `endpoint:NAME/MODEL`.
        environment: where addresses and keys are; the process's own by default.

    Raises:
        NotAtHand: the address or the key is missing; the message names the variable to set.
        ModelError: it cannot be one.
    """
    environment = os.environ if environment is None else environment
    service, model = service_of(name)
    variable, url = _first(environment, service.url_variables)
    url = url or service.base_url
    if not url:
        raise NotAtHand(
            f"{name}: where is it? Set the environment variable {variable}, such as {variable}=http://localhost:8000/v1"
        )
    key_variable, key = _first(environment, service.key_variables)
    if key is None and service.key_needed:
        raise NotAtHand(f"{name}: no key: set the environment variable {service.key_variables[-1]}")
    if key is not None and not all("!" <= c <= "~" for c in key):
        # The HTTP library would quote the whole header in its complaint.
        raise ModelError(f"{name}: {key_variable} holds a space, a line break or another character that no key has")
    return Endpoint(service, model, _address(name, url, variable), key, key_variable)


def address_of(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The address that a hosted model is asked at, for the record; None where the environment does not say it."""
    service, _ = service_of(name)
    url = _first(os.environ if environment is None else environment, service.url_variables)[1] or service.base_url
    return _address(name, url, "its base URL") if url else None


def _address(name: str, url: str, variable: str) -> str:
    """An address that may be written down.

    Raises:
        ModelError: it is none, or holds a password.
    """
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment
    except ValueError:
        wrong = True
    if wrong:
        raise ModelError(f"{name}: {variable} must be an address such as https://host/v1, with nothing after the path")
    if parts.username or parts.password:
        raise ModelError(
            f"{name}: {variable} holds a password; addresses are recorded, so put it into the key's variable"
        )
    return url.rstrip("/")


def _first(environment: Mapping[str, str], variables: tuple[str, ...]) -> tuple[str, str | None]:
    """The first variable that is set and its value; the last variable, and None, where none is."""
    for variable in variables:
        value = environment.get(variable, "").strip()
        if value:
            return variable, value
    return variables[-1], None
