"""What is decided for an XCP-ng host: its answer file, the scripts beside it, and arguments for both layers."""

from __future__ import annotations

import ipaddress

from builder.errors import LabError
from builder.model.lab import Node
from builder.model.plan import Answer, BootArgs, MediaEdit, Quirk, SystemPlan
from builder.render.templates import Templates
from builder.systems.fitness import refuse_uninstallable, stop_at_errors
from builder.systems.machine import Machine, machine_of
from builder.systems.pieces import refuse_services
from builder.systems.xcpng.answer import RAID_DEVICE, Stage, answer_file, has_guest_storage
from builder.systems.xcpng.arguments import (
    REMOVED,
    host_hypervisor,
    host_kernel,
    installer_hypervisor,
    installer_kernel,
)
from builder.systems.xcpng.judge import judge_answers, judge_arguments, judge_host, judge_script
from builder.systems.xcpng.options import XcpngInstall
from builder.systems.xcpng.phases import boots
from builder.systems.xcpng.releases import RELEASES, Release
from builder.systems.xcpng.traits import TRAITS

ANSWER = "answerfile.xml"
BRIDGE = "xenbr0"
VOLUME = "NESTLAB"
"""Label of the volume whose `seed/` is laid over the host's files."""

# Settings of `install:` by the modes in which the installer reads them: answerfile.py, parseUpgrade and parseRestore.
_OF_FRESH = (
    "sr_type", "guest_storage", "guest_disks", "preserve_first_partition", "hostname", "ntp", "ntp_source", "timezone",
    "keyboard", "root_password", "root_keys", "services_on", "services_off",
)  # fmt: skip
_OF_PACKAGES = ("sources", "drivers", "check_signatures", "check_repository", "network_backend")

_QUIRKS = (
    Quirk(
        name="log-on-console",
        reason="rt_answerfile instead of answerfile: no screens, and the installer's log on the console, by which the "
        "installation is followed; a restore would wait at its last screen otherwise",
        source="host-installer init; xcp-ng-tests",
    ),
    Quirk(
        name="memory-after-install",
        reason="dom0's memory is set by xen-cmdline in the host's files: no answer file can",
        source="python-libs xcp/dom0.py; host-installer backend.py runs the script after the boot loader is written",
    ),
)
_RAID_QUIRK = Quirk(
    name="raid-without-storage",
    reason="no local storage on the array: the installer would look at the array's block size before it makes it, and "
    "stop with 'No such file or directory'",
    source="measured with the installer's own parser, 8.3",
)


def plan(node: Node, templates: Templates) -> SystemPlan:
    """See `Xcpng.plan`."""
    refuse_uninstallable(node, TRAITS)
    release = RELEASES[node.release]
    options = XcpngInstall.model_validate(node.install)
    machine = machine_of(node, options.disk_names, options.devices)
    _refuse(node, options, release, machine)
    delivery = options.delivery or ("served" if options.served_at else "initrd")
    base = (options.served_at or "") if delivery == "served" else "file:///"
    scripts = _scripts(node, options, templates)
    stages = [Stage(stage, base + name) for stage, name, _ in scripts]
    text = answer_file(node, options, release, machine, stages)
    kernel = installer_kernel(
        options, machine, base + ANSWER,
        (*(s.address for s in stages), *(options.sources if options.mode != "restore" else ()), *options.drivers),
    )  # fmt: skip
    hypervisor = installer_hypervisor(node)
    findings = [*judge_answers(text, release.name, machine), *judge_arguments(hypervisor, kernel, release.name, text)]
    for _, name, content in scripts:
        findings += judge_script(name, content, release.name)
    findings += judge_host(node, zfs=options.zfs, address=options.network.address)
    stop_at_errors(node, "the answers", findings)
    way = "http" if delivery == "served" else "initrd"
    quirks = (*_QUIRKS, *((_RAID_QUIRK,) if node.raid and not has_guest_storage(node, options, release) else ()))
    return SystemPlan.model_validate({
        "system": TRAITS.name,
        "release": node.release,
        "answers": [Answer.model_validate({"name": name, "content": content, "delivery": way})
                    for name, content in ((ANSWER, text), *((name, content) for _, name, content in scripts))],
        "media_edits": [MediaEdit(kind="arguments", arguments=kernel, remove=REMOVED),
                        MediaEdit(kind="arguments", arguments=hypervisor, layer="hypervisor")],
        "boot_args": BootArgs(hypervisor=host_hypervisor(node), kernel=host_kernel(node)),
        "boots": boots(options.mode, options.end),
        "checks": ["test_xcpng.py"],
        "quirks": quirks,
        "findings": findings,
    })  # fmt: skip


