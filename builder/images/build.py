"""From a recipe to a finished image on the shelf."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from builder.errors import Interrupted
from builder.events import Emit
from builder.images.disk import build_disk, build_rootfs
from builder.images.hosts import HostInputs
from builder.images.keys import image_key, rootfs_key
from builder.images.packages import AptRoot
from builder.images.store import Image, ImageStore
from builder.images.tiny import build_tiny
from builder.images.workshop import Workshop, reap_builds
from builder.model.plan import Recipe


def build(
    recipe: Recipe,
    host: HostInputs,
    store: ImageStore,
    *,
    work: Path,
    emit: Emit,
    stop: threading.Event | None = None,
) -> Image:
    """The image of `recipe`: from the shelf, or built now. Two callers of one key do not build twice.

    Emits begin and end of the phases bootstrap, packages, configure, assemble and publish, and lines of the programs
    at work. `work` is a folder for temporary files (a disk image needs about 4 GB there while it is made); what
    killed builds left in it is cleared away first.
    Raises HostLacks (a tool, or root for kind `disk`), CommandFailed, Interrupted when `stop` was set.
    """
    key = image_key(recipe, host)
    if (image := store.find(key)) is not None:
        return image
    with store.building(key, stop) as folder:
        if (image := store.find(key)) is not None:
            return image
        work.mkdir(parents=True, exist_ok=True)
        if recipe.kind == "disk":
            reap_builds(work)
            rootfs = _rootfs(recipe, host, store, work=work, emit=emit, stop=stop)
            with Workshop(work) as shop:
                manifest = build_disk(recipe, folder, rootfs, shop, emit=emit, stop=stop)
        else:
            with tempfile.TemporaryDirectory(dir=work, prefix="tiny-") as scratch:
                apt = AptRoot(store.cache_root / "apt", host, recipe.release)
                manifest = build_tiny(recipe, folder, apt, Path(scratch), emit=emit)
        if stop is not None and stop.is_set():
            raise Interrupted("the build of an image was stopped")
        emit("begin", phase="publish")
        image = store.publish(folder, key, manifest)
        emit("end", phase="publish", outcome="ok")
        return image


def _rootfs(
    recipe: Recipe, host: HostInputs, store: ImageStore, *, work: Path, emit: Emit, stop: threading.Event | None
) -> Image:
    key = rootfs_key(recipe, host)
    if (image := store.find(key)) is not None:
        return image
    with store.building(key, stop) as folder:
        if (image := store.find(key)) is not None:
            return image
        with Workshop(work) as shop:
            manifest = build_rootfs(recipe, folder, host, shop, emit=emit, stop=stop)
        return store.publish(folder, key, manifest)
