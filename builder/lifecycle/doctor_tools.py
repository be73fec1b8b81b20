"""Doctor's rows about programs, libraries and data files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostLacks
from builder.images.hosts import KEYRING, read_host
from builder.lifecycle.doctor_ground import Finding, Ground, Needs, install

OLDEST_PYTHON = (3, 11)
# The versions everything was measured with on Debian 12; older ones were never run.
OLDEST_LIBVIRT = 9_000_000
OLDEST_QEMU = (7, 2)
_DRIVERS = ("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver", "/usr/lib64/libvirt/connection-driver",
            "/usr/lib/libvirt/connection-driver")  # fmt: skip
_OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd")


@dataclass(frozen=True, slots=True)
class Tool:
    """Programs of one Debian package, and what they are for."""

    name: str
    programs: tuple[str, ...]
    package: str
    why: str
    when: Callable[[Needs], bool]

    def look(self, ground: Ground, _: Needs) -> Finding:
        absent = [program for program in self.programs if ground.which(program) is None]
        if absent:
            return Finding("missing", f"no {', '.join(absent)}", install(ground, self.package))
        return Finding("ok", str(ground.which(self.programs[0])))


def _always(_: Needs) -> bool:
    return True


def _disk(needs: Needs) -> bool:
    return needs.builds_disk


def _image(needs: Needs) -> bool:
    return needs.builds_disk or needs.builds_initramfs


TOOLS = (
    Tool("qemu-img", ("qemu-img",), "qemu-utils", "makes the nodes' disks", _always),
    Tool("ssh", ("ssh", "ssh-keygen"), "openssh-client", "reaches the nodes", _always),
    Tool("apt", ("apt-get", "apt-cache"), "apt", "fetches the packages that an image is made of", _image),
    Tool("dpkg", ("dpkg", "dpkg-deb"), "dpkg", "unpacks packages", _image),
    Tool("mmdebstrap", ("mmdebstrap",), "mmdebstrap", "makes the base system of a disk image", _disk),
    Tool("debootstrap", ("debootstrap",), "debootstrap", "diskimage-builder asks for its version", _disk),
    Tool("e2fsprogs", ("mke2fs", "debugfs"), "e2fsprogs", "makes the root file system of a disk image", _disk),
    Tool("sfdisk", ("sfdisk",), "fdisk", "partitions a disk image", _disk),
    Tool("mtools", ("mcopy", "mmd"), "mtools", "fills the EFI partition of a disk image", _disk),
    Tool("mkfs.vfat", ("mkfs.vfat",), "dosfstools", "makes the EFI partition of a disk image", _disk),
    Tool("tar", ("tar",), "tar", "packs the tree of a disk image", _disk),
    Tool("zstd", ("zstd",), "zstd", "packs the tree of a disk image", _disk),
    Tool("unshare", ("unshare",), "util-linux", "keeps a build's mounts apart from this host's", _disk),
    Tool("losetup", ("losetup",), "mount", "detaches what a killed build left", _disk),
)


def python(ground: Ground, _: Needs) -> Finding:
    found = ground.python_version()
    seen = f"Python {found[0]}.{found[1]}"
    if found >= OLDEST_PYTHON:
        return Finding("ok", seen)
    return Finding("missing", seen, install(ground, "python3.11", "python3.11-venv"))


def libvirt_binding(ground: Ground, _: Needs) -> Finding:
    try:
        version = ground.libvirt_version()
    except ImportError as error:
        packages = install(ground, "gcc", "pkg-config", "python3-dev", "libvirt-dev", "libvirt-daemon-system")
        return Finding("missing", f"import libvirt: {error}", f"{packages}\npip install 'libvirt-python>=9'")
    shown = f"libvirt {version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
    if version < OLDEST_LIBVIRT:
        return Finding(
            "warn", f"{shown}, older than the 9.0 that nestlab is tested with", "upgrade to Debian 12 or later"
        )
    return Finding("ok", shown)


def qemu(ground: Ground, _: Needs) -> Finding:
    path = ground.which("qemu-system-x86_64")
    if path is None:
        return Finding("missing", "no qemu-system-x86_64", install(ground, "qemu-system-x86"))
    said = ground.output([path, "--version"]) or ""
    match = re.search(r"version (\d+)\.(\d+)\.?(\d*)", said)
    if match is None:
        return Finding("unknown", f"{path} --version says {said.strip()[:60]!r}", f"{path} --version")
    if (int(match[1]), int(match[2])) < OLDEST_QEMU:
        return Finding("warn", f"QEMU {match[0][8:]}, older than the 7.2 that nestlab is tested with",
                       "upgrade to Debian 12 or later")  # fmt: skip
    return Finding("ok", f"QEMU {match[0][8:]}")


def qemu_driver(ground: Ground, _: Needs) -> Finding:
    for folder in _DRIVERS:
        if ground.exists(f"{folder}/libvirt_driver_qemu.so"):
            return Finding("ok", folder)
    return Finding("missing", "no libvirt_driver_qemu.so", install(ground, "libvirt-daemon-driver-qemu"))


def machine_types(ground: Ground, needs: Needs) -> Finding:
    path = ground.which("qemu-system-x86_64")
    said = ground.output([path, "-machine", "help"]) if path else None
    if said is None:
        return Finding("unknown", "QEMU does not list its machine types")
    known = {line.split()[0] for line in said.splitlines() if line.strip()}
    absent = sorted(needs.machines - known)
    if absent:
        return Finding("missing", f"this QEMU has no {', '.join(absent)}", install(ground, "qemu-system-x86"))
    return Finding("ok", ", ".join(sorted(needs.machines)))


def schemas(ground: Ground, _: Needs) -> Finding:
    folder = "/usr/share/libvirt/schemas"
    if ground.exists(f"{folder}/domain.rng"):
        return Finding("ok", folder)
    return Finding("missing", f"no {folder}/domain.rng", install(ground, "libvirt0"))


def ovmf(ground: Ground, _: Needs) -> Finding:
    for file in _OVMF:
        if ground.exists(file):
            return Finding("ok", file)
    return Finding("missing", "no OVMF firmware", install(ground, "ovmf"))


def disk_image_create(ground: Ground, _: Needs) -> Finding:
    path = ground.which("disk-image-create")
    if path is None:
        return Finding("missing", "no disk-image-create", "pip install 'diskimage-builder>=3.38,<4'")
    return Finding("ok", path)


def administrator(ground: Ground, _: Needs) -> Finding:
    """Building needs root: packages own files as many users, and programs run in the tree. diskimage-builder calls
    sudo even as root; a build in the background has no terminal to type a password at."""
    sudo = ground.which("sudo")
    if sudo is None:
        line = "apt-get install --no-install-recommends sudo"
        return Finding("missing", "no sudo", line if ground.euid == 0 else f"su -c {shlex.quote(line)}")
    if ground.euid == 0:
        return Finding("ok", "root")
    if ground.output([sudo, "-n", "true"]) is not None:
        return Finding("ok", "sudo without a password")
    build = f"sudo NESTLAB_CACHE={shlex.quote(str(ground.places.cache))} nestlab image build LAB"
    allow = 'echo "$USER ALL=(root) NOPASSWD: ALL" | sudo tee /etc/sudoers.d/nestlab'
    return Finding("missing", "sudo asks for a password",
                   f"{build}    # build once by hand, in your cache\n{allow}    # or let nestlab build")  # fmt: skip


def loop_device(ground: Ground, _: Needs) -> Finding:
    container = "\nstart the container with --privileged" if ground.in_container() else ""
    if not ground.exists("/dev/loop-control"):
        return Finding("missing", "no /dev/loop-control", ground.as_root("modprobe loop") + container)
    free = [path.name for path in sorted(ground.path("/sys/block").glob("loop*")) if not (path / "loop").exists()]
    if free:
        return Finding("ok", f"/dev/{free[0]} is free")
    return Finding("ok", "/dev/loop-control makes one when needed")


def keyring(ground: Ground, _: Needs) -> Finding:
    if ground.exists(KEYRING):
        return Finding("ok", KEYRING)
    return Finding("missing", f"no {KEYRING}", install(ground, "debian-archive-keyring"))


def package_sources(ground: Ground, needs: Needs) -> Finding:
    try:
        host = read_host(mirror=needs.mirror, etc=ground.path("/etc"), tools=False)
    except HostLacks as error:
        return Finding("missing", error.message, "export NESTLAB_DEBIAN_MIRROR=http://MIRROR/debian")
    if needs.mirror:
        return Finding("ok", "NESTLAB_DEBIAN_MIRROR")
    pockets = sorted({source.pocket.lstrip("-") or "release" for source in host.sources})
    if "security" not in pockets:
        return Finding("warn", "no security updates among apt's sources",
                       f"add the -security suite to {Path('/etc/apt/sources.list.d/debian.sources')}")  # fmt: skip
    return Finding("ok", f"apt's own: {', '.join(pockets)}")
