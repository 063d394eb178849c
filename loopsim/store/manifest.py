"""The manifest and the experiment as files, each with a checksum of its own, so that a changed letter is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from loopsim.seeds import digest

CHECKSUM = "checksum"
"""Key that holds the digest of all others; manifests from before there was one lack it."""
_SEAL = "# Checksum of the lines below: "


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is stored."""
    return json.dumps(dict(manifest) | {CHECKSUM: manifest_checksum(manifest)}, indent=1).encode()


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """Digest of everything in a manifest but its checksum."""
    return digest({key: value for key, value in manifest.items() if key != CHECKSUM}, 16)


def sealed(title: str, text: str) -> bytes:
    """A file of YAML that begins with comments: what it is, and a checksum of the rest."""
    return f"# {title}\n{_SEAL}{_seal(text)}\n{text}".encode()


def is_as_sealed(content: bytes) -> bool | None:
    """Whether a file of YAML is still what `sealed` made; None where it has no checksum."""
    text = content.decode(errors="replace")
    before, mark, after = text.partition(_SEAL)
    known, _, rest = after.partition("\n")
    return _seal(rest) == known.strip() if mark and before.count("\n") == 1 else None


def _seal(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
