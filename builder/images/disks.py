"""The disks of one node: thin qcow2 files, the first one an overlay on a golden image."""

from __future__ import annotations

from pathlib import Path

from builder.errors import LabError
from builder.run import need, run


def create_disk(path: Path, size: int) -> Path:
    """An empty disk of `size` bytes as the guest sees it; the file grows as it is written. Replaces an older file."""
    return _create(path, [str(size)])


def create_overlay(base: Path, path: Path, size: int, *, base_format: str = "qcow2") -> Path:
    """A disk that starts as `base` and keeps its own changes. `size` may be larger than that of the base.

    The base must not change as long as overlays on it exist. Raises LabError when `size` is smaller than the base.
    """
    return _create(path, ["-b", str(base.absolute()), "-F", base_format, str(size)])


def _create(path: Path, arguments: list[str]) -> Path:
    path.unlink(missing_ok=True)
    qemu_img = need("qemu-img", why="make disks", package="qemu-utils")
    run([qemu_img, "create", "-q", "-f", "qcow2", path, *arguments], timeout=60)
    if not path.is_file():
        raise LabError(f"{path} was not made")
    return path
