"""`nestlab export`, `plan --explain`, `settings` and `explain` about the L0s; what is exported for two example labs, as
in `tests/golden/export/`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.cli.boundary import guarded
from builder.cli.reasons import reasons
from builder.cli.render import MARKER
from builder.hypervisors import EXPORTERS
from builder.hypervisors.documented import SETTINGS
from builder.lifecycle.plan import plan_lab
from builder.systems import load_system
from tests.conftest import GOLDEN
from tests.support.exports import lab
from tests.support.nodes import debian_node, disk
from tests.support.repo import ROOT, some

LABS = ("debian-dom0", "xcp-ng-8.3")
Capture = pytest.CaptureFixture[str]


def run(*words: str | Path) -> int:
    return guarded([str(word) for word in words])


def path_of(name: str) -> str:
    return str(ROOT / f"labs/{name}.yaml")


@pytest.mark.parametrize("name", LABS)
@pytest.mark.parametrize("target", EXPORTERS)
def test_goldens(target: str, name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    """All files in one, for reading. Of libraries, which are files of the project, the names alone."""
    out = tmp_path / "out"
    assert run("export", path_of(name), "--to", target, "--out", out) == 0
    files = some(path for path in sorted(out.rglob("*")) if path.is_file() and path.name != MARKER)
    parts = []
    for path in files:
        parts.append(f"==== {path.stat().st_mode & 0o777:04o} {path.relative_to(out)}\n")
        parts += [path.read_text("utf-8")] if "lib." not in path.name else []
    golden(f"export/{name}-{target}.txt", "".join(parts))


def test_no_golden_is_left_over() -> None:
    kept = {path.name for path in (GOLDEN / "export").iterdir()}
    assert kept == {f"{name}-{target}.txt" for name in LABS for target in EXPORTERS}


def test_files_are_listed_or_one_is_printed(capsys: Capture) -> None:
    assert run("export", path_of("xcp-ng-8.3"), "--to", "xl", "-o", "json") == 0
    rows = {row["file"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"README.md", "create.sh", "host/install.cfg"} <= set(rows) and rows["create.sh"]["mode"] == "0755"
    assert run("export", path_of("xcp-ng-8.3"), "--to", "xl", "--stdout", "host/install.cfg") == 0
    assert capsys.readouterr().out.splitlines()[1] == 'name = "xcp-ng-8-3-host"'
    assert run("export", path_of("xcp-ng-8.3"), "--to", "xl", "--stdout", "nothing") == 2
    assert "there is no file nothing" in capsys.readouterr().err
    assert run("export", path_of("xcp-ng-8.3"), "--to", "xl", "--stdout", "x", "--out", "y") == 2


def test_the_folder_is_replaced_as_a_whole_and_only_when_it_is_ours(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "a folder"
    assert run("export", path_of("xcp-ng-8.3"), "--to", "xl", "--out", out) == 0
    (out / "old").write_text("from an earlier lab")
    assert run("export", path_of("xcp-ng-8.3"), "--to", "vmx", "--out", out) == 0
    assert not (out / "old").exists() and not (out / "host/install.cfg").exists() and (out / "create.sh").exists()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("dear")
    capsys.readouterr()
    assert run("export", path_of("xcp-ng-8.3"), "--to", "xl", "--out", theirs) == 2
    assert "files that are not ours" in capsys.readouterr().err
    assert [path.name for path in theirs.iterdir()] == ["thesis.txt"]


def test_what_fails_leaves_the_folder_as_it_was(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert run("export", path_of("xcp-ng-8.3"), "--to", "xl", "--out", out) == 0
    before = sorted(path.name for path in out.iterdir())
    assert run("export", path_of("xcp-ng-8.3"), "--to", "xl", "--out", out, "--uplink", "no bridge, really") == 2
    assert "not the name of a bridge" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "vmx", "--bus", "pvscsi"], "PVSCSI controller won't work"),
        (["--to", "hyperv", "--cpu", "amd", "--l0", "2019"], "an Intel CPU is required"),
        (["--to", "hyperv", "--at", "/srv/labs"], "write it as C:\\labs"),
        (["--to", "xl", "--at", "labs"], "write it as /srv/labs"),
        (["--to", "bhyve"], "'bhyve' is not one of"),
        (["--to", "xl", "--cpu", "arm"], "'arm' is not one of"),
    ],
)
def test_what_an_l0_cannot_host_is_an_error_of_usage(words: list[str], said: str, capsys: Capture) -> None:
    assert run("export", path_of("xcp-ng-8.3"), *words) == 2
    assert said in capsys.readouterr().err


def test_what_has_no_disk_cannot_be_moved(capsys: Capture) -> None:
    assert run("export", path_of("tiny"), "--to", "xl") == 2
    assert "a kernel in memory, without a disk" in capsys.readouterr().err


def test_what_is_advised_against_is_told_and_written_down(capsys: Capture) -> None:
    assert run("export", path_of("xcp-ng-8.3"), "--to", "libvirt", "--bus", "virtio", "-o", "json") == 0
    told = capsys.readouterr()
    assert "no document names virtio" in told.err and "[l0-advised]" in told.err
    assert json.loads(told.out), "nothing but the result on stdout"
    assert run("export", path_of("xcp-ng-8.3"), "--to", "libvirt", "--bus", "virtio", "--stdout", "README.md") == 0
    assert "no document names virtio" in capsys.readouterr().out


def test_options_come_from_the_environment_too(tmp_path: Path) -> None:
    environment = {**os.environ, "NESTLAB_EXPORT_AT": "/srv/elsewhere", "NESTLAB_EXPORT_TO": "xl"}
    done = subprocess.run(
        [sys.executable, "-m", "builder", "export", path_of("xcp-ng-8.3"), "--stdout", "create.sh"],
        env=environment, check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert "/srv/elsewhere/xcp-ng-8-3-host-system.img" in done.stdout


def test_plan_explains_each_setting(capsys: Capture) -> None:
    assert run("plan", path_of("xcp-ng-8.3"), "--explain", "-o", "json") == 0
    rows = {(row["setting"], row["documented"]): row for row in json.loads(capsys.readouterr().out)}
    bus = rows["disks.bus", "lsilogic"]
    assert bus["value"] == "lsilogic" and bus["verdict"] == "as documented"
    assert "section 'Nested XCP-ng using QEMU/KVM" in bus["source"] and "OVMF" in bus["against"]
    assert rows["memory", "at least 4GiB"]["verdict"] == "as documented"
    assert rows["kvm.nested.intel", "Y"]["verdict"] == rows["kvm.nested.amd", "1"]["verdict"] == "of the host"
    assert all(row["why"] and row["proof"] for row in rows.values())
    assert run("plan", path_of("xcp-ng-8.3"), "--explain") == 0
    assert "against" in capsys.readouterr().out


def test_plan_tells_what_is_other_than_documented() -> None:
    made = plan_lab(lab(debian_node(firmware="uefi", memory=2 << 30, disks=(disk(bus="ide"),))), load_system)
    rows = {(row["setting"], row["documented"]): row["verdict"] for row in reasons(made)}
    assert rows["firmware", "bios (for xcpng)"] == "other"
    assert rows["memory", "8GiB (for xcpng)"] == rows["disks.size", "at least 50GiB (for xcpng)"] == "below it"


@pytest.mark.parametrize(
    ("has", "first", "second"),
    [("host-passthrough", "as documented", "not taken"), ("host-model", "allowed", "as documented")],
)
def test_plan_tells_what_is_allowed_beside_the_documented(has: str, first: str, second: str) -> None:
    made = plan_lab(lab(debian_node(cpu_model=has)), load_system)
    rows = {row["documented"]: row["verdict"] for row in reasons(made) if row["setting"] == "cpu_model"}
    assert rows == {"host-passthrough (for xcpng)": first, "host-model (for xcpng)": second}


def test_settings_are_one_matrix(capsys: Capture) -> None:
    assert run("settings", "-o", "json") == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)}
    buses = {each["hypervisor"]: each["value"] for each in rows["nodes.*.disks[].bus"]["documented"]
             if each["rule"] == "set"}  # fmt: skip
    assert buses == {"kvm": "lsilogic", "xen": "ide", "xcpng": "ide", "esxi": "lsisas1068",
                     "workstation": "lsisas1068", "hyperv": "ide"}  # fmt: skip
    assert rows["vmx.vhv.enable"]["documented"][0]["document"].startswith("https://")
    assert rows["name"]["documented"] == []


def test_settings_of_one_l0(capsys: Capture) -> None:
    assert run("settings", "--on", "hyperv", "-o", "json") == 0
    assert {row["hypervisor"] for row in json.loads(capsys.readouterr().out)} == {"hyperv"}
    assert run("settings", "--on", "bhyve") == 2
    assert "known: kvm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("vhv.enable", "xcpng on esxi"), ("vmx.vhv.enable", "xcpng on workstation"), ("disks.bus", "not pvscsi"),
        ("ExposeVirtualizationExtensions", "on hyperv"), ("nested", "kvm.nested.amd"), ("l0-refused", "cannot run"),
        ("memory", "xcpng on kvm, at least"), ("hyperv.cpu", "2022/2025/11, amd"), ("kvm.nested", "kvm.nested.intel"),
        ("hyperv.release", "not 8"),
    ],
)  # fmt: skip
def test_explain_knows_settings_of_l0s(word: str, said: str, capsys: Capture) -> None:
    assert run("explain", word) == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("key", sorted({row.key for row in SETTINGS}))
def test_explain_tells_every_row(key: str, capsys: Capture) -> None:
    """No row hides another of the same setting."""
    assert run("explain", key) == 0
    told = " ".join(capsys.readouterr().out.split())
    for row in SETTINGS:
        if row.key == key:
            assert f"{row.value}: {row.says} ({row.source})" in told


def test_explain_suggests_settings_of_l0s(capsys: Capture) -> None:
    assert run("explain", "xl.nestedhvn") == 2
    assert "xl.nestedhvm" in capsys.readouterr().err
    assert run("explain", "--list") == 0
    assert "l0-floor" in capsys.readouterr().out
