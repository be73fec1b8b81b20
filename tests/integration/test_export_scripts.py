"""Exported scripts, run: by dash, on disks that qemu-img really converts, and against stand-ins for programs that
cannot be had here (see `fake_l0`). Each step is run twice: what is there is kept, what is gone is no error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.model.lab import Lab
from builder.model.plan import File
from tests.support import fake_l0, fake_vmware, qm_rules, xe_rules
from tests.support.exports import HOSTILE, HOSTILE_QUOTED, cards, export, installed, lab, two_nodes
from tests.support.nodes import debian_node, disk
from tests.support.repo import ROOT, some

pytestmark = pytest.mark.integration

# target, choices, lab. `folder` is made by the test, in a place with a name that is made to be misread.
ON_L0: dict[str, tuple[str, dict[str, Any], Lab]] = {
    "xl": ("xl", {}, two_nodes()),
    "xl with access ports": ("xl", {}, lab(installed(nics=cards({"vlan": 7})), name="demo")),
    "xe": ("xe", {"release": "8.3"}, two_nodes()),
    "xe with UEFI": ("xe", {}, lab(installed(firmware="uefi", nics=cards({})))),
    "esxi": ("vmx", {}, two_nodes()),
    "workstation": ("vmx", {"release": "workstation"}, lab(*(node.model_copy(update={"nics": ()})
                                                            for node in two_nodes().nodes), networks=())),
    "libvirt": ("libvirt", {}, two_nodes()),
    "proxmox": ("proxmox", {}, two_nodes()),
}  # fmt: skip


class L0:
    """An export in a folder, and what stands in for the L0's programs."""

    def __init__(self, tmp_path: Path, name: str) -> None:
        self.target, choices, self.lab = ON_L0[name]
        self.scratch = tmp_path
        self.folder = tmp_path / (HOSTILE if self.target == "xl" else HOSTILE_QUOTED.replace(",", ""))
        self.folder.mkdir()
        self.out = tmp_path / "an export's folder"
        write(self.out, export(self.target, self.lab, folder=str(self.folder), **choices))
        for node in self.lab.nodes:  # what prepare.sh would have made
            (self.folder / f"demo-{node.name}.iso").write_text("medium")
            for suffix in ("img", "qcow2", "vhd", "import.vmdk"):
                (self.folder / f"demo-ready-root.{suffix}").write_text("disk")
        fakes = tmp_path / "fakes"
        fakes.mkdir()
        self.fakes, self.environment = fakes, fake_l0.install(fakes)

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["dash", str(self.out / script)], env=self.environment, cwd=self.scratch, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{script}: {done.stderr}"
        return done

    @property
    def state(self) -> dict[str, Any]:
        found = fake_l0.state(self.fakes)
        if "xe" in found:  # identities are new each time
            return {kind: sorted(json.dumps(each, sort_keys=True) for each in records.values())
                    for kind, records in found["xe"].items()}  # fmt: skip
        return found


def write(out: Path, files: Mapping[str, File]) -> None:
    for name, file in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)


@pytest.mark.parametrize("name", ON_L0)
def test_a_lab_is_made_started_and_removed(name: str, tmp_path: Path) -> None:
    l0 = L0(tmp_path, name)
    l0.run("create.sh")
    made = l0.state
    machines = {node.name for node in l0.lab.nodes}
    if l0.target not in ("xl", "vmx") or name == "esxi":
        assert all(f"demo-{each}" in json.dumps(made) for each in machines)
    l0.run("create.sh")
    assert l0.state == made, "made again"
    l0.run("start.sh")
    started = l0.state
    assert started != made
    l0.run("start.sh")
    assert l0.state == started, "started again"
    if l0.target == "vmx":
        fake_vmware.switch_off(l0.fakes)
    l0.run("eject.sh")
    l0.run("eject.sh")
    l0.run("remove.sh")
    gone = l0.state
    assert "demo-ready" not in json.dumps(gone) and "nestlab-demo" not in json.dumps(gone)
    assert [path.name for path in l0.folder.rglob("*") if path.name.endswith((".vmx", ".installed", ".started"))] == []
    assert (l0.folder / "demo-host.iso").exists(), "media are kept"
    l0.run("remove.sh")
    assert l0.state == gone, "removed again"
    assert [path for path in tmp_path.rglob("*") if path.name == "pwned"] == []


