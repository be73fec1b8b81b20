"""Labs of several hosts, and of hosts with several disks: up, every check, down; and a path cut under load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ci.nightly.lab import command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.nightly.programs import passed
from ci.proof import ROOT, inputs_digest

LABS = ("two-dom0", "router-trunk", "raid-sr", "multipath", "passthrough")
INPUTS = ("builder/drivers", "builder/lifecycle", "builder/systems/debian", "answerfiles/debian", "labs")
DRILLS = ("tests/nightly/test_multipath.py",)


def checked(name: str, desk: Desk) -> Figures:
    lab = ROOT / f"labs/{name}.yaml"
    with command(desk.log) as nestlab:
        try:
            if nestlab.run("image", "build", lab, timeout=2400):
                return {"ok": False, "reached": "nothing"}
            if nestlab.run("up", lab, timeout=1800):
                return {"ok": False, "reached": "rendered"}
            passed = nestlab.run("test", lab, timeout=900) == 0
            if not passed:
                nestlab.keep(lab)
            return {"ok": passed, "reached": "verified" if passed else "booted"}
        finally:
            nestlab.run("down", lab, timeout=120)


def units() -> Sequence[Unit]:
    return [
        *(Unit(name, partial(checked, name), 1500) for name in LABS),
        *(Unit(file, partial(passed, file), 1200) for file in DRILLS),
    ]


def judge(done: Mapping[str, Figures]) -> Verdict:
    return Verdict(all(each["ok"] for each in done.values()), {**done, "inputs": inputs_digest(*INPUTS)})


PART = Part("several-hosts", "labs of several hosts: up, checks, down; one of two paths cut under load", units, judge)
