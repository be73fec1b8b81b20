"""The system area: master boot record, GUID partition table with its backup, Apple partition map. Read only."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

from builder.media.errors import damaged
from builder.media.view import View

UNIT = 512
MAX_GPT = 1024
MAX_APM = 63
GPT_ESP = uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
GPT_HFS = uuid.UUID("48465300-0000-11AA-AA11-00306543ECAC")


@dataclass(frozen=True, slots=True)
class Partition:
    """`start` and `count` are in 512-byte sectors; `slot` counts from 0; `kind` is the type as the table writes it."""

    table: str
    slot: int
    start: int
    count: int
    kind: str
    name: str = ""

    @property
    def end(self) -> int:
        return self.start + self.count


@dataclass(frozen=True, slots=True)
class Gpt:
    """A primary header that checks out. Places in 512-byte sectors."""

    header: bytes
    current: int
    alternate: int
    first: int
    last: int
    entries_at: int
    count: int
    width: int
    table: bytes

    @property
    def table_sectors(self) -> int:
        return -(-self.count * self.width // UNIT)


@dataclass(frozen=True, slots=True)
class SystemArea:
    """`apm_unit` is the block size of the Apple map. `gpt_fault` says why a GPT that is there cannot be trusted.
    `backup` is the sector of the GPT's backup header, None when it is not there. `geometry`: heads and sectors."""

    partitions: tuple[Partition, ...] = ()
    has_mbr: bool = False
    gpt: Gpt | None = None
    gpt_fault: str = ""
    backup: int | None = None
    apm_unit: int = 0
    geometry: tuple[int, int] = (64, 32)

    @property
    def cylinder(self) -> int:
        """Bytes of a cylinder."""
        return self.geometry[0] * self.geometry[1] * UNIT

    def of(self, table: str) -> tuple[Partition, ...]:
        return tuple(p for p in self.partitions if p.table == table)


def read_system_area(view: View) -> SystemArea:
    """What the first blocks say about partitions. Nothing there is an empty answer, not an error."""
    if view.source.size < 16 * 2048:
        raise damaged(f"{view.source.path} is too short for an ISO 9660 image")
    area = view.read(0, 16 * 2048)
    partitions: list[Partition] = []
    has_mbr = area[510:512] == b"\x55\xaa"
    geometry = (64, 32)
    if has_mbr:
        for slot in range(4):
            raw = area[446 + 16 * slot : 462 + 16 * slot]
            start, count = struct.unpack_from("<II", raw, 8)
            if count:
                partitions.append(Partition("mbr", slot, start, count, f"0x{raw[4]:02x}"))
                if raw[4] != 0xEE and start == 0:
                    geometry = _geometry(raw, count)
    gpt, fault = _gpt(view, area)
    backup = None
    if gpt is not None:
        partitions += _gpt_partitions(gpt)
        at = gpt.alternate * UNIT
        if at + UNIT <= view.source.size and view.source.read(at, 8) == b"EFI PART":
            backup = gpt.alternate
    apm_unit, apple = _apm(area)
    return SystemArea(tuple(partitions + apple), has_mbr, gpt, fault, backup, apm_unit, geometry)


def _geometry(raw: bytes, count: int) -> tuple[int, int]:
    """Heads and sectors by the last sector's address, when the partition ends where a cylinder does."""
    heads, sectors = raw[5] + 1, raw[6] & 0x3F
    if heads > 1 and sectors and count % (heads * sectors) == 0:
        return heads, sectors
    return 64, 32


def _gpt(view: View, area: bytes) -> tuple[Gpt | None, str]:
    header = area[UNIT : 2 * UNIT]
    if header[:8] != b"EFI PART":
        return None, ""
    size, crc = struct.unpack_from("<II", header, 12)
    if not 92 <= size <= UNIT or zlib.crc32(header[:16] + bytes(4) + header[20:size]) != crc:
        return None, "the checksum of its header is wrong"
    current, alternate, first, last = struct.unpack_from("<QQQQ", header, 24)
    entries_at, count, width, table_crc = struct.unpack_from("<QIII", header, 72)
    if current != 1 or not 1 <= count <= MAX_GPT or width not in (128, 256, 512):
        return None, "its header has impossible values"
    if entries_at < 2 or (entries_at * UNIT + count * width) > view.source.size:
        return None, "its entries are past the end"
    table = view.read(entries_at * UNIT, count * width)
    if zlib.crc32(table) != table_crc:
        return None, "the checksum of its entries is wrong"
    return Gpt(header[:size], current, alternate, first, last, entries_at, count, width, table), ""


def _gpt_partitions(gpt: Gpt) -> list[Partition]:
    out = []
    for slot in range(gpt.count):
        raw = gpt.table[slot * gpt.width : (slot + 1) * gpt.width]
        first, last = struct.unpack_from("<QQ", raw, 32)
        if raw[:16] != bytes(16) and last >= first:
            name = raw[56:128].decode("utf-16-le", "replace").rstrip("\0")
            out.append(Partition("gpt", slot, first, last - first + 1, str(uuid.UUID(bytes_le=raw[:16])), name))
    return out


def _apm(area: bytes) -> tuple[int, list[Partition]]:
    for unit in (2048, 512):
        if area[unit : unit + 2] != b"PM":
            continue
        total = int.from_bytes(area[unit + 4 : unit + 8], "big")
        out = []
        for slot in range(min(total, MAX_APM)):
            at = unit * (slot + 1)
            raw = area[at : at + 136]
            if raw[:2] != b"PM":
                break
            start, count = struct.unpack_from(">II", raw, 8)
            kind = raw[48:80].split(b"\0")[0].decode("latin-1")
            name = raw[16:48].split(b"\0")[0].decode("latin-1")
            factor = unit // UNIT
            out.append(Partition("apm", slot, start * factor, count * factor, kind, name))
        return unit, out
    return 0, []
