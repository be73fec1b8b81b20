"""Our judge of Agama profiles: each code is found where something is wrong, and not in the profile it was made from."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest

from builder.systems.machine import Machine, MachineDisk
from builder.systems.suse.judge import judge_agama
from tests.support.suse_right import AGAMA_RIGHT, GIB, machine

Where = tuple[str | int, ...]
GONE = object()
AGAMA_CHANGES: tuple[tuple[str, Where, Any, tuple[str, ...]], ...] = (
    ("NLS101", ("sotfware",), {}, ()),
    ("NLS101", ("root", "sshPublicKeys"), ["ssh-rsa A"], ()),
    ("NLS101", ("bootloader", "extraKernelParms"), "quiet", ()),
    ("NLS102", ("product", "id"), "openSUSE_Leap", ()),
    ("NLS102", ("product",), GONE, ()),
    ("NLS103", ("storage", "drives", 1, "search"), "/dev/sdz", ("NLS074",)),
    ("NLS104", ("storage", "mdRaids", 1, "devices"), ["pa", "pc"], ()),
    ("NLS104", ("storage", "volumeGroups", 0, "physicalVolumes"), ["pw"], ()),
    ("NLS104", ("storage", "boot"), {"configure": False, "device": "x"}, ()),
    ("NLS055", ("storage", "mdRaids", 1, "level"), "RAID1", ()),
    ("NLS056", ("storage", "mdRaids", 1, "devices"), ["pa"], ()),
    ("NLS057", ("storage", "mdRaids", 1, "devices"), ["pa", "ba"], ()),
    ("NLS058", ("storage", "mdRaids", 0, "level"), "raid0", ()),
    ("NLS050", ("storage", "volumeGroups", 0, "logicalVolumes"), [], ()),
    ("NLS061", ("storage", "volumeGroups", 0, "physicalVolumes"), [], ()),
    ("NLS065", ("storage", "mdRaids", 0, "filesystem", "path"), "/", ()),
    ("NLS067", ("storage", "drives", 0, "partitions", 2, "size"), "900 GiB", ()),
    ("NLS070", ("storage", "drives", 0, "partitions", 1),
     {"id": "bios_boot", "size": "99 MiB", "filesystem": {"path": "/boot/efi"}}, ()),
    ("NLS080", ("network", "connections", 0, "interface"), "eth9", ()),
    ("NLS083", ("network", "connections", 2), {"id": "br1", "bridge": {"ports": ["eth0"]}}, ()),
    ("NLS084", ("network", "connections", 2, "vlan", "parent"), "br9", ()),
    ("NLS107", ("root", "hashedPassword"), GONE, ()),
    ("NLS107", ("root", "password"), "secret", ()),
    ("NLS108", ("root",), {}, ()),
    ("NLS109", ("scripts", "pre"), [{"name": "x", "content": "echo\n"}], ()),
    ("NLS109", ("scripts", "pre"), [{"name": "x", "content": "#!/bin/sh\n", "url": "http://x"}], ()),
    ("NLS043", ("scripts", "post", 0, "content"),
     "#!/bin/sh\necho 'GRUB_CMDLINE_XEN_DEFAULT=\"dom0_mem=512M,max:512M\"' >>/etc/default/grub\ngrub2-mkconfig -o x\n",
     ()),
    ("NLS110", ("scripts",), {}, ()),
    ("NLS110", ("scripts", "post", 0, "chroot"), False, ()),
    ("NLS111", ("bootloader", "extraKernelParams"), "dom0_mem=2G", ()),
    ("NLS112", ("questions",), GONE, ()),
    ("NLS112", ("questions", "policy"), "user", ()),
    ("NLS113", ("storage", "drives", 0, "partitions", 0), {"id": "swap", "size": "1 GiB"}, ()),
    ("NLS114", ("network", "connections", 1, "bridge", "ports"), ["eth1"], ()),
    ("NLS116", ("bootloader",), {"stopOnBootMenu": True}, ()),
)  # fmt: skip


def changed(path: Where, value: Any) -> str:
    profile = copy.deepcopy(AGAMA_RIGHT)
    part: Any = profile
    for step in path[:-1]:
        part = part[step]
    if value is GONE:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return json.dumps(profile)


def of_agama(text: str, target: Machine | None = None, release: str = "16.0") -> list[str]:
    """Without the warning that each profile has."""
    found = [finding.code for finding in judge_agama(text, release, target or machine())]
    assert found.count("NLS115") == 1
    return [code for code in found if code != "NLS115"]


@pytest.mark.parametrize(
    ("code", "path", "value", "besides"), AGAMA_CHANGES, ids=[f"{r[0]}-{n}" for n, r in enumerate(AGAMA_CHANGES)]
)
def test_one_wrong_thing_is_found_in_agamas(code: str, path: Where, value: Any, besides: tuple[str, ...]) -> None:
    assert sorted(of_agama(changed(path, value))) == sorted((code, *besides))


def test_agamas_firmware_and_disks() -> None:
    right = json.dumps(AGAMA_RIGHT)
    assert of_agama(right) == []
    assert of_agama(changed(("bootloader", "extraKernelParams"), "iommu=soft quiet")) == []
    assert of_agama(right, machine("uefi")) == ["NLS118"]
    assert of_agama(changed(("storage", "boot"), {"configure": True}), machine("uefi")) == []
    assert of_agama(right, machine(native=True)) == ["NLS072", "NLS072"]
    assert of_agama(right, machine(odd=True)) == ["NLS072", "NLS073", "NLS073"]
    added = changed(("storage", "boot"), {"configure": True})
    assert of_agama(added, machine("uefi", odd=True)) == ["NLS073", "NLS073"]
    without = added.replace('{"id": "bios_boot", "size": "8 MiB"}, ', "").replace("gpt", "msdos")
    assert of_agama(without) == []
    assert of_agama(without, machine(native=True)) == ["NLS072", "NLS072"]
    msdos = changed(("storage", "drives", 0, "ptableType"), "msdos")
    assert of_agama(msdos, machine(size=3 << 40)) == ["NLS071"]
    assert of_agama(changed(("product", "id"), "SLES"), release="sles16") == []
    assert judge_agama(right.replace("sdb", "sdz").replace("eth0", "eth9"), "16.0")[1:] == ()


def test_agamas_names_are_good_for_all_disks_or_for_none() -> None:
    third = dataclasses.replace(machine(), disks=(*machine().disks, MachineDisk("d2", "sdc", 100 * GIB, 512)))
    right = json.dumps(AGAMA_RIGHT)
    assert of_agama(right, third) == ["NLS074"]
    assert of_agama(right.replace("/dev/sd", "/dev/vd"), machine(prefix="vd")) == []
    (finding, _) = judge_agama(right, "16.0", third)
    assert (finding.where, finding.severity) == ("autoinst.json:storage.drives[0]", "error")


@pytest.mark.parametrize("text", ["{", "[]", "null", "\x00"])
def test_what_is_no_profile(text: str) -> None:
    assert of_agama(text) == ["NLS100"]
