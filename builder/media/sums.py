"""The medium's own lists of checksums, made to follow what a plan changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from builder.media.bootedit import BootEdits
from builder.media.manifests import NAMES, SIGNATURES, listed, updated
from builder.media.view import SECTOR
from builder.media.workspace import Staged, Workspace

_MANIFEST_MAX = 4 << 20


def update_manifests(work: Workspace, boot: BootEdits) -> tuple[str, ...]:
    """Stage manifests with new digests. Returns the paths of signed ones, which are left and so become wrong."""
    lists = [path for path in NAMES if 0 < (work.medium.size(path) or 0) <= _MANIFEST_MAX]
    if not lists:
        return ()
    changed: dict[str, Callable[[str], str]] = {}
    for item in work.staged:
        for path in {item.path, *_names(work, item)}:
            changed[path] = partial(work.digest, item.parts)
    for at in boot.changed_images:
        for path in _names_at(work, at // SECTOR, None):
            changed[path] = partial(boot.image_digest, path)
    stale = []
    for path in lists:
        text = work.text(path, _MANIFEST_MAX).decode("utf-8", "surrogateescape")
        if not changed.keys() & listed(text).keys():
            continue
        if any(work.medium.find(path + ending) is not None for ending in SIGNATURES):
            stale.append(path)
            continue
        new = updated(text, changed).encode("utf-8", "surrogateescape")
        work.put(path, [(len(new), new)], how="checksums updated")
    return tuple(stale)


def _names(work: Workspace, item: Staged) -> list[str]:
    if not item.old or not item.old[0][1]:
        return []
    return _names_at(work, item.old[0][0] // SECTOR, item.old[0][1])


def _names_at(work: Workspace, block: int, size: int | None) -> list[str]:
    """Every path in the best tree of the file that starts at a block."""
    tree = work.medium.best
    out = []
    for length, folder in tree.index().files.get(block - tree.base, ()):
        if size in (None, length):
            for hit in tree.starting_at(folder, block - tree.base, length):
                out.append("/" + "/".join(filter(None, (tree.path(folder), tree.name(hit.record, hit.rock_ridge)))))
    return out
