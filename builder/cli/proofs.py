"""What was really done, from the records in `ci/proofs`: they are in the repository, not in installed packages.

A proof counts for a setting only where the setting had that value in what was done. Most records are of nodes with
their system's defaults, so that the value is known; where it is not, that is what is said.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.cli import sources
from builder.errors import LabError
from builder.hypervisors.fit import size_of
from builder.hypervisors.setting import ANY, Setting
from builder.hypervisors.settings import Documented
from builder.model.lab import Node
from builder.model.units import show_size
from builder.paths import data_dir

STRENGTHS = ("rendered", "judged", "booted", "installed", "verified")
NONE = "not run"
REFUSED = "refused"
ELSEWHERE = "recorded in the repository only"
EMULATED = "proven by emulation only, which does not show this setting"
UNKNOWN = "not proven: no record says what it was"

OF_THE_HOST = "kvm."
"""Settings of the machine that labs run on, which `nestlab doctor` looks at. No record says what they were."""

# What the nodes of each part have beside their system's defaults. Of parts that are not here, nothing is known.
PARTS: Mapping[str, Mapping[str, Any]] = {
    "boots": {},
    "exports": {"memory": "8GiB", "disks": [{"size": "100GiB"}]},
    "install-lvm": {"memory": "3GiB", "disks": [{"size": "8GiB"}]},
    "install-raid10": {"memory": "3GiB", "disks": [{"size": "5GiB"}]},
    "xcpng-own": {"memory": "8GiB", "disks": [{"size": "100GiB"}]},
}
# Exports that take a node's own controllers and cards, and the prefix of the rows that they alone go by.
_OWN_DEVICES = (sources.HERE, "libvirt", "proxmox")
_PROXMOX = "proxmox."
# Documented for what has to be chosen, or asked for in the lab file; exports are judged without either.
_BY_CHOICE = ("vmx.virtualHW.version.nvme", "vmx.virtualHW.version.iommu", "vmx.vvtd.enable", "proxmox.viommu")
_SIZES = ("memory", "disks.size")


@dataclass(frozen=True, slots=True)
class Claim:
    """As `ci.proof` writes them, with the record that it is from. `fresh`: None where nobody can tell."""

    system: str
    release: str
    l0: str
    accelerator: str
    path: str
    firmware: str
    proof: str
    date: str
    part: str
    commit: str
    fresh: bool | None

    def __str__(self) -> str:
        what = f"{self.system} {self.release}, {self.path}, {self.firmware.upper()}"
        where = f"{self.l0} by {self.accelerator}" if self.accelerator else self.l0
        stale = {False: ", stale", True: "", None: ", stale or not: only a checkout can tell"}[self.fresh]
        return f"{self.proof} {self.date}{stale} ({what} on {where}; commit {self.commit})"


def proof(wanted: Mapping[str, str], folder: Path | None = None) -> str:
    """The strongest thing that was really done with what fits these: system, release, path, firmware, l0."""
    recorded = claims(folder)
    return ELSEWHERE if recorded is None else _strongest(_fitting(recorded, wanted))


def proof_of_row(row: Setting, folder: Path | None = None) -> str:
    """What was done with a documented setting, as documented."""
    l0 = "proxmox" if row.key.startswith(_PROXMOX) else row.hypervisor
    return _proven(row, {"l0": l0} if row.system == ANY else {"l0": l0, "system": row.system}, None, folder)


def proof_of_node(row: Setting, wanted: Mapping[str, str], has: str, folder: Path | None = None) -> str:
    """What was done with a documented setting as a node of that kind has it; nothing where it has it otherwise."""
    return _proven(row, wanted, has, folder)


def proof_of_quirk(name: str, wanted: Mapping[str, str], folder: Path | None = None) -> str:
    """What was done with nodes of that kind that have the quirk."""
    recorded = claims(folder)
    if recorded is None:
        return ELSEWHERE
    found = _fitting(recorded, wanted)
    known = {claim: quirks for claim in found if (quirks := _quirks(_node(claim))) is not None}
    return _strongest([claim for claim, quirks in known.items() if name in quirks]) if known or not found else UNKNOWN


def claims(folder: Path | None = None) -> tuple[Claim, ...] | None:
    """Every recorded claim; None in a copy without records."""
    folder = data_dir("ci") / "proofs" if folder is None else folder
    return _read(folder) if folder.is_dir() else None


@functools.cache
def _read(folder: Path) -> tuple[Claim, ...]:
    return tuple(claim for file in sorted(folder.glob("*.json")) for claim in _claims_in(file))


def _claims_in(file: Path) -> list[Claim]:
    record = json.loads(file.read_text("utf-8"))
    root = file.parent.parent.parent
    return [
        Claim(
            **{key: raw[key] for key in ("system", "release", "l0", "accelerator", "path", "firmware", "proof")},
            date=raw.get("date") or record["date"][:10],
            part=record.get("part", file.stem),
            commit=record.get("commit", "unknown"),
            fresh=sources.is_fresh(
                root, raw.get("inputs", ""), sources.of_claim(raw["system"], raw["l0"], raw["path"])
            ),
        )
        for raw in record.get("claims", ())
    ]


def _fitting(found: Iterable[Claim], wanted: Mapping[str, str]) -> list[Claim]:
    return [claim for claim in found if all(getattr(claim, key) == value for key, value in wanted.items())]


def _strongest(found: Sequence[Claim]) -> str:
    """Of fresh claims, else of stale ones, as the matrix has it; of equals the latest."""
    ranked = sorted(found, key=lambda c: (c.fresh is not False, STRENGTHS.index(c.proof), c.date, str(c)))
    return str(ranked[-1]) if ranked else NONE


def _proven(row: Setting, wanted: Mapping[str, str], has: str | None, folder: Path | None) -> str:
    if row.rule == "refused":
        return REFUSED
    recorded = claims(folder)
    if recorded is None:
        return ELSEWHERE
    found = _fitting(recorded, wanted)
    if not found or (has is not None and not _meets(row, has)):
        return NONE
    if row.key.startswith(OF_THE_HOST):
        return UNKNOWN if any(claim.accelerator == "kvm" for claim in found) else EMULATED
    had = {claim: value for claim in found if (value := _had(claim, row)) is not None}
    if not had:
        return UNKNOWN
    same = [claim for claim, value in had.items() if _equal(row.key, value, has or row.value)]
    if not same:
        return _otherwise(row, had, floor=has is None and row.rule in ("least", "advised"))
    if row.key == "cpu_model":  # without KVM the processor is the emulator's, whatever the lab file says
        same = [claim for claim in same if claim.accelerator == "kvm"]
        return _strongest(same) if same else EMULATED
    return _strongest(same)


def _otherwise(row: Setting, had: Mapping[Claim, str], *, floor: bool) -> str:
    """Nothing was done with that value. More than a floor was enough does not show that the floor is."""
    more = [claim for claim, value in had.items() if floor and _meets(row, value)]
    if more:
        values = " or ".join(dict.fromkeys(had[claim] for claim in more))
        return f"{NONE} with {row.value}; with {values}: {_strongest(more)}"
    values = " or ".join(dict.fromkeys(filter(None, had.values())))
    return f"{NONE} (what was done had {values})" if values else NONE


def _number(key: str, text: str) -> int | None:
    """Of what is counted; None for words."""
    if key in _SIZES and text != "-":
        return size_of(text)
    return int(text) if key == "cpus" else None


def _equal(key: str, one: str, other: str) -> bool:
    number = _number(key, one)
    return one == other if number is None else number == _number(key, other)


def _meets(row: Setting, value: str) -> bool:
    """Whether a value is as documented; what a node does not decide is."""
    if row.key.startswith(OF_THE_HOST):
        return True
    number, least = _number(row.key, value), _number(row.key, row.value)
    return value == row.value if number is None or least is None else number >= least


def _had(claim: Claim, row: Setting) -> str | None:
    """The setting's value in what was done; nothing where it was left alone, None where no record says."""
    node = _node(claim)
    if node is None:
        return None
    own = claim.l0 in _OWN_DEVICES
    if not own and row.key in ("disks.bus", "management_nic"):
        # With UEFI, XCP-ng's device model shows NVMe, whatever is documented.
        shown = (claim.l0, claim.firmware, row.key) == ("xcpng", "uefi", "disks.bus")
        return "nvme" if shown else Documented(claim.l0, claim.system)[row.key]
    if "." in row.key and row.key.partition(".")[0] != "disks":  # what the L0 calls it: exports set what is documented
        return row.value if row.rule == "set" and row.key not in _BY_CHOICE else ""
    return value_of(node, row.key, first=True)


