"""A medium as bytes: the source, never written, and the image that a plan makes of it.

The image is the source up to `cut`, then `grown` new bytes, then the rest of the source (its tail: backup partition
table, appended partitions, padding) at its old distance from the end. Runs lie over that, patched sectors on top.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from builder.media.errors import MediaError, WrongPath, damaged

SECTOR = 2048
CLONE_GRAIN = 4096
_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """Which bytes a file held when it was looked at. Sizes in bytes, times in nanoseconds."""

    path: Path
    size: int
    mtime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, fd: int, path: Path) -> Identity:
        """Raises WrongPath when `fd` is neither a regular file nor a block device."""
        info = os.fstat(fd)
        if stat.S_ISBLK(info.st_mode):
            return cls(path, os.lseek(fd, 0, os.SEEK_END), 0, info.st_ino, info.st_rdev)
        if not stat.S_ISREG(info.st_mode):
            raise WrongPath(f"{path} is not a file", hint="name a regular file or a block device")
        return cls(path, info.st_size, info.st_mtime_ns, info.st_ino, info.st_dev)

    def check(self, fd: int) -> None:
        """Raises MediaError when the file behind `fd` is no longer the one that was planned with."""
        if Identity.of(fd, self.path) != self:
            raise MediaError(
                f"{self.path} changed since the plan was made", hint="plan again from the file as it is now"
            )


def open_readable(path: Path) -> int:
    """A read-only descriptor. Raises WrongPath for what cannot be opened."""
    try:
        # Without waiting: a named pipe has no end to wait for, and is refused by what it is.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise WrongPath(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def read_exactly(fd: int, offset: int, length: int, path: Path) -> bytes:
    """Raises MediaError when the file is shorter than it was."""
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise MediaError(f"{path} became shorter while it was read", hint="let nothing write to it")
        data += more
    return data


def in_pieces(read: Callable[[int, int], bytes], offset: int, length: int) -> Iterator[bytes]:
    """What `read(offset, length)` gives, a mebibyte at a time."""
    for at in range(offset, offset + length, _STEP):
        yield read(at, min(_STEP, offset + length - at))


class Readable(Protocol):
    """What a medium is read from: a file, or an image that exists only as a plan."""

    @property
    def path(self) -> Path: ...

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises MediaError when they are not all there."""
        ...


class Source:
    """A medium opened for reading. `bytes_read` counts what was asked of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = open_readable(path)
        try:
            self.identity = Identity.of(self.fd, path.absolute())
        except BaseException:
            os.close(self.fd)
            raise
        self.size = self.identity.size
        self.bytes_read = 0

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises MediaError when they are not all there."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise damaged(f"{self.path}: bytes {offset} to {offset + length} are past the end ({self.size})")
        self.bytes_read += length
        return read_exactly(self.fd, offset, length, self.path)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class SourcePart:
    """Bytes of the source at `offset`."""

    offset: int


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes of a local file from `offset` on."""

    identity: Identity
    offset: int = 0


Payload = bytes | SourcePart | FilePart | None


@dataclass(frozen=True, slots=True)
class Segment:
    """`length` bytes of the image at `offset`. No payload means zeros."""

    offset: int
    length: int
    payload: Payload

    @property
    def end(self) -> int:
        return self.offset + self.length

    def part(self, start: int, end: int) -> Segment:
        """The piece between two image offsets, which must lie inside."""
        skip = start - self.offset
        payload = self.payload
        if isinstance(payload, bytes):
            payload = payload[skip : skip + end - start]
        elif isinstance(payload, SourcePart):
            payload = SourcePart(payload.offset + skip)
        elif isinstance(payload, FilePart):
            payload = FilePart(payload.identity, payload.offset + skip)
        return Segment(start, end - start, payload)


def compose(base: Sequence[Segment], patches: Mapping[int, bytes]) -> Iterator[Segment]:
    """`base` (in order, without holes) with the patched sectors on top, still in order and without holes."""
    pending = iter(_join(patches))
    patch = next(pending, None)
    for segment in base:
        at = segment.offset
        while patch is not None and patch.offset < segment.end:
            if patch.offset > at:
                yield segment.part(at, patch.offset)
            if patch.end > segment.end:
                # A row of patched sectors may span two segments: give the part here, keep the rest for the next.
                yield patch.part(max(patch.offset, at), segment.end)
                patch = patch.part(segment.end, patch.end)
                at = segment.end
                break
            yield patch
            at = patch.end
            patch = next(pending, None)
        if at < segment.end:
            yield segment.part(at, segment.end)


