"""Our judge of kickstarts: each code is found where something is wrong, and not in the kickstart that it was made from.

Each case changes one thing in a right kickstart; what is found besides is listed with it.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from builder.systems.machine import Card, Machine, MachineDisk
from builder.systems.rhel.judge import CODES, judge_arguments, judge_host, judge_kickstart
from tests.support.rhel import HANDLERS, parsed, rhel_node

GIB = 1 << 30
RELEASES = tuple(HANDLERS)

# Written by hand from the corrected recipe: not what the generator makes.
RIGHT = """\
text
cdrom
lang en_US.UTF-8
keyboard us
timezone --utc Etc/UTC
rootpw --iscrypted $6$salt$hash
network --device=eth0 --bootproto=dhcp --onboot=yes
network --device=eth1 --bootproto=static --ip=10.0.0.5 --netmask=255.255.255.0 --gateway=10.0.0.1
network --hostname=host
bootloader --location=mbr --boot-drive=sda --append="console=ttyS0 a=b"
zerombr
ignoredisk --only-use=sda,sdb,sdc,sdd
clearpart --all --initlabel --disklabel=msdos --drives=sda,sdb,sdc,sdd
part raid.11 --size=1024 --ondisk=sda
part raid.12 --size=1024 --ondisk=sdb
part raid.13 --size=1024 --ondisk=sdc
part raid.14 --size=1024 --ondisk=sdd
part raid.21 --size=1 --grow --ondisk=sda
part raid.22 --size=1 --grow --ondisk=sdb
part raid.23 --size=1 --grow --ondisk=sdc
part raid.24 --size=1 --grow --ondisk=sdd
raid /boot --level=RAID1 --device=md0 --fstype=ext4 raid.11 raid.12 raid.13 raid.14
raid pv.01 --level=RAID10 --device=md1 raid.21 raid.22 raid.23 raid.24
volgroup vg --pesize=65536 pv.01
logvol swap --fstype=swap --name=swap --vgname=vg --size=4096
logvol / --fstype=ext4 --name=root --vgname=vg --size=1024 --grow
poweroff
%packages
@core
%end
%post
echo ready
%end
"""
RIGHT_6 = RIGHT.replace(" --boot-drive=sda", " --driveorder=sda").replace(" --disklabel=msdos", "")
EFI_PARTS = "".join(f"part raid.0{n} --size=600 --ondisk=sd{'abcd'[n - 1]}\n" for n in range(1, 5))
EFI = EFI_PARTS + "raid /boot/efi --level=RAID1 --device=md2 --fstype=efi raid.01 raid.02 raid.03 raid.04\n"
RIGHT_EFI = RIGHT.replace("msdos", "gpt").replace("part raid.11", EFI + "part raid.11", 1)
BIOSBOOT = "".join(f"part biosboot --fstype=biosboot --size=1 --ondisk=sd{d}\n" for d in "abcd")
RIGHT_GPT = RIGHT.replace("msdos", "gpt").replace("part raid.11", BIOSBOOT + "part raid.11", 1)


def machine(firmware: str = "bios", *, size: int = 100 * GIB, odd_sector: bool = False) -> Machine:
    disks = tuple(
        MachineDisk(f"d{n}", f"sd{letter}", size, 4096 if odd_sector and n == 3 else 512)
        for n, letter in enumerate("abcd")
    )
    cards = (Card(0, "eth0", "52:54:00:00:00:01"), Card(1, "eth1", "52:54:00:00:00:02"))
    return Machine("uefi" if firmware == "uefi" else "bios", disks, cards, cards_in_order=True)


def right(release: str) -> str:
    return RIGHT_6 if release == "el6" else RIGHT


def codes(text: str, release: str, target: Machine | None = None) -> list[str]:
    return [finding.code for finding in judge_kickstart(text, release, target or machine())]


# Code, release, what stands there, what is put in its place, and what else that brings.
CHANGES: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("NLK001", "el9", "lang en_US.UTF-8", 'lang "en_US.UTF-8', ("NLK070",)),
    ("NLK002", "el9", "echo ready\n%end\n", "echo ready\n", ()),
    ("NLK002", "el9", "@core\n%end\n", "@core\n", ()),
    ("NLK003", "el9", "poweroff\n", "poweroff\n%include /tmp/disks\n", ()),
    ("NLK003", "el9", "echo ready\n", "%include /tmp/script\n", ()),
    ("NLK004", "el6", "%post\n", "%pre-install\n", ()),
    ("NLK010", "el9", "text\n", "text\ninstall\n", ()),
    ("NLK010", "el7", "text\n", "text\nsshkey --username=root 'ssh-rsa x'\n", ()),
    ("NLK010", "el10", "text\n", "text\nauthconfig --enableshadow\n", ()),
    ("NLK011", "el6", "--driveorder=sda", "--boot-drive=sda", ()),
    ("NLK011", "el8", "%packages\n", "%packages --nobase\n", ()),
    ("NLK011", "el10", "--utc Etc/UTC", "--utc Etc/UTC --ntpservers=a.example", ()),
    ("NLK012", "el8", "text\n", "text\ninstall\n", ()),
    ("NLK012", "f45", "--utc Etc/UTC", "--utc Etc/UTC --ntpservers=a.example", ()),
    ("NLK013", "el9", "zerombr\n", "zerombr yes\n", ()),
    ("NLK014", "el9", "text\n", "text\nfrstboot --disable\n", ()),
    ("NLK014", "f45", "%post\n", "%postt\n", ()),
    ("NLK020", "el7", "--location=mbr", "--location=partition", ()),
    ("NLK021", "el9", "--boot-drive=sda", "--boot-drive=sde", ("NLK062",)),
    ("NLK022", "el8", "--boot-drive=sda", "--boot-drive=sda --driveorder=sda,sdb", ()),
    ("NLK023", "el9", "--disklabel=msdos", "--disklabel=gpt", ()),
    ("NLK023", "el10", " --disklabel=msdos", "", ("NLK023", "NLK023", "NLK023")),
    ("NLK024", "el9", "part raid.11", "part biosboot --fstype=biosboot --size=1 --ondisk=sda\npart raid.11", ()),
    ("NLK025", "el9", "--disklabel=msdos", "--disklabel=foo", ()),
    ("NLK025", "el9", "--disklabel=msdos", "--disklabel=mbr", ()),
    ("NLK030", "el9", "raid.13 raid.14\n", "raid.13 raid.99\n", ("NLK033",)),
    ("NLK031", "el9", "part raid.12 --size=1024 --ondisk=sdb", "part raid.11 --size=1024 --ondisk=sdb", ("NLK030",)),
    ("NLK031", "el9", "--name=root", "--name=swap", ()),
    ("NLK032", "el9", "raid.22 raid.23 raid.24\n", "raid.22 raid.23 raid.14\n", ("NLK033",)),
    ("NLK033", "el9", "part raid.11", "part raid.31 --size=9 --ondisk=sda\npart raid.11", ()),
    ("NLK034", "el9", "raid.11 raid.12 raid.13 raid.14", "raid.11", ("NLK033", "NLK033", "NLK033")),
    ("NLK035", "el9", "raid pv.01 --level=RAID10 --device=md1 raid.21 raid.22 raid.23 raid.24",
     "part raid.25 --size=1 --ondisk=sdd\npart raid.26 --size=1 --ondisk=sdd\n"
     "raid pv.01 --level=10 --device=md1 raid.21 raid.22 raid.23 raid.24 raid.25\n"
     "raid /x --level=1 --device=md3 raid.26 raid.24", ("NLK032", "NLK038", "NLK038")),
    ("NLK036", "el9", "raid /boot --level=RAID1", "raid /boot --level=RAID10", ()),
    ("NLK037", "el9", "raid /boot --level=RAID1 --device=md0 --fstype=ext4 raid.11 raid.12 raid.13 raid.14",
     "logvol /boot --fstype=ext4 --name=boot --vgname=vg --size=1024", ("NLK033",) * 4),
    ("NLK038", "el9", "part raid.22 --size=1 --grow --ondisk=sdb", "part raid.22 --size=1 --grow --ondisk=sda", ()),
    ("NLK039", "el9", "raid pv.01 ", 'raid pv.01 --fstype "physical volume (LVM)" ', ()),
    ("NLK040", "el6", "--device=md0", "--device=boot", ()),
    ("NLK043", "el9", "part raid.11", "part /srv --useexisting\npart raid.11", ()),
    ("NLK043", "el7", "part raid.11", "part /srv --noformat\npart raid.11", ()),
    ("NLK044", "el8", "--device=md0 --fstype=ext4", "--device=md0 --fstype=btrfs", ()),
    ("NLK050", "el9", "--pesize=65536 pv.01", "--pesize=65536 pv.01 pv.02", ()),
    ("NLK051", "el9", "--name=root --vgname=vg", "--name=root --vgname=vh", ()),
    ("NLK052", "el9", "part raid.11", "part pv.09 --size=9 --ondisk=sda\npart raid.11", ()),
    ("NLK053", "el9", "--pesize=65536", "--pesize=65000", ()),
    ("NLK054", "el9", "logvol / ", "logvol /srv ", ()),
    ("NLK055", "el9", "--size=1024 --ondisk", "--size=250 --ondisk", ()),
    ("NLK057", "el9", "raid /boot ", "raid /srv ", ()),
    ("NLK060", "el9", "--drives=sda,sdb,sdc,sdd", "--drives=sda,sdb,sdc", ()),
    ("NLK060", "el9", "--only-use=sda,sdb,sdc,sdd", "--drives=sdd", ()),
    ("NLK061", "el9", "zerombr\n", "", ()),
    ("NLK061", "el9", "clearpart --all --initlabel --disklabel=msdos --drives=sda,sdb,sdc,sdd\n", "", ()),
    ("NLK062", "el8", "sdd", "sde", ()),
    ("NLK063", "el9", "part raid.14 --size=1024", "part raid.14 --size=999999", ()),
    *(("NLK070", "el9", line, "", ()) for line in (
        "text\n", "cdrom\n", "lang en_US.UTF-8\n", "keyboard us\n", "timezone --utc Etc/UTC\n", "poweroff\n",
        "rootpw --iscrypted $6$salt$hash\n", "%packages\n@core\n%end\n",
        'bootloader --location=mbr --boot-drive=sda --append="console=ttyS0 a=b"\n')),
    ("NLK070", "el6", "text\n", "text\ninteractive\n", ()),
    ("NLK071", "el9", "poweroff\n", "reboot --eject\n", ()),
    ("NLK072", "el9", "--iscrypted $6$salt$hash", "secret", ()),
    ("NLK073", "el9", "--iscrypted $6$salt$hash", "--lock", ()),
    ("NLK074", "el6", "echo ready\n", "echo 'ssh-ed25519 AAAAx' >> /root/.ssh/authorized_keys\n", ()),
    ("NLK075", "el7", "$6$salt$hash", "$y$j9T$salt$hash", ()),
    ("NLK080", "el9", "--device=eth1", "--device=eth7", ()),
    ("NLK081", "el9", " --netmask=255.255.255.0", "", ()),
    ("NLK081", "el9", "--netmask=255.255.255.0", "--netmask=255.0.255.0", ()),
    ("NLK082", "el9", "--gateway=10.0.0.1", "--gateway=10.0.1.1", ()),
    ("NLK083", "el9", "network --hostname", "network --device=bond0 --bondslaves=eth0,eth1\n"
     "network --device=bond1 --bondslaves=eth1,eth0\nnetwork --hostname", ("NLK083",)),
    ("NLK084", "el9", "--device=eth1", "--device=eth1 --vlanid=4095", ()),
    ("NLK085", "el9", "network --hostname=host\n", "", ()),
    ("NLK086", "el9", "network --hostname",
     "network --device=br0 --bridgeslaves=52:54:00:00:00:02\nnetwork --hostname", ()),
)  # fmt: skip


@pytest.mark.parametrize(
    ("code", "release", "old", "new", "besides"), CHANGES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CHANGES)]
)
def test_one_wrong_thing_is_found(code: str, release: str, old: str, new: str, besides: tuple[str, ...]) -> None:
    text = right(release)
    assert old in text
    found = codes(text.replace(old, new), release)
    assert sorted(found) == sorted((code, *besides))


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_is_found_in_what_is_right(release: str) -> None:
    assert codes(right(release), release) == []
    parsed(right(release), release)
    if release != "el6":
        assert codes(RIGHT_EFI, release, machine("uefi")) == []
        assert codes(RIGHT_GPT, release) == []


def test_what_uefi_starts_from() -> None:
    uefi = machine("uefi")
    assert codes(RIGHT_EFI.replace("raid /boot/efi --level=RAID1", "raid /boot/efi --level=RAID10"), "el9", uefi) == [
        "NLK028"
    ]
    assert codes(RIGHT_EFI.replace("raid /boot/efi", "raid /efi"), "el9", uefi) == ["NLK027", "NLK028"]
    assert codes(RIGHT_EFI.replace("--size=600", "--size=100"), "el9", uefi) == ["NLK056"]
    assert codes(RIGHT, "el9", uefi) == ["NLK027"]
    six = RIGHT_6.replace("part raid.11", EFI + "part raid.11", 1)
    assert codes(six, "el6", uefi) == ["NLK029"]


def test_what_depends_on_the_disks() -> None:
    assert codes(RIGHT, "el9", machine(size=3 << 40)) == ["NLK026"] * 4
    assert codes(RIGHT_GPT, "el9", machine(size=3 << 40)) == []
    assert codes(RIGHT, "el9", machine(odd_sector=True)) == ["NLK042", "NLK041", "NLK041"]
    assert codes(RIGHT_EFI, "el9", machine("uefi", odd_sector=True)) == ["NLK041"] * 3


SD = ("sda", "sdb")
BY_ID = "/dev/disk/by-id/wwn-0x5000"
NAMES: tuple[tuple[tuple[str, ...], tuple[str, ...], bool], ...] = (
    (("sda",), ("sda",), False),
    (SD, SD, False),
    (SD, ("sda",), True),
    (("sda", BY_ID), ("sda",), True),
    (("sda", BY_ID), ("sda", BY_ID), True),
    (("sda", BY_ID), (BY_ID,), False),
    (("sda", "vda"), ("sda",), False),
    (("sda", "nvme0n1", "/dev/disk/by-id/virtio-disk2"), ("sda",), False),
    (("vda", "vdb"), ("vda",), False),
    (("sda", "mmcblk0", "xvda"), ("sda",), False),
    (("sda", "/dev/mapper/mpatha"), ("sda",), True),
)


@pytest.mark.parametrize(("there", "used", "by_chance"), NAMES)
@pytest.mark.parametrize("release", RELEASES)
def test_a_name_is_good_for_all_disks_or_for_none(
    release: str, there: tuple[str, ...], used: tuple[str, ...], by_chance: bool
) -> None:
    """Up to release 8 the disks of one controller are found one after the other."""
    disks = tuple(MachineDisk(path, path, 100 * GIB, 512) for path in there)
    lines = "".join(f"part pv.{number} --size=1 --ondisk={disk}\n" for number, disk in enumerate(used))
    found = codes(lines, release, dataclasses.replace(machine(), disks=disks))
    assert ("NLK064" in found) == (by_chance and release not in ("el6", "el7", "el8"))
    found = codes(f"ignoredisk --only-use={','.join(used)}\nautopart\n", release,
                  dataclasses.replace(machine(), disks=disks))  # fmt: skip
    assert ("NLK064" in found) == (by_chance and release not in ("el6", "el7", "el8"))


@pytest.mark.parametrize("release", RELEASES)
def test_controllers_of_several_kinds_are_left_to_chance_by_every_kernel(release: str) -> None:
    disks = tuple(MachineDisk(path, path, 100 * GIB, 512, bus) for path, bus in (("sda", "ide"), ("sdb", "lsilogic")))
    two = dataclasses.replace(machine(), disks=disks)
    assert "NLK064" in codes("part pv.0 --size=1 --ondisk=sda\n", release, two)
    both = "part pv.0 --size=1 --ondisk=sda\npart pv.1 --size=1 --ondisk=sdb\n"
    assert "NLK064" not in codes(both, release, two)


def test_a_command_that_is_misspelt_has_a_neighbour() -> None:
    (finding,) = judge_kickstart(RIGHT.replace("bootloader", "bootlaoder"), "el9", machine())[-1:]
    assert finding.code == "NLK014" and finding.hint == "did you mean bootloader?"


@pytest.mark.parametrize("release", RELEASES)
def test_what_stands_behind_a_hash_is_no_word(release: str) -> None:
    text = (
        right(release).replace("zerombr\n", "zerombr # yes\n").replace("raid.13 raid.14\n", "raid.13 raid.14 # four\n")
    )
    assert codes(text, release) == []
    parsed(text, release)


def test_without_a_machine_only_the_text_is_judged() -> None:
    assert judge_kickstart(RIGHT.replace("sdd", "sdz").replace("eth1", "eth9"), "el9") == ()


def test_a_locked_root_is_fine_beside_an_administrator() -> None:
    text = RIGHT.replace("--iscrypted $6$salt$hash", "--lock")
    admin = "user --name=a --groups=wheel --iscrypted --password=$6$salt$hash\n"
    assert codes(admin + text, "el9") == []
    assert codes(admin.replace("wheel", "adm") + text, "el9") == ["NLK073"]


# The recipe that many have copied since 2011; release 6 installed it.
OLD = """\
zerombr yes
bootloader --location=partition --driveorder=sda,sdb,sdc,sdd
clearpart --all --initlabel --drives=sda,sdb,sdc,sdd
""" + "".join(
    f"part raid.{n} --size={size} --ondisk=sd{disk}\n"
    for n, (size, disk) in enumerate([(s, d) for s in ("250", "1 --grow") for d in "abcd"])
) + """\
raid /boot --fstype ext3 --level=RAID1 --device=md0 raid.0 raid.1 raid.2 raid.3
raid pv.8 --fstype "physical volume (LVM)" --level=RAID10 --device=md1 raid.4 raid.5 raid.6 raid.7
volgroup vg --pesize=65536 pv.8
logvol swap --fstype swap --name=SystemSwap --vgname=vg --size=4096
logvol / --fstype ext4 --name=SystemRoot --vgname=vg --size=1 --grow
"""  # fmt: skip


@pytest.mark.parametrize("release", RELEASES)
def test_the_old_recipe_is_told_all_that_is_wrong_with_it(release: str) -> None:
    found = set(codes(OLD, release)) - {"NLK070", "NLK085"}
    wanted = {"NLK013", "NLK039"}
    if release != "el6":
        wanted |= {"NLK020", "NLK022"}
    if release not in ("el6", "el7"):
        wanted |= {"NLK055"}
    if release in ("el10", "f44", "f45"):
        wanted |= {"NLK023"}
    assert found == wanted


ARGUMENTS: tuple[tuple[str, tuple[str, ...], list[str]], ...] = (
    ("el9", ("inst.ks=file:/ks.cfg", "console=tty0", "console=ttyS0,115200"), []),
    ("el6", ("ks=file:/ks.cfg", "console=ttyS0"), []),
    ("el7", ("ks=file:/ks.cfg", "console=ttyS0"), []),
    ("el9", ("ks=file:/ks.cfg", "console=ttyS0"), ["NLK090", "NLK093"]),
    ("f45", ("inst.ks=x", "vnc", "sshd", "console=ttyS0"), ["NLK090", "NLK090"]),
    ("el6", ("inst.ks=file:/ks.cfg", "console=ttyS0"), ["NLK091", "NLK093"]),
    ("el9", ("inst.ks=x", "console=ttyS0", "console=tty0"), ["NLK092"]),
    ("el9", ("inst.ks=x",), ["NLK092"]),
    ("el9", ("console=hvc0",), ["NLK093"]),
)


@pytest.mark.parametrize(("release", "arguments", "found"), ARGUMENTS)
def test_installer_arguments(release: str, arguments: tuple[str, ...], found: list[str]) -> None:
    assert [finding.code for finding in judge_arguments(arguments, release)] == found


def test_every_code_is_found_somewhere_and_explained() -> None:
    own = re.findall(r"NLK[0-9]{3}", Path(__file__).read_text())
    assert set(own) == set(CODES)
    assert all(code.explanation.endswith(".") and code.releases and code.source for code in CODES.values())


@pytest.mark.parametrize("release", RELEASES)
def test_disks_without_a_driver(release: str) -> None:
    found = [finding.code for finding in judge_host(rhel_node(release, 2, 1, bus="lsilogic"))]
    assert found == (["NLK100"] * 2 if release in ("el9", "el10") else [])
    assert judge_host(rhel_node(release, 2, 1, bus="virtio")) == ()


def test_findings_say_where() -> None:
    (finding,) = judge_kickstart(RIGHT.replace("--pesize=65536", "--pesize=65000"), "el9", machine())
    assert finding.where == f"ks.cfg:{RIGHT[: RIGHT.index('volgroup')].count(chr(10)) + 1}"
    assert (finding.severity, finding.hint) == ("error", "a power of two: 4096, 65536")
