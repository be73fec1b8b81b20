"""The stand-in for xe: a pool that remembers what was made. See `fake_l0`."""

# ruff: noqa: T201 - these are programs, and print what programs print

from __future__ import annotations

import sys
import uuid
from typing import Any

from tests.support import xe_rules

Record = dict[str, Any]
Pool = dict[str, dict[str, Record]]
MEDIA = "media"


def pool() -> Pool:
    """An installed pool: templates, a storage repository, the management network, and a medium."""

    def one(**fields: Any) -> dict[str, Record]:
        return {str(uuid.uuid4()): fields}

    return {
        "template": {**one(**{"name-label": "CentOS 7", "is-a-template": "true",
                                  "other-config": {"install-methods": "cdrom", "disks": "<provision/>"}}),
                     **one(**{"name-label": "Other install media", "is-a-template": "true", "other-config": {}})},
        "sr": {**one(**{"name-label": "Local storage", "type": "ext"}),
               **one(**{"name-label": "media", "type": "iso"})},
        "pool": one(**{"name-label": "pool", "default-SR": "<not in database>"}),
        "network": one(**{"name-label": "Pool-wide network", "bridge": "xenbr0", "other-config": {}}),
        "vdi": one(**{"name-label": "demo-host.iso", "other-config": {}}),
        "vm": {}, "vbd": {}, "vif": {},
    }  # fmt: skip


def xe(words: list[str], now: dict[str, Any]) -> int:
    """One call; refused when the rules have something against it, or when what it names is not there."""
    against = xe_rules.problems(words)
    if against:
        print("; ".join(against), file=sys.stderr)
        return 2
    made: Pool = now.setdefault("xe", pool())
    given = dict(word.partition("=")[::2] for word in words[1:] if not word.startswith("--"))
    kind, _, verb = words[0].partition("-")
    if verb == "list":
        records = {**made["template"], **made["vm"]} if kind in ("vm", "template") else made[kind]
        if kind in ("vm", "template"):  # machines and templates are of one class, told apart by a field
            templates = "true" if kind == "template" else "false"
            records = {key: each for key, each in records.items() if each["is-a-template"] == templates}
        shown = [(uuid, record) for uuid, record in records.items() if _matches(uuid, record, given)]
        what = given.get("params", "uuid")
        print(",".join(uuid if what == "uuid" else record[what] for uuid, record in shown))
        return 0
    if verb.startswith("param-"):
        return _param(verb.removeprefix("param-"), made[kind][given["uuid"]], given)
    return _do(words[0], given, made)


def _matches(uuid: str, record: Record, given: dict[str, str]) -> bool:
    for key, value in given.items():
        if key == "params":
            continue
        field, colon, inner = key.partition(":")
        have: Any = uuid if key == "uuid" else record.get(field)
        if colon:
            have = (have or {}).get(inner)
        if str(have) != value:
            return False
    return True


def _param(verb: str, record: Record, given: dict[str, str]) -> int:
    if verb == "set":
        for key, value in given.items():
            field, colon, inner = key.partition(":")
            if colon:
                record.setdefault(field, {})[inner] = value
            elif key != "uuid":
                record[key] = value
        if int(record.get("VCPUs-at-startup", 1)) > int(record.get("VCPUs-max", 1)):
            return 1
        return 0
    found: Any = record.get(given["param-name"])
    if "param-key" in given:
        if given["param-key"] not in (found or {}):
            return 1
        found = found.pop(given["param-key"]) if verb == "remove" else found[given["param-key"]]
    elif isinstance(found, dict):
        found = "; ".join(f"{key}: {value}" for key, value in found.items())
    print(found)
    return 0


def _do(command: str, given: dict[str, str], made: Pool) -> int:
    new = str(uuid.uuid4())
    vms = made["vm"]
    if command == "vm-clone":
        base = made["template"][given["uuid"]]
        vms[new] = {"name-label": given["new-name-label"], "power-state": "halted", "is-a-template": "true",
                    "other-config": dict(base["other-config"]), "VCPUs-max": "1"}  # fmt: skip
    elif command in ("network-create", "vdi-create", "vbd-create", "vif-create"):
        for key, value in given.items():
            owner = key.removesuffix("-uuid")
            assert not key.endswith("-uuid") or value in made[owner], f"no {key} {value}"
        made[command.removesuffix("-create")][new] = {**given, "other-config": {}, "empty": "false"}
    elif command == "sr-scan":
        if made["sr"][given["uuid"]].get("new"):  # a file that was copied there since
            made["vdi"][new] = {"name-label": made["sr"][given["uuid"]].pop("new"), "other-config": {}}
    elif command == "vdi-import":
        made["vdi"][given["uuid"]]["filename"] = given["filename"]
    elif command == "vm-memory-limits-set":
        vms[given["uuid"]]["memory"] = given
    elif command in ("vm-start", "vm-shutdown"):
        wanted = "running" if command == "vm-start" else "halted"
        assert vms[given["uuid"]]["power-state"] != wanted
        assert vms[given["uuid"]].get("is-a-template") == "false"
        vms[given["uuid"]]["power-state"] = wanted
    elif command == "vm-cd-eject":
        drives = [vbd for vbd in made["vbd"].values() if vbd["vm-uuid"] == given["uuid"] and vbd["type"] == "CD"]
        assert len(drives) == 1 and drives[0]["empty"] == "false"
        drives[0]["empty"] = "true"
    elif command == "vm-destroy":
        assert vms.pop(given["uuid"])["power-state"] == "halted"
        for kind in ("vbd", "vif"):
            made[kind] = {key: each for key, each in made[kind].items() if each["vm-uuid"] != given["uuid"]}
    else:
        kind = command.removesuffix("-destroy")
        used = [each for each in (*made["vbd"].values(), *made["vif"].values()) if given["uuid"] in each.values()]
        assert not used, f"{kind} {given['uuid']} is used"
        del made[kind][given["uuid"]]
    if command.endswith(("-create", "-clone")):
        print(new)
    return 0
