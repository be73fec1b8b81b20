"""What must tell the truth again after `grown` bytes were put in at the cut: sizes of volumes, boot entries of images
behind it, and the partition tables. Everything behind the cut keeps its distance from the end."""

from __future__ import annotations

import math
import struct
import zlib

from builder.media.errors import MediaError, damaged
from builder.media.iso9660 import both32
from builder.media.medium import Medium
from builder.media.partitions import UNIT, Gpt, Partition
from builder.media.view import SECTOR

READ_AHEAD = 150 * SECTOR  # kernels read that far past a file; mkisofs pads as much
_GRAIN_MAX = 8 << 20
_MIB = 1 << 20


def growth(medium: Medium) -> int:
    """How many bytes come in at the cut, from what the view allocated: whole blocks, and whole cylinders where the
    image has them."""
    view = medium.view
    if view.end == view.cut:
        return 0
    area = medium.system_area
    grain = SECTOR
    if any(p.end * UNIT >= view.cut and p.start == 0 for p in area.of("mbr")) and view.source.size % area.cylinder == 0:
        grain = math.lcm(SECTOR, area.cylinder)
    if any(p.start * UNIT >= view.cut and p.start * UNIT % _MIB == 0 for p in area.partitions if p.kind != "0xee"):
        grain = math.lcm(grain, _MIB)
    grain = grain if grain <= _GRAIN_MAX else SECTOR
    return -(-(view.end + READ_AHEAD - view.cut) // grain) * grain


def mend(medium: Medium, grown: int) -> None:
    """Patch the view. Raises MediaError when a table is too damaged to be carried on."""
    if not grown:
        return
    view = medium.view
    if medium.system_area.gpt_fault:
        raise MediaError(
            f"the image's GUID partition table cannot be trusted: {medium.system_area.gpt_fault}",
            hint="fetch the image again; one rewritten by another tool may have been spoilt by it",
        )
    for tree in medium.trees:
        for descriptor in tree.descriptors:
            space = int.from_bytes(view.read(descriptor + 80, 4), "little")
            if (space + tree.base) * SECTOR >= view.cut:
                view.patch(descriptor + 80, both32(space + grown // SECTOR))
    for image in medium.boot_images:
        if image.block * SECTOR >= view.cut:
            view.patch(image.entry + 8, _packed("<I", image.block + grown // SECTOR))
    shift = grown // UNIT
    for part in medium.system_area.partitions:
        start, end = _moved(medium, part, shift)
        if (start, end) != (part.start, part.end) and part.table == "mbr":
            _mbr(medium, part, start, end)
        elif (start, end) != (part.start, part.end) and part.table == "apm":
            _apm(medium, part, start, end)
    if medium.system_area.gpt is not None:
        _gpt(medium, medium.system_area.gpt, shift)


def _packed(form: str, *values: int) -> bytes:
    """Raises MediaError for numbers that the table has no room for: an honest one's are never near that."""
    try:
        return struct.pack(form, *values)
    except struct.error:
        raise damaged("a partition table of the image points far past its end") from None


def _moved(medium: Medium, part: Partition, shift: int) -> tuple[int, int]:
    """Start and end of a partition afterwards. One that holds a boot image of the volume stays as it is."""
    cut = medium.view.cut // UNIT
    if part.start >= cut:
        return part.start + shift, part.end + shift
    is_image = any(image.block * (SECTOR // UNIT) == part.start for image in medium.boot_images)
    is_hfs = medium.hfs and "HFS" in part.name.upper() + part.kind.upper()
    if part.end >= cut and not is_image and not is_hfs:
        return part.start, part.end + shift
    return part.start, part.end


def _chs(sector: int, geometry: tuple[int, int]) -> bytes:
    heads, sectors = geometry
    cylinder = sector // (heads * sectors)
    if cylinder > 1023:
        return b"\xfe\xff\xff"
    return bytes((sector // sectors % heads, (sector % sectors + 1) | (cylinder >> 2 & 0xC0), cylinder & 0xFF))


def _mbr(medium: Medium, part: Partition, start: int, end: int) -> None:
    at = 446 + 16 * part.slot
    medium.view.patch(at + 8, _packed("<II", start, min(end - start, 0xFFFFFFFF)))
    geometry = medium.system_area.geometry
    # A protective entry tells cylinders only when its maker did.
    if part.kind != "0xee" or medium.view.source.read(at + 5, 3) == _chs(part.end - 1, geometry):
        if start != part.start:
            medium.view.patch(at + 1, _chs(start, geometry))
        medium.view.patch(at + 5, _chs(end - 1, geometry))


def _apm(medium: Medium, part: Partition, start: int, end: int) -> None:
    unit = medium.system_area.apm_unit
    factor, at = unit // UNIT, unit * (part.slot + 1)
    view = medium.view
    old = view.read(at + 84, 4)
    view.patch(at + 8, _packed(">II", start // factor, (end - start) // factor))
    if int.from_bytes(old, "big") == part.count // factor:
        view.patch(at + 84, _packed(">I", (end - start) // factor))


def _gpt(medium: Medium, gpt: Gpt, shift: int) -> None:
    view = medium.view
    table = bytearray(gpt.table)
    for part in medium.system_area.of("gpt"):
        start, end = _moved(medium, part, shift)
        place = part.slot * gpt.width + 32
        table[place : place + 16] = _packed("<QQ", start, end - 1)
    alternate = gpt.alternate + shift
    view.patch(gpt.entries_at * UNIT, bytes(table))
    view.patch(gpt.current * UNIT, _header(gpt, table, (gpt.current, alternate, gpt.entries_at), gpt.last + shift))
    if medium.system_area.backup is None:
        return
    old = view.source.read(gpt.alternate * UNIT, 92)
    entries_at = struct.unpack_from("<Q", old, 72)[0]
    if not view.cut <= entries_at * UNIT <= (gpt.alternate - gpt.table_sectors) * UNIT:
        entries_at = gpt.alternate - gpt.table_sectors
    view.patch_tail(entries_at * UNIT, bytes(table))
    header = _header(gpt, table, (alternate, gpt.current, entries_at + shift), gpt.last + shift)
    view.patch_tail(gpt.alternate * UNIT, header)


def _header(gpt: Gpt, table: bytes | bytearray, places: tuple[int, int, int], last: int) -> bytes:
    """A header with its checksums. `places`: its own sector, the other header's, the entries'."""
    header = bytearray(gpt.header)
    header[24:56] = _packed("<QQQQ", places[0], places[1], gpt.first, last)
    header[72:80] = _packed("<Q", places[2])
    struct.pack_into("<I", header, 88, zlib.crc32(table))
    struct.pack_into("<I", header, 16, 0)
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    return bytes(header)
