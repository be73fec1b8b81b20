"""The storage section of rendered kickstarts, carried out on real disks of a test machine: see `ci.kickstart_storage`.

A unit is one case by our own calls on blivet; where NESTLAB_ANACONDA names the source of anaconda, the cases of its
release are carried out by anaconda's own storage service as well. The proof says which was done by whom.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ci.kickstart_storage.cases import CASES
from ci.kickstart_storage.parcel import anaconda_here
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import status_of

BLIVET = "blivet, by calls of ours"
ANACONDA = "blivet, by anaconda's storage service"


def carry(case: str, by: str, desk: Desk) -> Figures:
    report = desk.folder / f"{case}{'-anaconda' if by == ANACONDA else ''}.json"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "ci.kickstart_storage", case, "--json", str(report)]
    status = status_of([*argv, *(["--anaconda"] if by == ANACONDA else [])], timeout=1800, env={}, log=desk.log)
    if not report.exists():
        return {"ok": False, "by": by, "wrong": [f"the program ended with {status}: see {desk.log.name}"]}
    found = json.loads(report.read_text("utf-8"))
    return {"ok": status == 0, "by": by, **{name: found[name] for name in ("checks", "wrong", "steps", "versions")}}


def units() -> Sequence[Unit]:
    made = [Unit(name, partial(carry, name, BLIVET), 120) for name in CASES]
    if (anaconda := anaconda_here()) is not None:
        made += [
            Unit(f"{name}-anaconda", partial(carry, name, ANACONDA), 150)
            for name, case in CASES.items()
            if case.handler == anaconda.handler
        ]
    return made


def judge(done: Mapping[str, Figures]) -> Verdict:
    versions: dict[str, str] = {}
    cases: dict[str, dict[str, Any]] = {}
    for name, figures in done.items():
        versions |= figures.get("versions", {})
        cases[name] = {key: value for key, value in figures.items() if key != "versions"}
    figures = {"cases": cases, "checks": sum(figures.get("checks", 0) for figures in done.values())}
    return Verdict(all(figures["ok"] for figures in done.values()), figures, versions=versions)


PART = Part(
    "kickstart-storage",
    "the storage of rendered kickstarts made by blivet on real disks, looked at before and after a restart",
    units,
    judge,
)
