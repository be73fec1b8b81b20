"""What the stand-in's medium holds: the installer's memory root, and the root of the host that it installs."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.images import tiny
from builder.images.cpio import FIXED_TIME, Archive
from builder.images.kmods import pack
from tests.support.xcpng_installer.packages import XEN, Tree

HERE = Path(__file__).parent
SHELL = HERE / "shell"
LOAD_DRIVERS = Path(tiny.__file__).parent / "tiny/load-drivers"
_DISKS = ("sd_mod", "sym53c8xx", "mptsas", "mptspi", "ata_piix", "ahci", "nvme", "ext4", "crc32c_generic", "raid1")
_CARDS = ("e1000", "e1000e", "8139cp", "8021q")
INSTALLER_MODULES = (
    *_DISKS, *_CARDS, "sr_mod", "isofs", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1", "xenfs",
    "xhci_pci", "uhci_hcd", "ehci_pci", "usb_storage",
)  # fmt: skip
HOST_MODULES = (*_DISKS, *_CARDS, "bridge", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1", "xenfs")
_INSTALLER_PROGRAMS = ("bash", "blkid", "sfdisk", "mke2fs", "e2label", "mkfs.fat", "mdadm")
_INITRD_PROGRAMS = ("blkid", "mdadm")
_HOST_PROGRAMS = ("bash", "blkid", "lsblk", "sfdisk", "mdadm", "dropbear", "dropbearkey", "dropbearconvert", "openssl")
_USERS = (
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\n"),
    ("etc/shells", "/bin/sh\n/bin/bash\n"),
)


@dataclass(frozen=True)
class Release:
    """What a medium calls itself, as the real ones do."""

    name: str
    version: str
    platform: str
    brand: str = "XCP-ng"

    @property
    def line(self) -> str:
        return f"{self.name}|{self.brand}|{self.version}|{self.platform}\n"


RELEASES = {
    "8.2": Release("8.2", "8.2.1", "3.2.1"),
    "8.3": Release("8.3", "8.3.0", "3.4.0"),
    "xs8": Release("xs8", "8.4.0", "3.4.0", "XenServer"),
}


def installer_image(tree: Tree, release: Release, loader: Path, scratch: Path) -> bytes:
    """install.img, not packed. `loader` holds boot.img, core.img and grubx64.efi."""
    out = io.BytesIO()
    root = Archive(out)
    for folder in ("dev", "proc", "sys", "run", "mnt", "root"):
        root.directory(folder)
    root.directory("tmp", 0o1777)
    programs = _programs(root, tree, _INSTALLER_PROGRAMS, {"python3": tree.python_program})
    root.symlink("bin/python", "python3")
    root.symlink("bin/mkfs.vfat", "mkfs.fat")
    _libraries(root, tree, programs)
    modules = scratch / "python.zip"
    tree.python(HERE / "pack_python.py", HERE, modules)
    root.file(tree.python_archive, modules.read_bytes())
    for name, text in _USERS:
        root.file(name, text.encode())
    root.file("opt/stand-in/release", release.line.encode())
    for path in sorted(loader.iterdir()):
        root.file(f"opt/stand-in/loader/{path.name}", path.read_bytes())
    root.file("opt/stand-in/dhcp-event", (SHELL / "dhcp-event").read_bytes(), 0o755)
    root.file("init", (SHELL / "installer-init").read_bytes(), 0o755)
    _drivers(root, tree, INSTALLER_MODULES)
    root.close()
    return out.getvalue()


def host_initrd(tree: Tree) -> bytes:
    out = io.BytesIO()
    root = Archive(out)
    for folder in ("dev", "proc", "sys", "run", "mnt", "tmp"):
        root.directory(folder)
    _libraries(root, tree, _programs(root, tree, _INITRD_PROGRAMS, {}))
    root.file("init", (SHELL / "host-init").read_bytes(), 0o755)
    _drivers(root, tree, HOST_MODULES)
    root.close()
    return out.getvalue()


def host_root(tree: Tree, release: Release, out: Path) -> None:
    """The root of the host as a tar archive: what the packages of the real medium come to."""
    with tarfile.open(out, "w") as archive:
        root = TarRoot(archive)
        for folder in ("dev", "proc", "sys", "run", "mnt", "var/log", "etc/dracut.conf.d", "etc/xensource"):
            root.directory(folder)
        root.directory("tmp", 0o1777)
        root.directory("root", 0o700)
        _libraries(root, tree, _programs(root, tree, _HOST_PROGRAMS, {}))
        for name, text in _USERS:
            root.file(name, text.encode())
        root.file("etc/shadow", b"root:!!:1::::::\n", 0o600)
        root.file("etc/chrony.conf", b"server 0.centos.pool.ntp.org iburst\ndriftfile /var/lib/chrony/drift\n")
        root.file("etc/dhcp/dhclient.d/chrony.sh", b"# Of the DHCP client, which is not here.\n")
        root.file("etc/xensource/openssl.cnf", b"[req]\ndistinguished_name = name\n[name]\n")
        root.file("etc/stand-in-release", f"PRODUCT='{release.brand} {release.version}'\n".encode())
        root.file("etc/inittab", (SHELL / "inittab").read_bytes())
        root.file("etc/rc", (SHELL / "host-rc").read_bytes(), 0o755)
        root.file("usr/libexec/dhcp-event", (SHELL / "dhcp-event").read_bytes(), 0o755)
        for name in ("xen-cmdline", "of-root"):
            root.file(f"opt/xensource/libexec/{name}", (SHELL / name).read_bytes(), 0o755)
        _boot(root, tree)
        # The loaded drivers stay; the folder tells the kernel's version, as on the real host.
        root.file(f"lib/modules/{tree.kernel}/README", b"The drivers are in the initial memory root.\n")


def _boot(root: TarRoot, tree: Tree) -> None:
    """Xen, the kernel and the memory root, under the real names, and once more for the fallback."""
    short = ".".join(tree.kernel.split(".")[:2])
    xen = (tree.folder / f"boot/xen-{XEN}-amd64.gz").read_bytes()
    kernel = (tree.folder / f"boot/vmlinuz-{tree.kernel}").read_bytes()
    for name, content in (
        ("xen.gz", xen),
        (f"vmlinuz-{short}-xen", kernel),
        (f"initrd-{short}-xen.img", host_initrd(tree)),
    ):
        root.file(f"boot/{name}", content)
    for name, of in (("xen-fallback.gz", "xen.gz"), ("vmlinuz-fallback", f"vmlinuz-{short}-xen"),
                     ("initrd-fallback.img", f"initrd-{short}-xen.img")):  # fmt: skip
        root.link(f"boot/{name}", f"boot/{of}")
    root.file("boot/xen-version", f"{XEN}\n".encode())


class TarRoot:
    """The part of `Archive` that is used here, into a tar archive: owners root, one fixed time, parents made."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._seen: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        self._add(path, mode, kind=tarfile.DIRTYPE)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self._add(path, mode, content)

    def symlink(self, path: str, target: str) -> None:
        self._add(path, 0o777, kind=tarfile.SYMTYPE, target=target)

    def link(self, path: str, target: str) -> None:
        self._add(path, 0o644, kind=tarfile.LNKTYPE, target=target)

    def _add(
        self, path: str, mode: int, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, target: str = ""
    ) -> None:
        for parent in reversed(Path(path).parents):
            if str(parent) != "." and str(parent) not in self._seen:
                self._add(str(parent), 0o755, kind=tarfile.DIRTYPE)
        self._seen.add(path)
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.linkname = kind, mode, target
        entry.size, entry.mtime = len(content), FIXED_TIME
        self._archive.addfile(entry, io.BytesIO(content))


def _programs(root: Archive | TarRoot, tree: Tree, names: Sequence[str], more: dict[str, Path]) -> list[Path]:
    """Into /bin, with busybox's applets beside them; other folders lead there. Returns those that need libraries."""
    chosen = {**{name: tree.program(name) for name in names}, **more}
    busybox = tree.program("busybox")
    root.file("bin/busybox", busybox.read_bytes(), 0o755)
    for name, path in sorted(chosen.items()):
        root.file(f"bin/{name}", path.read_bytes(), 0o755)
    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in sorted({*applets, "init"} - {"busybox", *chosen}):
        root.symlink(f"bin/{applet}", "busybox")
    root.symlink("sbin", "bin")
    for name in ("bin", "sbin"):
        root.symlink(f"usr/{name}", "../bin")
    return list(chosen.values())


def _libraries(root: Archive | TarRoot, tree: Tree, programs: Iterable[Path]) -> None:
    for name, content in tree.libraries(programs).items():
        root.file(name, content, 0o755)


def _drivers(root: Archive, tree: Tree, names: Sequence[str]) -> None:
    root.file("lib/nestlab/load-drivers", LOAD_DRIVERS.read_bytes())
    pack(root, tree.modules.drivers(names, optional=names))
