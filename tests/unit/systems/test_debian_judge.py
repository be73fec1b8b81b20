"""Our judge of the Debian installer's answers: each code is found where something is wrong, and not in the answers that
it was made from. Each case changes one thing in right answers; what is found besides is listed with it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from builder.model.units import GIB, TIB
from builder.systems.debian.judge import CODES, judge_arguments, judge_preseed, judge_script
from builder.systems.machine import Card, Machine, MachineDisk
from tests.support.debian import RELEASES, debconf

# Written by hand from partman-auto's documentation and the Debian Installation Guide: not what the generator makes.
RIGHT = r"""
# A host on one disk, with a volume group.
d-i debian-installer/locale string en_US.UTF-8
d-i keyboard-configuration/xkb-keymap select us
d-i netcfg/choose_interface select auto
d-i netcfg/get_hostname string host
d-i time/zone string UTC
d-i passwd/root-password-crypted password $6$salt$hash
d-i passwd/make-user boolean false
d-i partman-auto/disk string /dev/sda
d-i partman-auto/method string lvm
d-i partman-auto/expert_recipe string \
   mine :: \
     1024 1024 1024 ext4 $primary{ } $bootable{ } method{ format } format{ } \
       use_filesystem{ } filesystem{ ext4 } mountpoint{ /boot } . \
     4000 4000 4000 ext4 $lvmok{ } method{ format } format{ } \
       use_filesystem{ } filesystem{ ext4 } mountpoint{ / } . \
     1000 1000 1000 linux-swap $lvmok{ } method{ swap } format{ } .
d-i partman-auto-lvm/guided_size string 5 GB
d-i partman-auto-lvm/new_vg_name string vg0
d-i partman-lvm/device_remove_lvm boolean true
d-i partman-md/device_remove_md boolean true
d-i partman-lvm/confirm boolean true
d-i partman-lvm/confirm_nooverwrite boolean true
d-i partman/choose_partition select finish
d-i partman/confirm boolean true
d-i partman/confirm_nooverwrite boolean true
d-i grub-installer/bootdev string /dev/sda
d-i preseed/late_command string in-target true
d-i finish-install/reboot_in_progress note
d-i debian-installer/exit/poweroff boolean true
popularity-contest popularity-contest/participate boolean false
"""
BOOT = RIGHT[RIGHT.index("     1024 1024 1024") : RIGHT.index("     4000 4000 4000")]
VOLUMES = RIGHT[RIGHT.index("     4000 4000 4000") : RIGHT.index("d-i partman-auto-lvm/guided_size")]
GRUB_PART = "     1 1 1 free method{ biosgrub } . \\\n"
EFI_PART = "     538 538 1075 free method{ efi } format{ } . \\\n"
GPT = "d-i partman-partitioning/default_label string gpt\n"
RIGHT_GPT = RIGHT.replace(BOOT, GRUB_PART + BOOT) + GPT
RIGHT_EFI = RIGHT.replace(BOOT, EFI_PART + BOOT).replace("d-i grub-installer/bootdev string /dev/sda\n", "")
ARRAYS = r"""d-i partman-auto-raid/recipe string \
     1 4 0 ext4 /boot /dev/sda1#/dev/sdb1#/dev/sdc1#/dev/sdd1 . \
     10 4 0 lvm - /dev/sda2#/dev/sdb2#/dev/sdc2#/dev/sdd2 .
