"""Install media of XCP-ng's layout that boot: real Xen and a real kernel of Debian, and an install.img whose init tells
on the console what it was given.

As on the vendor's media: isolinux hands xen.gz, vmlinuz and install.img to mboot.c32; by UEFI grubx64.efi reads
EFI/xenserver/grub.cfg from the tree when it was started from a CD, and the twin inside boot/efiboot.img when it was
started from a USB disk, where that image is a partition.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.images.cpio import Archive
from tests.integration.media_sources import ISOLINUX, MODULES, fat_image, sh
from tests.support.debs import kernel_package, unpacked

RELEASE = "12"
ANSWER = "/answerfile.xml"
SAID = "install-image:"
"""What each line of the init begins with."""
PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "bzip2": bz2.compress,
    "gzip": gzip.compress,
    # The kernel's reader knows no other check than CRC32.
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "cpio": bytes,
}

_INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
echo "{SAID} on $(/bin/busybox cat /sys/hypervisor/type 2>/dev/null || echo bare)"
echo "{SAID} cmdline $(/bin/busybox cat /proc/cmdline)"
[ -e {ANSWER} ] || echo "{SAID} no answer file"
[ -e {ANSWER} ] && while read -r line; do echo "{SAID} answer $line"; done <{ANSWER}
echo "{SAID} done"
/bin/busybox sleep 120
/bin/busybox poweroff -f
"""
_XEN = "dom0_max_vcpus=1 dom0_mem=max:256M com1=115200,8n1 console=com1"
_KERNEL = "console=tty0 console=hvc0"
_ISOLINUX_CFG = f"""\
serial 0 115200
default install
prompt 1
timeout 1
label install
  kernel mboot.c32
  append /boot/xen.gz {_XEN} --- /boot/vmlinuz {_KERNEL} --- /install.img
label safe
  kernel mboot.c32
  append /boot/xen.gz {_XEN} noreboot --- /boot/vmlinuz {_KERNEL} nomodeset --- /install.img
"""
_GRUB_CFG = f"""\
search --no-floppy --file --set=root /install.img
set default="0"
set timeout=0
menuentry "install" {{
    multiboot2 /boot/xen.gz {_XEN}
    module2 /boot/vmlinuz {_KERNEL}
    module2 /install.img
}}
menuentry "safe" {{
    multiboot2 /boot/xen.gz {_XEN} noreboot
    module2 /boot/vmlinuz {_KERNEL} nomodeset
    module2 /install.img
}}
"""
_TREEINFO = "[platform]\nname = XCP\nversion = 3.4.0\n[branding]\nname = XCP-ng\nversion = 8.3.0\n[build]\nnumber = 1\n"
_GRUB_MODULES = ("iso9660", "part_gpt", "part_msdos", "fat", "search", "normal", "multiboot2", "gzio", "all_video")


@dataclass(frozen=True, slots=True)
class Contents:
    """What is started from a medium: Xen, a kernel, and the installer's memory root, packed."""

    xen: bytes
    kernel: bytes
    image: bytes


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on the medium: its description, and the archive that everything is installed from."""

    treeinfo: str = _TREEINFO
    archive: Path | None = None


def debian_contents(packing: str = "bzip2") -> Contents:
    """Of Debian's packages, unpacked once into the cache."""
    name = kernel_package(RELEASE)
    folder = unpacked(RELEASE, (name, "xen-hypervisor-4.17-amd64", "busybox-static"))
    return Contents(
        (folder / "boot/xen-4.17-amd64.gz").read_bytes(),
        (folder / f"boot/vmlinuz-{name.removeprefix('linux-image-')}").read_bytes(),
        PACKERS[packing](install_image(folder / "bin/busybox")),
    )


def install_image(busybox: Path) -> bytes:
    """The installer's memory root: a cpio archive, not packed yet."""
    out = io.BytesIO()
    archive = Archive(out)
    for folder in ("dev", "proc", "sys"):
        archive.directory(folder)
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    archive.file("init", _INIT.encode(), 0o755)
    archive.close()
    return out.getvalue()


def build_xcpng(folder: Path, contents: Contents, repository: Repository | None = None) -> Path:
    """The medium, made as the vendor does: genisoimage, then isohybrid with its EFI partition."""
    root = folder / "tree"
    for name in ("boot/isolinux", "EFI/xenserver", "EFI/BOOT", "Packages", "repodata"):
        (root / name).mkdir(parents=True)
    shutil.copy(ISOLINUX / "isolinux.bin", root / "boot/isolinux")
    for module in ("ldlinux.c32", "libcom32.c32", "mboot.c32"):
        shutil.copy(MODULES / module, root / "boot/isolinux")
    (root / "boot/isolinux/isolinux.cfg").write_text(_ISOLINUX_CFG)
    (root / "EFI/xenserver/grub.cfg").write_text(_GRUB_CFG)
    loader = root / "EFI/xenserver/grubx64.efi"
    sh("grub-mkimage", "-O", "x86_64-efi", "-p", "/EFI/xenserver", "-o", loader, *_GRUB_MODULES)
    fat_image(
        root / "boot/efiboot.img",
        {"EFI/BOOT/BOOTX64.EFI": loader.read_bytes(), "EFI/xenserver/grub.cfg": _GRUB_CFG.encode()},
    )
    (root / "boot/xen.gz").write_bytes(contents.xen)
    (root / "boot/vmlinuz").write_bytes(contents.kernel)
    (root / "install.img").write_bytes(contents.image)
    _write_repository(root, repository or Repository())
    out = folder / "xcpng.iso"
    boot = ("-c", "boot/isolinux/boot.cat", "-b", "boot/isolinux/isolinux.bin")
    how = ("-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
    efi = ("-eltorito-alt-boot", "-e", "boot/efiboot.img", "-no-emul-boot")
    sh("genisoimage", "-quiet", "-o", out, "-V", "XCP-ng 8.3", "-R", "-J", "-joliet-long", *boot, *how, *efi, root)
    sh("isohybrid", "--uefi", out)
    return out


def _write_repository(root: Path, repository: Repository) -> None:
    (root / ".treeinfo").write_text(repository.treeinfo)
    (root / "repodata/repomd.xml").write_text('<repomd xmlns="http://linux.duke.edu/metadata/repo"/>\n')
    if repository.archive is not None:
        shutil.move(repository.archive, root / "Packages/stand-in-root.tar")
