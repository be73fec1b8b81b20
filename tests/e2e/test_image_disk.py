"""The dom0 image under the eyes of other people's programs, and started by UEFI from IDE.

The image is the default lab's own, from the user's cache (built when it is not there: minutes). That it starts by
BIOS from the LSI controller is what tests/e2e shows.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.images import tiny
from builder.images.build import build
from builder.images.hosts import read_host
from builder.images.overlays import create_overlay, write_seed
from builder.images.store import Image, ImageStore
from builder.model.load import read_lab
from builder.model.plan import File, SystemPlan
from builder.paths import Places
from builder.systems import load_system, traits

pytestmark = pytest.mark.e2e

LAB = Path(__file__).resolve().parents[2] / "labs/debian-dom0.yaml"
MIB = 1 << 20
FIRMWARE = Path("/usr/share/OVMF")


def quiet(*_: Any, **__: Any) -> None:
    """Nobody listens to the phases here."""


@pytest.fixture(scope="module")
def plan() -> SystemPlan:
    node = read_lab(LAB, traits()).nodes[0]
    return load_system(node.system).plan(node)


@pytest.fixture(scope="module")
def image(plan: SystemPlan) -> Image:
    cache = Places.from_environment(os.environ).cache
    assert plan.recipe is not None
    return build(plan.recipe, read_host(), ImageStore(cache), work=cache / "work", emit=quiet)


@pytest.fixture(scope="module")
def parts(image: Image, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The image taken apart: the whole disk, the EFI partition and the root, each as a raw file."""
    folder = tmp_path_factory.mktemp("parts")
    disk = folder / "disk"
    assert image.disk is not None
    subprocess.run(["qemu-img", "convert", "-O", "raw", image.disk, disk], check=True)
    found = {"disk": disk}
    for name, start, size in (("esp", 1, 32), ("root", 34, disk.stat().st_size // MIB - 34)):
        found[name] = folder / name
        copy = ["dd", f"if={disk}", f"of={found[name]}", "bs=1M", f"skip={start}", f"count={size}"]
        subprocess.run([*copy, "conv=sparse", "status=none"], check=True)
    return found


def read(root: Path, path: str) -> str:
    """A file of the root, by debugfs."""
    return subprocess.run(["debugfs", "-R", f"cat {path}", root], check=True, capture_output=True, text=True).stdout


def listing(root: Path, path: str) -> str:
    return subprocess.run(["debugfs", "-R", f"ls {path}", root], check=True, capture_output=True, text=True).stdout


def test_partition_table_and_container(image: Image, parts: dict[str, Path]) -> None:
    assert image.disk is not None
    assert subprocess.run(["qemu-img", "check", "-q", image.disk], check=False).returncode == 0
    told = subprocess.run(["sfdisk", "--verify", parts["disk"]], check=True, capture_output=True, text=True).stdout
    assert "No errors detected" in told
    dumped = subprocess.run(["sfdisk", "--dump", parts["disk"]], check=True, capture_output=True, text=True).stdout
    assert "type=ef" in dumped and "type=da" in dumped and "type=83, bootable" in dumped
    assert parts["disk"].read_bytes()[510:512] == b"\x55\xaa"


def test_root_file_system(image: Image, parts: dict[str, Path], plan: SystemPlan) -> None:
    checked = subprocess.run(["e2fsck", "-fn", parts["root"]], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    told = subprocess.run(["dumpe2fs", "-h", parts["root"]], check=True, capture_output=True, text=True).stdout
    assert f"volume name:   {image.root_label}" in told
    assert plan.recipe is not None
    for file in plan.recipe.files:
        assert read(parts["root"], file.path) == file.content, file.path
    assert f"LABEL={image.root_label} / ext4" in read(parts["root"], "/etc/fstab")


def test_no_identity_is_baked_in(parts: dict[str, Path]) -> None:
    assert "ssh_host" not in listing(parts["root"], "/etc/ssh")
    assert read(parts["root"], "/etc/machine-id") == ""
    assert "authorized_keys" not in listing(parts["root"], "/root/.ssh")
    shadow = read(parts["root"], "/etc/shadow")
    assert "root:*:" in shadow or "root:!" in shadow
    assert "$" not in shadow, "no password of any account"


def test_boot_loader_files(parts: dict[str, Path], tmp_path: Path) -> None:
    grub = tmp_path / "grub.cfg"
    grub.write_text(read(parts["root"], "/boot/grub/grub.cfg"))
    assert subprocess.run(["grub-script-check", grub], check=False).returncode == 0
    text = grub.read_text()
    assert "multiboot2\t/boot/xen-" in text and "module2\t/boot/vmlinuz-" in text
    assert str(Path.home()) not in text and "/build-" not in text, "paths of the building machine"
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    listed = subprocess.run(
        ["mdir", "-b", "-/", "-i", parts["esp"]], check=True, capture_output=True, text=True, env=environment
    )
    assert listed.stdout.split() == ["::/EFI/", "::/EFI/BOOT/", "::/EFI/BOOT/BOOTX64.EFI"]
    assert subprocess.run(["fsck.vfat", "-n", parts["esp"]], check=False, capture_output=True).returncode == 0


@pytest.fixture
def uefi(image: Image, plan: SystemPlan, tmp_path: Path) -> Iterator[list[str]]:
    """The image started by OVMF from an IDE disk; the value is the ssh command that reaches it."""
    for name in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    assert image.disk is not None
    overlay = create_overlay(image.disk, tmp_path / "disk.qcow2", 50 << 30)
    own = (
        File(path=tiny.AUTHORIZED_KEYS, content=(tmp_path / "id.pub").read_text(), mode=0o600),
        File(path=tiny.HOST_KEY, content=(tmp_path / "host").read_text(), mode=0o600),
    )
    write_seed(overlay, (*plan.seed, *own))
    network = next(file.content for file in plan.seed if file.path == "/etc/nestlab/network")
    mac = next(word for word in network.split() if word.count(":") == 5)
    size = "_4M" if (FIRMWARE / "OVMF_CODE_4M.fd").exists() else ""
    shutil.copy(FIRMWARE / f"OVMF_VARS{size}.fd", tmp_path / "vars")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {(tmp_path / 'host.pub').read_text()}")
    log = tmp_path / "console.log"
    machine = subprocess.Popen(
        [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "pc", "-cpu", "max,-smap,-xsave"),
            *("-m", "4096", "-smp", "2", "-display", "none", "-vga", "none", "-monitor", "none", "-no-reboot"),
            *("-serial", f"file:{log}", "-device", "ide-hd,drive=d0"),
            *("-drive", f"if=none,id=d0,file={overlay},format=qcow2,cache=unsafe"),
            *("-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / f'OVMF_CODE{size}.fd'}"),
            *("-drive", f"if=pflash,format=raw,file={tmp_path / 'vars'}"),
            *("-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22"),
            *("-device", f"e1000,netdev=n0,romfile=,mac={mac}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    options = ["BatchMode=yes", f"UserKnownHostsFile={tmp_path / 'known'}", "ConnectTimeout=10"]
    given = [word for option in options for word in ("-o", option)]
    command = ["ssh", "-i", str(tmp_path / "id"), *given, "-p", str(port), "root@127.0.0.1"]
    try:
        deadline = time.monotonic() + 400
        while subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline and machine.poll() is None, log.read_text(errors="replace")[-3000:]
            time.sleep(1)
        yield command
    finally:
        machine.kill()
        machine.wait()


def test_the_same_image_starts_by_uefi_with_its_nodes_identity(uefi: list[str]) -> None:
    def ask(command: str) -> str:
        return subprocess.run([*uefi, command], capture_output=True, text=True, timeout=120, check=True).stdout

    assert "Domain-0" in ask("xl list")
    assert ask("test -d /sys/firmware/efi && echo uefi") == "uefi\n"
    assert ask("hostname") == "dom0\n"
    assert len(ask("cat /etc/machine-id").strip()) == 32
    assert "xenbr0" in ask("ls /sys/class/net")
    assert ask("xenstore-read /local/domain/0/name") == "Domain-0\n"
    assert ask("stat -c %a /root/.ssh /etc/ssh/ssh_host_ed25519_key") == "700\n600\n"
    assert "failed" not in ask("systemctl --failed --no-legend")
