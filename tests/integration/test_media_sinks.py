"""Sinks judged by qemu-img and curl; killed, starved of room, and on a file system that shares blocks."""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.media import author
from builder.media.edits import Edit, Overlay, Put
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile
from builder.media.inspect import inspect
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks import apply_in_place, undo_in_place, write_file, write_qcow2
from builder.media.sinks.http import ImageServer
from builder.media.sinks.inplace import journal_of
from tests.integration import media_sources as media
from tests.integration.media_sources import Make, source_fixture  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration

EDITS: list[Edit] = [
    Put("/answer.xml", b"<a/>"),
    Put("/isolinux/vmlinuz", media.noise(150_000, "kernel"), "old"),
    Overlay((OverlayFile("/x", b"y" * 9000),), how="append"),
]


Record = Callable[[str, object], None]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def planned(plan: GraftPlan) -> str:
    sum_ = hashlib.sha256()
    with plan.open() as image:
        for piece in image.pieces(0, image.size):
            sum_.update(piece)
    return sum_.hexdigest()


@pytest.mark.parametrize("layout", [*media.HYBRID, "genisoimage", "makefs"])
@pytest.mark.parametrize("edited", [True, False])
def test_qcow2_by_qemu_img(layout: str, edited: bool, source: Make, tmp_path: Path) -> None:
    src = source(layout)
    edits: list[Edit] = [Put("/answer.xml", b"<a/>"), Put("/more.bin", media.noise(90_000, "more"))] if edited else []
    plan = plan_edits(src, edits)
    overlay, raw, back = tmp_path / "o.qcow2", tmp_path / "raw.iso", tmp_path / "back.iso"
    done = write_qcow2(plan, overlay)
    write_file(plan, raw)
    assert "No errors" in media.sh("qemu-img", "check", overlay)
    media.sh("qemu-img", "compare", "-f", "qcow2", "-F", "raw", overlay, raw)
    media.sh("qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, back)
    assert digest(back) == digest(raw)
    assert overlay.stat().st_size == done.written
    assert done.written < plan.written + 150_000


def test_qcow2_can_be_written_to_by_qemu(source: Make, tmp_path: Path) -> None:
    """Refcounts and flags are right only when QEMU can allocate in the file afterwards."""
    plan = plan_edits(source("isohybrid"), EDITS)
    overlay = tmp_path / "o.qcow2"
    write_qcow2(plan, overlay)
    for at in (0, 1 << 20, plan.size - 4096):
        media.sh("qemu-io", "-f", "qcow2", "-c", f"write -P 0x5a {at} 4096", overlay)
        media.sh("qemu-io", "-f", "qcow2", "-c", f"read -P 0x5a {at} 4096", overlay)
    assert "No errors" in media.sh("qemu-img", "check", overlay)


@pytest.mark.parametrize("layout", media.LAYOUTS)
def test_in_place_and_back(layout: str, source: Make, tmp_path: Path) -> None:
    """Every layout, with tails of every kind moving over their own place."""
    copy = tmp_path / "copy.iso"
    copy.write_bytes(source(layout).read_bytes())
    before = digest(copy)
    plan = plan_edits(copy, [Put("/answer.xml", b"<a/>"), Put("/more.bin", media.noise(300_000, "more"))])
    wanted = planned(plan)
    apply_in_place(plan)
    assert digest(copy) == wanted
    undo_in_place(copy)
    assert digest(copy) == before


_MEASURED = """
import sys
from pathlib import Path
from builder.media.edits import Put
from builder.media.plan import plan_edits
from builder.media.sinks import apply_in_place, undo_in_place
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
path, before = Path(sys.argv[1]), peak()
apply_in_place(plan_edits(path, [Put("/answer.xml", b"<a/>")]))
print(peak() - before)
"""


def test_a_big_partition_behind_the_volume_moves_in_little_memory(tmp_path: Path) -> None:
    """It moves over its own old place, further than a piece and by less than its length."""
    root, src = media.tree(tmp_path / "tree"), tmp_path / "src.iso"
    esp = {"EFI/BOOT/grub.cfg": media.GRUB_MENU.encode(), "noise": media.noise(80 << 20, "esp")}
    media.fat_image(root / "images/efiboot.img", esp, kib=96 << 10, bits=32)
    media.build("appended", root, src)
    old, wanted = digest(src), planned(plan_edits(src, [Put("/answer.xml", b"<a/>")]))
    grown = media.sh(sys.executable, "-c", _MEASURED, src)
    assert digest(src) == wanted
    assert int(grown) < 24 << 10
    undo_in_place(src)
    assert digest(src) == old


def test_curl_reads_ranges_and_resumes(source: Make, tmp_path: Path) -> None:
    plan = plan_edits(source("xorriso"), EDITS)
    with ImageServer({"m.iso": plan}) as server:
        whole, part = tmp_path / "whole.iso", tmp_path / "part.iso"
        media.sh("curl", "-sf", "-o", whole, server.url("m.iso"))
        assert digest(whole) == planned(plan)
        part.write_bytes(whole.read_bytes()[:1_000_000])
        media.sh("curl", "-sf", "-C", "-", "-o", part, server.url("m.iso"))
        assert digest(part) == digest(whole)
        media.sh("curl", "-sf", "-r", "32768-34815", "-o", part, server.url("m.iso"))
        assert part.read_bytes() == whole.read_bytes()[32768:34816]


# -- killed at random moments

_CHILD = """
import sys, time
from pathlib import Path
from builder.media.edits import Put
from builder.media.plan import plan_edits
from builder.media.sinks import apply_in_place, write_file, write_qcow2
sink, source, target, big = sys.argv[1], *map(Path, sys.argv[2:])
plan = plan_edits(source, [Put("/big.bin", big), Put("/answer.xml", b"<a/>")])
print("planned", flush=True)
{"file": write_file, "qcow2": write_qcow2}[sink](plan, target) if sink != "inplace" else apply_in_place(plan)
print("written", flush=True)
"""


class Killing:
    """Runs of a sink in a process of its own, `argv` being the child's arguments."""

    def __init__(self, *argv: str | Path) -> None:
        self.argv = [sys.executable, "-c", _CHILD, *map(str, argv)]

    def seconds(self) -> float:
        """What an undisturbed run takes, from the plan to the end of writing."""
        with subprocess.Popen(self.argv, stdout=subprocess.PIPE, cwd=Path.cwd()) as child:
            assert child.stdout is not None and child.stdout.readline() == b"planned\n"
            began = time.perf_counter()
            assert child.stdout.readline() == b"written\n"
            return time.perf_counter() - began

    def killed_after(self, seconds: float) -> bool:
        """Whether the run was still writing when it was killed."""
        with subprocess.Popen(self.argv, stdout=subprocess.PIPE, cwd=Path.cwd()) as child:
            assert child.stdout is not None and child.stdout.readline() == b"planned\n"
            time.sleep(seconds)
            child.kill()
            return b"written" not in child.stdout.read()


@pytest.mark.parametrize("sink", ["file", "qcow2", "inplace"])
def test_kill_9_at_random_moments(sink: str, source: Make, tmp_path: Path, record_testsuite_property: Record) -> None:
    """The target is absent, the old one, or the whole new one; the source is as before, or its journal makes it so."""
    src, big = tmp_path / "src.iso", tmp_path / "big.bin"
    src.write_bytes(source("isohybrid").read_bytes())
    big.write_bytes(media.noise(8 << 20, "big"))
    plan = plan_edits(src, [Put("/big.bin", big), Put("/answer.xml", b"<a/>")])
    old, whole = digest(src), {planned(plan)}
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "out.img"
    if sink == "qcow2":
        write_qcow2(plan, target)
        whole = {digest(target)}
    runs, undone = Killing(sink, src, target, big), 0

    def judge() -> None:
        nonlocal undone
        assert [path for path in folder.iterdir() if path != target] == []
        if sink == "inplace" and journal_of(src).exists():
            undo_in_place(src)
            undone += 1
        assert digest(src) == old
        if target.exists():
            assert {digest(target)} == whole
            target.unlink()

    def usual() -> float:
        seconds = runs.seconds()
        judge()
        return seconds

    longest = statistics.median(usual() for _ in range(3))
    rng = random.Random(int(os.environ.get("NESTLAB_KILL_SEED", "9")))
    wanted = int(os.environ.get("NESTLAB_KILLS", "10"))
    rounds = killed = undone = 0
    while killed < wanted and rounds < 5 * wanted:
        killed += runs.killed_after(rng.random() * longest)
        rounds += 1
        judge()
    for name, count in (("rounds", rounds), ("killed", killed), ("undone", undone)):
        record_testsuite_property(name, count)
    assert killed == wanted, "the moments were badly chosen"
    assert sink != "inplace" or undone


# -- no room, no right


@pytest.fixture
def small_fs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    media.sh("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place)
    yield place
    media.sh("umount", place)


def test_a_full_disk(small_fs: Path, source: Make) -> None:
    src = source("isohybrid")
    old = digest(src)
    plan = plan_edits(src, [*EDITS, Put("/big.bin", media.noise(3 << 20, "big"))])
    (small_fs / "out.iso").write_bytes(b"the old one")
    for write in (write_file, write_qcow2):
        with pytest.raises(MediaError, match="no room") as caught:
            write(plan, small_fs / "out.iso")
        assert ("qcow2" in str(caught.value.hint)) == (write is write_file)
        assert [p.name for p in small_fs.iterdir()] == ["out.iso"]
        assert (small_fs / "out.iso").read_bytes() == b"the old one"
    assert digest(src) == old


def test_a_full_disk_in_place(small_fs: Path, source: Make) -> None:
    """The image fits, its growth does not: it is taken back at once."""
    copy = small_fs / "copy.iso"
    copy.write_bytes(source("makefs").read_bytes())
    old = digest(copy)
    plan = plan_edits(copy, [Put("/big.bin", media.noise(3 << 20, "big"))])
    with pytest.raises(MediaError, match="no room"):
        apply_in_place(plan)
    assert digest(copy) == old
    assert not journal_of(copy).exists()


def test_a_read_only_folder(source: Make, tmp_path: Path) -> None:
    place = tmp_path / "ro"
    place.mkdir()
    media.sh("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place)
    try:
        plan = plan_edits(source("isohybrid"), EDITS)
        for write in (write_file, write_qcow2):
            with pytest.raises(MediaError, match=r"[Rr]ead-only"):
                write(plan, place / "out.iso")
    finally:
        media.sh("umount", place)


# -- shared blocks


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    image, place = tmp_path / "xfs.img", tmp_path / "xfs"
    with image.open("wb") as file:
        file.truncate(512 << 20)
    media.sh("mkfs.xfs", "-q", "-m", "reflink=1", image)
    place.mkdir()
    media.sh("mount", "-o", "loop", image, place)
    yield place
    media.sh("umount", place)


def used(place: Path) -> int:
    os.sync()
    info = os.statvfs(place)
    return (info.f_blocks - info.f_bfree) * info.f_frsize


def test_reflink_shares_all_that_is_not_new(xfs: Path, tmp_path: Path) -> None:
    """Also the initrd that is copied to the end: its place is chosen so that its blocks can be shared."""
    root = media.tree(tmp_path / "tree", initrd_size=20 << 20)
    src = media.build("isohybrid", root, xfs / "src.iso")
    plan = plan_edits(src, EDITS)
    before = used(xfs)
    done = write_file(plan, xfs / "out.iso")
    assert done.how == "reflink"
    assert used(xfs) - before < 1 << 20
    assert digest(xfs / "out.iso") == planned(plan)


# -- authored volumes


def test_authored_volumes_by_their_readers(tmp_path: Path) -> None:
    volumes = {
        "OEMDRV": author.kickstart_volume("# kickstart\n", more={"/scripts/post-install.sh": b"#!/bin/sh\n"}),
        "cidata": author.nocloud_volume("#cloud-config\n", "instance-id: i\n", network="version: 2\n"),
        "NESTLAB": author.preseed_volume("d-i debian-installer/locale string en_US\n"),
    }
    for label, volume in volumes.items():
        out = tmp_path / f"{label}.iso"
        author.write_volume(volume, out)
        fields = media.sh("blkid", "-p", "-o", "value", "-s", "LABEL", out)
        assert fields.strip() == label
        for tool in ("xorriso", "7z", "bsdtar"):
            got = media.extracted(out, tmp_path / f"{label}-{tool}", tool)
            assert got == {path: hashlib.sha256(data).hexdigest() for path, data in volume.files.items()}
        for option in ("-R", "-J"):
            assert media.by_isoinfo(out, option).files.keys() == volume.files.keys()


# -- media that others made


REAL = (
    "/usr/lib/ipxe/ipxe.iso", "/usr/lib/memtest86+/memtest86+x64.iso", "/usr/lib/memtest86+/memtest86+ia32.iso",
    "/usr/lib/grub-rescue/grub-rescue-cdrom.iso",
)  # fmt: skip


def number(word: str) -> int:
    """As xorriso prints them: decimal, and hexadecimal in what it tells of GRUB's own patches."""
    return int(word, 16 if word.startswith("0x") else 10)


@pytest.mark.parametrize("path", REAL)
def test_real_media(path: str, tmp_path: Path) -> None:
    """From Debian's packages ipxe, memtest86+ and grub-rescue-pc."""
    src, out = Path(path), tmp_path / "out.iso"
    assert inspect(src).boot_images
    plan = plan_edits(src, [Put("/nestlab/answer.xml", b"<a/>" * 700), Put("/readme.nst", b"here")])
    write_file(plan, out)
    old, new = media.by_xorriso(src), media.by_xorriso(out)
    assert old.files
    for file in old.files:
        assert (new.files[file], new.digest(file)) == (old.files[file], old.digest(file))
    assert new.digest("/nestlab/answer.xml") == hashlib.sha256(b"<a/>" * 700).hexdigest()
    grown = (plan.size - src.stat().st_size) // 512
    for before, after in zip(media.reports(src), media.reports(out), strict=True):
        if before != after:
            numbers = zip(before.split(), after.split(), strict=True)
            assert all(a == b or number(b) - number(a) in (grown, grown // 4) for a, b in numbers), (
                f"{before} -> {after}"
            )


def test_whole_cylinders_stay_whole_where_the_volume_fills_them(source: Make, tmp_path: Path) -> None:
    """xorriso pads within the volume, isohybrid behind it: old firmware wants either."""
    src, out = source("no-joliet"), tmp_path / "out.iso"
    write_file(plan_edits(src, [Put("/nestlab/answer.xml", b"<a/>")]), out)
    aligned = "System area summary: MBR isohybrid cyl-align-on"
    assert aligned in media.reports(src)
    assert aligned in media.reports(out)
    assert out.stat().st_size == src.stat().st_size + (1 << 20)
