"""A mirror for guests behind a gateway: their requests come to 127.0.0.1, as those to 10.0.2.2 in a user-mode network.

The local tree comes first (the suite of components), then what was fetched before, then the mirror that this host's apt
is set up for. Its address is read when the server starts, and is in nothing that is written or said: the guest's
package sources name the gateway.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from builder.errors import HostLacks
from builder.images.hosts import read_host
from ci.debian_installer.components import cache_folder

PREFIX = "/debian"
GATEWAY = "10.0.2.2"
PORT = 8199
"""Unless told otherwise. One port each time: it is in the answers, by which an installed disk is known again."""
_TIMEOUT = 60
_Source = Literal["local", "cache", "upstream", "nowhere"]


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    status: int
    size: int
    source: _Source


@dataclass(slots=True)
class Served:
    """What was asked for, in order."""

    requests: list[Request] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Paths that were not there. choose-mirror asks for suites that no mirror has to have."""
        return sorted({each.path for each in self.requests if each.status != HTTPStatus.OK})

    def figures(self) -> dict[str, int]:
        """Files by where they came from, and their bytes."""
        counts = Counter(each.source for each in self.requests)
        return {**{f"files_{source}": number for source, number in sorted(counts.items())},
                "bytes": sum(each.size for each in self.requests)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Places:
    local: Path
    kept: Path
    upstream: str

    def file(self, path: str) -> tuple[Path | None, _Source]:
        """The file for a path below the archive, and where it was found."""
        inside = Path(os.path.normpath(f"/{path.lstrip('/')}")).relative_to("/")
        if (self.local / inside).is_file():
            return self.local / inside, "local"
        kept = self.kept / inside
        if kept.is_file() and _never_changes(inside):
            return kept, "cache"
        try:
            self._fetch(inside, kept)
        except urllib.error.HTTPError:
            return None, "nowhere"
        except OSError:  # no network: an index of an earlier time is better than none
            return (kept, "cache") if kept.is_file() else (None, "nowhere")
        return kept, "upstream"

    def _fetch(self, inside: Path, kept: Path) -> None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        request = urllib.request.Request(f"{self.upstream}/{inside}")
        with (
            urllib.request.urlopen(request, timeout=_TIMEOUT) as answer,
            tempfile.NamedTemporaryFile(dir=kept.parent, prefix=".part-", delete=False) as file,
        ):
            try:
                shutil.copyfileobj(answer, file, 1 << 20)
                Path(file.name).rename(kept)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _never_changes(inside: Path) -> bool:
    """Files of packages, and indices named by their digest."""
    return inside.parts[:1] == ("pool",) or "by-hash" in inside.parts


def _upstream() -> str:
    host = read_host(mirror=os.environ.get("NESTLAB_DEBIAN_MIRROR"), tools=False)
    address = host.mirror().rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise HostLacks("this host's packages come from no web server, which guests could be handed on to",
                        hint="set NESTLAB_DEBIAN_MIRROR to one (http://.../debian)")  # fmt: skip
    return address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    places: _Places
    served: Served

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        inside = self.path.removeprefix(PREFIX)
        file, source = self.places.file(urllib.parse.unquote(inside)) if inside != self.path else (None, "nowhere")
        size = file.stat().st_size if file else 0
        status = HTTPStatus.OK if file else HTTPStatus.NOT_FOUND
        self.served.requests.append(Request(self.path, status, size if body else 0, source))
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        if file and body:
            with file.open("rb") as content, contextlib.suppress(ConnectionError):
                shutil.copyfileobj(content, self.wfile, 1 << 20)

    def log_message(self, *_: object) -> None:
        """What was asked for is in `Served`."""


@contextmanager
def serve(local: Path, *, port: int = PORT) -> Iterator[Served]:
    """Serve a tree and all the mirror has, at http://127.0.0.1:PORT/debian, until the end of the block. Raises OSError
    when the port is taken, HostLacks when apt here knows no mirror."""
    served = Served()
    places = _Places(local, cache_folder() / "mirror", _upstream())
    handler = type("Handler", (_Handler,), {"places": places, "served": served})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="mirror", daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
