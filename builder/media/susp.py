"""Rock Ridge entries that hold places on the medium, and so must follow when folders move."""

from __future__ import annotations

from builder.media.errors import damaged
from builder.media.iso9660 import MAX_CONTINUATIONS, Record, both32, entries
from builder.media.tree import Tree
from builder.media.view import SECTOR


def link_of(tree: Tree, record: Record, signature: bytes) -> int | None:
    """The block in a record's CL or PL entry. Such entries are short and stand in the record itself."""
    for _at, found, entry in entries(record.system_use(_skip(tree, record))):
        if found == signature and len(entry) >= 12:
            return int.from_bytes(entry[4:8], "little")
    return None


def set_link(tree: Tree, record: Record, signature: bytes, block: int) -> None:
    skip = _skip(tree, record)
    for at, found, entry in entries(record.system_use(skip)):
        if found == signature and len(entry) >= 12:
            start = record.susp_start + skip + at + 4
            record.raw[start : start + 8] = both32(block)


def _skip(tree: Tree, record: Record) -> int:
    """The root's `.` tells how many bytes to skip, and does not skip them itself."""
    return 0 if record.ident == b"\0" and record.system_use()[:2] == b"SP" else tree.skip


def move_continuations(tree: Tree, records: list[Record]) -> None:
    """Copy the continuation areas of a folder's records to new blocks, right behind the folder: readers that go by
    place expect them there."""
    view = tree.view
    room, used = -1, SECTOR
    for record in records:
        area, owner, at_owner = record.system_use(_skip(tree, record)), -1, record.susp_start + _skip(tree, record)
        for _ in range(MAX_CONTINUATIONS):
            onward = next(
                ((at, entry) for at, found, entry in entries(area) if found == b"CE" and len(entry) >= 28), None
            )
            if onward is None:
                break
            at, entry = onward
            block, start, length = (int.from_bytes(entry[n : n + 4], "little") for n in (4, 12, 20))
            if length > SECTOR or start + length > 2 * SECTOR:
                raise damaged(f"a continuation area at block {block} claims {length} bytes from {start} on")
            data = view.read((block + tree.base) * SECTOR + start, length)
            if used + length > SECTOR:
                room, used = view.allocate(SECTOR), 0
            view.patch(room + used, data)
            place = both32(room // SECTOR - tree.base) + both32(used)
            if owner < 0:
                record.raw[at_owner + at + 4 : at_owner + at + 20] = place
            else:
                view.patch(owner + at + 4, place)
            area, owner = data, room + used
            used += length
