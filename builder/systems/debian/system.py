"""A Debian dom0 from a golden image: what the image is made from, what one node gets of its own, what its boot says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builder.model.lab import KernelSettings, Node, XenSettings
from builder.model.plan import File, Quirk, Recipe, SystemPlan
from builder.model.units import MIB
from builder.render.templates import Templates
from builder.systems import dom0
from builder.systems.debian import boot
from builder.systems.debian.network import bridges
from builder.systems.debian.phases import boot as boot_phases
from builder.systems.debian.traits import TRAITS
from builder.systems.fitness import refuse_unknown_release

ROOT_LABEL = "nestlab-root"
# The smallest documented disk is 4 GiB; the EFI partition and the partition table take the rest of it.
ROOT_SIZE = (4096 - 64) * MIB

PACKAGES = (
    "xen-system-amd64",
    "qemu-system-xen",
    "linux-image-amd64",
    "grub-pc",
    "grub-efi-amd64-bin",
    "openssh-server",
    "systemd-sysv",
    "udev",
    "dbus",
    "iproute2",
    "kmod",
    "procps",
    "less",
    "busybox-static",
    "e2fsprogs",
    "fdisk",
    "parted",
    "mdadm",
    "cpio",
    "zstd",
    "pciutils",
)

# Drivers that the initrd may need to reach the root: the documented controller, OVMF's choice, and the others that a
# lab file can ask for.
INITRD_MODULES = ("sym53c8xx", "ata_piix", "ahci", "mptsas", "virtio_blk", "virtio_scsi", "sd_mod", "ext4")

# Template below image/, permission bits.
_IMAGE = (
    ("etc/default/grub.d/00-nestlab.cfg", 0o644),
    ("etc/default/xendomains", 0o644),
    ("etc/xen/xl.conf", 0o644),
    ("etc/ssh/sshd_config.d/00-nestlab.conf", 0o644),
    ("etc/systemd/system/ssh.service.d/nestlab.conf", 0o644),
    ("etc/systemd/system/serial-getty@hvc0.service.d/nestlab.conf", 0o644),
    ("etc/systemd/system/nestlab-network.service", 0o644),
    ("usr/local/lib/nestlab/network", 0o755),
)
_PCIBACK = (
    ("etc/modprobe.d/xen-pciback.conf", 0o644),
    ("etc/systemd/system/nestlab-pciback.service", 0o644),
)
_SEED = ("etc/hostname", "etc/hosts", "etc/nestlab/network")

_QUIRKS = (
    Quirk(
        name="pvh-tsc-mode",
        reason='PVH guests need tsc_mode="native" under emulation: Xen cannot emulate RDTSCP in a nested SVM guest '
        "and ends the guest with 'Insn len emulation failed'. PV guests need nothing.",
        source="measured: Xen 4.17 under QEMU 7.2 TCG",
    ),
    Quirk(
        name="dom0-loglevel",
        reason="the dom0 kernel shows notices and worse only: each character crosses an emulated serial port",
        source="measured: boot times under TCG",
    ),
    Quirk(
        name="dom0-mitigations-off",
        reason="mitigations, audit, AppArmor, SELinux and self-tests are off in dom0 unless kernel.arguments say "
        "otherwise: they cost seconds of each emulated boot and a lab has nothing that they protect",
        source="measured: boot times under TCG; without AppArmor, SELinux would take its place",
    ),
    Quirk(
        name="ssh-after-toolstack",
        reason="sshd starts after Xen's daemons, so that a node which answers can also run xl",
        source="measured: ssh answers 5 s before the first xl list that works",
    ),
    Quirk(
        name="xen-efi-removed",
        reason="xen-*.efi is taken out of /boot: grub-mkconfig makes entries for it that cannot boot",
        source="20_linux_xen of grub-common 2.06 and 2.12",
    ),
)


class Debian:
    """Debian's stable release, or the one before, with the Xen that it ships."""

    traits = TRAITS

    def __init__(self, overrides: Path | None = None) -> None:
        self._templates = Templates("debian", overrides)
        self._images: dict[tuple[XenSettings, KernelSettings], tuple[File, ...]] = {}

    def plan(self, node: Node) -> SystemPlan:
        """Raises LabError for what the release or the firmware cannot do, and for a template that does not render."""
        refuse_unknown_release(node, TRAITS)
        boot.refuse_impossible(node)
        return SystemPlan(
            system=TRAITS.name,
            release=node.release,
            boot_args=boot.boot_args(node),
            recipe=self._recipe(node),
            seed=self._seed(node),
            boots=(boot_phases(),),
            checks=("test_debian_dom0.py",),
            quirks=_QUIRKS,
        )

    def _recipe(self, node: Node) -> Recipe:
        units = ["nestlab-network.service", "serial-getty@hvc0.service"]
        if node.xen.pciback_hide:
            units.append("nestlab-pciback.service")
        return Recipe(
            kind="disk",
            release=node.release,
            elements=("debian-minimal", "nestlab-dom0"),
            packages=PACKAGES,
            modules=INITRD_MODULES,
            files=self._image_files(node),
            configure=(
                ("usermod", "--password", "*", "root"),
                ("systemctl", "enable", *units),
                ("find", "/boot", "-maxdepth", "1", "-name", "xen-*.efi", "-delete"),
                ("grub-mkconfig", "-o", "/boot/grub/grub.cfg"),
            ),
            root_label=ROOT_LABEL,
            root_size=ROOT_SIZE,
        )

    def _image_files(self, node: Node) -> tuple[File, ...]:
        """Rendered once for all nodes with the same settings: they share the image, too."""
        key = (node.xen, node.kernel)
        if key not in self._images:
            wanted = _IMAGE + (_PCIBACK if node.xen.pciback_hide else ())
            values = _image_values(node)
            self._images[key] = tuple(self._file("image", path, mode, values) for path, mode in wanted)
        return self._images[key]

    def _seed(self, node: Node) -> tuple[File, ...]:
        values = {"hostname": node.name, "bridges": bridges(node)}
        return tuple(self._file("seed", path, 0o644, values) for path in _SEED)

    def _file(self, part: str, path: str, mode: int, values: dict[str, Any]) -> File:
        return File(path=f"/{path}", content=self._templates.render(f"{part}/{path}", **values), mode=mode)


def _image_values(node: Node) -> dict[str, Any]:
    xen, xen_default = dom0.hypervisor(node.xen)
    kernel, kernel_default = boot.dom0_kernel(node)
    return {
        "root_label": ROOT_LABEL,
        "serial_speed": dom0.serial_speed(node.xen),
        "bridge": node.xen.bridge,
        "xen": xen,
        "xen_default": xen_default,
        "kernel": kernel,
        "kernel_default": kernel_default,
        "plain_kernel": boot.plain_kernel(node),
        "devices": dom0.pci_devices(node.xen),
    }
