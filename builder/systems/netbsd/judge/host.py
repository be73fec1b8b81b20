"""The machine, against what NetBSD's loader and dom0's kernel can drive."""

from __future__ import annotations

from builder.model.lab import Node
from builder.model.plan import Finding
from builder.model.units import MIB, TIB, show_size
from builder.systems.netbsd.judge.report import Report


def judge_host(node: Node, system_disks: tuple[str, ...]) -> tuple[Finding, ...]:
    """`system_disks` are the names of the disks that the host is installed on."""
    report = Report(node.name)
    if node.firmware == "uefi":
        report.add("NLN090", "the host would be started by UEFI", "firmware: bios")
    for disk in node.disks:
        if disk.bus == "virtio":
            report.add("NLN091", f"disk {disk.name}: dom0's kernel has no driver for virtio", "bus: sata")
        if disk.name not in system_disks:
            continue
        if disk.size > 2 * TIB:
            report.add("NLN092", f"disk {disk.name} has {show_size(disk.size)}", "2 TiB at most for the system")
        if disk.sector == "4Kn":
            report.add("NLN094", f"disk {disk.name} has sectors of 4096 bytes", "sector: 512e")
    for model in dict.fromkeys((node.management_nic, *(nic.model for nic in node.nics))):
        if model == "virtio":
            report.add("NLN091", "cards: dom0's kernel has no driver for virtio", "model: e1000")
    if node.xen.dom0_memory < 512 * MIB:
        report.add("NLN093", f"dom0 has {show_size(node.xen.dom0_memory)}", "xen: {dom0_memory: 512MiB}")
    if node.xen.pciback_hide:
        report.add("NLN095", "PCI devices are kept for guests", "give PCI devices to guests of a Linux host")
    for guest in node.guests:
        if guest.os == "netbsd" and guest.pci:
            report.add("NLN096", f"guest {guest.name} is given a PCI device", "guests: kernel: one built with xpci")
    return tuple(report.found)
