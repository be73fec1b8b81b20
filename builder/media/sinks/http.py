"""Plans served over HTTP: virtual media of one source, a different image for each machine, nothing written.

Ranges are answered as management controllers, QEMU and curl ask for them; source bytes go out by sendfile.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

from builder.media.errors import MediaError
from builder.media.plan import GraftPlan
from builder.media.sinks.resources import ISO9660, TEXT, BytesResource, Catalogue, ImageResource, Resource, Tree, tag_of

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")
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


class ImageServer:
    """Serves images by name (`/host1.iso`), small `files` beside them, and the files inside the images named in
    `trees` below the image's name (`/host1.iso/.treeinfo`). Listens from the start on; `start` answers in a thread of
    its own."""

    def __init__(
        self,
        images: Mapping[str, GraftPlan],
        files: Mapping[str, bytes] | None = None,
        *,
        trees: Collection[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        on_request: OnRequest | None = None,
    ) -> None:
        self._thread: threading.Thread | None = None
        fixed: dict[str, Resource] = {
            _rooted(name): BytesResource(data, ISO9660 if name.endswith(".iso") else TEXT)
            for name, data in (files or {}).items()
        }
        inside: dict[str, Tree] = {}
        with contextlib.ExitStack() as stack:
            for name, plan in images.items():
                whole = ImageResource(plan, stack.enter_context(plan.open()), tag_of(plan))
                fixed[_rooted(name)] = whole
                if name in trees:
                    inside[_rooted(name)] = Tree(whole)
            try:
                self._server = _Server((host, port), Catalogue(fixed, inside), on_request)
            except (OSError, OverflowError) as error:
                why = error.strerror if isinstance(error, OSError) else "there is no such port"
                raise MediaError(f"cannot listen on {host} port {port}: {why}", hint="choose another") from None
            self._open = stack.pop_all()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def url(self, name: str) -> str:
        host, port = self.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{quote(_rooted(name))}"

    def start(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="media http", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when the server ends: in a program that only serves, by the exception that a signal raises."""
        if self._thread is not None:
            self._thread.join()

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


def _rooted(name: str) -> str:
    return "/" + name.strip("/")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], served: Catalogue, on_request: OnRequest | None) -> None:
        self.served, self.on_request = served, on_request
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
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
        found = self.server.served.find(unquote(urlsplit(self.path).path))
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND, {})
            return
        if not found.fresh():
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, {})
            return
        wanted = self._range(found.size, found.tag)
        if wanted is None:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{found.size}"})
            return
        start, end, partial = wanted
        status = HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK
        self.send_response(status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", found.tag)
        if found.modified:
            self.send_header("Last-Modified", formatdate(found.modified, usegmt=True))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{found.size}")
        self.end_headers()
        self._tell(status, start, end if body else start)
        if body:
            try:
                found.send(self.connection.fileno(), start, end)
            except (OSError, MediaError):
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
