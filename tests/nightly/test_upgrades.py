"""Something newer in a host's package sources, on real Xen: another Xen, one that does not start, and another kernel.

The host's own packages are packed again on it, under versions that what runs really tells: see newer_packages.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.lifecycle.status import status
from builder.model.host import Host
from builder.procedures.guests import drill_guest
from builder.procedures.host_update import ENTRY as KERNEL_ENTRY
from builder.procedures.xen_upgrade import ENTRY, FILE, SCRIPT
from ci.nightly.procedures import RELEASES, lab_text
from tests.support.lab import bench
from tests.support.newer_packages import HARMLESS, crashing, hypervisor_file, offer_updates, offer_xen
from tests.support.procedure_lab import Lab, sh

pytestmark = pytest.mark.e2e

STEPS = ("applied", "repeated", "survives", "undone")
PLUG = "the new Xen did not start: the one before it runs, and boots by itself"


@pytest.fixture(params=RELEASES)
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """One Debian host of each release. Its disk is new each time: what is installed here is nobody else's."""
    file = tmp_path / f"procedures-{request.param}.yaml"
    file.write_text(lab_text(request.param), "utf-8")
    with bench() as made:
        yield Lab(made, file)


def drilled(lab: Lab, *words: str) -> dict[str, dict[str, str]]:
    """What the drill saw, by step and by what was looked at; all of it is as it should be."""
    record = lab.here.scratch / "drill.json"
    done = lab.here.run("procedure", "drill", lab.name, *words, "--out", record, timeout=2400)
    assert done.returncode == 0, done.stdout + done.stderr
    made: dict[str, Any] = json.loads(record.read_text("utf-8"))["drills"][0]
    assert [made[step] for step in STEPS] == ["yes"] * len(STEPS), made
    return {step["name"]: {each["what"]: each["seen"] for each in step["evidence"]} for step in made["steps"]}


def told(host: Host) -> str:
    """The version that the running Xen tells."""
    return sh(host, r"xl dmesg | sed -n 's/.*Xen version [^ ]* (Debian \([^)]*\)).*/\1/p'").strip()


def installed(host: Host) -> set[str]:
    said = sh(host, "dpkg-query -W -f '${db:Status-Abbrev} ${source:Package} ${Version}\\n' | sed -n 's/^ii  *xen //p'")
    return set(said.split())


def left(host: Host) -> str:
    """Files of the procedure's, and its entry on the menu."""
    return sh(host, f"ls {SCRIPT} /boot/{FILE} /etc/default/grub.d/zz-nestlab-* 2>/dev/null || :; "
              f"grep -F {ENTRY} /boot/grub/grub.cfg || :")  # fmt: skip


def test_another_xen_runs_and_the_one_before_comes_back(lab: Lab) -> None:
    host = lab.world.host("dom0")
    old, new = offer_xen(host)
    assert told(host) == old and installed(host) == {old}
    with drill_guest(host):
        assert "guests run on it" in lab.refused("dom0", "xen-upgrade", f"version={new}", code="guests-run")
    lab.refused("dom0", "xen-upgrade", "version=1.2.3", code="not-offered")
    lab.refused("dom0", "host-update", code="xen-pending")
    seen = drilled(lab, "xen-upgrade", f"version={new}")
    for step in ("run", "run again", "restart"):
        assert seen[step]["version that Xen told when it started"] == new
    assert told(host) == old and installed(host) == {old} and left(host) == ""


def wait_for_console(lab: Lab, text: bytes, *, past: int, seconds: float) -> None:
    """Until the machine's console says this, behind what it said before. Raises AssertionError."""
    log = console(lab)
    deadline = time.monotonic() + seconds
    while text not in log.read_bytes()[past:]:
        assert time.monotonic() < deadline, log.read_bytes()[past:][-2000:]
        time.sleep(2)


def console(lab: Lab) -> Path:
    return Path(next(each.console_log for each in status(lab.name, lab.here.places).nodes if each.name == "dom0"))


@pytest.mark.parametrize("how", ["is no program", "ends the machine"])
def test_a_new_xen_that_does_not_start(lab: Lab, how: str) -> None:
    """The one before it comes back: by itself where the machine restarts, else once the plug was pulled. The host says
    so, and is as it was when that is undone."""
    host = lab.world.host("dom0")
    good = host.read(hypervisor_file(host))
    hangs = how == "is no program"
    old, _, broken = offer_xen(host, b"\xff" * 4096 + good[4096:] if hangs else crashing(good))
    past = console(lab).stat().st_size
    running = lab.here.start("procedure", "run", lab.name, "dom0", "xen-upgrade", f"version={broken}")
    if hangs:
        # GRUB finds no hypervisor in the file, waits for a key and tries it again, for ever: loader/multiboot_mbi2.c
        wait_for_console(lab, b"no multiboot header found", past=past, seconds=2000)
        lab.world.power_cycle("dom0")
        host = lab.world.host("dom0")
    out, err = running.communicate(timeout=2400)
    said = " ".join((out + err).split())
    assert running.returncode == 1 and "xen-upgrade failed at" in said, said
    assert PLUG in said or (hangs and "pulling the plug brings back the one before" in said), said
    assert told(host) == old and installed(host) == {broken}
    assert f'set default="{ENTRY}"' in sh(host, "cat /boot/grub/grub.cfg")
    host.reboot(wait=1900)
    assert told(host) == old, "it is to boot by itself until another was seen"
    assert "undone" in lab.does("undo", "dom0", "xen-upgrade")
    assert installed(host) == {old} and left(host) == ""
    host.reboot(wait=1900)
    assert told(host) == old


@pytest.mark.parametrize("another_name", [False, True], ids=["same-name", "another-name"])
def test_another_kernel_runs_and_the_one_before_comes_back(lab: Lab, another_name: bool) -> None:
    host = lab.world.host("dom0")
    new = offer_updates(host, another_name=another_name)
    before = sh(host, "uname -rv").strip()
    version = sh(host, f"dpkg-query -W -f '${{Version}}' {HARMLESS}")
    assert before != new and (before.split()[0] == new.split()[0]) is not another_name
    seen = drilled(lab, "host-update", "room=200")
    for step in ("run", "run again", "restart"):
        assert f"{seen[step]['kernel that runs']} {seen[step]['its build']}" == new
        assert seen[step]["what its initrd has modules of"] == new.split()[0]
    assert sh(host, "uname -rv").strip() == before
    host.reboot(wait=1900)
    assert sh(host, "uname -rv").strip() == before, "it is to boot by itself"
    assert sh(host, f"dpkg-query -W -f '${{Version}}' {HARMLESS}") != version, "packages stay"
    assert f'set default="{KERNEL_ENTRY}"' in sh(host, "cat /boot/grub/grub.cfg")
    sh(host, "modprobe 8021q; grep -q '^8021q ' /proc/modules")  # its modules fit
    assert "done, and seen" in lab.does("run", "dom0", "host-update")
    assert sh(host, "uname -rv").strip() == new
