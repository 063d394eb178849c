"""The server of the live view, over real sockets: what it answers, and all that it must not."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from loopsim.errors import StoreError, UsageError
from loopsim.view import server as serving
from loopsim.view.addresses import Refused, split_target
from loopsim.view.server import HEADERS, PageServer
from loopsim.view.sources import Content, Source, first_of, folder, under, whole

SECRET = b"not for anyone"


@contextlib.contextmanager
def running(source: Source, port: int = 0) -> Iterator[PageServer]:
    with PageServer(source, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to serve, beside things that must not be."""
    top = tmp_path_factory.mktemp("place")
    (top / "secret.txt").write_bytes(SECRET)
    root = top / "root"
    (root / "data").mkdir(parents=True)
    (root / "index.html").write_text("<title>here</title>")
    (root / "data" / "head.json").write_text("{}")
    (root / "data" / "ä b.txt").write_text("umlaut")
    (root / ".hidden.txt").write_bytes(SECRET)
    (root / "program.py").write_bytes(SECRET)
    (root / "out.txt").symlink_to(top / "secret.txt")
    (root / "in.txt").symlink_to(root / "data" / "head.json")
    (root / "away").symlink_to(top)
    (root / "root").symlink_to("/")
    os.mkfifo(root / "pipe.txt")
    (root / "folder.txt").mkdir()
    return root


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[PageServer]:
    def slow_or_broken(name: str, query: Mapping[str, str]) -> Content | None:
        def fail() -> bytes:
            if name == "busy.txt":
                raise StoreError("steps: damaged or unreadable")
            raise RuntimeError("a bug with /a/path in it")

        return Content("text/plain", "1", fail) if name in ("busy.txt", "bug.txt") else None

    with running(first_of([folder(place), under("other", folder(place / "data")), slow_or_broken])) as server:
        yield server


