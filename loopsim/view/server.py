"""A web server for one person on this machine: it answers GET and HEAD on 127.0.0.1, and writes nothing."""

from __future__ import annotations

import errno
import logging
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from loopsim.errors import StoreError, UsageError
from loopsim.report.site import POLICY as PAGE_POLICY
from loopsim.view.addresses import Refused, check_host, check_origin, split_target
from loopsim.view.sources import Content, Source

LOOPBACK = "127.0.0.1"
MOST_THREADS = 32
"""Connections at a time; more wait. A browser opens six."""
PATIENCE = 10.0
"""Seconds that a connection may keep a thread without a word."""
POLICY = f"{PAGE_POLICY}; frame-ancestors 'none'"
"""Content-Security-Policy: that of the page (scripts are files of ours, nothing comes from elsewhere), in no frame."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""Of every answer, refusals included. There is no Access-Control header: no other site may read."""

log = logging.getLogger("loopsim.view")


class PageServer(socketserver.ThreadingMixIn, HTTPServer):
    """Serves a source; `url` says where. To be closed by whoever made it.

    Args:
        source: where the answers come from; called from several threads at once.
        port: to listen on; any free one where 0.

    Raises:
        UsageError: the port is taken or may not be used.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, source: Source, port: int = 0) -> None:
        self.source = source
        self._places = threading.BoundedSemaphore(MOST_THREADS)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why = "is in use by another program"
            elif error.errno == errno.EACCES:
                why = "is reserved for the administrator"
            else:
                raise
            raise UsageError(f"--port {port}: {why}; choose another, or leave --port out for any free one") from None

    def server_bind(self) -> None:
        """Bind without asking the network for our name, as the library's own does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, as soon as there is room for one."""
        self._places.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error; anything else is a bug, whose traceback goes to the log."""
        log.debug("a connection ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection, one request."""

    server: PageServer
    server_version = "loopsim"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    error_message_format = "%(code)d: %(explain)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        """Answer with the content."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer without it."""
        self._answer(body=False)

    def _refuse_method(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, explain="only GET and HEAD: nothing can be changed here")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse_method

    def _answer(self, body: bool) -> None:
        try:
            content = self._find()
            given = self.headers.get("If-None-Match", "")
            if f'"{content.tag}"' in given:
                self.send_response(HTTPStatus.NOT_MODIFIED)
                self._say_caching(content)
                self.end_headers()
                return
            whole = content.make()
        except Refused as refusal:
            self.send_error(refusal.status, explain=refusal.why)
            return
        except (StoreError, OSError) as error:
            # The run is being written to: what was asked for may be there again in a moment.
            log.warning("%s: %s", self.path, error)
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=str(error))
            return
        except Exception:
            log.exception("%s", self.path)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain="see the terminal that loopsim view runs in")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content.kind)
        self.send_header("Content-Length", str(len(whole)))
        self._say_caching(content)
        self.end_headers()
        if body:
            self.wfile.write(whole)

    def _find(self) -> Content:
        check_host(self.headers.get_all("Host", []), self.server.server_port)
        check_origin(self.headers.get, self.server.server_port)
        name, query = split_target(self.path)
        content = self.server.source(name or "index.html", query)
        if content is None:
            raise Refused(404, "there is no such page")
        return content

    def _say_caching(self, content: Content) -> None:
        self.send_header("ETag", f'"{content.tag}"')
        # Names stay while what they hold grows, so a copy is good only after asking.
        self.send_header("Cache-Control", "no-cache" if content.keep else "no-store")

    def end_headers(self) -> None:
        """End the headers with those that every answer has."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse in one line of plain text."""
        status = HTTPStatus(code)
        body = f"{code}: {explain or message or status.phrase}\n".encode("utf-8", "replace")
        self.send_response(code)
        self.send_header("Content-Type", self.error_content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nobody's news."""
        log.debug(format, *args)
