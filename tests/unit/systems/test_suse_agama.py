"""Agama profiles, for every case: by a schema of ours for release 16.0 (tests/schemas/agama-16.0.json, restated:
Agama's own is under the GPL, and not part of this project), and by what they say."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest

from builder.systems.machine import machine_of
from builder.systems.suse.judge import judge_agama
from builder.systems.suse.options import SuseInstall
from tests.support.repo import ROOT
from tests.support.rhel import HASH, KEY, RSA
from tests.support.suse import AGAMA, CASES, EXPERIMENT, Case

NAMES = [name for name, case in CASES.items() if case.node.release in AGAMA]
each_case = pytest.mark.parametrize("case", [CASES[name] for name in NAMES], ids=NAMES)
SCHEMA = json.loads((ROOT / "tests/schemas/agama-16.0.json").read_text())


def profile(name: str) -> Any:
    return json.loads(CASES[name].text)


@each_case
def test_the_schema_takes_it(case: Case) -> None:
    jsonschema.Draft201909Validator.check_schema(SCHEMA)
    errors = jsonschema.Draft201909Validator(SCHEMA).iter_errors(json.loads(case.text))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("l10n",), {"locale": "en_US.UTF-8"}),
        (("root", "sshPublicKeys"), ["ssh-rsa A"]),
        (("root", "password"), "secret"),
        (("product", "id"), "openSUSE_Leap"),
        (("storage", "drives"), []),
        (("storage", "drives", 0, "ptableType"), "mbr"),
        (("scripts", "post", 0, "content"), "echo no first line\n"),
        (("network", "connections", 0, "method4"), "dhcp"),
    ],
)
def test_the_schema_can_refuse(path: tuple[str | int, ...], value: Any) -> None:
    """The schema of the tests is a judge: each of these makes it speak."""
    made = profile("16.0-full")
    part = made
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    assert list(jsonschema.Draft201909Validator(SCHEMA).iter_errors(made))


@each_case
def test_our_judge_finds_the_experiment_alone(case: Case) -> None:
    options = SuseInstall.model_validate(case.node.install)
    machine = machine_of(case.node, options.disk_names, options.devices)
    found = judge_agama(case.text, case.node.release, machine)
    assert [finding.code for finding in found] == [EXPERIMENT]
    assert found[0].severity == "warning" and "agama-experimental" in {quirk.name for quirk in case.plan.quirks}


@each_case
def test_xens_arguments_get_to_grub_by_a_script(case: Case) -> None:
    """Agama's own words are for Linux without Xen."""
    made = json.loads(case.text)
    (script,) = [each for each in made["scripts"]["post"] if each["name"] == "finish.sh"]
    assert script["chroot"] is True
    lines = dict(line.split("=", 1) for line in script["content"].splitlines() if line.startswith("GRUB_"))
    assert lines["GRUB_CMDLINE_XEN_DEFAULT"].strip('"').split() == list(case.plan.boot_args.hypervisor)
    dom0 = lines["GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT"].strip('"').split()
    assert dom0 == list(case.plan.boot_args.kernel) and dom0[0] == "console=hvc0"
    after = script["content"].rsplit("NESTLAB\n", 1)[1]
    assert "grub2-mkconfig -o" in after and "grub2-set-default" in after
    words = made["bootloader"]["extraKernelParams"].split()
    assert words == ["console=tty0", "console=ttyS0,115200n8", "net.ifnames=0"]


@each_case
def test_disks_are_laid_out_by_the_nodes_arrays(case: Case) -> None:
    storage = json.loads(case.text)["storage"]
    level = case.node.raid[0].level if case.node.raid else None
    drives = storage["drives"]
    assert len(drives) == (len(case.node.disks) if level is not None else 1)
    for drive in drives:
        assert drive["partitions"][0] == {"search": "*", "delete": True}
    named = {part["alias"]: drive["search"] for drive in drives for part in drive["partitions"] if "alias" in part}
    for array in storage.get("mdRaids", []):
        assert [named[device] for device in array["devices"]] == [drive["search"] for drive in drives]
        assert array["level"] == ("raid1" if array["name"] == "boot" else f"raid{level}")
        assert ("chunkSize" in array) == (array["level"] not in ("raid1",))
    for group in storage.get("volumeGroups", []):
        (volume,) = group["physicalVolumes"]
        assert volume in {*named, *(array["alias"] for array in storage.get("mdRaids", []))}
    paths = [
        part["filesystem"]["path"]
        for device in (*drives, *storage.get("mdRaids", []), *storage.get("volumeGroups", []))
        for part in (device, *device.get("partitions", []), *device.get("logicalVolumes", []))
        if "path" in part.get("filesystem", {})
    ]
    assert {"/", "/boot", "swap"} <= set(paths) and len(set(paths)) == len(paths)
    assert ("/boot/efi" in paths) == (case.node.firmware == "uefi")


