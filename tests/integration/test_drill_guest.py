"""The guest that drills are done with: its initrd from the releases' own kernels, its configuration read by Xen."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.procedures.api import Card
from builder.procedures.guests import _BUSY, _MAKE_INITRD, drill_config
from tests.support.debs import kernel_package, unpacked
from tests.support.xl import read_xl

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("release", ["12", "13"])
def test_the_initrd_has_the_driver_of_its_kernel(tmp_path: Path, release: str) -> None:
    """Debian 13's modules are packed, and busybox in the guest loads none that are."""
    tree = unpacked(release, [kernel_package(release)])
    modules = next(path for path in tree.rglob("lib/modules/*") if (path / "kernel").is_dir())
    (tmp_path / "root/sbin").mkdir(parents=True)
    for name in ("init", "sbin/poweroff"):
        (tmp_path / "root" / name).write_text(_BUSY)
    script = _MAKE_INITRD.replace("/lib/modules/$(uname -r)", str(modules))
    subprocess.run(["sh", "-c", script, "sh", str(tmp_path)], check=True, capture_output=True)
    packed = (tmp_path / "initrd").read_bytes()
    listed = subprocess.run(["busybox", "cpio", "-t"], input=packed, capture_output=True, check=True).stdout.split()
    assert {b"init", b"sbin/poweroff", b"bin/busybox", b"dev/console", b"xen-netfront.ko"} <= set(listed)
    module = (tmp_path / "root/xen-netfront.ko").read_bytes()
    assert module[:4] == b"\x7fELF" and f"vermagic={modules.name} ".encode() in module
    assert b"\0depends=\0" in module, "a driver that it needs is not there"


@pytest.mark.parametrize("card", [None, Card(), Card("xenbr1", "10.10.0.77/24")])
def test_xen_reads_its_configuration(tmp_path: Path, card: Card | None) -> None:
    path = tmp_path / "drill.cfg"
    path.write_text(drill_config("6.12", card))
    said, read = read_xl(path, "name", "kernel", "vif")
    assert (said, read["name"], read["kernel"]) == ("", "nestlab-drill", "/boot/vmlinuz-6.12")
    assert ("bridge=xenbr1" in path.read_text()) == bool(card and card.bridge)
