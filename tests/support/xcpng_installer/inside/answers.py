"""The answer file as the installers of 8.2, 8.3 and XenServer 8 take it, what they refuse, and with which words.

Restated from reading and running answerfile.py of host-installer v8.2.1, v10.10.19.xcpng.5 and v10.10.29; written apart
from builder/systems/xcpng/judge, which is stricter on purpose.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .xml_rules import AnswerfileException, attribute, choice, elements, parse, text, truth


@dataclass(frozen=True)
class Rules:
    """In what the releases differ. `sr_types`: the first is the default."""

    release: str
    sr_types: tuple[str, ...]
    large_block: str = ""
    looks_at_sectors: bool = True
    raid: bool = True
    ntp_source: bool = True
    needs_install: bool = False


RULES: Mapping[str, Rules] = {
    "8.2": Rules("8.2", ("lvm", "ext"), looks_at_sectors=False, ntp_source=False, needs_install=True),
    "8.3": Rules("8.3", ("ext", "lvm", "largeblock"), large_block="largeblock"),
    "xs8": Rules("xs8", ("ext", "lvm"), raid=False),
}


@dataclass(frozen=True)
class Host:
    """A host, or the backup of one, that was found: the disk it is on, by device, and what it calls itself."""

    disk: str
    version: str


@dataclass(frozen=True)
class Machine:
    """What the reader of answers looks at. `cards` are addresses by name; `sector` raises OSError for no disk."""

    cards: Mapping[str, str]
    sector: Callable[[str], int]
    real_path: Callable[[str], str]
    hosts: Callable[[], Sequence[Host]] = tuple
    backups: Callable[[], Sequence[Host]] = tuple


@dataclass(frozen=True)
class Source:
    kind: str
    address: str


@dataclass(frozen=True)
class Card:
    """The management interface; `mode` and `mode6` are empty for none."""

    name: str
    mac: str
    mode: str
    ip: str = ""
    netmask: str = ""
    gateway: str = ""
    mode6: str = ""
    ip6: str = ""
    gateway6: str = ""
    vlan: int = 0


@dataclass
class Answers:
    """All that was said, defaults filled in. `hostname` is None when nothing was said."""

    mode: str
    sources: list[Source] = field(default_factory=list)
    raid: dict[str, list[str]] = field(default_factory=dict)
    primary_disk: str = ""
    preserve_first: str = "if-utility"
    guest_disks: list[str] = field(default_factory=list)
    sr_on_primary: bool = True
    sr_at_end: bool = True
    sr_type: str = ""
    card: Card | None = None
    root_password: tuple[str, str] = ("hash", "!!")
    name_servers: list[str] = field(default_factory=list)
    hostname: str | None = None
    timezone: str = "Etc/UTC"
    ntp: str = ""
    ntp_servers: list[str] = field(default_factory=list)
    keymap: str = ""
    services: dict[str, str] = field(default_factory=dict)
    network_backend: str = "openvswitch"
    loader_in: str = "mbr"
    write_boot_entry: bool = True
    check_packages: bool = True
    check_repository: bool = True
    host: Host | None = None
    backup: Host | None = None


class AnswerFile:
    """One file. `scripts` and `setup` are read before `answers`, whose refusal does not keep scripts from running."""

    def __init__(self, content: str | bytes, release: str) -> None:
        self.rules = RULES[release]
        self.root = parse(content)
        if self.root.tag not in ("installation", "upgrade", "restore"):
            raise AnswerfileException("Unexpected top level element")
        self.operation = "restore" if self.root.tag == "restore" else "installation"

    def scripts(self) -> dict[str, list[str]]:
        """Addresses by stage. An unknown stage is kept, and nobody runs it."""
        found: dict[str, list[str]] = {}

        def add(stage: str, kind: str, address: str) -> None:
            nfs = kind == "nfs" and not address.startswith("nfs://")
            found.setdefault(stage, []).append(f"nfs://{address}" if nfs else address)

        for node in elements(self.root, "script"):
            stage = attribute(node, "stage", mandatory=True).lower()
            add(stage, attribute(node, "type", mandatory=True).lower(), text(node))
        for name, stage in (("post-install-script", "filesystem-populated"),
                            ("install-failed-script", "installation-complete")):  # fmt: skip
            old = elements(self.root, name)
            if len(old) == 1:
                add(stage, attribute(old[0], "type").lower(), text(old[0]))
        return found

    def setup(self) -> tuple[list[Source], bool]:
        """Sources of drivers, and whether somebody has to confirm."""
        drivers = _sources(self.root, "driver-source")
        for node in elements(self.root, "fcoe-interface"):
            if not attribute(node, "name") and not attribute(node, "hwaddr"):
                raise AnswerfileException("<fcoe-interface> tag must have one of 'name' or 'hwaddr'")
        prompts = elements(self.root, "ui-confirmation-prompt")
        return drivers, bool(prompts and text(prompts[0]))

    def answers(self, machine: Machine) -> Answers:
        """Raises AnswerfileException, XmlUnwrapError, AssertionError for an address that is empty, OSError for a disk
        that is not there: as the real one does."""
        if self.operation == "restore":
            return _restore(self.root, machine)
        mode = attribute(self.root, "mode") or "fresh"
        made = Answers(mode)
        if mode in ("fresh", "reinstall"):
            _fresh(self.root, made, self.rules, machine)
        elif mode == "upgrade":
            _upgrade(self.root, made, machine)
        else:
            raise AnswerfileException(f"Unknown mode, {mode}")
        _common(self.root, made, self.rules)
        return made


def disk_path(said: str, machine: Machine) -> str:
    """`sda`, /dev/sda and anything below /dev that leads to a disk."""
    if said.startswith("iscsi:"):
        raise AnswerfileException(f"this stand-in has no iSCSI: {said}")
    return machine.real_path(said if said.startswith("/dev/") else f"/dev/{said}")


def _fresh(root: ET.Element, made: Answers, rules: Rules, machine: Machine) -> None:
    if rules.raid:
        for array in elements(root, "raid"):
            device = disk_path(attribute(array, "device", mandatory=True), machine)
            made.raid[device] = [disk_path(text(disk), machine) for disk in elements(array, "disk")]
    _disks(root, made, rules, machine)
    made.card = _card(root, machine)
    for node in elements(root, "root-password")[:1]:
        kind = choice(node, ["type"], {"plaintext": "plaintext", "hash": "hash"}, "plaintext")
        made.root_password = (kind, text(node))
    made.name_servers = [text(node) for node in elements(root, "name-server", "nameserver")]
    for node in elements(root, "hostname")[:1]:
        made.hostname = text(node)
    _time(root, made, rules)
    for node in elements(root, "keymap")[:1]:
        made.keymap = text(node)
    _services(root, made)


def _disks(root: ET.Element, made: Answers, rules: Rules, machine: Machine) -> None:
    node = elements(root, "primary-disk", mandatory=True)[0]
    words = {"true": "true", "yes": "true", "false": "false", "no": "false", "if-utility": "if-utility"}
    made.preserve_first = choice(node, ["preserve-first-partition"], words, "if-utility")
    made.primary_disk = disk_path(text(node), machine)
    guests = [made.primary_disk] if truth(node, ["guest-storage", "gueststorage"], True) else []
    made.sr_at_end = truth(node, ["sr-at-end"], True)
    guests += [disk_path(text(each), machine) for each in elements(root, "guest-disk")]
    made.guest_disks = list(dict.fromkeys(guests))
    made.sr_on_primary = made.primary_disk in made.guest_disks
    large = [disk for disk in made.guest_disks if machine.sector(disk) > 512] if rules.looks_at_sectors else []
    default = rules.large_block if rules.large_block and large else rules.sr_types[0]
    made.sr_type = choice(root, ["sr-type", "srtype"], {name: name for name in rules.sr_types}, default)
    if rules.large_block and large and made.sr_type != rules.large_block:
        raise AnswerfileException(f"{', '.join(large)} not compatible with SR type {made.sr_type}")


def _card(root: ET.Element, machine: Machine) -> Card:
    node = elements(root, "admin-interface", mandatory=True)[0]
    name = attribute(node, "name")
    mac = machine.cards.get(name, "")
    if not mac:
        mac = attribute(node, "hwaddr")
        found = [each for each, address in machine.cards.items() if mac and address == mac.lower()]
        name = found[0] if len(found) == 1 else name
    if not name and not mac:
        raise AnswerfileException("<admin-interface> tag must have one of 'name' or 'hwaddr'")
    mode = attribute(node, "proto", mandatory=True)
    ip = netmask = gateway = ip6 = gateway6 = ""
    if mode == "static":
        ip = text(elements(node, "ip", "ipaddr", mandatory=True)[0])
        netmask = text(elements(node, "subnet-mask", "subnet", mandatory=True)[0])
        gateway = text(elements(node, "gateway", mandatory=True)[0])
        # The real one asserts, without a word.
        assert ip
        assert netmask
    mode6 = attribute(node, "protov6")
    if mode6 == "static":
        ip6 = text(elements(node, "ipv6", mandatory=True)[0])
        gateway6 = text(elements(node, "gatewayv6", mandatory=True)[0])
        assert ip6
    vlan = attribute(node, "vlan")
    if vlan and not (re.fullmatch(r"[0-9]+", vlan) and 1 <= int(vlan) <= 4094):
        raise AnswerfileException("Invalid value for vlan attribute specified.")
    mode = mode if mode in ("static", "dhcp") else ""
    mode6 = mode6 if mode6 in ("static", "dhcp", "autoconf") else ""
    if not mode and not mode6:
        raise AnswerfileException("<admin-interface> tag must have IPv4 or IPv6 defined.")
    return Card(name, mac.lower(), mode, ip, netmask, gateway, mode6, ip6, gateway6, int(vlan or 0))


def _time(root: ET.Element, made: Answers, rules: Rules) -> None:
    for node in elements(root, "timezone")[:1]:
        made.timezone = text(node)
    made.ntp_servers = [text(node) for node in elements(root, "ntp-server", "ntp-servers")]
    if not rules.ntp_source:
        made.ntp = "manual" if made.ntp_servers else "default"
        return
    said = elements(root, "ntp")
    if len(said) > 1:
        raise AnswerfileException(f"Expected zero or one <ntp> elements but found {len(said)}")
    if said:
        made.ntp = attribute(said[0], "source", mandatory=True)
        if made.ntp not in ("dhcp", "default", "manual", "none"):
            raise AnswerfileException("Expected <ntp> source to be one of (dhcp, default, manual, none)")
    elif made.ntp_servers:
        made.ntp = "manual"
    else:
        made.ntp = "dhcp" if made.card is not None and made.card.mode == "dhcp" else "default"
    if made.ntp_servers and made.ntp != "manual":
        raise AnswerfileException('<ntp-server> elements are only valid when using <ntp source="manual" />')


def _services(root: ET.Element, made: Answers) -> None:
    for node in elements(root, "service"):
        name = attribute(node, "name", mandatory=True)
        if name in made.services:
            raise AnswerfileException(f"Multiple entries for service {name}")
        state = attribute(node, "state", mandatory=True)
        if state not in ("enabled", "disabled"):
            raise AnswerfileException(f"Invalid state for service {name}: {state}")
        made.services[name] = state


def _upgrade(root: ET.Element, made: Answers, machine: Machine) -> None:
    node = elements(root, "existing-installation", mandatory=True)[0]
    made.primary_disk = disk_path(text(node), machine)
    found = [host for host in machine.hosts() if host.disk == made.primary_disk]
    if not found:
        raise AnswerfileException("Could not locate the installation specified to be reinstalled.")
    made.host = found[0]
    named = elements(root, "primary-disk")
    if len(named) == 1:
        made.primary_disk = disk_path(text(named[0]), machine)


def _restore(root: ET.Element, machine: Machine) -> Answers:
    backups = list(machine.backups())
    if not backups:
        raise AnswerfileException("Could not locate exsisting backup.")
    named = elements(root, "backup-disk")
    if len(named) == 1:
        wanted = disk_path(text(named[0]), machine)
        backups = [backup for backup in backups if backup.disk == wanted]
    if len(backups) > 1:
        raise AnswerfileException("Multiple backups were found. Unable to deduce which backup to restore from.")
    if not backups:
        raise AnswerfileException("Unable to find a backup to restore.")
    return Answers("restore", primary_disk=backups[0].disk, backup=backups[0])


def _common(root: ET.Element, made: Answers, rules: Rules) -> None:
    if rules.release == "8.2":
        made.check_packages = made.check_repository = truth(root, ["netinstall-gpg-check"], True)
    else:
        made.check_packages = truth(root, ["gpgcheck"], True)
        made.check_repository = truth(root, ["repo-gpgcheck"], True)
    made.sources = _sources(root, "source", mandatory=True)
    for node in elements(root, "network-backend")[:1]:
        words = {"bridge": "bridge", "openvswitch": "openvswitch", "vswitch": "openvswitch"}
        made.network_backend = words.get(text(node), made.network_backend)
    for node in elements(root, "bootloader")[:1]:
        made.loader_in = choice(node, ["location"], {"mbr": "mbr", "partition": "partition"}, "mbr")
        made.write_boot_entry = truth(node, ["write-boot-entry"], True)
        if text(node) not in ("", "grub2"):
            raise AnswerfileException(f"Unsupported bootloader '{text(node)}'")


def _sources(root: ET.Element, name: str, *, mandatory: bool = False) -> list[Source]:
    found = []
    for node in elements(root, name, mandatory=mandatory):
        kind = attribute(node, "type", mandatory=True)
        if kind not in ("local", "url", "nfs"):
            raise AnswerfileException(f"Invalid type for <{name}> media specified.")
        address = "" if kind == "local" else text(node)
        if kind == "url" and address.startswith("nfs://"):
            kind, address = "nfs", address.removeprefix("nfs://")
        found.append(Source(kind, address))
    return found
