"""GRUB of the installed host: the menu as the real installer writes it, and the loader itself for either firmware."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
# Offsets in GRUB's boot.img and in the first sector of its core.img: where the next sector's number stands.
_NEXT_IN_BOOT = 0x5C
_NEXT_IN_CORE = 500
_SAFE = "nosmp noreboot noirqbalance no-mce no-bootscrub no-numa no-hap no-mmcfg max_cstate=0 nmi=ignore allow_unsafe"
_CODE = 440
"""Bytes of the first sector before the disk's identity and its partition table."""


@dataclass(frozen=True)
class Menu:
    """`serial` is Xen's port, such as ("com1", "115200,8n1"); without one there are no serial entries."""

    brand: str
    label: str
    xen: str
    kernel: str
    memory: int
    cpus: int
    serial: tuple[str, str] | None
    boot_serial: bool
    raid: bool


def menu_text(menu: Menu) -> str:
    """Entries in the real order: xe, xe-serial, safe, fallback, fallback-serial."""
    size = f"dom0_mem={menu.memory}M,max:{menu.memory}M"
    common = f"{size} watchdog ucode=scan dom0_max_vcpus=1-{menu.cpus} crashkernel=256M,below=4G"
    kernel = f"root=LABEL={menu.label} ro nolvm hpet=disable{' rd.auto' if menu.raid else ''}"
    screen = "console=hvc0 console=tty0 quiet vga=785 splash plymouth.ignore-serial-consoles"
    versions = f"Xen {menu.xen} / Linux {menu.kernel}"
    port = f"{menu.serial[0]}={menu.serial[1]} console={menu.serial[0]},vga" if menu.serial else ""
    entries = [(menu.brand, "", f"{common} console=vga vga=mode-0x0311", f"{kernel} {screen}")]
    if port:
        entries.append((f"{menu.brand} (Serial)", "", f"{port} {common}", f"{kernel} console=tty0 console=hvc0"))
        entries.append((f"{menu.brand} in Safe Mode", "", f"{_SAFE} {size} {port}",
                        f"earlyprintk=xen {kernel} console=tty0 console=hvc0"))  # fmt: skip
    entries.append((f"{menu.brand} ({versions})", "-fallback", common, f"{kernel} console=hvc0 console=tty0"))
    if port:
        entries.append((f"{menu.brand} (Serial, {versions})", "-fallback", f"{port} {common}",
                        f"{kernel} console=tty0 console=hvc0"))  # fmt: skip
    lines = _head(menu)
    for title, which, xen, dom0 in entries:
        names = ("xen-fallback.gz", "vmlinuz-fallback", "initrd-fallback.img") if which else _names(menu.kernel)
        lines += [
            f"menuentry '{title}' {{",
            f"\tsearch --label --set root {menu.label}",
            f"\tmultiboot2 /boot/{names[0]} {xen}",
            f"\tmodule2 /boot/{names[1]} {dom0}",
            f"\tmodule2 /boot/{names[2]}",
            "}",
        ]
    return "\n".join(lines) + "\n"


def _head(menu: Menu) -> list[str]:
    lines = []
    if menu.serial:
        speed = re.match(r"\d+", menu.serial[1])
        lines = [f"serial --unit=0 --speed={speed[0] if speed else 115200}", "terminal_input serial console",
                 "terminal_output serial console"]  # fmt: skip
    return [*lines, f"set default={1 if menu.serial and menu.boot_serial else 0}", "set timeout=5"]


def _names(kernel: str) -> tuple[str, str, str]:
    short = ".".join(kernel.split(".")[:2])
    return "xen.gz", f"vmlinuz-{short}-xen", f"initrd-{short}-xen.img"


def memory_of_dom0(host: int) -> int:
    """MiB for dom0 of a host of so many MiB: 1 GiB and 5 %, in steps of 16 MiB, 8 GiB at most."""
    return min(1024 + (int((host + 256) * 0.05) & ~0xF), 8192)


def install_bios(disks: Sequence[str], start: int, loader: Path, boot_partition: str) -> None:
    """boot.img into each disk's first sector, core.img into the BIOS boot partition, which begins at sector `start`."""
    boot = bytearray((loader / "boot.img").read_bytes()[:SECTOR])
    core = bytearray((loader / "core.img").read_bytes())
    struct.pack_into("<Q", boot, _NEXT_IN_BOOT, start)
    struct.pack_into("<Q", core, _NEXT_IN_CORE, start + 1)
    with Path(boot_partition).open("r+b") as file:
        file.write(core)
    for disk in disks:
        with Path(disk).open("r+b") as file:
            file.write(boot[:_CODE])


def install_uefi(esp: Path, loader: Path) -> None:
    """Where XCP-ng has it, and where firmware looks that was told of no entry."""
    for name in ("EFI/xenserver/grubx64.efi", "EFI/BOOT/BOOTX64.EFI"):
        (esp / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(loader / "grubx64.efi", esp / name)


def start_of(device: str) -> int:
    """First sector of a partition, in units of 512 bytes."""
    return int((Path("/sys/class/block") / Path(device).name / "start").read_text())
