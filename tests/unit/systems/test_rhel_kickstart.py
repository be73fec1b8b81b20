"""Kickstarts of every release and layout, by several judges: golden text, pykickstart's class of the release, our own
judge, and what pykickstart's reading says about disks, cards and accounts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pykickstart.constants import SELINUX_PERMISSIVE

from builder.systems.machine import machine_of
from builder.systems.rhel.judge import judge_kickstart
from builder.systems.rhel.options import RhelInstall
from builder.systems.rhel.releases import RELEASES
from builder.systems.rhel.system import Rhel
from tests.conftest import GOLDEN
from tests.support.nodes import nic
from tests.support.rhel import CASES, FULL, HANDLERS, HASH, KEY, RSA, Case, kickstart, parsed, rhel_node

# One text for each thing that is decided: the others differ by numbers only.
KEPT = (
    "el6-bios-raid10x4", "el7-uefi-raid10x4", "el8-bios-gpt-raid10x4", "el9-uefi-raid10x4", "el10-bios-raid10x4",
    "el10-uefi-raid1x2", "el10-bios-plain", "f45-uefi-raid10x6", "el9-by-id", "el6-full", "el7-full", "el10-full",
    "el6-network", "el10-network", "el9-bond", "el10-bridge",
)  # fmt: skip

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.mark.parametrize("name", KEPT)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"rhel/{name}.cfg", CASES[name].text)


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in (GOLDEN / "rhel").iterdir()} == set(KEPT)


@each_case
def test_pykickstart_takes_it(case: Case) -> None:
    _, told = case.parsed
    assert told == list(case.warned)


@each_case
def test_our_judge_finds_nothing(case: Case) -> None:
    options = RhelInstall.model_validate(case.node.install)
    machine = machine_of(case.node, options.disk_names, options.devices)
    codes = [finding.code for finding in judge_kickstart(case.text, case.release, machine)]
    assert codes == (["NLK071"] if case.node.install.get("end") == "reboot" else [])


@each_case
def test_disks_are_laid_out_by_the_recipe(case: Case) -> None:
    handler, _ = case.parsed
    disks, level = len(case.node.disks), case.node.raid[0].level if case.node.raid else None
    arrays = {array.mountpoint or array.device: array for array in handler.raid.raidList}
    parts = {part.mountpoint: part for part in handler.partition.partitions}
    roots = {volume.mountpoint: volume for volume in handler.logvol.lvList}
    assert set(roots) == {"swap", "/"} and roots["/"].grow
    (group,) = handler.volgroup.vgList
    assert (group.pesize, group.physvols) == (32768 if case.node.install.get("extent") else 65536, ["pv.01"])
    if level is None:
        assert not arrays and parts["/boot"].disk == parts["pv.01"].disk and parts["pv.01"].grow
        return
    boot, volume = arrays["/boot"], arrays["pv.01"]
    assert (boot.level, volume.level) == ("RAID1", f"RAID{level}")
    for array in (boot, volume):
        on = [parts[member].disk for member in array.members]
        assert len(array.members) == disks == len(set(on))
    assert all(parts[member].grow for member in volume.members)
    assert not any(parts[member].grow for member in boot.members)
    efi = case.node.firmware == "uefi"
    assert ("/boot/efi" in arrays) == (efi and case.release != "el6")
    if "/boot/efi" in arrays:
        assert (arrays["/boot/efi"].level, arrays["/boot/efi"].fstype) == ("RAID1", "efi")
    assert sum(part.mountpoint == "biosboot" for part in handler.partition.partitions) == (
        disks if "gpt" in case.node.install.get("label", "") else 0
    )


@pytest.mark.parametrize("release", HANDLERS)
@pytest.mark.parametrize("disks", [4, 6, 8, 10, 30])
def test_any_even_number_of_disks(release: str, disks: int) -> None:
    handler, told = parsed(kickstart(rhel_node(release, disks)), release)
    assert told == []
    (volume,) = [array for array in handler.raid.raidList if array.mountpoint.startswith("pv.")]
    assert len(volume.members) == disks
    last = next(part for part in handler.partition.partitions if part.mountpoint == volume.members[-1])
    assert last.disk == ("sdad" if disks == 30 else "sd" + "abcdefghijklmnopqrstuvwxyz"[disks - 1])


@pytest.mark.parametrize("release", HANDLERS)
def test_everything_that_can_be_said_reaches_the_installer(release: str) -> None:
    handler, _ = CASES[f"{release}-full"].parsed
    assert handler.url.url == FULL["url"]
    assert [(repo.name, repo.baseurl) for repo in handler.repo.repoList] == [("extra", "http://mirror.example/extra")]
    assert (handler.lang.lang, handler.timezone.timezone, handler.timezone.isUtc) == (
        "de_DE.UTF-8",
        "Europe/Berlin",
        True,
    )
    assert (handler.rootpw.password, handler.rootpw.isCrypted) == (HASH, True)
    alice, bob = handler.user.userList
    assert (alice.name, alice.groups, alice.password, alice.isCrypted) == ("alice", ["wheel", "adm"], HASH, True)
    assert (bob.name, bob.lock) == ("bob", True)
    names = ["biosdevname=0"] if release == "el6" else []
    assert handler.bootloader.appendLine.split() == [
        "console=tty0", "console=ttyS0,115200n8", *names, "pcie_aspm=off", "quiet", "mitigations=off",
    ]  # fmt: skip
    assert {"vim-enhanced"} <= set(handler.packages.packageList)
    assert handler.packages.excludedList == ["iwl7260-firmware"]
    assert handler.services.disabled == ["postfix"] and "sshd" in handler.services.enabled
    assert (handler.selinux.selinux, handler.firewall.enabled) == (SELINUX_PERMISSIVE, False)
    scripts = [script for script in handler.scripts if "nestlab" not in script.script]
    assert [(s.interp, s.inChroot, s.errorOnFail, s.script.strip()) for s in scripts] == [
        ("/bin/bash", False, False, "echo pre"),
        ("/bin/sh", True, True, "echo 'in the host'"),
        ("/usr/bin/python3", False, True, "import sys\nprint('%d' % 1)"),
    ]


@pytest.mark.parametrize("release", HANDLERS)
def test_time_servers_by_the_means_of_the_release(release: str) -> None:
    text, (handler, _) = CASES[f"{release}-full"].text, CASES[f"{release}-full"].parsed
    if RELEASES[release].ntp == "timesource":
        assert [each.ntp_server for each in handler.timesource.timesource_list] == FULL["ntp"]
    elif RELEASES[release].ntp == "timezone":
        assert handler.timezone.ntpservers == FULL["ntp"] or set(handler.timezone.ntpservers) == set(FULL["ntp"])
    else:
        assert "echo 'server ntp1.example iburst' >> /etc/ntp.conf" in text
        assert "ntp" in handler.packages.packageList and "ntpd" in handler.services.enabled


@pytest.mark.parametrize("release", HANDLERS)
def test_keys_by_the_means_of_the_release(release: str) -> None:
    text, (handler, _) = CASES[f"{release}-full"].text, CASES[f"{release}-full"].parsed
    if RELEASES[release].ssh_key_command:
        assert [(each.username, each.key) for each in handler.sshkey.sshUserList] == [
            ("root", RSA), ("alice", RSA), ("bob", RSA),
        ]  # fmt: skip
        assert ">> /root/.ssh/authorized_keys" not in text
    else:
        for home in ("/root", "/home/alice", "/home/bob"):
            assert f"echo '{RSA}' >> {home}/.ssh/authorized_keys\n" in text


@pytest.mark.parametrize("release", HANDLERS)
def test_cards_have_their_addresses(release: str) -> None:
    handler, _ = CASES[f"{release}-network"].parsed
    lines = [data for data in handler.network.network if data.device]
    management, first, second, *rest = lines
    assert (management.bootProto, management.ip, management.netmask, management.gateway, management.nameserver) == (
        "static", "192.0.2.10", "255.255.255.0", "192.0.2.1", "192.0.2.53,192.0.2.54",
    )  # fmt: skip
    assert (first.ip, first.ipv6, int(first.mtu), first.gateway) == ("10.0.0.5", "fd00::5/64", 9000, "")
    assert (second.noipv4, second.noipv6) == (True, True)
    tagged = rest[:2]
    assert [(data.device, str(data.vlanid), data.ip or None) for data in tagged] == [
        ("eth2", "10", "10.0.10.5"), ("eth2", "20", None),
    ]  # fmt: skip
    assert rest[2].device == "eth3"
    assert [data.hostname for data in handler.network.network if data.hostname] == ["host-a"]


def test_cards_alone_go_by_their_hardware_address() -> None:
    node = rhel_node("el9", 1, None, nics=(nic(1, addresses=("10.0.0.5/24",)),))
    handler, _ = parsed(kickstart(node), "el9")
    assert [data.device for data in handler.network.network if data.device] == [node.management_mac, node.nics[0].mac]
    assert "net.ifnames" not in kickstart(node)


@pytest.mark.parametrize("release", ["el7", "el10", "f45"])
def test_bridges_take_the_addresses_of_what_is_below(release: str) -> None:
    handler, _ = CASES[f"{release}-bridge"].parsed
    lines: dict[str, Any] = {data.device: data for data in handler.network.network if data.device}
    assert set(lines) == {"br0", "bond0", "br1"}
    assert (lines["br0"].bridgeslaves, lines["br0"].bootProto) == ("eth0", "dhcp")
    assert (lines["bond0"].bondslaves, lines["bond0"].noipv4) == ("eth1,eth2", True)
    assert (lines["br1"].bridgeslaves, lines["br1"].ip) == ("bond0", "10.0.0.5")
    assert "net.ifnames=0" in handler.bootloader.appendLine


@pytest.mark.parametrize("release", HANDLERS)
def test_a_bond_carries_what_its_first_card_would(release: str) -> None:
    handler, _ = CASES[f"{release}-bond"].parsed
    lines = [data for data in handler.network.network if data.device]
    assert [(data.device, data.bondslaves, str(data.vlanid or "")) for data in lines] == [
        ("eth0", "", "12"), ("bond0", "eth1,eth2", ""), ("bond0", "", "7"),
    ]  # fmt: skip
    assert lines[1].bondopts == "mode=802.3ad,miimon=100"


def test_newer_keys_are_warned_about_where_they_are_not_known() -> None:
    plan = Rhel().plan(rhel_node("el6", install={"root_keys": [KEY]}))
    assert [finding.code for finding in plan.findings] == ["NLK074"]


@pytest.mark.parametrize("name", [f"{release}-full" for release in HANDLERS])
def test_scripts_are_what_a_shell_reads(name: str) -> None:
    handler, _ = CASES[name].parsed
    shells = [script for script in handler.scripts if script.interp in ("/bin/sh", "/bin/bash")]
    assert len(shells) >= 6
    for script in shells:
        done = subprocess.run(["sh", "-n"], input=script.script, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), script.script


def test_management_by_the_sixth_version_alone() -> None:
    network = {"address": "fd00::5/64", "gateway": "fd00::1"}
    handler, _ = parsed(kickstart(rhel_node("el9", 1, None, install={"network": network})), "el9")
    (line,) = [data for data in handler.network.network if data.device]
    assert (line.ipv6, line.ipv6gateway, line.noipv4) == ("fd00::5/64", "fd00::1", True)


@pytest.mark.parametrize("release", HANDLERS)
def test_keys_of_the_volume_and_of_the_kickstart_both_let_root_in(release: str, tmp_path: Path) -> None:
    """The script itself, on a tree in place of the new system in which anaconda has written a key of its own."""
    handler, _ = parsed(kickstart(rhel_node(release)), release)
    (script,) = [each.script for each in handler.scripts if "nestlab-volume" in each.script]
    sysroot = RELEASES[release].sysroot
    volume, keys = tmp_path / "volume", tmp_path / "host/root/.ssh/authorized_keys"
    seed = volume / "seed/root/.ssh/authorized_keys"
    for path, text in ((seed, "ssh-rsa LAB\n"), (keys, "ssh-rsa OWN\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    label = "NESTLAB" if release == "el6" else "OEMDRV"
    places = {sysroot: tmp_path / "host", f"/dev/disk/by-label/{label}": volume, "/tmp/nestlab-volume": volume,
              "/tmp/nestlab-keys": tmp_path / "kept", "/dev/console": tmp_path / "console"}  # fmt: skip
    for place, path in places.items():
        script = script.replace(place, str(path))
    subprocess.run(["sh", "-c", f"mount() {{ :; }}\numount() {{ :; }}\n{script}"], check=True)
    assert keys.read_text() == "ssh-rsa LAB\nssh-rsa OWN\n"
