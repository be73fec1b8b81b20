"""The shelf of finished images: `$CACHE/images/<key>/`, each folder whole or not there.

Using an image means holding a shared flock on its `lease` file; pruning takes the exclusive one, so an image that
anybody uses (a node's overlay reads it at every access) is never deleted, and no stale mark can keep it either.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from builder.errors import LabError
from builder.model.lab import Value
from builder.paths import fsync_dir, locked, write_atomic

VERSION = 1
Kind = Literal["disk", "initramfs", "rootfs", "installed"]


class Image(Value):
    """A finished image. Paths are absolute. `disk` is a qcow2 to be used as backing file only; `kernel` and `initrd`
    are for direct boot, with `arguments` for that kernel. `disks` (all of a node's, in order), `firmware` (its UEFI
    variables) and `keys` (those of ssh) are what an installation left. `size` is the bytes it takes on this disk,
    `used_at` when it was last taken into use (seconds since the epoch)."""

    key: str
    kind: Kind
    disk: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    archive: Path | None = None
    disks: tuple[Path, ...] = ()
    firmware: Path | None = None
    keys: tuple[Path, ...] = ()
    arguments: tuple[str, ...] = ()
    root_label: str = ""
    release: str = ""
    created_at: float = 0
    used_at: float = 0
    size: int = 0


_PATHS = ("disk", "kernel", "initrd", "archive", "firmware")
_PATH_LISTS = ("disks", "keys")


class ImageStore:
    """The images below `cache_root/images`."""

    def __init__(self, cache_root: Path) -> None:
        self.cache_root = cache_root
        self.root = cache_root / "images"

    def find(self, key: str) -> Image | None:
        """The image of that key, or None. Reads one small file."""
        folder = self.root / key
        try:
            raw = json.loads((folder / "manifest.json").read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return _image(folder, raw)

    def ls(self) -> tuple[Image, ...]:
        """All images, the longest unused first."""
        found = [self.find(path.name) for path in self.root.glob("*") if not path.name.startswith(".")]
        return tuple(sorted((image for image in found if image), key=lambda image: (image.used_at, image.key)))

    @contextlib.contextmanager
    def building(self, key: str, stop: threading.Event | None = None) -> Iterator[Path]:
        """Hold the right to build `key`; yields an empty folder beside its final place.

        Waits for another builder. Raises Interrupted when `stop` is set meanwhile.

        `publish` makes the folder the image; without it the folder goes away again.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root / ".locks" / key, stop=stop):
            for stale in self.root.glob(f".new-{key}-*"):
                shutil.rmtree(stale, ignore_errors=True)
            folder = self.root / f".new-{key}-{uuid.uuid4().hex[:8]}"
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, key: str, manifest: Mapping[str, Any]) -> Image:
        """Make a folder from `building` the image. `manifest` holds kind, file names by role, `inputs`, `digests`.

        Raises LabError when the folder is not complete.
        """
        whole = {"version": VERSION, "key": key, "created_at": time.time(), **manifest}
        roles = {role: [whole[role]] for role in _PATHS if role in whole}
        for role, names in {**roles, **{role: whole.get(role, ()) for role in _PATH_LISTS}}.items():
            if not all((folder / name).is_file() for name in names):
                raise LabError(f"image {key[:12]}: {role} is missing from its folder")
        for path in folder.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        (folder / "lease").touch()
        write_atomic(folder / "manifest.json", json.dumps(whole, indent=1, sort_keys=True) + "\n")
        final = self.root / key
        # an older image of this key that somebody uses stays: equal keys mean equal inputs
        if not final.exists() or self.remove(key):
            folder.rename(final)
            fsync_dir(self.root)
        image = self.find(key)
        if image is None:
            raise LabError(f"image {key[:12]} cannot be read back after it was published")
        return image

    @contextlib.contextmanager
    def in_use(self, key: str) -> Iterator[Image]:
        """Keep an image from being pruned while inside. Raises LabError when it is not there."""
        fd = self.take(key)
        try:
            image = self.find(key)
            if image is None:
                raise LabError(
                    f"image {key[:12]} is damaged: it has no manifest", hint="nestlab image prune, build it again"
                )
            yield image
        finally:
            os.close(fd)

    def take(self, key: str) -> int:
        """A file descriptor that keeps the image from being pruned until it is closed; children may inherit it."""
        try:
            fd = os.open(self.root / key / "lease", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise LabError(f"there is no image {key[:12]}", hint="nestlab image build LAB") from None
        fcntl.flock(fd, fcntl.LOCK_SH)
        if not (self.root / key / "lease").exists():
            os.close(fd)
            raise LabError(f"image {key[:12]} was pruned just now", hint="nestlab image build LAB")
        with contextlib.suppress(PermissionError):
            os.utime(fd)
        return fd

    def remove(self, key: str) -> bool:
        """Delete one image. False when it is in use or not there."""
        folder = self.root / key
        try:
            fd = os.open(folder / "lease", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder, self.root)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def prune(self, max_bytes: int, *, keep: Collection[str] = ()) -> tuple[str, ...]:
        """Delete the longest unused images until the rest take at most `max_bytes`. Those in `keep` or in use stay.

        Returns the keys deleted. Remains of builds that were killed go too.
        """
        for stale in self.root.glob(".new-*"):
            key = stale.name.split("-")[1]
            with contextlib.suppress(LabError), locked(self.root / ".locks" / key, wait=False):
                shutil.rmtree(stale, ignore_errors=True)
        for stale in self.root.glob(".gone-*"):
            shutil.rmtree(stale, ignore_errors=True)
        images = self.ls()
        total = sum(image.size for image in images)
        gone = []
        for image in images:
            if total <= max_bytes:
                break
            if image.key not in keep and self.remove(image.key):
                total -= image.size
                gone.append(image.key)
        return tuple(gone)


def _image(folder: Path, raw: dict[str, Any]) -> Image | None:
    if raw.get("version") != VERSION:
        return None
    fields = {name: raw[name] for name in Image.model_fields if name in raw and name not in ("size", "used_at")}
    for role in _PATHS:
        if role in fields:
            fields[role] = folder / fields[role]
    for role in _PATH_LISTS:
        fields[role] = tuple(folder / name for name in fields.get(role, ()))
    try:
        return Image(size=_disk_use(folder), used_at=(folder / "lease").stat().st_mtime, **fields)
    except (ValidationError, OSError):
        return None


def _disk_use(folder: Path) -> int:
    return sum(entry.stat().st_blocks * 512 for entry in os.scandir(folder))


def _remove(folder: Path, root: Path) -> None:
    """Out of sight first, in one step; then the slow part."""
    hidden = root / f".gone-{uuid.uuid4().hex}"
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
