"""Debian packages as judges: fetched once, unpacked (never installed), kept in the cache for the next run."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from builder.images.hosts import read_host
from builder.images.packages import AptRoot
from builder.paths import Places, locked


def unpacked(release: str, packages: Sequence[str]) -> Path:
    """A folder with the contents of these packages of a release. Needs the network the first time only."""
    cache = Places.from_environment(os.environ).cache / "test-packages"
    digest = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    folder = cache / f"{release}-{digest}"
    with locked(cache / f"{folder.name}.lock"):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            mirror = os.environ.get("NESTLAB_DEBIAN_MIRROR")
            AptRoot(cache / "apt", read_host(mirror=mirror, tools=False), release).unpack(tuple(packages), partial)
            partial.rename(folder)
    return folder
