"""A node's serial console: its log followed line by line, and a person attached to it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from builder.errors import LabError

POLL = 0.08
"""Seconds between looks at a log that does not grow."""
_CHUNK = 1 << 16
_MAX_LINE = 1 << 16

# Moves of the cursor to another place start a new line: what boot loaders and firmware paint in rows would else run
# together. All other controls are left out.
_MOVE = re.compile(rb"\x1b\[[0-9;]*[Hf]|\x1b[DEM]|\x1b\[[0-9]*[ABEF]")
_CONTROL = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    rb"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS and the like, with their text
    rb"|\x1b[ -/]*[0-~]"  # two-character escapes, character sets
    rb"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
_OPEN_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]{0,512}|[ -/]*)\Z")
_BREAK = re.compile(rb"\r*\n|\r+")


class ConsoleFollower:
    """Reads a console log that grows, from byte `offset` on. Blank lines are left out.

    `partial` is the unfinished last line: a prompt is one. A log that is replaced or cut is read anew from its start.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self.path = path
        self.partial = ""
        self.offset = offset
        self._inode: int | None = None
        self._file: int | None = None
        self._rest = b""

    def read(self) -> list[str]:
        """Lines completed since the last call; never waits. No log yet is no line yet."""
        lines: list[str] = []
        while chunk := self._chunk():
            lines += self._take(chunk)
        return lines

    def lines(self, stop: threading.Event) -> Iterator[str]:
        """Lines as they come, until `stop` is set."""
        while not stop.is_set():
            found = self.read()
            yield from found
            if not found:
                stop.wait(POLL)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _chunk(self) -> bytes:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return b""
        replaced = self._inode is not None and now.st_ino != self._inode
        if replaced or now.st_size < self.offset:
            self.close()
            self.offset, self._rest, self.partial = 0, b"", ""
        if self._file is None:
            try:
                self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
            self._inode = os.fstat(self._file).st_ino
        chunk = os.pread(self._file, _CHUNK, self.offset)
        self.offset += len(chunk)
        return chunk

    def _take(self, chunk: bytes) -> list[str]:
        text = self._rest + chunk
        cut = _OPEN_ESCAPE.search(text)
        text, tail = (text[: cut.start()], text[cut.start() :]) if cut else (text, b"")
        if text.endswith(b"\r"):  # the line feed that belongs to it may be in the next chunk
            text, tail = text[:-1], b"\r" + tail
        parts = _BREAK.split(_CONTROL.sub(b"", _MOVE.sub(b"\n", text)))
        last = parts.pop()
        if len(last) > _MAX_LINE:
            parts.append(last)
            last = b""
        self._rest = last + tail
        self.partial = last.decode(errors="replace")
        return [line for part in parts if (line := part.decode(errors="replace").rstrip()).strip()]


def attach(
    socket_path: Path | str,
    log: Path | None = None,
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    escape: bytes = b"\x1d",
) -> Literal["escape", "closed", "end of input"]:
    """Join a person to the console: the last of `log` is shown first, then both ways until the escape (Ctrl-]) is
    typed, the guest is gone, or the input ends. The terminal is raw meanwhile, if `stdin` is one.

    One person at a time: QEMU leaves a second one waiting. Raises LabError when nobody serves the console.
    """
    source = sys.stdin.fileno() if stdin is None else stdin
    sink = sys.stdout.fileno() if stdout is None else stdout
    with socket.socket(socket.AF_UNIX) as console:
        try:
            console.connect(str(socket_path))
        except OSError as error:
            raise LabError(
                f"the console at {socket_path} cannot be reached: {error.strerror}",
                hint="nestlab status shows whether the node runs; nestlab console LAB NODE --log shows what it said",
            ) from None
        # Raw before anything is shown: what is typed at a prompt that is seen belongs to the guest.
        with _raw(source):
            if log is not None:
                _write(sink, _end_of(log))
            return _join(console, source, sink, escape)


def _join(console: socket.socket, source: int, sink: int, escape: bytes) -> Literal["escape", "closed", "end of input"]:
    while True:
        ready, _, _ = select.select([console, source], [], [])
        if console in ready:
            try:
                data = console.recv(_CHUNK)
            except ConnectionError:
                return "closed"
            if not data:
                return "closed"
            _write(sink, data)
        if source in ready:
            typed = os.read(source, 4096)
            before, met, _ = typed.partition(escape)
            try:
                console.sendall(before)
            except ConnectionError:
                return "closed"
            if met:
                return "escape"
            if not typed:
                return "end of input"


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)  # what has been typed ahead is kept
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _end_of(log: Path, size: int = 1 << 16) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read()
    except FileNotFoundError:
        return b""


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
