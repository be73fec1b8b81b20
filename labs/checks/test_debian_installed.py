"""What the Debian installer has to leave behind, asked of the running host: the disks' layout, whole packages, and
nothing of the installation. `nestlab test LAB` runs this for nodes with a medium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import testinfra.host

from builder.model.install import in_mib
from builder.model.lab import Node
from builder.systems.debian.options import DebianInstall
from builder.systems.debian.storage import GUESTS_LEAST, Storage, storage_of
from builder.systems.machine import machine_of

Host = testinfra.host.Host

MB = 1000 * 1000


@pytest.fixture(scope="module")
def options(node: Node) -> DebianInstall:
    return DebianInstall.model_validate(node.install)


@pytest.fixture(scope="module")
def storage(node: Node, options: DebianInstall) -> Storage:
    return storage_of(node, options, machine_of(node, options.disk_names, options.devices))


@pytest.fixture(scope="module")
def block_devices(host: Host) -> list[dict[str, Any]]:
    """Every block device once, with what lies on it below "children"."""
    columns = "NAME,TYPE,SIZE,FSTYPE,MOUNTPOINT,PTTYPE,SERIAL"
    shown: list[dict[str, Any]] = json.loads(host.check_output(f"lsblk --json --bytes --output {columns}"))[
        "blockdevices"
    ]
    return list(below(shown))


def below(devices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for device in devices:
        yield device
        yield from below(device.get("children", []))


def mounted(block_devices: list[dict[str, Any]], place: str) -> dict[str, Any]:
    return next(device for device in block_devices if device["mountpoint"] == place)


# The layout


def test_disks_of_the_system_have_the_table_and_a_loader_each(
    host: Host, node: Node, storage: Storage, block_devices: list[dict[str, Any]]
) -> None:
    disks = {device["serial"]: device for device in block_devices if device["type"] == "disk"}
    for disk in storage.disks:
        found = disks[disk.name]
        assert found["pttype"] == {"msdos": "dos", "gpt": "gpt"}[storage.label]
        assert len({part["name"] for part in found["children"] if part["type"] == "part"}) == len(storage.partitions)
        if node.firmware == "bios":
            assert host.run("head -c 440 /dev/%s | grep -q GRUB", found["name"]).succeeded, f"no GRUB on {disk.name}"


def test_root_and_swap_are_where_they_were_asked_for(
    host: Host, options: DebianInstall, storage: Storage, block_devices: list[dict[str, Any]]
) -> None:
    root, swap = mounted(block_devices, "/"), mounted(block_devices, "[SWAP]")
    kind = "part" if storage.plain else "lvm"
    assert (root["type"], root["fstype"], swap["type"]) == (kind, options.filesystem, kind)
    if not storage.plain:
        group = options.volume_group.replace("-", "--")
        assert (root["name"], swap["name"]) == (f"{group}-root", f"{group}-swap")
    # partitions and volumes end on whole cylinders or extents
    assert abs(root["size"] - storage.root * MB) < 10 * MB
    assert abs(swap["size"] - storage.swap * MB) < 10 * MB
    assert host.check_output("findmnt --noheadings --output FSTYPE /") == options.filesystem


def test_boot_has_a_place_of_its_own_unless_the_layout_is_plain(
    options: DebianInstall, storage: Storage, block_devices: list[dict[str, Any]]
) -> None:
    places = [device for device in block_devices if device["mountpoint"] == "/boot"]
    if storage.plain:
        assert places == []
        return
    assert {place["type"] for place in places} == {"raid1" if storage.level is not None else "part"}
    assert places[0]["fstype"] == "ext4"
    assert abs(places[0]["size"] / (in_mib(options.boot_size) << 20) - 1) < 0.02


def test_the_rest_is_a_volume_group_for_guests(host: Host, options: DebianInstall) -> None:
    shown = host.check_output("vgs --noheadings --units b --nosuffix --options vg_free %s", options.volume_group)
    assert int(shown.strip()) > (GUESTS_LEAST - 100) * MB


def test_arrays_are_whole_and_of_their_levels(host: Host, storage: Storage) -> None:
    if storage.level is None:
        assert not re.search(r"^md", host.run("cat /proc/mdstat").stdout, re.MULTILINE)
        return
    lines = host.check_output("cat /proc/mdstat")
    found = dict(re.findall(r"^md\d+ : active (?:\(auto-read-only\) )?raid(\d+) .*\n.*\[(\w+)\]", lines, re.MULTILINE))
    assert found == {"1": "U" * len(storage.disks), str(storage.level): "U" * len(storage.disks)}
    known = host.check_output("mdadm --detail --scan")
    assert all(line.split("UUID=")[1] in host.check_output("cat /etc/mdadm/mdadm.conf") for line in known.splitlines())


def test_file_systems_are_mounted_by_what_does_not_change(host: Host) -> None:
    table = [line.split() for line in host.check_output("cat /etc/fstab").splitlines() if not line.startswith("#")]
    places = {row[1]: row[0] for row in table if row}
    assert all(places[place].startswith(("UUID=", "/dev/mapper/")) for place in places if place in ("/", "/boot"))


# What is installed, and what of the installation is left


def test_every_package_is_whole(host: Host) -> None:
    assert host.check_output("dpkg --audit") == ""


def test_programs_that_were_held_back_are_there_again(host: Host) -> None:
    assert host.check_output("dpkg-divert --list '/usr/sbin/update-*'") == ""
    for program in ("update-initramfs", "update-grub"):
        assert len(host.check_output("cat /usr/sbin/%s", program)) > 20
    assert host.run("test -e /etc/dpkg/dpkg.cfg.d/force-unsafe-io").failed


def test_the_kernel_and_its_initrd_are_those_that_are_installed(host: Host) -> None:
    version = host.check_output("uname -r")
    assert int(host.check_output("stat -c %%s /boot/initrd.img-%s", version)) > 5 * MB
    assert version in host.check_output("cat /boot/grub/grub.cfg")


def test_packages_come_from_where_the_lab_says(host: Host, options: DebianInstall) -> None:
    if options.mirror is None:
        return
    sources = host.check_output("cat /etc/apt/sources.list")
    addresses = set(re.findall(r"^deb (\S+)", sources, re.MULTILINE))
    assert options.mirror.rstrip("/") in {address.rstrip("/") for address in addresses}


def test_name_and_time_zone(host: Host, node: Node, options: DebianInstall) -> None:
    assert host.check_output("hostname") == (options.hostname or node.name).partition(".")[0]
    assert host.check_output("readlink -f /etc/localtime").endswith(options.timezone)