def _node(claim: Claim) -> Node | None:
    """The node that was tried, as far as settings go; None where no record says."""
    return case(claim.part, claim.system, claim.release, claim.path, claim.firmware) if claim.part in PARTS else None


def _quirks(node: Node | None) -> frozenset[str] | None:
    """Names of what its system cannot do without; None for a node that is not known or cannot be planned."""
    from builder.systems import load_system

    try:
        return None if node is None else frozenset(quirk.name for quirk in load_system(node.system).plan(node).quirks)
    except LabError:
        return None


@functools.cache
def case(part: str, system: str, release: str, path: str, firmware: str) -> Node | None:
    """The node that a part of `PARTS` tries; None when this version cannot make one."""
    from builder.model.load import parse_lab
    from builder.systems import traits

    source = {"source": {"medium": "host.iso"}} if path == "medium" else {}
    node = {"system": system, "release": release, "firmware": firmware, **source, **PARTS[part]}
    text = json.dumps({"name": "case", "description": "What was tried.", "nodes": {"host": node}})
    try:
        return parse_lab(text.encode(), traits(), folder=Path("/")).lab.nodes[0]
    except LabError:
        return None


def value_of(node: Node, key: str, *, first: bool = False) -> str:
    """What the node has, as the lab file says it; of the `first` disk alone, which holds the system."""
    if key.startswith(OF_THE_HOST):
        return "see `nestlab doctor`"
    if key == "memory":
        return show_size(node.memory)
    if key == "disks.size":
        return " ".join(show_size(disk.size) for disk in node.disks[: 1 if first else None]) or "-"
    if key == "disks.bus":
        return " ".join(dict.fromkeys(disk.bus for disk in node.disks)) or "-"
    value = getattr(node, key)
    return str(value).lower() if isinstance(value, bool) else str(value)
