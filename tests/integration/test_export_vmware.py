"""Scripts for ESXi and Workstation when something is not as hoped: a query fails, a log is there, a machine is on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.test_export_scripts import L0
from tests.support import fake_l0, fake_vmware

pytestmark = pytest.mark.integration
BOTH = ("esxi", "workstation")
OUT = 'sata0:0.startConnected = "FALSE"'


def vmx(l0: L0, node: str = "host") -> Path:
    return l0.folder / f"demo-{node}" / f"demo-{node}.vmx"


def fails_once(l0: L0, program: str, words: str) -> None:
    """The stand-in ends with an error the next time that it is asked for that, as real ones do while the host's own
    service (hostd, vmware-authd) does not answer."""
    path, mark = l0.fakes / "bin" / program, l0.fakes / f"{program}.failed"
    working = path.rename(path.with_suffix(".working"))
    mark.unlink(missing_ok=True)
    path.write_text(
        f"#!/bin/sh\nif [ ! -e '{mark}' ]; then\n  case \"$*\" in\n"
        f"    *'{words}'*) : >'{mark}'; echo 'Connection refused' >&2; exit 255 ;;\n  esac\nfi\n"
        f"exec '{working}' \"$@\"\n"
    )
    path.chmod(0o755)


def made(l0: L0) -> dict[str, object]:
    """What the stand-ins remember, and what lies in the folder."""
    return {**l0.state, "files": sorted(str(path) for path in l0.folder.rglob("*"))}


SWITCHES, GROUPS = ("esxcli", "vswitch standard list"), ("esxcli", "portgroup list")
MACHINES, POWER, RUNNING = ("vim-cmd", "getallvms"), ("vim-cmd", "getstate"), ("vmrun", "list")
UP = ("create.sh", "start.sh")
# Which steps come first, which is run, what fails on the way, and what is said.
FAILING = {
    "switches": ("esxi", (), "create.sh", SWITCHES, "does not list the vSwitches"),
    "port groups": ("esxi", (), "create.sh", GROUPS, "does not list port groups"),
    "machines": ("esxi", (), "create.sh", MACHINES, "does not list the machines"),
    "machines to be removed": ("esxi", UP, "remove.sh", MACHINES, "does not list the machines"),
    "port groups to be removed": ("esxi", UP, "remove.sh", GROUPS, "does not list port groups"),
    "switches to be removed": ("esxi", UP, "remove.sh", SWITCHES, "does not list the vSwitches"),
    "power at start": ("esxi", UP[:1], "start.sh", POWER, "does not tell whether demo-ready is on"),
    "power at eject": ("esxi", UP[:1], "eject.sh", POWER, "does not tell whether demo-host is on"),
    "vmrun at start": ("workstation", UP[:1], "start.sh", RUNNING, "does not tell whether demo-ready is on"),
    "vmrun at eject": ("workstation", UP[:1], "eject.sh", RUNNING, "does not tell whether demo-host is on"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_query_that_fails_is_no_answer(name: str, tmp_path: Path) -> None:
    kind, before, script, (program, words), said = FAILING[name]
    l0 = L0(tmp_path, kind)
    for step in before:
        l0.run(step)
    fails_once(l0, program, words)
    done = l0.run(script, check=False)
    assert done.returncode == 1 and f"error: {program} {said}" in done.stderr
    l0.run(script)


@pytest.mark.parametrize("kind", BOTH)
def test_a_machine_that_does_not_tell_is_not_removed(kind: str, tmp_path: Path) -> None:
    l0 = L0(tmp_path, kind)
    l0.run("create.sh")
    l0.run("start.sh")
    before = made(l0)
    fails_once(l0, *(POWER if kind == "esxi" else RUNNING))
    done = l0.run("remove.sh", check=False)
    assert done.returncode == 1 and "does not tell whether demo-host is on" in done.stderr
    assert made(l0) == before, "disks of a machine that runs are there"


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "not heeded"])
@pytest.mark.parametrize("kind", BOTH)
def test_a_second_start_does_not_wait_at_the_consoles_log(kind: str, answered: bool, tmp_path: Path) -> None:
    """The documented way: the installer switches the machine off, its medium is taken out, it is started again."""
    l0 = L0(tmp_path, kind)
    l0.run("create.sh")
    if not answered:  # as where the product asks in spite of the answer
        kept = [line for line in vmx(l0).read_text().splitlines() if not line.startswith("answer.")]
        vmx(l0).write_text("\n".join(kept) + "\n")
    for times in (1, 2, 3):
        l0.run("start.sh")
        log = vmx(l0).with_name("demo-host-console.log")
        logs = sorted(path.name for path in log.parent.glob("demo-host-console.log*"))
        assert logs == [log.name, *(f"{log.name}.{number}" for number in range(1, times))]
        assert {path.read_text() for path in log.parent.glob("demo-host-console.log*")} == {"started\n"}
        l0.run("start.sh")
        assert len(list(log.parent.glob("demo-host-console.log*"))) == times, "nothing is moved of what runs"
        fake_vmware.switch_off(l0.fakes)
        l0.run("eject.sh")
    assert OUT in vmx(l0).read_text()


@pytest.mark.parametrize("kind", BOTH)
def test_without_moving_a_second_start_would_wait(kind: str, tmp_path: Path) -> None:
    """The stand-in asks what the product asks; the answer of the .vmx is enough for it."""
    l0 = L0(tmp_path, kind)
    library = l0.out / "lib.sh"
    library.write_text(library.read_text() + "\naside() { :; }\n")
    l0.run("create.sh")
    for _ in (1, 2):
        l0.run("start.sh")
        fake_vmware.switch_off(l0.fakes)
    vmx(l0).write_text(vmx(l0).read_text().replace("answer.msg.serial.file.open", "answer.msg.other"))
    done = l0.run("start.sh", check=False)
    assert done.returncode == 1 and "replace it, or append" in done.stderr


@pytest.mark.parametrize("kind", BOTH)
def test_a_medium_is_taken_out_of_what_is_off(kind: str, tmp_path: Path) -> None:
    l0 = L0(tmp_path, kind)
    l0.run("create.sh")
    l0.run("start.sh")
    before = vmx(l0).read_text()
    done = l0.run("eject.sh", check=False)
    assert done.returncode == 1 and "error: demo-host is on: its medium can be taken out when it is off" in done.stderr
    assert vmx(l0).read_text() == before and OUT not in before
    fake_vmware.switch_off(l0.fakes)
    l0.run("eject.sh")
    assert vmx(l0).read_text().count("sata0:0.startConnected") == 1 and OUT in vmx(l0).read_text()
    l0.run("start.sh")
    out = vmx(l0).read_text()
    l0.run("eject.sh")
    assert vmx(l0).read_text() == out, "out already: nothing to do to a machine that is on"


@pytest.mark.parametrize("kind", BOTH)
def test_a_line_that_the_product_left_out_is_written(kind: str, tmp_path: Path) -> None:
    """Connected at the start is what a drive is anyhow: a product that writes the file anew may leave it out."""
    l0 = L0(tmp_path, kind)
    l0.run("create.sh")
    rest = [line for line in vmx(l0).read_text().splitlines() if "startConnected" not in line]
    vmx(l0).write_text("\n".join(rest))
    l0.run("eject.sh")
    assert vmx(l0).read_text().splitlines() == [*rest, OUT]


def test_a_suspended_machine_is_not_edited(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "esxi")
    l0.run("create.sh")
    now = fake_l0.state(l0.fakes)
    for machine in now["machines"].values():
        machine["power"] = "suspended"
    (l0.fakes / "state.json").write_text(json.dumps(now))
    done = l0.run("eject.sh", check=False)
    assert done.returncode == 1 and "demo-host is suspended" in done.stderr and OUT not in vmx(l0).read_text()


def test_an_interrupted_eject_is_read_by_the_host_at_last(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "esxi")
    l0.run("create.sh")
    fails_once(l0, "vim-cmd", "vmsvc/reload")
    assert l0.run("eject.sh", check=False).returncode == 255
    assert OUT in vmx(l0).read_text() and not [c for c in fake_l0.calls(l0.fakes, "vim-cmd") if "reload" in c[0]]
    l0.run("eject.sh")
    assert [call[0] for call in fake_l0.calls(l0.fakes, "vim-cmd")][-1] == "vmsvc/reload"
