"""What a Debian host with Xen must be, asked of the running host: `nestlab test LAB` runs this.

What is expected comes from the lab file, by way of the `node` fixture; nothing here knows how the host was made.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import testinfra.host

from builder.model.lab import Nic, Node

Host = testinfra.host.Host

XEN_OF_RELEASE = {"12": "4.17", "13": "4.20"}
CARD_DRIVERS = {"e1000": "e1000", "e1000e": "e1000e", "rtl8139": "8139cp", "virtio": "virtio_net"}
DISK_DRIVERS = {
    "lsilogic": "sym53c8xx", "lsisas1068": "mptsas", "ide": "ata_piix", "sata": "ahci", "virtio": "virtio-pci",
}  # fmt: skip
SECTORS = {"512n": (512, 512), "512e": (512, 4096), "4Kn": (4096, 4096)}
MIB = 1 << 20


def lines(host: Host, command: str, *words: str) -> list[str]:
    return str(host.check_output(command, *words)).splitlines()


def fields(host: Host, command: str) -> dict[str, str]:
    """`name : value` lines of a command."""
    pairs = (line.partition(":") for line in lines(host, command))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


@pytest.fixture(scope="module")
def xl_info(host: Host) -> dict[str, str]:
    return fields(host, "xl info")


@pytest.fixture(scope="module")
def kernel_arguments(host: Host) -> list[str]:
    return str(host.check_output("cat /proc/cmdline")).split()


def in_order(wanted: list[str], found: list[str]) -> bool:
    """Every wanted word is there, each after the one before."""
    rest = iter(found)
    return all(word in rest for word in wanted)


# The hypervisor


def test_this_is_the_control_domain_of_xen(host: Host) -> None:
    assert host.check_output("cat /sys/hypervisor/type") == "xen"
    assert "control_d" in host.check_output("cat /proc/xen/capabilities")


def test_xen_is_the_releases_own(node: Node, xl_info: dict[str, str]) -> None:
    assert xl_info["xen_version"].startswith(XEN_OF_RELEASE[node.release] + ".")


def test_xen_was_started_with_what_was_asked_for(node: Node, xl_info: dict[str, str]) -> None:
    xen = node.xen
    size = f"{xen.dom0_memory // 1024}K" if xen.dom0_memory % MIB else f"{xen.dom0_memory // MIB}M"
    wanted = [f"dom0_mem={size},max:{size}", f"dom0_max_vcpus={xen.dom0_max_vcpus}"]
    wanted += ["dom0_vcpus_pin"] if xen.dom0_vcpus_pin else []
    wanted += [f"com1={xen.com1}", f"console={xen.console}"]
    wanted += [f"loglvl={xen.loglvl}"] if xen.loglvl else []
    wanted += [f"guest_loglvl={xen.guest_loglvl}"] if xen.guest_loglvl else []
    wanted += ["noreboot"] if xen.noreboot else []
    wanted += xen.arguments
    found = xl_info["xen_commandline"].split()
    assert in_order(wanted, found), f"{wanted} is not in {found}"
    assert ("noreboot" in found) == ("noreboot" in wanted)
    assert ("dom0_vcpus_pin" in found) == ("dom0_vcpus_pin" in wanted)


def test_xen_says_so_itself(host: Host, xl_info: dict[str, str]) -> None:
    told = [line for line in lines(host, "xl dmesg") if "Command line:" in line]
    if not told:
        pytest.skip("the hypervisor's log has wrapped round since it started")
    assert told[0].partition("Command line:")[2].split() == xl_info["xen_commandline"].split()


def test_dom0_has_exactly_the_memory_that_was_asked_for(host: Host, node: Node) -> None:
    wanted = node.xen.dom0_memory
    assert dom0_memory(host) == wanted // MIB
    assert int(host.check_output("cat /sys/devices/system/xen_memory/xen_memory0/target_kb")) * 1024 == wanted


def dom0_memory(host: Host) -> int:
    """MiB that dom0 has now, as the toolstack sees it."""
    return int(lines(host, "xl list 0")[1].split()[2])


def test_dom0_has_the_vcpus_that_were_asked_for_pinned_or_not(host: Host, node: Node) -> None:
    rows = [line.split() for line in lines(host, "xl vcpu-list 0")[1:]]
    assert [int(row[2]) for row in rows] == list(range(node.xen.dom0_max_vcpus))
    assert int(host.check_output("nproc")) == node.xen.dom0_max_vcpus
    hard_affinity = [" ".join(row[6:]).partition("/")[0].strip() for row in rows]
    if node.xen.dom0_vcpus_pin:
        assert hard_affinity == [str(number % node.cpus) for number in range(node.xen.dom0_max_vcpus)]
    else:
        assert set(hard_affinity) == {"all"}


def test_guests_of_every_kind_can_be_run(xl_info: dict[str, str]) -> None:
    assert {"pv", "hvm"} <= set(xl_info["virt_caps"].split())


def test_the_machine_is_as_large_as_was_asked_for(node: Node, xl_info: dict[str, str]) -> None:
    assert int(xl_info["nr_cpus"]) == node.cpus
    # the firmware keeps some of it for itself
    assert 0.96 < int(xl_info["total_memory"]) * MIB / node.memory <= 1


# dom0's kernel and services


def test_dom0s_kernel_was_given_its_arguments(node: Node, kernel_arguments: list[str]) -> None:
    assert in_order(["console=hvc0", *node.kernel.arguments], kernel_arguments)


def test_hidden_devices_are_kept_from_dom0(host: Host, node: Node) -> None:
    for device in node.xen.pciback_hide:
        address = device if device.count(":") == 2 else f"0000:{device}"
        driver = host.check_output("readlink /sys/bus/pci/devices/%s/driver", address)
        assert PurePosixPath(driver).name == "pciback"


def test_the_console_is_xens_and_has_a_getty(host: Host) -> None:
    assert any(line.split()[0] == "hvc0" for line in lines(host, "cat /proc/consoles"))
    assert host.check_output("systemctl is-active serial-getty@hvc0.service") == "active"
    assert "agetty" in host.check_output("ps -o comm= -t hvc0")


def test_nothing_failed_to_start(host: Host, patience: float) -> None:
    deadline = time.monotonic() + 30 * patience
    while host.run("systemctl is-system-running").stdout.strip() == "starting" and time.monotonic() < deadline:
        time.sleep(2)
    assert host.run("systemctl --failed --plain --no-legend").stdout == ""
    assert host.run("systemctl is-system-running").stdout.strip() == "running"


def test_firmware_is_the_one_that_was_asked_for(host: Host, node: Node) -> None:
    assert host.run("test -d /sys/firmware/efi").succeeded == (node.firmware == "uefi")


# Cards and disks


def cards(node: Node) -> list[tuple[str, Nic | None, str, str, int]]:
    """Bridge, lab card (none for the management card), MAC, driver and MTU of every card, in order."""
    match = re.fullmatch(r"(.*?)([0-9]*)", node.xen.bridge)
    assert match is not None
    stem, first = match[1], int(match[2] or 0)
    management = (node.xen.bridge, None, node.management_mac, CARD_DRIVERS[node.management_nic], 1500)
    return [
        management,
        *((f"{stem}{first + n}", nic, nic.mac, CARD_DRIVERS[nic.model], nic.mtu) for n, nic in enumerate(node.nics, 1)),
    ]


@pytest.fixture(scope="module")
def links(host: Host) -> dict[str, dict[str, Any]]:
    """Every network interface by name, as `ip` describes it."""
    return {link["ifname"]: link for link in json.loads(host.check_output("ip -json -details address show"))}


@pytest.fixture(scope="module")
def card_names(host: Host) -> dict[str, str]:
    """The name of each card by its MAC: what has a device below it, so no bridge and no VLAN."""
    shown = lines(host, "cd /sys/class/net; for d in */device; do echo ${d%%/*} $(cat ${d%%/*}/address); done")
    return {mac: name for name, mac in (line.split() for line in shown)}


def given(link: dict[str, Any]) -> set[str]:
    """Addresses that somebody gave, without those that IPv6 makes up by itself."""
    return {f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"] if each["scope"] == "global"}


def test_every_bridge_carries_its_card(
    node: Node, links: dict[str, dict[str, Any]], card_names: dict[str, str]
) -> None:
    for bridge, _, mac, _, mtu in cards(node):
        assert links[card_names[mac]]["master"] == bridge
        assert (links[card_names[mac]]["mtu"], links[bridge]["mtu"]) == (mtu, mtu)
        assert given(links[card_names[mac]]) == set()


def test_bridges_and_vlans_have_their_addresses(node: Node, links: dict[str, dict[str, Any]]) -> None:
    for bridge, nic, *_ in cards(node):
        if nic is None:
            assert given(links[bridge])
            continue
        assert given(links[bridge]) == set(nic.addresses)
        for vlan in nic.trunk:
            assert given(links[f"{bridge}.{vlan}"]) == set(nic.vlan_addresses.get(vlan, ()))


def test_cards_are_run_by_the_documented_drivers(host: Host, node: Node, card_names: dict[str, str]) -> None:
    for _, _, mac, driver, _ in cards(node):
        path = host.check_output("readlink -f /sys/class/net/%s/device/driver", card_names[mac])
        assert PurePosixPath(path).name == driver


def test_disks_hang_on_the_controllers_that_were_asked_for(host: Host, node: Node) -> None:
    shown = json.loads(host.check_output("lsblk --json --bytes --nodeps --output NAME,TYPE,SIZE,LOG-SEC,PHY-SEC"))
    found = []
    for disk in shown["blockdevices"]:
        if disk["type"] != "disk":
            continue
        path = host.check_output("readlink -f /sys/class/block/%s", disk["name"])
        controller = re.findall(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", path)[-1]
        driver = PurePosixPath(host.check_output("readlink /sys/bus/pci/devices/%s/driver", controller)).name
        found.append((driver, int(disk["size"]), (disk["log-sec"], disk["phy-sec"])))
    wanted = [(DISK_DRIVERS[disk.bus], disk.size, SECTORS[disk.sector]) for disk in node.disks]
    assert sorted(found) == sorted(wanted)


# Who gets in


def test_nobody_has_a_password(host: Host) -> None:
    assert lines(host, "passwd -S root")[0].split()[1] == "L"
    hashes = {line.split(":")[0]: line.split(":")[1] for line in lines(host, "cat /etc/shadow")}
    assert [name for name, value in hashes.items() if value[:1] not in ("*", "!")] == []


def test_sshd_offers_nothing_but_keys(node: Node, ssh_config: Path, patience: float) -> None:
    """Asked as a stranger would: without our key, over a connection of its own."""
    options = ["-o", "ControlPath=none", "-o", "PreferredAuthentications=none"]
    refused = subprocess.run(
        ["ssh", "-F", ssh_config, *options, node.name, "true"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30 * patience, check=False,
    )  # fmt: skip
    assert refused.returncode == 255
    assert "Permission denied (publickey)." in refused.stderr


# The toolstack


def test_the_toolstack_does_not_balloon_and_knows_the_bridge(host: Host, node: Node) -> None:
    settings = lines(host, "cat /etc/xen/xl.conf")
    assert 'autoballoon="off"' in settings
    assert f'vif.default.bridge="{node.xen.bridge}"' in settings


def test_guests_are_neither_saved_nor_restored_with_the_host(host: Host) -> None:
    told = host.check_output(
        '. /etc/default/xendomains; echo "[$XENDOMAINS_SAVE] [$XENDOMAINS_MIGRATE] [$XENDOMAINS_RESTORE]"'
    )
    assert told == "[] [] [false]"


GUEST_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
for word in $(/bin/busybox cat /proc/cmdline); do
    case "$word" in nonce=*) echo "guest: ${word#nonce=}" ;; esac
done
while :; do /bin/busybox sleep 3600; done
"""

