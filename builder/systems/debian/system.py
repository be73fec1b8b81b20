"""A Debian dom0: from a golden image (what it is made from, what one node gets of its own, what its boot says), or
installed from a medium."""

from __future__ import annotations

from pathlib import Path

from builder.model.lab import KernelSettings, MediumSource, Node, XenSettings
from builder.model.plan import File, Recipe, SystemPlan
from builder.model.units import MIB
from builder.render.templates import Templates
from builder.systems.debian import boot, files
from builder.systems.debian.phases import boot as boot_phases
from builder.systems.debian.served import served_files, served_packages, served_setup
from builder.systems.debian.traits import TRAITS
from builder.systems.fitness import refuse_unknown_release
from builder.systems.guests.files import guest_files, guest_packages

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

_IDENTITY = ("etc/hostname", "etc/hosts")


class Debian:
    """Debian's stable release, or the one before, with the Xen that it ships."""

    traits = TRAITS

    def __init__(self, overrides: Path | None = None) -> None:
        self._templates = Templates("debian", overrides)
        self._images: dict[tuple[XenSettings, KernelSettings], tuple[File, ...]] = {}

    def plan(self, node: Node) -> SystemPlan:
        """Raises LabError for what the release or the firmware cannot do, for a template that does not render, and for
        answers that would end an installation or leave it waiting: also for those from a user's template."""
        refuse_unknown_release(node, TRAITS)
        boot.refuse_impossible(node)
        if isinstance(node.source, MediumSource):
            from builder.systems.debian.planning import plan  # noqa: PLC0415 - labs with images should not pay for it

            return plan(node, self._templates)
        return SystemPlan(
            system=TRAITS.name,
            release=node.release,
            boot_args=boot.boot_args(node),
            recipe=self._recipe(node),
            seed=self._seed(node),
            boots=(boot_phases(),),
            checks=_checks(node),
            quirks=files.QUIRKS,
        )

    def _recipe(self, node: Node) -> Recipe:
        return Recipe(
            kind="disk",
            release=node.release,
            elements=("debian-minimal", "nestlab-dom0"),
            packages=tuple(dict.fromkeys((*PACKAGES, *guest_packages(node), *served_packages(node), *node.packages))),
            modules=INITRD_MODULES,
            files=self._image_files(node),
            configure=(
                ("usermod", "--password", "*", "root"),
                ("systemctl", "enable", *files.units(node)),
                *served_setup(node),
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
            self._images[key] = files.host_files(self._templates, node, root_label=ROOT_LABEL)
        return self._images[key]

    def _seed(self, node: Node) -> tuple[File, ...]:
        identity = (files.render(self._templates, "seed", path, 0o644, {"hostname": node.name}) for path in _IDENTITY)
        guests = guest_files(node, self._templates.overrides)
        return (*identity, files.bridge_table(self._templates, node), *guests, *served_files(node))


def _checks(node: Node) -> tuple[str, ...]:
    guests = ("test_guests.py",) if node.guests else ()
    storage = ("test_storage_node.py",) if node.storage else ()
    return ("test_debian_dom0.py", *guests, *storage, *(("test_iommu.py",) if node.iommu else ()))
