"""Exports in the proof matrix: which cases there are, and that only what was before a judge is claimed."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import LabError
from builder.hypervisors import EXPORTERS
from builder.systems import traits
from ci.exported import TARGETS, Case, cases, files_of, is_documented
from ci.matrix import is_fresh
from ci.nightly.exports import judge, passed
from ci.nightly.part import Figures
from ci.proof import claim_digest

JUNIT = """\
<testsuites><testsuite>
  <testcase name="a"><properties><property name="judged" value="xen-debian-13-image-bios"/></properties></testcase>
  <testcase name="b"><properties><property name="judged" value="xen-debian-13-image-uefi"/></properties>
    <failure message="no"/></testcase>
  <testcase name="c"><properties><property name="judged" value="xen-debian-13-medium-bios"/></properties>
    <error message="no"/></testcase>
  <testcase name="d"><skipped/></testcase>
  <testcase name="e"/>
</testsuite></testsuites>
"""


def test_every_l0_every_system_and_every_release_is_a_case() -> None:
    found = cases()
    assert {target.to for target in TARGETS.values()} == set(EXPORTERS)
    assert {case.l0 for case in found} == set(TARGETS) and len({case.name for case in found}) == len(found)
    for name, row in traits().items():
        assert {(case.release, case.path) for case in found if case.system == name} == {
            (release, path) for release in row.releases for path in row.sources
        }


@pytest.mark.parametrize(
    ("case", "code"),
    [(Case("hyperv", "xcpng", "8.3", "medium", "uefi"), "l0-refused"), (Case("xen", "tiny", "13", "image", "bios"),
     "l0-direct"), (Case("xen", "netbsd", "10", "medium", "uefi"), "NLN090")],
)  # fmt: skip
def test_what_documents_refuse_is_told_from_what_goes_wrong(case: Case, code: str) -> None:
    with pytest.raises(LabError) as caught:
        files_of(case)
    assert f"[{code}]" in str(caught.value) and is_documented(caught.value)
    assert not is_documented(LabError("no such bridge"))


def test_what_failed_or_was_not_judged_is_not_claimed(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(JUNIT)
    assert passed(report) == {"xen-debian-13-image-bios"}


def figures(*, sight: bool) -> dict[str, Figures]:
    inputs = {f"{case.l0} {case.system}": claim_digest(case.system, case.l0, case.path) for case in cases()}
    judged = ["esxi-xcpng-8.3-medium-bios", "xen-debian-13-image-bios"]
    return {"sight": {"ok": sight}, "judged": {"ok": True, "judged": judged, "inputs": inputs}}


def test_claims_are_judged_on_their_l0_and_fresh() -> None:
    verdict = judge(figures(sight=True))
    assert verdict.ok and {(claim.l0, claim.system, claim.proof) for claim in verdict.claims} == {
        ("esxi", "xcpng", "judged"), ("xen", "debian", "judged")
    }  # fmt: skip
    assert all(is_fresh(claim) and claim.accelerator == "" for claim in verdict.claims)
    assert verdict.figures["judged"]["esxi"] == 1 and verdict.figures["judged"]["hyperv"] == 0


def test_judges_that_see_nothing_prove_nothing() -> None:
    verdict = judge(figures(sight=False))
    assert not verdict.ok and verdict.claims == ()
