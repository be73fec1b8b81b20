"""The guest that drills are done with: its initrd from the releases' own kernels, its configuration read by Xen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from builder.procedures.api import Card
from builder.procedures.guests import (
    _BUSY,
    _MAKE_INITRD,
    BLANK,
    BLOCK,
    WRITER,
    GuestKind,
    drill_config,
    drill_init,
    written,
)
from builder.procedures.xlconf import with_pci_items
from tests.support.debs import kernel_package, unpacked
from tests.support.local_host import LocalHost
from tests.support.repo import some
from tests.support.xl import read_domain, read_xl

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


@pytest.mark.parametrize("release", ["12", "13"])
def test_a_router_has_what_tags_need_in_the_order_that_it_is_loaded_in(
    tmp_path: Path, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """modprobe is the real one; it is told where this kernel's modules are."""
    tree = unpacked(release, [kernel_package(release)])
    modules = next(path for path in tree.rglob("lib/modules/*") if (path / "kernel").is_dir())
    base = tmp_path / "base"
    (base / "lib/modules").mkdir(parents=True)
    shutil.copytree(modules / "kernel/net", base / "lib/modules" / modules.name / "kernel/net")
    subprocess.run(["depmod", "-b", base, modules.name], check=True, capture_output=True)
    real = shutil.which("modprobe", path="/usr/sbin:/sbin")
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin/modprobe"
    tool.write_text(f'#!/bin/sh\nexec {real} -d {base} -S {modules.name} "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "root/sbin").mkdir(parents=True)
    for name in ("init", "sbin/poweroff"):
        (tmp_path / "root" / name).write_text(drill_init(Card("xenbr1", vlans={10: "10.30.10.1/24"})))
    script = _MAKE_INITRD.replace("/lib/modules/$(uname -r)", str(modules))
    subprocess.run(["sh", "-c", script, "sh", str(tmp_path), "8021q"], check=True, capture_output=True)
    loaded: set[bytes] = set()
    for path in some(sorted((tmp_path / "root").glob("[0-9]*.ko"))):
        text = path.read_bytes()
        title, needs = (text.split(b"\0" + key + b"=")[1].split(b"\0")[0] for key in (b"name", b"depends"))
        assert text[:4] == b"\x7fELF" and set(filter(None, needs.split(b","))) <= loaded, path
        loaded.add(title)
    assert loaded == {b"llc", b"mrp", b"stp", b"garp", b"8021q"}


@pytest.fixture(params=["12", "13"])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The program in the guest, with the release's own busybox."""
    busybox = unpacked(request.param, ["busybox-static"]) / "bin/busybox"
    path = tmp_path / "writer"
    path.write_text(WRITER.replace("/bin/busybox", str(busybox if busybox.exists() else _usr(busybox))))
    (tmp_path / "disk").write_bytes(bytes(8 << 20))
    return path


def _usr(path: Path) -> Path:
    return path.parents[1] / "usr/bin" / path.name


def write(program: Path, disk: Path, enough: int) -> int:
    """Run the writer until so many blocks are there; then pull its plug. How many there are."""
    running = subprocess.Popen(["sh", program, disk], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while (blocks := written(LocalHost(), str(disk))[0]) < enough and time.monotonic() < deadline:
            assert running.poll() is None
            time.sleep(0.2)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert blocks >= enough
    return written(LocalHost(), str(disk))[0]


def test_a_block_that_the_writer_wrote_and_that_is_gone_is_missed(writer: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    assert written(LocalHost(), str(disk)) == (0, 0)
    blocks = write(writer, disk, 30)
    assert written(LocalHost(), str(disk)) == (blocks, 0)
    with disk.open("r+b") as file:
        file.seek(7 * BLOCK)
        file.write(bytes(2 * BLOCK))
    assert written(LocalHost(), str(disk)) == (blocks, 2)


def test_blocks_of_an_earlier_run_fill_no_gap(writer: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    first = write(writer, disk, 40)
    second = write(writer, disk, 5)
    assert second < first and written(LocalHost(), str(disk)) == (second, 0)


def test_a_disk_that_holds_something_is_told_from_an_empty_one(writer: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"

    def said(script: str = BLANK.replace("-b", "-e")) -> str:
        return subprocess.run(["sh", "-c", script, "sh", disk], capture_output=True, text=True, check=True).stdout

    assert said() == "" and said(BLANK) == "no disk\n"
    write(writer, disk, 3)
    assert said() == ""
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True, capture_output=True)
    assert "ext4" in said()
    disk.write_bytes(b"notes\n" + bytes(1 << 20))
    assert said() == "something\n"


@pytest.mark.parametrize("kind", ["pv", "pvh"])
def test_xen_reads_a_disk_and_the_kind(tmp_path: Path, kind: GuestKind) -> None:
    path = tmp_path / "drill.cfg"
    path.write_text(drill_config("6.12", disk="/dev/disk/by-id/wwn-0x5000", kind=kind))
    read = read_domain(path)
    assert (read.complaint, read.strings["type"]) == ("", kind)
    assert read.strings.get("tsc_mode") == {"pv": None, "pvh": "native"}[kind]
    assert read.disks == [["/dev/disk/by-id/wwn-0x5000", "xvda", "raw", True]]


def test_xen_reads_devices_that_a_guest_is_given(tmp_path: Path) -> None:
    path = tmp_path / "web.cfg"
    path.write_text(with_pci_items('name = "web"\ntype = "hvm"', ("05:00.0,permissive=1", "0000:03:00.0")))
    read = read_domain(path)
    assert (read.complaint, read.lists["pci"]) == ("", ["05:00.0,permissive=1", "0000:03:00.0"])


@pytest.mark.parametrize("card", [None, Card(), Card("xenbr1", "10.10.0.77/24")])
def test_xen_reads_its_configuration(tmp_path: Path, card: Card | None) -> None:
    path = tmp_path / "drill.cfg"
    path.write_text(drill_config("6.12", card))
    said, read = read_xl(path, "name", "kernel", "vif")
    assert (said, read["name"], read["kernel"]) == ("", "nestlab-drill", "/boot/vmlinuz-6.12")
    assert ("bridge=xenbr1" in path.read_text()) == bool(card and card.bridge)
