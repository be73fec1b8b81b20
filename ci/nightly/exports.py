"""Every system exported to every L0, before the judges of that L0. The matrix's claims about exports come from here."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from ci.exported import cases
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import Claim, claim_digest, status_of, today

TEST = "tests/integration/test_exported_systems.py"
# Whether these judges see anything is shown there.
SIGHT = (
    "tests/integration/test_export_judges.py",
    "tests/integration/test_export_powershell.py",
    "tests/integration/test_export_scripts.py",
)


def judge_exports(desk: Desk) -> Figures:
    """All cases. One that is skipped has judged nothing: it fails the unit."""
    report = desk.folder / "exports.xml"
    report.unlink(missing_ok=True)
    status = status_of([sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", TEST], timeout=1800, env={},
                       log=desk.log)  # fmt: skip
    judged = sorted(passed(report)) if report.exists() else []
    inputs = {f"{case.l0} {case.system}": claim_digest(case.system, case.l0, case.path) for case in cases()}
    return {"ok": status == 0 and bool(judged), "judged": judged, "inputs": inputs}


def passed(report: Path) -> set[str]:
    """Names of the cases that were before a judge and passed."""
    return {
        str(each.get("value"))
        for case in ElementTree.parse(report).iter("testcase")
        if not any(case.find(bad) is not None for bad in ("failure", "error", "skipped"))
        for each in case.iter("property")
        if each.get("name") == "judged"
    }


def sight(desk: Desk) -> Figures:
    """The judges shown broken files, and the scripts run, each twice, over stand-ins for programs of the L0s."""
    status = status_of([sys.executable, "-m", "pytest", "-q", *SIGHT], timeout=1800, env={}, log=desk.log)
    return {"ok": status == 0, "status": status}


def units() -> Sequence[Unit]:
    return [Unit("sight", sight, 300), Unit("judged", judge_exports, 300)]


def judge(done: Mapping[str, Figures]) -> Verdict:
    figures = done["judged"]
    ok = all(each["ok"] for each in done.values())
    claims = tuple(
        Claim(
            system=case.system, release=case.release, l0=case.l0, accelerator="", path=case.path,
            firmware=case.firmware, proof="judged", inputs=figures["inputs"][f"{case.l0} {case.system}"],
            date=today(),
        )
        for case in cases()
        if done["sight"]["ok"] and case.name in figures["judged"]
    )  # fmt: skip
    counted = {l0: sum(name.startswith(f"{l0}-") for name in figures["judged"]) for l0 in {c.l0 for c in cases()}}
    return Verdict(ok, {"judged": dict(sorted(counted.items()))}, claims)


PART = Part("exports", "every system exported to every L0, held against the judges of that L0", units, judge)
