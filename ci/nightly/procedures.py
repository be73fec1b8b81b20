"""Every procedure with a plain-Xen way, on Debian 13 and 12: run, run again, restart, undo, each seen from outside."""

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
from ci.nightly.reach import hosts, module_file, reach

RELEASES = ("13", "12")


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
                nestlab.keep(lab)
                return {"ok": False, "reached": "booted"}
            status = nestlab.run("procedure", "drill", lab, *words, "--out", record, timeout=1800)
            if status:
                nestlab.keep(lab)
        finally:
            nestlab.run("down", lab, timeout=120)
    if not record.exists():
        return {"ok": False, "reached": "booted"}
    made: dict[str, Any] = json.loads(record.read_text("utf-8"))
    return {"ok": status == 0, "drill": {"date": made["date"], **made["drills"][0]}}


def unit_name(release: str, procedure: str, given: Mapping[str, str], guest: GuestKind = "pv") -> str:
    other = [] if guest == "pv" else [guest]
    return "-".join([release, procedure, *given.values(), *other]).replace(",", "+").replace("/", "_")


def inputs_of(procedure: str, *labs: str) -> tuple[str, ...]:
    """What a drill depends on: the procedure, how drills are done, and what the host is."""
    return (*reach(module_file(procedure), "builder/procedures/drill.py"), *hosts(*labs))


def units() -> Sequence[Unit]:
    rows: list[tuple[str, Mapping[str, str], GuestKind]] = [
        *((name, {}, "pv") for name in drilled()),
        *((name, given, "pv") for name, given in OTHERWISE),
        *((name, {}, "pvh") for name in PVH),
    ]
    return [
        Unit(unit_name(release, name, given, guest),
             partial(drill, release, name, given, guest=guest), 900, inputs_of(name))
        for name, given, guest in rows
        for release in RELEASES
    ]  # fmt: skip


def judge(done: Mapping[str, Figures]) -> Verdict:
    drills = [figures["drill"] for figures in done.values() if "drill" in figures]
    return Verdict(all(each["ok"] for each in done.values()), {"drills": drills})


PART = Part("procedures", "host procedures on Debian 12 and 13: run, again, restart, undo", units, judge)
