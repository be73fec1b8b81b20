"""The plan on a USB disk. What is mounted or otherwise in use is never written; what cannot be pulled out, only when
it was named twice. What was written is read back from the disk and compared."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.media.errors import MediaError, WrongPath
from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.copying import write_all
from builder.media.sinks.file import sources

_BLKRRPART, _BLKFLSBUF = 0x125F, 0x1261
_BACKUP_GPT = 34 * 512
_FLUSH = 64 << 20
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Disk:
    """A whole disk. `size` in bytes; `used_by` names mount points, swap and mappings that rest on it; `numbers` are the
    device numbers (8:16) of it and its partitions; `backing` is the file that a loop device shows."""

    path: Path
    model: str
    size: int
    removable: bool
    used_by: tuple[str, ...]
    numbers: frozenset[str] = frozenset()
    backing: Path | None = None


def look_at(device: Path, *, system: Path = Path("/sys"), processes: Path = Path("/proc")) -> Disk:
    """What a disk is. Raises WrongPath for what is no whole disk."""
    try:
        info = device.stat()
    except OSError as error:
        raise WrongPath(f"cannot look at {device}: {error.strerror}", hint="lsblk shows the disks") from None
    if not stat.S_ISBLK(info.st_mode):
        raise WrongPath(f"{device} is not a disk", hint="lsblk shows the disks; a file is made with 'media build'")
    return read_disk(device, _number(info.st_rdev), system=system, processes=processes)


def read_disk(device: Path, number: str, *, system: Path, processes: Path) -> Disk:
    """What the kernel tells of the disk with a device number, such as 8:16."""
    folder = (system / "dev/block" / number).resolve()
    if (folder / "partition").exists():
        raise WrongPath(f"{device} is a partition", hint=f"name the whole disk: /dev/{folder.parent.name}")
    parts = [folder, *sorted(p.parent for p in folder.glob("*/partition"))]
    numbers = {_line(part / "dev"): part.name for part in parts}
    used = [f"mounted at {place}" for place in _mounts(processes, set(numbers))]
    used += [f"swap on {name}" for name in _swaps(processes) if Path(name).name in numbers.values()]
    used += [f"part of {holder.name}" for part in parts for holder in sorted((part / "holders").glob("*"))]
    words = (_line(folder / "device/vendor"), _line(folder / "device/model"))
    size = int(_line(folder / "size") or 0) * 512
    model, removable = " ".join(w for w in words if w), _line(folder / "removable") == "1"
    backing = _line(folder / "loop/backing_file")
    return Disk(device, model, size, removable, tuple(used), frozenset(numbers), Path(backing) if backing else None)


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _mounts(processes: Path, numbers: set[str]) -> Iterator[str]:
    for line in _line(processes / "self/mountinfo").splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[2] in numbers:
            yield re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])


def _swaps(processes: Path) -> list[str]:
    return [line.split()[0] for line in _line(processes / "swaps").splitlines()[1:] if line.split()]


def check(disk: Disk, size: int, again: Path | None) -> None:
    """Raises MediaError when a disk must not be written. `again` is its path, said a second time."""
    if disk.used_by:
        raise MediaError(f"{disk.path} is in use: {', '.join(disk.used_by)}", hint="unmount it, if it is the right one")
    if disk.size < size:
        raise MediaError(f"{disk.path} has {disk.size} bytes, the image {size}", hint="take a bigger disk")
    if not disk.removable and again != disk.path:
        raise MediaError(
            f"{disk.path} ({disk.model or 'no model'}, {disk.size} bytes) cannot be pulled out: is it the right one?",
            hint=f"if it is, name it a second time: --again {disk.path}",
        )


def check_apart(disk: Disk, plan: GraftPlan) -> None:
    """Raises WrongPath when the image is made from what is on this very disk: it would be lost while it is read."""
    for used in sources(plan):
        try:
            info = used.path.stat()
            own = disk.backing is not None and os.path.samestat(info, disk.backing.stat())
        except OSError:
            continue  # gone: opening the plan tells of it
        if own or (stat.S_ISBLK(info.st_mode) and _number(info.st_rdev) in disk.numbers):
            raise WrongPath(f"{used.path} is on {disk.path} itself", hint="write to another disk, or from a copy")


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def write_device(plan: GraftPlan, disk: Disk, *, again: Path | None = None, progress: Progress | None = None) -> None:
    """Write the image to a disk that `look_at` described, and read it back.

    `progress` is told ("write" or "verify", bytes done, bytes in all). Raises MediaError when the disk must not be
    written, is another one by now, breaks off, or does not hold what was written.
    """
    check(disk, plan.size, again)
    check_apart(disk, plan)
    try:
        # Exclusive: the kernel refuses when a mount or a mapping came in between.
        fd = os.open(disk.path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise MediaError(f"cannot write {disk.path}: {error.strerror}", hint=_why(error)) from None
    try:
        if look_at(disk.path) != disk:
            raise MediaError(f"{disk.path} is not the disk that it was", hint="look again which one it is: lsblk")
        with plan.open() as image:
            _write(image, fd, disk, progress)
            _forget(fd)
            _verify(image, fd, disk, progress)
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, _BLKRRPART, 0)
    except OSError as error:
        raise MediaError(f"{disk.path} broke off: {error.strerror}", hint="try another disk or port") from None
    finally:
        os.close(fd)


def _why(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "something took it into use: look with lsblk"
    return "writing a disk needs root" if error.errno == errno.EACCES else "lsblk shows the disks"


def _write(image: PlannedImage, fd: int, disk: Disk, progress: Progress | None) -> None:
    done = flushed = 0
    for piece in image.pieces(0, image.size):
        write_all(fd, piece, done)
        done += len(piece)
        if done - flushed >= _FLUSH:
            # Else the page cache takes all at once, and the progress told is not the disk's.
            os.fdatasync(fd)
            flushed = done
        if progress is not None:
            progress("write", done, image.size)
    # A backup partition table that an earlier use left at the end would be taken for this image's.
    start = max(image.size, disk.size - _BACKUP_GPT)
    write_all(fd, bytes(disk.size - start), start)
    os.fsync(fd)


def _forget(fd: int) -> None:
    """Let what is read next come from the disk, not from the page cache."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    with contextlib.suppress(OSError):  # only root may
        fcntl.ioctl(fd, _BLKFLSBUF, 0)


def _verify(image: PlannedImage, fd: int, disk: Disk, progress: Progress | None) -> None:
    done = 0
    for piece in image.pieces(0, image.size):
        if os.pread(fd, len(piece), done) != piece:
            raise MediaError(f"{disk.path} does not hold what was written at byte {done}", hint="the disk is worn out")
        done += len(piece)
        if progress is not None:
            progress("verify", done, image.size)
