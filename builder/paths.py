"""Where nestlab keeps things, and how files appear: whole or not at all.

Environment is read once, by `Places.from_environment`, called by the front doors; everything below is handed a
`Places` value.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import builder
from builder.errors import HostLacks, Interrupted, LabError

_PACKAGE = Path(builder.__file__).resolve().parent


def data_dir(name: str) -> Path:
    """`labs`, `answerfiles` or `kickstarts`: beside the package in a checkout, inside it in a wheel."""
    inside = _PACKAGE / "_data" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


@dataclass(frozen=True, slots=True)
class Places:
    """The three roots. `runtime` is short (libvirt's sockets cap it at 40 bytes) and private (0700)."""

    state: Path
    cache: Path
    runtime: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Places:
        """XDG directories, each replaceable: NESTLAB_STATE, NESTLAB_CACHE, NESTLAB_RUNTIME."""
        home = Path(environ.get("HOME") or Path.home())
        state = environ.get("NESTLAB_STATE") or str(_xdg(environ, "XDG_STATE_HOME", home / ".local/state"))
        cache = environ.get("NESTLAB_CACHE") or str(_xdg(environ, "XDG_CACHE_HOME", home / ".cache"))
        runtime = environ.get("NESTLAB_RUNTIME")
        if not runtime:
            xdg = environ.get("XDG_RUNTIME_DIR")
            usable = xdg and len(xdg) <= 20 and Path(xdg).is_dir()
            runtime = f"{xdg}/nestlab" if usable else f"/tmp/nestlab-{os.getuid()}"  # noqa: S108 - checked by private_dir
        return cls(Path(state).absolute(), Path(cache).absolute(), Path(runtime).absolute())

    def labs(self) -> Path:
        return self.state / "labs"

    def lab(self, lab_id: str) -> Path:
        """Raises LabError for what would be another folder than one below `labs`: it is removed with its lab."""
        if lab_id in {"", ".", ".."} or "/" in lab_id:
            raise LabError(f"{lab_id!r} cannot be the name of a lab", hint="`nestlab ls` lists the labs that are up")
        return self.labs() / lab_id

    def node(self, lab_id: str, node: str) -> Path:
        return self.lab(lab_id) / "nodes" / node

    def run(self, lab_id: str) -> Path:
        """The lab's runtime folder: keeper socket and libvirt root. The 8 hex digits keep it short for any name.

        They are made from the state folder too, so that two state folders never share a runtime folder.
        """
        digest = hashlib.sha256(f"{self.state}\0{lab_id}".encode()).hexdigest()[:8]
        return self.runtime / digest


def _xdg(environ: Mapping[str, str], variable: str, fallback: Path) -> Path:
    value = environ.get(variable, "")
    base = Path(value) if value.startswith("/") else fallback
    return base / "nestlab"


def private_dir(path: Path) -> Path:
    """Make (or check) a folder that only its owner can enter.

    Raises HostLacks when somebody else owns it: /tmp is open to all, so an attacker could have put it there.
    """
    _make_dir(path, mode=0o700)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise HostLacks(f"{path} is not a folder of ours", hint="remove it, or set NESTLAB_RUNTIME to a private folder")
    if stat.S_IMODE(info.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def _make_dir(path: Path, mode: int = 0o777) -> None:
    """Make a folder that another process may be removing: pathlib's own exist_ok says "File exists" when it goes
    between the attempt and the look."""
    while True:
        try:
            path.mkdir(mode=mode, parents=True, exist_ok=True)
        except FileExistsError:
            if not path.is_dir() and os.path.lexists(path):
                raise
        else:
            return


def fsync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def hidden_prefix(path: Path) -> str:
    """How the name of a file begins that is to become `path`: hidden, recognizable, and short enough that what is put
    behind it fits, however long the name is (Linux takes 255 bytes)."""
    return f".{os.fsdecode(os.fsencode(path.name)[:200])}."


@contextlib.contextmanager
def atomic_file(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well, and is gone when it does not: beside the target until then,
    so that a reader sees the old or the new content, never a part. Raises OSError."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=hidden_prefix(path), suffix=".tmp")
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    fsync_dir(path.parent)


def write_atomic(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Write a file, whole or not at all. Raises OSError."""
    with atomic_file(path, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


class Busy(LabError):
    """Somebody else holds the lock."""


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True, stop: threading.Event | None = None) -> Iterator[int]:
    """Hold an exclusive flock on `path`. The kernel drops it when the holder dies, so it is never stale.

    The holder may remove the file (with the folder it guards): whoever waited for it then starts over on a new one.
    Raises Busy when `wait` is false and somebody else holds it, Interrupted when `stop` is set while waiting.
    """
    while True:
        _make_dir(path.parent)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        try:
            _flock(fd, path, wait=wait, stop=stop)
            if _same_file(fd, path):
                yield fd
                return
        finally:
            os.close(fd)


def _flock(fd: int, path: Path, *, wait: bool, stop: threading.Event | None) -> None:
    if wait and stop is None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        return
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not wait or stop is None:
                raise Busy(f"{path} is locked by another process") from None
        if stop.wait(0.1):
            raise Interrupted(f"waiting for {path} was interrupted")


def _same_file(fd: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock right now."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
