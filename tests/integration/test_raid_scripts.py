"""What procedures ask of devices before they touch them, on real file systems: files stand in for disks."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.procedures.raid_restore import MARK, is_backup, read_unmounted
from builder.procedures.raid_sr import _MARKS
from builder.procedures.raid_storage import _EMPTY
from tests.support.local_host import LocalHost

pytestmark = pytest.mark.integration


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A partition as XCP-ng's installer leaves it, and as a host that lost its power leaves it: its journal is not
    empty."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/mdadm.conf").write_text("AUTO +all\n\nARRAY /dev/md0 UUID=1\n")
    (tmp_path / f"root{MARK}").touch()
    made = tmp_path / "backup"
    subprocess.run(["mke2fs", "-q", "-t", "ext3", "-d", tmp_path / "root", made, "8M"], check=True)
    subprocess.run(["debugfs", "-w", "-R", "feature needs_recovery", made], check=True, capture_output=True)
    return made


def test_a_partition_is_read_and_neither_written_to_nor_left_mounted(backup: Path) -> None:
    host = LocalHost()
    before = hashlib.sha256(backup.read_bytes()).hexdigest()
    assert is_backup(host, str(backup), ",loop")
    text = read_unmounted(host, str(backup), "/etc/mdadm.conf", ",loop")
    assert text == "AUTO +all\n\nARRAY /dev/md0 UUID=1\n"
    assert read_unmounted(host, str(backup), "/etc/dracut.conf.d/dracut_mdraid.conf", ",loop") is None
    assert hashlib.sha256(backup.read_bytes()).hexdigest() == before
    assert str(backup) not in Path("/proc/mounts").read_text()
    assert str(backup) not in subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout


def test_what_is_no_backup_is_not_taken_for_one(backup: Path, tmp_path: Path) -> None:
    host = LocalHost()
    subprocess.run(["debugfs", "-w", "-R", f"rm {MARK}", backup], check=True, capture_output=True)
    assert not is_backup(host, str(backup), ",loop")
    (tmp_path / "empty").write_bytes(bytes(1 << 20))
    assert not is_backup(host, str(tmp_path / "empty"), ",loop")
    with pytest.raises(LabError, match=r"/etc/mdadm\.conf of .*/empty cannot be read: mount: "):
        read_unmounted(host, str(tmp_path / "empty"), "/etc/mdadm.conf", ",loop")


def test_what_lies_on_an_array_is_seen(backup: Path, tmp_path: Path) -> None:
    host = LocalHost()
    (tmp_path / "empty").write_bytes(bytes(1 << 20))
    for path, marks in ((backup, "ext3"), (tmp_path / "empty", "")):
        found = host.run(["sh", "-c", _EMPTY, "sh", str(path)])
        assert (found.returncode, marks in found.stderr) == (int(bool(marks)), True)
        assert host.run(["sh", "-c", _MARKS, "sh", str(path)]).stdout.strip() == marks
