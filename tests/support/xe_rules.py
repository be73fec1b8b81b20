"""xe's rules, restated apart from the code that writes calls: a judge of one call at a time.

From xapi's table of commands (cli_frontend.ml) and of fields (records.ml) at 1.249-lcm (XCP-ng 8.2), v24.19.2 (8.3) and
of August 2026; for what is listed here the three agree. Commands about machines take `uuid=` to select one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Command: parameters that must be given, and those that may.
COMMANDS: dict[str, tuple[set[str], set[str]]] = {
    "vm-clone": ({"new-name-label"}, {"new-name-description", "uuid"}),
    "vm-destroy": ({"uuid"}, set()),
    "vm-start": (set(), {"uuid", "force", "on", "paused"}),
    "vm-shutdown": (set(), {"uuid", "force"}),
    "vm-cd-eject": (set(), {"uuid"}),
    "vm-memory-limits-set": ({"static-min", "static-max", "dynamic-min", "dynamic-max"}, {"uuid"}),
    "vbd-create": ({"vm-uuid", "device"}, {"vdi-uuid", "bootable", "type", "mode", "unpluggable"}),
    "vdi-create": ({"sr-uuid", "name-label", "virtual-size"}, {"sm-config", "sharable", "tags", "type"}),
    "vdi-destroy": ({"uuid"}, set()),
    "vdi-import": ({"uuid", "filename"}, {"format", "progress"}),
    "vif-create": ({"device", "network-uuid", "vm-uuid"}, {"mac"}),
    "network-create": ({"name-label"}, {"name-description", "MTU", "bridge", "managed"}),
    "network-destroy": ({"uuid"}, set()),
    "vif-unplug": ({"uuid"}, {"force"}),
    "vif-plug": ({"uuid"}, set()),
    "pif-unplug": ({"uuid"}, set()),
    "pif-plug": ({"uuid"}, set()),
    "vm-migrate": (
        set(),
        {
            "uuid",
            "live",
            "host",
            "host-uuid",
            "remote-master",
            "remote-username",
            "remote-password",
            "remote-network",
            "force",
            "copy",
            "vif",
            "vdi",
        },
    ),
    "vm-memory-dynamic-range-set": ({"min", "max"}, {"uuid"}),
    "host-disable": (set(), {"uuid"}),
    "host-enable": (set(), {"uuid"}),
    "host-shutdown": (set(), {"uuid"}),
    "pool-ha-disable": (set(), set()),
    "pool-ha-enable": (set(), {"heartbeat-sr-uuids", "ha-config"}),
    "host-evacuate": (set(), {"uuid"}),
    "host-get-vms-which-prevent-evacuation": ({"uuid"}, set()),
    "host-server-certificate-install": ({"certificate", "private-key"}, {"certificate-chain", "uuid"}),
    "host-reset-server-certificate": (set(), {"uuid"}),
    "host-emergency-reset-server-certificate": (set(), set()),
    "host-syslog-reconfigure": ({"host-uuid"}, set()),
    "sr-create": (
        {"name-label", "type"},
        {"host-uuid", "device-config", "shared", "physical-size", "content-type", "sm-config"},
    ),
    "sr-destroy": ({"uuid"}, set()),
    "sr-scan": ({"uuid"}, set()),
    "pbd-plug": ({"uuid"}, set()),
    "pbd-unplug": ({"uuid"}, set()),
}
SINCE = {"host-reset-server-certificate": "8.3"}
"""Commands that older releases lack."""
CLASSES = ("vm", "template", "vdi", "vbd", "vif", "pif", "network", "sr", "pbd", "host", "pool")
# Fields that lists are filtered by, and those that can be set; maps are written `map:key`.
FIELDS = {
    "vm": {"uuid", "name-label", "other-config", "power-state", "resident-on", "is-control-domain"},
    "template": {"uuid", "name-label"},
    "vdi": {"uuid", "name-label", "other-config"},
    "vbd": {"uuid", "vm-uuid", "type", "empty"},
    "vif": {"uuid", "vm-uuid", "device", "network-uuid", "currently-attached"},
    "pif": {"uuid", "host-uuid", "device", "VLAN", "management"},
    "network": {"uuid", "name-label", "bridge", "other-config"},
    "sr": {"uuid", "name-label", "type"},
    "pbd": {"uuid", "host-uuid", "sr-uuid", "currently-attached"},
    "host": {"uuid", "name-label", "enabled"},
    "pool": {"uuid", "name-label", "other-config"},
}
SETTABLE = {
    "vm": {"name-label", "name-description", "is-a-template", "VCPUs-max", "VCPUs-at-startup", "PV-bootloader",
           "HVM-boot-policy", "HVM-boot-params", "platform", "other-config"},
    "vdi": {"name-label", "name-description", "other-config"},
    "network": {"name-label", "name-description", "MTU", "other-config", "default-locking-mode"},
    "vif": {"other-config", "locking-mode", "ipv4-allowed", "ipv6-allowed"},
    "host": {"name-label", "name-description", "other-config", "logging"},
    "pool": {"name-label", "name-description", "other-config", "ha-host-failures-to-tolerate"},
}  # fmt: skip
MAPS = {"platform", "other-config", "HVM-boot-params", "logging"}


def problems(words: Sequence[str], release: str = "8.2") -> list[str]:
    """What the xe of a release would have against a call, without its own name."""
    if not words:
        return ["no command"]
    command, found, given = words[0], [], {}
    for word in words[1:]:
        if word.startswith("--"):
            given[word[2:]] = "true"
            continue
        key, equals, value = word.partition("=")
        if not equals:
            found.append(f"{word!r} is no parameter")
        elif key in given:
            found.append(f"{key} is given twice")
        given[key] = value
    generated = re.fullmatch(rf"({'|'.join(CLASSES)})-(list|param-get|param-set|param-remove|param-clear)", command)
    if generated:
        return [*found, *_generated(generated[1], generated[2], given)]
    if command not in COMMANDS or SINCE.get(command, release) > release:
        return [f"no such command: {command}"]
    required, optional = COMMANDS[command]
    found += [f"{command}: {key} is missing" for key in sorted(required - set(given))]
    found += [
        f"{command}: unknown parameter {key}" for key in given if key.partition(":")[0] not in required | optional
    ]
    selects = command.startswith(("vm-", "host-")) and "uuid" in required | optional
    if selects and "uuid" not in given:
        found.append(f"{command}: no machine is selected")
    return [*found, *(f"{key} is empty" for key, value in given.items() if not value)]


def _generated(kind: str, what: str, given: dict[str, str]) -> list[str]:
    if what == "list":
        known = FIELDS[kind] | {"params", "minimal"}
        return [f"{kind}-list: unknown field {key}" for key in given if key.partition(":")[0] not in known]
    found = [] if given.get("uuid") else [f"{kind}-{what}: uuid is missing"]
    if what != "param-set":
        known = {"uuid", "param-name", "param-key"}
        found += [] if "param-name" in given else [f"{kind}-{what}: param-name is missing"]
        return found + [f"{kind}-{what}: unknown parameter {key}" for key in given if key not in known]
    for key in given:
        field, colon, _ = key.partition(":")
        if key != "uuid" and field not in SETTABLE.get(kind, set()):
            found.append(f"{kind}-param-set: {field} cannot be set")
        elif (field in MAPS) != bool(colon):
            found.append(f"{kind}-param-set: {key}: maps, and nothing else, are set key by key")
    return found
