"""Sending a lab's files to the machine that its guests run on."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
from pathlib import Path

from builder.drivers.outpost_link import Outpost
from builder.errors import UsageError
from builder.events import Emit, transfer
from builder.lifecycle.isos import digest_of
from builder.paths import Places
from builder.run import need, run

_LARGE = 8 << 20  # bytes, from which on it is told how far it came


class Courier:
    """For one start of a node. `folder` is the lab's own here; files outside of it are shared by all labs."""

    def __init__(self, places: Places, folder: Path, outpost: Outpost, tell: Emit, stop: threading.Event) -> None:
        self._places = places
        self._folder = folder
        self._outpost = outpost
        self._tell = tell
        self._stop = stop

    def send(self, file: Path) -> str:
        """See that a file is there; its path there. One of the lab's own is sent again only when it was made anew here:
        what the guest wrote to it is there alone.

        Raises HostLacks when there is no room for it, UsageError for an image that reads from another, Interrupted.
        """
        if file.is_relative_to(self._folder):
            return self._send_own(file)
        if _backing(file) is not None:
            raise UsageError(
                f"{file} reads from another image, so that it cannot be sent alone",
                hint="make it whole: qemu-img convert -O qcow2 IMAGE WHOLE",
            )
        return self._put(file, digest_of(file, self._places))

    def place(self, file: Path) -> str:
        """Where a file of the lab's folder will be that something else makes there."""
        return str(self._outpost.ask("placed", name=str(file.relative_to(self._folder)), token="")["path"])

    def _send_own(self, file: Path) -> str:
        info = file.stat()
        token = f"{info.st_ino}-{info.st_size}-{info.st_mtime_ns}"
        name = str(file.relative_to(self._folder))
        if (there := self._is_there(file, token)) is not None:
            return there
        backing = _backing(file)
        if backing is None:
            return self._put(file, _sha256(file), name, token)
        base, kind = backing
        base_there = self.send(base)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".send-") as scratch:
            copy = Path(scratch) / file.name
            shutil.copyfile(file, copy)
            tool = need("qemu-img", why="send a node's disks", package="qemu-utils")
            run([tool, "rebase", "-u", "-f", "qcow2", "-b", base_there, "-F", kind, copy])
            return self._put(copy, _sha256(copy), name, token)

    def _is_there(self, file: Path, token: str) -> str | None:
        found = self._outpost.ask("placed", name=str(file.relative_to(self._folder)), token=token)
        return str(found["path"]) if found["placed"] else None

    def _put(self, file: Path, sha256: str, name: str | None = None, token: str = "") -> str:
        large = file.stat().st_size >= _LARGE
        begun = False
        passing = transfer(self._tell, "upload")

        def progress(done: int, total: int) -> None:
            nonlocal begun
            if large and not begun:
                begun = True
                self._tell("begin", phase="upload", file=file.name)
            passing(done, total)

        path = self._outpost.put(file, sha256, name=name, token=token, stop=self._stop, progress=progress)
        if begun:
            self._tell("end", phase="upload", outcome="ok", file=file.name)
        return path


def _backing(file: Path) -> tuple[Path, str] | None:
    """What a qcow2 reads from, and its format; None for one that stands alone, and for any other file."""
    with file.open("rb") as opened:
        if opened.read(4) != b"QFI\xfb":
            return None
    tool = need("qemu-img", why="send a node's disks", package="qemu-utils")
    told = json.loads(run([tool, "info", "-U", "-f", "qcow2", "--output=json", file]).stdout)
    base = told.get("full-backing-filename")
    return None if base is None else (Path(base), str(told.get("backing-filename-format", "raw")))


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
