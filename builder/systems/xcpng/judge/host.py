"""The node itself, against what the documents say about nested hosts."""

from __future__ import annotations

from builder.model.lab import Node
from builder.model.plan import Finding
from builder.model.units import GIB, show_size
from builder.systems.xcpng.judge.report import Report
from builder.systems.xcpng.memory import documented


def judge_host(node: Node, *, zfs: bool = False, address: str | None = None) -> tuple[Finding, ...]:
    """Warnings about memory, firmware and addresses that nobody sets, and errors for hardware without a driver.
    `address` is the management interface's, where it is a fixed one."""
    report = Report(node.release, node.name)
    least, stated = documented(node.memory, zfs=zfs)
    if node.xen.dom0_memory < least:
        report.add(
            "NLX080" if stated else "NLX081",
            "dom0_memory",
            f"dom0 has {show_size(node.xen.dom0_memory)} on a host of {show_size(node.memory)}"
            + (" with ZFS" if zfs else ""),
            f"xen: {{dom0_memory: {least // GIB}GiB}}",
        )
    if node.firmware == "uefi":
        report.add("NLX082", "firmware", "nested under KVM a UEFI host may not start", "firmware: bios")
    for disk in node.disks:
        if disk.bus == "virtio":
            report.add("NLX083", f"disk {disk.name}", "dom0's kernel has no driver for virtio disks", "bus: lsilogic")
    for model in dict.fromkeys((node.management_nic, *(nic.model for nic in node.nics))):
        if model == "virtio":
            report.add("NLX083", "cards", "dom0's kernel has no driver for virtio cards", "model: e1000")
    for number, nic in enumerate(node.nics, 1):
        others = [each for each in (*nic.addresses, *sum(nic.vlan_addresses.values(), ())) if each != address]
        if others:
            report.add("NLX085", f"card {number} ({nic.network})", f"the host will not have {', '.join(others)}",
                       "xe pif-reconfigure-ip on the host, or install.network: {card: ..., address: ...}")  # fmt: skip
    return tuple(report.found)
