"""Answer files of every release and mode, by several judges: golden text, our strict reading, lxml, and bash itself."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from builder.systems.machine import machine_of
from builder.systems.xcpng.judge import judge_answers
from builder.systems.xcpng.options import XcpngInstall
from builder.systems.xcpng.system import Xcpng
from tests.conftest import GOLDEN
from tests.support.rhel import HASH, KEY
from tests.support.xcpng import CASES, FULL, RELEASES, Case, xcpng_node

KEPT = (
    "8.2-full",
    "8.3-full",
    "xs8-full",
    "8.3-plain",
    "8.2-raid",
    "8.3-raid",
    "8.3-upgrade",
    "8.3-restore",
    "8.3-six",
)
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each_release = pytest.mark.parametrize("release", RELEASES)


@pytest.mark.parametrize("name", KEPT)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"xcpng/{name}.xml", CASES[name].text)


def test_script_text(golden: Callable[[str, str], None]) -> None:
    golden("xcpng/filesystem-populated.sh", CASES["8.3-full"].files["filesystem-populated.sh"])


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in (GOLDEN / "xcpng").iterdir()} == {
        *(f"{n}.xml" for n in KEPT),
        "filesystem-populated.sh",
    }


@each_case
def test_our_judge_finds_what_is_expected(case: Case) -> None:
    options = XcpngInstall.model_validate(case.node.install)
    machine = machine_of(case.node, options.disk_names, options.devices)
    assert judge_answers(case.text, case.node.release, machine) == ()
    assert tuple(finding.code for finding in Xcpng().plan(case.node).findings) == case.warned


@each_case
def test_another_reader_sees_the_same(case: Case) -> None:
    ours, theirs = ET.fromstring(case.text), etree.fromstring(case.text)
    assert [(e.tag, dict(e.attrib), (e.text or "").strip()) for e in ours.iter()] == [
        (e.tag, dict(e.attrib), (e.text or "").strip()) for e in theirs.iter()
    ]


@each_case
def test_scripts_are_what_bash_reads(case: Case) -> None:
    for name, content in case.files.items():
        if name.endswith(".sh"):
            done = subprocess.run(["bash", "-n"], input=content, text=True, capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), name


def texts(root: ET.Element, tag: str) -> list[str]:
    return [(element.text or "").strip() for element in root.iter(tag)]


@each_release
def test_everything_that_can_be_said_is_there(release: str) -> None:
    root = ET.fromstring(CASES[f"{release}-full"].text)
    assert root.get("mode") == "fresh" and root.get("sr-type") == "lvm"
    assert [(e.get("type"), e.text) for e in root.iter("source")] == [
        ("local", None), ("url", FULL["sources"][1]), ("nfs", "files.example:/srv/xcp"),
    ]  # fmt: skip
    assert [(e.get("type"), e.text) for e in root.iter("driver-source")] == [("url", "http://mirror.example/drivers")]
    (primary,) = root.iter("primary-disk")
    assert (primary.text, primary.get("guest-storage"), primary.get("preserve-first-partition")) == (
        "sda",
        "true",
        "false",
    )
    assert texts(root, "guest-disk") == ["sdb", "sdc"]
    (interface,) = root.iter("admin-interface")
    assert dict(interface.attrib) == {"hwaddr": "52:54:00:00:00:01", "proto": "static", "vlan": "7"}
    assert [(e.tag, e.text) for e in interface] == [
        ("ipaddr", "192.0.2.10"), ("subnet", "255.255.255.0"), ("gateway", "192.0.2.1"),
    ]  # fmt: skip
    assert texts(root, "name-server") == ["192.0.2.53", "192.0.2.54"]
    assert texts(root, "ntp-server") == FULL["ntp"]
    (password,) = root.iter("root-password")
    assert (password.get("type"), password.text) == ("hash", HASH)
    assert [(e.get("name"), e.get("state")) for e in root.iter("service")] == [
        ("sshd", "enabled"), ("postfix", "disabled"), ("xcp-rrdd", "disabled"),
    ]  # fmt: skip
    assert [(e.get("stage"), (e.text or "").rpartition("/")[2]) for e in root.iter("script")] == [
        ("filesystem-populated", "filesystem-populated.sh"), ("installation-complete", "installation-complete.sh"),
        ("installation-start", "installation-start-1"), ("filesystem-populated", "filesystem-populated-1"),
        ("installation-complete", "installation-complete-1"),
    ]  # fmt: skip
    for tag, text in (("hostname", "host-a.lab.example"), ("timezone", "Europe/Paris"), ("keymap", "fr"),
                      ("network-backend", "bridge")):  # fmt: skip
        assert texts(root, tag) == [text]


def test_names_that_differ_by_release() -> None:
    roots = {release: ET.fromstring(CASES[f"{release}-full"].text) for release in RELEASES}
    signatures = {"gpgcheck", "repo-gpgcheck", "netinstall-gpg-check"}
    assert {release: signatures & set(root.attrib) for release, root in roots.items()} == {
        "8.2": {"netinstall-gpg-check"}, "8.3": {"gpgcheck", "repo-gpgcheck"}, "xs8": {"gpgcheck", "repo-gpgcheck"},
    }  # fmt: skip
    assert {release: [e.get("source") for e in root.iter("ntp")] for release, root in roots.items()} == {
        "8.2": [], "8.3": ["manual"], "xs8": ["manual"],
    }  # fmt: skip


def test_an_array_carries_no_storage_where_the_installer_would_trip() -> None:
    for release, storage in (("8.2", "true"), ("8.3", "false")):
        root = ET.fromstring(CASES[f"{release}-raid"].text)
        (raid,) = root.iter("raid")
        (primary,) = root.iter("primary-disk")
        assert (raid.get("device"), texts(raid, "disk"), primary.text) == ("md127", ["sda", "sdb"], "md127")
        assert (primary.get("guest-storage"), texts(root, "guest-disk")) == (storage, ["sdc"])


@each_release
def test_other_modes_say_only_what_is_read(release: str) -> None:
    upgrade = ET.fromstring(CASES[f"{release}-upgrade"].text)
    assert [e.tag for e in upgrade] == ["source", "existing-installation", "script"]
    assert (upgrade.tag, upgrade.get("mode"), texts(upgrade, "existing-installation")) == (
        "installation",
        "upgrade",
        ["sda"],
    )
    restore = ET.fromstring(CASES[f"{release}-restore"].text)
    assert (restore.tag, [e.tag for e in restore], texts(restore, "backup-disk")) == (
        "restore", ["backup-disk", "script"], ["sda"],
    )  # fmt: skip


def test_identities_of_disks() -> None:
    root = ET.fromstring(CASES["8.3-by-id"].text)
    assert texts(root, "primary-disk") == ["disk/by-id/scsi-0QEMU_QEMU_HARDDISK_disk0"]
    node = xcpng_node(install={"devices": {"disk0": "/dev/disk/by-id/nvme-eui.01"}})
    assert texts(ET.fromstring(Case(node).text), "primary-disk") == ["disk/by-id/nvme-eui.01"]


def test_the_host_script_sets_memory_keys_and_hidden_devices() -> None:
    script = CASES["8.3-full"].files["filesystem-populated.sh"]
    assert f"echo '{KEY}' >> \"$root/root/.ssh/authorized_keys\"\n" in script
    command = 'chroot "$root" /opt/xensource/libexec/xen-cmdline'
    said = [line.removeprefix(command).strip() for line in script.splitlines() if line.startswith(command)]
    assert said == [
        "--set-xen dom0_mem=4096M,max:4096M", "--set-xen dom0_max_vcpus=2", "--set-xen dom0_vcpus_pin=true",
        "--set-xen noreboot=true", "--set-xen loglvl=all", "--set-xen guest_loglvl=all",
        "--set-xen cpufreq=xen:performance", "--set-dom0 'xen-pciback.hide=(0000:03:00.0)(0001:04:00.1)'",
    ]  # fmt: skip


def test_the_host_script_runs(tmp_path: Path) -> None:
    """With stand-ins for the installer's programs: what it does to the host's files."""
    root, tools = tmp_path / "root", tmp_path / "bin"
    (root / "root").mkdir(parents=True)
    tools.mkdir()
    for tool, body in (("blkid", "exit 2"), ("chroot", f'echo "$@" >> {tmp_path}/calls'), ("chown", "true")):
        (tools / tool).write_text(f"#!/bin/sh\n{body}\n")
        (tools / tool).chmod(0o755)
    script = CASES["8.3-full"].files["filesystem-populated.sh"].replace("/dev/console", str(tmp_path / "console"))
    script = script.replace("/tmp/nestlab", str(tmp_path / "nestlab"))
    done = subprocess.run(
        ["bash", "-s", str(root)], input=script, text=True, check=False, capture_output=True,
        env={"PATH": f"{tools}:/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    keys = root / "root/.ssh/authorized_keys"
    assert keys.read_text() == KEY + "\n"
    assert (keys.stat().st_mode & 0o777, keys.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len((tmp_path / "calls").read_text().splitlines()) == 8
    assert (tmp_path / "console").read_text() == "\nnestlab: the files are in place\n"
