"""Install media of every layout, small, made by the programs that vendors use. And readers that are not ours."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ISOLINUX = Path("/usr/lib/ISOLINUX")
MODULES = Path("/usr/lib/syslinux/modules/bios")
BLOCK = 2048
Make = Callable[[str], Path]
LAYOUTS = (
    "xorriso", "genisoimage", "isohybrid", "apm", "appended", "offset16", "grub-mkrescue",
    "ubuntu", "mbr-appended", "no-rock-ridge", "no-joliet", "level4", "zisofs", "deep", "plain", "makefs",
)  # fmt: skip
HYBRID = ("xorriso", "isohybrid", "apm", "appended", "offset16", "ubuntu", "mbr-appended", "grub-mkrescue")
APPENDED = ("appended", "offset16", "ubuntu", "mbr-appended")
INITRD = "/isolinux/initrd.img"
TREE_MENU = "label linux\n  kernel vmlinuz\n  append initrd=initrd.img inst.stage2=hd:LABEL=TESTISO quiet\n"
GRUB_MENU = (
    'set timeout=5\nmenuentry "Install" {\n  linux /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=TESTISO quiet\n'
    "  initrd /images/pxeboot/initrd.img\n}\n"
)


def sh(*argv: str | Path, cwd: Path | None = None, ok: tuple[int, ...] = (0,), stdin: bytes | None = None) -> str:
    """Run a judge or a maker; its failure is the test's."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, check=False, input=stdin)
    assert done.returncode in ok, f"{argv}: {done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout.decode(errors="replace")


def noise(size: int, seed: str) -> bytes:
    return random.Random(seed).randbytes(size)


def tree(root: Path, *, initrd_size: int = 300_000) -> Path:
    """What is on the media: boot files with hard links, a FAT boot image, packages with long names."""
    for folder in ("isolinux", "EFI/BOOT", "images/pxeboot", "Packages", "boot"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ISOLINUX / "isolinux.bin", root / "isolinux")
    for module in ("ldlinux.c32", "libcom32.c32", "mboot.c32"):
        shutil.copy(MODULES / module, root / "isolinux")
    (root / "isolinux/isolinux.cfg").write_text(f"default linux\n{TREE_MENU}")
    (root / "isolinux/vmlinuz").write_bytes(noise(70_000, "kernel"))
    (root / "isolinux/initrd.img").write_bytes(b"\xfd7zXZ\0" + noise(initrd_size, "initrd"))
    for name in ("vmlinuz", "initrd.img"):
        os.link(root / "isolinux" / name, root / "images/pxeboot" / name)
    (root / "EFI/BOOT/grub.cfg").write_text(GRUB_MENU)
    (root / "EFI/BOOT/BOOTX64.EFI").write_bytes(noise(60_000, "efi"))
    (root / "empty").write_bytes(b"")
    (root / "other-empty").write_bytes(b"")
    for number in range(30):
        name = f"package-name-{number}-1.2.{number}-3.el9.x86_64.rpm"
        (root / "Packages" / name).write_bytes(noise(1 + number * 997, name))
    fat_image(
        root / "images/efiboot.img",
        {"EFI/BOOT/grub.cfg": GRUB_MENU.encode(), "EFI/BOOT/BOOTX64.EFI": noise(60_000, "efi")},
    )
    return root


def fat_image(path: Path, files: dict[str, bytes], *, kib: int = 1024, bits: int = 12) -> Path:
    with path.open("wb") as file:
        file.truncate(kib << 10)
    sh("mkfs.vfat", "-F", str(bits), "-n", "EFIBOOT", path)
    made = set()
    for name, content in files.items():
        for folder in reversed(Path(name).parents):
            if str(folder) != "." and folder not in made:
                sh("mmd", "-i", path, f"::/{folder}")
                made.add(folder)
        sh("mcopy", "-i", path, "-", f"::/{name}", stdin=content)
    return path


