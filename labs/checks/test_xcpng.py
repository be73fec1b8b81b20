"""What an XCP-ng host must be after its unattended installation, asked of the running host: `nestlab test LAB`.

What is expected comes from the lab file. Most of it is read from Linux itself and from the files that the installer
writes; what only the toolstack knows is asked of `xe`, and left out with that reason where there is none.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest
import testinfra.host

from builder.model.lab import Node
from builder.systems.machine import SERIAL_LENGTH
from builder.systems.xcpng.options import XcpngInstall

Host = testinfra.host.Host
MIB = 1 << 20
NO_XAPI = "no xe here: this host has no XAPI"
FIRST_BOOT = "/etc/firstboot.d/data"
# Size in MiB and type of each partition, by what it is for: host-installer constants.py and disktools.py.
SIZES = {"logs": 4096, "backup": 18432, "root": 18432, "boot": 512, "swap": 1024}
DATA, SWAP, LVM = (
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",
    "e6d6d379-f507-44c2-a23c-238f2a3df928",
)  # fmt: skip
BOOT = {"bios": "21686148-6449-6e6f-744e-656564454649", "uefi": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"}
KINDS = {"logs": DATA, "backup": DATA, "root": DATA, "swap": SWAP, "storage": LVM}


# What programs print


def records(text: str) -> list[dict[str, str]]:
    """`xe ...-list` in its long form: `name ( RO)    : value` lines, an empty line between two records."""
    found: list[dict[str, str]] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        pairs = re.findall(r"^\s*([a-zA-Z0-9-]+) \( ?(?:RO|RW|SRO|SRW|MRO|MRW)\)\s*: ?(.*)$", block, re.MULTILINE)
        if pairs:
            found.append({name: value.strip() for name, value in pairs})
    return found


def settings(text: str) -> dict[str, str]:
    """`NAME='value'` lines, as in the inventory and in the files for the first boot."""
    pairs = re.findall(r"^([A-Za-z0-9_]+)=(.*)$", text, re.MULTILINE)
    return {name: value.strip().strip("'\"") for name, value in pairs}


@dataclass(frozen=True)
class Entry:
    """One entry of the boot menu: words of Xen's line and of dom0's, each without the file's name."""

    title: str
    label: str
    hypervisor: tuple[str, ...]
    kernel: tuple[str, ...]


