"""The disk writer on loop devices of our own."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.media.edits import Put
from builder.media.errors import MediaError, WrongPath
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks.device import look_at, write_device
from tests.integration import media_sources as media
from tests.integration.media_sources import Make, source_fixture  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB, full of an earlier use."""
    backing = tmp_path / "disk.img"
    backing.write_bytes(b"\xee" * (16 << 20))
    device = Path(media.sh("losetup", "--find", "--show", backing).strip())
    yield device
    media.sh("losetup", "-d", device)


@pytest.fixture
def plan(source: Make) -> GraftPlan:
    return plan_edits(source("isohybrid"), [Put("/answer.xml", b"<a/>")])


def test_a_disk_holds_the_image(loop: Path, plan: GraftPlan) -> None:
    told: list[tuple[str, int, int]] = []
    write_device(plan, look_at(loop), again=loop, progress=lambda *step: told.append(step))
    with plan.open() as image:
        wanted = b"".join(image.pieces(0, image.size))
    data = loop.read_bytes()
    assert data[: plan.size] == wanted
    assert data[-34 * 512 :] == bytes(34 * 512), "the earlier use's backup table is gone"
    assert data[plan.size : -34 * 512].strip(b"\xee") == b"", "nothing else is touched"
    assert {step[0] for step in told} == {"write", "verify"}
    assert told[-1][1:] == (plan.size, plan.size)


@pytest.mark.parametrize("root", [True, False])
def test_a_disk_that_lost_a_byte_is_noticed(
    loop: Path, plan: GraftPlan, root: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared comes from the disk: the byte is spoilt below it, behind the page cache's back. Those who are
    not root may not flush buffers, which a fake says here."""
    lost = plan.size - 5000
    spoilt: list[int] = []

    def spoil(step: str, done: int, _size: int) -> None:
        if step == "verify" and not spoilt and done < lost - (1 << 20):
            spoilt.append(done)
            with (tmp_path / "disk.img").open("r+b") as disk:
                old = os.pread(disk.fileno(), 1, lost)[0]
                os.pwrite(disk.fileno(), bytes((old ^ 1,)), lost)

    def refuse(*_args: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    if not root:
        monkeypatch.setattr(fcntl, "ioctl", refuse)
    with pytest.raises(MediaError, match=f"{loop} does not hold what was written"):
        write_device(plan, look_at(loop), again=loop, progress=spoil)
    assert spoilt


def test_a_loop_device_is_not_removable(loop: Path, plan: GraftPlan) -> None:
    with pytest.raises(MediaError, match="cannot be pulled out"):
        write_device(plan, look_at(loop))
    assert loop.read_bytes() == b"\xee" * (16 << 20)


def test_the_image_is_not_made_from_the_disk_itself(loop: Path, plan: GraftPlan, tmp_path: Path) -> None:
    """Neither by its device, nor by the file behind it, which has the vendor's medium."""
    with plan.open() as image:
        medium = b"".join(image.pieces(0, image.size))
    (tmp_path / "disk.img").write_bytes(medium.ljust(16 << 20, b"\0"))
    before = (tmp_path / "disk.img").read_bytes()
    for source in (loop, tmp_path / "disk.img"):
        own = plan_edits(source, [Put("/answer.xml", b"<b/>", "old")])
        with pytest.raises(WrongPath, match="is on"):
            write_device(own, look_at(loop), again=loop)
    assert (tmp_path / "disk.img").read_bytes() == before


def test_another_disk_under_the_same_name(loop: Path, plan: GraftPlan, tmp_path: Path) -> None:
    """Pulled out and another put in, while the user was asked."""
    asked_about = look_at(loop)
    other = tmp_path / "other.img"
    other.write_bytes(b"\xdd" * (20 << 20))
    media.sh("losetup", "-d", loop)
    media.sh("losetup", loop, other)
    with pytest.raises(MediaError, match="not the disk that it was"):
        write_device(plan, asked_about, again=loop)
    assert loop.read_bytes() == b"\xdd" * (20 << 20)


def test_mounted_is_never_written(loop: Path, plan: GraftPlan, tmp_path: Path) -> None:
    """Refused by what the kernel tells, and, when the mount came later, by the kernel itself."""
    media.sh("mke2fs", "-q", "-t", "ext4", loop)
    before = look_at(loop)
    place = tmp_path / "mounted"
    place.mkdir()
    media.sh("mount", loop, place)
    try:
        with pytest.raises(MediaError, match="in use: mounted at"):
            write_device(plan, look_at(loop), again=loop)
        with pytest.raises(MediaError, match="busy"):
            write_device(plan, before, again=loop)
    finally:
        media.sh("umount", place)
    media.sh("e2fsck", "-f", "-n", loop)
