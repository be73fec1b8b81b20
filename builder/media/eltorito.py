"""The El Torito boot catalog: which boot images there are, where their entries lie, and what they point at."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from builder.media.errors import damaged
from builder.media.view import SECTOR, View

PLATFORMS = {0x00: "BIOS", 0x01: "PowerPC", 0x02: "Mac", 0xEF: "UEFI"}
EMULATION = {0: "none", 1: "1.2M floppy", 2: "1.44M floppy", 3: "2.88M floppy", 4: "hard disk"}
SIGNATURE = b"EL TORITO SPECIFICATION"
MAX_CATALOG = 16


@dataclass(frozen=True, slots=True)
class BootImage:
    """An entry. `entry` is its byte offset on the medium, `block` the image's first block, `load` 512-byte sectors."""

    entry: int
    block: int
    load: int
    platform: str
    bootable: bool
    emulation: str


def read_catalog(view: View, block: int) -> tuple[BootImage, ...]:
    """The entries of the catalog at `block`. Raises MediaError when its validation entry is wrong."""
    at = block * SECTOR
    first = view.read(at, SECTOR)
    if first[0] != 1 or first[30:32] != b"\x55\xaa" or sum(struct.unpack("<16H", first[:32])) & 0xFFFF:
        raise damaged(f"the boot catalog at block {block} does not validate")
    images = [_image(view, first[32:64], at + 32, first[1])]
    place = 64
    more = True
    while more and place < MAX_CATALOG * SECTOR and (place % SECTOR or (block * SECTOR + place) < view.cut):
        header = view.read(at + place, 32)
        if header[0] not in (0x90, 0x91):
            break
        more = header[0] == 0x90
        place += 32
        for _ in range(int.from_bytes(header[2:4], "little")):
            if place >= MAX_CATALOG * SECTOR:
                raise damaged(f"the boot catalog at block {block} never ends")
            images.append(_image(view, view.read(at + place, 32), at + place, header[1]))
            place += 32
            while view.read(at + place, 32)[0] == 0x44 and place < MAX_CATALOG * SECTOR:
                place += 32  # selection criteria that go on
    return tuple(images)


def _image(view: View, raw: bytes, at: int, platform: int) -> BootImage:
    block = int.from_bytes(raw[8:12], "little")
    if block * SECTOR >= view.source.size:
        raise damaged(f"the boot entry at byte {at} points past the end")
    return BootImage(
        at, block, int.from_bytes(raw[6:8], "little"), PLATFORMS.get(platform, f"0x{platform:02x}"),
        raw[0] == 0x88, EMULATION.get(raw[1] & 0x0F, "unknown"),
    )  # fmt: skip
