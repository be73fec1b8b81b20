"""The main job on real Xen: a Debian dom0 built here, booted with the documented settings, checked over ssh, gone.

The checks themselves are labs/checks, run by `nestlab test` as a user runs them; their JUnit is looked at here, so that
a check that was not run is a failure too.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from builder.lifecycle.world import LabWorld
from tests.e2e.debian_dom0.conftest import LAB, NAME
from tests.support.lab import Bench

pytestmark = pytest.mark.e2e


def test_every_check_of_the_lab_passes(here: Bench, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    done = here.run("test", LAB, "--", f"--junitxml={junit}", timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    suite = ET.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert int(suite.attrib["tests"]) >= 12
    assert (suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"]) == ("0", "0", "0")
    assert any("a_guest_runs_on_real_xen" in case.attrib["name"] for case in suite.iter("testcase"))


def test_the_boot_was_followed_phase_by_phase(here: Bench) -> None:
    phases = ("firmware", "boot loader", "hypervisor", "dom0 kernel", "services", "ssh")
    assert here.followed(NAME) == {"dom0/boot": [(phase, "ok") for phase in phases]}


def test_the_host_handle_knows_what_it_drives(here: Bench) -> None:
    host = LabWorld(NAME, here.places).host("dom0")
    facts = host.facts()
    assert facts.dialect == "xl"
    assert facts.release == "debian 13"
    assert facts.versions["xen"].startswith("4.20")
    host.write("/root/note", b"kept\0bytes", mode=0o600)
    assert host.read("/root/note") == b"kept\0bytes"
    assert host.run(["stat", "-c", "%a", "/root/note"]).stdout == "600\n"
    assert host.run(["sh", "-c", "exit 3"]).returncode == 3


def test_what_tells_of_the_host_is_put_together(here: Bench, tmp_path: Path) -> None:
    out = tmp_path / "evidence"
    here.run("collect", LAB, "--out", out, check=True)
    said = {path.name: path.read_text("utf-8") for path in (out / "nodes/dom0").iterdir()}
    assert "(XEN)" in said["xen.log"]
    assert "Domain-0" in said["xen.txt"] and "dom0_mem" in said["xen.txt"]
    assert "root=" in said["boot-arguments.txt"] and "xenbr0" in said["network.txt"]
    assert "sda" in said["disks.txt"] and "/local/domain/0" in said["xenstore.txt"]
    assert "systemd" in said["journal.log"] and "Linux version" in said["kernel.log"]


def test_up_again_finds_everything_done(here: Bench) -> None:
    before = here.status(NAME)
    here.run("up", LAB, timeout=30, check=True)
    assert here.status(NAME) == before


def test_a_reboot_is_proven_by_another_boot_id(here: Bench) -> None:
    """Last of all here, for a host that was restarted is slow for a while.

    The handle waits until the host answers with another boot id.
    """
    host = LabWorld(NAME, here.places).host("dom0")
    before = host.read("/proc/sys/kernel/random/boot_id")
    host.reboot(wait=600)
    assert host.read("/proc/sys/kernel/random/boot_id") != before
    assert host.facts().dialect == "xl"