def test_xl_starts_the_node_again_after_its_installer(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "xl")
    l0.run("create.sh")
    l0.run("start.sh")
    created = [call[-1].rpartition("folder/")[2] for call in fake_l0.calls(l0.fakes, "xl") if call[0] == "create"]
    assert created == ["ready/host.cfg", "host/install.cfg", "host/host.cfg"]
    assert (l0.folder / "demo-host.installed").exists()
    l0.run("start.sh")
    assert sum(call[0] == "create" for call in fake_l0.calls(l0.fakes, "xl")) == 3, "it is not installed again"
    ended = fake_l0.state(l0.fakes)
    del ended["xl"]["demo-host"]
    (l0.fakes / "state.json").write_text(json.dumps(ended))
    l0.run("start.sh")
    last = fake_l0.calls(l0.fakes, "xl")[-1]
    assert last[0] == "create" and last[-1].endswith("host/host.cfg"), "from its disk"


def test_an_installer_that_never_ends_is_told(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "proxmox")
    l0.run("create.sh")
    l0.run("start.sh")
    done = l0.run("finish.sh", check=False)
    assert done.returncode == 1 and "demo-host still installs after 3 seconds: qm terminal" in done.stderr


@pytest.mark.parametrize("name", ["xe", "proxmox"])
def test_what_was_left_half_made_is_made_anew(name: str, tmp_path: Path) -> None:
    l0 = L0(tmp_path, name)
    missing = l0.folder / f"demo-ready-root.{'vhd' if name == 'xe' else 'qcow2'}"
    l0.run("create.sh")
    whole = l0.state
    l0.run("remove.sh")
    if name == "xe":
        missing.rename(missing.with_suffix(".away"))
        assert l0.run("create.sh", check=False).returncode == 1
        missing.with_suffix(".away").rename(missing)
    else:
        begun = (l0.out / "create.sh").read_text()
        (l0.out / "create.sh").write_text(begun.replace("\nready\n", "\nexit 1\n", 1))
        assert l0.run("create.sh", check=False).returncode == 1
        (l0.out / "create.sh").write_text(begun)
    l0.run("create.sh")
    assert json.dumps(l0.state).count("demo-host") == json.dumps(whole).count("demo-host")
    assert l0.state == whole or name == "xe"  # disks' file names and numbers are as they were


THEIRS: dict[str, tuple[dict[str, Any], str]] = {
    "proxmox": ({"qm": {"7": {"--name": "demo-host", "--tags": "production", "status": "running"}}}, "not nestlab's"),
    "libvirt": ({"domains": {"demo-host": True}, "ours": [], "networks": {}}, "was not exported by nestlab"),
}


@pytest.mark.parametrize("name", THEIRS)
def test_another_machine_of_that_name_is_not_touched(name: str, tmp_path: Path) -> None:
    l0 = L0(tmp_path, name)
    theirs, said = THEIRS[name]
    (l0.fakes / "state.json").write_text(json.dumps(theirs))
    for script in ("create.sh", "remove.sh"):
        done = l0.run(script, check=False)
        assert done.returncode == 1 and said in done.stderr
    kind = next(iter(theirs))
    found = fake_l0.state(l0.fakes)[kind]
    assert all(found[key] == value for key, value in theirs[kind].items())


def test_another_domain_under_xl_is_not_touched(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "xl")
    (l0.fakes / "state.json").write_text(json.dumps({"xl": {"demo-ready": -1}}))
    l0.run("create.sh")
    done = l0.run("start.sh", check=False)
    assert done.returncode == 1 and "demo-ready runs already, and was not started from here" in done.stderr
    l0.run("remove.sh")
    assert fake_l0.state(l0.fakes)["xl"] == {"demo-ready": -1}


def test_another_machine_on_esxi_is_not_touched(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "esxi")
    theirs = {"name": "demo-host", "power": "on", "file": "production/web.vmx"}
    (l0.fakes / "state.json").write_text(json.dumps({"machines": {"90": theirs}}))
    for script in ("create.sh", "start.sh", "remove.sh"):
        l0.run(script)
    assert fake_l0.state(l0.fakes)["machines"] == {"90": theirs}


