"""Plans served over HTTP: virtual media of one source, a different image for each machine, nothing written.

Ranges are answered as management controllers, QEMU and curl ask for them; source bytes go out by sendfile.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from builder.media.errors import MediaError
from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.stream import send_part

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_SEND_SECONDS = 60
OnRequest = Callable[["Request"], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked and answered: for logs and progress. `start` and `end` are the bytes sent."""

    client: str
    method: str
    path: str
    status: int
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class _Served:
    plan: GraftPlan
    image: PlannedImage
    tag: str


class ImageServer:
    """Serves images by name (`/host1.iso`). Listens from the start on; `start` answers in a thread of its own."""

    def __init__(
        self,
        images: Mapping[str, GraftPlan],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_request: OnRequest | None = None,
    ) -> None:
        self._served: dict[str, _Served] = {}
        self._thread: threading.Thread | None = None
        with contextlib.ExitStack() as stack:
            for name, plan in images.items():
                image = stack.enter_context(plan.open())
                self._served["/" + name.strip("/")] = _Served(plan, image, _tag(plan))
            try:
                self._server = _Server((host, port), self._served, on_request)
            except OSError as error:
                raise MediaError(
                    f"cannot listen on {host} port {port}: {error.strerror}", hint="choose another port"
                ) from None
            self._open = stack.pop_all()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def url(self, name: str) -> str:
        host, port = self.address
        return f"http://{host}:{port}/{name.strip('/')}"

    def start(self) -> None:
        self._thread = threading.Thread(target=self.serve, name="media http", daemon=True)
        self._thread.start()

    def serve(self) -> None:
        """Answer until `close` is called from another thread."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Stop listening, end what is being sent, close the sources."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._open.close()

    def __enter__(self) -> ImageServer:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _tag(plan: GraftPlan) -> str:
    """A strong validator: equal for equal images of an unchanged source."""
    sum_ = hashlib.sha256(repr((plan.source, plan.cut, plan.size)).encode())
    for run in plan.runs:
        sum_.update(repr((run.offset, run.length, run.payload)).encode())
    for sector in sorted(plan.patches):
        sum_.update(sector.to_bytes(8, "big") + plan.patches[sector])
    return f'"{sum_.hexdigest()[:32]}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], served: Mapping[str, _Served], on_request: OnRequest | None) -> None:
        self.served, self.on_request = served, on_request
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nestlab"
    sys_version = ""
    server: _Server

    def setup(self) -> None:
        super().setup()
        # A time-out in the kernel keeps the descriptor blocking, as sendfile needs.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_SECONDS, 0))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SEND_SECONDS, 0))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Whoever wants a log hands in `on_request`."""

    def _tell(self, status: int, start: int = 0, end: int = 0) -> None:
        if self.server.on_request is not None:
            request = Request(str(self.client_address[0]), self.command, self.path, status, start, end)
            self.server.on_request(request)

    def _answer(self, *, body: bool) -> None:
        served = self.server.served.get(unquote(urlsplit(self.path).path))
        if served is None:
            self._refuse(HTTPStatus.NOT_FOUND, {})
            return
        try:
            served.plan.source.check(served.image.source_fd)
        except MediaError:
            # Half an old and half a new image is worse than none.
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, {})
            return
        size = served.image.size
        wanted = self._range(size, served.tag)
        if wanted is None:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
            return
        start, end, partial = wanted
        status = HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK
        self.send_response(status)
        self.send_header("Content-Type", "application/x-iso9660-image")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", served.tag)
        self.send_header("Last-Modified", formatdate(served.plan.source.mtime_ns // 10**9, usegmt=True))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        self._tell(status, start, end if body else start)
        if body:
            try:
                send_part(served.image, self.connection.fileno(), start, end)
            except OSError:
                self.close_connection = True

    def _range(self, size: int, tag: str) -> tuple[int, int, bool] | None:
        """(start, end, whether a part was asked for); None when the part is not there.

        Several ranges at once are answered with the whole image, which the standard allows.
        """
        found = _RANGE.match(self.headers.get("Range", "").strip())
        condition = self.headers.get("If-Range")
        if not found or not (found[1] or found[2]) or (condition and condition.strip() != tag):
            return 0, size, False
        if not found[1]:
            length = min(int(found[2]), size)
            return (size - length, size, True) if length else None
        start = int(found[1])
        last = min(int(found[2]), size - 1) if found[2] else size - 1
        if start >= size:
            return None
        return (start, last + 1, True) if last >= start else (0, size, False)

    def _refuse(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self._tell(status)
