"""What an installation tells of itself over HTTP: a listener for the posts of the scripts in its answers.

A script finds the address on the kernel's command line, and posts to `ADDRESS/KIND/PHASE`; the body's first line is the
message, what follows is the end of the installer's log. The guest is not trusted: whoever has no token is turned away,
sizes and numbers are limited, and what comes in is text with secrets and control characters taken out.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast, get_args

from builder.secrets import Secret, redact

ARGUMENT = "nestlab.hooks"
"""The kernel's argument. With a dot in its name the kernel hands it to no program's environment."""
MOST_BODY = 64 * 1024
MOST_MESSAGE = 400
Kind = Literal["begin", "end", "fail"]

_MOST_REPORTS = 5000
_MOST_LOG = 8 * 1024 * 1024
_MOST_GUESTS = 16
_PATIENCE = 10.0
_PATH = re.compile(r"/([0-9a-f]{32})/(begin|end|fail)/([a-z0-9][a-z0-9-]{0,39})")
# Controls, and the marks that break a line or turn its direction.
_UNSEEN = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Report:
    """A post: at which part of the installation it is. `message` is one line; `log` the end of the installer's log,
    where it failed."""

    kind: Kind
    phase: str
    message: str
    log: str = ""


class HookListener:
    """Listens on a port of 127.0.0.1, for one boot of one node, from its making to `close`.

    `told` is called with each report from threads of the listener, one at a time. Reports are appended to the file
    `log` (mode 0600), with the text that came with them; `secrets` are masked in both. Raises OSError when no port is
    free or the file cannot be opened.
    """

    def __init__(
        self, told: Callable[[Report], None], *, log: Path | None = None, secrets: Iterable[Secret] = ()
    ) -> None:
        self._told = told
        self._secrets = tuple(secrets)
        self._token = _token()
        self._turn = threading.Lock()
        self._reports = 0
        self._began = time.monotonic()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._log = os.open(log, flags, 0o600) if log is not None else None
        self._room = _MOST_LOG
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="hooks", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def argument(self, host: str, port: int | None = None) -> str:
        """What the installer's kernel is told; `host` is this machine's address as the guest sees it, `port` another
        than ours, that leads to it."""
        return f"{ARGUMENT}=http://{host}:{port or self.port}/{self._token}"

    def allows(self, token: str) -> bool:
        return hmac.compare_digest(token, self._token)

    def take(self, kind: Kind, phase: str, body: bytes) -> bool:
        """One post. False when there have been too many; the listener is closed for the rest of the boot then."""
        first, _, rest = _clean(body, self._secrets).partition("\n")
        report = Report(kind, phase, first.strip()[:MOST_MESSAGE], rest.strip("\n"))
        with self._turn:
            self._reports += 1
            if self._reports > _MOST_REPORTS:
                return False
            self._keep(report)
            self._told(report)
        return True

    def close(self) -> None:
        """At once: a guest in the middle of a post is not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._turn:
            self._reports = _MOST_REPORTS
            if self._log is not None:
                os.close(self._log)
                self._log = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, report: Report) -> None:
        if self._log is None:
            return
        lines = [f"+{time.monotonic() - self._began:.1f} s {report.kind} {report.phase}: {report.message}"]
        lines += [f"| {line}" for line in report.log.splitlines()]
        data = ("\n".join(lines) + "\n").encode()
        if len(data) <= self._room:
            self._room -= len(data)
            with contextlib.suppress(OSError):  # a full disk must not stop what is followed
                os.write(self._log, data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = _MOST_GUESTS

    def __init__(self, listener: HookListener) -> None:
        self.listener = listener
        self._places = threading.BoundedSemaphore(_MOST_GUESTS)
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A guest that sends a byte now and then would hold its place for ever: each has this long and no longer.
        end = threading.Timer(_PATIENCE, _cut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A guest that went away, or was cut off, is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE
    server_version = "nestlab"
    sys_version = ""

    def do_POST(self) -> None:
        listener = cast(_Server, self.server).listener
        asked = _PATH.fullmatch(self.path)
        if asked is None or not listener.allows(asked[1]):
            self._answer(HTTPStatus.NOT_FOUND)
            return
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdigit()):
            self._answer(HTTPStatus.LENGTH_REQUIRED)
        elif len(size) > 9 or int(size) > MOST_BODY:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            body = self.rfile.read(int(size))
            kind = cast(Kind, asked[2])
            if len(body) == int(size) and kind in get_args(Kind):
                took = listener.take(kind, asked[3], body)
                self._answer(HTTPStatus.NO_CONTENT if took else HTTPStatus.TOO_MANY_REQUESTS)

    def _answer(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """What matters is in the listener's own log."""


def _token() -> str:
    return secrets.token_hex(16)


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _clean(body: bytes, known: Iterable[Secret]) -> str:
    text = body.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return redact(_UNSEEN.sub("", text), known)
