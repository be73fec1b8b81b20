"""The node itself: hardware that the release's kernel has no driver for."""

from __future__ import annotations

from builder.model.lab import Node
from builder.model.plan import Finding
from builder.systems.rhel.judge.report import Report

_NO_LSI = (9, 10)


def judge_host(node: Node) -> tuple[Finding, ...]:
    """Errors for disks that the installer would not see."""
    report = Report(node.release)
    if report.generation in _NO_LSI:
        for disk in node.disks:
            if disk.bus == "lsilogic":
                report.add("NLK100", 0, f"the kernel has no driver for disk {disk.name} on lsilogic",
                           "bus: sata, or bus: virtio for more than five disks", where=node.name)  # fmt: skip
    return tuple(finding for _, finding in report.found)
