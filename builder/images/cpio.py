"""Memory-root archives ("newc" cpio), written without root and byte for byte the same each time.

Owners are root, times are one fixed second, inode numbers follow the order of writing, so that two archives of the
same files are equal. Device nodes are seldom needed: the kernel brings /dev/console, devtmpfs the rest.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import BinaryIO

from builder.model.plan import File

# One second after the epoch: some programs take a time of 0 for "unset".
FIXED_TIME = 1
_BLOCK = 512


class Archive:
    """Writes entries to `out` as they come; parents are made (0755) when missing. Paths may begin with '/'."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._seen: set[str] = set()
        self._inode = 0
        self._written = 0

    def directory(self, path: str, mode: int = 0o755) -> None:
        name = _clean(path)
        if name and name not in self._seen:
            self._parents(name)
            self._entry(name, stat.S_IFDIR | mode, b"")

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        name = _clean(path)
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, content)

    def symlink(self, path: str, target: str) -> None:
        name = _clean(path)
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """A character device node; the kernel makes it when it unpacks the archive."""
        name = _clean(path)
        self._parents(name)
        self._entry(name, stat.S_IFCHR | mode, b"", (major, minor))

    def close(self) -> None:
        """The trailer, padded so that another archive may follow."""
        self._entry("TRAILER!!!", 0, b"")
        self._pad(_BLOCK)

    def _parents(self, name: str) -> None:
        for parent in reversed(PurePosixPath(name).parents):
            if str(parent) != "." and str(parent) not in self._seen:
                self._entry(str(parent), stat.S_IFDIR | 0o755, b"")

    def _entry(self, name: str, mode: int, content: bytes, node: tuple[int, int] = (0, 0)) -> None:
        if name in self._seen:
            raise ValueError(f"{name} is twice in one archive")
        self._seen.add(name)
        self._inode += 1
        raw = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._inode, mode, 0, 0, links, FIXED_TIME, len(content), 0, 0, *node, len(raw), 0)
        self._put(b"070701" + b"".join(b"%08X" % f for f in fields) + raw)
        self._pad(4)
        self._put(content)
        self._pad(4)

    def _put(self, data: bytes) -> None:
        self._out.write(data)
        self._written += len(data)

    def _pad(self, block: int) -> None:
        self._put(b"\0" * (-self._written % block))


def write_files(out: BinaryIO, files: Iterable[File]) -> None:
    """One archive of `files`. Folders that hold only private files (0600 or less) are private too (0700)."""
    archive = Archive(out)
    chosen = list(files)
    for folder in sorted(private_folders(chosen)):
        archive.directory(folder, 0o700)
    for item in chosen:
        archive.file(item.path, item.content.encode(), item.mode)
    archive.close()


def private_folders(files: Iterable[File]) -> set[str]:
    """Paths of the `.ssh` folders among the files' parents: sshd refuses keys in a folder that others may enter."""
    found = set()
    for item in files:
        found |= {str(p).lstrip("/") for p in PurePosixPath(item.path).parents if p.name == ".ssh"}
    return found


def _clean(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{path} leaves the tree")
    return "/".join(parts)