def ask(
    server: PageServer, target: str = "/", method: str = "GET", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    headers = {"Host": f"127.0.0.1:{server.server_port}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def raw(server: PageServer, request: bytes) -> bytes:
    """What comes back for these bytes, until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as line:
        line.sendall(request)
        parts = []
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts)


# ---- what it answers -------------------------------------------------------------------------------------------------


def test_it_serves_the_page_and_its_files(server: PageServer):
    status, body, headers = ask(server)
    assert (status, body) == (200, b"<title>here</title>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert ask(server, "/index.html?v=3")[1] == body
    assert ask(server, "/data/head.json")[1] == b"{}"
    assert ask(server, "/data/%C3%A4%20b.txt")[1] == b"umlaut"
    assert ask(server, "/other/head.json")[1] == b"{}"


def test_head_gives_the_headers_without_the_content(server: PageServer):
    status, body, headers = ask(server, "/", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "19")
    assert ask(server, "/nothing.html", "HEAD")[:2] == (404, b"")


@pytest.mark.parametrize("target", ["/", "/data/head.json", "/nothing.html", "/../secret.txt"])
def test_every_answer_carries_the_headers_that_keep_others_out(server: PageServer, target: str):
    headers = ask(server, target)[2]
    for name, value in HEADERS.items():
        assert headers.get_all(name) == [value]
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe-eval" not in policy
    assert "*" not in policy
    assert "http" not in policy
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert "Python" not in str(headers)
    assert headers["Cache-Control"] in ("no-cache", "no-store")


def test_what_the_browser_has_is_not_sent_again_until_it_changes(server: PageServer, place: Path):
    name = "/data/grows.json"
    (place / "data" / "grows.json").write_text("[1]")
    _, body, headers = ask(server, name)
    assert (body, headers["Cache-Control"]) == (b"[1]", "no-cache")
    status, body, again = ask(server, name, If_None_Match=headers["ETag"])
    assert (status, body, again["ETag"]) == (304, b"", headers["ETag"])
    (place / "data" / "grows.json").write_text("[1, 2]")
    status, body, _ = ask(server, name, If_None_Match=headers["ETag"])
    assert (status, body) == (200, b"[1, 2]")


def test_what_must_not_be_kept_is_not():
    with running(lambda name, query: whole(b"{}", "application/json", keep=False)) as server:
        assert ask(server)[2]["Cache-Control"] == "no-store"


def test_a_run_that_is_being_rewritten_says_to_come_again(server: PageServer):
    status, body, _ = ask(server, "/busy.txt")
    assert (status, body) == (503, b"503: steps: damaged or unreadable\n")


def test_a_bug_is_told_without_its_insides(server: PageServer):
    status, body, _ = ask(server, "/bug.txt")
    assert status == 500
    assert b"/a/path" not in body
    assert ask(server)[0] == 200


# ---- what it does not ------------------------------------------------------------------------------------------------

TRAVERSALS = [
    "/../secret.txt", "/data/../../secret.txt", "/./../secret.txt", "/data/..", "//secret.txt", "//etc/passwd",
    "/%2e%2e/secret.txt", "/%2E%2E%2Fsecret.txt", "/data/%2e%2e/%2e%2e/secret.txt", "/..%2fsecret.txt",
    "/%252e%252e/secret.txt", "/%252e%252e%252fsecret.txt", "/..%c0%afsecret.txt", "/%c0%ae%c0%ae/secret.txt",
    "/..%5csecret.txt", "/..\\secret.txt", "/data\\..\\..\\secret.txt", "/C:/secret.txt", "/C:%5Csecret.txt",
    "/etc/passwd", "/%2fetc%2fpasswd", "//%2fetc/passwd", "/file:///etc/passwd", "/index.html%00.txt",
    "/../secret.txt%00.html", "/index.html%0d%0aX-Injected:%201", "/index.html/", "/index.html/../../secret.txt",
    "/.hidden.txt", "/%2ehidden.txt", "/data/.", "/data/./head.json", "/out.txt", "/in.txt", "/away/secret.txt",
    "/root/etc/passwd", "/pipe.txt", "/folder.txt", "/data", "/data/", "/program.py", "/INDEX.HTML/..", "/~root/x.txt",
    "/data/%u002e%u002e/secret.txt", "/．．/secret.txt".encode().decode("latin-1"), "/data/head.json;x=.txt",
    "/" + "a/" * 400 + "b.txt", "/" + "a" * 5000 + ".txt", "/nothing.html",
]  # fmt: skip


@pytest.mark.parametrize("target", TRAVERSALS, ids=lambda target: target[:40])
def test_nothing_outside_the_folder_can_be_read(server: PageServer, target: str):
    host = f"Host: 127.0.0.1:{server.server_port}"
    answer = raw(server, f"GET {target} HTTP/1.1\r\n{host}\r\n\r\n".encode("latin-1"))
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 404), answer
    assert SECRET not in answer
    assert b"root:" not in answer
    assert b"X-Injected" not in answer


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/", "http://evil.example/index.html", "*", "index.html", "/index.html#x"]
)
def test_targets_that_are_no_path_are_refused(server: PageServer, target: str):
    answer = raw(server, f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_nothing_can_be_changed(server: PageServer, place: Path, method: str):
    before = sorted((p.name, p.lstat().st_mtime_ns) for p in place.rglob("*"))
    status, body, headers = ask(server, "/data/head.json", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert b"nothing can be changed" in body
    assert sorted((p.name, p.lstat().st_mtime_ns) for p in place.rglob("*")) == before


def test_methods_that_nobody_knows_are_refused(server: PageServer):
    answer = raw(server, f"BREW / HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"default-src 'none'" in answer


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "evil.example:PORT", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:PORT",
     "localhost", "0.0.0.0:PORT", "[::1]:PORT", "127.0.0.1:PORT@evil.example", "127.0.0.1:PORT evil.example"],
)  # fmt: skip
def test_other_names_for_this_machine_are_refused(server: PageServer, host: str | None):
    given = host and host.replace("PORT", str(server.server_port))
    status, body, headers = ask(server, "/data/head.json", Host=given)  # type: ignore[arg-type]
    assert status == 421
    assert b"ssh -L" in body
    assert headers["Content-Security-Policy"]


def test_a_second_host_header_is_refused(server: PageServer):
    host = f"Host: 127.0.0.1:{server.server_port}\r\n"
    answer = raw(server, f"GET / HTTP/1.1\r\n{host}Host: evil.example\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT"])
def test_our_own_names_are_answered(server: PageServer, host: str):
    assert ask(server, Host=host.replace("PORT", str(server.server_port)))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"}, 200),
        ({"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors", "Sec_Fetch_Dest": "empty"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_other_sites_may_not_include_or_read_what_is_served(server: PageServer, headers: dict[str, str], status: int):
    assert ask(server, "/data/head.json", **headers)[0] == status


def test_it_listens_on_this_machine_only(server: PageServer):
    assert server.socket.getsockname() == ("127.0.0.1", server.server_port)
    assert server.url == f"http://127.0.0.1:{server.server_port}/"
    for other in (ip for _, _, _, _, (ip, *_) in socket.getaddrinfo(socket.gethostname(), 0, socket.AF_INET)):
        if not other.startswith("127."):
            with pytest.raises(OSError), socket.create_connection((other, server.server_port), timeout=2):
                pass


def test_a_port_in_use_is_said_in_one_message(server: PageServer):
    with pytest.raises(UsageError, match=f"--port {server.server_port}: is in use by another program; choose another"):
        PageServer(lambda name, query: None, server.server_port)


@pytest.mark.parametrize(
    "request_",
    [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET /\r\n\r\n",
     b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n"],
)  # fmt: skip
def test_garbage_is_refused_and_the_next_is_answered(server: PageServer, request_: bytes):
    line = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
    with line, contextlib.suppress(ConnectionError):
        line.sendall(request_)
        line.shutdown(socket.SHUT_WR)
        assert b"<title>here</title>" not in line.recv(65536)
    assert ask(server)[0] == 200


def test_silent_connections_neither_pile_up_nor_shut_others_out(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving._Handler, "timeout", 0.5)
    before = threading.active_count()
    with running(folder(place)) as server, contextlib.ExitStack() as lines:
        for _ in range(60):
            lines.enter_context(socket.create_connection(("127.0.0.1", server.server_port)))
        began = time.monotonic()
        assert ask(server)[0] == 200
        assert time.monotonic() - began < 8
        assert threading.active_count() <= before + 1 + serving.MOST_THREADS


def test_a_file_that_becomes_a_link_is_not_read(place: Path, tmp_path: Path):
    (tmp_path / "page.txt").write_text("mine")
    found = folder(tmp_path)("page.txt", {})
    assert found is not None
    (tmp_path / "page.txt").unlink()
    (tmp_path / "page.txt").symlink_to(place.parent / "secret.txt")
    with pytest.raises(OSError):
        found.make()


def test_a_folder_that_is_a_link_itself_can_be_served(place: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(place)
    assert folder(tmp_path / "link")("index.html", {}) is not None
    assert folder(tmp_path / "link")("out.txt", {}) is None


def test_targets_are_decoded_once():
    assert split_target("/") == ("", {})
    assert split_target("/data/head.json?v=1&w=%2e") == ("data/head.json", {"v": "1", "w": "."})
    with pytest.raises(Refused):
        split_target("/%2525")