def menu(text: str) -> tuple[list[Entry], Entry]:
    """All entries of a grub.cfg of XCP-ng, and the one that is started by default."""
    entries = []
    for title, body in re.findall(r"^menuentry '([^']*)'[^{]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        label = re.search(r"search --label --set root (\S+)", body)
        xen = re.search(r"^\s*multiboot2 \S+ ?(.*)$", body, re.MULTILINE)
        dom0 = re.search(r"^\s*module2 \S*vmlinuz\S* ?(.*)$", body, re.MULTILINE)
        words = [tuple(found[1].split()) if found else () for found in (xen, dom0)]
        entries.append(Entry(title, label[1] if label else "", *words))
    chosen = re.search(r"^set default=['\"]?(\d+)", text, re.MULTILINE)
    return entries, entries[int(chosen[1]) if chosen else 0]


def export(text: str) -> dict[str, str]:
    """`blkid -o export`: NAME=value lines."""
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


# What is asked for


@pytest.fixture(scope="module")
def install(node: Node) -> XcpngInstall:
    return XcpngInstall.model_validate(node.install)


@pytest.fixture(scope="module")
def told(host: Host) -> dict[str, str]:
    """What the installer told the first boot of the management interface."""
    return settings(host.check_output("cat %s", f"{FIRST_BOOT}/management.conf"))


@pytest.fixture(scope="module")
def inventory(host: Host) -> dict[str, str]:
    return settings(host.check_output("cat /etc/xensource-inventory"))


@pytest.fixture(scope="module")
def xe(host: Host, patience: float) -> None:
    """Only where there is XAPI, once it has finished its start."""
    if host.run("command -v xe").failed:
        pytest.skip(NO_XAPI)
    host.check_output("xapi-wait-init-complete %s", str(int(120 * patience)))


def system_disk(host: Host, node: Node) -> str:
    """The disk, or the array, that the root file system is on: sda, md127."""
    device = host.check_output('awk \'$2 == "/" && $1 ~ "^/dev/" {print $1; exit}\' /proc/mounts')
    return re.sub(r"(?<=\d)p\d+$|(?<=[a-z])\d+$", "", PurePosixPath(host.check_output("readlink -f %s", device)).name)


def default_entry(host: Host, node: Node) -> Entry:
    path = "/boot/efi/EFI/xenserver/grub.cfg" if node.firmware == "uefi" else "/boot/grub/grub.cfg"
    return menu(host.check_output("cat %s", path))[1]


def admin_mac(node: Node, install: XcpngInstall) -> str:
    return [node.management_mac, *(nic.mac for nic in node.nics)][install.network.card]


# The host and what it was started with


def test_the_host_is_the_release_that_was_asked_for(node: Node, inventory: dict[str, str]) -> None:
    wanted = {"8.2": "8.2.", "8.3": "8.3.", "xs8": "8.4."}[node.release]
    assert inventory["PRODUCT_VERSION"].startswith(wanted)
    assert inventory["INSTALLATION_UUID"] and inventory["CONTROL_DOMAIN_UUID"]


def test_this_is_the_control_domain_of_xen(host: Host) -> None:
    assert host.check_output("cat /sys/hypervisor/type") == "xen"
    assert "control_d" in host.check_output("cat /proc/xen/capabilities")


def test_firmware_is_the_one_that_was_asked_for(host: Host, node: Node) -> None:
    assert host.run("test -d /sys/firmware/efi").succeeded == (node.firmware == "uefi")


def test_dom0_has_the_memory_that_was_asked_for(host: Host, node: Node) -> None:
    wanted = node.xen.dom0_memory
    assert f"dom0_mem={wanted // MIB}M,max:{wanted // MIB}M" in default_entry(host, node).hypervisor
    assert int(host.check_output("cat /sys/devices/system/xen_memory/xen_memory0/target_kb")) * 1024 == wanted


def test_dom0_has_the_vcpus_that_were_asked_for(host: Host, node: Node) -> None:
    assert f"dom0_max_vcpus={node.xen.dom0_max_vcpus}" in default_entry(host, node).hypervisor
    assert int(host.check_output("nproc")) == node.xen.dom0_max_vcpus


def test_the_default_boot_entry_is_the_serial_one_with_what_was_asked_for(host: Host, node: Node) -> None:
    entry = default_entry(host, node)
    assert entry.title.endswith("(Serial)")
    assert f"com1={node.xen.com1}" in entry.hypervisor
    assert set(node.xen.arguments) <= set(entry.hypervisor)
    assert set(node.kernel.arguments) <= set(entry.kernel)
    assert f"root=LABEL={entry.label}" in entry.kernel
    assert set(entry.kernel) <= set(host.check_output("cat /proc/cmdline").split())


def test_xen_was_started_with_the_words_of_the_menu(host: Host, node: Node) -> None:
    if host.run("command -v xl").failed:
        pytest.skip("no xl here to ask the hypervisor for its command line")
    line = re.search(r"^xen_commandline\s*: (.*)$", host.check_output("xl info"), re.MULTILINE)
    assert line and set(default_entry(host, node).hypervisor) <= set(line[1].split())


# Disks


def wanted_parts(node: Node, *, storage: bool) -> dict[int, str]:
    """What each partition is for, by number. Without storage the boot partition is the third."""
    return {1: "root", 2: "backup", **({3: "storage", 4: "boot"} if storage else {3: "boot"}), 5: "logs", 6: "swap"}


def test_the_system_disk_is_laid_out_as_documented(host: Host, node: Node) -> None:
    disk = system_disk(host, node)
    first = f"{disk}p" if disk[-1].isdigit() else disk
    names = host.check_output("ls /sys/block/%s", disk).split()
    there = {int(name.removeprefix(first)): name for name in names if re.fullmatch(rf"{first}\d+", name)}
    for number, role in wanted_parts(node, storage=4 in there).items():
        size = int(host.check_output("cat /sys/class/block/%s/size", there[number])) * 512
        kind = export(host.check_output("blkid -p -o export %s", f"/dev/{there[number]}"))["PART_ENTRY_TYPE"]
        assert kind == {**KINDS, "boot": BOOT[node.firmware]}[role], role
        assert role == "storage" or size == SIZES[role] * MIB, role
    assert len(there) == len(wanted_parts(node, storage=4 in there))


def test_storage_is_on_the_system_disk_only_where_it_was_asked_for(
    host: Host, node: Node, install: XcpngInstall, inventory: dict[str, str]
) -> None:
    wanted = install.guest_storage if install.guest_storage is not None else not (node.raid and node.release == "8.3")
    assert ("SR" in inventory["PARTITION_LAYOUT"].split(",")) == wanted


def test_file_systems_are_mounted_by_the_labels_of_this_host(host: Host, node: Node) -> None:
    suffix = default_entry(host, node).label.removeprefix("root-")
    disk = system_disk(host, node)
    mounts = {row.split()[1]: row.split()[0] for row in host.check_output("cat /proc/mounts").splitlines()}
    wanted = {"/": f"root-{suffix}", "/var/log": f"logs-{suffix}"}
    wanted |= {"/boot/efi": f"BOOT-{suffix.upper()}"} if node.firmware == "uefi" else {}
    for point, label in wanted.items():
        device = host.check_output("readlink -f %s", mounts[point])
        assert PurePosixPath(device).name.startswith(disk)
        assert export(host.check_output("blkid -p -o export %s", device))["LABEL"] == label
    assert len(host.check_output("cat /proc/swaps").splitlines()) == 2


def test_the_array_has_its_members_and_none_is_missing(host: Host, node: Node) -> None:
    if not node.raid:
        assert not system_disk(host, node).startswith("md")
        return
    (array,) = node.raid
    folder = f"/sys/block/{system_disk(host, node)}"
    assert host.check_output("cat %s/md/level", folder) == "raid1"
    assert host.check_output("cat %s/md/metadata_version", folder) == "1.0"
    assert host.check_output("cat %s/md/degraded", folder) == "0"
    # By serial number, which is the disk's name in the lab: kernels do not always give the same names.
    pages = [f"/sys/block/{name}/device/vpd_pg80" for name in host.check_output("ls %s/slaves", folder).split()]
    serials = {host.check_output("tail -c +5 %s", page).strip() for page in pages}
    assert (serials, len(pages)) == ({name[:SERIAL_LENGTH] for name in array.disks}, len(array.disks))


def test_the_first_boot_was_told_of_the_storage_that_was_asked_for(
    host: Host, node: Node, install: XcpngInstall, inventory: dict[str, str]
) -> None:
    disks = len(install.guest_disks) + ("SR" in inventory["PARTITION_LAYOUT"].split(","))
    if not disks:
        assert host.run("test -e %s", f"{FIRST_BOOT}/default-storage.conf").failed
        return
    said = settings(host.check_output("cat %s", f"{FIRST_BOOT}/default-storage.conf"))
    assert said["XSTYPE"] == install.sr_type
    assert len(said["XSPARTITIONS"].split()) == disks


def test_the_storage_repository_is_there_and_attached(host: Host, install: XcpngInstall, xe: None) -> None:
    found = records(host.check_output("xe sr-list name-label='Local storage' params=uuid,type,content-type"))
    if install.guest_storage is False and not install.guest_disks:
        assert found == []
        return
    (repository,) = found
    assert repository["type"] == install.sr_type
    pbds = records(host.check_output("xe pbd-list sr-uuid=%s params=uuid,currently-attached", repository["uuid"]))
    assert [pbd["currently-attached"] for pbd in pbds] == ["true"]


# Network, names, time


def link_of(host: Host, mac: str) -> Sequence[str]:
    """Interfaces with that address: the card, and the bridge that took it over."""
    shown = host.check_output("cd /sys/class/net; for n in *; do echo $n $(cat $n/address); done")
    return [name for name, *address in (line.split() for line in shown.splitlines()) if address == [mac]]


def test_the_management_card_is_the_one_that_was_asked_for(
    host: Host, node: Node, install: XcpngInstall, told: dict[str, str]
) -> None:
    assert told["LABEL"] in link_of(host, admin_mac(node, install))
    assert told["MODE"] == ("static" if install.network.address else "dhcp")
    assert told.get("VLAN", "") == str(install.network.vlan or "")


def test_the_management_interface_has_its_address(host: Host, node: Node, install: XcpngInstall) -> None:
    names = link_of(host, admin_mac(node, install))
    shown = [line.split() for line in host.check_output("ip -o -4 addr show").splitlines()]
    given = {words[3]: words[1] for words in shown if words[2] == "inet" and words[1] in names}
    if install.network.address is None:
        assert given
        return
    assert install.network.address in given
    assert given[install.network.address].startswith(("xenbr", "xapi"))
    if install.network.gateway is not None:
        routes = host.check_output("ip route show").splitlines()
        assert any(route.startswith(f"default via {install.network.gateway} ") for route in routes)


def test_names_are_looked_up_where_it_was_asked_for(host: Host, install: XcpngInstall) -> None:
    text = host.check_output("cat /etc/resolv.conf")
    servers = re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)
    if install.network.nameservers:
        assert servers == list(install.network.nameservers)
    else:
        assert all(ipaddress.ip_address(server) for server in servers) and servers


