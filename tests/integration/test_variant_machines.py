"""QEMU takes the command line of every variant: its machine is put together, and gone before it ran."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builder.drivers.ports import PortTable
from builder.lifecycle.booting import ovmf
from ci.nightly.variant_cases import Case, cases
from ci.nightly.variant_machine import CARDS, DISKS, qemu_argv

pytestmark = pytest.mark.integration


def put_together(case: Case, folder: Path, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    disk = folder / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1G"], check=True)
    uefi = None
    if case.firmware == "uefi":
        firmware = ovmf(folder)
        uefi = (firmware.code, folder / "vars.fd")
        shutil.copyfile(firmware.template, uefi[1])
    ports = PortTable()
    argv = qemu_argv(case, "52:54:00:00:00:01", disk, folder / "console.log", ports.claim(1)[0], uefi)
    argv[argv.index("-m") + 1] = "256"
    try:
        return subprocess.run(
            [*argv, *more, "-S", "-monitor", "stdio"], input="info pci\nquit\n", capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    finally:
        ports.release()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_qemu_puts_the_machine_together(case: Case, tmp_path: Path) -> None:
    done = put_together(case, tmp_path)
    wrong = [line for line in done.stderr.splitlines() if "warning: TCG doesn't support requested feature" not in line]
    assert done.returncode == 0 and wrong == []
    assert "Ethernet controller" in done.stdout


def test_qemu_is_not_blind(tmp_path: Path) -> None:
    done = put_together(Case(), tmp_path, ("-device", "scsi-hd,bus=none.0"))
    assert done.returncode != 0 and "'none.0' not found" in done.stderr


def test_each_disk_and_card_is_one_of_qemus() -> None:
    listed = subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, text=True, check=True)
    for device in (*(each.split(",")[0] for devices, _ in DISKS.values() for each in devices),
                   *(device for device, _ in CARDS.values())):  # fmt: skip
        assert f'name "{device}"' in listed.stdout
