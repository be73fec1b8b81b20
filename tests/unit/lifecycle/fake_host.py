"""A host made of files, for what cannot be provoked here: other CPUs, modules that are not loaded, a foreign user."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.lifecycle.doctor_ground import Ground
from builder.paths import Places

GIB = 1 << 30
ALL_PROGRAMS = frozenset(
    "qemu-system-x86_64 qemu-img ssh ssh-keygen apt-get apt-cache dpkg dpkg-deb mmdebstrap debootstrap mke2fs debugfs "  # noqa: SIM905
    "sfdisk mcopy mmd mkfs.vfat tar zstd unshare losetup sudo disk-image-create ip".split()
)
MACHINES = "Supported machines are:\npc                   alias\nq35                  alias\n"


@dataclass(frozen=True)
class FakeHost(Ground):
    """A host of files below `root`, with these programs, versions and sizes. Everything is in order until changed."""

    programs: frozenset[str] = ALL_PROGRAMS
    outputs: Mapping[str, str] = field(default_factory=dict)
    libvirt: int | None = 9_000_000
    free: int = 100 * GIB
    usable: bool = True
    orphan: float | None = 0.01
    name: str = "UTF-8"
    python: tuple[int, int] = (3, 11)

    def which(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self.programs else None

    def output(self, argv: Sequence[str]) -> str | None:
        known = {"qemu-system-x86_64 --version": "QEMU emulator version 7.2.22 (Debian)",
                 "qemu-system-x86_64 -machine help": MACHINES, "sudo -n true": "", **self.outputs}  # fmt: skip
        return known.get(" ".join([Path(argv[0]).name, *argv[1:]]))

    def libvirt_version(self) -> int:
        if self.libvirt is None:
            raise ImportError("No module named 'libvirt'")
        return self.libvirt

    def python_version(self) -> tuple[int, int]:
        return self.python

    def encoding(self) -> str:
        return self.name

    def cores(self) -> int:
        return 4

    def free_space(self, path: Path) -> int:  # noqa: ARG002
        return self.free

    def may_use(self, path: Path) -> bool:  # noqa: ARG002
        return self.usable

    def reap_seconds(self, limit: float) -> float | None:  # noqa: ARG002
        return self.orphan


def host(tmp_path: Path, files: Mapping[str, str] | None = None, **changes: object) -> FakeHost:
    root = tmp_path / "root"
    for name, text in {**SOUND, **(files or {})}.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if text == GONE:
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == root or any(folder.iterdir()):
                    break
                folder.rmdir()
        elif text == FOLDER:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_text(text)
    places = Places(tmp_path / "state", tmp_path / "cache", Path("/tmp/nl"))
    settings: dict[str, object] = {"places": places, "root": root, "environ": {"USER": "kim"}, "euid": os.geteuid()}
    return FakeHost(**{**settings, **changes})  # type: ignore[arg-type]


GONE, FOLDER = "\0gone", "\0folder"
SOUND = {
    "/proc/cpuinfo": "processor: 0\nflags\t\t: fpu vme vmx ept\n",
    "/proc/meminfo": f"MemTotal: {32 << 20} kB\nMemAvailable: {16 << 20} kB\n",
    "/proc/1/comm": "systemd\n",
    "/dev/kvm": "",
    "/dev/net/tun": "",
    "/dev/loop-control": "",
    "/sys/module/kvm_intel/parameters/nested": "Y\n",
    "/sys/module/kvm_intel/parameters/ept": "Y\n",
    "/sys/module/kvm_intel/refcnt": "0\n",
    "/sys/fs/cgroup/cgroup.controllers": "memory\n",
    "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so": "",
    "/usr/share/libvirt/schemas/domain.rng": "",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "",
    "/etc/os-release": "ID=debian\n",
    "/etc/apt/sources.list": "deb http://mirror.example/debian bookworm main\n"
    "deb http://mirror.example/debian-security bookworm-security main\n",
    "/etc/libvirt/qemu.conf": "dynamic_ownership = 0\n",
    "/run/libvirt/libvirt-sock": "",
    "/run/libvirt/virtlogd-sock": "",
    "/run/systemd/system": FOLDER,
}
