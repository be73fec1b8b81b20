"""The files that make a Debian system a Xen host: the same ones in a golden image and on a host that was installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.model.lab import Node
from builder.model.plan import File, Quirk
from builder.render.templates import Templates
from builder.systems import dom0
from builder.systems.debian import boot
from builder.systems.debian.network import bridges

# Template below image/, permission bits.
_HOST = (
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
# Of disks, and of the controllers that a keyboard may hang on. initramfs-tools puts what they wait for beside them.
_INITRD_DRIVERS = (
    *("ahci", "ata_piix", "megaraid_sas", "mpt3sas", "mptsas", "mptspi", "nvme", "sym53c8xx"),
    *("ehci_pci", "ohci_pci", "uhci_hcd", "xhci_pci"),
)
BRIDGES = "etc/nestlab/network"
"""Of one node alone: which bridges it has over which cards."""

QUIRKS = (
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


def host_files(templates: Templates, node: Node, *, root_label: str | None) -> tuple[File, ...]:
    """What hosts with the same settings share. `root_label` is of a root file system that is found by its label; None
    leaves that to grub-mkconfig."""
    values = _values(node) | {"root_label": root_label}
    wanted = _HOST + (_PCIBACK if node.xen.pciback_hide else ())
    return tuple(render(templates, "image", path, mode, values) for path, mode in wanted)


def bridge_table(templates: Templates, node: Node) -> File:
    return render(templates, "seed", BRIDGES, 0o644, {"bridges": bridges(node)})


def units(node: Node) -> tuple[str, ...]:
    """What systemd is to start."""
    pciback = ("nestlab-pciback.service",) if node.xen.pciback_hide else ()
    return ("nestlab-network.service", "serial-getty@hvc0.service", *pciback)


def render(templates: Templates, part: str, path: str, mode: int, values: Mapping[str, Any]) -> File:
    """The file /`path`, from the template of that path below `part`."""
    return File(path=f"/{path}", content=templates.render(f"{part}/{path}", **values), mode=mode)


def _values(node: Node) -> dict[str, Any]:
    xen, xen_default = dom0.hypervisor(node.xen)
    kernel, kernel_default = boot.dom0_kernel(node)
    return {
        "serial_speed": dom0.serial_speed(node.xen),
        "bridge": node.xen.bridge,
        "xen": xen,
        "xen_default": xen_default,
        "kernel": kernel,
        "kernel_default": kernel_default,
        "plain_kernel": boot.plain_kernel(node),
        "devices": dom0.pci_devices(node.xen),
        "initrd_drivers": _INITRD_DRIVERS,
    }
