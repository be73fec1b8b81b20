"""Where new content goes: over the old where it fits, else behind it, and in every tree all records that show it."""

from __future__ import annotations

from bisect import bisect_left

from builder.media.errors import MediaError
from builder.media.medium import Medium
from builder.media.tree import Hit, Tree
from builder.media.treeedit import Sections, TreeEditor, sections_of
from builder.media.view import SECTOR, SourcePart
from builder.media.workspace import Staged, Workspace

IN_PLACE_MAX = 1 << 20


def lay_out(medium: Medium, work: Workspace) -> list[str]:
    """Give every staged file its place and write the trees. Returns what the user should know."""
    stamp = _stamp(medium)
    editors = [TreeEditor(tree, stamp) for tree in medium.trees]
    places = _Places(medium)
    for item in work.staged:
        places.refuse_boot_images(item)
        hits = [(editor, hit) for editor in editors for hit in _records(editor, item)]
        sections = places.place(item)
        for editor, hit in hits:
            editor.repoint(hit, sections)
        reached = {id(editor) for editor, _hit in hits}
        for editor in editors:
            if item.old is None and id(editor) not in reached:
                editor.add(item.path, sections, item.mode)
    for editor in editors:
        editor.commit()
    moved = sorted({path or "/" for editor in editors for path in editor.moved})
    if not moved:
        return []
    return [
        f"folders that had no room were moved to the end, where old libarchive readers miss them: {', '.join(moved)}"
    ]


def _stamp(medium: Medium) -> bytes:
    """The date of new records: the volume's own, so that the same input gives the same bytes."""
    vd = medium.view.read(medium.primary, SECTOR)
    return vd[156 + 18 : 156 + 25]


def _records(editor: TreeEditor, item: Staged) -> list[Hit]:
    if item.old is None:
        hit = editor.tree.find(item.path)
        return [] if hit is None else [hit]
    at, size = item.old[0]
    if size:
        return list(editor.aliases(at // SECTOR, size))
    # An empty file has no place of its own, its names are all there is.
    hit = editor.tree.find(item.path)
    return [] if hit is None or hit.record.size else [hit]


class _Places:
    """Finds room for content. Knows what else lies where, so that nothing is written over."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.view = medium.view
        self.boot = {image.block for image in medium.boot_images} | set(medium.catalogs)
        self._sorted: list[tuple[Tree, list[int]]] | None = None

    def refuse_boot_images(self, item: Staged) -> None:
        if item.old and item.old[0][1] and item.old[0][0] // SECTOR in self.boot:
            raise MediaError(
                f"{item.path} is what the firmware boots; it is told by its place and checked by its sum",
                hint="files inside an EFI boot image are edited through its menus; other boot images stay as they are",
            )

    def place(self, item: Staged) -> Sections:
        """The sections that records shall tell. The content is put into the view."""
        if not item.size:
            return [(self._empty(item), 0)]
        data = item.in_memory
        if data is not None and self._fits(item, len(data)):
            assert item.old is not None
            at = item.old[0][0]
            # Only the last block's rest is cleared: blocks behind it belong to nothing any more.
            self.view.patch(at, data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0"))
            return [(at // SECTOR, len(data))]
        first = item.parts[0]
        like = first[1].offset if isinstance(first[1], SourcePart) else None
        start = at = self.view.allocate(item.size, like=like)
        for length, payload in item.parts:
            self.view.run(at, length, payload)
            at += length
        return sections_of(start, item.size)

    def _empty(self, item: Staged) -> int:
        return item.old[0][0] // SECTOR if item.old else self.medium.primary // SECTOR + 1

    def _fits(self, item: Staged, length: int) -> bool:
        if item.old is None or len(item.old) != 1 or length > IN_PLACE_MAX:
            return False
        at, size = item.old[0]
        return length <= -(-size // SECTOR) * SECTOR and self._alone(at // SECTOR, size)

    def _alone(self, block: int, size: int) -> bool:
        """Whether no other file shares a block with this one."""
        end = block + _blocks(size)
        for tree, starts in self._starts():
            files = tree.index().files
            place = bisect_left(starts, block - tree.base)
            if place and any(starts[place - 1] + tree.base + _blocks(s) > block for s, _f in files[starts[place - 1]]):
                return False
            for start in starts[place : place + 2]:
                here = start + tree.base == block and all(_blocks(s) == end - block for s, _f in files[start])
                if start + tree.base < end and not here:
                    return False
        return True

    def _starts(self) -> list[tuple[Tree, list[int]]]:
        """Where files start in each tree, in order."""
        if self._sorted is None:
            self._sorted = [(tree, sorted(tree.index().files)) for tree in self.medium.trees]
        return self._sorted


def _blocks(size: int) -> int:
    return -(-size // SECTOR)
