"""Two media side by side: what is the same in place and content, and what is not. Reads every file once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.media.medium import Medium, open_medium
from builder.media.plan import GraftPlan, opened
from builder.media.tree import Dir, Tree
from builder.media.view import SECTOR, in_pieces

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paths carry their tree's kind in front, such as `joliet:/a`. `moved`: same content at another place.

    `boot` are boot images that differ in anything but their place; `identity` says whether volume ids and the dates
    by which volumes are found are the same.
    """

    same: int
    changed: tuple[str, ...]
    moved: tuple[str, ...]
    added: tuple[str, ...]
    missing: tuple[str, ...]
    boot: tuple[str, ...]
    identity: bool


def compare(old: Path | GraftPlan, new: Path | GraftPlan, *, progress: Progress | None = None) -> Comparison:
    """Compare every file of every tree, by place and by content; a plan is compared before it is written.

    `progress` is told (bytes read, bytes to read).

    Raises MediaError when either is no sound medium.
    """
    with opened(old) as one, opened(new) as two:
        before, after = open_medium(one), open_medium(two)
        digests = _Digests(before, after, progress)
        same, changed, moved, added, missing = 0, [], [], [], []
        kinds = [f"{t.kind}@{t.base}" if t.base else t.kind for t in before.trees]
        for kind, tree, twin in zip(kinds, before.trees, after.trees, strict=False):
            was, now = _files(tree), _files(twin)
            added += [f"{kind}:{path}" for path in now.keys() - was.keys()]
            missing += [f"{kind}:{path}" for path in was.keys() - now.keys()]
            for path in was.keys() & now.keys():
                if digests.of(before, was[path]) != digests.of(after, now[path]):
                    changed.append(f"{kind}:{path}")
                elif was[path] != now[path]:
                    moved.append(f"{kind}:{path}")
                else:
                    same += 1
        if len(before.trees) != len(after.trees):
            missing.append(f"{abs(len(before.trees) - len(after.trees))} whole trees")
        return Comparison(
            same, tuple(sorted(changed)), tuple(sorted(moved)), tuple(sorted(added)), tuple(sorted(missing)),
            tuple(_boot(before, after)), _identity(before) == _identity(after),
        )  # fmt: skip


Pieces = tuple[tuple[int, int], ...]


def _files(tree: Tree) -> dict[str, Pieces]:
    """path -> where the data of each plain file lies."""
    out: dict[str, Pieces] = {}
    todo: list[tuple[str, Dir]] = [("", tree.root)]
    while todo:
        above, folder = todo.pop()
        for hit in tree.listing(folder):
            path = f"{above}/{tree.name(hit.record, hit.rock_ridge)}"
            below = tree.enter(hit) if hit.record.is_dir else None
            if below is not None:
                todo.append((path, below))
            elif not hit.rock_ridge.link and hit.rock_ridge.child is None and hit.record.plain:
                pieces = tuple(tree.sections(hit))
                out[path] = pieces if pieces[0][1] else ((0, 0),)
    return out


class _Digests:
    """Digests by place, so that hard links and the trees' twins are read once."""

    def __init__(self, before: Medium, after: Medium, progress: Progress | None) -> None:
        self._known: dict[tuple[int, Pieces], bytes] = {}
        self._progress = progress
        self._done, self._all = 0, before.view.source.size + after.view.source.size

    def of(self, medium: Medium, pieces: Pieces) -> bytes:
        key = (id(medium), pieces)
        if key not in self._known:
            sum_ = hashlib.sha256()
            for piece in self._read(medium, pieces):
                sum_.update(piece)
            self._known[key] = sum_.digest()
        return self._known[key]

    def _read(self, medium: Medium, pieces: Pieces) -> Iterator[bytes]:
        for at, length in pieces:
            for data in in_pieces(medium.view.source.read, at, length):
                self._done += len(data)
                if self._progress is not None:
                    self._progress(self._done, self._all)
                yield data


def _boot(before: Medium, after: Medium) -> Iterator[str]:
    pairs = list(zip(before.boot_images, after.boot_images, strict=False))
    if len(before.boot_images) != len(after.boot_images):
        yield f"{len(before.boot_images)} boot images became {len(after.boot_images)}"
    for old, new in pairs:
        if (old.platform, old.bootable, old.emulation, old.load) != (
            new.platform,
            new.bootable,
            new.emulation,
            new.load,
        ):
            yield f"the boot entry for {old.platform} became one for {new.platform}"
        elif old.platform == "BIOS":
            length = min(2048, before.view.source.size - old.block * SECTOR)
            first = before.view.source.read(old.block * SECTOR, length)
            if first != after.view.source.read(new.block * SECTOR, length):
                yield f"the {old.platform} boot image's first block"
    if before.system_area.has_mbr and before.view.source.read(0, 440) != after.view.source.read(0, 440):
        yield "the boot code of the first sector"


def _identity(medium: Medium) -> list[tuple[str, bytes]]:
    """Volume ids, and the four dates of each descriptor: a volume's UUID is made of one of them."""
    return [(t.volume_id, medium.view.source.read(t.descriptor + 813, 68)) for t in medium.trees]
