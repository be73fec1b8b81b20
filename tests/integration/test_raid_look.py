"""What is asked of a host about its arrays, by real shells over a folder that looks like sysfs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.procedures.raid_look import LOOK, read

pytestmark = pytest.mark.integration

FILES = {
    "md0/md": {"array_state": "clean", "level": "raid1", "raid_disks": "2", "degraded": "1", "sync_action": "recover"},
    "md0/md/dev-sda1": {"state": "in_sync,write_mostly"},
    "md0/md/dev-nvme0n1p1": {"state": "spare"},
    "md2/md": {"array_state": "active", "level": "raid0", "raid_disks": "1"},
    "md2/md/dev-vda": {"state": "in_sync"},
    "md127/md": {"array_state": "inactive", "level": "", "raid_disks": "0"},
    "md127/md/dev-sda2": {"state": "spare"},
    "sda/sda1": {"partition": "1"},
    "sda/sda2": {"partition": "2"},
    "nvme0n1/nvme0n1p1": {"partition": "1"},
    "nvme0n1/device": {"serial": "left  "},
    "vda": {"serial": "guests"},
    "sr0/device": {"model": "QEMU DVD-ROM"},
    "loop0": {"size": "0"},
}


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_shells_agree_on_what_there_is(shell: str, tmp_path: Path) -> None:
    for folder, files in FILES.items():
        (tmp_path / "block" / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / "block" / folder / name).write_text(f"{text}\n")
    (tmp_path / "block/sda/device").mkdir()
    (tmp_path / "block/sda/device/vpd_pg80").write_bytes(b"\0\x80\0\5disk0")  # as Linux shows it
    done = subprocess.run([*shell.split(), "-c", LOOK, "sh", tmp_path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    seen = read(done.stdout)
    assert seen.disks == {"disk0": "sda", "left": "nvme0n1", "guests": "vda"}
    assert {name: (str(array), array.active, array.whole) for name, array in seen.arrays.items()} == {
        "md0": ("1 of 2, recover", True, False), "md2": ("1 of 1", True, True), "md127": ("0 of 0", False, False),
    }  # fmt: skip
    assert seen.numbers("disk0") == {"md0": 1}
    assert (seen.numbers("left"), seen.numbers("guests")) == ({"md0": 1}, {"md2": 0})
    assert (seen.part("left", 1), seen.part("guests", 0), seen.part("disk0", 3)) == ("nvme0n1p1", "vda", None)


def test_a_machine_without_any_has_none() -> None:
    done = subprocess.run(["sh", "-c", LOOK, "sh", "/sys"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert set(read(done.stdout).disks.values()) <= {path.name for path in Path("/sys/block").iterdir()}


def test_scripts_are_clean() -> None:
    subprocess.run(["shellcheck", "-s", "sh", "-"], input=LOOK, text=True, check=True)
