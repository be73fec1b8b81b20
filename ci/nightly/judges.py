"""The answers of every system that installs itself, held against the programs and rules that judge them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from xml.etree import ElementTree

from builder.systems import traits
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import ROOT, Claim, claim_digest, status_of, today


def systems() -> list[str]:
    return [name for name, row in traits().items() if "medium" in row.sources]


def judge_system(system: str, desk: Desk) -> Figures:
    """Run all tests of the system's answers. One that is skipped has judged nothing: it fails the unit."""
    report = desk.folder / f"{system}.xml"
    report.unlink(missing_ok=True)
    modules = [
        str(path.relative_to(ROOT))
        for folder in ("tests/unit/systems", "tests/integration")
        for path in sorted((ROOT / folder).glob(f"test_{system}_*.py"))
    ]
    argv = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *modules]
    status = status_of(argv, timeout=1200, env={}, log=desk.log)
    suite = ElementTree.parse(report).find("testsuite") if report.exists() else None
    counted = {name: int(suite.get(name, "0")) for name in ("tests", "skipped")} if suite is not None else {}
    cases = importlib.import_module(f"tests.support.{system}").CASES
    nodes = sorted({(case.node.release, case.node.firmware) for case in cases.values()})
    return {
        "ok": status == 0 and counted.get("skipped") == 0,
        **counted,
        "cases": len(cases),
        "judged": [list(node) for node in nodes],
        "inputs": claim_digest(system, "", "medium"),
    }


def units() -> Sequence[Unit]:
    return [Unit(system, partial(judge_system, system), 300) for system in systems()]


def judge(done: Mapping[str, Figures]) -> Verdict:
    claims = tuple(
        Claim(
            system=system, release=release, l0="", accelerator="", path="medium", firmware=firmware, proof="judged",
            inputs=figures["inputs"], date=today(),
        )
        for system, figures in done.items()
        if figures["ok"]
        for release, firmware in figures["judged"]
    )  # fmt: skip
    return Verdict(all(figures["ok"] for figures in done.values()), {"systems": dict(done)}, claims)


PART = Part("judges", "answers of every system, held against the programs and rules that judge them", units, judge)
