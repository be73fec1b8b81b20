"""Debian 13 by its own installer, onto one disk with LVM and onto four with RAID10: `nestlab up` from the medium to a
verified host, beside a bare run of the same medium in QEMU by hand; and the four disks lost one after the other."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from builder.model.lab import Node
from builder.model.load import read_lab
from builder.model.units import MIB
from builder.run import run
from builder.systems import load_system, traits
from ci.debian_installer import bare, mirror
from ci.debian_installer.medium import medium
from ci.debian_installer.suite import NAME, suite
from ci.nightly.boots import xen_facts
from ci.nightly.lab import command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import HERE, Claim, claim_digest, today

SYSTEM, RELEASE = "debian", "13"
INSTALL_SECONDS = 7200.0
"""An installation alone keeps the emulator busy for 2000 seconds (measured), and other work makes it longer."""
START_SECONDS = 1800.0
CHECKS_SECONDS = 2400.0
DRILL_SECONDS = 4 * 3600.0
SCALE = ("--timeout-scale", "3")
"""Beside other parts each phase takes longer, and each attempt an hour."""
MIRROR_PORTS = {"install-lvm": mirror.PORT, "install-raid10": mirror.PORT + 1}
"""One for each part, always the same: two may run at once, and the port is in the answers."""
_SSH_PORTS = {"install-lvm": 2299, "install-raid10": 2297}
_DISKS = {
    "install-lvm": "    disks: [{size: 8GiB}]\n",
    "install-raid10": "    disks: [{name: disk0, size: 5GiB}, {name: disk1, size: 5GiB}, {name: disk2, size: 5GiB}, "
    "{name: disk3, size: 5GiB}]\n    raid: [{name: system, level: 10, disks: [disk0, disk1, disk2, disk3]}]\n"
    "    kernel: {arguments: [rootdelay=90]}\n",
}
"""Debian's initrd starts an array that lacks a disk when two thirds of that delay are over, and waits for / to its end:
of the 30 seconds that it has by itself, an emulated machine may need more than the last ten to get from one to the
other."""


def lab_text(name: str, vendor: Path) -> str:
    """The shipped labs on the smallest disks that keep their layouts, with the mirror behind the gateway."""
    names = "      disk_names: by-id\n" if "raid" in _DISKS[name] else ""
    return (
        f"name: {name}\ndescription: Debian {RELEASE} by its own installer\nnodes:\n  host:\n    system: {SYSTEM}\n"
        f"    release: {RELEASE}\n    memory: 3GiB\n{_DISKS[name]}    source: {{medium: {vendor}}}\n    install:\n"
        f"      mirror: http://{mirror.GATEWAY}:{MIRROR_PORTS[name]}{mirror.PREFIX}\n      udeb_suite: {NAME}\n"
        f"      services: []\n      root_size: 3GiB\n      swap: 512MiB\n"
        f"{names}"
    )


def _lab(name: str, desk: Desk) -> tuple[Path, Node]:
    path = desk.folder / "lab.yaml"
    path.write_text(lab_text(name, medium(RELEASE, suite(RELEASE))), "utf-8")
    return path, read_lab(path, traits()).nodes[0]


def prepare(name: str, desk: Desk) -> Figures:
    """The suite and the medium: which components are the mirror's, which were made again."""
    made = suite(RELEASE)
    _lab(name, desk)
    return {
        "components_of_the_mirror": len(made.from_mirror),
        "components_made_again": list(made.remade),
        "components_left_out": list(made.left_out),
    }