_BIOS = (
    "-c",
    "isolinux/boot.cat",
    "-b",
    "isolinux/isolinux.bin",
    "-no-emul-boot",
    "-boot-load-size",
    "4",
    "-boot-info-table",
)
_EFI = ("-eltorito-alt-boot", "-e", "images/efiboot.img", "-no-emul-boot")
_HYBRID = ("-isohybrid-mbr", str(ISOLINUX / "isohdpfx.bin"))
_APPENDED = (
    "--grub2-mbr", "/usr/lib/grub/i386-pc/boot_hybrid.img", "-appended_part_as_gpt",
    "-append_partition", "2", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
)  # fmt: skip
_INTERVAL = ("-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot")


_RR_J = ("-R", "-J", "-joliet-long")
_GPT = "-isohybrid-gpt-basdat"
_BY_XORRISO: dict[str, tuple[str, ...]] = {
    "xorriso": (*_RR_J, *_HYBRID, *_BIOS, *_EFI, _GPT),
    "apm": (*_RR_J, *_HYBRID, *_BIOS, *_EFI, _GPT, "-isohybrid-apm-hfsplus"),
    "no-joliet": ("-R", *_HYBRID, *_BIOS),
    "appended": (*_RR_J, "-partition_offset", "0", *_APPENDED, "{tree}/images/efiboot.img", *_BIOS, *_INTERVAL),
    "offset16": (*_RR_J, "-partition_offset", "16", *_APPENDED, "{tree}/images/efiboot.img", *_BIOS, *_INTERVAL),
}
_BY_XORRISO["ubuntu"] = (
    *_RR_J, "--grub2-mbr", "/usr/lib/grub/i386-pc/boot_hybrid.img", "--protective-msdos-label", "-partition_cyl_align",
    "off", "-partition_offset", "16", "--mbr-force-bootable", "-append_partition", "2",
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "{tree}/images/efiboot.img", "-appended_part_as_gpt",
    "-iso_mbr_part_type", "A2A0D0EB-E5B9-3344-87C0-68B6B72699C7", *_BIOS, *_INTERVAL, "-boot-load-size", "2048",
)  # fmt: skip
_BY_XORRISO["mbr-appended"] = (
    *_RR_J, *_HYBRID, "-append_partition", "2", "0xef", "{tree}/images/efiboot.img", *_BIOS, *_INTERVAL,
)  # fmt: skip
_BY_GENISOIMAGE: dict[str, tuple[str, ...]] = {
    "genisoimage": (*_RR_J, *_BIOS, *_EFI),
    "isohybrid": (*_RR_J, *_BIOS, *_EFI),
    "no-rock-ridge": ("-J", "-joliet-long", *_BIOS),
    "level4": ("-iso-level", "4", *_RR_J, *_BIOS),
    "plain": ("-iso-level", "3", *_BIOS),
    "zisofs": ("-R", "-z"),
    "deep": ("-R", *_BIOS),
    "udf": (*_RR_J, "-udf"),
}


def build(layout: str, root: Path, out: Path) -> Path:
    """One source. `root` is what `tree` made."""
    if layout == "deep":
        (root / "a/b/c/d/e/f/g/h/i").mkdir(parents=True)
        (root / "a/b/c/d/e/f/g/h/i/far.txt").write_bytes(b"far down\n")
    elif layout == "zisofs":
        (root / "images/zipped.txt").write_bytes(b"these words are packed\n" * 4000)
        sh("mkzftree", root, out.with_suffix(".z"))
        root = out.with_suffix(".z")
    if layout in _BY_XORRISO:
        options = [option.format(tree=root) for option in _BY_XORRISO[layout]]
        sh("xorriso", "-as", "mkisofs", "-quiet", "-o", out, "-V", "TESTISO", *options, root)
    elif layout in _BY_GENISOIMAGE:
        sh("genisoimage", "-quiet", "-o", out, "-V", "TESTISO", *_BY_GENISOIMAGE[layout], root)
    elif layout == "grub-mkrescue":
        sh("grub-mkrescue", "-o", out, root, "--", "-volid", "TESTISO")
    else:
        assert layout == "makefs"
        sh("makefs", "-t", "cd9660", "-o", "rockridge,label=NETBSD_10", out, netbsd_tree(root.parent / "netbsd"))
    if layout == "isohybrid":
        sh("isohybrid", "--uefi", out)
    return out


