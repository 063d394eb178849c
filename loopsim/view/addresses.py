"""What a request may ask for: pure checks of its method, host, origin and address, before any file is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl, unquote_to_bytes

_LONGEST = 1000
"""Characters of an address; ours have fewer than a hundred."""


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: the HTTP status.
        why: one line for whoever asked.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def check_host(hosts: Sequence[str], port: int) -> None:
    """Refuse a request that was sent to another name than ours.

    A page of somebody else's can point a name of its own at 127.0.0.1 (DNS rebinding) and would then be read as if
    it were ours; its requests carry that name.

    Args:
        hosts: every `Host` header of the request.
        port: that we listen on.

    Raises:
        Refused: it is not `127.0.0.1:PORT` or `localhost:PORT`.
    """
    ours = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
    if port == 80:  # the one port that browsers leave out
        ours |= {"127.0.0.1", "localhost"}
    if len(hosts) != 1 or hosts[0].strip().lower() not in ours:
        raise Refused(
            421,
            f"this is http://127.0.0.1:{port}/ and answers to no other name; where it is forwarded, use the same port "
            f"on both sides: ssh -L {port}:127.0.0.1:{port} HOST",
        )


def check_origin(header: Callable[[str], str | None], port: int) -> None:
    """Refuse what a page of another origin asks for: scripts and pictures can be included from anywhere otherwise.

    Args:
        header: a header's name to its value, None where the request has none.
        port: that we listen on.

    Raises:
        Refused: the browser says that another site asks; opening our page by a link from there is no such thing.
    """
    site = header("Sec-Fetch-Site") or "none"
    opened = header("Sec-Fetch-Mode") == "navigate" and header("Sec-Fetch-Dest") == "document"
    if site not in ("none", "same-origin") and not opened:
        raise Refused(403, "another site may not read this")
    origin = header("Origin")
    if origin is not None and origin not in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
        raise Refused(403, "another site may not read this")


def split_target(target: str) -> tuple[str, dict[str, str]]:
    """The name asked for, without the first slash and decoded once, and the query.

    The name has no part that is empty or begins with a dot, no backslash, colon, per cent sign or control character:
    it cannot lead out of a folder on any system.

    Raises:
        Refused: the target is no such name.
    """
    if not target.startswith("/") or len(target) > _LONGEST or "#" in target:
        raise Refused(400, "the address must be a path on this server")
    path, _, query = target.partition("?")
    try:
        name = unquote_to_bytes(path[1:]).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "the address is not UTF-8") from None
    if any(ord(c) < 32 or ord(c) == 127 or c in '\\:%"<>|*?' for c in name):
        raise Refused(404, "there is no such page")
    if name and any(not part or part.startswith(".") for part in name.split("/")):
        raise Refused(404, "there is no such page")
    return name, dict(parse_qsl(query[:_LONGEST]))