# What Linux runs when its hypervisor asks it to shut down.
GUEST_POWEROFF = """\
#!/bin/busybox sh
echo "guest: asked to power off" >/dev/console
exec /bin/busybox poweroff -f
"""

GUEST_CONFIG = """\
name = "{name}"
type = "pv"
kernel = "/boot/vmlinuz-{kernel}"
ramdisk = "{folder}/initrd"
memory = 192
vcpus = 1
vif = [ "mac=00:16:3e:00:00:01" ]
extra = "console=hvc0 nonce={nonce}"
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
"""


def write(host: Host, path: str, text: str) -> None:
    host.check_output("printf '%%s' %s > %s", text, path)


@pytest.fixture
def guest(host: Host) -> Iterator[tuple[str, str]]:
    """Name and nonce of a PV guest that is created but does not run yet; what it prints goes to FOLDER/console."""
    name, nonce = f"check-{secrets.token_hex(4)}", secrets.token_hex(16)
    folder = f"/run/nestlab-{name}"
    kernel = host.check_output("uname -r")
    host.check_output("mkdir -p %s/root/bin %s/root/sbin %s/root/proc %s/root/dev", *[folder] * 4)
    write(host, f"{folder}/root/init", GUEST_INIT)
    write(host, f"{folder}/root/sbin/poweroff", GUEST_POWEROFF)
    write(host, f"{folder}/guest.cfg", GUEST_CONFIG.format(name=name, nonce=nonce, kernel=kernel, folder=folder))
    host.check_output(
        "cd %s/root && cp /bin/busybox bin/ && chmod 755 init sbin/poweroff && mknod dev/console c 5 1"
        " && find . | busybox cpio -o -H newc > ../initrd",
        folder,
    )
    try:
        host.check_output("xl create -p %s/guest.cfg", folder)
        # It ends with the guest, or with its standard input; in a session of its own, so that both can be ended.
        host.check_output(
            "setsid sh -c 'sleep 900 | xl console %s' > %s/console 2>&1 < /dev/null & echo $! > %s/pid",
            name, folder, folder,
        )  # fmt: skip
        yield name, nonce
    finally:
        host.run("xl destroy %s; kill -- -$(cat %s/pid); rm -rf %s", name, folder, folder)


