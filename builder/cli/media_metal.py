"""Media of lab nodes for bare-metal machines: their own cards, and what only a machine of the lab has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import TypeAdapter, ValidationError

from builder.errors import UsageError
from builder.model.lab import Lab, Node
from builder.model.plan import SystemPlan
from builder.model.resolve import QEMU_PREFIX
from builder.model.units import Mac

_WAYS_IN = ("root_keys", "root_password", "users")


def cards_of(lab: Lab, node: str, given: Sequence[str]) -> tuple[str, ...]:
    """The node's among `[NODE=]MAC`s. Raises UsageError for what is no MAC, and for a node that is not in the lab."""
    split = [text.rpartition("=") for text in given]
    known = [each.name for each in lab.nodes]
    for name, equals, _ in split:
        if equals and name not in known:
            raise UsageError(f"--mac: lab {lab.name} has no node {name}", hint=f"its nodes: {', '.join(known)}")
    return tuple(card(mac) for name, equals, mac in split if not equals or name == node)


def card(text: str) -> str:
    """A MAC address as it is compared, in small letters. Raises UsageError for anything else."""
    try:
        return str(TypeAdapter(Mac).validate_python(text))
    except ValidationError:
        raise UsageError(f"--mac: {text!r} is no MAC address", hint="write it like 3c:ec:ef:12:34:56") from None


def remarks(node: Node, plan: SystemPlan, *, own_card: bool, own_templates: bool) -> Iterator[str]:
    """What the judge of the answers says, and what would keep a bare-metal machine from coming up as the node does, or
    its owner from getting in."""
    yield from (f"{each.message} [{each.code}]" for each in plan.findings)
    texts = [str(plan.media_edits), *(file.content for file in plan.answers), *(file.content for file in plan.seed)]
    mac = node.management_mac
    if not own_card and mac.startswith(f"{QEMU_PREFIX}:") and any(mac in text for text in texts):
        yield (
            f"the answers name the card {mac}, made up for the lab; a bare-metal machine has another: --mac, or its "
            "management_mac in the lab file"
        )
    virtual = [disk.name for disk in node.disks if disk.name not in node.install.get("devices", {})]
    if node.install.get("disk_names") == "by-id" and virtual:
        yield f"{', '.join(virtual)}: named as QEMU names its disks; a bare-metal machine has others: install.devices"
    from builder.systems import traits

    usual = traits()[node.system].defaults.get("cpus")
    if node.cpus == usual and any(f"dom0_max_vcpus={usual}" in text for text in texts):
        yield f"dom0 gets {usual} processors, however many the machine has: cpus, or xen.dom0_max_vcpus in the lab file"
    if not own_templates and not any(node.install.get(way) for way in _WAYS_IN):
        yield f"nobody gets into {node.name}: --ssh-key, or install.root_keys or root_password in the lab file"
