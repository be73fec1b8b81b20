"""Exported scripts whose programs fail once, and what crashes, collides or is missing on the L0: a question without an
answer is neither "absent" nor "off", and what an interrupted run leaves is found by the next one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.hypervisors.proxmox import bridge
from builder.hypervisors.shell import library
from builder.model.lab import Network
from tests.integration.test_export_scripts import L0, ON_L0
from tests.support import fake_l0
from tests.support.exports import installed, lab
from tests.support.nodes import disk
from tests.support.repo import some

pytestmark = pytest.mark.integration

PROGRAMS = {"libvirt": "virsh", "xl": "xl", "xe": "xe", "proxmox": "qm"}
# One node with one disk: every call takes its time.
for target in PROGRAMS:
    ON_L0[f"small {target}"] = (target, {}, lab(installed(disks=(disk("system", size=100 << 30),))))
LABEL = "nestlab is making"


def small(name: str, tmp_path: Path) -> L0:
    return L0(tmp_path, f"small {name}")


def change(l0: L0, changing: Callable[[dict[str, Any]], object]) -> None:
    now = fake_l0.state(l0.fakes)
    changing(now)
    (l0.fakes / "state.json").write_text(json.dumps(now))


def calls(l0: L0) -> list[list[str]]:
    """What was called since `forget`, each with its program."""
    lines = [json.loads(line) for line in (l0.fakes / "calls").read_text().splitlines()]
    return [words for words in lines if words[0] not in ("sleep", "hostname")]


def forget(l0: L0) -> None:
    (l0.fakes / "calls").write_text("")


def calls_of(l0: L0, script: str) -> list[list[str]]:
    forget(l0)
    l0.run(script, check=False)
    return list(some(calls(l0)))


def failing(l0: L0, script: str, number: int) -> subprocess.CompletedProcess[str]:
    """A run in which that call fails, of any program."""
    fake_l0.fail_once(l0.fakes, at=number)
    forget(l0)
    return l0.run(script, check=False)


@pytest.mark.parametrize("name", ["libvirt", "xe", "proxmox"])
def test_no_medium_is_taken_out_of_an_installation(name: str, tmp_path: Path) -> None:
    """finish.sh waits, or says what failed."""
    l0 = small(name, tmp_path)
    l0.environment["LIMIT"] = "0"
    l0.run("create.sh")
    l0.run("start.sh")
    running = l0.state
    asked = calls_of(l0, "finish.sh")
    for number, call in enumerate(asked, 1):
        done = failing(l0, "finish.sh", number)
        assert done.returncode == 1 and "still installs" not in done.stderr, call
        assert l0.state == running, call
        assert len(calls(l0)) == number, "the failed call is the last"


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_there_is_not_made_again_when_a_question_fails(name: str, tmp_path: Path) -> None:
    """create.sh over a complete lab asks, and nothing else."""
    l0 = small(name, tmp_path)
    l0.run("create.sh")
    made = l0.state
    for number, call in enumerate(calls_of(l0, "create.sh"), 1):
        if call[0] != "ip":
            assert failing(l0, "create.sh", number).returncode == 1, call
            assert l0.state == made and not (l0.fakes / "interfaces.new").exists(), call


@pytest.mark.parametrize("name", ["libvirt", "xl", "proxmox"])
def test_removal_goes_on_where_a_failure_ended_it(name: str, tmp_path: Path) -> None:
    """Every call fails once. Disks go after the machines, and machines are asked about."""
    l0 = small(name, tmp_path)
    empty = l0.state
    l0.run("create.sh")
    if name == "xl":
        change(l0, lambda now: now.update({"xl": {"demo-host": -1}, "xl-disks": {"demo-host": ""}}))
        (l0.folder / "demo-host.started").write_text("mine")
    for number in range(1, 40):
        before = len(list(l0.folder.glob("demo-host-system.*")))
        done = failing(l0, "remove.sh", number)
        if done.returncode == 0 and len(calls(l0)) < number:
            break
        now = fake_l0.state(l0.fakes)
        there = any("demo-host" in now.get(key, {}) for key in ("xl", "domains"))
        assert len(list(l0.folder.glob("demo-host-system.*"))) == before or not there, "disks go last"
    left = json.dumps(fake_l0.state(l0.fakes))
    assert "demo-host" not in left and "nestlab-demo" not in left and "vmbr" not in left and empty == {}
    assert [path.name for path in l0.folder.iterdir() if "host" in path.name] == ["demo-host.iso"]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ({"reason": 3, "bytes": 32 << 20}, "(reason 3, "),  # crash
        ({"reason": 2, "bytes": 32 << 20}, "(reason 2, "),  # suspend
        ({"reason": None, "bytes": 32 << 20}, "(reason unknown, "),  # destroyed by somebody
        ({"reason": 1, "bytes": 0}, "(reason 1, 0 KiB on its disks)"),  # a panic, or a triple fault
    ],
)
def test_an_installer_that_crashed_has_installed_nothing(end: dict[str, Any], said: str, tmp_path: Path) -> None:
    l0 = small("xl", tmp_path)
    l0.run("create.sh")
    change(l0, lambda now: now.update({"xl-end": end}))
    done = l0.run("start.sh", check=False)
    assert done.returncode == 1 and said in done.stderr and "xl-demo-host.log" in done.stderr
    assert not (l0.folder / "demo-host.installed").exists() and fake_l0.state(l0.fakes)["xl"] == {}
    change(l0, lambda now: now.pop("xl-end"))
    l0.run("start.sh")
    made = [Path(call[-1]).name for call in fake_l0.calls(l0.fakes, "xl") if call[0] == "create"]
    assert made == ["install.cfg", "install.cfg", "host.cfg"], "the next run installs"
    assert (l0.folder / "demo-host.installed").exists()


def test_a_failing_list_of_xl_is_no_end_of_an_installation(tmp_path: Path) -> None:
    l0 = small("xl", tmp_path)
    l0.run("create.sh")
    fake_l0.fail_once(l0.fakes, "xl", "list", at=3)  # the first that await_end asks for
    done = l0.run("start.sh", check=False)
    assert done.returncode == 1 and "xl list failed" in done.stderr
    assert not (l0.folder / "demo-host.installed").exists()


def test_a_log_that_is_elsewhere_is_asked_for(tmp_path: Path) -> None:
    l0 = small("xl", tmp_path)
    l0.run("create.sh")
    (l0.folder / "demo-host.started").write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    done = l0.run("start.sh", check=False)
    assert done.returncode == 1 and "XL_LOGS names its folder" in done.stderr
    assert (l0.folder / "demo-host.started").exists(), "the next run judges the same end"


@pytest.mark.parametrize(("kind", "at"), [("vm", 1), ("vm", 2), ("vdi", 1), ("vdi", 2), ("network", 1), ("network", 2)])
def test_what_has_no_mark_yet_is_found_again(kind: str, at: int, tmp_path: Path) -> None:
    """xe ends between the making of a thing and its mark, or its name: remove.sh finds it, and so does the next run."""
    l0 = small("xe", tmp_path)
    fake_l0.fail_once(l0.fakes, "xe", f"{kind}-param-set", at=at)
    assert l0.run("create.sh", check=False).returncode == 1
    half = (l0.fakes / "state.json").read_text()
    assert LABEL in half
    l0.run("remove.sh")
    assert "demo" not in (l0.fakes / "state.json").read_text().replace("demo-host.iso", "")
    (l0.fakes / "state.json").write_text(half)
    l0.run("create.sh")
    now = fake_l0.state(l0.fakes)["xe"]
    assert LABEL not in json.dumps(now)
    assert {key: len(now[key]) for key in ("vm", "vdi", "network")} == {"vm": 1, "vdi": 2, "network": 2}


def test_a_pool_of_two_usual_hosts_takes_its_default_storage(tmp_path: Path) -> None:
    l0 = small("xe", tmp_path)
    pool = {"template": {}, "sr": {"1": {"name-label": "Local storage", "type": "ext"},
                                   "2": {"name-label": "Local storage", "type": "ext"}},
            "pool": {"p": {"name-label": "", "default-SR": "2"}}}  # fmt: skip
    (l0.fakes / "state.json").write_text(json.dumps({"xe": pool}))
    assert storage(l0, "'Local storage' usual") == "2"
    assert storage(l0, "1") == "1", "a UUID"
    for words in ("'Local storage'", "nowhere"):
        assert storage(l0, words).endswith("nestlab export --storage takes the UUID of one, and xe sr-list shows them")
    change(l0, lambda now: now["xe"]["pool"]["p"].update({"default-SR": "<not in database>"}))
    assert "more than one storage repository Local storage (1,2)" in storage(l0, "'Local storage' usual")
    create = (l0.out / "create.sh").read_text()
    assert "SR=$(sr_of 'Local storage' usual)\n" in create


def storage(l0: L0, words: str) -> str:
    """What sr_of says."""
    script = l0.out / "ask.sh"
    script.write_text(f'set -eu\n. "$(dirname -- "$0")/lib.sh"\nSR=$(sr_of {words})\nprintf %s "$SR"\n')
    done = l0.run("ask.sh", check=False)
    return done.stdout or done.stderr.strip()


def test_a_medium_that_was_copied_is_looked_for(tmp_path: Path) -> None:
    l0 = small("xe", tmp_path)
    l0.run("remove.sh")  # now there is a pool

    def take_away(now: dict[str, Any]) -> None:
        now["xe"]["vdi"] = {}
        next(each for each in now["xe"]["sr"].values() if each["type"] == "iso")["new"] = "demo-host.iso"

    change(l0, take_away)
    l0.run("create.sh")
    change(l0, lambda now: now["xe"]["vdi"].clear())
    l0.run("remove.sh")
    fake_l0.fail_once(l0.fakes, "xe", "sr-scan")
    done = l0.run("create.sh", check=False)
    assert "xe sr-scan failed for the ISO" in done.stderr and "there is no medium demo-host.iso" in done.stderr


def test_a_bridge_of_somebody_else_is_neither_used_nor_removed(tmp_path: Path) -> None:
    l0 = small("proxmox", tmp_path)
    name = bridge(l0.lab, "lan")
    theirs = {"pvesh": {name: ["--iface", name, "--comments", "storage net"]}}
    (l0.fakes / "state.json").write_text(json.dumps(theirs))
    done = l0.run("create.sh", check=False)
    assert done.returncode == 1 and f"the bridge {name} is there, and is not the lab's" in done.stderr
    assert "is kept" in l0.run("remove.sh").stderr
    assert fake_l0.state(l0.fakes)["pvesh"] == theirs["pvesh"]


def test_what_others_have_staged_is_not_applied(tmp_path: Path) -> None:
    l0 = small("proxmox", tmp_path)
    staged = l0.fakes / "interfaces.new"
    staged.write_text('{"vmbr7": []}')
    for script in ("create.sh", "remove.sh"):
        done = l0.run(script, check=False)
        assert (done.returncode == 1 and "are staged" in done.stderr) == (script == "create.sh")
        assert staged.read_text() == '{"vmbr7": []}' and fake_l0.state(l0.fakes).get("pvesh", {}) == {}
    staged.unlink()
    fake_l0.fail_once(l0.fakes, "pvesh", "set")
    assert l0.run("create.sh", check=False).returncode == 1
    assert not staged.exists(), "what this lab had staged is taken back"
    l0.run("create.sh")
    staged.write_text("{}")
    staged.unlink()
    told = fake_l0.state(l0.fakes)["pvesh"][bridge(l0.lab, "lan")]
    assert told[told.index("--comments") + 1] == "nestlab demo lan"


def test_networks_of_one_lab_have_bridges_of_their_own() -> None:
    names = [f"n{number}" for number in range(200)]
    made = lab(installed(), networks=tuple(Network(name=name) for name in names))
    alone = [bridge(made.model_copy(update={"networks": (Network(name=name),)}), name) for name in names]
    assert len(set(alone)) < 200, "two of these collide by themselves"
    assert len({bridge(made, name) for name in names}) == 200


NESTING = [
    ("intel", "Y", "vmx ept", ""), ("intel", "1", "ept", ""), ("amd", "1", "svm npt", ""),
    ("intel", "N", "vmx ept", "nesting is off: echo 'options kvm_intel nested=1'"),
    ("amd", "0", "svm", "nesting is off: echo 'options kvm_amd nested=1'"),
    ("intel", "Y", "vmx eptad", "this processor has no EPT"), ("", "", "", "KVM is not loaded"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["libvirt", "proxmox"])
def test_a_host_that_does_not_nest_is_refused(name: str, tmp_path: Path) -> None:
    l0 = small(name, tmp_path)
    assert library("nesting.sh") in (l0.out / "lib.sh").read_text()
    assert "\nnesting\n" in (l0.out / "create.sh").read_text()
    for number, (vendor, value, flags, said) in enumerate(NESTING):
        modules, processors = tmp_path / f"modules {number}", tmp_path / f"cpuinfo {number}"
        processors.write_text(f"flags\t\t: fpu {flags} aes\n")
        if vendor:
            (modules / f"kvm_{vendor}/parameters").mkdir(parents=True)
            (modules / f"kvm_{vendor}/parameters/nested").write_text(f"{value}\n")
        script = f"set -eu\n{library('common.sh', 'nesting.sh')}\nnesting\n"
        done = subprocess.run(
            ["dash", "-c", script], env={**l0.environment, "SYS_MODULE": str(modules), "CPUINFO": str(processors)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 1) == bool(said) and said in done.stderr, (vendor, value, flags)


def test_a_firmware_that_is_not_on_the_host_is_named(tmp_path: Path) -> None:
    ON_L0["libvirt with UEFI"] = ("libvirt", {}, lab(installed(firmware="uefi")))
    l0 = L0(tmp_path, "libvirt with UEFI")
    file = l0.out / "host/domain.xml"
    text = file.read_text()
    present = tmp_path / "here.fd"
    present.write_text("firmware")
    for missing in ("CODE", "VARS"):
        other = {"CODE": "VARS", "VARS": "CODE"}[missing]
        wrong = text.replace(f"/usr/share/OVMF/OVMF_{missing}_4M.fd", "/nowhere/it.fd")
        file.write_text(wrong.replace(f"/usr/share/OVMF/OVMF_{other}_4M.fd", str(present)))
        done = l0.run("create.sh", check=False)
        assert done.returncode == 1 and "the UEFI firmware /nowhere/it.fd is not on this host" in done.stderr
        assert "apt-get install ovmf" in done.stderr and "domain.xml" in done.stderr
        assert "demo-host" not in fake_l0.state(l0.fakes).get("domains", {})
    for part in ("CODE", "VARS"):
        text = text.replace(f"/usr/share/OVMF/OVMF_{part}_4M.fd", str(present))
    file.write_text(text)
    l0.run("create.sh")
