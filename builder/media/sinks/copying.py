"""Moving bytes between descriptors by the cheapest means that both sides allow."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct

from builder.media.errors import MediaError
from builder.media.view import CLONE_GRAIN

_FICLONERANGE = 0x4020940D
_MOST = 0x7FFFF000
"""Bytes that Linux moves in one call."""
_STEP = 4 << 20
"""Bytes of a file that are looked at together."""
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
_NOT_AS_MEMORY = {errno.EFAULT, errno.ENODEV, errno.EACCES, errno.ENOMEM, errno.EINVAL}


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
    means = [_by_file_system] if _may_copy_itself(source, target) else []
    means += [_by_mapping, _by_reading]
    done = 0
    while done < length:
        moved = means[0](source, at + done, target, to + done, length - done)
        done += moved
        if not moved:
            del means[0]
        if not means:
            raise MediaError("a file became shorter while it was copied", hint="let nothing write to it")


def _may_copy_itself(source: int, target: int) -> bool:
    """A file server copies without sending anything over the network. What lies on a disk has a major number."""
    one, other = os.fstat(source).st_dev, os.fstat(target).st_dev
    return one == other and os.major(one) == 0


def _by_file_system(source: int, at: int, target: int, to: int, length: int) -> int:
    """The bytes moved; 0 where the file system cannot, or says so instead of an error."""
    try:
        return os.copy_file_range(source, target, min(length, _MOST), at, to)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return 0


def _by_mapping(source: int, at: int, target: int, to: int, length: int) -> int:
    """As above. One copy from memory to memory in large pieces: on ext4 three quarters of the time of the system's
    own copy_file_range, which goes through a pipe of 64 KiB (Linux 6.18). Whole steps of the target give large folios.

    The mapped bytes are looked at by the system alone, so that a file that shrinks is an error and no signal.
    """
    lead = at % mmap.ALLOCATIONGRANULARITY
    wanted = lead + min(length, _STEP - to % _STEP)
    try:
        with (
            mmap.mmap(
                source, wanted, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ, offset=at - lead
            ) as pages,
            memoryview(pages) as whole,
            whole[lead:] as part,
        ):
            return os.pwrite(target, part, to)
    except ValueError:
        return 0  # longer than the file
    except OSError as error:
        if error.errno not in _NOT_AS_MEMORY:
            raise
        return 0


def _by_reading(source: int, at: int, target: int, to: int, length: int) -> int:
    data = os.pread(source, min(length, _STEP), at)
    write_all(target, data, to)
    return len(data)


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
