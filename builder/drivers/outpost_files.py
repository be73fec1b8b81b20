"""What the outpost keeps on its machine: files that all labs share, and a folder for each lab.

Below its folder are `store/<sha256>`, and `labs/<id>/` with the lab's own files, `owner.json`, and `uses/<sha256>` for
what it reads of the store. Bytes come by another way, into the file that `begin` names; `adopt` makes them count.

Runs on the other machine: see outpost.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.errors import HostLacks, LabError, UsageError

_ELSEWHERE = "another folder: --connect 'URI?nestlab-dir=/PATH'"


class Depot:
    """`root` is the folder of everything; at most one lab is open."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._store = root / "store"
        self._lab: Path | None = None
        self._locks: dict[str, int] = {}

    def open(self, lab: str, owner: dict[str, Any], wait: float = 10) -> str:
        """Take the lab's folder; another keeper of the same lab keeps it. One that was killed just now is waited for,
        that many seconds. Returns the folder."""
        for folder in (self.root, self._store, self.root / "labs"):
            _own_folder(folder)
        deadline = time.monotonic() + wait
        while (fd := _flock(self._lock_file(lab), wait=False)) is None:
            if time.monotonic() > deadline:
                raise LabError(f"lab {lab} is held by another keeper", hint="nestlab down it where it was brought up")
            time.sleep(0.1)
        self._locks[lab] = fd
        self._lab = self.root / "labs" / lab
        _own_folder(self._lab)
        _write(self._lab / "owner.json", json.dumps(owner).encode())
        return str(self._lab)

    def placed(self, name: str, token: str) -> dict[str, Any]:
        """The path of the lab's own file of that name, and whether the one that `token` stands for is there. The folder
        of the file is made."""
        path = self._own(name)
        there = path.is_file() and said(path.with_name(f".{path.name}.token")) == token
        return {"path": str(path), "placed": there}

    def remove(self) -> bool:
        """Remove the lab's folder and let its lock go. Its guests must be gone."""
        lab = self._need_lab()
        shutil.rmtree(lab)
        self._lock_file(lab.name).unlink(missing_ok=True)
        os.close(self._locks.pop(lab.name))
        self._lab = None
        return True

    def labs(self) -> list[dict[str, Any]]:
        """Every lab that has a folder here: its id, what its owner said, and whether a keeper holds it."""
        found = []
        folder = self.root / "labs"
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir():
                fd = _flock(self._lock_file(path.name), wait=False)
                if fd is not None:
                    os.close(fd)
                owner: dict[str, Any] = {}
                with contextlib.suppress(OSError, ValueError):
                    owner = json.loads((path / "owner.json").read_text())
                found.append({"lab": path.name, "owner": owner, "held": fd is None})
        return found

    def begin(self, sha256: str, size: int, name: str | None = None) -> dict[str, Any]:
        """Where a file belongs: `path`, and `partial`, the file that its bytes are to be put into, unless it is there
        already. `busy`: another lab is sending the same. Without `name` it is one of the store's. Raises HostLacks when
        there is no room for it."""
        if name is None:
            return self._begin_shared(sha256, size)
        path = self._own(name)
        self._need_room(path.parent, size)
        return {"path": str(path), "partial": f"{path}.partial"}

    def _begin_shared(self, sha256: str, size: int) -> dict[str, Any]:
        path = self._store / _hex(sha256)
        with self._sole():
            if path.is_file():
                self._use(sha256)
                return {"path": str(path), "partial": None}
        partial = self._store / f".partial-{sha256}"
        fd = _flock(partial, wait=False)
        if fd is None:
            return {"busy": True}
        self._locks[sha256] = fd
        os.ftruncate(fd, 0)
        try:
            self._need_room(self._store, size)
        except LabError:
            self.forget(sha256)
            raise
        return {"path": str(path), "partial": str(partial)}

    def adopt(self, sha256: str, name: str | None = None, token: str = "") -> str:
        """The bytes are complete: see that they are the right ones, and give the file its name. Raises LabError, and
        removes it, when they are others."""
        path = self._store / _hex(sha256) if name is None else self._own(name)
        partial = self._store / f".partial-{sha256}" if name is None else Path(f"{path}.partial")
        try:
            found = _digest(partial)
            if found != sha256:
                raise LabError(
                    f"what came for {path.name} has the sha256 {found}, and {sha256} was sent",
                    hint="it was damaged on its way, or the file was changed meanwhile: try again",
                )
            partial.chmod(0o444 if name is None else 0o600)
            with self._sole():
                partial.replace(path)
                if name is None:
                    self._use(sha256)
                else:
                    _write(path.with_name(f".{path.name}.token"), token.encode())
        finally:
            self.forget(sha256, name)
        return str(path)

    def forget(self, sha256: str, name: str | None = None) -> bool:
        """What was begun is not gone on with."""
        partial = self._store / f".partial-{sha256}" if name is None else Path(f"{self._own(name)}.partial")
        fd = self._locks.pop(sha256, None) if name is None else None
        if name is not None or fd is not None:
            partial.unlink(missing_ok=True)
        if fd is not None:
            os.close(fd)
        return True

    def prune(self, limit: int) -> list[str]:
        """Remove what no lab here uses of the store, the longest unused first, until it takes at most `limit` bytes;
        returns the digests."""
        used = {path.name for path in self.root.glob("labs/*/uses/*")}
        gone = []
        if not self._store.is_dir():
            return []
        with self._sole():
            for path in self._store.glob(".partial-*"):
                fd = _flock(path, wait=False)
                if fd is not None:  # whoever sent it is gone
                    path.unlink()
                    os.close(fd)
            files = sorted(self._store.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)
            total = sum(path.stat().st_size for path in files)
            for path in files:
                if total > limit and path.name not in used:
                    total -= path.stat().st_size
                    path.unlink()
                    gone.append(path.name)
        return gone

    def _need_lab(self) -> Path:
        if self._lab is None:
            raise LabError("no lab was opened")
        return self._lab

    def _own(self, name: str) -> Path:
        """A path below the lab's folder. Its parents are made: QEMU's user has to pass them."""
        lab = self._need_lab()
        parts = Path(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise UsageError(f"{name!r} is no name of a lab's file")
        folder = lab
        for part in parts[:-1]:
            folder /= part
            _own_folder(folder)
        return folder / parts[-1]

    def _use(self, sha256: str) -> None:
        if self._lab is not None:
            _own_folder(self._lab / "uses")
            (self._lab / "uses" / sha256).touch()
            with contextlib.suppress(PermissionError):  # libvirt may have given it to QEMU's user
                os.utime(self._store / sha256)

    def _need_room(self, folder: Path, size: int) -> None:
        free = shutil.disk_usage(folder).free
        if free < size:
            raise HostLacks(
                f"{folder} has {free >> 20} MiB free, and {max(1, size >> 20)} MiB are to come",
                hint=f"nestlab image prune --connect URI, take labs down there, or {_ELSEWHERE}",
            )

    def _lock_file(self, lab: str) -> Path:
        return self.root / "labs" / f".{lab}.lock"

    @contextlib.contextmanager
    def _sole(self) -> Iterator[None]:
        fd = _flock(self._store / ".lock", wait=True)
        try:
            yield
        finally:
            assert fd is not None
            os.close(fd)


def _own_folder(path: Path) -> None:
    """One that QEMU's user can pass and nobody else can write to. /var/tmp is open to all: it must be ours."""
    try:
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
        info = path.lstat()
    except OSError as error:
        raise HostLacks(
            f"{path} cannot be made: {error.strerror}", hint="another folder: URI?nestlab-dir=/PATH"
        ) from None
    if info.st_uid != os.geteuid() or path.is_symlink() or not path.is_dir():
        raise HostLacks(f"{path} is not a folder of user {user_name()}", hint=_ELSEWHERE)
    path.chmod(0o711)


def _flock(path: Path, *, wait: bool) -> int | None:
    """The file, opened and locked; None when another has it. It may be removed while it is waited for."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(fd).st_ino == path.stat().st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass
        os.close(fd)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return found


def _hex(sha256: str) -> str:
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise UsageError(f"{sha256!r} is no sha256")
    return sha256


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.chmod(0o600)
    new.replace(path)


def said(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def nearest(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
