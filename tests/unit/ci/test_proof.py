"""Proofs and the matrix made of them: nothing is shown above what was done, and old proofs are called stale."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from builder.cli import sources
from builder.model.load import read_lab
from builder.model.plan import Minimum, SystemTraits
from builder.run import run
from builder.systems import load_system, traits
from ci import proof
from ci.exported import TARGETS
from ci.matrix import cell, cells, in_short, is_fresh, matrix, table
from ci.proof import Claim, claim_digest, inputs_digest, read_claims, write_proof
from ci.proofs_page import page
from tests.support.repo import ROOT


def claim(**changes: str) -> Claim:
    values = {
        "system": "debian", "release": "13", "l0": "kvm", "accelerator": "tcg", "path": "image", "firmware": "bios",
        "proof": "verified", "inputs": "now", "date": "2026-01-02",
    }  # fmt: skip
    return Claim(**{**values, **changes})  # type: ignore[arg-type]


def fresh(found: Claim) -> bool:
    return found.inputs == "now"


def system(name: str, sources: tuple[str, ...] = ("image",)) -> SystemTraits:
    return SystemTraits(
        name=name, title=name, releases=("13", "12"), default_release="13", defaults={},
        minimum=Minimum(memory=1, disk=1, source="test"), sources=sources,
    )  # fmt: skip


def test_the_strongest_fresh_proof_is_shown() -> None:
    found = [claim(proof="booted", date="2026-03-01"), claim(), claim(proof="installed", inputs="before")]
    assert cell(found, fresh) == "verified 2026-01-02 (QEMU, emulated)"


def test_a_fresh_weak_proof_beats_a_stale_strong_one() -> None:
    assert cell([claim(inputs="before"), claim(proof="judged")], fresh).startswith("judged")


def test_a_stale_proof_says_so() -> None:
    assert cell([claim(inputs="before")], fresh) == "verified 2026-01-02 (QEMU, emulated), stale"


def test_of_equal_proofs_the_latest_is_shown() -> None:
    assert "2026-02-01" in cell([claim(date="2026-02-01"), claim(date="2026-01-31")], fresh)


def test_what_was_never_run_is_not_claimed() -> None:
    shown = table({"debian": system("debian")}, [claim(release="12", firmware="uefi")], "kvm", fresh).splitlines()
    assert shown[0] == "| System | Release | image, BIOS | image, UEFI |"
    assert shown[2] == "| debian | 13 | not run | not run |"
    assert shown[3] == "| debian | 12 | not run | verified 2026-01-02 (QEMU, emulated) |"


def test_columns_are_those_that_some_system_has() -> None:
    systems = {"a": system("a"), "b": system("b", ("medium",))}
    shown = table(systems, [], "kvm", fresh).splitlines()
    assert shown[0].count("|") == 7
    assert shown[2] == "| a | 13 | not run | not run |  |  |"
    assert shown[4] == "| b | 13 |  |  | not run | not run |"


def test_the_matrix_has_a_column_for_each_way_and_each_l0() -> None:
    judged = [claim(l0="xen", accelerator="", proof="judged", firmware=firmware) for firmware in ("bios", "uefi")]
    shown = matrix({"debian": system("debian")}, [*judged, claim()], fresh).splitlines()
    titles = [cell.strip() for cell in shown[0].strip("|").split("|")]
    found = dict(zip(titles, (cell.strip() for cell in shown[2].strip("|").split("|")), strict=True))
    assert titles[2:4] == ["QEMU/KVM, image", "Xen (xl)"] and len(titles) == 3 + len(TARGETS)
    assert found["QEMU/KVM, image"] == "BIOS: verified 2026-01-02 (QEMU, emulated); UEFI: not run"
    assert found["Xen (xl)"] == "judged 2026-01-02"
    assert found["ESXi"] == "not run"
    assert found["Hyper-V"] == "BIOS: not run; UEFI: refused"


def test_a_claim_counts_on_its_own_l0_only() -> None:
    answers = claim(l0="", accelerator="", proof="judged")
    row = system("debian")
    assert cells(row, "13", "kvm", [answers], fresh)["image", "bios"] == "judged 2026-01-02"
    assert cells(row, "13", "xen", [answers, claim()], fresh)["image", "bios"] == "not run"
    assert cells(row, "13", "kvm", [claim(l0="libvirt")], fresh)["image", "bios"] == "not run"


def test_a_node_without_a_disk_is_not_moved() -> None:
    row = system("tiny").model_copy(update={"minimum": Minimum(memory=1, disk=0, source="test")})
    assert cells(row, "13", "xen", [], fresh) == {} and len(cells(row, "13", "kvm", [], fresh)) == 2
    assert "tiny" not in table({"tiny": row}, [], "xen", fresh)


@pytest.mark.parametrize(
    ("told", "short"),
    [
        ({("image", "bios"): "a", ("image", "uefi"): "a", ("medium", "bios"): "a", ("medium", "uefi"): "a"}, "a"),
        ({("image", "bios"): "a", ("image", "uefi"): "b"}, "BIOS: a; UEFI: b"),
        (
            {("image", "bios"): "a", ("image", "uefi"): "a", ("medium", "bios"): "a", ("medium", "uefi"): "b"},
            "image, medium BIOS: a; medium UEFI: b",
        ),
        ({("image", "bios"): "a", ("image", "uefi"): "a", ("medium", "bios"): "b", ("medium", "uefi"): "b"},
         "image: a; medium: b"),
        ({("image", "bios"): "a", ("image", "uefi"): "b", ("medium", "bios"): "a", ("medium", "uefi"): "b"},
         "BIOS: a; UEFI: b"),
        ({}, ""),
    ],
)  # fmt: skip
def test_ways_with_the_same_end_are_told_once(told: dict[tuple[str, str], str], short: str) -> None:
    assert in_short(told) == short


def test_an_export_is_stale_once_what_writes_it_changes() -> None:
    inputs = sources.of_claim("debian", "xen", "image")
    assert "builder/hypervisors" in inputs and "builder/images" not in inputs
    assert "builder/images" in sources.of_claim("debian", "kvm", "image")
    for name in traits():
        assert name == "tiny" or (ROOT / sources.of_claim(name, "xen", "medium")[-1]).is_file(), name


@pytest.mark.parametrize(("system", "path"), [("debian", "image"), ("debian", "medium"), ("xcpng", "medium")])
def test_what_ran_is_stale_once_it_is_given_anything_else(system: str, path: str) -> None:
    """Machine, answers, files and arguments of labs with such nodes, and not what these are watched by."""
    names = sources.of_claim(system, "kvm", path)
    labs = {Path(name).name for name in names if name.startswith("tests/golden/")}
    for lab in labs:
        nodes = read_lab(ROOT / f"labs/{lab}.yaml", traits()).nodes
        assert {(node.system, node.source.kind) for node in nodes} == {(system, path)}, lab
        checks = [f"labs/checks/{name}" for node in nodes for name in load_system(node.system).plan(node).checks]
        assert checks and set(checks) <= set(names), lab
    listed = run(["git", "ls-files", "--", *names], cwd=ROOT).stdout.split()
    kept = {(Path(name).parts[3], Path(name).name) for name in listed if name.startswith("tests/golden/")}
    for lab in labs:
        assert {(lab, "domain.xml"), (lab, "plan.json")} <= kept and (lab, "boots.json") not in kept


def test_a_ran_claim_of_a_system_without_such_labs_hangs_on_its_code() -> None:
    assert "builder/systems/netbsd" in sources.of_claim("netbsd", "kvm", "medium")


def test_a_claim_is_stale_once_its_inputs_change(monkeypatch: pytest.MonkeyPatch) -> None:
    made = claim(inputs=claim_digest("debian", "kvm", "image"))
    assert is_fresh(made)
    monkeypatch.setattr("ci.matrix.claim_digest", lambda *_: "other")
    assert not is_fresh(made)


def test_the_digest_depends_on_what_is_asked_for() -> None:
    digests = {inputs_digest("builder/model"), inputs_digest("builder/render"), inputs_digest("no/such/folder")}
    assert len(digests) == 3


def test_a_proof_is_of_the_commit_that_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proofs that were written before it change nothing of what runs; any other file does."""
    monkeypatch.setattr(proof, "ROOT", tmp_path)
    (tmp_path / "ci/proofs").mkdir(parents=True)
    earlier, source = tmp_path / "ci/proofs/boots.json", tmp_path / "ci/proof.py"
    earlier.write_text("old")
    source.write_text("old")
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    head = proof.commit()
    assert len(head) == 12
    earlier.write_text("new")
    assert proof.commit() == head
    source.write_text("new")
    assert proof.commit() == f"{head}+changes"


