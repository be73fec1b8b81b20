"""What xcp-ng-tests is told of a lab's hosts. Its own parsing is restated here, from its conftest.py and
config_loader.py: hosts split at commas, disks at the first colon and then at commas, an overlay in which every key is
known."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from builder.cli.boundary import guarded
from builder.systems.xcp_ng_tests import scsi_id

Capture = pytest.CaptureFixture[str]

POOLS = """\
name: pools
networks:
  admin: {subnets: [10.50.0.0/24]}
  san: {subnets: [10.60.0.0/24]}
defaults:
  system: xcpng
  release: 8.3
  memory: 8GiB
  source: {medium: x.iso}
  disks: [{name: system, size: 100GiB}, {name: spare, size: 20GiB}, {name: big, size: 20GiB, sector: 512e}]
  networks: [admin, san]
nodes:
  a2: {install: {network: {card: 1, address: 10.50.0.12/24}, guest_disks: [spare]}}
  a1: {install: {network: {card: 1, address: 10.50.0.11/24}}}
  b1: {install: {network: {card: 1, address: 10.50.0.21/24}}, networks: [admin]}
  san:
    system: debian
    source: image
    memory: 2GiB
    disks: [{size: 16GiB}, {name: lun0, size: 20GiB}]
    networks: [{network: san, addresses: [10.60.0.1/24]}]
    storage: {iscsi: [lun0], nfs: [/srv/nfs]}
"""
KNOWN = {"hosts": None, "network": {"free_nics", "mgmt"}, "storage": {"nfs", "lvmoiscsi"}}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "pools.yaml"
    path.write_text(POOLS)
    return path


def options(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """Masters, and disks by host, as the suite takes them apart."""
    words = text.split()
    assert all(word.startswith(("--hosts=", "--disks=")) for word in words)
    masters = [name for word in words if word.startswith("--hosts=") for name in word[8:].split(",")]
    pairs = [word[8:].split(":", maxsplit=1) for word in words if word.startswith("--disks=")]
    return masters, {host: disks.split(",") if disks else [] for host, disks in pairs}


def test_two_pools_by_the_names_of_their_hosts(lab: Path, capsys: Capture) -> None:
    assert guarded(["export", str(lab), "--to", "xcp-ng-tests"]) == 0
    out, err = capsys.readouterr()
    masters, disks = options(out)
    assert masters == ["10.50.0.11", "10.50.0.21"]
    assert disks == {"10.50.0.11": ["sdb", "sdc"], "10.50.0.12": ["sdc"], "10.50.0.21": ["sdb", "sdc"]}
    assert err == ""


def test_disks_that_nobody_can_tell_apart(lab: Path, capsys: Capture) -> None:
    """By their identity the installer tells them apart; the suite knows no other names than sda."""
    text = POOLS.replace("install: {", "install: {disk_names: by-id, ")
    lab.write_text(
        text.replace("name: spare,", "name: spare, bus: lsilogic,").replace("name: big,", "name: big, bus: ide,")
    )
    assert guarded(["export", str(lab), "--to", "xcp-ng-tests"]) == 2
    assert "depends on which controller answers first" in capsys.readouterr().err


def test_pools_as_they_are_said(lab: Path, capsys: Capture) -> None:
    assert guarded(["export", str(lab), "--to", "xcp-ng-tests", "--pool", "b1,a2", "--pool", "a1"]) == 0
    assert options(capsys.readouterr().out)[0] == ["10.50.0.21", "10.50.0.11"]
    for pools, said in ((["a1,san"], "san cannot be"), (["a1,a1"], "a1 cannot be"), (["a1", "a1"], "a1 cannot be")):
        words = [word for pool in pools for word in ("--pool", pool)]
        assert guarded(["export", str(lab), "--to", "xcp-ng-tests", *words]) == 2
        assert said in capsys.readouterr().err


def test_the_overlay_has_hosts_cards_and_storage(lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert guarded(["export", str(lab), "--to", "xcp-ng-tests", "--out", str(out)]) == 0
    made: dict[str, Any] = tomllib.loads((out / "config.pools.toml").read_text())
    assert set(made) <= set(KNOWN) and set(made["storage"]) <= KNOWN["storage"]  # type: ignore[operator]
    assert made["hosts"] == {"10.50.0.11": {}, "10.50.0.21": {}}
    assert made["network"]["free_nics"] == [], "b1 has no card beside those of management"
    assert made["storage"]["nfs"] == {"server": "10.60.0.1", "serverpath": "/srv/nfs"}
    iscsi = made["storage"]["lvmoiscsi"]
    assert (iscsi["target"], iscsi["port"]) == ("10.60.0.1", "3260")
    assert iscsi["targetIQN"] == "iqn.2024-07.internal.nestlab:san"
    assert iscsi["SCSIid"].startswith("36001405") and len(iscsi["SCSIid"]) == 33
    assert not (out / "ssh_config").exists(), "the lab is not up"
    assert (out / "pytest.args").read_text().splitlines()[0] == "--hosts=10.50.0.11,10.50.0.21"


def test_the_scsi_id_is_lio_s() -> None:
    """The rule of target_core_spc.c, by hand: not an answer of a real disk."""
    assert scsi_id("c0ffee00-1234-5678-9abc-def012345678") == "36001405c0ffee00123456789abcdef01"


def test_what_the_suite_cannot_reach_is_told(lab: Path, capsys: Capture) -> None:
    lab.write_text(POOLS.replace("card: 1, address: 10.50.0.12/24", "card: 1").replace("  b1:", "  other:"))
    assert guarded(["export", str(lab), "--to", "xcp-ng-tests", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    assert [[host["node"] for host in pool] for pool in json.loads(out)["pools"]] == [["a1", "a2"], ["other"]]
    assert "a2: the suite reaches the hosts of a pool at the address that XAPI has" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--uplink", "br0"], "it has no uplink"),
        (["--out", "x", "--stdout", "y"], "exclude each other"),
        (["--stdout", "nothing"], "there is no file nothing"),
    ],
)
def test_options_that_say_nothing_here_are_refused(lab: Path, words: list[str], said: str, capsys: Capture) -> None:
    assert guarded(["export", str(lab), "--to", "xcp-ng-tests", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_lab_without_xcpng_and_a_pool_of_another_target_are_refused(lab: Path, capsys: Capture) -> None:
    lab.write_text("name: pools\nnodes: {a: {system: tiny}}\n")
    assert guarded(["export", str(lab), "--to", "xcp-ng-tests"]) == 2
    assert "no XCP-ng host" in capsys.readouterr().err
    assert guarded(["export", str(lab), "--to", "xl", "--pool", "a"]) == 2
    assert "--pool is for" in capsys.readouterr().err
