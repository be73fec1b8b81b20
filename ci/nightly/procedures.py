"""Every procedure with a plain-Xen way, on Debian 13 and 12: run, run again, restart, undo, each seen from outside; and
what stands against them, provoked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from builder.procedures import PROCEDURES, load_procedure
from builder.procedures.guests import GuestKind
from ci.nightly.lab import command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.nightly.programs import passed
from ci.proof import ROOT, inputs_digest

RELEASES = ("13", "12")
INPUTS = ("builder/procedures", "builder/images", "builder/systems/debian", "answerfiles/debian")


def drilled() -> tuple[str, ...]:
    """Those that a lab of one Debian host can try."""
    found = (load_procedure(name) for name in PROCEDURES)
    return tuple(each.name for each in found if "xl" in each.ways and not each.drill.reason)


def lab_text(release: str, packages: Sequence[str] = ()) -> str:
    extra = f"    packages: [{', '.join(packages)}]\n" if packages else ""
    return (
        f"name: procedures-{release}\n"
        f"description: Debian {release} with Xen, to try procedures on.\n"
        "nodes:\n"
        "  dom0:\n"
        "    system: debian\n"
        f'    release: "{release}"\n{extra}'
    )


# Procedures of one host in another way than they are drilled by themselves.
OTHERWISE: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("bridge", {"name": "xenbr8", "address": "10.98.0.1/24", "nat": "true"}),
    ("maintenance", {"then": "restart"}),
)


PVH = tuple(name for name in PROCEDURES if load_procedure(name).drill.guest and not load_procedure(name).drill.reason)
"""Procedures of guests are tried with one of another kind, too."""


def packages() -> tuple[str, ...]:
    """All that drills need beside what every Xen host has: one image for those that need any."""
    return tuple(sorted({"nftables", *(each for name in drilled() for each in load_procedure(name).drill.packages)}))


def drill(release: str, name: str, given: Mapping[str, str], desk: Desk, *, guest: GuestKind = "pv") -> Figures:
    """One procedure on a host of its own, so that a host that one of them breaks is no other's."""
    extra = packages() if load_procedure(name).drill.packages or given else ()
    lab = desk.folder / f"procedures-{release}{'-more' * bool(extra)}.yaml"
    lab.write_text(lab_text(release, extra), "utf-8")
    options = [f"{key}={value}" for key, value in given.items()]
    other = [] if guest == "pv" else ["--guest", guest]
    return drill_lab(lab, unit_name(release, name, given, guest), [name, *options, *other], desk)


def drill_lab(lab: Path, unit: str, words: Sequence[str], desk: Desk, *, first: Sequence[str] = ()) -> Figures:
    """Brings a lab up, drills what `words` say, and takes it down again. `first` are node, procedure and options of one
    that makes what the drill needs."""
    record = desk.folder / f"{unit}.json"
    record.unlink(missing_ok=True)
    with command(desk.log) as nestlab:
        try:
            if nestlab.run("up", lab, timeout=1500):
                return {"ok": False, "reached": "nothing"}
            if first and nestlab.run("procedure", "run", lab, *first, timeout=1800):
                return {"ok": False, "reached": "booted"}
            status = nestlab.run("procedure", "drill", lab, *words, "--out", record, timeout=1800)
        finally:
            nestlab.run("down", lab, timeout=120)
    if not record.exists():
        return {"ok": False, "reached": "booted"}
    made: dict[str, Any] = json.loads(record.read_text("utf-8"))
    return {"ok": status == 0, "drill": {"date": made["date"], **made["drills"][0]}}


def on_lab(name: str, node: str, procedure: str, given: Mapping[str, str], release: str, desk: Desk) -> Figures:
    """One that needs more than a host: on an example lab that has it. `given` are options beside those for drills."""
    text = (ROOT / f"labs/{name}.yaml").read_text("utf-8")
    lab = desk.folder / f"{name}-{release}.yaml"
    text = text.replace(f"name: {name}\n", f"name: {name}-{release}\n").replace(
        "release: 13\n", f"release: {release}\n"
    )
    lab.write_text(text, "utf-8")
    asked = {**load_procedure(procedure).drill.options, **given}
    options = [f"{key}={value}" for key, value in asked.items()]
    first = [node, *FIRST[procedure]] if procedure in FIRST else []
    words = [procedure, *options, "--node", node]
    return drill_lab(lab, unit_name(release, procedure, given), words, desk, first=first)


