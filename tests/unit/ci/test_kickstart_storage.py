"""The judge of what kickstarts make of disks, against a recorded report of a real machine (10 GiB disks)."""

from __future__ import annotations

import copy
import io
import json
import shlex
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.hypervisors.kvm import _device
from ci.kickstart_storage import judge as judge_module
from ci.kickstart_storage import parcel as parcel_module
from ci.kickstart_storage.cases import CASES, kickstart
from ci.kickstart_storage.judge import judge
from ci.kickstart_storage.machine import with_root
from ci.kickstart_storage.parcel import VARIABLE, Anaconda, anaconda_here
from ci.nightly import kickstart_storage as part

CASE = CASES["el10-bios-raid10x4"]
REPORT = json.loads((Path(__file__).parent / "reports/el10-bios-raid10x4.json").read_text("utf-8"))
Spoil = Callable[[dict[str, Any], dict[str, Any]], object]


def wrong(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [check.what for check in judge(CASE, before, after) if not check.ok]


def test_the_recorded_machine_is_right() -> None:
    checks = judge(CASE, REPORT["before"], REPORT["after"])
    assert len(checks) > 50 and wrong(REPORT["before"], REPORT["after"]) == []


def disk(report: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = list(report["disks"].values())[number]
    return found


SPOILT: list[tuple[str, Spoil]] = [
    ("number of disks", lambda b, _: b["disks"].popitem()),
    ("partition table", lambda b, _: disk(b, 0).update(label="gpt")),
    ("MiB of its partitions but the last", lambda b, _: disk(b, 1)["partitions"][0].update(size=1024)),
    ("the last partition goes to the end", lambda b, _: disk(b, 2)["partitions"][1].update(size=1 << 23)),
    ("partitions begin at whole MiB", lambda b, _: disk(b, 3)["partitions"][0].update(start=63)),
    ("biosboot partitions", lambda b, _: disk(b, 0)["partitions"][0].update(type=judge_module.BIOSBOOT)),
    ("arrays", lambda b, _: b["arrays"].update(more=copy.deepcopy(b["arrays"]["boot"]))),
    ("boot: level", lambda b, _: b["arrays"]["boot"]["export"].update(MD_LEVEL="raid10")),
    ("boot: metadata", lambda b, _: b["arrays"]["boot"]["export"].update(MD_METADATA="1.0")),
    ("boot: version in the members themselves", lambda b, _: b["devices"]["/dev/sdb1"].update(VERSION="0.90")),
    ("pv00: chunk", lambda b, _: b["arrays"]["pv00"].update(chunk=65536)),
    ("pv00: missing members", lambda b, _: b["arrays"]["pv00"].update(degraded=1)),
    ("pv00: one member on each disk", lambda b, _: b["arrays"]["pv00"]["export"].pop("MD_DEVICE_dev_sda2_DEV")),
    ("pv00: all of its members is used", lambda b, _: b["arrays"]["pv00"].update(size=1 << 33)),
    ("extent", lambda b, _: b["lvm"]["vgs"][0].update(vg_extent_size=str(4 << 20))),
    ("free extents: root goes to the end", lambda b, _: b["lvm"]["vgs"][0].update(vg_free_count="3")),
    ("the physical volume leaves less than two extents", lambda b, _: b["lvm"]["pvs"][0].update(pv_pe_count="200")),
    ("logical volumes", lambda b, _: b["lvm"]["lvs"][1].update(lv_size=str(1 << 31))),
    ("/boot", lambda b, _: b["devices"]["/dev/md126"].update(TYPE="ext4")),
    ("swap", lambda b, _: b["devices"].pop("/dev/mapper/vg-SystemSwap")),
    ("boot after a restart: identity", lambda _, a: a["arrays"]["boot"]["export"].update(MD_UUID="0:0:0:0")),
    ("pv00 after a restart: missing members", lambda _, a: a["arrays"].pop("pv00")),
    ("lvs after a restart: identities", lambda _, a: a["lvm"]["lvs"][0].update(lv_uuid="x")),
    ("volumes after a restart: active", lambda _, a: a["lvm"]["lvs"][0].update(lv_active="")),
    ("file systems after a restart: identities", lambda _, a: a["devices"]["/dev/md126"].update(UUID="x")),
]  # fmt: skip


@pytest.mark.parametrize(("what", "spoil"), SPOILT, ids=[what for what, _ in SPOILT])
def test_each_check_can_fail(what: str, spoil: Spoil) -> None:
    before, after = copy.deepcopy(REPORT["before"]), copy.deepcopy(REPORT["after"])
    spoil(before, after)
    assert any(found.endswith(what) for found in wrong(before, after))


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_a_host_of_the_product(name: str) -> None:
    """Every option of the storage commands has its place in inside/execute.py; a new one must be given one there."""
    case = CASES[name]
    node = case.node()
    known = {
        "zerombr": set(), "ignoredisk": {"only-use"}, "clearpart": {"all", "initlabel", "disklabel", "drives"},
        "part": {"size", "grow", "ondisk", "fstype", "fsoptions"},
        "raid": {"level", "device", "fstype", "fsoptions", "chunksize"}, "volgroup": {"pesize"},
        "logvol": {"fstype", "name", "vgname", "size", "grow", "fsoptions"},
    }  # fmt: skip
    for line in kickstart(node).splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] in known:
            options = {word[2:].partition("=")[0] for word in words[1:] if word.startswith("--")}
            assert options <= known[words[0]], line
    assert len(node.disks) == case.disks


@pytest.mark.parametrize("name", CASES)
def test_the_root_disk_takes_no_name_of_the_hosts_own(name: str) -> None:
    node = CASES[name].node()
    root, *others = with_root(node).disks
    assert tuple(others) == node.disks and root.bus not in {disk.bus for disk in node.disks}
    assert {_device(disk.bus, 0, 0)[:2] for disk in node.disks}.isdisjoint({_device(root.bus, 0, 0)[:2]})


def test_anacondas_source_is_taken_from_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert anaconda_here() is None and {unit.name for unit in part.units()} == set(CASES)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no source of anaconda"):
        anaconda_here()
    for path, text in (
        ("configure.ac", "AC_INIT([anaconda], [40.22.3.57], [x@y])\n"),
        ("data/anaconda.conf", "[Anaconda]\n"),
        ("pyanaconda/core/kickstart/version.py", "from pykickstart.version import RHEL10 as VERSION\n"),
        ("pyanaconda/modules/storage/__init__.py", ""),
        ("pyanaconda/ui/gui.py", ""),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = anaconda_here()
    assert found == Anaconda(tmp_path)
    assert (found.version, found.handler) == ("40.22.3.57", "RHEL10")
    names = {name for name, _ in found.contents()}
    assert {"anaconda.conf", "pyanaconda/version.py", "pyanaconda/modules/storage/__init__.py"} <= names
    assert not any(name.startswith("pyanaconda/ui") for name in names)
    more = {unit.name for unit in part.units()} - set(CASES)
    assert more == {f"{name}-anaconda" for name, case in CASES.items() if case.handler == "RHEL10"}


def test_the_parts_verdict() -> None:
    good = {"ok": True, "by": part.BLIVET, "checks": 62, "wrong": [], "versions": {"blivet": "3.12.1"}}
    bad = {"ok": False, "by": part.BLIVET, "checks": 62, "wrong": ["extent"], "versions": {}}
    verdict = part.judge({"a": good, "b": good})
    assert verdict.ok and verdict.figures["checks"] == 124 and verdict.versions == {"blivet": "3.12.1"}
    assert not part.judge({"a": good, "b": bad}).ok
    assert not part.judge({"a": good, "b": {"ok": False, "by": part.BLIVET, "wrong": ["it ended with 1"]}}).ok


def test_a_parcel_unpacks_below_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tmp_path / "blivet.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("blivet/__init__.py", "")
        archive.writestr("usr/share/doc/blivet/README", "")
    monkeypatch.setattr(parcel_module, "blivet_wheel", lambda: wheel)  # downloading is not for unit tests
    with tarfile.open(fileobj=io.BytesIO(parcel_module.parcel("zerombr\n", None))) as tar:
        names = tar.getnames()
        read = tar.extractfile("carry/ks.cfg")
        assert read is not None and read.read() == b"zerombr\n"
    assert all(name.startswith("carry/") for name in names)
    assert {"carry/execute.py", "carry/report.py", "carry/blivet/__init__.py", "carry/pykickstart/parser.py"} <= set(
        names
    )
    assert not any("usr/share" in name for name in names)
