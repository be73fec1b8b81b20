"""What `explain`, `plan --explain` and `settings` say was really done: never more than the records show."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.cli import sources
from builder.cli.boundary import guarded
from builder.cli.proofs import (
    _BY_CHOICE,
    ELSEWHERE,
    EMULATED,
    NONE,
    PARTS,
    REFUSED,
    UNKNOWN,
    case,
    proof,
    proof_of_node,
    proof_of_quirk,
    proof_of_row,
    value_of,
)  # fmt: skip
from builder.cli.tried import tried
from builder.hypervisors.documented import SETTINGS
from builder.hypervisors.setting import Rule, Setting
from builder.hypervisors.settings import Documented
from builder.model.lab import Node
from builder.model.load import parse_lab
from builder.systems import traits
from ci import exported
from ci.nightly import boots, debian_installer, variants, xcpng_own
from ci.proof import claim_digest
from tests.support.repo import ROOT

Capture = pytest.CaptureFixture[str]
PREFIXES = {"xl", "xe", "vmx", "esxi", "hyperv", "proxmox"}
KEYS = ("cpus", "memory", "disks.size", "disks.bus", "management_nic", "firmware", "cpu_model", "iommu")
DEBIAN = {"system": "debian", "release": "13", "path": "image", "firmware": "bios", "l0": "kvm"}


def row(hypervisor: str, key: str, value: str, rule: str = "") -> Setting:
    (found,) = {
        each for each in SETTINGS
        if (each.hypervisor, each.key, each.value) == (hypervisor, key, value) and rule in ("", each.rule)
    }  # fmt: skip
    return found


def claim(**changes: str) -> dict[str, str]:
    return {
        "system": "debian", "release": "13", "l0": "kvm", "accelerator": "tcg", "path": "image", "firmware": "bios",
        "proof": "verified", "inputs": "then", "date": "2026-01-02", **changes,
    }  # fmt: skip


def judged(l0: str, **changes: str) -> dict[str, str]:
    given = {"system": "xcpng", "release": "8.3", "path": "medium", "accelerator": "", "proof": "judged", **changes}
    return claim(l0=l0, **given)


def recorded(folder: Path, part: str, *claims: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    record = {"part": part, "commit": "abc", "date": "2026-01-02T03:04:05", "claims": claims}
    (folder / f"{part}.json").write_text(json.dumps(record))
    return folder


def test_the_strongest_is_told_with_its_day_and_commit(tmp_path: Path) -> None:
    recorded(tmp_path, "a", judged("xen"), judged("xen", proof="booted", date="2026-01-01"))
    said = proof({"system": "xcpng"}, tmp_path)
    assert said.startswith("booted 2026-01-01, stale or not: only a checkout can tell (xcpng 8.3, medium, BIOS on xen;")
    assert proof({"system": "t"}, tmp_path) == NONE
    assert proof({"system": "xcpng"}, tmp_path / "none") == ELSEWHERE == proof_of_row(SETTINGS[0], tmp_path / "none")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A repository with one source file that claims about exports depend on."""
    (tmp_path / "builder/model").mkdir(parents=True)
    (tmp_path / "builder/model/lab.py").write_text("old")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    sources.digest.cache_clear()
    yield tmp_path
    sources.digest.cache_clear()


def test_a_proof_older_than_its_sources_is_stale(checkout: Path) -> None:
    now = sources.digest(checkout, *sources.of_claim("xcpng", "xen", "medium"))
    assert now is not None
    made = judged("xen", inputs=now)
    fresh = recorded(checkout / "ci/fresh", "exports", made, judged("xen", proof="booted"))
    told = proof_of_row(row("xen", "xl.hap", "1"), fresh)
    assert told == "judged 2026-01-02 (xcpng 8.3, medium, BIOS on xen; commit abc)", "before the stronger, stale one"
    (checkout / "builder/model/lab.py").write_text("new")
    sources.digest.cache_clear()
    stale = recorded(checkout / "ci/stale", "exports", made)
    assert proof_of_row(row("xen", "xl.hap", "1"), stale).startswith("judged 2026-01-02, stale (xcpng 8.3,")


def test_in_a_folder_of_another_repository_nobody_can_tell(checkout: Path) -> None:
    """git would answer there: for a repository that knows nothing of our files."""
    inside = checkout / "unpacked"
    inside.mkdir()
    assert sources.digest(inside, "builder/model") is None


def test_sources_are_those_that_proofs_are_made_from() -> None:
    sources.digest.cache_clear()
    for l0 in ("", "kvm", "xen"):
        for system in traits():
            for path in ("image", "medium"):
                assert sources.digest(ROOT, *sources.of_claim(system, l0, path)) == claim_digest(system, l0, path)
    assert sources.VARIANTS == variants.INPUTS


