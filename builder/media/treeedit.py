"""Changing a tree: files pointed elsewhere, added, folders made. All in memory; `commit` lays each touched folder out
once, moves those that outgrew their blocks, and mends what points at them."""

from __future__ import annotations

import stat
from bisect import bisect_right
from collections.abc import Iterator

from builder.media.errors import MediaError, damaged
from builder.media.iso9660 import MORE_SECTIONS, Record, both32, entries, pack
from builder.media.pathtable import PathTable
from builder.media.records import Maker, bump_links
from builder.media.susp import link_of, move_continuations, set_link
from builder.media.tree import Dir, Hit, Tree, parts
from builder.media.view import SECTOR

Sections = list[tuple[int, int]]
SECTION_MAX = 0xFFFFFFFF // SECTOR * SECTOR


def sections_of(offset: int, length: int) -> Sections:
    """(absolute block, size) of a file's sections when its data lies in one row at a byte offset."""
    out = [(offset // SECTOR, min(length, SECTION_MAX))]
    while sum(size for _block, size in out) < length:
        block, size = out[-1]
        left = length - sum(s for _b, s in out)
        out.append((block + size // SECTOR, min(left, SECTION_MAX)))
    return out


class TreeEditor:
    """Edits of one tree. Blocks given are the image's; the tree's own base is taken off here."""

    def __init__(self, tree: Tree, stamp: bytes) -> None:
        self.tree = tree
        self.index = tree.index()
        self.maker = Maker(tree, stamp)
        self.moved: list[str] = []

    def aliases(self, block: int, size: int) -> Iterator[Hit]:
        """Every record whose data starts at a block of the image and has that size: all hard links of a file."""
        seen = set()
        for length, folder in self.index.files.get(block - self.tree.base, ()):
            if length == size and id(folder) not in seen:
                seen.add(id(folder))
                yield from self.tree.starting_at(folder, block - self.tree.base, size)

    def repoint(self, hit: Hit, sections: Sections) -> None:
        """Let a file's records tell another place and size. Raises MediaError for what is no plain file."""
        if hit.record.is_dir or hit.rock_ridge.link or hit.rock_ridge.child is not None:
            raise MediaError("a folder or symbolic link cannot get other content", hint="name a regular file")
        records = self.tree.load(hit.folder)
        first = records.index(hit.record)
        last = first
        while records[last].flags & MORE_SECTIONS and last + 1 < len(records):
            last += 1
        new = []
        for place, (block, size) in enumerate(sections):
            record = hit.record if not place else Record(bytes(hit.record.raw), hit.record.offset)
            record.point(block - self.tree.base, size)
            more = MORE_SECTIONS if place + 1 < len(sections) else 0
            record.raw[25] = record.raw[25] & ~MORE_SECTIONS & 0xFF | more
            record.raw[1] = record.raw[26] = record.raw[27] = 0
            if self.tree.kind == "rock ridge":
                self._unpacked(record)
            new.append(record)
        records[first : last + 1] = new
        hit.folder.dirty = True

    def _unpacked(self, record: Record) -> None:
        # New content is not zisofs: its entry becomes padding of the same length.
        for at, signature, _entry in entries(record.system_use(self.tree.skip)):
            if signature == b"ZF":
                start = record.susp_start + self.tree.skip + at
                record.raw[start : start + 2] = b"PD"

    def add(self, path: str, sections: Sections, mode: int) -> None:
        """A new file, its folders made where they are missing."""
        above, _, name = "/".join(parts(path)).rpartition("/")
        folder = self._folder(above)
        relative = [(block - self.tree.base, size) for block, size in sections]
        self._insert(folder, name, self.maker.record(folder, name, mode=stat.S_IFREG | mode, sections=relative))

    def _folder(self, path: str) -> Dir:
        at = self.tree.root
        for name in parts(path):
            hit = self.tree.child(at, name)
            below = None if hit is None else self.tree.enter(hit)
            if hit is not None and below is None:
                raise MediaError(f"{name} in /{path} is a file, not a folder", hint="choose another path")
            at = below or self._make(at, name)
        return at

    def _make(self, parent: Dir, name: str) -> Dir:
        depth, above = 2, parent
        while above.parent is not None:
            depth, above = depth + 1, above.parent
        if depth > 8 and self.tree.kind in ("plain", "rock ridge"):
            raise MediaError(
                f"the folder {name} would lie more than 8 levels deep", hint="ISO 9660 allows 8; use a shorter path"
            )
        record = self.maker.record(parent, name, mode=stat.S_IFDIR | 0o555, sections=[(0, 0)])[0]
        made = Dir(parent, 0, 0, records=self.maker.dots(parent), own=record, dirty=True, new=True, ident=record.ident)
        self._insert(parent, name, [record])
        parent.made.append(made)
        if self.tree.kind == "rock ridge":
            bump_links(self.tree.load(parent)[0], self.tree.skip)
            if parent.own is not None and parent.parent is not None:
                bump_links(parent.own, self.tree.skip)
                parent.parent.dirty = True
        return made

    def _insert(self, folder: Dir, name: str, new: list[Record]) -> None:
        self.tree.call(folder, name, new[0])
        records = self.tree.load(folder)
        place = bisect_right(records, self._key(new[0]), lo=2, key=self._key)
        records[place:place] = new
        folder.dirty = True

    def _key(self, record: Record) -> tuple[bytes, bytes, bytes]:
        if self.tree.kind == "joliet":
            return (record.ident, b"", b"")
        name, _, _version = record.ident.partition(b";")
        stem, _, ext = name.partition(b".")
        return (stem.ljust(32), ext.ljust(32), record.ident)

    # -- laying out

    def commit(self) -> None:
        """Write what changed into the view. Raises MediaError when a chain of relocated folders does not hold."""
        everyone = self._everyone()
        moving = self._moving(everyone)
        old_places = {id(folder): folder.extent for folder in moving}
        resized = [f for f in everyone if f.dirty and f not in moving and len(pack(self.tree.load(f))) > f.size]
        for folder in moving:
            self._place(folder)
        for folder in resized:
            folder.size = len(pack(self.tree.load(folder)))
        for folder in (*moving, *resized):
            self._point_at(folder, everyone)
        if self.tree.kind == "rock ridge":
            for folder in moving:
                self._relocated(folder, old_places[id(folder)])
        for folder in everyone:
            if folder.dirty:
                at = (folder.extent + self.tree.base) * SECTOR
                self.tree.view.patch(at, pack(self.tree.load(folder)).ljust(folder.room, b"\0"))
        if moving:
            self._path_tables(moving, old_places)

    def _everyone(self) -> list[Dir]:
        out = list(self.index.dirs.values())
        for folder in out:  # grows while it is walked: made folders can hold made folders
            out.extend(folder.made)
        return out

    def _moving(self, everyone: list[Dir]) -> list[Dir]:
        """The folders that get another place, parents first. One that moves takes all below it along: libarchive
        reads in the order of places and leaves out folders that lie before the one that names them."""
        children: dict[int, list[Dir]] = {}
        for folder in everyone:
            if folder.parent is not None:
                children.setdefault(id(folder.parent), []).append(folder)
        out: list[Dir] = []
        level, moves = [self.tree.root], {id(f) for f in everyone if f.dirty and self._outgrown(f)}
        while level:
            below: list[Dir] = []
            for folder in level:
                if id(folder) in moves:
                    out.append(folder)
                    moves |= {id(child) for child in children.get(id(folder), ()) if not folder.new}
                below += children.get(id(folder), ())
            level = below
        return out

    def _outgrown(self, folder: Dir) -> bool:
        return folder.new or len(pack(self.tree.load(folder))) > folder.room

    def _place(self, folder: Dir) -> None:
        records = self.tree.load(folder)
        folder.size = len(pack(records))
        if not folder.new:
            self.moved.append("/" + self.tree.path(folder))
        folder.extent = self.tree.view.allocate(folder.size) // SECTOR - self.tree.base
        if self.tree.kind == "rock ridge" and not folder.new:
            move_continuations(self.tree, records)
        folder.new, folder.dirty = False, True

    def _point_at(self, folder: Dir, everyone: list[Dir]) -> None:
        records = self.tree.load(folder)
        records[0].point(folder.extent, folder.size)
        if folder.parent is None:
            records[1].point(folder.extent, folder.size)
            for descriptor in self.tree.descriptors:
                self.tree.view.patch(descriptor + 156 + 2, both32(folder.extent) + both32(folder.size))
        else:
            self.tree.load(folder.parent)
            if folder.own is None:
                raise damaged("a folder's record is not where its parent should have it")
            folder.own.point(folder.extent, folder.size)
            folder.parent.dirty = True
            records[1].point(folder.parent.extent, folder.parent.size)
        folder.dirty = True
        for child in everyone:
            if child.parent is folder:
                self.tree.load(child)[1].point(folder.extent, folder.size)
                child.dirty = True

    def _relocated(self, folder: Dir, old: int) -> None:
        """Rock Ridge's second chain of parents: a folder that lies too deep is kept elsewhere, with CL where it
        belongs and PL at its own `..`."""
        records = self.tree.load(folder)
        logical = link_of(self.tree, records[1], b"PL")
        if logical is not None and (above := self._now_or_once(logical)) is not None:
            for record in self.tree.load(above):
                if link_of(self.tree, record, b"CL") == old:
                    set_link(self.tree, record, b"CL", folder.extent)
                    above.dirty = True
        for record in records[2:]:
            child = link_of(self.tree, record, b"CL")
            if child is not None and (below := self._now_or_once(child)) is not None:
                set_link(self.tree, self.tree.load(below)[1], b"PL", folder.extent)
                below.dirty = True

    def _now_or_once(self, extent: int) -> Dir | None:
        """The folder that lies, or lay before this edit, at a block."""
        return self.index.dirs.get(extent) or next((f for f in self._everyone() if f.extent == extent), None)

    def _path_tables(self, moved: list[Dir], old_places: dict[int, int]) -> None:
        table = PathTable.read(self.tree)
        fresh = []
        for folder in moved:
            old = old_places[id(folder)]
            if old:
                table.move(old, folder.extent)
            else:
                fresh.append(folder)
        for folder in fresh:  # parents first: a made folder stands behind the one it was made in
            assert folder.parent is not None
            table.insert(folder.parent.extent, folder.ident, folder.extent)
        table.write(self.tree)
