"""The nightly part that drills procedures, and the pages that show what it proved."""

from __future__ import annotations

from typing import Any

from builder.model.load import parse_lab
from builder.procedures import PROCEDURES, load_procedure
from builder.procedures.page import index, page
from builder.systems import traits
from ci.nightly.procedures import RELEASES, drilled, judge, lab_text, units


def row(procedure: str, release: str = "debian 13", **changes: object) -> dict[str, Any]:
    evidence = [{"what": "dom0 kernel started with", "expected": "x", "seen": "pcie_aspm=off", "ok": True}]
    steps = [{"name": "run", "ok": True, "seconds": 90.0, "evidence": evidence, "error": ""}]
    return {"procedure": procedure, "release": release, "dialect": "xl", "date": "2026-11-21T20:00:00+00:00",
            "applied": "yes", "repeated": "yes", "survives": "yes", "undone": "yes", "seconds": 321.4, "steps": steps,
            **changes}  # fmt: skip


def test_every_procedure_that_a_lab_can_try_is_a_unit_on_every_release() -> None:
    names = {unit.name for unit in units()}
    assert names == {f"{release}-{name}" for release in RELEASES for name in (*drilled(), "guest-migrate")}
    assert {"dom0-memory", "debug-mode", "maintenance", "guest-memory"} <= set(drilled())
    assert "tls-certificate" not in drilled()
    for release in RELEASES:
        lab = parse_lab(lab_text(release).encode(), traits()).lab
        assert (lab.nodes[0].system, lab.nodes[0].release) == ("debian", release)


def test_one_that_failed_is_no_proof_and_its_record_is_kept() -> None:
    good, bad = row("nic-quirk"), row("debug-mode", undone="no")
    verdict = judge({"a": {"ok": True, "drill": good}, "b": {"ok": False, "drill": bad}, "c": {"ok": False}})
    assert (verdict.ok, verdict.figures["drills"]) == (False, [good, bad])
    assert judge({"a": {"ok": True, "drill": good}}).ok


def test_a_page_shows_the_latest_proof_of_each_release() -> None:
    procedure = load_procedure("nic-quirk")
    assert "Not drilled yet." in page(procedure)
    older = row("nic-quirk", undone="no", date="2026-01-01T00:00:00+00:00")
    text = page(procedure, [older, row("nic-quirk"), row("nic-quirk", "debian 12"), row("debug-mode")])
    assert "| debian 13 | 2026-11-21 | yes | yes | yes | yes | 321 |" in text
    assert "| debian 12 |" in text and "| no |" not in text and "2026-01-01" not in text
    assert "- dom0 kernel started with: pcie_aspm=off" in text
    assert load_procedure("pci-hide").drill.reason in page(load_procedure("pci-hide"))


def test_the_list_links_every_page_and_counts_only_whole_drills() -> None:
    found = [load_procedure(name) for name in PROCEDURES]
    lines = index(found, [row("nic-quirk"), row("debug-mode", survives="no")]).splitlines()
    by_name = {name: next(line for line in lines if f"]({name}.md)" in line) for name in PROCEDURES}
    assert by_name["nic-quirk"].endswith("| debian 13 (2026-11-21) |")
    assert by_name["debug-mode"].endswith("| no |")
    assert by_name["tls-certificate"].split("|")[3:5] == ["  ", " yes "]