FAILURES = "tests/nightly/test_procedure_failures.py"
FAILING = ("TestOneHost", "TestTwoHosts", "TestDisks")
ROUTER = "tests/nightly/test_router_guest.py"
PASSTHROUGH = "tests/nightly/test_passthrough.py"
INSTALLED = "tests/nightly/test_installed_guests.py"
LIVE = "tests/nightly/test_live_disk.py"
ARRAYS = "tests/nightly/test_arrays.py"
IN_USE = (
    "test_another_policy_while_it_is_written_to",
    "test_disks_in_another_order",
    "test_the_plug_is_pulled_while_it_is_written_to[bitmap]",
    "test_the_plug_is_pulled_while_it_is_written_to[ppl]",
)
UPGRADES = "tests/nightly/test_upgrades.py"
NEWER = (
    "test_another_xen_runs_and_the_one_before_comes_back[{}]",
    "test_a_new_xen_that_does_not_start[{}-is no program]",
    "test_a_new_xen_that_does_not_start[{}-ends the machine]",
    "test_another_kernel_runs_and_the_one_before_comes_back[{}-same-name]",
    "test_another_kernel_runs_and_the_one_before_comes_back[{}-another-name]",
)
"""Of each release."""
NESTED = "tests/nightly/test_nested_virt.py"
SECURE = "tests/nightly/test_secure_boot_guest.py"
# Lab, node, procedure and options.
LABS: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    ("two-dom0", "alpha", "guest-migrate", {}),
    ("two-dom0", "alpha", "pci-hide", {"devices": "eth2"}),
    ("multipath", "dom0", "multipath", {}),
    ("passthrough", "dom0", "pci-assign", {"guest": "router", "devices": "00:05.0"}),
    ("raid-sr", "dom0", "raid-storage", {}),
    ("raid-sr", "dom0", "raid-storage", {"level": "1", "disks": "sdb,sdc"}),
    (
        "raid-sr",
        "dom0",
        "raid-storage",
        {"level": "6", "disks": "sdb,sdc,sdd,sde", "policy": "journal", "journal": "sdg"},
    ),
    ("raid-sr", "dom0", "raid-storage", {"level": "10", "disks": "sdb,sdc,sdd"}),
    ("raid-sr", "dom0", "raid-storage", {"disks": "sdb,sdc,sdf", "partitions": "true"}),
    ("raid-sr", "dom0", "raid-policy", {}),
)
FIRST: Mapping[str, Sequence[str]] = {
    "raid-policy": ("raid-storage", "level=5", "disks=sdb,sdc,sdd", "clean=true"),
}


def unit_name(release: str, procedure: str, given: Mapping[str, str], guest: GuestKind = "pv") -> str:
    other = [] if guest == "pv" else [guest]
    return "-".join([release, procedure, *given.values(), *other]).replace(",", "+").replace("/", "_")


def units() -> Sequence[Unit]:
    alone = [
        Unit(unit_name(release, name, given), partial(drill, release, name, given), 900)
        for name, given in (*((name, {}) for name in drilled()), *OTHERWISE)
        for release in RELEASES
    ]
    pvh = [
        Unit(unit_name(release, name, {}, "pvh"), partial(drill, release, name, {}, guest="pvh"), 900)
        for name in PVH
        for release in RELEASES
    ]
    labs = [
        Unit(unit_name(release, *row[2:]), partial(on_lab, *row, release), 1200) for row in LABS for release in RELEASES
    ]
    failures = [Unit(name, partial(passed, f"{FAILURES}::{name}"), 1500) for name in FAILING]
    arrays = [Unit(name, partial(passed, f"{ARRAYS}::{name}"), 1200) for name in IN_USE]
    guests = [
        Unit("router-guest", partial(passed, ROUTER), 1200),
        Unit("passed-card", partial(passed, PASSTHROUGH), 1200),
        Unit("live-disk", partial(passed, LIVE), 1800),
        Unit("installed-guests", partial(passed, INSTALLED), 2600),
        Unit("nested-virt", partial(passed, NESTED), 1800),
        Unit("secure-boot-guest", partial(passed, SECURE), 1800),
    ]
    newer = [
        Unit(name, partial(passed, f"{UPGRADES}::{name}"), 2400)
        for name in (name.format(release) for name in NEWER for release in RELEASES)
    ]
    return [*alone, *pvh, *labs, *failures, *arrays, *guests, *newer]


def judge(done: Mapping[str, Figures]) -> Verdict:
    drills = [figures["drill"] for figures in done.values() if "drill" in figures]
    figures = {"drills": drills, "inputs": inputs_digest(*INPUTS)}
    return Verdict(all(each["ok"] for each in done.values()), figures)


PART = Part("procedures", "each host procedure on Debian 12 and 13: run, again, restart, undo", units, judge)
