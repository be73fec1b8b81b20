"""Upgrades and restores: the root goes to the backup partition and comes back from there.

From reading host-installer upgrade.py and restore.py. What is on the list is carried over to the new root; all else,
such as files in /etc/dracut.conf.d, stays on the backup partition alone.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .disks import Part, make_backup_file_system, partition
from .found import BACKUP_MARK, Inventory
from .tools import Tools

_EMPTY = ("dev", "proc", "sys", "lost+found")
KEPT = (
    "etc/xensource/ptoken", "etc/xensource/pool.conf", "etc/xensource/xapi-ssl.pem", "etc/xensource/xapi-pool-tls.pem",
    "etc/sysconfig/network", "var/lib/xcp/state.db", "etc/xensource/license", "etc/xensource/syslog.conf",
    "etc/resolv.conf", "etc/mdadm.conf", "etc/machine-id", "etc/vconsole.conf",
)  # fmt: skip
"""Single files that an upgrade carries over; a choice of the real one's list."""
KEPT_BY_NAME = (
    ("etc/ssh", re.compile(r"ssh_host_.+")),
    ("etc/firstboot.d/data", re.compile(r".*\.conf")),
    ("root/.ssh", re.compile(r".+")),
)
_READ_AND_WRITTEN = ("etc/hostname", "etc/localtime", "etc/chrony.conf", "etc/shadow")
"""The real one reads these from the old host as if they had been answered; here the files are taken."""


def back_up(tools: Tools, disk: str) -> None:
    """The whole root, on the backup partition formatted anew, with a mark at its top."""
    device = make_backup_file_system(tools, disk)
    with (
        tools.mounted(partition(disk, 1), Path("/tmp/primary"), options="ro", kind="ext4") as root,
        tools.mounted(device, Path("/tmp/backup"), kind="ext4") as backup,
    ):
        for entry in sorted(root.iterdir()):
            if entry.name in _EMPTY:
                (backup / entry.name).mkdir(exist_ok=True)
            else:
                tools.run("cp", "-a", entry, f"{backup}/")
        (backup / BACKUP_MARK).touch()


@dataclass(frozen=True)
class Old:
    """What the new host takes over: identities, and dom0's memory in MiB as it was set in the boot menu."""

    uuids: tuple[str, str]
    memory: int


def carry_over(tools: Tools, disk: str, root: Path) -> Old:
    """The files on the list from the backup into the new root."""
    with tools.mounted(partition(disk, 2), Path("/tmp/backup"), options="ro", kind="ext4") as backup:
        names = [*KEPT, *_READ_AND_WRITTEN]
        for folder, pattern in KEPT_BY_NAME:
            here = sorted((backup / folder).iterdir()) if (backup / folder).is_dir() else []
            names += [f"{folder}/{entry.name}" for entry in here if pattern.fullmatch(entry.name)]
        for name in names:
            if (backup / name).exists() or (backup / name).is_symlink():
                tools.log(f"Restoring /{name}")
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).unlink(missing_ok=True)
                tools.run("cp", "-a", backup / name, root / name)
        (root / "etc/firstboot.d/data").mkdir(parents=True, exist_ok=True)
        (root / "etc/firstboot.d/data/host.conf").write_text("UPGRADE=true\n")
        values = Inventory.read(backup).values
        return Old((values["INSTALLATION_UUID"], values["CONTROL_DOMAIN_UUID"]), _memory(backup))


def _memory(root: Path) -> int:
    for name in ("boot/efi/EFI/xenserver/grub.cfg", "boot/grub/grub.cfg"):
        said = re.search(r"dom0_mem=(\d+)M", (root / name).read_text()) if (root / name).is_file() else None
        if said:
            return int(said[1])
    return 0


def put_back(tools: Tools, disk: str, parts: tuple[Part, ...]) -> None:
    """A restore: the root formatted anew and filled from the backup, with the labels that the backup's menu names."""
    with tools.mounted(partition(disk, 2), Path("/tmp/backup"), options="ro", kind="ext4") as backup:
        fstab = (backup / "etc/fstab").read_text()
        label = re.search(r"LABEL=root-(\S+)", fstab)
        if label is None:
            raise RuntimeError("Failed to find label required for root filesystem.")
        esp = next((part for part in parts if part.role == "boot" and f"LABEL=BOOT-{label[1].upper()}" in fstab), None)
        tools.run("mke2fs", "-q", "-F", "-t", "ext3", "-i", "1048576", "-J", "size=16", "-L", f"root-{label[1]}",
                  partition(disk, 1))  # fmt: skip
        with tools.mounted(partition(disk, 1), Path("/tmp/root"), kind="ext4") as root:
            for entry in sorted(backup.iterdir()):
                if entry.name not in ("lost+found", BACKUP_MARK):
                    tools.log(f"Restoring subtree {entry.name}...")
                    tools.run("cp", "-a", entry, f"{root}/")
            if esp is not None:
                _fill_esp(tools, partition(disk, esp.number), label[1].upper(), root / "boot/efi")
    for part in parts:
        if part.role == "logs":
            tools.run("e2label", partition(disk, part.number), f"logs-{label[1]}")
        elif part.role == "swap":
            tools.run("mkswap", "-L", f"swap-{label[1]}", partition(disk, part.number))


def _fill_esp(tools: Tools, device: str, suffix: str, saved: Path) -> None:
    """The backup holds the EFI system partition's files as plain files."""
    tools.run("mkfs.vfat", "-n", f"BOOT-{suffix}", device)
    with tools.mounted(device, Path("/tmp/esp"), kind="vfat") as esp:
        shutil.copytree(saved, esp, dirs_exist_ok=True)