@each_case
def test_every_port_has_a_connection(case: Case) -> None:
    connections = json.loads(case.text)["network"]["connections"]
    by_name = {each["interface"]: each for each in connections}
    ports = [
        port for each in connections for kind in ("bridge", "bond") for port in each.get(kind, {}).get("ports", [])
    ]
    assert len(set(ports)) == len(ports)
    for port in ports:
        assert (by_name[port]["method4"], by_name[port]["method6"]) == ("disabled", "disabled")
    assert all(each["vlan"]["parent"] in by_name for each in connections if "vlan" in each)


def test_addresses_go_to_what_is_on_top() -> None:
    listed = {each["interface"]: each for each in profile("16.0-network")["network"]["connections"]}
    assert (listed["xenbr0"]["addresses"], listed["xenbr0"]["gateway4"]) == (["192.0.2.10/24"], "192.0.2.1")
    assert listed["xenbr0"]["nameservers"] == ["192.0.2.53", "192.0.2.54"]
    assert listed["xenbr1"]["addresses"] == ["10.0.0.5/24", "fd00::5/64"]
    assert (listed["xenbr1"]["method4"], listed["xenbr1"]["method6"], listed["eth1"]["mtu"]) == (
        "manual",
        "manual",
        9000,
    )
    assert listed["xenbr2.10"]["vlan"] == {"id": 10, "parent": "xenbr2"}
    six = {each["interface"]: each for each in profile("16.0-six")["network"]["connections"]}
    assert (six["xenbr0"]["gateway6"], six["xenbr0"]["method4"]) == ("fd00::1", "disabled")


def test_accounts_beyond_what_the_release_can_be_told_come_by_a_script() -> None:
    made = profile("16.0-full")
    assert made["root"] == {"password": HASH, "hashedPassword": True, "sshPublicKey": KEY}
    assert made["user"] == {"fullName": "alice", "userName": "alice", "password": HASH, "hashedPassword": True}
    (script,) = [each["content"] for each in made["scripts"]["post"] if each["name"] == "finish.sh"]
    assert (
        "useradd --create-home --password '*' bob " in script
        and "useradd --create-home --password '*' alice" not in script
    )
    assert "usermod --append --groups wheel alice" in script and "usermod --append --groups audio alice" in script
    assert script.count(f"echo '{RSA}' >>") == 2 and script.count(f"echo '{KEY}' >>") == 1
    assert "systemctl enable xen-LIBXL_HOTPLUG_TIMEOUT.service" in script
    assert "systemctl disable postfix.service" in script


def test_everything_else_that_can_be_said() -> None:
    made = profile("16.0-full")
    assert made["hostname"] == {"static": "host-a.lab.example"}
    assert made["localization"] == {"language": "de_DE.UTF-8", "keyboard": "de", "timezone": "Europe/Berlin"}
    assert made["software"]["extraRepositories"] == [{"alias": "extra", "url": "http://mirror.example/extra"}]
    assert {"vim", "xen", "xen-tools", "chrony"} <= set(made["software"]["packages"])
    assert made["software"]["patterns"] == ["documentation"]
    files = {each["destination"]: each for each in made["files"]}
    assert files["/etc/chrony.d/nestlab.conf"]["content"] == "server ntp1.example iburst\nserver 192.0.2.123 iburst\n"
    assert (files["/etc/motd"]["content"], files["/etc/motd"]["permissions"]) == ("<b> & ]]> \"'\n", "0600")
    assert files["/etc/sudoers.d/nestlab-alice"]["permissions"] == "0440"
    scripts = {each["name"]: each for stage in made["scripts"].values() for each in stage}
    assert scripts["pre-1"]["content"] == "#!/bin/bash\necho pre\n"
    assert (scripts["post-2"]["content"], scripts["post-2"]["chroot"]) == (
        "#!/usr/bin/python3\nprint('%d' % 1)\n", False,
    )  # fmt: skip
    assert scripts["first-boot-1"]["content"] == "#!/bin/sh\ntouch /root/started\n"
    root_volume = made["storage"]["volumeGroups"][0]["logicalVolumes"][1]
    assert root_volume["filesystem"]["type"] == {"btrfs": {"snapshots": False}} and root_volume["size"] == "20480 MiB"
    assert root_volume["filesystem"]["mountOptions"] == ["defaults", "discard"]


def test_registration() -> None:
    assert profile("sles16-registered")["product"] == {"id": "SLES", "registrationCode": "ABC-123"}
