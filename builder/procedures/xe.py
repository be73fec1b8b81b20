"""Asking XAPI. `xe` prints one value with --minimal, several joined by commas; a key that a map lacks is an error."""

from __future__ import annotations

import re

from builder.errors import LabError
from builder.model.host import Host
from builder.procedures.api import Run, run
from builder.procedures.asking import ask


def minimal(host: Host, *words: str) -> tuple[str, ...]:
    """The values of a list call."""
    return tuple(filter(None, column(host, *words)))


def column(host: Host, *words: str) -> tuple[str, ...]:
    """The same with those that are empty, as lists that belong together have them. A comma within a value, and what
    says so, has a backslash before it (xapi's cli_printer.ml: escape_commas)."""
    said = ask(host, "xe", *words, "--minimal").strip()
    found = re.findall(r"((?:[^,\\]|\\.)*),", f"{said},") if said else []
    return tuple(re.sub(r"\\(.)", r"\1", each) for each in found)


def param(host: Host, kind: str, uuid: str, name: str) -> str:
    """One field of an object."""
    return ask(host, "xe", f"{kind}-param-get", f"uuid={uuid}", f"param-name={name}").strip()


def map_key(host: Host, kind: str, uuid: str, name: str, key: str) -> str:
    """One key of a map; empty when the map lacks it. Raises LabError when XAPI does not answer at all."""
    result = host.run(["xe", f"{kind}-param-get", f"uuid={uuid}", f"param-name={name}", f"param-key={key}"])
    if result.ok:
        return result.stdout.strip()
    if key in result.stderr or key in result.stdout:
        return ""
    raise LabError(f"{host.name}: xe: {(result.stderr or result.stdout).strip()}", hint="is XAPI up? xe host-list")


def set_key(kind: str, uuid: str, name: str, key: str, value: str) -> Run:
    """The call that gives a key of a map this value; an empty one takes the key out."""
    if value:
        return run("xe", f"{kind}-param-set", f"uuid={uuid}", f"{name}:{key}={value}")
    return run("xe", f"{kind}-param-remove", f"uuid={uuid}", f"param-name={name}", f"param-key={key}")


def vm(host: Host, name: str) -> str:
    """The uuid of a guest by its name or uuid. Raises LabError unless there is exactly one."""
    found = minimal(host, "vm-list", "is-control-domain=false", f"name-label={name}")
    found = found or minimal(host, "vm-list", "is-control-domain=false", f"uuid={name}")
    if len(found) != 1:
        raise LabError(
            f"{host.name}: {len(found) or 'no'} guest{'s' if len(found) > 1 else ''} of the name {name}",
            hint="xe vm-list names them; a uuid does as well",
        )
    return found[0]


def pool(host: Host) -> str:
    """The uuid of the pool that this host is in."""
    return minimal(host, "pool-list")[0]