def test_the_host_has_its_name(host: Host, node: Node, install: XcpngInstall) -> None:
    wanted = install.hostname or node.name
    assert host.check_output("hostname").partition(".")[0] == wanted.partition(".")[0]
    assert host.check_output("cat /etc/hostname") == wanted


def test_time_comes_from_where_it_was_asked_for(host: Host, install: XcpngInstall) -> None:
    found = re.findall(r"^server\s+(\S+)", host.check_output("cat /etc/chrony.conf"), re.MULTILINE)
    if install.ntp:
        assert found == list(install.ntp)
    elif install.ntp_source == "default":
        assert found


def test_time_zone_and_keyboard_are_those_that_were_asked_for(host: Host, install: XcpngInstall) -> None:
    assert host.check_output("readlink /etc/localtime").endswith(f"/zoneinfo/{install.timezone}")
    assert f"KEYMAP={install.keyboard}" in host.check_output("cat /etc/vconsole.conf").splitlines()


def test_the_network_backend_is_the_one_that_was_asked_for(host: Host, install: XcpngInstall) -> None:
    assert host.check_output("cat /etc/xensource/network.conf") == (install.network_backend or "openvswitch")


# Who gets in, and what listens


def test_root_has_the_keys_and_the_password_that_were_asked_for(host: Host, install: XcpngInstall) -> None:
    """The script of the stage filesystem-populated wrote the keys: that this check runs at all is its effect, too."""
    keys = host.check_output("cat /root/.ssh/authorized_keys").splitlines()
    assert set(install.root_keys) <= set(keys)
    assert host.check_output("stat -c %a /root/.ssh /root/.ssh/authorized_keys").split() == ["700", "600"]
    shadow = {row.split(":")[0]: row.split(":")[1] for row in host.check_output("cat /etc/shadow").splitlines()}
    assert shadow["root"] == (install.root_password or "*")


