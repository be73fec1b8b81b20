"""The part that tries exports in a dom0, without one: its scripts, and how it judges what xl and guests say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ci.nightly import xl_in_dom0
from ci.nightly.xl_in_dom0 import INIT, LISTEN, RAMDISK, Broken, configurations, judge, misread, section, watched, whole


def told(text: str) -> dict[str, Any]:
    """As xl prints a configuration that it read, names after libxl's types. No xl runs here without Xen: this one is
    made up."""
    disks = [line for line in text.splitlines() if "vdev=" in line]
    pairs = [(line.split("vdev=")[1].split(",")[0], line.split("target=")[1].split('"')[0]) for line in disks]
    vifs = [line for line in text.splitlines() if "mac=" in line]
    return {
        "c_info": {"type": "hvm", "name": "demo-host"},
        "b_info": {"max_vcpus": 2, "target_memkb": 8 << 20},
        "disks": [{"vdev": vdev, "pdev_path": path} for vdev, path in pairs],
        "nics": [{"mac": line.split("mac=")[1].split(",")[0], "model": "e1000"} for line in vifs],
        "on_reboot": "destroy" if "on_reboot = \"destroy\"" in text else "restart",
    }  # fmt: skip


def test_every_kind_of_configuration_is_read() -> None:
    texts = configurations()
    assert len(texts) == len(set(texts)) >= 4
    assert sum('on_reboot = "destroy"' in text for text in texts) >= 2, "those of installers are among them"
    for text in texts:
        assert misread(text, "Parsing config\n" + json.dumps(told(text))) == []
        assert misread(text, json.dumps({"domid": None, "config": told(text)})) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"on_reboot": "preserve"}, "on_reboot: preserve"),
        ({"disks": []}, "disks: []"),
        ({"b_info": {"max_vcpus": 1, "target_memkb": 8 << 20}}, "vcpus: 1 for 2"),
        ({"c_info": {"name": "demo-host"}}, "type: None for hvm"),
        ({"nics": [{"mac": "52:54:00:00:00:00", "model": "rtl8139"}]}, "vifs: [('52:54:00:00:00:00', 'rtl8139')]"),
    ],
)
def test_what_xl_reads_otherwise_is_told(changes: dict[str, Any], problem: str) -> None:
    text = configurations()[0]
    (found,) = misread(text, json.dumps(told(text) | changes))
    assert problem in found


@pytest.mark.parametrize("script", [RAMDISK, LISTEN])
def test_scripts_are_sound_shell(script: str, tmp_path: Path) -> None:
    path = tmp_path / "x.sh"
    path.write_text(script)
    done = subprocess.run(["shellcheck", "-s", "sh", "-e", "SC2016", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_guests_first_program_tells_its_devices(tmp_path: Path) -> None:
    """Run by dash over a folder that stands for /sys, until it has told everything once."""
    for name, ids in {"pci/devices/0000:00:03.0": ("0x8086", "0x100e"), "xen/devices/vif-0": None}.items():
        folder = tmp_path / "bus" / name
        folder.mkdir(parents=True)
        for file, value in zip(("vendor", "device"), ids or (), strict=False):
            (folder / file).write_text(f"{value}\n")
    script = INIT.replace("/bin/busybox mount -t sysfs sysfs /sys", "").replace("/sys/", f"{tmp_path}/")
    script = script.replace("/bin/busybox sleep 2", "exit").replace("NONCE", "abc")
    said = subprocess.run(["dash", "-c", script], capture_output=True, text=True, check=True).stdout
    lines = said.splitlines()
    assert lines[0] == "guest abc" and lines[-1] == "end abc"
    assert lines[1] == "device 0000:00:03.0 0x8086 0x100e" and lines[2].split() == ["device", "vif-0"]


class Host:
    """A dom0 whose guest has a console; whether it lives is told beforehand."""

    def __init__(self, console: str, *, alive: bool) -> None:
        self.console, self.alive = console, alive

    def must(self, script: str) -> str:
        assert "demo" in script
        return ""

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        text = self.console if script.startswith("cat") else ""
        return subprocess.CompletedProcess([], 0 if self.alive else 1, stdout=text)


@pytest.mark.parametrize(
    ("console", "alive", "reached", "last"),
    [
        ("Linux\r\nguest abc\r\ndevice vif-0 \r\nend abc\r\n", True, "user space", ""),
        ("Linux\r\nguest abc\r\ndevice vif", True, "started", "device vif"),
        ("[ 0.1] smpboot: x\r\n", True, "started", "[ 0.1] smpboot: x"),
        ("Kernel panic\r\n", False, "ended by itself", "Kernel panic"),
    ],
)
def test_a_guest_is_watched_until_it_speaks_or_time_is_over(console: str, alive: bool, reached: str, last: str) -> None:
    host: Any = Host(console, alive=alive)
    seen = watched(host, "demo", "console", "abc", seconds=-1)
    assert (seen["reached"], seen["last_line"]) == (reached, last)
    assert seen["devices"] == ("vif-0" if reached == "user space" else "")


def test_a_step_that_fails_is_a_failed_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xl_in_dom0, "inputs_digest", lambda *_: "then")

    def broken(_desk: Any) -> dict[str, Any]:
        raise Broken("no such bridge")

    desk: Any = None
    figures = whole(broken, desk)
    assert figures == {"ok": False, "failed": "no such bridge", "inputs": "then"}
    fine = {"ok": True, "inputs": "then"}
    assert judge({"dry-run": {**fine, "xen": "4.20"}, "pvh": fine, "hvm": fine}).ok
    assert not judge({"dry-run": fine, "pvh": fine, "hvm": figures}).ok


def test_the_page_says_how_far_it_came_and_what_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xl_in_dom0, "inputs_digest", lambda *_: "then")
    record = tmp_path / "xl-in-dom0.json"

    def page(**changes: dict[str, Any]) -> str:
        figures = {"dry-run": {"ok": True, "read": 4, "inputs": "then"},
                   "pvh": {"ok": True, "reached": "user space", "inputs": "then"},
                   "hvm": {"ok": True, "reached": "started", "last_line": "smpboot", "inputs": "then"}}  # fmt: skip
        made = {"date": "2026-11-21T01:00:00", "versions": {"xen_13": "4.20"}, "figures": figures | changes}
        record.write_text(json.dumps(made))
        return section([record])

    text = page()
    assert "read 4 different configurations" in text and "as plain HVM: started (`smpboot`)" in text
    assert "stale" not in text and "failed" not in text
    text = page(pvh={"ok": False, "failed": "no such bridge", "inputs": "before"})
    assert "a PVH guest: not started; failed: no such bridge (stale)" in text and text.count("stale") == 1
    assert "Not run yet" in section([])