def test_what_is_missing_on_the_l0_is_named(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "xl")
    (l0.folder / "demo-host.iso").unlink()
    done = l0.run("create.sh", check=False)
    assert done.returncode == 1 and f"{l0.folder}/demo-host.iso is missing" in done.stderr
    # A machine without the program at all: dash finds nothing by itself.
    empty = {**l0.environment, "PATH": str(tmp_path / "no programs here")}
    for tool in ("dirname",):
        path = tmp_path / "no programs here" / tool
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(shutil.which(tool) or "/usr/bin/dirname")
    shell = shutil.which("dash")
    assert shell
    done = subprocess.run([shell, str(l0.out / "start.sh")], env=empty, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "error: there is no" in done.stderr


@pytest.mark.parametrize("release", ["", "8.2", "8.3"])
def test_every_call_of_xe_is_one_that_xapi_has(release: str, tmp_path: Path) -> None:
    ON_L0["xe here"] = ("xe", {"release": release}, two_nodes())
    l0 = L0(tmp_path, "xe here")
    for script in ("create.sh", "start.sh", "eject.sh", "remove.sh"):
        l0.run(script)
    made = some(fake_l0.calls(l0.fakes, "xe"))
    releases = [release] if release else ["8.2", "8.3"]
    assert {call[0] for call in made} >= {
        "vm-clone",
        "vdi-create",
        "vbd-create",
        "vif-create",
        "vm-start",
        "vm-destroy",
    }
    assert [(call, wrong) for call in made for each in releases if (wrong := xe_rules.problems(call, each))] == []
    keys = {word.partition("=")[0] for call in made for word in call if word.startswith("platform:")}
    nested = {"8.2": {"platform:exp-nested-hvm"}, "8.3": {"platform:nested-virt"}}
    assert keys - {"platform:nic_type"} == nested.get(release, nested["8.2"] | nested["8.3"])


@pytest.mark.parametrize(
    "call",
    [
        "vm-clone uuid=1", "vm-install template=x", "vdi-create sr-uuid=1 name-label=a", "vm-start", "vif-create mac=1",
        "vm-param-set uuid=1 memory=4", "vm-param-set uuid=1 platform=nested-virt", "vm-list powerstate=running",
        "vbd-create vm-uuid=1 device=", "vm-param-get uuid=1", "sr-create name-label=x", "vm-start uuid=1 uuid=2",
        "sr-scan name-label=a", "sr-list kind=iso", "vdi-create sr-uuid=1 name-label=a virtual-size=1 other-config:a=b",
        "network-create name-label=a mtu=9000", "vm-destroy uuid=1 stray", "vif-param-set uuid=1 MTU=9000", "",
    ],
)  # fmt: skip
def test_the_judge_of_xe_is_not_blind(call: str) -> None:
    assert xe_rules.problems(call.split())


def test_every_call_of_qm_is_one_that_its_schema_has(tmp_path: Path) -> None:
    l0 = L0(tmp_path, "proxmox")
    for script in ("create.sh", "start.sh", "eject.sh", "remove.sh"):
        l0.run(script)
    made = some(fake_l0.calls(l0.fakes, "qm"))
    assert {call[0] for call in made} == {"list", "create", "set", "config", "status", "start", "stop", "destroy"}
    assert [(call, qm_rules.problems(call)) for call in made if qm_rules.problems(call)] == []


@pytest.mark.parametrize(
    "call",
    [
        "create 100 --scsihw lsilogic", "set 100 --scsi31 a:1", "set 100 --net0 e1000=52:54,bridge=vmbr0", "create",
        "set 100 --net0 e1000=52:54:00:00:00:01,vlan=7", "set 100 --ide2 none,media=cd", "clone 1", "config x",
        "set 100 --efidisk0 a:1,pre-enrolled=0", "set 100 --boot scsi0", "start 100 --force 1", "create 100 --name -a",
        "set 100 --tags nestlab!", "set 100 --memory", "set 100 --net0 e1000=52:54:00:00:00:01,bridge=b,tag=4095",
    ],
)  # fmt: skip
def test_the_judge_of_qm_is_not_blind(call: str) -> None:
    assert qm_rules.problems(call.split())


def run_prepare(tmp_path: Path, target: str, made: Lab) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out, target_folder = tmp_path / "an export's folder", tmp_path / f"to {HOSTILE_QUOTED}"
    write(out, export(target, made))
    done = subprocess.run(
        ["dash", str(out / "prepare.sh"), str(tmp_path / f"from {HOSTILE_QUOTED}"), str(target_folder)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    return target_folder, done


FORMATS = {"xl": ("raw", "img"), "xe": ("vpc", "vhd"), "vmx": ("vmdk", "import.vmdk"), "hyperv": ("vhdx", "vhdx"),
           "libvirt": ("qcow2", "qcow2"), "proxmox": ("qcow2", "qcow2")}  # fmt: skip


@pytest.mark.parametrize("target", FORMATS)
def test_disks_are_converted_and_grown(target: str, tmp_path: Path) -> None:
    """Judged by qemu-img: format, the size that the lab file gives the disk, and every byte."""
    form, suffix = FORMATS[target]
    made = lab(debian_node(name="ready", disks=(disk("root", size=96 << 20),)), installed())
    source = tmp_path / f"from {HOSTILE_QUOTED}"
    source.mkdir()
    raw, image = source / "raw", source / "demo-ready-root.qcow2"
    raw.write_bytes(os.urandom(3 << 20) + bytes(5 << 20) + os.urandom(1 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
    (source / "demo-host.iso").write_bytes(b"a medium")
    folder, done = run_prepare(tmp_path, target, made)
    assert done.returncode == 0, done.stderr
    converted = folder / f"demo-ready-root.{suffix}"
    told = json.loads(
        subprocess.run(["qemu-img", "info", "-f", form, "--output", "json", converted], check=True,
                       capture_output=True).stdout
    )  # fmt: skip
    assert told["virtual-size"] == 96 << 20 and told.get("backing-filename") is None
    if target == "vmx":
        assert told["format-specific"]["data"]["create-type"] == "streamOptimized"
    # -s would mind the size; without it what the grown disk has more must be zeros.
    subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", form, raw, converted], check=True)
    assert (folder / "demo-host.iso").read_bytes() == b"a medium"
    assert sorted(path.name for path in folder.iterdir()) == ["demo-host.iso", converted.name]
    before = converted.stat().st_mtime_ns
    _, again = run_prepare(tmp_path, target, made)
    assert again.returncode == 0 and converted.stat().st_mtime_ns == before
    assert not (tmp_path / "pwned").exists()


def test_a_conversion_that_lies_is_found(tmp_path: Path) -> None:
    """A qemu-img that loses bytes: a stand-in around the real one, since the real one cannot be made to."""
    made = lab(debian_node(name="ready", disks=(disk("root", size=16 << 20),)))
    source = tmp_path / f"from {HOSTILE_QUOTED}"
    source.mkdir()
    (source / "raw").write_bytes(os.urandom(1 << 20))
    image = source / "demo-ready-root.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", source / "raw", image], check=True)
    real = shutil.which("qemu-img")
    stand_in = tmp_path / "qemu-img"
    stand_in.write_text(f'#!/bin/sh\n[ "$1" != convert ] || {{ shift; for last; do :; done; '
                        f'exec {real} create -q -f raw "$last" 16M; }}\nexec {real} "$@"\n')  # fmt: skip
    stand_in.chmod(0o755)
    out = tmp_path / "out"
    write(out, export("xl", made))
    done = subprocess.run(
        ["dash", str(out / "prepare.sh"), str(source), str(tmp_path / "to")], capture_output=True, text=True,
        check=False, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 1 and "differs from its source" in done.stderr
    assert not (tmp_path / "to/demo-ready-root.img").exists()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / f"from {HOSTILE_QUOTED}").mkdir()
    _, done = run_prepare(tmp_path, "xl", lab(installed()))
    assert done.returncode == 1 and "demo-host.iso is missing; README.md says how" in done.stderr
    usage = subprocess.run(
        ["dash", str(tmp_path / "an export's folder/prepare.sh")], capture_output=True, text=True, check=False
    )
    assert usage.returncode == 1 and "usage: prepare.sh SOURCES OUT" in usage.stderr


@pytest.mark.parametrize("name", tuple(ON_L0))
def test_shellcheck_and_dash_take_every_script(name: str, tmp_path: Path) -> None:
    target, choices, made = ON_L0[name]
    folder = '/vm/it\'s "here" $HOME' if target != "xl" else "/vm/it's $HOME"
    write(tmp_path, export(target, made, folder=folder, **choices))
    scripts = some(sorted(path for path in tmp_path.glob("*.sh")))
    for script in scripts:
        subprocess.run(["dash", "-n", script], check=True)
    # SC2016 and its like are about expansion that was meant: here none is.
    checked = subprocess.run(
        ["shellcheck", "-x", "-s", "sh", "-e", "SC2016", *[path.name for path in scripts if "lib" not in path.name]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_shellcheck_is_not_blind(tmp_path: Path) -> None:
    files = export("xl", two_nodes())
    broken = files["create.sh"].content.replace("present /", "present $(ls /*) /")
    write(tmp_path, {**files, "create.sh": files["create.sh"].model_copy(update={"content": broken})})
    assert broken != files["create.sh"].content
    checked = subprocess.run(["shellcheck", "-x", "create.sh"], cwd=tmp_path, capture_output=True, check=False)
    assert checked.returncode == 1


def test_the_project_has_no_script_of_its_own_twice() -> None:
    """The libraries are files of the project, linted there; what is exported is those files."""
    library = export("xe", two_nodes())["lib.sh"].content
    own = (ROOT / "builder/hypervisors/scripts/xe.sh").read_text().partition("\n")[2]
    assert own in library
