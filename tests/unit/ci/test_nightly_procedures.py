"""The nightly part that drills procedures, and the pages that show what it proved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder.model.load import parse_lab
from builder.procedures import PROCEDURES, load_procedure
from builder.procedures.options import parse_options
from builder.procedures.page import index, page
from builder.systems import traits
from ci.nightly import procedures, procedures_labs
from ci.nightly.procedures import OTHERWISE, PVH, RELEASES, drill, drilled, judge, lab_text, packages
from ci.nightly.procedures_labs import ARRAYS, FAILING, FAILURES, FIRST, IN_USE, LABS, NEWER, UPGRADES, WHOLE, on_lab
from ci.nightly.reach import module_file, reach
from tests.support.repo import ROOT


def row(procedure: str, release: str = "debian 13", **changes: object) -> dict[str, Any]:
    evidence = [{"what": "dom0 kernel started with", "expected": "x", "seen": "pcie_aspm=off", "ok": True}]
    steps = [{"name": "run", "ok": True, "seconds": 90.0, "evidence": evidence, "error": ""}]
    return {"procedure": procedure, "release": release, "dialect": "xl", "date": "2026-11-21T20:00:00+00:00",
            "applied": "yes", "repeated": "yes", "survives": "yes", "undone": "yes", "seconds": 321.4, "steps": steps,
            **changes}  # fmt: skip


def test_every_procedure_that_a_lab_can_try_is_a_unit_on_every_release() -> None:
    units = [*procedures.units(), *procedures_labs.units()]
    names = {unit.name for unit in units}
    more = ("guest-migrate", "multipath", "raid-storage", "raid-storage-10-sdb+sdc+sdd")
    assert {f"{release}-{name}" for release in RELEASES for name in (*drilled(), *more)} <= names
    assert len(names) == len(units)
    assert all(parse_options(load_procedure(name), given) for name, given in OTHERWISE)
    text = (ROOT / FAILURES).read_text()
    assert tuple(re.findall(r"^class (Test\w+)", text, re.MULTILINE)) == FAILING and set(FAILING) <= names
    for file, listed in ((ARRAYS, IN_USE), (UPGRADES, NEWER)):
        tests = re.findall(r"^def (test_\w+)", (ROOT / file).read_text(), re.MULTILINE)
        assert list(dict.fromkeys(name.partition("[")[0] for name in listed)) == tests
    assert set(IN_USE) <= names and {name.format(release) for name in NEWER for release in RELEASES} <= names
    assert {"dom0-memory", "debug-mode", "maintenance", "guest-memory"} <= set(drilled())
    assert "tls-certificate" not in drilled()
    for release in RELEASES:
        lab = parse_lab(lab_text(release).encode(), traits()).lab
        assert (lab.nodes[0].system, lab.nodes[0].release) == ("debian", release)


def test_what_a_unit_holds_for_follows_from_its_sources() -> None:
    units = {unit.name: unit.inputs for unit in (*procedures.units(), *procedures_labs.units())}
    common = {"builder/images", "tests/golden/systems/debian-dom0", "builder/procedures/engine.py"}
    assert all(common - {"builder/procedures/engine.py"} <= set(inputs) for inputs in units.values())
    quirk, lock = set(units["13-nic-quirk"]), set(units["12-vif-tx-off-pvh"])
    assert common <= quirk and common <= lock
    assert "builder/procedures/boot.py" in quirk and "builder/procedures/vifs.py" in lock - quirk
    assert "builder/procedures/xen_upgrade.py" not in quirk | lock
    multipath = set(units["13-multipath"])
    assert {"tests/golden/labs/multipath", "builder/procedures/multipath.py"} <= multipath
    card = set(units["passed-card"])  # the command is told the procedure's name; nothing is imported
    assert {"builder/procedures/pci_assign.py", "tests/support/procedure_lab.py", "tests/support/lab.py"} <= card
    assert set(reach("builder/procedures/guests.py")) >= {
        "builder/procedures/guests.py",
        "builder/procedures/asking.py",
    }
    named = {name for inputs in units.values() for name in inputs if name.endswith(".py")}
    assert all((ROOT / name).is_file() for name in named)
    assert {module_file(name) for name in drilled()} <= named
    assert all((ROOT / file).is_file() for file, _ in WHOLE.values())


def test_hosts_have_the_packages_that_a_drill_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def keep(*words: Any) -> dict[str, bool]:
        seen.append(words)
        return {"ok": True}

    monkeypatch.setattr("ci.nightly.procedures.drill_lab", keep)
    desk: Any = SimpleNamespace(folder=tmp_path)
    for name, given in (("vif-tx-off", {}), ("nic-quirk", {}), OTHERWISE[0]):
        assert drill("13", name, given, desk) == {"ok": True}
    nat = seen.pop()
    assert nat[0] == tmp_path / "procedures-13-more.yaml" and nat[1] == "13-bridge-xenbr8-10.98.0.1_24-true"
    assert nat[2] == ["bridge", "name=xenbr8", "address=10.98.0.1/24", "nat=true"]
    more, plain = (parse_lab(words[0].read_bytes(), traits()).lab.nodes[0] for words in seen)
    assert (
        more.packages == packages() == ("ethtool", "logrotate", "net-tools", "nftables", "rsyslog")
        and plain.packages == ()
    )
    assert {words[0] for words in seen} == {tmp_path / "procedures-13-more.yaml", tmp_path / "procedures-13.yaml"}


@pytest.mark.parametrize("needs", LABS)
@pytest.mark.parametrize("release", RELEASES)
def test_what_needs_more_than_a_host_has_an_example_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: tuple[str, str, str, dict[str, str]], release: str
) -> None:
    """The lab as it is brought up, and what is asked of it."""
    name, node, procedure, more = needs
    seen: list[Any] = []

    def keep(*words: Any, first: Sequence[str]) -> dict[str, bool]:
        seen.append((*words, first))
        return {"ok": True}

    monkeypatch.setattr("ci.nightly.procedures_labs.drill_lab", keep)
    desk: Any = SimpleNamespace(folder=tmp_path)
    assert on_lab(name, node, procedure, more, release, desk) == {"ok": True}
    lab = parse_lab(seen[0][0].read_bytes(), traits()).lab
    assert lab.name == f"{name}-{release}" and {each.release for each in lab.nodes} == {release}
    assert node in {each.name for each in lab.nodes} and seen[0][2][0] == procedure
    given = dict(word.split("=") for word in seen[0][2] if "=" in word)
    assert parse_options(load_procedure(procedure), given) is not None and more.items() <= given.items()
    assert seen[0][2][-2:] == ["--node", node]
    first = seen[0][-1]
    if procedure not in FIRST:
        assert not first
        return
    assert first[0] == node
    made = dict(word.split("=") for word in first[2:])
    assert getattr(parse_options(load_procedure(first[1]), made), "array") == getattr(  # noqa: B009
        parse_options(load_procedure(procedure), given), "array"
    )


def test_guests_of_another_kind_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("ci.nightly.procedures.drill_lab", lambda *words: seen.append(words))
    desk: Any = SimpleNamespace(folder=tmp_path)
    drill("12", "vif-queue", {}, desk, guest="pvh")
    assert seen[0][1:3] == ("12-vif-queue-pvh", ["vif-queue", "--guest", "pvh"])
    assert {f"{release}-{name}-pvh" for release in RELEASES for name in PVH} <= {
        unit.name for unit in procedures.units()
    }
    assert {"guest-memory", "vif-tx-off", "vif-queue"} <= set(PVH)


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
