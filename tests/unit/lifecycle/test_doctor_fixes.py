"""What doctor says of a host on which one thing is wrong, and the line that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.lifecycle.doctor import CHECKS, row
from builder.lifecycle.doctor_ground import Medium, Needs
from builder.lifecycle.doctor_tools import TOOLS
from tests.unit.lifecycle.fake_host import ALL_PROGRAMS, FOLDER, GONE, host

MEDIA = (
    Medium("a", "/media/a.iso"),
    Medium("b", "b: its installation medium x.iso is not there", "export NESTLAB_ISO_SUSE_16=/path/to/FILE.iso"),
)
EVERYTHING = Needs(uefi=True, builds_disk=True, builds_initramfs=True, media=MEDIA, connection="system")
APT = "apt-get install --no-install-recommends"
QEMU_SAYS = "qemu-system-x86_64 --version"
DRIVER = "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so"
INTEL = "/sys/module/kvm_intel"
AMD = {
    "/proc/cpuinfo": "flags : svm npt\n",
    "/sys/module/kvm_amd/parameters/nested": "0",
    "/sys/module/kvm_amd/parameters/npt": "1",
    "/sys/module/kvm_amd/refcnt": "3",
    f"{INTEL}/parameters/nested": GONE,
    f"{INTEL}/parameters/ept": GONE,
    f"{INTEL}/refcnt": GONE,
}
CONTAINER = {"/.dockerenv": ""}


def without(*programs: str) -> dict[str, object]:
    return {"programs": ALL_PROGRAMS - set(programs)}


def prints(argv: str, text: str | None) -> dict[str, object]:
    return {"outputs": {argv: text}}


@dataclass(frozen=True)
class Case:
    """`name` of the row on a sound host with `files` and `settings` changed; `fix` is a part of it, '' for none."""

    name: str
    status: str
    seen: str
    fix: str
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    user: bool = False


CASES = (
    Case("python", "missing", "Python 3.10", "python3.11", settings={"python": (3, 10)}),
    Case("encoding", "warn", "ISO-8859-1", "export LC_ALL=C.UTF-8", settings={"name": "ISO-8859-1"}),
    Case("folders", "missing", "cannot be written", "export NESTLAB_STATE=", settings={"usable": False}),
    Case("media", "missing", "x.iso is not there", "export NESTLAB_ISO_SUSE_16="),
    Case("libvirt binding", "missing", "No module named", f"{APT} gcc pkg-config", settings={"libvirt": None}),
    Case("libvirt binding", "warn", "libvirt 8.0.3", "upgrade", settings={"libvirt": 8_000_003}),
    Case("libvirt QEMU driver", "missing", "no libvirt_driver_qemu.so", f"sudo {APT} libvirt-daemon-driver-qemu",
         {DRIVER: GONE}, user=True),
    Case("libvirt schemas", "missing", "no /usr", f"{APT} libvirt0", {"/usr/share/libvirt/schemas/domain.rng": GONE}),
    Case("qemu", "missing", "no qemu-system", f"{APT} qemu-system-x86", settings=without("qemu-system-x86_64")),
    Case("qemu", "warn", "QEMU 6.2.0", "upgrade", settings=prints(QEMU_SAYS, "version 6.2.0")),
    Case("qemu", "unknown", "'hello'", "--version", settings=prints(QEMU_SAYS, "hello")),
    Case("machine types", "missing", "has no pc", APT, settings=prints("qemu-system-x86_64 -machine help", "q35 x\n")),
    Case("machine types", "unknown", "does not list", "", settings=prints("qemu-system-x86_64 -machine help", None)),
    Case("ssh", "missing", "no ssh-keygen", f"{APT} openssh-client", settings=without("ssh-keygen")),
    Case("ovmf", "missing", "no OVMF", f"{APT} ovmf", {"/usr/share/OVMF/OVMF_CODE_4M.fd": GONE}),
    Case("package sources", "missing", "no Debian package source", "export NESTLAB_DEBIAN_MIRROR=",
         {"/etc/os-release": "ID=ubuntu\n"}),
    Case("package sources", "warn", "no security updates", "-security",
         {"/etc/apt/sources.list": "deb http://mirror.example/debian bookworm main\n"}),
    Case("archive keyring", "missing", "no /usr", f"{APT} debian-archive-keyring",
         {"/usr/share/keyrings/debian-archive-keyring.gpg": GONE}),
    Case("disk-image-create", "missing", "no disk", "pip install", settings=without("disk-image-create")),
    Case("e2fsprogs", "missing", "no debugfs", f"{APT} e2fsprogs", settings=without("debugfs")),
    Case("root", "missing", "no sudo", f"{APT} sudo", settings=without("sudo")),
    Case("root", "missing", "no sudo", f"su -c '{APT} sudo'", settings=without("sudo"), user=True),
    Case("root", "missing", "a password", "nestlab image build LAB", settings=prints("sudo -n true", None), user=True),
    Case("loop device", "missing", "no /dev/loop", "sudo modprobe loop", {"/dev/loop-control": GONE}, user=True),
    Case("loop device", "missing", "no /dev/loop", "--privileged", {"/dev/loop-control": GONE, **CONTAINER}),
    Case("cpu", "warn", "neither vmx nor svm", "firmware setup", {"/proc/cpuinfo": "flags : fpu\n"}),
    Case("cpu", "warn", "neither vmx nor svm", "host-passthrough", {"/proc/cpuinfo": "flags : fpu hypervisor\n"}),
    Case("cpu", "unknown", "cannot be read", "", {"/proc/cpuinfo": GONE}),
    Case("kvm device", "warn", "no /dev/kvm", "sudo modprobe kvm_intel", {"/dev/kvm": GONE}, user=True),
    Case("kvm device", "warn", "no /dev/kvm", "modprobe kvm_amd", {**AMD, "/dev/kvm": GONE}),
    Case("kvm device", "warn", "no /dev/kvm", "--device /dev/kvm", {"/dev/kvm": GONE, **CONTAINER}),
    Case("kvm device", "warn", "may not be used", "sudo usermod -aG kvm kim", settings={"usable": False}, user=True),
    Case("nested kvm", "warn", "kvm_intel nested=N: nodes get no vmx",
         "modprobe -r kvm_intel && modprobe kvm_intel nested=1    # for now; only with no VM running\n"
         "echo 'options kvm_intel nested=1' > /etc/modprobe.d/nestlab-kvm_intel.conf    # for good",
         {f"{INTEL}/parameters/nested": "N"}),
    Case("nested kvm", "warn", "kvm_amd nested=0: nodes get no svm", "with no VM running: 3 in use right now", AMD),
    Case("nested kvm", "warn", "kvm_amd", "sudo sh -c 'modprobe -r kvm_amd && modprobe kvm_amd nested=1'", AMD,
         user=True),
    Case("nested paging", "warn", "kvm_intel ept=N", "ept=1 nested=1", {f"{INTEL}/parameters/ept": "N"}),
    Case("nested paging", "unknown", "does not tell", "", {f"{INTEL}/parameters/ept": GONE}),
    Case("process 1", "warn", "process 1 (systemd) is slow", "tini -s", settings={"orphan": None}),
    Case("process 1", "warn", "is slow", "--init", {"/run/.containerenv": ""}, {"orphan": None}),
    Case("cgroups", "warn", "none", "mount -t cgroup2", {"/sys/fs/cgroup/cgroup.controllers": GONE}),
    Case("confinement", "warn", "SELinux", "restorecon", {"/sys/fs/selinux/enforce": "1"}),
    Case("libvirt daemon", "missing", "no virtlogd-sock", "sudo systemctl start virtlogd libvirtd",
         {"/run/libvirt/virtlogd-sock": GONE, "/run/systemd/system": FOLDER}, user=True),
    Case("daemon access", "missing", "may not be used", "sudo usermod -aG libvirt kim",
         settings={"usable": False}, user=True),
    Case("file ownership", "warn", "changes the owner",
         "echo 'dynamic_ownership = 0' >> /etc/libvirt/qemu.conf && systemctl restart libvirtd",
         {"/etc/libvirt/qemu.conf": "#dynamic_ownership = 0\n"}),
    Case("tun device", "missing", "no /dev/net/tun", "mkdir -p /dev/net && mknod /dev/net/tun c 10 200",
         {"/dev/net/tun": GONE}),
    Case("tun device", "missing", "no /dev/net/tun", "--device /dev/net/tun --cap-add NET_ADMIN",
         {"/dev/net/tun": GONE, **CONTAINER}),
    Case("bridges", "missing", "no ip", f"{APT} iproute2", settings=without("ip")),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.seen}")
def test_what_is_found_and_how_it_is_mended(case: Case, tmp_path: Path) -> None:
    (check,) = [check for check in CHECKS if check.name == case.name]
    ground = host(tmp_path, case.files, **{"euid": 1000 if case.user else 0, **case.settings})
    found = row(check, ground, EVERYTHING)
    assert found.status == case.status
    assert case.seen in found.seen
    assert case.fix in found.fix
    assert bool(found.fix) == bool(case.fix)


def test_every_row_that_can_be_missing_has_a_case() -> None:
    """A row whose fix nobody has ever seen may well be wrong. Rows with tests of their own stand in test_doctor."""
    elsewhere = {"memory", "cores", "disk space", "runtime folder", "lingering", "dead labs", "storage access"}
    plain = {tool.name for tool in TOOLS}
    assert {check.name for check in CHECKS} - {case.name for case in CASES} - plain == elsewhere
