"""A medium of XCP-ng's layout booted over the network, from the folder that `nestlab media pxe` makes of it.

QEMU's own DHCP and TFTP give the folder out. Real Xen, a real kernel, and an init that tells what it was given.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.repo import ROOT
from tests.support.xcpng_media import ANSWER, SAID, build_xcpng, debian_contents

pytestmark = pytest.mark.e2e

MAC = "52:54:00:12:34:56"
SECONDS = 300
"""Xen and a kernel under emulation, on a machine that does other things as well."""
BOOT_FILES = {"bios": "pxelinux.0", "uefi": "boot/grub/x86_64-efi/core.efi"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a TFTP server gives out, for one card."""
    place = tmp_path_factory.mktemp("network")
    (place / "answer.xml").write_text("<installation>from the network</installation>\n")
    iso = build_xcpng(place, debian_contents())
    subprocess.run(
        [str(ROOT / ".venv/bin/nestlab"), "media", "pxe", "--iso", str(iso), "--out", str(place / "net"), "--mac", MAC,
         "--answer", str(place / "answer.xml"), "--append", "nestlab.word=42", "--append-xen", "loglvl=all"],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return place / "net"


@pytest.mark.parametrize("firmware", BOOT_FILES)
def test_xen_starts_over_the_network(firmware: str, folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    argv = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35" if firmware == "uefi" else "pc",
        "-cpu", "max,-smap", "-m", "1024", "-display", "none", "-no-reboot", "-serial", f"file:{log}",
        "-netdev", f"user,id=n,tftp={folder},bootfile={BOOT_FILES[firmware]}",
        "-device", f"e1000,netdev=n,mac={MAC},bootindex=0",
    ]  # fmt: skip
    if firmware == "uefi":
        shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", tmp_path / "vars.fd")
        argv += ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
                 "-drive", f"if=pflash,format=raw,file={tmp_path / 'vars.fd'}"]  # fmt: skip
    said = console_until(f"{SAID} done", argv, log)
    assert "Xen version" in said
    assert "loglvl=all" in said.split("Command line:", 1)[1].splitlines()[0]
    assert f"{SAID} on xen" in said
    words = next(line for line in said.splitlines() if f"{SAID} cmdline" in line).split()
    assert {"nestlab.word=42", f"rt_answerfile=file://{ANSWER}", "install"} <= set(words)
    assert f"{SAID} answer <installation>from the network</installation>" in said


def console_until(wanted: str, argv: list[str], log: Path) -> str:
    """Run the machine until its console shows a line; all that it showed."""
    machine = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and machine.poll() is None:
            text = log.read_text(errors="replace") if log.exists() else ""
            if wanted in text:
                return text.replace("\r", "")
            time.sleep(1)
    finally:
        machine.kill()
        machine.wait()
    text = log.read_text(errors="replace") if log.exists() else ""
    pytest.fail(f"{wanted!r} did not come in {SECONDS} s; the console's last lines:\n{text[-2000:]}")
