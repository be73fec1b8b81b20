"""Every system on every L0 that a lab can be exported to: columns of the proof matrix, and what judges are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.cli.export import exported, site_of
from builder.errors import LabError
from builder.hypervisors import load_exporter
from builder.lifecycle.plan import plan_lab
from builder.model.load import parse_lab
from builder.model.plan import File
from builder.systems import load_system, traits


@dataclass(frozen=True, slots=True)
class Target:
    """An L0: its title in tables, what `export --to` calls it, the choices that single it out there, and who judges its
    files besides dash and shellcheck, which read every shell script."""

    title: str
    to: str
    choices: Mapping[str, str]
    judges: str


_VMX = "libvirt's reader of .vmx files, which takes keys that it does not know"
_OWN = (
    "this project's own table of rules for the calls of `{}`, made after the vendor's source, while the scripts run "
    "over stand-ins; no program of the vendor has read them"
)
TARGETS: Mapping[str, Target] = {
    "xen": Target("Xen (xl)", "xl", {}, "Xen's own parser (libxlutil) and libvirt's (xenParseXL)"),
    "xcpng": Target("XCP-ng (xe)", "xe", {}, _OWN.format("xe")),
    "esxi": Target("ESXi", "vmx", {}, _VMX),
    "workstation": Target("Workstation", "vmx", {"release": "workstation", "folder": "/home/me/vm"}, _VMX),
    "hyperv": Target("Hyper-V", "hyperv", {}, "tree-sitter's grammar of PowerShell, and Microsoft's tables of the "
                     "parameters of cmdlets, held against the calls by this project's own code"),
    "proxmox": Target("Proxmox VE", "proxmox", {}, _OWN.format("qm")),
    "libvirt": Target("libvirt (KVM)", "libvirt", {}, "libvirt's schemas and its test driver"),
}  # fmt: skip
FIRMWARES: tuple[Literal["bios", "uefi"], ...] = ("bios", "uefi")
# Codes of what a system or an L0 cannot do: UEFI on Hyper-V's generation 1, nodes without a disk, NetBSD by UEFI.
_NEVER = ("[l0-refused]", "[l0-direct]", "[NLN090]")


@dataclass(frozen=True, slots=True)
class Case:
    l0: str
    system: str
    release: str
    path: Literal["image", "medium"]
    firmware: Literal["bios", "uefi"]

    @property
    def name(self) -> str:
        return f"{self.l0}-{self.system}-{self.release}-{self.path}-{self.firmware}"


def lab_text(case: Case) -> str:
    """One host with a disk and memory that every L0 is content with, and a card of a lab network."""
    source = "    source: {medium: host.iso}\n" if case.path == "medium" else ""
    return (
        "name: demo\ndescription: A host on another hypervisor.\nnetworks: {lan: {}}\nnodes:\n  host:\n"
        f"    system: {case.system}\n    release: '{case.release}'\n    firmware: {case.firmware}\n"
        f"    memory: 8GiB\n    disks: [{{size: 100GiB}}]\n    networks: [{{network: lan}}]\n{source}"
    )


def files_of(case: Case) -> dict[str, File]:
    """All that `nestlab export` writes for it. Raises LabError where system or L0 refuses."""
    text = lab_text(case).encode()
    lab = parse_lab(text, traits(), file=Path("/labs/demo.yaml"), folder=Path("/labs")).lab
    target = TARGETS[case.l0]
    exporter = load_exporter(target.to)
    files, _ = exported(exporter, plan_lab(lab, load_system), site_of(exporter, lab, dict(target.choices)))
    return files


def cases() -> list[Case]:
    """All that could be asked for; documents refuse some of them."""
    return [
        Case(l0, row.name, release, path, firmware)
        for l0 in TARGETS
        for row in traits().values()
        for release in row.releases
        for path in row.sources
        for firmware in FIRMWARES
    ]


def is_documented(refusal: LabError) -> bool:
    """Whether a document, or a system's own judge, says no. Any other obstacle would be a fault of ours."""
    return any(code in str(refusal) for code in _NEVER)
