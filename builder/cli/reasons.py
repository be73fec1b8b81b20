"""Why a node's settings are what they are: the value, what the documents say, what speaks against it, the proof."""

from __future__ import annotations

from collections.abc import Iterator

from builder.cli.proofs import OF_THE_HOST, proof_of_node, proof_of_quirk, value_of
from builder.hypervisors.fit import size_of
from builder.hypervisors.setting import Setting
from builder.hypervisors.settings import Documented
from builder.lifecycle.plan import LabPlan, NodePlan
from builder.model.lab import ImageSource, Node


def reasons(plan: LabPlan) -> list[dict[str, str]]:
    """A row for each documented setting of each node as `up` runs it (on KVM), and one for each quirk of its system."""
    return [row for node in plan.nodes for row in (*_documented(node), *_quirks(node))]


def _documented(plan: NodePlan) -> Iterator[dict[str, str]]:
    node, kind = plan.node, _kind(plan.node)
    for row in Documented("kvm", node.system).rows:
        if row.key.startswith("proxmox."):
            continue
        own = row.system == node.system
        yield {
            "node": node.name, "setting": row.key, "value": value_of(node, row.key),
            "documented": f"{'at least ' if row.rule == 'least' else ''}{row.value}"
            + ("" if own else f" (for {row.system})"),
            "verdict": verdict(node, row), "why": row.says, "source": row.source,
            "against": row.contradicted or "-", "proof": proof_of_node(row, kind, value_of(node, row.key, first=True)),
        }  # fmt: skip


def _quirks(plan: NodePlan) -> Iterator[dict[str, str]]:
    for quirk in plan.system.quirks:
        yield {"node": plan.name, "setting": quirk.name, "value": "-", "documented": "-", "verdict": "needed",
               "why": quirk.reason, "source": quirk.source, "against": "-",
               "proof": proof_of_quirk(quirk.name, _kind(plan.node))}  # fmt: skip


def verdict(node: Node, row: Setting) -> str:
    """`as documented`, `below it`, `other`, `allowed` where another document or line has what the node has, `not taken`
    for what is only allowed, or `of the host` where the node does not decide."""
    value = value_of(node, row.key)
    if row.key.startswith(OF_THE_HOST):
        return "of the host"
    if row.key in ("memory", "disks.size"):
        sizes = [node.memory] if row.key == "memory" else [disk.size for disk in node.disks[:1]]
        return "as documented" if sizes and min(sizes) >= size_of(row.value) else "below it"
    if value == row.value:
        return "as documented"
    if row.rule == "allowed":
        return "not taken"
    allowed = Documented(row.hypervisor, node.system).find(row.key, "allowed")
    return "allowed" if value in {each.value for each in allowed} else "other"


def _kind(node: Node) -> dict[str, str]:
    """What claims about such a node have."""
    path = "image" if isinstance(node.source, ImageSource) else "medium"
    return {"system": node.system, "release": node.release, "path": path, "firmware": node.firmware, "l0": "kvm"}
