"""Exported scripts that run once more, at the end of an installation or after an interruption: nothing is installed
twice, and nothing waits for what is over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.test_export_scripts import L0
from tests.support import fake_l0

pytestmark = pytest.mark.integration
THIS_START = Path("/proc/sys/kernel/random/boot_id").read_text()


def created(l0: L0) -> list[str]:
    return [Path(call[-1]).name for call in fake_l0.calls(l0.fakes, "xl") if call[0] == "create"]


@pytest.mark.parametrize(
    ("since", "running", "wanted"),
    [
        (THIS_START, False, ["host.cfg"]),
        (THIS_START, True, ["host.cfg"]),
        ("another-start-of-dom0\n", False, ["install.cfg", "host.cfg"]),
    ],
    ids=["the installer has ended since", "the installer runs", "dom0 was restarted meanwhile"],
)
def test_xl_goes_on_with_an_installation(since: str, running: bool, wanted: list[str], tmp_path: Path) -> None:
    l0 = L0(tmp_path, "xl")
    l0.run("create.sh")
    (l0.folder / "demo-host.started").write_text(since)
    (l0.folder / "demo-ready.started").write_text(since)
    domains = {"demo-ready": -1, **({"demo-host": 4} if running else {})}
    disk = l0.folder / "demo-host-system.img"
    now = fake_l0.state(l0.fakes) | {"xl": domains, "xl-disks": {"demo-host": str(disk)}}
    (l0.fakes / "state.json").write_text(json.dumps(now))
    log = l0.fakes / "log/xl-demo-host.log"
    log.write_text("Waiting for domain demo-host (domid 7) to die [pid 8]\n")
    if not running:
        disk.write_bytes(bytes(32 << 20))
        log.write_text("Domain 7 has shut down, reason code 1 0x1\n")
    l0.run("start.sh")
    assert created(l0) == wanted
    assert (l0.folder / "demo-host.installed").exists() and "demo-host" in fake_l0.state(l0.fakes)["xl"]


def test_libvirt_keeps_a_medium_out_that_was_taken_out(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "libvirt")
    l0.run("create.sh")
    l0.run("eject.sh")
    defined = [call for call in fake_l0.calls(l0.fakes, "virsh") if call[0] == "define"]
    l0.run("create.sh")
    assert [call for call in fake_l0.calls(l0.fakes, "virsh") if call[0] == "define"] == defined
    assert fake_l0.state(l0.fakes)["ejected"] == ["demo-host"]


@pytest.mark.parametrize("name", ["xe", "libvirt", "proxmox"])
def test_finish_starts_what_has_switched_itself_off(name: str, tmp_path: Path) -> None:
    l0 = L0(tmp_path, name)
    l0.run("create.sh")
    l0.run("start.sh")
    running = l0.state
    raw = (l0.fakes / "state.json").read_text()
    off = {"xe": ('"power-state": "running"', '"power-state": "halted"'), "libvirt": ('"demo-host": true',
           '"demo-host": false'), "proxmox": ('"status": "running"', '"status": "stopped"')}[name]  # fmt: skip
    assert off[0] in raw
    (l0.fakes / "state.json").write_text(raw.replace(*off))
    l0.run("finish.sh")
    started = {"xe": "vm-start", "libvirt": "start", "proxmox": "start"}[name]
    program = {"xe": "xe", "libvirt": "virsh", "proxmox": "qm"}[name]
    assert [call[0] for call in fake_l0.calls(l0.fakes, program)][-1] == started, "the last of all: on again"
    assert off[0] in (l0.fakes / "state.json").read_text()
    finished = l0.state
    assert finished != running, "the medium is out"
    l0.run("finish.sh")
    assert l0.state == finished, "a host that runs is not waited for"
