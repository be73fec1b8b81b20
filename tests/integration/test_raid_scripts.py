"""What procedures ask of devices before they touch them, on real file systems: files stand in for disks."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from builder.errors import LabError
from builder.procedures import raid_disks
from builder.procedures.api import Run
from builder.procedures.raid_restore import MARK, is_backup, read_unmounted
from tests.support.local_host import LocalHost

pytestmark = pytest.mark.integration
_MARKS = f'{raid_disks._MARKS}marks "$1"'


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


# A disk's partitions: lsblk says `part` of each, here with its number.
_PARTS = r"sgdisk --print $3 2>/dev/null | sed -n 's/^ *\([0-9][0-9]*\)  .*/part\1/p'"


@pytest.mark.parametrize("table", get_args(raid_disks.Table))
def test_partitions_of_one_size_are_made_and_taken_away(
    table: raid_disks.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged by sgdisk. lsblk and udevadm are made up: they ask udev and the kernel, which know disks and no files."""
    host = LocalHost()
    sizes = {"small": 40 << 20, "large": (64 << 20) + 512, "other": 40 << 20}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
        array = "md1" if name == "other" else "md0"
        made = raid_disks.partition(table, str(tmp_path / name), raid_disks.common([*sizes.values()]), array)
        assert isinstance(made, Run) and host.run(made.argv).ok
        said = host.run(["sgdisk", "--info=1", str(tmp_path / name)]).stdout
        assert f"{raid_disks.TYPE} (Linux RAID)" in said and f"Partition name: 'nestlab-{array}'" in said
        assert "Partition size: 77824 sectors (38.0 MiB)" in said and "First sector: 2048 " in said
    assert host.run(["sgdisk", "--new=2:0:0", str(tmp_path / "large")]).ok  # somebody uses the rest
    (tmp_path / "bin").mkdir()
    rows = "".join(f"echo ../{tmp_path}/{name} nestlab-{'md1' if name == 'other' else 'md0'}\n" for name in sizes)
    for name, text in (("udevadm", ":\n"), ("lsblk", f"if [ $2 = TYPE ]; then\n{_PARTS}\nelse\n{rows}fi\n")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    gone = raid_disks.clear(table, "md0")
    assert isinstance(gone, Run) and host.run(gone.argv).ok
    left = {name: host.run(["sh", "-c", _MARKS, "sh", str(tmp_path / name)]).stdout.strip() for name in sizes}
    assert left == {"small": "", "large": "PMBR+gpt", "other": "PMBR+gpt"}
    parts = {name: host.run(["lsblk", "-nro", "TYPE", str(tmp_path / name)]).stdout.split() for name in sizes}
    assert parts == {"small": [], "large": ["part2"], "other": ["part1"]}


def test_what_lies_on_an_array_is_seen(backup: Path, tmp_path: Path) -> None:
    host = LocalHost()
    (tmp_path / "empty").write_bytes(bytes(1 << 20))
    for path, marks in ((backup, "ext3"), (tmp_path / "empty", "")):
        found = host.run(["sh", "-c", raid_disks.EMPTY, "sh", str(path)])
        assert (found.returncode, marks in found.stderr) == (int(bool(marks)), True)
        assert host.run(["sh", "-c", _MARKS, "sh", str(path)]).stdout.strip() == marks


@pytest.mark.parametrize("broken", ["wipefs", "dd"])
def test_what_cannot_be_read_is_not_empty(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a disk whose reads fail wipefs of util-linux says nothing and ends with 0: seen with EIO by strace."""
    host = LocalHost()
    (tmp_path / "empty").write_bytes(bytes(1 << 20))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / broken).write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / broken).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    found = host.run(["sh", "-c", raid_disks.EMPTY, "sh", str(tmp_path / "empty")])
    assert found.returncode == 1 and "empty cannot be read" in found.stderr
    assert host.run(["sh", "-c", _MARKS, "sh", str(tmp_path / "empty")]).stdout == "unreadable\n"


def test_scripts_are_clean() -> None:
    for script in (raid_disks.EMPTY, raid_disks._LOOK):
        subprocess.run(["shellcheck", "-s", "sh", "-e", "SC2015", "-"], input=script, text=True, check=True)
