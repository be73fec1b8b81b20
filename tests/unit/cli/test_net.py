"""`nestlab net` and `nestlab disk`: words that are refused before any lab is looked for, and the tables. What they do
is held against real guests in integration/test_net.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.cli import disk, net
from builder.cli.boundary import guarded
from builder.model.runtime import DiskStatus, PortStatus

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("net", "Missing argument 'LAB'"),
        ("net drill lnik a lan down", "No such command 'lnik'"),
        ("net drill link a lan sideways", "'sideways' is not one of"),
        ("net drill link a lan", "Missing argument 'up|down'"),
        ("net drill shape a lan", "--delay, --loss or both, or --reset"),
        ("net drill shape a lan --reset --delay 1ms", "--delay, --loss or both, or --reset"),
        ("net drill shape a lan --delay 20", "'20' has no unit: write 20ms or 1.5s"),
        ("net drill shape a lan --delay fastms", "'fastms' is no number with a unit"),
        ("net drill shape a lan --delay -1ms", "is not between"),
        ("net drill shape a lan --delay 61s", "is not between 0 and 60"),
        ("net drill shape a lan --loss 0.1", "'0.1' has no unit: write 1%"),
        ("net drill shape a lan --loss 101%", "is not between 0 and 100"),
        ("net drill shape a lan --loss nan%", "is not between"),
        ("net drill capture lan", "Missing option '-o'"),
        ("net drill capture lan -o x.pcap --seconds 0", "is not in the range"),
        ("disk drill pull a", "Missing argument 'DISK'"),
        ("disk drill order a", "Missing argument 'DISK...'"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_usage(words: str, said: str, capsys: Capture) -> None:
    assert guarded(words.split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", ["net gone -o json", "net -o json gone", "net gone cut a lan", "disk gone pull a x"])
def test_a_lab_that_is_not_up_is_told(words: str, capsys: Capture) -> None:
    assert guarded(words.split()) == 1
    assert "lab gone is not up" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_capture_takes_the_place_of_files_only(
    kind: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, a rename over /dev/null would leave a file there for all of the machine. A pipe stands in for it: a test
    that fails must harm nobody."""
    monkeypatch.setenv("NESTLAB_STATE", str(tmp_path / "state"))
    (tmp_path / "state/labs/here").mkdir(parents=True)
    out = tmp_path / "out"
    if kind == "link":
        out.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(out)
    monkeypatch.setattr("builder.lifecycle.world.LabWorld.capture_to", lambda *_, **__: {"frames": 0, "missed": 0})
    assert guarded(["net", "here", "capture", "lan", "-o", str(out)]) == 1
    assert f"{out} cannot be written" in capsys.readouterr().err
    assert out.is_symlink() if kind == "link" else out.is_fifo()


def test_ports_are_a_line_each_by_network() -> None:
    trunk = PortStatus(
        network="lan", mtu=9000, node="a", card=1, mac="m", trunk=(7, 8), running=True, link=True,
        delay_ms=20, loss=0.015, counters={"rx_bytes": 4096, "tx_bytes": 10, "cut": 2, "vlan": 1},
    )  # fmt: skip
    cut = trunk.model_copy(update={"node": "b", "trunk": (), "vlan": 7, "cut": True, "delay_ms": 0, "loss": 0})
    down = cut.model_copy(update={"node": "c", "link": False})
    off = down.model_copy(update={"network": "aside", "running": False, "vlan": None, "counters": {}})
    lines = [line.split("  ") for line in net._table((trunk, cut, down, off)).splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0][:7] == ["NETWORK", "MTU", "NODE", "CARD", "MAC", "VLAN", "STATE"]
    assert cells[1][5:] == ["-", "off", "-", "0 B", "0 B", "0"]
    assert cells[2][5:] == ["trunk 7,8", "up", "20ms, 1.5% lost", "4.0 KiB", "10 B", "3"]
    assert [line[6] for line in cells[3:]] == ["cut", "down"]


def test_disks_are_a_line_each() -> None:
    inside = DiskStatus(node="a", name="x", bus="lsilogic", size=2 << 30, running=True, plugged=True, place=1)
    out = inside.model_copy(update={"name": "y", "plugged": False, "place": 2})
    off = out.model_copy(update={"name": "z", "running": False})
    lines = [line.split() for line in disk._table((inside, out, off)).splitlines()]
    assert lines[1] == ["a", "x", "lsilogic", "2.0", "GiB", "in", "1"]
    assert [line[5] for line in lines[2:]] == ["out", "off"]
