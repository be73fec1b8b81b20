"""FAT images that lie. Sound ones are judged by mtools and fsck.vfat in integration."""

from __future__ import annotations

import struct

import pytest

from builder.media.errors import MediaError
from builder.media.fat import Fat
from tests.support.pace import assert_quick

SECTOR, RESERVED, FATS, ROOT = 512, 1, 1, 64


def image(clusters: int = 200) -> bytearray:
    """An empty FAT12 image with one sector a cluster."""
    fat_sectors = -(-(clusters + 2) * 3 // 2 // SECTOR)
    total = RESERVED + fat_sectors + ROOT * 32 // SECTOR + clusters
    boot = bytearray(SECTOR)
    struct.pack_into("<HBHBHHBH", boot, 11, SECTOR, 1, RESERVED, FATS, ROOT, total, 0xF8, fat_sectors)
    boot[510:512] = b"\x55\xaa"
    return bytearray(boot + bytes((total - 1) * SECTOR))


def fat_of(data: bytearray) -> Fat:
    def write(offset: int, piece: bytes) -> None:
        data[offset : offset + len(piece)] = piece

    return Fat(lambda offset, length: bytes(data[offset : offset + length]), write, len(data))


def entry(name: bytes, attribute: int, cluster: int, size: int) -> bytes:
    return name.ljust(11)[:11] + bytes((attribute,)) + bytes(14) + struct.pack("<HI", cluster, size)


def place(data: bytearray, cluster: int, content: bytes) -> None:
    fat = fat_of(data)
    at = fat.data_at + (cluster - 2) * SECTOR
    data[at : at + len(content)] = content


def test_files_of_an_image() -> None:
    data = image()
    fat = fat_of(data)
    data[fat.root_at : fat.root_at + 64] = entry(b"EFI", 0x10, 2, 0) + entry(b"A       TXT", 0, 3, 5)
    place(data, 2, entry(b".", 0x10, 2, 0) + entry(b"..", 0x10, 0, 0) + entry(b"GRUB    CFG", 0, 4, 600))
    for cluster, value in ((2, 0xFFF), (3, 0xFFF), (4, 5), (5, 0xFFF)):
        fat._set(cluster, value)
    place(data, 3, b"hello")
    place(data, 4, b"g" * 1024)
    files = {file.path: fat.content(file) for file in fat.walk()}
    assert files == {"/A.TXT": b"hello", "/EFI/GRUB.CFG": b"g" * 600}


def test_a_directory_that_holds_itself() -> None:
    """Sixteen times: without a guard that is 16 to the depth of the walk."""
    data = image()
    fat = fat_of(data)
    data[fat.root_at : fat.root_at + 32] = entry(b"LOOP", 0x10, 2, 0)
    place(data, 2, b"".join(entry(b"L%d" % n, 0x10, 2, 0) for n in range(16)))
    fat._set(2, 0xFFF)
    with assert_quick(1), pytest.raises(MediaError, match="loop"):
        list(fat.walk())


@pytest.mark.parametrize("following", [2, 4, 1000])
def test_chains_that_loop_or_leave(following: int) -> None:
    data = image()
    fat = fat_of(data)
    data[fat.root_at : fat.root_at + 32] = entry(b"FILE", 0, 2, 5000)
    for cluster, value in ((2, 3), (3, following), (4, 3)):
        fat._set(cluster, value)
    (file,) = fat.walk()
    with pytest.raises(MediaError, match="loops or leaves"):
        fat.content(file)


def test_a_file_longer_than_its_clusters() -> None:
    data = image()
    fat = fat_of(data)
    data[fat.root_at : fat.root_at + 32] = entry(b"FILE", 0, 2, 5000)
    fat._set(2, 0xFFF)
    (file,) = fat.walk()
    with pytest.raises(MediaError, match="longer than its clusters"):
        fat.content(file)


def test_a_full_image_stays_as_it_is() -> None:
    data = image(20)
    fat = fat_of(data)
    data[fat.root_at : fat.root_at + 32] = entry(b"FILE", 0, 2, 5)
    fat._set(2, 0xFFF)
    (file,) = fat.walk()
    before = bytes(data)
    with pytest.raises(MediaError, match="no room"):
        fat.replace(file, b"x" * 20 * 512 + b"x")
    assert data == before
    fat.replace(file, b"y" * 20 * 512)
    assert fat.content(next(fat.walk())) == b"y" * 20 * 512


@pytest.mark.parametrize(
    ("at", "value"), [(11, b"\0\0"), (13, b"\3"), (14, b"\0\0"), (16, b"\x09"), (22, b"\0\0"), (510, b"\0\0")]
)
def test_boot_sectors_that_are_none(at: int, value: bytes) -> None:
    data = image()
    data[at : at + len(value)] = value
    with pytest.raises(MediaError):
        fat_of(data)


def test_an_image_larger_than_it_is() -> None:
    data = image()
    del data[-SECTOR:]
    with pytest.raises(MediaError, match="larger than it is"):
        fat_of(data)
