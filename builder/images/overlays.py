"""A node's own disks: thin overlays on a shelf image, empty thin disks, and the seed written into an overlay.

The seed is a raw partition of the disk image (see disk.py): bytes of the disk, so it works on every hypervisor and
controller. The image's first program unpacks it into the root when its digest is new (builder/images/disk/init).
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from builder.errors import LabError
from builder.images.cpio import FIXED_TIME, private_folders
from builder.model.plan import File
from builder.run import need, run

SEED_OFFSET = 33 << 20
SEED_SIZE = 1 << 20
_HEADER = 512


def create_overlay(base: Path, path: Path, size: int = 0) -> Path:
    """A qcow2 at `path` that reads what it does not have from `base`. `size` is what the guest sees, in bytes; the
    base's own size when 0 or smaller than that. Raises CommandFailed."""
    tool = _qemu_img()
    virtual = max(size, virtual_size(base))
    options = "lazy_refcounts=off,preallocation=off"
    run([tool, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.absolute(), "-o", options, path, str(virtual)])
    return path


def create_disk(path: Path, size: int) -> Path:
    """An empty qcow2 of `size` bytes that takes a few hundred KiB. Raises CommandFailed."""
    run([_qemu_img(), "create", "-q", "-f", "qcow2", path, str(size)])
    return path


def virtual_size(path: Path) -> int:
    """Bytes that a guest sees of a qcow2. Raises LabError when `path` is none."""
    head = path.open("rb").read(32)
    if head[:4] != b"QFI\xfb":
        raise LabError(f"{path} is no qcow2 image")
    return int.from_bytes(head[24:32], "big")


def backing_of(path: Path) -> Path | None:
    """The file that a qcow2 reads what it does not have from; None for one that stands alone. Raises LabError when
    `path` is none."""
    with path.open("rb") as file:
        head = file.read(20)
        if head[:4] != b"QFI\xfb":
            raise LabError(f"{path} is no qcow2 image")
        offset, size = int.from_bytes(head[8:16], "big"), int.from_bytes(head[16:20], "big")
        if not offset:
            return None
        file.seek(offset)
        return path.parent / os.fsdecode(file.read(size))


def write_seed(overlay: Path, files: Sequence[File]) -> str:
    """Put `files` into the seed partition of a node's overlay; returns their digest. Equal files, equal bytes.

    The node must not be running. Contents go through a private file, never over a command line.
    Raises LabError when they take more than SEED_SIZE.
    """
    tool = need("qemu-io", why="write a node's own files into its disk", package="qemu-utils")
    data = seed_bytes(files)
    with tempfile.TemporaryDirectory(dir=overlay.parent, prefix=".seed-") as folder:
        (Path(folder) / "seed").write_bytes(data)
        command = f"write -q -s seed {SEED_OFFSET} {len(data)}"
        run([tool, "-f", "qcow2", "-c", command, overlay.absolute()], cwd=Path(folder))
    return data[:_HEADER].split()[2].decode()


def seed_bytes(files: Sequence[File]) -> bytes:
    """The seed partition's content: a header of 512 bytes, then a tar with owners root and fixed times."""
    archive = _tar(files)
    digest = hashlib.sha256(archive).hexdigest()
    header = f"nestlab-seed 1 {digest} {len(archive)}\n".encode().ljust(_HEADER, b"\0")
    whole = header + archive
    if len(whole) > SEED_SIZE:
        raise LabError(
            f"the files for one node take {len(whole)} bytes, more than the {SEED_SIZE} of its seed",
            hint="what all nodes share belongs into the image's recipe",
        )
    return whole


def _tar(files: Sequence[File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT, bufsize=512) as archive:
        for folder in sorted(private_folders(files)):
            entry = _entry(folder, 0o700)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for item in files:
            content = item.content.encode()
            entry = _entry(item.path, item.mode)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(path: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode, entry.mtime = mode, FIXED_TIME
    return entry


def _qemu_img() -> str:
    return need("qemu-img", why="make a node's disks", package="qemu-utils")