def netbsd_tree(root: Path) -> Path:
    # Names are short: Debian's makefs dies of long ones.
    (root / "amd64/binary/sets").mkdir(parents=True)
    (root / "netbsd").write_bytes(noise(50_000, "netbsd"))
    (root / "boot.cfg").write_text("banner=NetBSD/amd64 10.1\nmenu=Install NetBSD:boot netbsd\ntimeout=30\n")
    (root / "install.sh").write_text("#!/bin/sh\nexec /usr/sbin/sysinst\n")
    (root / "amd64/binary/sets/base.tgz").write_bytes(noise(80_000, "base"))
    return root


@pytest.fixture(scope="session", name="source")
def source_fixture(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A source by its layout's name, built once."""
    made: dict[str, Path] = {}

    def make(layout: str) -> Path:
        if layout not in made:
            folder = tmp_path_factory.mktemp(layout)
            made[layout] = build(layout, tree(folder / "tree"), folder / "source.iso")
        return made[layout]

    return make


@dataclass(frozen=True)
class Listed:
    """What a reader says of a file."""

    lba: int
    size: int


@dataclass
class Reading:
    """An image as an independent reader sees it."""

    iso: Path
    files: dict[str, Listed] = field(default_factory=dict)

    def digest(self, path: str) -> str:
        file = self.files[path]
        with self.iso.open("rb") as stream:
            stream.seek(file.lba * BLOCK)
            return hashlib.sha256(stream.read(file.size)).hexdigest()


_LBA = re.compile(r"^File data lba:\s+(\d+) ,\s+(\d+) ,\s+(\d+) ,\s+(\d+) , '(.*)'$")


def by_xorriso(iso: Path) -> Reading:
    out = sh("xorriso", "-indev", iso, "-find", "/", "-type", "f", "-exec", "report_lba", "--", ok=(0, 32))
    reading = Reading(iso)
    for line in out.splitlines():
        found = _LBA.match(line)
        if found and found[1] == "0":
            reading.files[found[5]] = Listed(int(found[2]), int(found[4]))
    return reading


_ISOINFO = re.compile(r"^[-r]\S*\s.*?\s(\d+)\s+\w{3}\s+\d+\s+\d{4}\s+\[\s*(\d+)\s+\S*\]\s+(.*?)\s*$")


def by_isoinfo(iso: Path, *options: str) -> Reading:
    reading, folder = Reading(iso), "/"
    for line in sh("isoinfo", "-l", *options, "-i", iso).splitlines():
        if line.startswith("Directory listing of "):
            folder = line.removeprefix("Directory listing of ").strip()
        found = _ISOINFO.match(line)
        if found:
            reading.files[folder + re.sub(r"\.?;1$", "", found[3])] = Listed(int(found[2]), int(found[1]))
    return reading


def extracted(iso: Path, into: Path, tool: str) -> dict[str, str]:
    """path -> sha256, as a whole-image extractor gives it."""
    into.mkdir(parents=True)
    if tool == "7z":
        sh("7z", "x", "-y", f"-o{into}", iso, ok=(0, 1))
    elif tool == "bsdtar":
        sh("bsdtar", "-xf", iso, "-C", into)
    else:
        sh("xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", into, ok=(0, 32))
    sh("chmod", "-R", "u+rwX", into)
    return {
        "/" + str(path.relative_to(into)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in into.rglob("*") if path.is_file() and not path.is_symlink()
    }  # fmt: skip


def reports(iso: Path) -> list[str]:
    """El Torito and system area as xorriso tells them."""
    out = sh("xorriso", "-indev", iso, "-report_el_torito", "plain", "-report_system_area", "plain", ok=(0, 32))
    return out.splitlines()
