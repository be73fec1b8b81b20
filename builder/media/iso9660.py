"""Directory records and their names, as bytes with their places: ECMA-119, SUSP and Rock Ridge (IEEE P1281, P1282).

pycdlib reads these too, but does not tell where on the medium a record lies, which patching needs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from builder.media.errors import damaged
from builder.media.view import SECTOR

DIRECTORY = 0x02
MORE_SECTIONS = 0x80
MAX_NAME = 255
MAX_CONTINUATIONS = 32
Reader = Callable[[int, int], bytes]


def both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def both32(value: int) -> bytes:
    """Raises MediaError for a number that the standard has no room for."""
    try:
        return struct.pack("<I", value) + struct.pack(">I", value)
    except struct.error:
        raise damaged(f"a field of the image would have to hold {value}") from None


class Record:
    """A directory record. `raw` is its bytes, `offset` where they lie on the medium (-1: not laid out yet)."""

    __slots__ = ("offset", "raw")

    def __init__(self, raw: bytes, offset: int) -> None:
        self.raw = bytearray(raw)
        self.offset = offset

    @property
    def extent(self) -> int:
        return int.from_bytes(self.raw[2:6], "little")

    @property
    def size(self) -> int:
        return int.from_bytes(self.raw[10:14], "little")

    @property
    def flags(self) -> int:
        return self.raw[25]

    @property
    def is_dir(self) -> bool:
        return bool(self.raw[25] & DIRECTORY)

    @property
    def ident(self) -> bytes:
        return bytes(self.raw[33 : 33 + self.raw[32]])

    @property
    def plain(self) -> bool:
        """Whether the data is one row of blocks from the extent on (no attribute record, not interleaved)."""
        return not (self.raw[1] or self.raw[26] or self.raw[27])

    @property
    def susp_start(self) -> int:
        return 33 + self.raw[32] + (1 - self.raw[32] % 2)

    def system_use(self, skip: int = 0) -> bytes:
        return bytes(self.raw[self.susp_start + skip :])

    def point(self, extent: int, size: int) -> None:
        self.raw[2:10] = both32(extent)
        self.raw[10:18] = both32(size)


def parse_records(data: bytes, offset: int) -> list[Record]:
    """The records of a directory whose bytes lie at `offset`, with `.` and `..` first.

    Raises MediaError for records that overlap, are cut short or lie across a block.
    """
    records = []
    at = 0
    while at < len(data):
        length = data[at]
        if length == 0:
            at = (at // SECTOR + 1) * SECTOR
            continue
        fits = at % SECTOR + length <= SECTOR and at + length <= len(data)
        if length < 34 or not fits or 33 + data[at + 32] > length or data[at + 32] == 0:
            raise damaged(f"the directory at byte {offset} holds a broken record at {at}")
        records.append(Record(data[at : at + length], offset + at))
        at += length
    if len(records) < 2 or records[0].ident != b"\0" or records[1].ident != b"\1":
        raise damaged(f"the directory at byte {offset} lacks its '.' and '..' records")
    return records


def entries(system_use: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """SUSP entries of one area: (place in the area, signature, whole entry)."""
    at = 0
    while at + 4 <= len(system_use):
        length = system_use[at + 2]
        if length < 4 or at + length > len(system_use):
            return
        signature = system_use[at : at + 2]
        if signature == b"ST":
            return
        yield at, signature, system_use[at : at + length]
        at += length


def all_entries(record: Record, skip: int, read: Reader, base: int) -> Iterator[tuple[bytes, bytes]]:
    """SUSP entries of a record with its continuation areas. Raises MediaError for chains that do not end."""
    area = record.system_use(skip)
    for _ in range(MAX_CONTINUATIONS):
        onward: tuple[int, int, int] | None = None
        for _at, signature, entry in entries(area):
            if signature == b"CE" and len(entry) >= 28:
                onward = struct.unpack_from("<I4xI4xI", entry, 4)
            else:
                yield signature, entry
        if onward is None:
            return
        block, start, length = onward
        if start + length > SECTOR * 2 or length > SECTOR:
            raise damaged(f"a continuation area at block {block} claims {length} bytes from {start} on")
        area = read((block + base) * SECTOR + start, length)
    raise damaged(f"the record at byte {record.offset} has a chain of continuation areas without end")


@dataclass(frozen=True, slots=True)
class RockRidge:
    """What Rock Ridge says about a record. `child` is the block of a directory that lives elsewhere (CL)."""

    name: bytes = b""
    child: int | None = None
    relocated: bool = False
    link: bool = False
    zisofs: bool = False


def rock_ridge(record: Record, skip: int, read: Reader, base: int) -> RockRidge:
    name, child, relocated, link, zisofs = b"", None, False, False, False
    for signature, entry in all_entries(record, skip, read, base):
        if signature == b"NM" and len(entry) >= 5 and not entry[4] & 0x06:
            name += entry[5:]
            if len(name) > MAX_NAME:
                raise damaged(f"the record at byte {record.offset} has a name of more than {MAX_NAME} bytes")
        elif signature == b"CL" and len(entry) >= 12:
            child = int.from_bytes(entry[4:8], "little")
        elif signature == b"RE":
            relocated = True
        elif signature == b"SL":
            link = True
        elif signature == b"ZF":
            zisofs = True
    return RockRidge(name, child, relocated, link, zisofs)


def check_name(name: str, offset: int) -> str:
    """Raises MediaError for names that could lead a reader out of its folder."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise damaged(f"the record at byte {offset} has the name {name!r}")
    if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME * 3:
        raise damaged(f"the record at byte {offset} has an overlong name")
    return name


def plain_name(ident: bytes) -> str:
    """A name without version, as systems without Rock Ridge show it."""
    return ident.decode("latin-1").rsplit(";", 1)[0].rstrip(".") or ident.decode("latin-1")


def joliet_name(ident: bytes) -> str:
    return ident.decode("utf-16-be", "replace").rsplit(";", 1)[0]


def pack(records: list[Record]) -> bytes:
    """A directory's bytes: no record lies across a block, the rest is zero, the length a whole number of blocks."""
    out = bytearray()
    for record in records:
        if len(out) % SECTOR + len(record.raw) > SECTOR:
            out += bytes(-len(out) % SECTOR)
        out += record.raw
    return bytes(out) + bytes(-len(out) % SECTOR)
