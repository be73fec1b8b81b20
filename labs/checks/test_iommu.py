"""What a Xen host with an IOMMU must be, asked of the running host: it can give PCI devices to guests of every kind."""

from __future__ import annotations

import re

import testinfra.host


def test_devices_can_be_given_to_guests(host: testinfra.host.Host) -> None:
    found = re.search(r"^virt_caps\s*:(.*)$", str(host.check_output("xl info")), re.MULTILINE)
    assert found and {"pv_directio", "hvm_directio"} <= set(found[1].split())


def test_xen_remaps_interrupts(host: testinfra.host.Host) -> None:
    """Without it a guest with a device could send any interrupt to the host (XSA-36)."""
    assert "Interrupt Remapping enabled" in str(host.check_output("xl dmesg"))
