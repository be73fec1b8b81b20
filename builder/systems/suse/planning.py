"""What is decided for a SUSE host: its answers, and how they get to the installer."""

from __future__ import annotations

from builder.errors import LabError
from builder.model.lab import Node
from builder.model.plan import Answer, BootArgs, MediaEdit, Quirk, SystemPlan
from builder.render.templates import Templates
from builder.systems.dom0 import refuse_dom0_memory
from builder.systems.fitness import refuse_uninstallable, stop_at_errors
from builder.systems.machine import Machine, machine_of
from builder.systems.pieces import refuse_services, refuse_users
from builder.systems.suse import agama, autoyast
from builder.systems.suse.arguments import REMOVED, VOLUME, delivery_of, dom0_line, hypervisor_line, installer_line
from builder.systems.suse.files import host_files, scripts
from builder.systems.suse.judge import judge_agama, judge_arguments, judge_autoyast
from builder.systems.suse.network import interfaces
from builder.systems.suse.options import SuseInstall
from builder.systems.suse.phases import boots
from builder.systems.suse.releases import RELEASES, Release
from builder.systems.suse.storage import storage_of
from builder.systems.suse.traits import TRAITS

_XEN_BY_DEFAULT = Quirk(
    name="xen-by-default",
    reason="a script makes Xen's entry the one that is started: GRUB lists the kernel without Xen first",
    source="20_linux_xen comes after 10_linux; yast-bootloader writes the entry that grubenv names (sections.rb)",
)
_EXPERIMENTAL = Quirk(
    name="agama-experimental",
    reason="nobody promises that SUSE's releases 16 carry a Xen host at all: Agama's products offer kvm_server and no "
    "pattern for Xen, and Agama cannot be told a hypervisor's arguments",
    source="agama d2870eef: products.d/leap_160.yaml and sles_160.yaml; agama_drive_planner.rb: 'the plan for SLE/Leap "
    "16 is to drop XEN support'",
)
_CARD_NAMES = Quirk(
    name="card-names",
    reason="bridges, bonds and VLANs name cards, so that cards are called eth0, eth1, ... in the order of their slots",
    source="agama-network, model.rs: a port is a connection's interface or id, never a hardware address",
)
_MENU = Quirk(
    name="medium-starts-disk",
    reason="started by a BIOS, the medium's menu has 'Boot from Hard Disk' as the one that starts by itself: where the "
    "disk is not blank, the installer must be chosen by hand",
    source="agama d2870eef live/config-cdroot/fix_bootconfig.x86_64, for releases 16; not checked on a medium of 15",
)
_ESP_COPIES = Quirk(
    name="esp-copies",
    reason="each disk of the array has an EFI system partition of its own; the host's first start copies the boot "
    "loader to those that are not mounted",
    source="yast-storage-ng, boot_requirements_strategies/uefi.rb: an ESP on RAID1 is not guaranteed to boot",
)


def plan(node: Node, templates: Templates) -> SystemPlan:
    """See `Suse.plan`."""
    refuse_uninstallable(node, TRAITS)
    refuse_dom0_memory(node)
    release = RELEASES[node.release]
    options = SuseInstall.model_validate(node.install)
    machine = machine_of(node, options.disk_names, options.devices)
    _refuse(node, options, release, machine)
    storage = storage_of(node, options, release, machine)
    network = interfaces(node, options.network, machine)
    given = host_files(node, options, templates), scripts(node, options, release, storage, templates)
    if release.installer == "autoyast":
        name = autoyast.ANSWER
        text = autoyast.profile(node, options, release, (machine, storage, network), given, templates)
        found = judge_autoyast(text, release.name, machine)
    else:
        name = agama.ANSWER
        text = agama.profile(node, options, release, (storage, network), given)
        found = judge_agama(text, release.name, machine)
    installer = installer_line(node, options, release, name)
    findings = (*found, *judge_arguments(installer, release.name))
    stop_at_errors(node, "the profile", findings)
    quirks = [_XEN_BY_DEFAULT]
    quirks += [_EXPERIMENTAL, _CARD_NAMES] if release.experimental else []
    quirks += [_MENU] if node.firmware == "bios" else []
    quirks += [_ESP_COPIES] if storage.copies_of_esp else []
    return SystemPlan.model_validate({
        "system": TRAITS.name,
        "release": node.release,
        "answers": [Answer.model_validate({"name": name, "content": text, "delivery": delivery_of(options)})],
        "media_edits": [MediaEdit(kind="arguments", arguments=installer, remove=REMOVED)],
        "boot_args": BootArgs(hypervisor=hypervisor_line(node), kernel=dom0_line(node, release)),
        "boots": boots(release, options.end),
        "quirks": quirks,
        "findings": findings,
        "volume_label": VOLUME,
    })  # fmt: skip


def _refuse(node: Node, options: SuseInstall, release: Release, machine: Machine) -> None:
    what = f"{node.name}: install"
    refuse_users(options.users, what)
    if (options.delivery == "http") != (options.served_at is not None):
        raise LabError(f"{what}: delivery http and served_at come together", hint="add served_at: http://host/folder")
    if release.installer == "agama":
        _refuse_of_agama(node, options, machine, what)
    if options.registration is not None and not release.product.startswith("SLES"):
        raise LabError(f"{what}.registration: {release.title} is not registered", hint="use repositories")
    if options.modules is not None and not release.modules:
        raise LabError(f"{what}.modules: {release.title}'s medium has none", hint="use repositories")
    refuse_services(options.services_on, options.services_off, what)


def _refuse_of_agama(node: Node, options: SuseInstall, machine: Machine, what: str) -> None:
    if options.delivery == "initrd":
        raise LabError(
            f"{what}.delivery: Agama runs from the medium's live system, which does not see the initrd's files",
            hint="leave delivery out, or write iso or http",
        )
    if not machine.cards_in_order:
        raise LabError(
            f"{node.name}: cards of different models get their names in an order that nobody can tell beforehand",
            hint="use one model for all cards",
        )
