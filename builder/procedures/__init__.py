"""Host procedures: each one file here and one line in `PROCEDURES`. Applied, checked from outside and undone.

Procedures know hosts by `builder.model.host.Host` only: the handle comes from above, with power and disks.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.procedures.api import Procedure

PROCEDURES: Mapping[str, str] = {
    "dom0-memory": "builder.procedures.dom0_memory",
    "dom0-vcpus": "builder.procedures.dom0_vcpus",
    "debug-mode": "builder.procedures.debug_mode",
    "nic-quirk": "builder.procedures.nic_quirk",
    "serial-console": "builder.procedures.serial_console",
    "pci-hide": "builder.procedures.pci_hide",
    "pci-assign": "builder.procedures.pci_assign",
    "autoballoon-off": "builder.procedures.autoballoon_off",
    "maintenance": "builder.procedures.maintenance",
    "xen-upgrade": "builder.procedures.xen_upgrade",
    "host-update": "builder.procedures.host_update",
    "hotplug-timeout": "builder.procedures.hotplug_timeout",
    "guests-at-shutdown": "builder.procedures.guests_at_shutdown",
    "guest-autostart": "builder.procedures.guest_autostart",
    "guest-memory": "builder.procedures.guest_memory",
    "guest-migrate": "builder.procedures.guest_migrate",
    "vif-tx-off": "builder.procedures.vif_tx_off",
    "vif-queue": "builder.procedures.vif_queue",
    "bridge": "builder.procedures.bridge",
    "guest-routed": "builder.procedures.guest_routed",
    "vlan-trunk": "builder.procedures.vlan_trunk",
    "vif-lock": "builder.procedures.vif_lock",
    "guest-tools": "builder.procedures.guest_tools",
    "nested-virt": "builder.procedures.nested_virt",
    "raid-storage": "builder.procedures.raid_storage",
    "raid-policy": "builder.procedures.raid_policy",
    "raid-sr": "builder.procedures.raid_sr",
    "raid-save": "builder.procedures.raid_save",
    "raid-restore": "builder.procedures.raid_restore",
    "multipath": "builder.procedures.multipath",
    "log-rotation": "builder.procedures.log_rotation",
    "remote-syslog": "builder.procedures.remote_syslog",
    "secure-boot-certs": "builder.procedures.secure_boot_certs",
    "secure-boot": "builder.procedures.secure_boot",
    "tls-certificate": "builder.procedures.tls_certificate",
}


def load_procedure(name: str) -> Procedure:
    """Raises UsageError for a name that is not in `PROCEDURES`."""
    if name not in PROCEDURES:
        raise UsageError(f"there is no procedure '{name}'", hint=f"known: {', '.join(PROCEDURES)}")
    found: Procedure = importlib.import_module(PROCEDURES[name]).PROCEDURE
    return found
