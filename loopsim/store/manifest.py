"""The manifest as a file: JSON with a checksum of its own, so that a changed letter is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from loopsim.seeds import digest

CHECKSUM = "checksum"
"""Key that holds the digest of all others; manifests from before there was one lack it."""


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is stored."""
    return json.dumps(dict(manifest) | {CHECKSUM: manifest_checksum(manifest)}, indent=1).encode()


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """Digest of everything in a manifest but its checksum."""
    return digest({key: value for key, value in manifest.items() if key != CHECKSUM}, 16)
