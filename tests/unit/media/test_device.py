"""Which disks are refused. The kernel's files are made up here: no test may need, or risk, a real disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.media.errors import MediaError
from builder.media.sinks.device import Disk, check, look_at, read_disk

STICK = Path("/dev/sdx")


@pytest.fixture
def kernel(tmp_path: Path) -> tuple[Path, Path]:
    """/sys and /proc of a machine with one stick of two partitions."""
    system, processes = tmp_path / "sys", tmp_path / "proc"
    disk = system / "devices/usb/block/sdx"
    for place, number in ((disk, "8:16"), (disk / "sdx1", "8:17"), (disk / "sdx2", "8:18")):
        (place / "holders").mkdir(parents=True)
        (place / "dev").write_text(f"{number}\n")
    (disk / "sdx1/partition").write_text("1\n")
    (disk / "sdx2/partition").write_text("2\n")
    (disk / "size").write_text("16384\n")
    (disk / "removable").write_text("1\n")
    (disk / "device").mkdir()
    (disk / "device/vendor").write_text("Maker   \n")
    (disk / "device/model").write_text("Stick 3000\n")
    (system / "dev/block").mkdir(parents=True)
    for place, number in ((disk, "8:16"), (disk / "sdx1", "8:17")):
        (system / "dev/block" / number).symlink_to(place)
    (processes / "self").mkdir(parents=True)
    (processes / "self/mountinfo").write_text("22 1 254:1 / / rw - ext4 /dev/vda1 rw\n")
    (processes / "swaps").write_text("Filename Type Size Used Priority\n")
    return system, processes


def look(kernel: tuple[Path, Path], number: str = "8:16") -> Disk:
    return read_disk(STICK, number, system=kernel[0], processes=kernel[1])


def test_a_stick_is_told(kernel: tuple[Path, Path]) -> None:
    disk = look(kernel)
    assert disk == Disk(STICK, "Maker Stick 3000", 16384 * 512, True, (), frozenset({"8:16", "8:17", "8:18"}))
    check(disk, 8 << 20, None)


def test_a_mounted_partition_of_it(kernel: tuple[Path, Path]) -> None:
    (kernel[1] / "self/mountinfo").write_text("40 22 8:18 / /media/my\\040stick rw - vfat /dev/sdx2 rw\n")
    disk = look(kernel)
    assert disk.used_by == ("mounted at /media/my stick",)
    with pytest.raises(MediaError, match="in use: mounted at /media/my stick"):
        check(disk, 1, STICK)


def test_swap_and_mappings(kernel: tuple[Path, Path]) -> None:
    (kernel[1] / "swaps").write_text("Filename Type Size Used Priority\n/dev/sdx1 partition 1 0 -2\n")
    (kernel[0] / "devices/usb/block/sdx/sdx2/holders/md0").mkdir()
    disk = look(kernel)
    assert disk.used_by == ("swap on /dev/sdx1", "part of md0")
    with pytest.raises(MediaError, match="in use"):
        check(disk, 1, STICK)


def test_fixed_disks_are_named_twice(kernel: tuple[Path, Path]) -> None:
    (kernel[0] / "devices/usb/block/sdx/removable").write_text("0\n")
    disk = look(kernel)
    for again in (None, Path("/dev/sdy")):
        with pytest.raises(MediaError, match="Maker Stick 3000, 8388608 bytes") as caught:
            check(disk, 1, again)
        assert "second time" in str(caught.value.hint)
    check(disk, 1, STICK)


def test_too_small(kernel: tuple[Path, Path]) -> None:
    with pytest.raises(MediaError, match="has 8388608 bytes"):
        check(look(kernel), (8 << 20) + 1, None)


def test_a_partition_is_no_disk(kernel: tuple[Path, Path]) -> None:
    with pytest.raises(MediaError, match="partition") as caught:
        look(kernel, "8:17")
    assert "/dev/sdx" in str(caught.value.hint)


@pytest.mark.parametrize("path", ["/dev/null", "/nonexistent"])
def test_what_is_no_disk(path: str) -> None:
    with pytest.raises(MediaError):
        look_at(Path(path))


def test_a_file_is_no_disk(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(MediaError, match="not a disk"):
        look_at(tmp_path / "f")