def console(host: Host, name: str) -> str:
    """What it said so far. A console carries bytes, and not all of them need be text."""
    told = host.run("cat /run/nestlab-%s/console", name)
    assert told.succeeded, told
    return str(told.stdout_bytes.decode(errors="replace")).replace("\r", "")


def wait_for(what: Callable[[], bool], seconds: float) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def test_a_guest_runs_on_real_xen_and_is_shut_down(
    host: Host, node: Node, guest: tuple[str, str], patience: float
) -> None:
    """A PV guest prints what only it was told, and `xl shutdown` ends it: nobody destroys it."""
    name, nonce = guest
    before = dom0_memory(host)
    domid = host.check_output("xl domid %s", name)
    assert f"vif{domid}.0" in lines(host, "ls /sys/class/net/%s/brif", node.xen.bridge)
    host.check_output("xl unpause %s", name)
    assert wait_for(lambda: f"guest: {nonce}\n" in console(host, name), 30 * patience), console(host, name)
    assert dom0_memory(host) == before, "dom0 was ballooned to make room for the guest"

    host.check_output("xl shutdown %s", name)
    assert wait_for(lambda: host.run("xl domid %s", name).failed, 30 * patience), console(host, name)
    assert "guest: asked to power off\n" in console(host, name)
    # xl's own record of the end: reason 0 is a power-off by the guest; a crash is 3
    record = host.check_output("cat /var/log/xen/xl-%s.log", name)
    assert re.search(r"Domain \d+ has shut down, reason code 0\b", record), record
