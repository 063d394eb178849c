"""A small server that speaks OpenAI's protocol, for tests: pictures and captions over HTTP, with faults on request.

Faults are queued by the test, one for each request; a request that finds no fault queued gets a good answer.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loopsim.models.hosted import client

KEY = "sk-test-Q7zR2mX9vLk4TtB8wYc1NdJ6"  # no run of letters: sequences of bytes occur in any Parquet file

Fault = Callable[["Handler"], bool]
"""Answers in place of the server; False where the server shall answer after all."""


def picture(prompt: str, size: tuple[int, int]) -> bytes:
    """A PNG that depends on the prompt."""
    seed = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big")
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def seen(self) -> dict[str, str]:
        """The headers, names in small letters."""
        return {name.lower(): value for name, value in self.headers.items()}

    def do_GET(self) -> None:
        """Pictures that an answer named by address."""
        self.server.fetched.append((self.path, self.seen()))
        name = self.path.rpartition("/")[2]
        if name in self.server.pictures:
            self.reply(200, self.server.pictures[name], "image/png")
        else:
            self.reply(404, b"gone", "text/plain")

    def do_POST(self) -> None:
        """The two endpoints."""
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length))
        with self.server.lock:
            self.server.requests.append((self.path, body, self.seen(), time.monotonic()))
            fault = self.server.faults.popleft() if self.server.faults else None
            self.server.under_way += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.under_way)
        try:
            self.body = body
            if fault is not None and fault(self):
                return
            if self.server.key is not None and self.headers.get("authorization") != f"Bearer {self.server.key}":
                given = self.headers.get("authorization", "").removeprefix("Bearer ")
                self.error(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
            elif self.path.endswith("/images/generations"):
                self.draw(body)
            elif self.path.endswith("/chat/completions"):
                self.say(body)
            else:
                self.error(404, "no such path", "not_found")
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def draw(self, body: dict[str, Any]) -> None:
        """An image."""
        prompt = body["prompt"]
        if any(word in prompt for word in self.server.forbidden):
            self.error(400, "Your request was rejected by the safety system.", "content_policy_violation")
            return
        side = [int(v) for v in body.get("size", "32x32").split("x")]
        data = picture(prompt, (side[0], side[1]))
        if self.server.by_url:
            name = hashlib.sha256(data).hexdigest()[:12]
            self.server.pictures[name] = data
            item = {"url": f"{self.server.address}/files/{name}"}
        else:
            item = {"b64_json": base64.b64encode(data).decode()}
        item["revised_prompt"] = f"A detailed picture: {prompt}"
        usage = {"input_tokens": len(prompt.split()), "output_tokens": 100, "total_tokens": 100 + len(prompt.split())}
        self.json(200, {"created": 1, "data": [item], "usage": usage})

    def say(self, body: dict[str, Any]) -> None:
        """A caption that depends on the picture's pixels."""
        parts = {part["type"]: part for part in body["messages"][0]["content"]}
        kind, _, data = parts["image_url"]["image_url"]["url"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            level = int(np.asarray(image).mean())
        words = f"a picture of brightness {level}"
        if any(word in words for word in self.server.forbidden):
            self.chat({"role": "assistant", "content": None, "refusal": "I can't describe this."})
            return
        self.chat({"role": "assistant", "content": words})

    def chat(self, message: dict[str, Any], reason: str = "stop") -> None:
        """A chat completion."""
        answer = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "served-2026-11-01",
            "system_fingerprint": "fp_44709d6fcb",
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
        }  # fmt: skip
        self.json(200, answer)

    def error(self, status: int, message: str, code: str, headers: dict[str, str] | None = None) -> None:
        """An error in OpenAI's form."""
        self.json(status, {"error": {"message": message, "type": "invalid_request_error", "code": code}}, headers)

    def json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        """A JSON answer."""
        self.reply(status, json.dumps(value).encode(), "application/json", headers)

    def reply(self, status: int, data: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        """Any answer."""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.send_header("x-request-id", "req_1")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    """The server; what it was asked is kept in `requests`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.faults: deque[Fault] = deque()
        self.requests: list[tuple[str, dict[str, Any], dict[str, str], float]] = []
        self.fetched: list[tuple[str, dict[str, str]]] = []
        self.pictures: dict[str, bytes] = {}
        self.forbidden: tuple[str, ...] = ()
        self.by_url = False
        self.key: str | None = KEY
        self.under_way = self.most_at_once = 0
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.base_url = f"{self.address}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what some tests are about."""


def status(code: int, message: str = "try later", **headers: str) -> Fault:
    """Answers with an error status."""

    def fault(handler: Handler) -> bool:
        handler.error(code, message, "error", {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def body(text: str, code: int = 200) -> Fault:
    """Answers with a text of one's own."""

    def fault(handler: Handler) -> bool:
        handler.reply(code, text.encode(), "application/json")
        return True

    return fault


def once_there_are(requests: int) -> Fault:
    """Waits before the answer until there have been so many requests."""

    def fault(handler: Handler) -> bool:
        end = time.monotonic() + 60
        while len(handler.server.requests) < requests and time.monotonic() < end:
            time.sleep(0.005)
        return False

    return fault


def truncated(handler: Handler) -> bool:
    """Promises more bytes than it sends, and hangs up."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.close_connection = True
    return True


def hang_up(handler: Handler) -> bool:
    """Closes the connection without a word."""
    handler.close_connection = True
    handler.connection.close()
    return True


def chat(message: dict[str, Any], reason: str = "stop") -> Fault:
    """Answers with another message."""

    def fault(handler: Handler) -> bool:
        handler.chat(message, reason)
        return True

    return fault


@contextlib.contextmanager
def running(environment: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server as `endpoint:lab/…`, with a client that soon asks again, but gives a busy machine time to answer."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    environment.setenv("LOOPSIM_BASE_URL_LAB", server.base_url)
    environment.setenv("LOOPSIM_API_KEY_LAB", KEY)
    quick = client.Patience(timeout=60.0, attempts=4, first_wait=0.01, longest_wait=0.05, longest_ask=3.0)
    environment.setattr(client, "patience", lambda: quick)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
