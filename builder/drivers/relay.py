"""A console that comes over libvirt: kept in a log of ours, and served to one person at a time on a socket of ours.

libvirt carries it for whoever may use the connection; the console's socket and log on the other machine belong to its
daemon. Both ends look like those of a guest here: drivers.console follows the log and attaches to the socket.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Protocol

_CHUNK = 1 << 16
_PATIENCE = 5


class Stream(Protocol):
    """libvirt's stream, waiting at each call: b'' is its end. Any of them raises when the guest is gone."""

    def recv(self, size: int) -> bytes: ...
    def send(self, data: bytes) -> int: ...
    def abort(self) -> object: ...


class ConsoleRelay:
    """Open until the stream ends or `close`. The log is appended to (mode 0600)."""

    def __init__(self, stream: Stream, log: Path, at: Path, *, name: str) -> None:
        self._stream = stream
        self._at = at
        self._guard = threading.Lock()
        self._person: socket.socket | None = None
        self._over = threading.Event()
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        at.unlink(missing_ok=True)
        self._listener.bind(str(at))
        at.chmod(0o600)
        self._listener.listen(1)
        self._reader = threading.Thread(target=self._read, name=f"console of {name}", daemon=True)
        self._reader.start()
        threading.Thread(target=self._serve, name=f"typing for {name}", daemon=True).start()

    def close(self) -> None:
        """Twice is fine. What came before is in the log."""
        self._over.set()
        with contextlib.suppress(Exception):  # libvirt's own error, of a stream that is gone
            self._stream.abort()
        self._reader.join(_PATIENCE)

    def _read(self) -> None:
        with contextlib.suppress(Exception):  # libvirt's own, of a guest or a connection that ended: others tell of it
            while not self._over.is_set() and (data := self._stream.recv(_CHUNK)):
                with contextlib.suppress(OSError):  # a full disk must not stop what is followed
                    os.write(self._log, data)
                self._show(data)
        self._over.set()
        self._at.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()
        self._part()
        os.close(self._log)

    def _show(self, data: bytes) -> None:
        person = self._person
        if person is not None:
            try:
                person.sendall(data)
            except OSError:  # went away, or does not read
                self._part()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                person, _ = self._listener.accept()
            except OSError:
                return
            person.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE, 0))
            with self._guard:
                self._person = person
            with contextlib.suppress(Exception):  # as above
                while typed := person.recv(_CHUNK):
                    while typed:
                        typed = typed[self._stream.send(typed) :]
            self._part()

    def _part(self) -> None:
        with self._guard:
            person, self._person = self._person, None
        if person is not None:
            with contextlib.suppress(OSError):
                person.shutdown(socket.SHUT_RDWR)
            person.close()