def by_hand(name: str, desk: Desk) -> Figures:
    """The medium of `media build` in a bare QEMU, and the disks' first start."""
    lab, node = _lab(name, desk)
    with bare.workplace(desk.folder / "bare") as folder:
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"])
        key = folder / "key.pub"
        with command(desk.log) as nestlab:
            built = nestlab.run(
                "media", "build", lab, node.name, "-o", folder / "medium.iso", "--ssh-key", key, timeout=120
            )
        if built:
            return {"ok": False}
        disks = {disk.name: folder / f"{disk.name}.qcow2" for disk in node.disks}
        for disk in node.disks:
            run(["qemu-img", "create", "-q", "-f", "qcow2", disks[disk.name], str(disk.size)])
        machine = bare.Machine(node.memory // MIB, node.management_mac, disks, _SSH_PORTS[name])
        phases = load_system(SYSTEM).plan(node).boots[0].phases
        with mirror.serve(suite(RELEASE).archive, port=MIRROR_PORTS[name]) as served:
            took = bare.install(machine, [folder / "medium.iso"], folder, phases, seconds=INSTALL_SECONDS)
        boot = bare.first_boot(machine, folder / "key", folder, seconds=START_SECONDS)
        return {"phases": took, "install_seconds": round(sum(each["seconds"] for each in took.values())),
                "boot_seconds": boot["seconds"],
                "mirror": served.figures(), "not_there": served.failed}  # fmt: skip


def by_nestlab(name: str, desk: Desk) -> Figures:
    """`up` from the medium to the host that lets us in."""
    lab, node = _lab(name, desk)
    with command(desk.log) as nestlab, mirror.serve(suite(RELEASE).archive, port=MIRROR_PORTS[name]) as served:
        try:
            ended = nestlab.run("up", lab, "--reinstall", node.name, *SCALE, timeout=INSTALL_SECONDS + START_SECONDS)
            phases = {} if ended else nestlab.boot_phases(name)
            return {
                "ok": ended == 0, "status": ended, "phases": phases,
                "install_seconds": round(sum(phases.get("install", {}).values())),
                "boot_seconds": round(sum(phases.get("disk", {}).values()), 1),
                "mirror": served.figures(), "not_there": served.failed,
            }  # fmt: skip
        finally:
            nestlab.run("down", lab, timeout=120)


def checked(name: str, desk: Desk) -> Figures:
    """`up` again, without a mirror: what was installed is cloned, and nothing installed. Every check, on the clone."""
    if not desk.done["install"]["ok"]:
        return {"ok": False, "reached": "rendered", "inputs": _inputs()}
    lab, node = _lab(name, desk)
    with command(desk.log) as nestlab:
        try:
            began = time.monotonic()
            if nestlab.run("up", lab, *SCALE, timeout=START_SECONDS):
                return {"ok": False, "reached": "installed", "inputs": _inputs()}
            clone = round(time.monotonic() - began, 1)
            boots = list(nestlab.boot_phases(name))
            facts = {
                "accelerator": nestlab.ask("status", lab)["accelerator"],
                **xen_facts(nestlab, str(lab), node.name),
            }
            verified = nestlab.run("test", lab, timeout=CHECKS_SECONDS) == 0
            if not verified:
                nestlab.keep(lab)
            return {
                "ok": verified and boots == ["disk"], "reached": "verified" if verified else "installed",
                "inputs": _inputs(), "boots": boots, "clone_seconds": clone, **facts,
            }  # fmt: skip
        finally:
            nestlab.run("down", lab, timeout=120)


def drilled(name: str, desk: Desk) -> Figures:
    """Each disk of what was installed is lost in turn, and built up again; every check afterwards."""
    if not desk.done["install"]["ok"]:
        return {"ok": False}
    lab, node = _lab(name, desk)
    record = desk.folder / "drill.json"
    record.unlink(missing_ok=True)
    with command(desk.log) as nestlab:
        try:
            if nestlab.run("up", lab, *SCALE, timeout=START_SECONDS):
                return {"ok": False}
            status = nestlab.run("drill", "raid", lab, node.name, "--out", record, timeout=DRILL_SECONDS)
            if status:
                nestlab.keep(lab)
            drill = json.loads(record.read_text("utf-8"))["drill"] if record.exists() else {}
            verified = nestlab.run("test", lab, timeout=CHECKS_SECONDS) == 0
            return {"ok": status == 0 and verified, "status": status, "verified": verified, "drill": drill}
        finally:
            nestlab.run("down", lab, timeout=120)


def _inputs() -> str:
    return claim_digest(SYSTEM, HERE, "medium")


def units(name: str) -> Sequence[Unit]:
    return [
        Unit("medium", partial(prepare, name), 60),
        Unit("install", partial(by_nestlab, name), 2500),
        Unit("checks", partial(checked, name), 1200),
        *([Unit("drill", partial(drilled, name), 2600)] if "raid" in _DISKS[name] else []),
        Unit("by-hand", partial(by_hand, name), 2300),
    ]


def judge(done: Mapping[str, Figures]) -> Verdict:
    ours = done["checks"]
    claims = (
        Claim(
            system=SYSTEM, release=RELEASE, l0="kvm", accelerator=ours["accelerator"], path="medium", firmware="bios",
            proof=ours["reached"], inputs=ours["inputs"], date=today(),
        ),
    ) if "accelerator" in ours and ours["reached"] in ("installed", "verified") else ()  # fmt: skip
    versions = {what: str(ours[what]) for what in ("xen", "dom0_kernel") if what in ours}
    return Verdict(all(figures["ok"] for figures in done.values()), dict(done), claims, versions)


PARTS = tuple(
    Part(name, f"Debian {RELEASE} by its own installer, {layout}: up, every check, clone", partial(units, name), judge)
    for name, layout in (("install-lvm", "one disk with LVM"), ("install-raid10", "RAID10 over four disks"))
)
