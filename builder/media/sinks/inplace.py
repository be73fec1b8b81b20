"""The plan made on the source itself, with a journal beside it that takes it back.

The journal holds every byte that will be overwritten and is on the disk before the first of them is. Whatever
happens then, `undo_in_place` gives the old image again, bit for bit.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.media.errors import MediaError, WrongPath
from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.copying import write_all
from builder.media.sinks.file import Written, no_room, unnamed
from builder.media.view import Segment, SourcePart
from builder.paths import fsync_dir

_MAGIC = b"nestlab-undo-1\n"
_ITEM = struct.Struct(">QIII")
_STEP = 1 << 20
_RESTORE = "restore the image from where it came"


def journal_of(image: Path) -> Path:
    """Where the way back of an image lies."""
    return image.with_name(image.name + ".undo")


def apply_in_place(plan: GraftPlan, *, durable: bool = False) -> Written:
    """Change the source file into the image; its journal stays until it is undone or removed.

    `durable`: wait until the image is on the disk too. The journal always is, before the first byte changes.

    Raises MediaError when a journal is there already, when the source changed since the plan, is no regular file, is
    somebody else's although the image must be its owner's alone, or is being changed by another process.
    """
    path = _real(plan.source.path)
    journal = journal_of(path)
    with _opened(path) as fd:
        plan.source.check(fd)
        if os.path.lexists(journal):
            raise MediaError(
                f"{path} was changed in place before", hint=f"undo that first, or remove {journal} to keep the change"
            )
        with plan.open() as image:
            todo = [s for s in image.segments if s.payload != SourcePart(s.offset)]
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            _write_journal(journal, plan, mode, _old(fd, todo, plan.source.size))
            try:
                _narrow(fd, path, mode, plan.mode)
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
    """Give an image its old bytes, size and permissions again; returns how many bytes that took.

    Raises MediaError when there is no journal, or it is damaged. What breaks off can be begun again.
    """
    path = _real(path)
    journal = journal_of(path)
    with _opened(path) as fd:
        try:
            restored = _restore(fd, journal)
            os.fsync(fd)
            journal.unlink()
            fsync_dir(journal.parent)
        except OSError as error:
            raise no_room(error, path, 0) from None
    return restored


def _real(path: Path) -> Path:
    """The file itself, so that its journal lies beside it. Raises WrongPath when it is no regular file."""
    try:
        real = path.resolve()
        if real.is_file():
            return real
    except (OSError, RuntimeError):
        raise WrongPath(f"cannot look at {path}", hint="check the path") from None
    raise WrongPath(f"{path} is not a regular file", hint="only files are changed in place")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MediaError(f"cannot write {path}: {error.strerror}", hint="check its permissions") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MediaError(f"{path} is being changed by another process", hint="wait for its end") from None
        except OSError:
            pass  # a file system that knows no locks
        yield fd
    finally:
        os.close(fd)


def _narrow(fd: int, path: Path, now: int, at_most: int) -> None:
    """Take the file from those who must not read the image."""
    wanted = now & (at_most | ~0o666)
    if wanted != now:
        try:
            os.fchmod(fd, wanted)
        except PermissionError:
            raise MediaError(
                f"{path} is not yours, so you cannot keep from others what would be in it",
                hint="make a new file of it: --out FILE",
            ) from None


def _old(fd: int, todo: list[Segment], size: int) -> Iterator[tuple[int, bytes]]:
    """What the source holds where the plan writes."""
    for segment in todo:
        for at in range(segment.offset, min(segment.end, size), _STEP):
            yield at, os.pread(fd, min(_STEP, segment.end - at, size - at), at)


def _write_journal(journal: Path, plan: GraftPlan, mode: int, old: Iterator[tuple[int, bytes]]) -> None:
    """It holds bytes of the image as it is, so those may read it who may read that: `mode`."""
    with unnamed(journal, mode & 0o666) as (fd, publish):
        at = 0
        try:
            for piece in _journal(plan, mode, old):
                write_all(fd, piece, at)
                at += len(piece)
            os.fsync(fd)
        except OSError as error:
            raise no_room(error, journal, plan.written) from None
        publish()
    fsync_dir(journal.parent)


def _journal(plan: GraftPlan, mode: int, old: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
    head = {"size": plan.source.size, "mtime_ns": plan.source.mtime_ns, "mode": mode, "new_size": plan.size}
    yield _MAGIC + json.dumps(head).encode() + b"\n"
    for at, data in old:
        packed = zlib.compress(data, 1)
        yield _ITEM.pack(at, len(data), len(packed), zlib.crc32(packed)) + packed
    yield _ITEM.pack(0, 0, 0, 0)


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


@dataclass(frozen=True, slots=True)
class _Before:
    """What a journal tells of the image: sizes in bytes, and (offset, packed bytes) of what was overwritten."""

    size: int
    new_size: int
    mtime_ns: int
    mode: int | None
    items: list[tuple[int, memoryview]]


def _restore(fd: int, journal: Path) -> int:
    before = _load(journal)
    if os.fstat(fd).st_size not in (before.size, before.new_size, max(before.size, before.new_size)):
        raise MediaError(
            f"{journal} belongs to another image: this one has neither the old size nor the new one",
            hint="remove the journal, if the image is right as it is",
        )
    restored = 0
    for at, packed in before.items:
        old = zlib.decompress(packed)
        write_all(fd, old, at)
        restored += len(old)
    os.ftruncate(fd, before.size)
    with contextlib.suppress(PermissionError):  # somebody else's: its bytes are right again, and that is what counts
        os.utime(fd, ns=(before.mtime_ns, before.mtime_ns))
        if before.mode is not None:
            os.fchmod(fd, before.mode)
    return restored


def _load(journal: Path) -> _Before:
    """Raises MediaError when the journal is not whole: then nothing of it is used."""
    data = _content(journal)
    if not data.startswith(_MAGIC):
        raise MediaError(f"{journal} is not an undo journal", hint=_RESTORE)
    line, _, rest = data[len(_MAGIC) :].partition(b"\n")
    try:
        head = json.loads(line)
        size, new_size, mtime_ns = (int(head[key]) for key in ("size", "new_size", "mtime_ns"))
        mode = int(head["mode"]) & 0o7777 if "mode" in head else None  # the first journals had none
    except (ValueError, KeyError, TypeError):
        raise MediaError(f"{journal} is damaged", hint=_RESTORE) from None
    return _Before(size, new_size, mtime_ns, mode, list(_items(memoryview(rest), journal)))


def _content(journal: Path) -> bytes:
    try:
        # Without waiting, as a named pipe would let us wait for ever; and not through a link, to a file of others.
        fd = os.open(journal, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(fd, "rb") as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError:
        raise MediaError(f"there is no {journal.name} beside the image", hint="it was not changed in place") from None
    except OSError as error:
        raise MediaError(f"cannot read {journal}: {error.strerror}", hint="check its permissions") from None


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
    raise MediaError(f"{journal} is damaged", hint=_RESTORE)
