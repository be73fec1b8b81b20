"""What tests of `nestlab media` start from: media of two kinds, a lab that uses them, and the verbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from builder.cli.frame import root
from tests.unit.media import made

Run = Callable[..., Result]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA" + "B" * 44 + " somebody@example"
TREEINFO = b"[release]\nname = Rocky Linux\nversion = 9.4\n[general]\nfamily = Rocky Linux\n"
RHEL = {**made.FILES, "/.treeinfo": TREEINFO}
XCPNG_MENU = (
    b"label install\n  kernel mboot.c32\n  append /boot/xen.gz dom0_mem=1G --- /boot/vmlinuz xencons=hvc console=tty0 "
    b"--- /install.img\n"
)
XCPNG = {
    "/boot/isolinux/isolinux.cfg": XCPNG_MENU,
    "/boot/xen.gz": b"\x1f\x8b" + b"xen" * 99,
    "/boot/vmlinuz": b"kernel" * 99,
    "/install.img": b"BZh9" + b"install" * 300,
    "/.treeinfo": b"[platform]\nname = XCP\n[branding]\nname = XCP-ng\nversion = 8.3.0\n",
}
LAB = """
name: metal
nodes:
  xen: {system: xcpng, release: 8.3, memory: 8GiB, disks: [{name: a, size: 100GiB}], source: {medium: xcpng.iso}}
  el: {system: rhel, release: el9, memory: 4GiB, disks: [{name: a, size: 100GiB}], source: {medium: rhel.iso}}
  ready: {system: debian}
"""


@pytest.fixture(name="here")
def here_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a medium of each kind and a lab that uses them; it is the working directory."""
    made.iso(tmp_path / "rhel.iso", RHEL)
    made.iso(tmp_path / "xcpng.iso", XCPNG, boot=False)
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "key.pub").write_text(KEY + "\n")
    (tmp_path / "ks.cfg").write_text("text\nrootpw --lock\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(name="run")
def run_fixture(here: Path) -> Run:
    env = {"NESTLAB_STATE": str(here / "s"), "NESTLAB_CACHE": str(here / "c"), "NESTLAB_RUNTIME": str(here / "r")}
    runner = CliRunner(env=env)
    return lambda *arguments: runner.invoke(
        root, ["media", *map(str, arguments)], standalone_mode=False, catch_exceptions=False
    )
