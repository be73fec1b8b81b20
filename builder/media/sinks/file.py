"""The plan as a new file, which is there whole or not at all.

It is written without a name (O_TMPFILE) where the file system can, so that even kill -9 leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.media.errors import MediaError, WrongPath
from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.copying import clone_range, copy_range, write_all
from builder.media.view import FilePart, Identity, SourcePart
from builder.paths import fsync_dir, hidden_prefix

_TOLD_EVERY = 64 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Written:
    """`how` the unchanged part came over; `written` counts the bytes besides it."""

    path: Path
    size: int
    how: Literal["reflink", "copy", "overlay", "in place"]
    written: int


def write_file(plan: GraftPlan, target: Path, *, durable: bool = False, progress: Progress | None = None) -> Written:
    """Write the image to `target`, replacing what is there in one step.

    `durable`: wait until it is on the disk. `progress` is told (bytes written, bytes in all). Raises MediaError when
    the target is the source or no place for a file, when there is no room, and when the source changed; the target is
    then as it was.
    """
    real = check_target(plan, target)
    with plan.open() as image, unnamed(real, plan.mode) as (fd, publish):
        try:
            how = _fill(plan, image, fd, progress)
            if durable:
                os.fsync(fd)
        except OSError as error:
            raise no_room(error, real, plan.size) from None
        check_unchanged(plan)
        publish()
    if durable:
        fsync_dir(real.parent)
    return Written(real, plan.size, how, plan.written)


def plain_target(target: Path) -> Path:
    """Where a new file will really lie. Raises WrongPath for what must not be replaced by one: a symbolic link, a
    folder, a device."""
    try:
        if target.is_symlink():
            # The file behind it may be anything: the vendor's medium, another host's, a file of the system.
            raise WrongPath(f"{target} is a symbolic link", hint="name the file that it leads to, or remove it")
        real = target.resolve()
        info = real.stat()
    except FileNotFoundError:
        info = None
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "its folders lead in a circle"
        raise WrongPath(f"cannot write {target}: {why}", hint="choose another place") from None
    if info is not None and stat.S_ISDIR(info.st_mode):
        raise WrongPath(f"{target} is a folder", hint="name a file in it")
    if info is not None and not stat.S_ISREG(info.st_mode):
        raise WrongPath(f"{target} is not a regular file", hint="a disk is written with 'media write'")
    if not real.parent.is_dir():
        raise WrongPath(f"the folder {real.parent} is not there", hint=f"mkdir -p {real.parent}")
    return real


def check_target(plan: GraftPlan, target: Path) -> Path:
    """As `plain_target`; raises WrongPath too when the target is a file that the plan is made from."""
    real = plain_target(target)
    for used in sources(plan):
        with contextlib.suppress(OSError):
            info = real.stat()
            if (info.st_ino, info.st_dev) == (used.inode, used.device):
                what = "the source itself" if used == plan.source else "a file that goes on the medium"
                raise WrongPath(f"{target} is {what}", hint="name another file, or ask for the change in place")
    return real


def sources(plan: GraftPlan) -> Iterator[Identity]:
    """The files that the image is made from: the vendor's medium first."""
    yield plan.source
    for run in plan.runs:
        if isinstance(run.payload, FilePart):
            yield run.payload.identity


def check_unchanged(plan: GraftPlan) -> None:
    """Raises MediaError when a file of the plan is not what it was when the plan was made."""
    with plan.open():
        pass


def no_room(error: OSError, target: Path, size: int) -> MediaError:
    """The message for a write that the system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MediaError(f"no room for {target} ({size} bytes)", hint="free some space, or use a qcow2 overlay")
    hint = "shorten its name" if error.errno == errno.ENAMETOOLONG else "check the folder and its permissions"
    return MediaError(f"cannot write {target}: {error.strerror}", hint=hint)


def _fill(plan: GraftPlan, image: PlannedImage, fd: int, progress: Progress | None) -> Literal["reflink", "copy"]:
    source, base = image.source_fd, 0
    how: Literal["reflink", "copy"] = "copy"
    if clone_range(source, 0, fd, 0, 0):
        how, base = "reflink", plan.cut
        os.ftruncate(fd, plan.cut)
    os.ftruncate(fd, plan.size)
    for segment in image.segments:
        place = image.locate(segment)
        if isinstance(segment.payload, bytes):
            write_all(fd, segment.payload, segment.offset)
        elif place is not None and not (segment.end <= base and segment.payload == SourcePart(segment.offset)):
            step = segment.length if progress is None else _TOLD_EVERY
            for at in range(0, segment.length, step):
                length = min(step, segment.length - at)
                copy_range(place[0], place[1] + at, fd, segment.offset + at, length, clone=how == "reflink")
                if progress is not None:
                    progress(segment.offset + at + length, plan.size)
    return how


@contextlib.contextmanager
def unnamed(target: Path, mode: int) -> Iterator[tuple[int, Publish]]:
    """A file to write, and the call that gives it its name when it is whole. The umask is taken off `mode`."""
    mode &= ~_umask()
    fd, name = -1, ""
    try:
        fd = os.open(target.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise no_room(error, target, 0) from None
        try:
            fd, name = tempfile.mkstemp(dir=target.parent, prefix=hidden_prefix(target), suffix=".part")
            os.fchmod(fd, mode)
        except OSError as second:
            raise no_room(second, target, 0) from None
    publish = Publish(fd, name, target)
    try:
        yield fd, publish
    finally:
        os.close(fd)
        if publish.name:
            with contextlib.suppress(FileNotFoundError):
                Path(publish.name).unlink()


class Publish:
    """Gives the finished file its name."""

    def __init__(self, fd: int, name: str, target: Path) -> None:
        self.fd, self.name, self.target = fd, name, target

    def __call__(self) -> None:
        try:
            if not self.name and not self.target.exists():
                with contextlib.suppress(FileExistsError):
                    self._link(str(self.target))
                    return
            if not self.name:
                # A link cannot replace a file; a rename can.
                name = str(self.target.with_name(f"{hidden_prefix(self.target)}{os.getpid()}.part"))
                with contextlib.suppress(FileNotFoundError):
                    Path(name).unlink()
                self._link(name)
                self.name = name
            Path(self.name).rename(self.target)
            self.name = ""
        except OSError as error:
            raise no_room(error, self.target, 0) from None

    def _link(self, name: str) -> None:
        # Only with a folder's descriptor does Python call linkat, which can follow the link to the unnamed file.
        folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(str(self.fd), name, src_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)


def _umask() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
