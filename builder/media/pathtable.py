"""The path tables of a volume: every folder with its place and its parent's number, little-endian and big-endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from builder.media.errors import damaged
from builder.media.iso9660 import both32
from builder.media.tree import Tree
from builder.media.view import SECTOR

MAX_TABLE = 4 << 20


@dataclass(slots=True, eq=False)
class Entry:
    """A folder. The root is its own parent."""

    ident: bytes
    extent: int
    parent: Entry | None
    children: list[Entry] = field(default_factory=list)


class PathTable:
    """The table as a tree, so that a folder can be put in and all numbers come out right."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.grown = False

    @classmethod
    def read(cls, tree: Tree) -> PathTable:
        """Raises MediaError for a table that does not hold together."""
        vd = tree.view.read(tree.descriptor, SECTOR)
        size, block = struct.unpack_from("<I", vd, 132)[0], struct.unpack_from("<I", vd, 140)[0]
        _check(size)
        data = tree.view.read((block + tree.base) * SECTOR, size)
        entries: list[Entry] = []
        at = 0
        while at + 8 <= size and data[at]:
            extent, parent = struct.unpack_from("<IH", data, at + 2)
            ident = data[at + 8 : at + 8 + data[at]]
            if not 1 <= parent <= max(len(entries), 1):
                raise damaged(f"folder {len(entries) + 1} of the path table has parent {parent}")
            above = entries[parent - 1] if entries else None
            entry = Entry(ident, extent, above)
            if above is not None:
                above.children.append(entry)
            entries.append(entry)
            at += 8 + data[at] + data[at] % 2
        if not entries:
            raise damaged("the path table is empty")
        return cls(entries)

    def move(self, old: int, new: int) -> None:
        for entry in self.entries:
            if entry.extent == old:
                entry.extent = new

    def insert(self, parent: int, ident: bytes, extent: int) -> None:
        above = next((entry for entry in self.entries if entry.extent == parent), None)
        if above is None:
            raise damaged("a folder is missing in the path table")
        entry = Entry(ident, extent, above)
        place = next((i for i, other in enumerate(above.children) if other.ident > ident), len(above.children))
        above.children.insert(place, entry)
        self.entries.append(entry)
        self.grown = True

    def _ordered(self) -> list[Entry]:
        """By level, and in a level by parent: the order that the standard wants."""
        out = [self.entries[0]]
        for entry in out:
            out.extend(entry.children)
        return out

    def _packed(self, order: str, entries: list[Entry]) -> bytes:
        number = {id(entry): place for place, entry in enumerate(entries, 1)}
        out = bytearray()
        for entry in entries:
            parent = 1 if entry.parent is None else number[id(entry.parent)]
            out += bytes((len(entry.ident), 0)) + struct.pack(order + "IH", entry.extent, parent & 0xFFFF)
            out += entry.ident + bytes(len(entry.ident) % 2)
        return bytes(out)

    def write(self, tree: Tree) -> None:
        """Put both tables and their copies into the view; they move to the end when they outgrew their blocks."""
        entries = self._ordered() if self.grown else self.entries
        for descriptor in tree.descriptors:
            self._write(tree, descriptor, entries)

    def _write(self, tree: Tree, descriptor: int, entries: list[Entry]) -> None:
        view = tree.view
        vd = view.read(descriptor, SECTOR)
        old_size = int.from_bytes(vd[132:136], "little")
        _check(old_size)
        room = -(-old_size // SECTOR) * SECTOR
        for place, order in ((140, "<"), (144, "<"), (148, ">"), (152, ">")):
            block = struct.unpack_from(order + "I", vd, place)[0]
            if not block:
                continue
            data = self._packed(">" if order == ">" else "<", entries)
            at = (block + tree.base) * SECTOR
            if at + old_size > view.cut:
                raise damaged(f"a path table at block {block + tree.base} is past the end")
            if len(data) > room:
                at = view.allocate(len(data))
                view.patch(descriptor + place, struct.pack(order + "I", at // SECTOR - tree.base))
            view.patch(at, data.ljust(room if len(data) <= room else 0, b"\0"))
            if len(data) != old_size:
                view.patch(descriptor + 132, both32(len(data)))


def _check(size: int) -> None:
    if not 10 <= size <= MAX_TABLE:
        raise damaged(f"the path table claims {size} bytes")
