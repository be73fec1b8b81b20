"""The stand-in's medium, of the real layout, made once and kept in the cache."""

from __future__ import annotations

import bz2
import hashlib
import shutil
import tempfile
from pathlib import Path

from builder.paths import locked
from tests.integration.media_sources import sh
from tests.support.debs import cache
from tests.support.xcpng_installer.contents import LOAD_DRIVERS, RELEASES, host_root, installer_image
from tests.support.xcpng_installer.packages import XEN, Tree
from tests.support.xcpng_media import Contents, Repository, build_xcpng

_HERE = Path(__file__).parent
_MENU = ("normal", "configfile", "part_gpt", "ext2", "search", "search_label", "serial", "terminal", "test", "gzio",
         "multiboot2", "echo")  # fmt: skip


def stand_in_medium(release: str = "8.3") -> Path:
    """The ISO file of "8.2", "8.3" or "xs8". Some seconds the first time; not to be written to."""
    tree = Tree()
    folder = cache() / f"xcpng-stand-in-{release}-{_digest(tree)}"
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache()) as scratch:
                made = _build(tree, release, Path(scratch))
                folder.mkdir()
                shutil.move(made, folder / "medium.iso")
    return folder / "medium.iso"


def _build(tree: Tree, release: str, scratch: Path) -> Path:
    what, loader = RELEASES[release], _loader(scratch / "loader")
    root = scratch / "root.tar"
    host_root(tree, what, root)
    image = installer_image(tree, what, loader, scratch)
    contents = Contents(
        (tree.folder / f"boot/xen-{XEN}-amd64.gz").read_bytes(),
        (tree.folder / f"boot/vmlinuz-{tree.kernel}").read_bytes(),
        bz2.compress(image),
    )
    treeinfo = (
        f"[platform]\nname = XCP\nversion = {what.platform}\n"
        f"[branding]\nname = {what.brand}\nversion = {what.version}\n[build]\nnumber = stand-in\n"
    )
    (scratch / "iso").mkdir()
    return build_xcpng(scratch / "iso", contents, Repository(treeinfo, root))


def _loader(folder: Path) -> Path:
    """GRUB of the installed host, made here once: the real installer has grub-install make it."""
    folder.mkdir()
    shutil.copy("/usr/lib/grub/i386-pc/boot.img", folder)
    sh("grub-mkimage", "-O", "i386-pc", "-p", "(,gpt1)/boot/grub", "-o", folder / "core.img", "biosdisk", *_MENU)
    sh(
        "grub-mkimage",
        "-O",
        "x86_64-efi",
        "-p",
        "/EFI/xenserver",
        "-o",
        folder / "grubx64.efi",
        "fat",
        "all_video",
        *_MENU,
    )
    return folder


def _digest(tree: Tree) -> str:
    digest = hashlib.sha256(f"{tree.folder.name} {tree.kernel}".encode())
    for path in sorted(p for p in (*_HERE.rglob("*"), LOAD_DRIVERS) if p.is_file() and p.suffix != ".pyc"):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
