"""Tiny nodes: Debian's kernel with a small memory root that is booted directly. No Xen, no disk needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builder.model.lab import Node
from builder.model.plan import Boot, BootArgs, Cause, File, Minimum, Phase, Recipe, SystemPlan, SystemTraits
from builder.model.units import MIB
from builder.render.templates import Templates
from builder.systems.fitness import refuse_unknown_release

READY = "nestlab-tiny: ready"
FAILED = "nestlab-tiny: failed: "

TRAITS = SystemTraits(
    name="tiny",
    title="Kernel and busybox",
    releases=("13", "12"),
    default_release="13",
    defaults={
        "cpus": 1,
        "memory": "256MiB",
        "firmware": "bios",
        "machine": "pc",
        "cpu_model": "host-passthrough",
        "management_nic": "e1000",
        "disks": [],
    },
    minimum=Minimum(memory=160 * MIB, disk=0, source="measured: the kernel and its memory root"),
    sources=("image",),
    xen=False,
    footprint=16 * MIB,
)

# Drivers for every disk bus and card model that a lab file can ask for.
MODULES = (
    "e1000",
    "e1000e",
    "8139cp",
    "virtio_net",
    "8021q",
    "sym53c8xx",
    "ata_piix",
    "ahci",
    "mptsas",
    "virtio_blk",
    "sd_mod",
)

_SEED = ("etc/hostname", "etc/nestlab/network.sh")

_KERNEL_CAUSES = (
    Cause(
        pattern=r"Kernel panic - not syncing",
        name="kernel-panic",
        message="the kernel panicked",
        cure="the same line and those before it tell why; memory that is too small is the usual reason",
    ),
    Cause(
        pattern=r"Initramfs unpacking failed",
        name="no-root",
        message="the memory root could not be unpacked",
        cure="raise the node's memory, or rebuild its image: nestlab image build",
    ),
)
_READY_CAUSES = (
    *_KERNEL_CAUSES,
    Cause(
        pattern=FAILED,
        name="network-script-failed",
        message="the node's own network script failed",
        cure="the line on the console says where; check the node's networks and addresses",
    ),
)


class Tiny:
    """A guest that is up in seconds."""

    traits = TRAITS

    def __init__(self, overrides: Path | None = None) -> None:
        self._templates = Templates("tiny", overrides)

    def plan(self, node: Node) -> SystemPlan:
        """Raises LabError for a release that is not there."""
        refuse_unknown_release(node, TRAITS)
        return SystemPlan(
            system=TRAITS.name,
            release=node.release,
            boot_args=BootArgs(kernel=node.kernel.arguments),
            recipe=Recipe(kind="initramfs", release=node.release, modules=MODULES),
            seed=tuple(self._file(path, {"hostname": node.name, "nics": node.nics}) for path in _SEED),
            boots=(Boot(name="direct", phases=phases()),),
            checks=("test_tiny.py",),
        )

    def _file(self, path: str, values: dict[str, Any]) -> File:
        return File(path=f"/{path}", content=self._templates.render(f"seed/{path}", **values))


def phases() -> tuple[Phase, ...]:
    """Direct boot: no boot loader, and the firmware says nothing worth waiting for."""
    return (
        Phase(name="kernel", awaits=r"Linux version \d", weight=2, causes=_KERNEL_CAUSES),
        Phase(name="ready", awaits=READY, weight=6, causes=_READY_CAUSES),
        Phase(name="ssh", signal="ssh", weight=1, causes=_KERNEL_CAUSES),
    )
