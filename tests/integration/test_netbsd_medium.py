"""The edits of a NetBSD host on a medium of NetBSD's layout, read back by isoinfo, bsdtar and our inspection."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from builder.media.edits import Put, from_model
from builder.media.inspect import installer_of
from builder.media.plan import plan_edits
from builder.media.sinks import write_file
from tests.integration.media_sources import netbsd_tree, noise, sh
from tests.support.netbsd import CASES, Case

pytestmark = pytest.mark.integration

NAMES = ("serial", "full", "networks")


@pytest.fixture(name="medium", scope="module")
def medium_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A medium as distrib/common/Makefile.bootcd has makefs make it: Rock Ridge, a boot record without emulation."""
    folder = tmp_path_factory.mktemp("netbsd")
    tree = netbsd_tree(folder / "tree")
    (tree / "install.sh").chmod(0o555)  # as Makefile.cdrom installs it; a file that is replaced keeps its mode
    (folder / "bootxx").write_bytes(noise(8192, "bootxx_cd9660"))
    options = f"rockridge,label=NETBSD_10,bootimage=i386;{folder}/bootxx,no-emul-boot,allow-multidot"
    sh("makefs", "-t", "cd9660", "-o", options, folder / "netbsd.iso", tree)
    return folder / "netbsd.iso"


def boot_record(iso: Path) -> tuple[str, bytes]:
    """What the firmware is told, and the code that it starts."""
    told = sh("isoinfo", "-d", "-i", iso)
    record = told[told.index("El Torito") :]
    found = re.search(r"Bootoff\s+\S+\s+(\d+)", record)
    assert found is not None, record
    with iso.open("rb") as file:
        file.seek(int(found[1]) * 2048)
        return record, file.read(8192)


@pytest.mark.parametrize(
    "case", [CASES["serial"], CASES["full"], CASES["networks"]], ids=["serial", "full", "networks"]
)
def test_files_are_read_back_and_the_boot_record_is_as_it_was(case: Case, medium: Path, tmp_path: Path) -> None:
    edits = from_model(case.plan.media_edits, case.plan.answers)
    out = tmp_path / "host.iso"
    write_file(plan_edits(medium, edits), out)
    sh("bsdtar", "-xf", out, "-C", tmp_path)
    for edit in edits:
        assert isinstance(edit, Put) and isinstance(edit.content, bytes)
        assert sh("isoinfo", "-R", "-i", out, "-x", edit.path).encode() == edit.content
        assert (tmp_path / edit.path.lstrip("/")).read_bytes() == edit.content
    assert stat.S_IMODE((tmp_path / "install.sh").stat().st_mode) & 0o111
    assert (tmp_path / "amd64/binary/sets/base.tgz").read_bytes() == noise(80_000, "base")
    assert (tmp_path / "netbsd").read_bytes() == noise(50_000, "netbsd")
    assert boot_record(out) == boot_record(medium)
    assert installer_of(out).family == "netbsd"


def test_the_loader_finds_its_menu_by_the_plain_name(medium: Path, tmp_path: Path) -> None:
    """Its boot blocks know no Rock Ridge: they look for BOOT.CFG in the plain tree."""
    out = tmp_path / "host.iso"
    plan = CASES["serial"].plan
    write_file(plan_edits(medium, from_model(plan.media_edits, plan.answers)), out)
    assert sh("isoinfo", "-i", out, "-x", "/BOOT.CFG;1") == plan.media_edits[0].content


def test_a_medium_of_another_system_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/readme").write_text("nothing to be started\n")
    sh("makefs", "-t", "cd9660", "-o", "rockridge", tmp_path / "other.iso", tmp_path / "tree")
    plan = CASES["serial"].plan
    with pytest.raises(Exception, match=r"boot\.cfg"):
        plan_edits(tmp_path / "other.iso", from_model(plan.media_edits, plan.answers))
