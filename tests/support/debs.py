"""Debian packages as judges: fetched once, unpacked (never installed), kept in the cache for the next run."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from builder.images.hosts import read_host
from builder.images.packages import AptRoot
from builder.images.tiny import kernel_of
from builder.paths import Places, locked


def kernel_package(release: str) -> str:
    """Debian's own kernel of a release: linux-image-VERSION-amd64, which Xen can start as dom0."""
    apt = _apt(release)
    apt.refresh()
    return kernel_of(apt)


def unpacked(release: str, packages: Sequence[str]) -> Path:
    """A folder with the contents of these packages of a release. Needs the network the first time only."""
    digest = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    folder = cache() / f"{release}-{digest}"
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _apt(release).unpack(tuple(packages), partial)
            partial.rename(folder)
    return folder


def merged(release: str, packages: Sequence[str], root: Path) -> Path:
    """A copy of `unpacked` whose /bin, /sbin and /lib are links into /usr, as on installed systems: newer programs
    look nowhere else."""
    shutil.copytree(unpacked(release, packages), root, symlinks=True, dirs_exist_ok=True)
    for name in ("bin", "sbin", "lib"):
        if (root / name).is_dir():
            shutil.copytree(root / name, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(root / name)
        (root / name).symlink_to(f"usr/{name}")
    return root


def cache() -> Path:
    """Where tests keep what is slow to make."""
    return Places.from_environment(os.environ).cache / "test-packages"


def _apt(release: str) -> AptRoot:
    mirror = os.environ.get("NESTLAB_DEBIAN_MIRROR")
    return AptRoot(cache() / "apt", read_host(mirror=mirror, tools=False), release)