def test_what_documents_only_allow_or_refuse_is_not_proven_by_another_value(tmp_path: Path) -> None:
    recorded(tmp_path, "exports", judged("esxi"), judged("xen"), judged("hyperv"), judged("proxmox"))
    told = {key: proof_of_row(row(*key), tmp_path) for key in (
        ("esxi", "disks.bus", "lsisas1068"), ("esxi", "disks.bus", "nvme"), ("esxi", "disks.bus", "pvscsi"),
        ("xen", "disks.bus", "ide"), ("xen", "disks.bus", "sata"), ("esxi", "management_nic", "vmxnet3"),
        ("esxi", "vmx.virtualHW.version.nvme", "13"), ("esxi", "vmx.vhv.enable", "TRUE"),
        ("kvm", "proxmox.cpu", "host"), ("hyperv", "firmware", "uefi"),
    )}  # fmt: skip
    assert {key for key, said in told.items() if said.startswith("judged")} == {
        ("esxi", "disks.bus", "lsisas1068"), ("xen", "disks.bus", "ide"), ("esxi", "vmx.vhv.enable", "TRUE"),
        ("kvm", "proxmox.cpu", "host"),
    }  # fmt: skip
    assert told["esxi", "disks.bus", "pvscsi"] == told["hyperv", "firmware", "uefi"] == REFUSED
    assert told["esxi", "disks.bus", "nvme"] == "not run (what was done had lsisas1068)"
    assert told["xen", "disks.bus", "sata"] == "not run (what was done had ide)"
    assert told["esxi", "vmx.virtualHW.version.nvme", "13"] == NONE
    assert proof_of_row(row("hyperv", "hyperv.cpu", "amd", "allowed"), tmp_path) == NONE


def test_by_uefi_xcpng_shows_no_ide_disks(tmp_path: Path) -> None:
    recorded(tmp_path, "exports", judged("xcpng", firmware="uefi"))
    assert proof_of_row(row("xcpng", "disks.bus", "ide"), tmp_path) == "not run (what was done had nvme)"


def test_more_than_a_floor_does_not_prove_the_floor(tmp_path: Path) -> None:
    recorded(tmp_path, "exports", judged("esxi"), judged("xcpng"))
    assert proof_of_row(row("esxi", "memory", "4GiB"), tmp_path).startswith("not run with 4GiB; with 8GiB: judged")
    assert proof_of_row(row("esxi", "disks.size", "60GB"), tmp_path).startswith("not run with 60GB; with 100GiB: ")
    assert proof_of_row(row("xcpng", "cpus", "2"), tmp_path).startswith("judged"), "two is what nodes have"


def node_proof(key: str, value: str, has: str, folder: Path) -> str:
    return proof_of_node(row("kvm", key, value), DEBIAN, has, folder)


def test_emulation_shows_nothing_of_kvm_and_its_processors(tmp_path: Path) -> None:
    tcg, kvm = (recorded(tmp_path / name, "boots", claim(accelerator=name)) for name in ("tcg", "kvm"))
    host = "see `nestlab doctor`"
    for key, value in (("kvm.nested.intel", "Y"), ("kvm.nested.amd", "1"), ("kvm.ept", "required")):
        assert node_proof(key, value, host, tcg) == EMULATED
        assert node_proof(key, value, host, kvm) == UNKNOWN, "of a module's parameter no record tells"
    passed, modelled = "host-passthrough", "host-model"
    assert node_proof("cpu_model", passed, passed, tcg) == EMULATED
    assert node_proof("cpu_model", passed, passed, kvm).startswith("verified 2026-01-02")
    assert node_proof("cpu_model", modelled, passed, tcg) == node_proof("cpu_model", modelled, passed, kvm) == NONE
    assert node_proof("cpu_model", modelled, modelled, kvm) == "not run (what was done had host-passthrough)"


def test_a_node_has_the_proof_of_its_own_value(tmp_path: Path) -> None:
    recorded(tmp_path, "boots", claim())
    assert node_proof("disks.bus", "lsilogic", "lsilogic", tmp_path).startswith("verified")
    assert node_proof("disks.bus", "lsilogic", "ide", tmp_path) == NONE, "the node has another"
    assert node_proof("memory", "4GiB", "4GiB", tmp_path).startswith("verified")
    assert node_proof("memory", "8GiB", "4GiB", tmp_path) == NONE, "below it"
    assert node_proof("disks.size", "50GiB", "64GiB", tmp_path) == "not run (what was done had 16GiB)"
    assert node_proof("disks.size", "50GiB", "-", tmp_path) == NONE


def test_of_other_parts_nothing_is_known(tmp_path: Path) -> None:
    recorded(tmp_path, "new-part", claim())
    assert node_proof("disks.bus", "lsilogic", "lsilogic", tmp_path) == UNKNOWN
    assert proof_of_quirk("dom0-loglevel", DEBIAN, tmp_path) == UNKNOWN


def test_a_quirk_is_proven_where_it_was(tmp_path: Path) -> None:
    recorded(tmp_path, "boots", claim())
    assert proof_of_quirk("dom0-loglevel", DEBIAN, tmp_path).startswith("verified")
    assert proof_of_quirk("of-other-nodes", DEBIAN, tmp_path) == NONE == proof_of_quirk("x", {"l0": "xen"}, tmp_path)