"""
MEMBER = "     1024 1024 1024 raid $primary{ } $lvmignore{ } method{ raid } . \\\n"
REST = "     100 1000 -1 raid $primary{ } $lvmignore{ } method{ raid } . \\\n"
RIGHT_RAID = (
    RIGHT.replace(BOOT, MEMBER + REST)
    .replace("$lvmok{ }", "$lvmok{ } $defaultignore{ }")
    .replace("string /dev/sda\n", "string /dev/sda /dev/sdb /dev/sdc /dev/sdd\n")
    .replace("method string lvm", "method string raid")
) + ARRAYS + "d-i partman-md/confirm boolean true\nd-i partman-md/confirm_nooverwrite boolean true\n"  # fmt: skip


def machine(firmware: str = "bios", *, size: int = 100 * GIB, sectors: str = "5") -> Machine:
    """A disk for each of `sectors`: 5 of 512 bytes, 4 of 4096."""
    disks = tuple(
        MachineDisk(f"d{letter}", f"sd{letter}", size, 512 if sector == "5" else 4096)
        for letter, sector in zip("abcd", sectors, strict=False)
    )
    cards = (Card(0, "eth0", "52:54:00:00:00:01"), Card(1, "eth1", "52:54:00:00:00:02"))
    return Machine("uefi" if firmware == "uefi" else "bios", disks, cards, cards_in_order=True)


def of_paths(*paths: str) -> Machine:
    """A machine with disks of these names."""
    return dataclasses.replace(machine(), disks=tuple(MachineDisk(path, path, 100 * GIB, 512) for path in paths))


def codes(text: str, release: str = "13", target: Machine | None = None) -> list[str]:
    """Without a target: one with as many disks as are there for."""
    fitting = machine(sectors="5555" if "method string raid" in text else "5")
    return sorted(finding.code for finding in judge_preseed(text, release, target or fitting))


# Code, what stands there, what is put in its place, and what else that brings.
CHANGES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("NLD001", "d-i time/zone string UTC\n", "d-i time/zone\n", ()),
    ("NLD002", "participate boolean false\n", "participate boolean \\\n", ()),
    ("NLD003", "# A host", "  # A host", ()),
    ("NLD004", "netcfg/get_hostname", "netcfg/get_hostnam", ()),
    ("NLD005", "time/zone string", "time/zone strng", ()),
    ("NLD006", "partman/confirm boolean", "partman/confirm string", ()),
    ("NLD007", "d-i time/zone string UTC\n", "d-i time/zone string UTC\nd-i time/zone string Etc/UTC\n", ()),
    ("NLD008", "participate boolean false", "participate boolean no", ()),
    ("NLD008", "get_hostname string host", "get_hostname string my_host", ()),
    ("NLD008", "finish\n", "done\n", ()),
    ("NLD008", "xkb-keymap select us", "xkb-keymap select fr", ()),
    ("NLD008", "time/zone string UTC\n",
     "time/zone string UTC\nd-i apt-setup/services-select multiselect security, volatile\n", ()),
    ("NLD009", "popularity-contest popularity", "d-i popularity", ()),
    *(("NLD010", line, "", ()) for line in (
        "d-i debian-installer/locale string en_US.UTF-8\n", "d-i keyboard-configuration/xkb-keymap select us\n",
        "d-i netcfg/choose_interface select auto\n", "d-i partman/choose_partition select finish\n",
        "d-i partman/confirm_nooverwrite boolean true\n", "d-i partman-lvm/confirm_nooverwrite boolean true\n",
        "d-i finish-install/reboot_in_progress note\n", "d-i passwd/root-password-crypted password $6$salt$hash\n")),
    ("NLD010", "passwd/make-user boolean false", "passwd/make-user boolean true", ("NLD010", "NLD010")),
    ("NLD010", "time/zone string UTC\n",
     "time/zone string UTC\nd-i netcfg/get_ipaddress string 192.0.2.9\nd-i netcfg/disable_autoconfig boolean true\n",
     ("NLD010", "NLD010")),
    ("NLD011", "d-i partman/confirm boolean true\n", "", ()),
    ("NLD011", "d-i partman-lvm/device_remove_lvm boolean true\n", "", ()),
    ("NLD011", "d-i partman-lvm/confirm boolean true\n", "", ()),
    ("NLD013", "root-password-crypted password $6$salt$hash", "root-password password secret", ()),
    ("NLD014", "$6$salt$hash", "!", ()),
    ("NLD015", "d-i passwd/root-password-crypted password $6$salt$hash\n", "d-i passwd/root-login boolean false\n", ()),
    ("NLD016", "poweroff boolean true", "poweroff boolean false", ()),
    ("NLD017", "time/zone string UTC\n", "time/zone string UTC\nd-i netcfg/get_ipaddress string 192.0.2.9\n"
     "d-i netcfg/get_netmask string 255.255.255.0\nd-i netcfg/get_gateway string 192.0.2.1\n"
     "d-i netcfg/confirm_static boolean true\n", ()),
    ("NLD020", "method{ swap } format{ } .\n", "method{ swap } format{ }\n", ("NLD030",)),
    ("NLD020", "     1024 1024 1024 ext4", "     1024 1024 . 1024 1024 1024 ext4", ()),
    ("NLD020", "method{ swap } format{ } .", "format{ } method{ swap .", ()),
    ("NLD021", "4000 4000 4000", "4000 4GB 4000", ("NLD022",)),
    ("NLD022", "4000 4000 4000", "4000 100 4000", ()),
    ("NLD023", "method{ swap }", "method{swap}", ("NLD028", "NLD030")),
    ("NLD023", "mountpoint{ / }", "mountpoint / }", ("NLD023", "NLD023", "NLD026")),
    ("NLD024", "$bootable{ }", "$botable{ }", ()),
    ("NLD025", "1024 ext4", "1024 reiserfs", ()),
    ("NLD026", "mountpoint{ / }", "mountpoint{ /srv }", ()),
    ("NLD027", "mountpoint{ / }", "mountpoint{ /boot }", ("NLD026", "NLD032")),
    ("NLD028", "method{ swap }", "method{ swop }", ("NLD030",)),
    ("NLD029", "filesystem{ ext4 } mountpoint{ /boot }", "mountpoint{ /boot }", ()),
    ("NLD029", "method{ swap } format{ }", "method{ swap }", ()),
    ("NLD030", "linux-swap $lvmok{ } method{ swap } format{ }", "ext4 $lvmok{ } method{ keep }", ()),
    ("NLD031", "$lvmok{ }", "", ()),
    ("NLD032", "$primary{ } $bootable{ }", "$lvmok{ }", ("NLD040",)),
    ("NLD032", "mountpoint{ /boot }", "mountpoint{ /srv }", ()),
    ("NLD033", "1024 1024 1024", "250 250 250", ()),
    ("NLD044", "1024 1024 1024", "99 99 99", ()),
    ("NLD044", "4000 4000 4000", "1499 1499 1499", ()),
    ("NLD038", "1024 1024 1024", "1024 1024 1024 free . 999999 999999 999999", ("NLD028",)),
    ("NLD039", "guided_size string 5 GB", "guided_size string max", ()),
    ("NLD039", "d-i partman-auto-lvm/guided_size string 5 GB\n", "", ()),
    ("NLD040", "guided_size string 5 GB", "guided_size string 4 GiB", ()),
    ("NLD041", "     1024", "".join(f"     {n} {n} {n} ext4 $primary{{ }} method{{ keep }} . \\\n" for n in range(4))
     + "     1024", ()),
    ("NLD050", "string /dev/sda\n", "string /dev/vda\n", ("NLD050",)),
    ("NLD051", "disk string /dev/sda\n", "disk string /dev/sda1\n", ("NLD050", "NLD054")),
    ("NLD051", "disk string /dev/sda\n", "disk string sda\n", ("NLD054",)),
    ("NLD053", "d-i grub-installer/bootdev string /dev/sda\n", "", ()),
    ("NLD054", "bootdev string /dev/sda\n", "bootdev string /dev/sdb\n", ("NLD050",)),
    ("NLD054", "bootdev string /dev/sda\n", "bootdev string /dev/sda1\n", ("NLD050",)),
    ("NLD059", "choose_interface select auto", "choose_interface select eth7", ()),
    ("NLD059", "choose_interface select auto", "choose_interface select 52:54:00:00:00:99", ()),
    ("NLD061", "d-i time/zone string UTC\n", "d-i time/zone string UTC\n" + ARRAYS, ()),
    ("NLD080", "in-target true", "in-target sh -c 'true", ()),
    ("NLD081", "in-target true", "in-target true" + " && in-target true" * 20, ()),
    ("NLD082", "in-target true", "true && bash /tmp/x", ()),
    ("NLD083", "in-target true", "echo x > /etc/motd", ()),
)  # fmt: skip
RAID_CHANGES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("NLD042", RIGHT_RAID[RIGHT_RAID.index("d-i partman-auto/expert") : RIGHT_RAID.index("d-i partman-auto-lvm/g")],
     "", ()),
    ("NLD033", "1024 1024 1024 raid", "500 500 500 raid", ()),
    ("NLD044", "1024 1024 1024 raid", "50 50 50 raid", ()),
    ("NLD043", "linux-swap $lvmok{ } $defaultignore{ }", "linux-swap $lvmok{ }", ()),
    ("NLD055", "bootdev string /dev/sda /dev/sdb /dev/sdc /dev/sdd", "bootdev string /dev/sda /dev/sdb /dev/sdc", ()),
    ("NLD060", ARRAYS, "", ()),
    ("NLD062", "10 4 0 lvm - ", "ten 4 0 lvm - ", ("NLD070",)),
    ("NLD063", "/dev/sdd2 .", "/dev/disk/by-id/ata-1.5#/dev/sdd2 .", ("NLD068",)),
    ("NLD064", "10 4 0", "11 4 0", ()),
    ("NLD065", "10 4 0 lvm - /dev/sda2#/dev/sdb2#/dev/sdc2#/dev/sdd2", "6 2 0 lvm - /dev/sda2#/dev/sdb2", ()),
    ("NLD066", "#/dev/sdd2", "", ()),
    ("NLD067", "#/dev/sdd2", "#/dev/sdd1", ()),
    ("NLD068", "#/dev/sdd2", "#/dev/sde2", ()),
    ("NLD069", "#/dev/sdd2", "#/dev/sdd5", ()),
    ("NLD070", " \\\n     10 4 0 lvm - /dev/sda2#/dev/sdb2#/dev/sdc2#/dev/sdd2 .", "", ()),
    ("NLD071", "1 4 0 ext4", "10 4 0 ext4", ()),
    ("NLD072", "1 4 0 ext4 /boot /dev/sda1#/dev/sdb1#", "1 4 0 ext4 /boot /dev/sda1#/dev/sda2#", ("NLD067",)),
)  # fmt: skip
ALL = (*((RIGHT, *row) for row in CHANGES), *((RIGHT_RAID, *row) for row in RAID_CHANGES))


@pytest.mark.parametrize(
    ("right", "code", "old", "new", "besides"), ALL, ids=[f"{row[1]}-{n}" for n, row in enumerate(ALL)]
)
def test_one_wrong_thing_is_found(right: str, code: str, old: str, new: str, besides: tuple[str, ...]) -> None:
    assert old in right
    assert codes(right.replace(old, new)) == sorted((code, *besides))


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_is_found_in_what_is_right(release: str) -> None:
    assert codes(RIGHT, release) == []
    assert codes(RIGHT_GPT, release) == []
    assert codes(RIGHT_RAID, release) == []
    assert codes(RIGHT_EFI, release, machine("uefi")) == []
    for text in (RIGHT, RIGHT_GPT, RIGHT_RAID, RIGHT_EFI):
        assert debconf(text)[1] == ""


def test_what_the_firmware_starts_from() -> None:
    assert codes(RIGHT + GPT) == ["NLD034"]
    assert codes(RIGHT, target=machine("uefi")) == ["NLD035"]
    assert codes(RIGHT_EFI.replace("538 538 1075", "30 30 30"), target=machine("uefi")) == ["NLD036"]
    assert codes(RIGHT_GPT.replace(GRUB_PART, GRUB_PART + EFI_PART)) == ["NLD037"]
    assert codes(RIGHT_GPT.replace(GPT, "")) == ["NLD037"]
    assert codes(RIGHT_EFI.replace(EFI_PART, EFI_PART + GRUB_PART), target=machine("uefi")) == ["NLD037"]
    for_gpt = RIGHT.replace(BOOT, GRUB_PART.replace("free", "free $iflabel{ gpt }") + BOOT)
    assert codes(for_gpt) == codes(for_gpt + GPT) == []


def test_what_depends_on_the_disks() -> None:
    nowhere = RIGHT.replace("d-i partman-auto/disk string /dev/sda\n", "")
    assert (codes(nowhere), codes(nowhere, target=machine(sectors="55"))) == ([], ["NLD010"])
    assert codes(RIGHT, target=machine(sectors="4")) == ["NLD056"]
    assert codes(RIGHT_EFI, target=machine("uefi", sectors="4")) == []
    assert codes(RIGHT_RAID, target=machine(sectors="5545")) == ["NLD056", "NLD057"]
    assert codes(RIGHT, target=machine(size=3 * TIB)) == ["NLD034"]
    label = "d-i partman-partitioning/default_label string msdos\n"
    assert codes(RIGHT + label, target=machine(size=3 * TIB)) == ["NLD034", "NLD058"]
    assert codes(RIGHT + label) == []


@pytest.mark.parametrize("card", ["eth1", "52:54:00:00:00:02", "enp3s0"])
def test_cards_that_are_there_or_that_nobody_can_tell(card: str) -> None:
    assert codes(RIGHT.replace("choose_interface select auto", f"choose_interface select {card}")) == []


def test_a_second_disk_with_method_regular() -> None:
    text = RIGHT.replace("method string lvm", "method string regular").replace("$lvmok{ }", "")
    assert codes(text) == []
    two = text.replace("disk string /dev/sda", "disk string /dev/sda /dev/sdb")
    assert codes(two, target=machine(sectors="55")) == ["NLD052", "NLD073"]
    assert codes(two.replace("/dev/sd", "/dev/vd"), target=of_paths("vda", "vdb")) == ["NLD052"]


BY_ID = "/dev/disk/by-id/ata-QEMU_HARDDISK_disk1"
NAMES: tuple[tuple[str, tuple[str, ...], str, list[str]], ...] = (
    ("all of the disks there are", ("sda",), "/dev/sda", []),
    ("one of two", ("sda", "sdb"), "/dev/sda", ["NLD073"]),
    ("one of two, the other by its identity", ("sda", BY_ID), "/dev/sda", ["NLD073"]),
    ("by its identity", ("sda", BY_ID), BY_ID, []),
    ("its place on the bus is its name", ("vda", "vdb"), "/dev/vda", []),
    ("none of the others can be sda", ("sda", "vda", "nvme0n1"), "/dev/sda", []),
)


@pytest.mark.parametrize(("there", "used", "found"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
@pytest.mark.parametrize("release", RELEASES)
def test_a_name_is_good_for_all_disks_or_for_none(
    release: str, there: tuple[str, ...], used: str, found: list[str]
) -> None:
    assert codes(RIGHT.replace("/dev/sda", used), release, of_paths(*there)) == found


def test_arrays_over_some_of_the_disks() -> None:
    assert codes(RIGHT_RAID, target=of_paths("sda", "sdb", "sdc", "sdd", "sde")) == ["NLD073"]
    (finding,) = judge_preseed(RIGHT_RAID, "13", of_paths("sda", "sdb", "sdc", "sdd", "sde"))
    assert (finding.severity, finding.hint.partition(",")[0]) == ("error", "install.disk_names: by-id")
    assert finding.where == f"preseed.cfg:{RIGHT_RAID[: RIGHT_RAID.index('d-i partman-auto/disk')].count(chr(10)) + 1}"


def test_releases_differ() -> None:
    smaller = RIGHT.replace("1024 1024 1024", "600 600 600")
    assert (codes(smaller, "12"), codes(smaller, "13")) == ([], ["NLD033"])
    btrfs = RIGHT.replace("4000 ext4", "4000 btrfs")
    assert (codes(btrfs, "12"), codes(btrfs, "13")) == (["NLD025"], [])


def test_numbers_of_partitions_follow_the_label() -> None:
    """Without $primary{ } the first one alone is primary on an msdos disk, and the others are counted from 5."""
    logical = RIGHT_RAID.replace("$primary{ } ", "")
    assert codes(logical) == ["NLD069"] * 4 + ["NLD070"]
    assert codes(logical.replace("2#", "5#").replace("sdd2", "sdd5")) == []
    assert codes(logical.replace("d-i time", GPT + "d-i time").replace(MEMBER.replace("$primary{ } ", ""), GRUB_PART
                 + MEMBER.replace("$primary{ } ", "")).replace("2#", "3#").replace("sdd2", "sdd3").replace("1#", "2#")
                 .replace("sdd1", "sdd2")) == []  # fmt: skip


def test_without_a_machine_only_the_text_is_judged() -> None:
    assert judge_preseed(RIGHT.replace("/dev/sda", "/dev/nvme0n1"), "13") == ()


def test_sizes_may_follow_the_memory() -> None:
    assert codes(RIGHT.replace("1000 1000 1000 linux-swap", "500 50% 500+100% linux-swap")) == ["NLD022"]
    assert codes(RIGHT.replace("1000 1000 1000 linux-swap", "100% 100% 200% linux-swap")) == []


ARGUMENTS: tuple[tuple[str, tuple[str, ...], list[str]], ...] = (
    (RIGHT, ("auto=true", "priority=critical", "console=ttyS0"), []),
    (RIGHT, ("auto=true", "url=http://x/preseed.cfg", "priority=critical", "console=ttyS0"), []),
    (RIGHT, ("url=http://x/preseed.cfg", "priority=critical", "console=ttyS0"), ["NLD090"]),
    (RIGHT, ("console=tty0", "console=ttyS0"), ["NLD091"]),
    (RIGHT, ("priority=critical", "console=ttyS0", "console=tty0"), ["NLD092"]),
    (RIGHT, ("priority=critical",), ["NLD092"]),
    (RIGHT + "d-i netcfg/get_ipaddress string 192.0.2.9\n",
     ("auto=true", "url=http://x/preseed.cfg", "priority=critical", "console=ttyS0"), ["NLD093"]),
    (RIGHT + "d-i netcfg/get_ipaddress string 192.0.2.9\n", ("priority=critical", "console=ttyS0"), []),
    (RIGHT, ("priority=critical", "net.ifnames=0", "console=ttyS0"), ["NLD094"]),
    (RIGHT + "d-i debian-installer/add-kernel-opts string net.ifnames=0\n",
     ("priority=critical", "net.ifnames=0", "console=hvc0"), []),
)  # fmt: skip


@pytest.mark.parametrize(("text", "arguments", "found"), ARGUMENTS)
def test_installer_arguments(text: str, arguments: tuple[str, ...], found: list[str]) -> None:
    assert [finding.code for finding in judge_arguments(arguments, text, "13")] == found


@pytest.mark.parametrize(
    ("content", "chroot", "found"),
    [
        ("#!/bin/sh\ntrue\n", False, []), ("true\n", False, []), ("#!/usr/bin/python3\n", True, []),
        ("#!/bin/bash\ntrue\n", False, ["NLD082"]), ("true\n", True, ["NLD084"]),
        ("#!/bin/sh\r\ntrue\r\n", True, ["NLD085"]),
    ],
)  # fmt: skip
def test_scripts(content: str, chroot: bool, found: list[str]) -> None:
    assert [finding.code for finding in judge_script("late-1", content, chroot=chroot)] == found


def test_every_code_is_found_somewhere_and_explained() -> None:
    own = re.findall(r"NLD[0-9]{3}", Path(__file__).read_text())
    assert set(own) == set(CODES)
    assert all(code.explanation.endswith(".") and code.releases and code.source for code in CODES.values())


def test_findings_say_where() -> None:
    text = RIGHT.replace("popularity-contest/participate boolean false", "popularity-contest/participate boolean no")
    (finding,) = judge_preseed(text, "13", machine())
    assert finding.where == f"preseed.cfg:{RIGHT[: RIGHT.index('popularity-contest')].count(chr(10)) + 1}"
    assert (finding.severity, finding.hint) == ("error", "write true or false")
    (finding,) = judge_preseed(RIGHT.replace("$bootable{ }", "$botable{ }"), "13", machine())
    assert finding.where == f"preseed.cfg:{RIGHT[: RIGHT.index('d-i partman-auto/expert')].count(chr(10)) + 1}"
