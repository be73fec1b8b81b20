"""The image of the machine that kickstarts are carried out in: Debian with what blivet drives, and no Xen."""

from __future__ import annotations

import os
from typing import Any

from builder.images.build import build
from builder.images.hosts import read_host
from builder.images.store import Image, ImageStore
from builder.model.plan import File, Recipe
from builder.model.units import GIB
from builder.paths import Places

# Debian 13: its libblockdev is of series 3, as blivet's since 3.8.
RECIPE = Recipe(
    kind="disk",
    release="13",
    elements=("debian-minimal", "nestlab-base"),
    packages=(
        *("linux-image-amd64", "mdadm", "lvm2", "e2fsprogs", "xfsprogs", "dosfstools", "fdisk", "parted"),
        *("gir1.2-blockdev-3.0", "python3-blockdev", "python3-bytesize", "python3-gi", "python3-parted"),
        *("python3-pyudev", "python3-requests", "python3-selinux"),
        # what anaconda's storage service imports
        *("gir1.2-nm-1.0", "python3-dasbus", "python3-requests-file", "python3-systemd"),
        *(f"libblockdev-{name}3" for name in ("crypto", "dm", "fs", "loop", "lvm", "mdraid", "mpath", "part", "swap")),
    ),
    files=(
        # the management card
        File(
            path="/etc/systemd/network/management.network",
            content="[Match]\nName=e*\n[Network]\nDHCP=ipv4\n",
        ),
        # At a stop it would wait for the arrays' first synchronisation to end.
        File(
            path="/etc/systemd/system/blk-availability.service.d/storage.conf",
            content="[Service]\nExecStop=\n",
        ),
        File(
            path="/etc/default/grub.d/storage.cfg",
            content='GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX_DEFAULT=""\n'
            'GRUB_CMDLINE_LINUX="console=ttyS0,115200 quiet net.ifnames=0 mitigations=off audit=0 apparmor=0"\n',
        ),
    ),
    configure=(
        ("usermod", "--password", "*", "root"),
        ("systemctl", "enable", "systemd-networkd.service"),
        ("grub-mkconfig", "-o", "/boot/grub/grub.cfg"),
    ),
    root_size=2 * GIB,
)  # fmt: skip


def image() -> Image:
    """From the user's cache, or built now: minutes, and as root."""
    cache = Places.from_environment(os.environ).cache
    return build(RECIPE, read_host(), ImageStore(cache), work=cache / "work", emit=_nobody)


def _nobody(*_: Any, **__: Any) -> None:
    """Nobody listens to the phases of the build."""
