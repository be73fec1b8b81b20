"""Why a node's settings are what they are: the value, what the documents say, what speaks against it, the proof."""

from __future__ import annotations

import json
from collections.abc import Iterator

from builder.hypervisors.fit import size_of
from builder.hypervisors.settings import Documented, Setting
from builder.lifecycle.plan import LabPlan, NodePlan
from builder.model.lab import ImageSource, Node
from builder.model.units import show_size
from builder.paths import data_dir

_STRENGTHS = ("rendered", "judged", "booted", "installed", "verified")
# Settings of the L0 itself, which `nestlab doctor` looks at.
_OF_THE_HOST = "kvm."


def reasons(plan: LabPlan) -> list[dict[str, str]]:
    """A row for each documented setting of each node as `up` runs it (on KVM), and one for each quirk of its system."""
    return [row for node in plan.nodes for row in (*_documented(node), *_quirks(node))]


def _documented(plan: NodePlan) -> Iterator[dict[str, str]]:
    node, proof = plan.node, proof_of(plan)
    for row in Documented("kvm", node.system).rows:
        if row.key.startswith("proxmox."):
            continue
        own = row.system == node.system
        yield {
            "node": node.name, "setting": row.key, "value": value_of(node, row.key),
            "documented": f"{'at least ' if row.rule == 'least' else ''}{row.value}"
            + ("" if own else f" (for {row.system})"),
            "verdict": verdict(node, row), "why": row.says, "source": row.source,
            "against": row.contradicted or "-", "proof": proof,
        }  # fmt: skip


def _quirks(plan: NodePlan) -> Iterator[dict[str, str]]:
    for quirk in plan.system.quirks:
        yield {"node": plan.name, "setting": quirk.name, "value": "-", "documented": "-", "verdict": "needed",
               "why": quirk.reason, "source": quirk.source, "against": "-", "proof": proof_of(plan)}  # fmt: skip


def value_of(node: Node, key: str) -> str:
    """What the node has, as the lab file says it."""
    if key.startswith(_OF_THE_HOST):
        return "see `nestlab doctor`"
    if key == "memory":
        return show_size(node.memory)
    if key == "disks.size":
        return " ".join(show_size(disk.size) for disk in node.disks) or "-"
    if key == "disks.bus":
        return " ".join(dict.fromkeys(disk.bus for disk in node.disks)) or "-"
    return str(getattr(node, key))


def verdict(node: Node, row: Setting) -> str:
    """`as documented`, `below it`, `other`, or `of the host` where the node does not decide."""
    value = value_of(node, row.key)
    if row.key.startswith(_OF_THE_HOST):
        return "of the host"
    if row.key in ("memory", "disks.size"):
        sizes = [node.memory] if row.key == "memory" else [disk.size for disk in node.disks[:1]]
        return "as documented" if sizes and min(sizes) >= size_of(row.value) else "below it"
    return "as documented" if value == row.value else "other"


def proof_of(plan: NodePlan) -> str:
    """The strongest thing recorded for this system, release, path and firmware on this machine's copy of the proofs.

    Proofs are in the repository, not in installed packages. Whether one is stale is told by the matrix in the README.
    """
    node = plan.node
    path = "image" if isinstance(node.source, ImageSource) else "medium"
    wanted = (node.system, node.release, path, node.firmware)
    folder = data_dir("ci") / "proofs"
    found = []
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        record = json.loads(file.read_text("utf-8"))
        for claim in record.get("claims", ()):
            if (claim["system"], claim["release"], claim["path"], claim["firmware"]) == wanted:
                said = f"{claim['proof']} {claim['date']} ({claim['l0']}, {claim['accelerator']}; commit "
                found.append((_STRENGTHS.index(claim["proof"]), claim["date"], f"{said}{record.get('commit', '?')})"))
    if found:
        return max(found)[2]
    return "not run" if folder.is_dir() else "recorded in the repository only"
