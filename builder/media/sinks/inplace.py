"""The plan made on the source itself, with a journal beside it that takes it back.

The journal holds every byte that will be overwritten and is on the disk before the first of them is. Whatever
happens then, `undo_in_place` gives the old image again, bit for bit.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from builder.media.errors import MediaError
from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.copying import write_all
from builder.media.sinks.file import Written, no_room
from builder.media.view import Segment, SourcePart
from builder.paths import fsync_dir

_MAGIC = b"nestlab-undo-1\n"
_ITEM = struct.Struct(">QIII")
_STEP = 1 << 20


def journal_of(image: Path) -> Path:
    """Where the way back of an image lies."""
    return image.with_name(image.name + ".undo")


def apply_in_place(plan: GraftPlan, *, durable: bool = False) -> Written:
    """Change the source file into the image; its journal stays until it is undone or removed.

    `durable`: wait until the image is on the disk too. The journal always is, before the first byte changes.

    Raises MediaError when a journal is there already, when the source changed since the plan, or is no regular file.
    """
    path = _real(plan.source.path)
    journal = journal_of(path)
    with _opened(path) as fd:
        plan.source.check(fd)
        if journal.exists():
            raise MediaError(
                f"{path} was changed in place before", hint=f"undo that first, or remove {journal} to keep the change"
            )
        with plan.open() as image:
            todo = [s for s in image.segments if s.payload != SourcePart(s.offset)]
            _write_journal(journal, plan, _old(fd, todo, plan.source.size))
            try:
                _apply(plan, image, fd, todo)
                if durable:
                    os.fsync(fd)
            except BaseException as error:
                # Ctrl-C too: what is half done is taken back at once, while we are here to do it.
                with contextlib.suppress(MediaError, OSError):
                    _restore(fd, journal)
                    journal.unlink()
                if isinstance(error, OSError):
                    raise no_room(error, path, plan.size) from None
                raise
    return Written(path, plan.size, "in place", plan.written)


def undo_in_place(path: Path) -> int:
    """Give an image its old bytes and size again; returns how many bytes that took.

    Raises MediaError when there is no journal, or it is damaged.
    """
    path = _real(path)
    journal = journal_of(path)
    with _opened(path) as fd:
        restored = _restore(fd, journal)
        os.fsync(fd)
    journal.unlink()
    fsync_dir(journal.parent)
    return restored


def _real(path: Path) -> Path:
    """The file itself, so that its journal lies beside it. Raises MediaError when it is no regular file."""
    try:
        real = path.resolve()
        if real.is_file():
            return real
    except (OSError, RuntimeError):
        raise MediaError(f"cannot look at {path}", hint="check the path") from None
    raise MediaError(f"{path} is not a regular file", hint="only files are changed in place")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MediaError(f"cannot write {path}: {error.strerror}", hint="check its permissions") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _old(fd: int, todo: list[Segment], size: int) -> Iterator[tuple[int, bytes]]:
    """What the source holds where the plan writes."""
    for segment in todo:
        for at in range(segment.offset, min(segment.end, size), _STEP):
            yield at, os.pread(fd, min(_STEP, segment.end - at, size - at), at)


def _write_journal(journal: Path, plan: GraftPlan, old: Iterator[tuple[int, bytes]]) -> None:
    temporary = journal.with_name(journal.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(_MAGIC)
            head = json.dumps({"size": plan.source.size, "mtime_ns": plan.source.mtime_ns, "new_size": plan.size})
            file.write(head.encode() + b"\n")
            for at, data in old:
                packed = zlib.compress(data, 1)
                file.write(_ITEM.pack(at, len(data), len(packed), zlib.crc32(packed)) + packed)
            file.write(_ITEM.pack(0, 0, 0, 0))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(journal)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise no_room(error, journal, plan.written) from None
    fsync_dir(journal.parent)


def _apply(plan: GraftPlan, image: PlannedImage, fd: int, todo: list[Segment]) -> None:
    # Parts of the source behind the cut lie where new bytes go, and all go the same way towards the end: first, and
    # the last of them first. The rest is read from in front of the cut, where only patches go, which are plan bytes
    # and come last.
    tail = [s for s in todo if isinstance(s.payload, SourcePart) and s.payload.offset >= plan.cut]
    os.ftruncate(fd, max(plan.size, plan.source.size))
    for segment in reversed(tail):
        for at in reversed(range(segment.offset, segment.end, _STEP)):
            write_all(fd, image.read(at, min(_STEP, segment.end - at)), at)
    for segment in todo:
        if segment in tail or isinstance(segment.payload, bytes):
            continue
        # Behind the old end the file was just made longer, with zeros.
        at, end = segment.offset, segment.end if segment.payload is not None else min(segment.end, plan.source.size)
        for piece in image.pieces(segment.offset, max(at, end)):
            write_all(fd, piece, at)
            at += len(piece)
    for segment in todo:
        if isinstance(segment.payload, bytes):
            write_all(fd, segment.payload, segment.offset)
    os.ftruncate(fd, plan.size)


def _restore(fd: int, journal: Path) -> int:
    try:
        data = journal.read_bytes()
    except FileNotFoundError:
        raise MediaError(f"there is no {journal.name} beside the image", hint="it was not changed in place") from None
    except OSError as error:
        raise MediaError(f"cannot read {journal}: {error.strerror}", hint="check its permissions") from None
    if not data.startswith(_MAGIC):
        raise MediaError(f"{journal} is not an undo journal", hint="restore the image from where it came")
    line, _, rest = data[len(_MAGIC) :].partition(b"\n")
    size, mtime_ns, new_size = _head(line, journal)
    if os.fstat(fd).st_size not in (size, new_size, max(size, new_size)):
        raise MediaError(
            f"{journal} belongs to another image: this one has neither the old size nor the new one",
            hint="remove the journal, if the image is right as it is",
        )
    items = list(_items(memoryview(rest), journal))  # sound to its end, before anything is written
    restored = 0
    for at, packed in items:
        old = zlib.decompress(packed)
        write_all(fd, old, at)
        restored += len(old)
    os.ftruncate(fd, size)
    os.utime(fd, ns=(mtime_ns, mtime_ns))
    return restored


def _head(line: bytes, journal: Path) -> tuple[int, int, int]:
    """Old size, old time and new size of the image."""
    try:
        head = json.loads(line)
        return int(head["size"]), int(head["mtime_ns"]), int(head["new_size"])
    except (ValueError, KeyError, TypeError):
        raise MediaError(f"{journal} is damaged", hint="restore the image from where it came") from None


def _items(data: memoryview, journal: Path) -> Iterator[tuple[int, memoryview]]:
    """(offset, packed bytes) of what was overwritten. Raises MediaError when the journal is not whole."""
    place = 0
    while place + _ITEM.size <= len(data):
        at, length, size, crc = _ITEM.unpack_from(data, place)
        place += _ITEM.size
        if not length:
            return
        packed = data[place : place + size]
        if len(packed) != size or zlib.crc32(packed) != crc:
            break
        yield at, packed
        place += size
    raise MediaError(f"{journal} is damaged", hint="restore the image from where it came")