def test_services_are_on_and_off_as_asked_for(host: Host, install: XcpngInstall) -> None:
    if host.run("command -v systemctl").failed:
        pytest.skip("no systemd here")
    states: Mapping[str, str] = {
        **dict.fromkeys(install.services_on, "enabled"), **dict.fromkeys(install.services_off, "disabled")
    }  # fmt: skip
    assert {name: host.run("systemctl is-enabled %s", name).stdout.strip() for name in states} == states


def test_a_tls_listener_shows_the_certificate_of_this_host(host: Host, patience: float) -> None:
    """XAPI's port. The certificate that is shown is the one in the file."""
    file = host.check_output("openssl x509 -noout -fingerprint -sha256 -in /etc/xensource/xapi-ssl.pem")
    ask = "openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256"
    deadline = time.monotonic() + 15 * patience
    while (shown := host.run(ask)).failed and time.monotonic() < deadline:
        time.sleep(1)
    assert shown.stdout.strip().casefold() == file.casefold()


def test_the_installers_log_was_kept_and_tells_of_no_failure(host: Host) -> None:
    log = host.check_output("cat /var/log/installer/install-log")
    assert "The installation completed successfully" in log
    assert "INSTALL FAILED" not in log
    assert "nestlab: the host script failed" not in log


# The toolstack


def test_xapi_finished_its_first_start(host: Host, xe: None) -> None:
    (me,) = records(host.check_output("xe host-list params=uuid,enabled,name-label"))
    assert me["enabled"] == "true"
    assert {"ran-network-init", "ran-storage-init"} <= set(host.check_output("ls /var/lib/misc").split())


def test_xapi_knows_the_management_interface(host: Host, install: XcpngInstall, xe: None) -> None:
    (card,) = records(host.check_output("xe pif-list management=true params=uuid,device,IP,IP-configuration-mode,DNS"))
    assert card["IP-configuration-mode"].lower() == ("static" if install.network.address else "dhcp")
    if install.network.address:
        assert card["IP"] == str(ipaddress.ip_interface(install.network.address).ip)