def _scripts(node: Node, options: XcpngInstall, templates: Templates) -> list[tuple[str, str, str]]:
    """(stage, name, content) of every script: ours, then the user's in their order."""
    made = []
    if options.mode == "fresh":
        text = templates.render(
            "filesystem-populated.sh", volume=VOLUME, root_keys=options.root_keys,
            hypervisor=host_hypervisor(node), kernel=host_kernel(node),
        )  # fmt: skip
        made.append(("filesystem-populated", "filesystem-populated.sh", text))
    made.append(("installation-complete", "installation-complete.sh", templates.render("installation-complete.sh")))
    own = (
        ("installation-start", options.at_start),
        ("filesystem-populated", options.at_files),
        ("installation-complete", options.at_end),
    )
    for stage, scripts in own:
        for number, script in enumerate(scripts, 1):
            made.append((stage, f"{stage}-{number}", script.file.content))
    return made


def _refuse(node: Node, options: XcpngInstall, release: Release, machine: Machine) -> None:
    what = f"{node.name}: install"
    if node.xen.bridge != BRIDGE:
        raise LabError(
            f"{node.name}: xen.bridge: {release.title} names its bridges itself, and eth0's is {BRIDGE}",
            hint="leave bridge out",
        )
    _refuse_unread(options, what)
    _refuse_disks(node, options, release, what)
    network = options.network
    if network.card >= len(machine.cards):
        raise LabError(
            f"{what}.network: there is no card {network.card}", hint=f"the last one is {len(machine.cards) - 1}"
        )
    if network.address is not None and ipaddress.ip_interface(network.address).version != 4:
        raise LabError(f"{what}.network.address is IPv4", hint="write an IPv6 address as address6")
    if network.gateway is not None and network.address is None:
        raise LabError(f"{what}.network: a gateway comes with an address; DHCP gives its own", hint="add address:")
    if (network.gateway6 is None) != (network.address6 is None):
        raise LabError(f"{what}.network: address6 and gateway6 come together", hint="add the other one")
    if not options.sources and options.mode != "restore":
        raise LabError(f"{what}.sources names no place of packages", hint="leave it out: the medium has them")
    if options.sr_type not in release.sr_types:
        raise LabError(f"{what}.sr_type: {release.title} has no {options.sr_type}", hint=", ".join(release.sr_types))
    if options.ntp_source is not None and not release.ntp_source:
        raise LabError(f"{what}.ntp_source: {release.title} cannot be told", hint="leave it out; ntp: names servers")
    if options.ntp and options.ntp_source not in (None, "manual"):
        raise LabError(
            f"{what}: servers and ntp_source {options.ntp_source} exclude each other", hint="keep one of them"
        )
    if options.ntp_source == "manual" and not options.ntp:
        raise LabError(f"{what}.ntp_source manual needs servers", hint="add ntp: [...]")
    refuse_services(options.services_on, options.services_off, what)
    if options.delivery == "served" and options.served_at is None:
        raise LabError(f"{what}.delivery served needs served_at", hint="add served_at: http://host/folder/")


def _refuse_unread(options: XcpngInstall, what: str) -> None:
    """The installer of an upgrade or a restore takes over what the host has."""
    unread = () if options.mode == "fresh" else _OF_FRESH + (_OF_PACKAGES if options.mode == "restore" else ())
    said = [name for name in unread if name in options.model_fields_set]
    if said:
        raise LabError(
            f"{what}.{said[0]}: nothing reads it with mode {options.mode}, which takes over what the host has",
            hint=f"leave out: {', '.join(said)}",
        )


def _refuse_disks(node: Node, options: XcpngInstall, release: Release, what: str) -> None:
    names = [disk.name for disk in node.disks]
    if len(node.raid) > 1 or any(array.level != 1 for array in node.raid):
        raise LabError(f"{node.name}: the installer makes one RAID1 array, the system's", hint="one array of level 1")
    members = node.raid[0].disks if node.raid else ()
    if node.raid and not release.raid:
        raise LabError(f"{node.name}: {release.title}'s installer makes no arrays", hint="remove raid:")
    if node.raid and node.disks[0].name not in members:
        raise LabError(
            f"{node.name}: the array {node.raid[0].name} does not hold the first disk", hint=f"add {names[0]}"
        )
    if node.raid and options.guest_storage and release.raid_needs_no_sr:
        raise LabError(
            f"{what}.guest_storage: {release.title} looks for {RAID_DEVICE} before it has made it, and stops",
            hint="leave guest_storage out, and put the storage on guest_disks",
        )
    taken = set(members) | {names[0]}
    for index, name in enumerate(options.guest_disks):
        if name not in names:
            raise LabError(f"{what}.guest_disks: the node has no disk {name}", hint=f"disks: {', '.join(names)}")
        if name in taken or name in options.guest_disks[:index]:
            raise LabError(f"{what}.guest_disks: {name} is taken already", hint="name other disks, once each")
