"""Our judge of answer files: each code is found where one thing is wrong, and nothing in the file it was made from."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from builder.model.units import GIB
from builder.systems.machine import Card, Machine, MachineDisk
from builder.systems.xcpng.judge import CODES, judge_answers, judge_arguments, judge_host, judge_script
from builder.systems.xcpng.memory import documented, setting
from tests.support.nodes import disk, nic, xen
from tests.support.xcpng import RELEASES, xcpng_node

# Written by hand from the installer's grammar: not what the generator makes.
RIGHT = """\
<?xml version="1.0"?>
<installation mode="fresh" sr-type="ext" gpgcheck="true">
  <source type="url">https://mirror.example/xcp</source>
  <driver-source type="nfs">files.example:/drivers</driver-source>
  <primary-disk guest-storage="yes">/dev/sda</primary-disk>
  <guest-disk>sdb</guest-disk>
  <admin-interface name="eth0" proto="static" vlan="5">
    <ip>192.0.2.5</ip><subnet-mask>255.255.255.0</subnet-mask><gateway>192.0.2.1</gateway>
  </admin-interface>
  <name-server>192.0.2.53</name-server>
  <hostname>host</hostname>
  <root-password type="hash">$6$salt$hash</root-password>
  <ntp source="manual"/>
  <ntp-server>ntp.example</ntp-server>
  <timezone>Etc/UTC</timezone>
  <keymap>us</keymap>
  <network-backend>openvswitch</network-backend>
  <bootloader location="mbr"/>
  <service name="sshd" state="enabled"/>
  <script stage="filesystem-populated" type="url">file:///x</script>
  <script stage="installation-complete" type="nfs">nfs://files.example/x</script>
</installation>
"""
RIGHT_8_2 = RIGHT.replace('gpgcheck="true"', 'netinstall-gpg-check="true"').replace('  <ntp source="manual"/>\n', "")
RAID = '<raid device="md127"><disk>sda</disk><disk>sdb</disk></raid>\n'
RIGHT_RAID = (
    RIGHT.replace("  <primary-disk", f"  {RAID}  <primary-disk").replace(">/dev/sda<", ">md127<").replace(
        'guest-storage="yes"', 'guest-storage="no"').replace("<guest-disk>sdb", "<guest-disk>sdc")
)  # fmt: skip
UPGRADE = """\
<installation mode="upgrade">
  <source type="local"/>
  <existing-installation>sda</existing-installation>
