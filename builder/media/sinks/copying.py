"""Moving bytes between descriptors by the cheapest means that both sides allow."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from builder.media.errors import MediaError
from builder.media.view import CLONE_GRAIN

_FICLONERANGE = 0x4020940D
_MOST = 0x7FFFF000
"""Bytes that Linux moves in one call."""
_STEP = 1 << 20
_LARGEST_FOLIO = 2 << 20
"""Linux holds what is written in memory in pieces as large as their place in the file lets them be: a long copy that
began at an odd place took 1.19 times as long as one that began at a multiple of this (ext4, Linux 6.18)."""
_CANNOT = {
    errno.EXDEV,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EPERM,
    errno.EBADF,
    errno.ETXTBSY,
    errno.ENOTTY,
}


def clone_range(source: int, at: int, target: int, to: int, length: int) -> bool:
    """Share blocks between two files (length 0: to the end). False where the file system has no such thing."""
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("=qQQQ", source, at, length, to))
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def copy_sparse(source: int, at: int, target: int, to: int, length: int) -> None:
    """Copy bytes into a file that is all zeros there: holes of the source stay holes."""
    end = at + length
    place = at
    while place < end:
        try:
            start = os.lseek(source, place, os.SEEK_DATA)
            stop = os.lseek(source, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # a hole up to the file's end
            start, stop = place, end
        if start >= end:
            return
        stop = min(stop, end)
        _copy(source, start, target, to + start - at, stop - start)
        place = stop


def copy_range(source: int, at: int, target: int, to: int, length: int, *, clone: bool = False) -> None:
    """Copy bytes into a file that is all zeros there. With `clone` the aligned middle is shared where that works.

    Raises MediaError when the source ends early, OSError as the system says.
    """
    if clone and at % CLONE_GRAIN == to % CLONE_GRAIN and length >= 4 * CLONE_GRAIN:
        lead = -at % CLONE_GRAIN
        middle = (length - lead) // CLONE_GRAIN * CLONE_GRAIN
        if clone_range(source, at + lead, target, to + lead, middle):
            copy_sparse(source, at, target, to, lead)
            done = lead + middle
            at, to, length = at + done, to + done, length - done
    copy_sparse(source, at, target, to, length)


def _copy(source: int, at: int, target: int, to: int, length: int) -> None:
    in_kernel = True
    done = 0
    while done < length:
        moved = 0
        if in_kernel:
            try:
                moved = os.copy_file_range(
                    source, target, min(length - done, _at_once(to + done)), at + done, to + done
                )
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
            # Some file systems answer 0 instead of saying that they cannot.
            in_kernel = moved > 0
        else:
            data = os.pread(source, min(length - done, _STEP), at + done)
            write_all(target, data, to + done)
            moved = len(data)
            if not moved:
                raise MediaError("a file became shorter while it was copied", hint="let nothing write to it")
        done += moved


def _at_once(to: int) -> int:
    """How much to move at once to that place: up to the next one where a copy of the whole file has even places."""
    inside = to % _MOST
    return -inside % _LARGEST_FOLIO or _MOST - inside


def write_all(fd: int, data: bytes, to: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, to)
        view, to = view[written:], to + written


def send(source: int, at: int, target: int, length: int) -> None:
    """Send bytes of a file to a pipe or socket. Raises MediaError when the file ends early."""
    in_kernel = True
    while length:
        moved = 0
        if in_kernel:
            try:
                moved = os.sendfile(target, source, at, min(length, _MOST))
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                in_kernel = False
                continue
        else:
            data = os.pread(source, min(length, _STEP), at)
            send_bytes(target, data)
            moved = len(data)
        if not moved:
            raise MediaError("a file became shorter while it was sent", hint="let nothing write to it")
        at, length = at + moved, length - moved


def send_bytes(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