def labs_of_parts(folder: Path) -> dict[str, str]:
    cases = (
        exported.Case("esxi", "xcpng", "8.3", "medium", "bios"),
        exported.Case("xen", "debian", "13", "image", "bios"),
    )
    return {
        "boots": boots.lab_text("13", "bios"),
        **{f"exports {number}": exported.lab_text(each) for number, each in enumerate(cases)},
        **{name: debian_installer.lab_text(name, folder / "host.iso") for name in ("install-lvm", "install-raid10")},
        "xcpng-own": xcpng_own.lab_of("8.3", folder).read_text(),
    }


def test_values_are_those_of_what_parts_try(tmp_path: Path) -> None:
    labs = labs_of_parts(tmp_path)
    assert {name.partition(" ")[0] for name in labs} == set(PARTS)
    for name, text in labs.items():
        real: Node = parse_lab(text.encode(), traits(), folder=tmp_path).lab.nodes[0]
        path = "medium" if "medium:" in text else "image"
        made = case(name.partition(" ")[0], real.system, real.release, path, real.firmware)
        assert made is not None
        for key in KEYS:
            assert value_of(made, key, first=True) == value_of(real, key, first=True), (name, key)


# What exporters write without asking the table, and a word of it.
WRITTEN = {"xe.memory": "vm-memory-limits-set", "esxi.promiscuous": "--allow-promiscuous=true"}


def test_exports_without_choices_have_what_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is why their claims count for rows of the L0s' own settings; all but those that only a choice brings."""
    asked: set[str] = set()
    get, find = Documented.__getitem__, Documented.find

    def looked_up(self: Documented, key: str) -> str:
        asked.add(key)
        return get(self, key)

    def found(self: Documented, key: str, *rules: Rule) -> tuple[Setting, ...]:
        asked.add(key)
        return find(self, key, *rules)

    monkeypatch.setattr(Documented, "__getitem__", looked_up)
    monkeypatch.setattr(Documented, "find", found)
    texts = [
        file.content
        for l0 in exported.TARGETS
        for file in exported.files_of(exported.Case(l0, "xcpng", "8.3", "medium", "bios")).values()
    ]
    own = {each.key for each in SETTINGS if each.rule == "set" and each.key.partition(".")[0] in PREFIXES}
    assert own - asked == {*WRITTEN, *_BY_CHOICE}
    assert [key for key, word in WRITTEN.items() if not any(word in text for text in texts)] == []


def variant(works: bool, **changes: str) -> dict[str, Any]:
    case = {"machine": "pc", "firmware": "bios", "bus": "lsilogic", "nic": "e1000", "cpu": "max", **changes}
    return {"case": case, "works": works, "inputs": "then"}


def test_what_was_tried_beside_the_documented_is_told(tmp_path: Path) -> None:
    figures = [variant(True), variant(False, firmware="uefi"), variant(True, machine="q35", bus="nvme"),
               variant(False, nic="vmxnet3"), variant(False, cpu="EPYC")]  # fmt: skip
    assert tried("disks.bus", tmp_path) == ""
    record = {"date": "2026-01-02T03:04:05", "commit": "abc", "figures": {"variants": figures}}
    (tmp_path / "variants.json").write_text(json.dumps(record))
    assert tried("disks.bus", tmp_path) == (
        "lsilogic works on pc BIOS, fails on pc UEFI; nvme works on q35 BIOS (Debian's Xen under QEMU's emulation, "
        "2026-01-02, stale or not: only a checkout can tell; commit abc)"
    )
    assert tried("management_nic", tmp_path).startswith(
        "e1000 works on pc BIOS lsilogic; vmxnet3 fails on pc BIOS lsilogic"
    )
    assert tried("firmware", tmp_path).startswith("bios works on pc lsilogic and q35 nvme; uefi fails on pc lsilogic (")
    assert tried("cpu_model", tmp_path) == ""


def test_every_front_door_has_the_same_words(capsys: Capture) -> None:
    assert guarded(["explain", "disks.bus", "-o", "json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    nvme = proof_of_row(row("esxi", "disks.bus", "nvme"))
    assert nvme == "not run (what was done had lsisas1068)"
    assert told["xcpng on esxi, nvme"].endswith(f"Proof: {nvme}.")
    assert told["xcpng on esxi, not pvscsi"].endswith("Proof: refused.")
    assert guarded(["settings", "-o", "json"]) == 0
    rows = {each["setting"]: each["documented"] for each in json.loads(capsys.readouterr().out)}
    assert guarded(["settings", "--documented", "-o", "json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert len(alone) == len(SETTINGS)
    for each in SETTINGS:
        wanted = each.model_dump(mode="json") | {"proof": proof_of_row(each)}
        assert wanted in alone and any(wanted in documented for documented in rows.values())
    assert guarded(["plan", str(ROOT / "labs/debian-dom0.yaml"), "--explain", "-o", "json"]) == 0
    shown = {(each["setting"], each["documented"]): each["proof"] for each in json.loads(capsys.readouterr().out)}
    assert shown["cpu_model", "host-model (for xcpng)"] == NONE
    assert shown["kvm.ept", "required (for xcpng)"] == EMULATED
