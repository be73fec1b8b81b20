"""Boot records, partition tables, sums and menus of edited media, field by field, by the tools that own the formats."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import pytest

from builder.media import menus
from builder.media.edits import Arguments, Edit, Extend, Overlay, Put
from builder.media.errors import MediaError
from builder.media.fat import Fat
from builder.media.initrd import OverlayFile
from builder.media.inspect import inspect
from builder.media.plan import plan_edits
from builder.media.sinks import write_file
from builder.media.view import SECTOR
from tests.integration import media_sources as media
from tests.integration.media_sources import Make, source_fixture  # noqa: F401 - a fixture
from tests.support.xcpng_media import Contents, build_xcpng

pytestmark = pytest.mark.integration

EDITS: list[Edit] = [
    Put("/answer.xml", b"<a/>"),
    Put("/big.bin", media.noise(700_000, "big")),
    Overlay((OverlayFile("/x", b"y"),), how="append"),
    Arguments(kernel=("inst.ks=cdrom:/answer.xml",)),
]


def grafted(src: Path, tmp_path: Path, edits: list[Edit] | None = None) -> tuple[Path, int]:
    """The edited image, and by how many bytes it grew."""
    out = tmp_path / "out.iso"
    plan = plan_edits(src, EDITS if edits is None else edits)
    write_file(plan, out)
    return out, plan.size - src.stat().st_size


_SIZES = re.compile(r"ISO image size/512|MBR partition  |GPT lba range|GPT start and size|APM start and size")


@pytest.mark.parametrize("layout", media.HYBRID)
def test_boot_records_differ_only_in_ends(layout: str, source: Make, tmp_path: Path) -> None:
    """xorriso's own account of both images, line by line. Numbers may grow by the same amount, nothing else may."""
    src = source(layout)
    out, grown = grafted(src, tmp_path)
    before, after = media.reports(src), media.reports(out)
    assert len(before) == len(after) > 10
    seen = 0
    for old, new in zip(before, after, strict=True):
        if old == new:
            continue
        moved = "El Torito boot img" in old and layout in media.APPENDED
        assert _SIZES.match(old) or moved, f"{old} -> {new}"
        numbers = [(int(a), int(b)) for a, b in zip(re.findall(r"\d+", old), re.findall(r"\d+", new), strict=True)]
        for a, b in numbers:
            assert b in (a, a + grown // 512, a + grown // SECTOR), f"{old} -> {new}"
        seen += 1
    assert seen >= 2


@pytest.mark.parametrize("layout", [x for x in media.HYBRID if x != "no-joliet"])
def test_sgdisk_finds_nothing_new(layout: str, source: Make, tmp_path: Path) -> None:
    src = source(layout)
    out, _grown = grafted(src, tmp_path)
    known, found = problems(src), problems(out)
    assert found <= known


def problems(iso: Path) -> set[str]:
    text = media.sh("sgdisk", "-v", iso, ok=(0, 1, 2, 3, 4, 5, 6, 7, 8))
    return {
        line.split(":")[0]
        for line in text.splitlines()
        if "Problem" in line or "Caution" in line or "invalid" in line.lower()
    }


@pytest.mark.parametrize("layout", media.HYBRID)
def test_sfdisk_and_blkid_agree(layout: str, source: Make, tmp_path: Path) -> None:
    src = source(layout)
    out, grown = grafted(src, tmp_path)
    # The volume's identity is what installers and GRUB find it by.
    assert blkid(out) == blkid(src)
    assert blkid(out)["LABEL"] == "TESTISO"
    before, after = sfdisk(src), sfdisk(out)
    assert len(before) == len(after) >= 2
    for (start, size, kind), (new_start, new_size, new_kind) in zip(before, after, strict=True):
        assert new_kind == kind
        assert new_start in (start, start + grown // 512)
        assert new_size in (size, size + grown // 512)


def blkid(iso: Path) -> dict[str, str]:
    text = media.sh("blkid", "-p", "-o", "export", iso)
    grows = ("DEVNAME", "FSSIZE", "FSLASTBLOCK")  # with what was added
    return dict(line.split("=", 1) for line in text.splitlines() if not line.startswith(grows))


def sfdisk(iso: Path) -> list[tuple[int, int, str]]:
    text = media.sh("sfdisk", "-d", iso)
    found = re.findall(r"start=\s*(\d+), size=\s*(\d+), type=([^,\s]+)", text)
    return [(int(start), int(size), kind) for start, size, kind in found]


def test_boot_info_table_still_sums_up(source: Make, tmp_path: Path) -> None:
    """isolinux.bin holds its own place, length and sum; isolinux refuses to run when they are wrong."""
    for layout in ("xorriso", "isohybrid", "offset16"):
        out, _grown = grafted(source(layout), tmp_path)
        file = media.by_xorriso(out).files["/isolinux/isolinux.bin"]
        data = out.read_bytes()[file.lba * SECTOR :][: file.size]
        pvd, lba, length, total = struct.unpack_from("<IIII", data, 8)
        words = struct.unpack(f"<{(file.size - 64) // 4}I", data[64 : 64 + (file.size - 64) // 4 * 4])
        tail = data[64 + (file.size - 64) // 4 * 4 :].ljust(4, b"\0")
        assert (pvd, lba, length) == (16, file.lba, file.size)
        assert total == (sum(words) + struct.unpack("<I", tail)[0]) & 0xFFFFFFFF


def test_file_knows_it_as_bootable(source: Make, tmp_path: Path) -> None:
    out, _grown = grafted(source("xorriso"), tmp_path)
    assert "bootable" in media.sh("file", out)
    assert media.sh("file", "-b", out).split("'")[1] == "TESTISO"


def test_boot_images_are_refused(source: Make) -> None:
    for path in ("/isolinux/isolinux.bin", "/images/efiboot.img", "/isolinux/boot.cat"):
        with pytest.raises(MediaError, match=re.escape(path)):
            plan_edits(source("xorriso"), [Put(path, b"x", "old")])


def test_a_spoilt_partition_table_is_refused(source: Make, tmp_path: Path) -> None:
    """What pycdlib does to such an image: the table's checksum is wrong. Carried on it would not boot."""
    spoilt = tmp_path / "spoilt.iso"
    data = bytearray(source("xorriso").read_bytes())
    data[1024 + 40] ^= 1
    spoilt.write_bytes(data)
    assert any("cannot be trusted" in note for note in inspect(spoilt).notes)
    with pytest.raises(MediaError, match="cannot be trusted"):
        plan_edits(spoilt, [Put("/big", b"x" * 5000)])


# -- checksums


def test_implanted_md5_is_removed_with_its_menu_entry(source: Make, tmp_path: Path) -> None:
    src = checked(source("xorriso"), tmp_path)
    assert inspect(src).implanted_md5
    plan = plan_edits(src, [Put("/answer.xml", b"<a/>")])
    write_file(plan, tmp_path / "out.iso")
    assert not inspect(tmp_path / "out.iso").implanted_md5
    text = media.extracted(tmp_path / "out.iso", tmp_path / "x", "xorriso")
    assert text
    assert "rd.live.check" not in (tmp_path / "x/isolinux/isolinux.cfg").read_text()
    assert any("media check" in note for note in plan.notes)


def checked(src: Path, tmp_path: Path) -> Path:
    """A source with a checksum in it, and a menu that asks for the check."""
    out = tmp_path / "checked.iso"
    write_file(plan_edits(src, [Arguments(kernel=("rd.live.check",))]), out)
    media.sh("implantisomd5", "--force", out)
    media.sh("checkisomd5", out)
    return out


def test_remade_md5_passes_the_check(source: Make, tmp_path: Path) -> None:
    src, out = checked(source("xorriso"), tmp_path), tmp_path / "out.iso"
    write_file(plan_edits(src, EDITS, md5="remake"), out)
    media.sh("checkisomd5", out)
    ours = descriptor(out)
    media.sh("implantisomd5", "--force", out)
    assert descriptor(out) == ours, "implantisomd5 writes the same field, fragment sums included"
    with out.open("r+b") as file:
        file.seek(60 * SECTOR)
        file.write(b"spoilt")
    media.sh("checkisomd5", out, ok=(1,))


def descriptor(iso: Path) -> bytes:
    return iso.read_bytes()[16 * SECTOR : 17 * SECTOR]


def test_lists_of_checksums_follow(tmp_path: Path) -> None:
    """md5sum.txt and .treeinfo name files, hard links and the boot image; `md5sum -c` is the judge."""
    root = media.tree(tmp_path / "tree")
    listed = sorted(p for p in root.rglob("*") if p.is_file() and p.name not in ("isolinux.bin", "boot.cat"))
    sums = [line for path in listed for line in [media.sh("md5sum", f"./{path.relative_to(root)}", cwd=root)]]
    (root / "md5sum.txt").write_text("".join(sums))
    digest = media.sh("sha256sum", root / "images/pxeboot/initrd.img").split()[0]
    (root / ".treeinfo").write_text(
        f"[general]\nfamily = Test Linux\nversion = 9\n[checksums]\nimages/pxeboot/initrd.img = sha256:{digest}\n"
    )
    src, out = media.build("xorriso", root, tmp_path / "src.iso"), tmp_path / "out.iso"
    plan = plan_edits(src, EDITS)
    write_file(plan, out)
    assert not plan.stale
    media.extracted(out, tmp_path / "x", "xorriso")
    media.sh("md5sum", "--quiet", "-c", "md5sum.txt", cwd=tmp_path / "x")
    new = media.sh("sha256sum", tmp_path / "x/images/pxeboot/initrd.img").split()[0]
    assert f"sha256:{new}" in (tmp_path / "x/.treeinfo").read_text()
    left = plan_edits(src, EDITS, checksums="leave")
    assert not any(item.how == "checksums updated" for item in left.touched)


# -- FAT boot images


@pytest.mark.parametrize(("bits", "kib"), [(12, 1024), (16, 9000), (32, 40000)])
def test_fat_files_grow_and_shrink(bits: int, kib: int, tmp_path: Path) -> None:
    """By mtools and fsck.vfat, for content of every number of clusters."""
    menu = "EFI/BOOT/a rather long name for a menu.cfg"
    image = media.fat_image(
        tmp_path / "esp", {menu: b"old" * 700, "EFI/BOOT/grub.cfg": b"g" * 3000}, kib=kib, bits=bits
    )
    data = bytearray(image.read_bytes())

    def write(offset: int, piece: bytes) -> None:
        data[offset : offset + len(piece)] = piece

    for size in (5000, 0, 1, 4096, 20_000, 300, 0):
        fat = Fat(lambda offset, length: bytes(data[offset : offset + length]), write, len(data))
        assert fat.bits == bits
        content = media.noise(size, f"fat{size}")
        file = next(f for f in fat.walk() if f.path == "/" + menu)
        fat.replace(file, content)
        image.write_bytes(data)
        media.sh("fsck.vfat", "-n", image)
        media.sh("mcopy", "-n", "-i", image, f"::/{menu}", tmp_path / f"got{size}-{len(list(tmp_path.iterdir()))}")
        newest = max(tmp_path.glob(f"got{size}-*"), key=lambda p: p.stat().st_mtime_ns)
        assert newest.read_bytes() == content
        assert media.sh("mtype", "-i", image, "::/EFI/BOOT/grub.cfg") == "g" * 3000


def test_fat_without_room_is_refused(tmp_path: Path) -> None:
    root = media.tree(tmp_path / "tree")
    media.fat_image(
        root / "images/efiboot.img", {"EFI/BOOT/grub.cfg": media.GRUB_MENU.encode(), "fill": b"x" * 1_015_000}, kib=1024
    )
    src = media.build("xorriso", root, tmp_path / "src.iso")
    longer = media.GRUB_MENU.encode() + b"# more\n" * 5000
    with pytest.raises(MediaError, match="no room"):
        plan_edits(src, [Put("/EFI/BOOT/grub.cfg", longer)])


# -- the real layout of XCP-ng media


def test_xcpng_media(tmp_path: Path) -> None:
    """Arguments by layer in all three menus; bzip2 install.img gets its overlay behind, by mboot.c32 and GRUB."""
    contents = Contents(
        xen=b"\x1f\x8b" + media.noise(9000, "xen"),
        kernel=media.noise(9000, "vmlinuz"),
        image=b"BZh9" + media.noise(400_001, "install"),
    )
    src, out = build_xcpng(tmp_path, contents), tmp_path / "out.iso"
    report = inspect(src)
    assert (report.installer.family, report.installer.name, report.installer.release) == ("xcpng", "XCP-ng", "8.3.0")
    assert [(m.path, m.loader, m.image is None) for m in report.menus] == [
        ("/EFI/xenserver/grub.cfg", "grub", True),
        ("/boot/isolinux/isolinux.cfg", "isolinux", True),
        ("/EFI/xenserver/grub.cfg", "grub", False),
    ]
    assert [(i.path, i.packing, i.module) for i in report.initrds] == [("/install.img", "bzip2", True)]
    overlay = Overlay((OverlayFile("/answerfile.xml", b"<installation/>"),))
    arguments = Arguments(("answerfile=file:///answerfile.xml", "install"), ("no-real-mode",))
    write_file(plan_edits(src, [overlay, arguments]), out)
    for menu in inspect(out).menus:
        entry = menu.entries[0]
        assert entry.arguments == ("console=tty0", "console=hvc0", "answerfile=file:///answerfile.xml", "install"), (
            menu.path
        )
        assert entry.hypervisor_arguments[-1] == "no-real-mode"
        assert entry.initrds == ("/install.img",)
    file, was = media.by_xorriso(out).files["/install.img"], media.by_xorriso(src).files["/install.img"]
    data = out.read_bytes()[file.lba * SECTOR :][: file.size]
    assert data[: was.size] == src.read_bytes()[was.lba * SECTOR :][: was.size]
    media.sh("cpio", "-id", "--quiet", cwd=tmp_path, stdin=data[-(-was.size // 4) * 4 :])
    assert (tmp_path / "answerfile.xml").read_bytes() == b"<installation/>"
    with pytest.raises(MediaError, match="only one initrd"):
        plan_edits(src, [Overlay(overlay.files, how="second")])


def test_netbsd_media(source: Make, tmp_path: Path) -> None:
    src, out = source("makefs"), tmp_path / "out.iso"
    assert inspect(src).installer.family == "netbsd"
    write_file(plan_edits(src, [Arguments(kernel=("-z",)), Put("/install.sh", b"#!/bin/sh\n", "old")]), out)
    assert media.extracted(out, tmp_path / "x", "7z")
    assert "menu=Install NetBSD:boot netbsd -z\n" in (tmp_path / "x/boot.cfg").read_text()
    with pytest.raises(MediaError, match="79 bytes"):
        plan_edits(src, [Arguments(kernel=("x" * 70,))])


# -- sizes beyond 4 GiB


def test_a_file_beyond_4_gib(tmp_path: Path) -> None:
    """As a source, with its sections, and as a file that is added. The big ones are holes, so this costs little."""
    root = tmp_path / "tree"
    root.mkdir()
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        file.truncate((4 << 30) + 5000)
        file.seek(4 << 30)
        file.write(b"behind four gibibytes")
    (root / "big.bin").symlink_to(big)
    (root / "menu.txt").write_bytes(b"small")
    src = tmp_path / "src.iso"
    made = f"xorriso -as mkisofs -quiet -f -iso-level 3 -R -J -o - {root}"
    media.sh("sh", "-c", f"{made} | dd of={src} bs=1M conv=sparse iflag=fullblock status=none")
    before = media.by_xorriso(src).files["/big.bin"]
    edits: list[Edit] = [
        Put("/menu.txt", b"other", "old"), Put("/new.txt", b"new" * 2000), Extend("/menu.txt", b" end"),
        Put("/second/big2.bin", big),
    ]  # fmt: skip
    plan = plan_edits(src, edits)
    assert plan.bytes_read < 1 << 20
    out = tmp_path / "out.iso"
    write_file(plan, out)
    assert out.stat().st_blocks * 512 < 64 << 20, "holes stay holes"
    after = media.by_xorriso(out)
    assert after.files["/big.bin"] == before
    assert after.files["/second/big2.bin"].size == big.stat().st_size
    assert after.digest("/new.txt") == hashlib.sha256(b"new" * 2000).hexdigest()
    listing = media.sh("isoinfo", "-R", "-l", "-i", out)
    assert len(re.findall(r"big2\.bin", listing)) == 2, "two sections"
    with out.open("rb") as image:
        image.seek(after.files["/second/big2.bin"].lba * SECTOR + (4 << 30))
        assert image.read(22).strip(b"\0") == b"behind four gibibytes"
    got = tmp_path / "got.txt"
    media.sh("xorriso", "-osirrox", "on", "-indev", out, "-extract", "/menu.txt", got, ok=(0, 32))
    assert got.read_bytes() == b"other end"
    assert "big2.bin" in media.sh("7z", "l", out)
    write_file(plan_edits(src, [Put("/big.bin", b"now small", "old")]), out)
    assert media.by_xorriso(out).digest("/big.bin") == hashlib.sha256(b"now small").hexdigest()
    assert len(re.findall(r"big\.bin", media.sh("isoinfo", "-R", "-l", "-i", out))) == 1, "one section is left"


@pytest.mark.parametrize("argument", ["a=1;b", "x={y}", "$HOME", "a|b&c", "#no", "<>"])
def test_grub_reads_what_was_meant(argument: str, tmp_path: Path) -> None:
    """GRUB's own parser, in grub-script-check, must find one sound script, with as many commands as before."""
    before, after = tmp_path / "before.cfg", tmp_path / "after.cfg"
    before.write_text(media.GRUB_MENU)
    after.write_text(menus.edit("grub", media.GRUB_MENU, menus.Change(kernel=(argument,))))
    assert before.read_text() != after.read_text()
    lines = [media.sh("grub-script-check", "-v", path).splitlines() for path in (before, after)]
    assert len(lines[0]) == len(lines[1])