def _join(patches: Mapping[int, bytes]) -> Iterator[Segment]:
    start, row = -1, bytearray()
    for sector in sorted(patches):
        if row and sector * SECTOR != start + len(row):
            yield Segment(start, len(row), bytes(row))
            row = bytearray()
        if not row:
            start = sector * SECTOR
        row += patches[sector]
    if row:
        yield Segment(start, len(row), bytes(row))


def _lay(data: bytearray, offset: int, patches: Mapping[int, bytes]) -> None:
    """Put patched sectors over bytes that were read at `offset`."""
    for sector in range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)):
        patch = patches.get(sector)
        if patch is not None:
            at = sector * SECTOR
            first, last = max(at, offset), min(at + SECTOR, offset + len(data))
            data[first - offset : last - offset] = patch[first - at : last - at]


def _patch(patches: dict[int, bytes], offset: int, data: bytes, old: Callable[[int], bytes]) -> None:
    for sector in range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)):
        at = sector * SECTOR
        first, last = max(at, offset), min(at + SECTOR, offset + len(data))
        new = data[first - offset : last - offset]
        if last - first < SECTOR:
            before = old(at).ljust(SECTOR, b"\0")
            new = before[: first - at] + new + before[last - at :]
        patches[sector] = bytes(new)


class View:
    """The source as a plan sees it: reads see what was patched before. Offsets up to `end` are the coming image's."""

    def __init__(self, source: Readable, cut: int | None = None) -> None:
        self.source = source
        self.cut = source.size if cut is None else cut
        self.end = self.cut
        self.runs: list[Segment] = []
        self.patches: dict[int, bytes] = {}
        self.tail_patches: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the image under construction. Raises MediaError past its end."""
        if offset < 0 or length < 0 or offset + length > max(self.end, self.cut):
            raise damaged(f"{self.source.path}: bytes {offset} to {offset + length} are past the end ({self.end})")
        from_source = max(0, min(length, self.cut - offset))
        if not self.runs and not self.patches:
            return self.source.read(offset, from_source)
        data = bytearray(self.source.read(offset, from_source) if from_source else b"")
        data += bytes(length - from_source)
        for run in self.runs:
            first, last = max(run.offset, offset), min(run.end, offset + length)
            if first < last and isinstance(run.payload, bytes):
                data[first - offset : last - offset] = run.payload[first - run.offset : last - run.offset]
        _lay(data, offset, self.patches)
        return bytes(data)

    def patch(self, offset: int, data: bytes) -> None:
        """Replace bytes. Whole sectors are kept, so that every sink writes sectors."""
        limit = max(self.end, self.cut)
        _patch(self.patches, offset, data, lambda at: self.read(at, max(0, min(SECTOR, limit - at))))

    def read_tail(self, offset: int, length: int) -> bytes:
        """Bytes behind the cut, where the source has them."""
        data = bytearray(self.source.read(offset, length))
        _lay(data, offset, self.tail_patches)
        return bytes(data)

    def patch_tail(self, offset: int, data: bytes) -> None:
        """Replace bytes behind the cut; the offset is the source's."""
        limit = self.source.size
        _patch(self.tail_patches, offset, data, lambda at: self.read_tail(at, max(0, min(SECTOR, limit - at))))

    def allocate(self, length: int, *, like: int | None = None) -> int:
        """Offset of `length` new bytes at the end, on a block of its own.

        With `like` the offset is congruent to it modulo 4096, so that file systems can share the bytes.
        """
        at = -(-self.end // SECTOR) * SECTOR
        if like is not None and length >= 1 << 20 and at % CLONE_GRAIN != like % CLONE_GRAIN:
            at += SECTOR
        self.end = -(-(at + max(length, 1)) // SECTOR) * SECTOR
        return at

    def run(self, offset: int, length: int, payload: bytes | SourcePart | FilePart) -> None:
        """Lay bytes over allocated room."""
        if length:
            self.runs.append(Segment(offset, length, payload))

    def settle(self) -> None:
        """Drop patched sectors that say what the source says, so that a plan lists only what changes."""
        for sector, data in list(self.patches.items()):
            at = sector * SECTOR
            if at + SECTOR <= self.cut and self.source.read(at, SECTOR) == data:
                del self.patches[sector]
