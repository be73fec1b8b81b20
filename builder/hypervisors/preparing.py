"""prepare.sh of every export: media and disk images as the L0 reads them."""

from __future__ import annotations

from collections.abc import Iterable

from builder.hypervisors.l0 import Machine
from builder.hypervisors.shell import call, lib, script
from builder.model.plan import File


def prepare(nodes: Iterable[Machine], image: tuple[str, str, str]) -> tuple[File, ...]:
    """The script and its library. `image`: qemu-img's format, its options, and the suffix."""
    form, options, suffix = image
    lines = []
    for machine in nodes:
        if machine.installs:
            lines.append(call("medium", machine.medium))
        for number, disk in enumerate(machine.disks):
            if machine.from_image:
                lines.append(call("convert", disk, machine.disk_size(number), form, options, suffix))
    about = "Makes the L0's disks and media of what SOURCES holds. Usage: prepare.sh SOURCES OUT"
    return (
        script("prepare.sh", about, lines, libraries=("prepare-lib.sh",)),
        lib("prepare.sh", path="prepare-lib.sh"),
    )