</installation>
"""
RESTORE = "<restore><backup-disk>sda</backup-disk></restore>"


def machine(*, size: int = 100 * GIB, sectors: tuple[int, ...] = (512, 512, 512)) -> Machine:
    disks = tuple(MachineDisk(f"d{n}", f"sd{'abc'[n]}", size, sector) for n, sector in enumerate(sectors))
    return Machine("bios", disks, (Card(0, "eth0", "52:54:00:00:00:01"),), cards_in_order=True)


def on(**buses: str) -> Machine:
    """A machine with disks of these names on controllers of these kinds."""
    disks = tuple(MachineDisk(name, name, 100 * GIB, 512, bus) for name, bus in buses.items())
    return dataclasses.replace(machine(), disks=disks)


def right(release: str) -> str:
    return RIGHT_8_2 if release == "8.2" else RIGHT


def codes(text: str, release: str = "8.3", target: Machine | None = None) -> list[str]:
    return [finding.code for finding in judge_answers(text, release, target or machine())]


# Code, release, what stands there, what is put in its place, and what else that brings.
CHANGES: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("NLX001", "8.3", "</installation>", "", ()),
    ("NLX002", "8.3", 'mode="fresh"', 'mode="Fresh"', ()),
    ("NLX003", "8.3", "<timezone>Etc/UTC</timezone>", "<time-zone>Etc/UTC</time-zone>", ()),
    ("NLX004", "8.3", 'sr-type="ext"', 'srtyp="ext"', ()),
    ("NLX004", "8.3", "<hostname>", '<hostname type="x">', ()),
    ("NLX005", "8.2", "<ntp-server>", '<ntp source="manual"/><ntp-server>', ()),
    ("NLX005", "8.3", "<timezone>", "<initial-partitions/><timezone>", ()),
    ("NLX006", "8.2", "netinstall-gpg-check", "repo-gpgcheck", ()),
    ("NLX006", "8.3", 'gpgcheck="true"', 'netinstall-gpg-check="true"', ()),
    ("NLX007", "8.3", "<timezone>", "<existing-installation>sda</existing-installation><timezone>", ()),
    ("NLX008", "8.3", "<hostname>host</hostname>", "<hostname>host</hostname><hostname>other</hostname>", ()),
    ("NLX008", "8.3", "<ip>192.0.2.5</ip>", "<ip>192.0.2.5</ip><ipaddr>192.0.2.6</ipaddr>", ()),
    ("NLX009", "8.3", "<guest-disk>sdb</guest-disk>", "<guest-disks><guest-disk>sdb</guest-disk></guest-disks>",
     ("NLX003",)),
    ("NLX010", "8.3", '<source type="url">https://mirror.example/xcp</source>', "", ()),
    ("NLX011", "8.3", 'gpgcheck="true"', 'gpgcheck="1"', ()),
    ("NLX011", "8.3", 'guest-storage="yes"', 'guest-storage="on"', ()),
    ("NLX012", "8.3", 'sr-type="ext"', 'sr-type="zfs"', ()),
    ("NLX012", "8.2", 'sr-type="ext"', 'sr-type="largeblock"', ()),
    ("NLX012", "8.3", 'proto="static"', 'proto="Static"', ()),
    ("NLX012", "8.3", 'state="enabled"', 'state="on"', ()),
    ("NLX013", "8.3", ' proto="static"', "", ()),
    ("NLX013", "8.3", '<source type="url">', "<source>", ()),
    ("NLX013", "8.3", "<timezone>", "<fcoe-interface/><timezone>", ()),
    ("NLX014", "8.3", "<keymap>us</keymap>", "<keymap/>", ()),
    ("NLX020", "8.3", "https://mirror.example/xcp", "/srv/xcp", ()),
    ("NLX020", "8.3", "files.example:/drivers", "files.example", ()),
    ("NLX020", "8.3", "file:///x", "x", ()),
    ("NLX020", "8.3", "nfs://files.example/x", "x", ()),
    ("NLX030", "8.3", "/dev/sda", "vda", ()),
    ("NLX030", "8.3", "<guest-disk>sdb", "<guest-disk>sdz", ()),
    ("NLX031", "8.3", "<guest-disk>sdb", "<guest-disk>sda", ()),
    ("NLX038", "8.3", "  <primary-disk",
     f"{RAID.replace('sda', 'sdc').replace('<disk>sdb', '<disk>disk/by-id/x')}  <primary-disk", ("NLX030",)),
    ("NLX040", "8.3", 'name="eth0"', 'name="eth7"', ()),
    ("NLX041", "8.3", "<gateway>192.0.2.1</gateway>", "", ()),
    ("NLX042", "8.3", "192.0.2.53", "ns.example", ()),
    ("NLX042", "8.3", "192.0.2.5<", "192.0.2.500<", ()),
    ("NLX043", "8.3", "192.0.2.1<", "198.51.100.1<", ()),
    ("NLX044", "8.3", 'vlan="5"', 'vlan="4095"', ()),
    ("NLX045", "8.3", 'proto="static"', 'proto="none"', ()),
    ("NLX050", "8.3", '<root-password type="hash">$6$salt$hash</root-password>', "", ()),
    ("NLX050", "8.3", "$6$salt$hash", "!!", ()),
    ("NLX050", "8.3", "$6$salt$hash", "secret", ()),
    ("NLX051", "8.3", ' type="hash">$6$salt$hash', ">secret", ()),
    ("NLX052", "8.3", "<hostname>host</hostname>", "", ()),
    ("NLX053", "8.3", 'source="manual"', 'source="none"', ()),
    ("NLX054", "8.3", 'source="manual"', 'source="dhcp"', ()),
    ("NLX055", "8.3", "<ntp-server>ntp.example</ntp-server>", "", ()),
    ("NLX056", "8.3", ">openvswitch<", ">ovs<", ()),
    ("NLX057", "8.3", "<script stage=\"f", '<service name="sshd" state="disabled"/><script stage="f', ()),
    ("NLX058", "8.3", "filesystem-populated", "filesystem-popluated", ()),
    ("NLX060", "8.3", "<timezone>", "<ui-confirmation-prompt>false</ui-confirmation-prompt><timezone>", ()),
    ("NLX061", "8.3", '<bootloader location="mbr"/>', "<bootloader>extlinux</bootloader>", ()),
    ("NLX062", "8.3", 'mode="fresh"', 'mode="reinstall"', ()),
)  # fmt: skip


@pytest.mark.parametrize(
    ("code", "release", "old", "new", "besides"), CHANGES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CHANGES)]
)
def test_one_wrong_thing_is_found(code: str, release: str, old: str, new: str, besides: tuple[str, ...]) -> None:
    text = right(release)
    assert old in text
    assert sorted(codes(text.replace(old, new, 1), release)) == sorted((code, *besides))


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_is_found_in_what_is_right(release: str) -> None:
    assert codes(right(release), release) == []
    assert codes(UPGRADE, release) == []
    assert codes(RESTORE, release) == []


def test_arrays() -> None:
    assert codes(RIGHT_RAID) == []
    trap = RIGHT_RAID.replace('guest-storage="no"', 'guest-storage="yes"')
    assert codes(trap) == ["NLX032"]
    assert codes(trap.replace(' guest-storage="yes"', "")) == ["NLX032"]
    eight_two = trap.replace('gpgcheck="true"', 'netinstall-gpg-check="true"').replace('  <ntp source="manual"/>\n', "")
    assert codes(eight_two, "8.2") == []
    assert codes(RIGHT_RAID.replace("<disk>sdb</disk>", "")) == ["NLX033"]
    assert "NLX005" in codes(RIGHT_RAID, "xs8")


def test_names_are_left_to_chance_where_controllers_are_of_several_kinds() -> None:
    alike, mixed = on(sda="sata", sdb="sata", sdc="sata"), on(sda="ide", sdb="lsilogic", sdc="lsilogic")
    assert codes(RIGHT, target=alike) == codes(RIGHT_RAID, target=alike) == []
    assert codes(RIGHT, target=mixed) == ["NLX039", "NLX039"]
    assert codes(RIGHT_RAID, target=mixed) == ["NLX039", "NLX039"]
    assert codes(RIGHT_RAID.replace("  <guest-disk>sdc</guest-disk>\n", ""), target=on(sda="ide", sdb="sata")) == []
    by_id = RIGHT.replace("/dev/sda", "/dev/disk/by-id/a").replace(">sdb<", ">disk/by-id/b<")
    assert codes(by_id, target=on(**{"/dev/disk/by-id/a": "ide", "/dev/disk/by-id/b": "lsilogic"})) == []
    for text in (UPGRADE, RESTORE):
        assert codes(text, target=alike) == []
        assert codes(text, target=mixed) == ["NLX039"]
        assert codes(text.replace("sda", "vda"), target=alike) == ["NLX030"]
        assert codes(text.replace("sda", "md127"), target=mixed) == []


def test_sizes_and_sectors() -> None:
    assert codes(RIGHT, target=machine(size=45 * GIB)) == ["NLX034"]
    assert codes(RIGHT, target=machine(sectors=(4096, 512))) == ["NLX035", "NLX036", "NLX037"]
    assert codes(RIGHT, target=machine(sectors=(512, 4096))) == ["NLX036", "NLX037"]
    large = RIGHT.replace('sr-type="ext"', 'sr-type="largeblock"')
    assert codes(large, target=machine(sectors=(512, 4096))) == ["NLX037"]
    assert codes(large.replace('"yes"', '"no"'), target=machine(sectors=(512, 4096))) == []


def test_addresses_of_the_sixth_version() -> None:
    six = RIGHT.replace("<ip>", "<ipv6>fd00::5/64</ipv6><gatewayv6>fd00::1</gatewayv6><ip>").replace(
        'vlan="5"', 'protov6="static"'
    )
    assert codes(six) == []
    assert codes(six.replace("<gatewayv6>fd00::1</gatewayv6>", "")) == ["NLX041"]
    assert codes(six.replace("fd00::1<", "fd01::1<")) == ["NLX043"]
    assert codes(six.replace("fd00::1<", "fe80::1<")) == []


def test_other_modes() -> None:
    assert codes(UPGRADE.replace("<existing", "<hostname>x</hostname><existing")) == ["NLX007"]
    assert codes(UPGRADE.replace("<existing-installation>sda</existing-installation>", "")) == ["NLX010"]
    assert codes("<upgrade><source type='local'/></upgrade>") == ["NLX002"]
    assert codes(RESTORE.replace("<backup", "<source type='local'/><backup")) == ["NLX007"]


def test_without_a_machine_only_the_text_is_judged() -> None:
    text = RIGHT.replace("sda", "nvme0n1").replace("eth0", "eth9")
    assert judge_answers(text, "8.3") == ()
    assert [f.code for f in judge_answers(RIGHT.replace(' name="eth0"', ""), "8.3")] == ["NLX040"]


KERNEL = ("install", "rt_answerfile=file:///a.xml", "atexit=poweroff", "console=tty0", "console=hvc0")
XEN = ("com1=115200,8n1", "console=com1")
ARGUMENTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str, list[str]], ...] = (
    ("8.3", XEN, KERNEL, "", []),
    ("8.3", XEN, KERNEL[1:], "", []),
    ("8.2", XEN, KERNEL[1:], "", ["NLX071"]),
    ("8.3", XEN, ("install", "atexit=shell", "console=hvc0"), "", ["NLX070"]),
    ("8.3", XEN, ("answerfile=tftp://x/y", "atexit=shell", "console=hvc0"), "", ["NLX073"]),
    ("8.3", XEN, (*KERNEL, "no-repo-gpgcheck"), "", ["NLX074"]),
    ("8.3", XEN, (*KERNEL, "no-gpgcheck"), "", ["NLX074"]),
    ("8.3", XEN, (*KERNEL, "network_device=all"), "", ["NLX075"]),
    ("8.3", XEN, (*KERNEL, "network_device=all", "network_config=static:ip=192.0.2.5"), "", ["NLX075", "NLX084"]),
    ("8.3", XEN, (*KERNEL, "network_config=static:ip=192.0.2.5"), "", ["NLX084"]),
    ("8.3", XEN, (*KERNEL, "network_device=eth0", "network_config=static:ip=192.0.2.5"), "", []),
    ("8.3", XEN, (*KERNEL, "network_config=dhcp:vlan=5"), "", []),
    ("8.3", XEN, ("rt_answerfile=file:///a.xml", "console=hvc0"), "", ["NLX076"]),
    ("8.3", XEN, (*KERNEL, "atexit=reboot"), "", ["NLX076"]),
    ("8.3", XEN, (*KERNEL, "console=tty0"), "", ["NLX072"]),
    ("8.3", XEN, KERNEL, RIGHT, ["NLX077"]),
    ("8.3", XEN, KERNEL, "<source type='nfs'>files.example:/x</source>", ["NLX077"]),
    ("8.3", XEN, KERNEL, '<source type="local"/>', []),
    ("8.3", XEN, (*KERNEL, "network_device=eth0"), RIGHT, []),
    ("8.3", XEN, (*KERNEL, "netdevice=eth0"), "", ["NLX079"]),
    ("8.3", (*XEN, "install"), KERNEL, "", ["NLX078"]),
    ("8.3", (*XEN, "console=hvc0"), KERNEL, "", ["NLX078"]),
    ("8.3", XEN, ("dom0_mem=4G", *KERNEL), "", ["NLX078"]),
    ("8.3", XEN, ("console=com1", *KERNEL), "", ["NLX078"]),
)


@pytest.mark.parametrize(("release", "hypervisor", "kernel", "answers", "found"), ARGUMENTS)
def test_installer_arguments(
    release: str, hypervisor: tuple[str, ...], kernel: tuple[str, ...], answers: str, found: list[str]
) -> None:
    assert [finding.code for finding in judge_arguments(hypervisor, kernel, release, answers)] == found


@pytest.mark.parametrize("line", ["#!/bin/sh", "#!/bin/bash -e", "#! /usr/bin/python", "#!/usr/bin/env python"])
def test_scripts_that_the_installer_runs(line: str) -> None:
    assert judge_script("x", line + "\necho\n", "8.3") == ()


@pytest.mark.parametrize("line", ["echo", "", "#!", "#!/usr/bin/perl", "#!/usr/bin/env python3", "#!/usr/bin/python3"])
def test_scripts_that_it_does_not_run(line: str) -> None:
    assert [finding.code for finding in judge_script("x", line + "\necho\n", "8.3")] == ["NLX059"]


@pytest.mark.parametrize(
    ("host", "zfs", "least", "stated"),
    [(4, False, 2, True), (6, False, 3, True), (8, False, 4, True), (64, False, 4, True), (65, False, 8, False),
     (127, False, 8, False), (128, False, 8, True), (512, False, 8, True), (64, True, 16, True)],
)  # fmt: skip
def test_memory_of_dom0_by_the_document(host: int, zfs: bool, least: int, stated: bool) -> None:
    assert documented(host * GIB, zfs=zfs) == (least * GIB, stated)


def test_the_memory_setting_has_one_value_twice() -> None:
    assert setting(4 * GIB) == "dom0_mem=4096M,max:4096M"


def test_the_node_itself() -> None:
    def found(**changes: object) -> list[str]:
        return [finding.code for finding in judge_host(xcpng_node(**changes))]  # type: ignore[arg-type]

    assert found() == []
    assert found(memory=128 * GIB) == ["NLX080"]
    assert found(memory=100 * GIB) == ["NLX081"]
    assert found(memory=128 * GIB, xen=xen(dom0_memory=8 * GIB)) == []
    assert found(firmware="uefi") == ["NLX082"]
    assert found(disks=(disk(bus="virtio"),)) == ["NLX083"]
    assert found(nics=(nic(1, model="virtio"),)) == ["NLX083"]
    assert [f.code for f in judge_host(xcpng_node(), zfs=True)] == ["NLX080"]


def test_addresses_that_nobody_sets() -> None:
    storage = nic(1, addresses=("10.0.0.5/24",), trunk=(10,), vlan_addresses={10: ("10.0.10.5/24",)})
    (found,) = judge_host(xcpng_node(nics=(nic(2), storage)))
    assert (found.code, found.severity) == ("NLX085", "warning")
    assert found.message.endswith("10.0.0.5/24, 10.0.10.5/24") and "card 2" in found.where
    alone = xcpng_node(nics=(nic(1, addresses=("10.0.0.5/24",)),))
    assert judge_host(alone, address="10.0.0.5/24") == ()
    assert [each.code for each in judge_host(alone, address="10.0.0.6/24")] == ["NLX085"]


def test_every_code_is_found_somewhere_and_explained() -> None:
    own = re.findall(r"NLX[0-9]{3}", Path(__file__).read_text())
    assert set(own) == set(CODES)
    assert all(code.explanation.endswith(".") and code.releases and code.source for code in CODES.values())