def test_a_proof_is_written_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "PROOFS", tmp_path)
    monkeypatch.setattr(proof, "versions", lambda **more: {"qemu": "1", **more})  # real ones need QEMU
    path = write_proof("boots", ok=True, claims=[claim(date="")], figures={"n": 1}, more_versions={"xen": "4.20"})
    raw = json.loads(path.read_text())
    assert raw["outcome"] == "ok"
    assert raw["versions"] == {"qemu": "1", "xen": "4.20"}
    assert {"cpus", "memory_mib", "load", "kernel", "system"} <= set(raw["machine"])
    (read,) = read_claims([path])
    assert read == claim(date=raw["date"][:10])


def test_proofs_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"v": 99, "claims": []}')
    with pytest.raises(ValueError, match="version 99"):
        read_claims([path])


def test_the_page_has_every_l0_and_every_record(tmp_path: Path) -> None:
    record = {
        "part": "boots", "outcome": "failed", "date": "2026-01-02T03:04:05", "commit": "abc", "claims": [],
        "versions": {"qemu": "7.2"}, "machine": {"cpus": 2, "memory_mib": 24105, "system": "Debian"},
    }  # fmt: skip
    (tmp_path / "boots.json").write_text(json.dumps(record))
    text = page({"debian": system("debian")}, [claim(l0="esxi", accelerator="", proof="judged")], tmp_path.iterdir())
    assert all(f"## {target.title}, by `export --to {target.to}`" in text for target in TARGETS.values())
    assert (
        "| [boots](../ci/proofs/boots.json) | failed | 2026-01-02 | abc | 0 | qemu 7.2 | 2 cpus, 23 GiB, Debian |"
        in text
    )
    assert text.count("Not run yet") == 2, "variants, and xl in a dom0"


def test_the_page_says_whose_judges_they_are() -> None:
    """Of xe and qm, nobody else's program reads the calls."""
    for text in (page({"debian": system("debian")}, [], []), (ROOT / "README.md").read_text("utf-8")):
        assert "*judged* by another" not in text
    own = {l0 for l0, target in TARGETS.items() if "this project's own table of rules" in target.judges}
    assert own == {"xcpng", "proxmox"}
    text = page({"debian": system("debian")}, [], [])
    for target in TARGETS.values():
        about = text.partition(f"## {target.title}, by")[2].partition("\n| ")[0]
        assert about.count("Judged by dash and shellcheck") == 1 and target.judges in about
