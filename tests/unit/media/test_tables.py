"""Partition tables that tell impossible places, with checksums that hold: planning answers or refuses, it never breaks.

Found by the long run of spoilt media: a partition that starts just below the largest number, on a medium that grows.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.media.edits import Edit, Put
from builder.media.errors import MediaError
from builder.media.inspect import inspect
from builder.media.plan import plan_edits
from builder.media.view import SECTOR
from tests.unit.media import made

UNIT = 512
EDITS: list[Edit] = [Put("/big", b"x" * 700_000), Put("/new/folder/file", b"y")]
LARGE = (0, 1, 2**31, 2**32 - 256, 2**32 - 1)
LARGER = (0, 1, 33, 2**32, 2**63, 2**64 - 256, 2**64 - 1)


def answered(path: Path, data: bytearray) -> bool:
    """Whether the image could be planned with; any other answer than a refusal is the test's failure."""
    path.write_bytes(data)
    try:
        inspect(path)
        plan = plan_edits(path, EDITS)
    except MediaError as error:
        assert error.hint
        return False
    assert sum(segment.length for segment in plan.segments()) == plan.size
    assert plan.size < len(data) + (32 << 20)
    return True


@pytest.fixture
def image(tmp_path: Path) -> bytearray:
    return bytearray(made.iso(tmp_path / "src.iso").read_bytes())


def with_mbr(data: bytearray, *parts: tuple[int, int, int]) -> bytearray:
    """Partitions as (type, start, count)."""
    out = bytearray(data)
    for slot, (kind, start, count) in enumerate(parts):
        out[446 + 16 * slot : 462 + 16 * slot] = struct.pack(
            "<B3sB3sII", 0, b"\0\2\0", kind, b"\xfe\xff\xff", start, count
        )
    out[510:512] = b"\x55\xaa"
    return out


def mbr_cases() -> Iterator[tuple[int, int, int]]:
    return ((kind, start, count) for kind in (0x17, 0xEE) for start in LARGE for count in LARGE)


def test_master_boot_records(image: bytearray, tmp_path: Path) -> None:
    whole = len(image) // UNIT
    good = [answered(tmp_path / "x.iso", with_mbr(image, (0x17, 0, whole), case)) for case in mbr_cases()]
    assert any(good)
    assert not all(good)


def with_gpt(data: bytearray, part: tuple[int, int], alternate: int, last: int) -> bytearray:
    """A table with one partition (first, last) and headers as given; the backup is at the image's end."""
    out = bytearray(data)
    table = bytearray(128 * 128)
    struct.pack_into("<16s16sQQ", table, 0, b"T" * 16, b"U" * 16, *part)
    header = bytearray(92)
    struct.pack_into("<8sIIIIQQQQ16sQIII", header, 0, b"EFI PART", 0x10000, 92, 0, 0, 1, alternate, 34, last, b"D" * 16,
                     2, 128, 128, zlib.crc32(table))  # fmt: skip
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    out[UNIT : UNIT + 92] = header
    out[2 * UNIT : 2 * UNIT + len(table)] = table
    out[-UNIT : len(out) - UNIT + 92] = header
    return out


def test_guid_partition_tables(image: bytearray, tmp_path: Path) -> None:
    end = len(image) // UNIT - 1
    cases = [((first, last), end, end - 33) for first in LARGER for last in LARGER]
    cases += [((0, end), alternate, last) for alternate in (*LARGER, end) for last in LARGER]
    good = [answered(tmp_path / "x.iso", with_gpt(image, *case)) for case in cases]
    assert any(good)
    assert not all(good)


def test_apple_partition_maps(image: bytearray, tmp_path: Path) -> None:
    good = []
    for start in LARGE:
        for count in LARGE:
            data = bytearray(image)
            data[:2], data[2:4] = b"ER", (UNIT * 4).to_bytes(2, "big")
            struct.pack_into(">2sHIII32s32sII", data, SECTOR, b"PM", 0, 1, start, count, b"n", b"Apple_HFS", 0, count)
            good.append(answered(tmp_path / "x.iso", data))
    assert any(good)


def test_counts_at_their_end(image: bytearray, tmp_path: Path) -> None:
    """The volume's size in blocks, and the links of a folder that gets one more."""
    full = b"\xff" * 8
    sizes = bytearray(image)
    sizes[16 * SECTOR + 80 : 16 * SECTOR + 88] = full
    assert not answered(tmp_path / "x.iso", sizes)
    links = bytearray(image)
    at = links.index(b"PX")
    for _ in range(3):
        links[at + 12 : at + 20] = full
        at = links.index(b"PX", at + 1)
    assert not answered(tmp_path / "x.iso", links)
