"""The files of the installed host that come from the answers, by the names and in the words of the real installer.

From reading host-installer backend.py. First-boot services of the real host read them; here an init of our own does.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .answers import Answers
from .disks import EFI_SYSTEM, Part, partition
from .tools import Tools

FIRST_BOOT = "etc/firstboot.d/data"
MODES = {"static": "static", "dhcp": "dhcp", "autoconf": "autoconf", "": "none"}


@dataclass(frozen=True)
class Product:
    """What the medium calls itself."""

    brand: str
    version: str
    platform_version: str


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_names(root: Path, answers: Answers) -> None:
    """Host name, its domain as what is searched, name servers, keyboard, time zone."""
    name = answers.hostname if answers.hostname is not None else "localhost.localdomain"
    write(root / "etc/hostname", name)
    domain = name.partition(".")[2]
    lines = [f"search {domain}"] if domain and answers.hostname is not None else []
    lines += [f"nameserver {server}" for server in answers.name_servers if server]
    if lines:
        write(root / "etc/resolv.conf", *lines)
    write(root / "etc/vconsole.conf", f"KEYMAP={answers.keymap or 'us'}")
    link = root / "etc/localtime"
    link.unlink(missing_ok=True)
    link.symlink_to(f"../usr/share/zoneinfo/{answers.timezone}")


def write_network(root: Path, answers: Answers) -> None:
    card = answers.card
    assert card is not None
    write(root / "etc/xensource/network.conf", answers.network_backend)
    lines = [f"LABEL='{card.name}'", f"MODE='{MODES[card.mode]}'"]
    if card.mode == "static":
        lines += [f"IP='{card.ip}'", f"NETMASK='{card.netmask}'"]
        lines += [f"GATEWAY='{card.gateway}'"] if card.gateway else []
    lines.append(f"MODEV6='{MODES[card.mode6]}'")
    if card.mode6 == "static":
        lines.append(f"IPv6='{card.ip6}'")
        lines += [f"IPv6_GATEWAY='{card.gateway6}'"] if card.gateway6 else []
    lines += [f"DNS='{','.join(answers.name_servers)}'"] if answers.name_servers else []
    domain = (answers.hostname or "").partition(".")[2]
    lines += [f"DOMAIN='{domain}'"] if domain else []
    lines += [f"VLAN='{card.vlan}'"] if card.vlan else []
    write(root / FIRST_BOOT / "management.conf", *lines)


def write_time(root: Path, answers: Answers) -> None:
    """chrony's servers are replaced with DHCP and with servers of one's own, and left with the default."""
    path = root / "etc/chrony.conf"
    lines = path.read_text().splitlines()
    if answers.ntp in ("dhcp", "manual"):
        lines = [line for line in lines if not line.startswith("server ")]
        lines += [f"server {server} iburst" for server in answers.ntp_servers]
    write(path, *lines)
    script = root / "etc/dhcp/dhclient.d/chrony.sh"
    script.chmod(0o755 if answers.ntp == "dhcp" else 0o644)


def write_storage(root: Path, answers: Answers, storage: str) -> None:
    """What the first boot makes a repository of. `storage` is the partition for it on the system's disk."""
    disks = [storage if disk == answers.primary_disk else disk for disk in answers.guest_disks]
    if disks:
        said = " ".join(disks)
        write(root / FIRST_BOOT / "default-storage.conf", f"XSPARTITIONS='{said}'", f"XSTYPE='{answers.sr_type}'",
              f"PARTITIONS='{said}'", f"TYPE='{answers.sr_type}'")  # fmt: skip


def write_fstab(root: Path, parts: Sequence[Part], suffix: str) -> None:
    lines = [f"LABEL=root-{suffix}    /         ext3     defaults   1  1"]
    if any(part.kind == EFI_SYSTEM for part in parts):
        lines.append(f"LABEL=BOOT-{suffix.upper()}    /boot/efi         vfat     defaults   0  2")
    lines.append(f"LABEL=swap-{suffix}          swap      swap   defaults   0  0")
    lines.append(f"LABEL=logs-{suffix}    /var/log         ext3     defaults   0  2")
    write(root / "etc/fstab", *lines)


def write_inventory(
    root: Path, product: Product, disk: str, *, storage: bool, memory: int, uuids: Sequence[str]
) -> None:
    """`memory` is dom0's, in MiB; `uuids` are the installation's and dom0's."""
    write(
        root / "etc/xensource-inventory",
        f"PRODUCT_BRAND='{product.brand}'",
        f"PRODUCT_VERSION='{product.version}'",
        "PLATFORM_NAME='XCP'",
        f"PLATFORM_VERSION='{product.platform_version}'",
        f"PARTITION_LAYOUT='ROOT,BACKUP,LOG,BOOT,SWAP{',SR' if storage else ''}'",
        f"PRIMARY_DISK='{disk}'",
        f"BACKUP_PARTITION='{partition(disk, 2)}'",
        f"INSTALLATION_UUID='{uuids[0]}'",
        f"CONTROL_DOMAIN_UUID='{uuids[1]}'",
        f"DOM0_MEM='{memory}'",
        "MANAGEMENT_INTERFACE=''",
        "MANAGEMENT_ADDRESS_TYPE='IPv4'",
        # Of the stand-in's own, so that nobody takes the host for a real one.
        "STAND_IN='nestlab tests'",
    )


def new_uuids() -> tuple[str, str]:
    return str(uuid.uuid4()), str(uuid.uuid4())


def set_password(tools: Tools, root: Path, kind: str, password: str) -> None:
    """Never logged. The line of root in /etc/shadow is written anew."""
    said = tools.run("mkpasswd", "-m", "sha512", stdin=password).strip() if kind == "plaintext" else password
    path = root / "etc/shadow"
    rest = [line for line in path.read_text().splitlines() if not line.startswith("root:")]
    write(path, f"root:{said}:1::::::", *rest)
    path.chmod(0o600)


def set_services(root: Path, services: dict[str, str]) -> None:
    """The init here has no units: what was asked is kept as links, by systemd's names."""
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for name, state in services.items():
        link = wants / f"{name}.service"
        link.unlink(missing_ok=True)
        if state == "enabled":
            link.symlink_to(f"/usr/lib/systemd/system/{name}.service")
