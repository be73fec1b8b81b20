"""A running guest's memory, read from outside: what a kernel knows shows there even when its console is silent.

Install media that do not name a serial console say nothing on it, and `quiet` keeps the rest from the screen. But
every Linux kernel writes `Command line: ...` to its log first of all (setup_arch), and the log is text in memory; and
a file that it unpacked from an initial RAM disk, or read from the medium, is a row of whole pages, the last one filled
up with zeros. Neither shape occurs in an archive or a menu that a boot loader only loaded.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = 4096
LEAST = 16
"""Bytes: shorter files are not told from other data."""
_CHUNK = 8 << 20
_PAGES = 16
_NEEDLE = 256
# Found by a plain search, which is 20 times faster than a pattern: it goes through gigabytes while the guest runs.
_MARK, _XEN = b"ommand line: ", b"(XEN)"
_PANIC = b"---[ end Kernel panic - not syncing: "
_BEFORE = 64
# What stands before it in its line: Xen's mark, a time stamp. Drivers have complaints that end with the same words.
_LEAD = re.compile(rb"(?:\(XEN\) |\[[^\]\n\0]*\] ?)*(?:(?<![\x20-\x7e])C|(?<=[\])] )C|Kernel c)\Z")
_TEXT = re.compile(rb"[\x20-\x7e]{1,4096}")


class GuestMemory:
    """The memory of a QEMU whose RAM is a memfd. Reading leaves pages that the guest never touched alone."""

    def __init__(self, pid: int) -> None:
        """Raises OSError when that QEMU is gone, or has no such memory."""
        for entry in sorted(Path(f"/proc/{pid}/fd").iterdir()):
            with contextlib.suppress(OSError):
                if entry.readlink().name.startswith("memfd:memory-backend"):
                    self._fd = os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
                    return
        raise FileNotFoundError(f"process {pid} has no memory that could be read")

    def close(self) -> None:
        os.close(self._fd)

    def chunks(self) -> Iterator[bytes]:
        """The pages in use, in order, some mebibytes at a time; each piece starts at a page."""
        at = 0
        while True:
            try:
                at = os.lseek(self._fd, at, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but holes from here on
                return
            end = os.lseek(self._fd, at, os.SEEK_HOLE)
            while at < end:
                piece = os.pread(self._fd, min(_CHUNK, end - at), at)
                if not piece:
                    return
                yield piece
                at += len(piece)


class Pages:
    """A file as the pages that it fills in memory. `missing` counts those that were not met yet."""

    def __init__(self, content: bytes) -> None:
        cut = [content[at : at + PAGE].ljust(PAGE, b"\0") for at in range(0, min(len(content), _PAGES * PAGE), PAGE)]
        self._waiting = [page for page in dict.fromkeys(cut) if page.strip(b"\0")]

    @property
    def missing(self) -> int:
        return len(self._waiting)

    def look(self, chunk: bytes) -> None:
        """Strike off the pages that are in `chunk`, which starts at a page."""
        self._waiting = [page for page in self._waiting if not _holds(chunk, page)]


def _holds(chunk: bytes, page: bytes) -> bool:
    needle = page[:_NEEDLE].rstrip(b"\0")
    at = chunk.find(needle)
    while at >= 0:
        if at % PAGE == 0 and chunk[at : at + PAGE] == page:
            return True
        at = chunk.find(needle, at + 1)
    return False


def command_lines(chunk: bytes) -> Iterator[tuple[bool, str]]:
    """(of the hypervisor, text) of each command line that a kernel put in its log. A format string is none."""
    at = chunk.find(_MARK)
    while at >= 0:
        start = at + len(_MARK)
        text = _TEXT.match(chunk, start)
        said = text[0].decode("ascii").strip() if text else ""
        before = _LEAD.search(chunk, max(0, at - _BEFORE), at)
        if before is not None and said and not said.startswith("%"):
            yield before[0].startswith(_XEN), said
        at = chunk.find(_MARK, start)


def panics(chunk: bytes) -> Iterator[str]:
    """The last line of each panic that a kernel put in its log; on a silent console it is nowhere else."""
    at = chunk.find(_PANIC)
    while at >= 0:
        text = _TEXT.match(chunk, at)
        if text and b"%s" not in text[0][: len(_PANIC) + 4]:
            yield text[0].decode("ascii")
        at = chunk.find(_PANIC, at + 1)


@dataclass(frozen=True, slots=True)
class Found:
    """What one look through a memory showed: command lines (of the hypervisor?, text), and panics."""

    lines: list[tuple[bool, str]] = field(default_factory=list)
    panics: list[str] = field(default_factory=list)


def look(memory: GuestMemory, files: Sequence[Pages], *, lines: bool = True) -> Found:
    """Go through the memory once: command lines that are there (if `lines`); `files` are struck off page by page."""
    found = Found()
    for chunk in memory.chunks():
        if lines:
            found.lines.extend(command_lines(chunk))
        found.panics.extend(panics(chunk))
        for file in files:
            if file.missing:
                file.look(chunk)
    return found
