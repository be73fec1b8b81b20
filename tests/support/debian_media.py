"""Install media of Debian's layout with the real installer: its kernel and initrd of the netboot package, on a medium
made with the options that Debian's own are made with. Nothing of it is meant for a serial console."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.integration.media_sources import ISOLINUX, MODULES, fat_image, sh
from tests.support.debs import unpacked
from tests.support.installer import NETBOOT

RELEASE = "12"
PRESEED = "/preseed.cfg"
ARGUMENTS = "vga=788 --- quiet"
_NAMES = {"12": ("12.1.0", "Bookworm"), "13": ("13.1.0", "Trixie")}
_ISOLINUX_CFG = """\
default install
prompt 0
timeout 1
label install
  menu label ^Install
  kernel /install.amd/vmlinuz
  append initrd=/install.amd/initrd.gz {arguments}
"""
_GRUB_CFG = """\
set timeout=0
menuentry 'Install' {{
    linux /install.amd/vmlinuz {arguments}
    initrd /install.amd/initrd.gz
}}
"""
# What GRUB runs before it knows where its menu is: the medium is found by a file, however it is attached.
_EARLY_CFG = "search --file --set=root /.disk/info\nset prefix=($root)/boot/grub\n"
_GRUB_MODULES = ("iso9660", "part_gpt", "part_msdos", "fat", "search", "search_fs_file", "normal", "linux", "all_video")


def build_debian(
    folder: Path, release: str = RELEASE, *, initrd: Path | None = None, arguments: str = ARGUMENTS
) -> Path:
    """The medium. `folder` is empty; the package is unpacked once into the cache. `initrd` is put in place of the
    package's."""
    installer = next(unpacked(release, (NETBOOT[release],)).rglob("text/**/initrd.gz")).parent
    root = folder / "tree"
    for name in ("install.amd", "isolinux", "boot/grub", ".disk"):
        (root / name).mkdir(parents=True)
    shutil.copy(installer / "linux", root / "install.amd/vmlinuz")
    shutil.copy(initrd or installer / "initrd.gz", root / "install.amd/initrd.gz")
    shutil.copy(ISOLINUX / "isolinux.bin", root / "isolinux")
    shutil.copy(MODULES / "ldlinux.c32", root / "isolinux")
    (root / "isolinux/isolinux.cfg").write_text(_ISOLINUX_CFG.format(arguments=arguments))
    (root / "boot/grub/grub.cfg").write_text(_GRUB_CFG.format(arguments=arguments))
    version, name = _NAMES[release]
    (root / ".disk/info").write_text(f'Debian GNU/Linux {version} "{name}" - Official amd64 NETINST\n')
    early, loader = folder / "early.cfg", folder / "bootx64.efi"
    early.write_text(_EARLY_CFG)
    sh("grub-mkimage", "-O", "x86_64-efi", "-p", "/boot/grub", "-c", early, "-o", loader, *_GRUB_MODULES)
    fat_image(root / "boot/grub/efi.img", {"efi/boot/bootx64.efi": loader.read_bytes()})
    sums = [sh("md5sum", f"./{path.relative_to(root)}", cwd=root) for path in sorted(root.rglob("*")) if path.is_file()]
    (root / "md5sum.txt").write_text("".join(sums))
    out = folder / "debian.iso"
    sh(
        "xorriso", "-as", "mkisofs", "-quiet", "-r", "-checksum_algorithm_iso", "sha256,sha512", "-V",
        f"Debian {release} n", "-o", out, "-J", "-joliet-long", "-isohybrid-mbr", ISOLINUX / "isohdpfx.bin", "-b",
        "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-boot-load-size", "4", "-boot-info-table", "-no-emul-boot",
        "-eltorito-alt-boot", "-e", "boot/grub/efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat",
        "-isohybrid-apm-hfsplus", root,
    )  # fmt: skip
    return out
