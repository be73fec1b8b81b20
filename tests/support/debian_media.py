"""Install media of Debian's layout with the real installer: its kernel and initrd of the netboot package, on a medium
made with the options that Debian's own are made with. Nothing of it is meant for a serial console."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.integration.media_sources import ISOLINUX, MODULES, fat_image, sh
from tests.support.debs import unpacked

RELEASE = "12"
PRESEED = "/preseed.cfg"
_PACKAGE = f"debian-installer-{RELEASE}-netboot-amd64"
_ARGUMENTS = "vga=788 --- quiet"
_ISOLINUX_CFG = f"""\
default install
prompt 0
timeout 1
label install
  menu label ^Install
  kernel /install.amd/vmlinuz
  append initrd=/install.amd/initrd.gz {_ARGUMENTS}
"""
_GRUB_CFG = f"""\
set timeout=0
menuentry 'Install' {{
    linux /install.amd/vmlinuz {_ARGUMENTS}
    initrd /install.amd/initrd.gz
}}
"""
# What GRUB runs before it knows where its menu is: the medium is found by a file, however it is attached.
_EARLY_CFG = "search --file --set=root /.disk/info\nset prefix=($root)/boot/grub\n"
_GRUB_MODULES = ("iso9660", "part_gpt", "part_msdos", "fat", "search", "search_fs_file", "normal", "linux", "all_video")


def build_debian(folder: Path) -> Path:
    """The medium. `folder` is empty; the package is unpacked once into the cache."""
    package = unpacked(RELEASE, (_PACKAGE,))
    installer = package / f"usr/lib/debian-installer/images/{RELEASE}/amd64/text/debian-installer/amd64"
    root = folder / "tree"
    for name in ("install.amd", "isolinux", "boot/grub", ".disk"):
        (root / name).mkdir(parents=True)
    shutil.copy(installer / "linux", root / "install.amd/vmlinuz")
    shutil.copy(installer / "initrd.gz", root / "install.amd")
    shutil.copy(ISOLINUX / "isolinux.bin", root / "isolinux")
    shutil.copy(MODULES / "ldlinux.c32", root / "isolinux")
    (root / "isolinux/isolinux.cfg").write_text(_ISOLINUX_CFG)
    (root / "boot/grub/grub.cfg").write_text(_GRUB_CFG)
    (root / ".disk/info").write_text('Debian GNU/Linux 12.1.0 "Bookworm" - Official amd64 NETINST\n')
    early, loader = folder / "early.cfg", folder / "bootx64.efi"
    early.write_text(_EARLY_CFG)
    sh("grub-mkimage", "-O", "x86_64-efi", "-p", "/boot/grub", "-c", early, "-o", loader, *_GRUB_MODULES)
    fat_image(root / "boot/grub/efi.img", {"efi/boot/bootx64.efi": loader.read_bytes()})
    sums = [sh("md5sum", f"./{path.relative_to(root)}", cwd=root) for path in sorted(root.rglob("*")) if path.is_file()]
    (root / "md5sum.txt").write_text("".join(sums))
    out = folder / "debian.iso"
    sh(
        "xorriso", "-as", "mkisofs", "-quiet", "-r", "-checksum_algorithm_iso", "sha256,sha512", "-V", "Debian 12 n",
        "-o", out, "-J", "-joliet-long", "-isohybrid-mbr", ISOLINUX / "isohdpfx.bin", "-b", "isolinux/isolinux.bin",
        "-c", "isolinux/boot.cat", "-boot-load-size", "4", "-boot-info-table", "-no-emul-boot", "-eltorito-alt-boot",
        "-e", "boot/grub/efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat", "-isohybrid-apm-hfsplus", root,
    )  # fmt: skip
    return out
