"""L0: what a node runs on, as pure functions. A new L0 to export to is one file and one line in `EXPORTERS`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.hypervisors.l0 import Exporter

EXPORTERS: Mapping[str, str] = {
    "libvirt": "builder.hypervisors.libvirt:Libvirt",
    "proxmox": "builder.hypervisors.proxmox:Proxmox",
    "xl": "builder.hypervisors.xen:Xl",
    "xe": "builder.hypervisors.xcpng:Xe",
    "vmx": "builder.hypervisors.vmware:Vmx",
    "hyperv": "builder.hypervisors.hyperv:HyperV",
}


def load_exporter(target: str) -> Exporter:
    """The exporter of that name. Raises UsageError for a name that is not in `EXPORTERS`."""
    if target not in EXPORTERS:
        raise UsageError(f"nothing is known about '{target}'", hint=f"known: {', '.join(EXPORTERS)}")
    module, _, attribute = EXPORTERS[target].partition(":")
    return cast("Exporter", getattr(importlib.import_module(module), attribute)())
