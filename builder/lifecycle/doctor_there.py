"""Doctor's rows about another machine that is to run the guests (`--connect qemu+ssh://HOST/system`).

The first row that fails is the last: what comes after it cannot be looked at. Nothing is left there.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.drivers.ssh_l0 import FarUri
from builder.errors import HostLacks, LabError
from builder.lifecycle.accelerator_there import verdict_there
from builder.lifecycle.booting import ovmf
from builder.lifecycle.courier import Courier
from builder.lifecycle.doctor_ground import Needs, Status, size_text
from builder.lifecycle.far import Far, domain_name, id_there, owner_of, visiting
from builder.paths import Places

Row = tuple[str, Status, str, str, str]
"""Name, status, what was seen, why it matters, and the fix."""

_PARTS = {
    "ssh": ("ssh to L0", "everything goes over one ssh connection, without a password"),
    "outpost": ("python3 there", "shares out ports and carries the lab's networks there"),
    "libvirt": ("libvirt there", "runs the guests"),
}
_LITTLE_SPACE = 5 << 30


def rows_there(uri: FarUri, places: Places, needs: Needs, *, probe: bool) -> tuple[Row, ...]:
    """All of them, in the order in which one stands on the other."""
    rows: list[Row] = []
    seen = {"ssh": uri.destination, "outpost": "nestlab's outpost runs", "libvirt": "the socket may be used"}

    def passed(part: str) -> None:
        name, why = _PARTS[part]
        rows.append((name, "ok", seen[part], why, ""))

    try:
        with visiting(uri, places, passed) as far:
            rows += _of_machine(far, places, needs, probe=probe)
    except LabError as error:
        part = list(_PARTS)[len(rows)] if len(rows) < len(_PARTS) else None
        name, why = _PARTS[part] if part else ("connection", "it was lost")
        rows.append((name, "missing", error.message, why, _as_fix(error.hint)))
    return tuple(rows)


def _of_machine(far: Far, places: Places, needs: Needs, *, probe: bool) -> Iterator[Row]:
    machine = far.outpost.ask("machine")
    yield _machines(far, needs)
    if needs.uefi:
        yield _firmware(far)
    yield _memory(machine, needs)
    yield _room(machine, needs)
    yield _accelerator(far, places, probe=probe)


def _machines(far: Far, needs: Needs) -> Row:
    name, why = "qemu there", "the machine that each node asks for"
    try:
        found = [far.libvirt.machine_type(machine) for machine in sorted(needs.machines)]
    except LabError as error:
        fix = "there: apt-get install --no-install-recommends qemu-system-x86"
        return (name, "missing", error.message, why, _as_fix(error.hint or fix))
    return (name, "ok", ", ".join(found), why, "")


def _firmware(far: Far) -> Row:
    name, why = "ovmf there", "firmware of UEFI nodes"
    try:
        found = ovmf(Path("/"), lambda path: bool(far.outpost.ask("has_file", path=path)))
    except HostLacks:
        return (name, "missing", "no OVMF firmware", why, "# there: apt-get install --no-install-recommends ovmf")
    return (name, "ok", found.code, why, "")


def _memory(machine: dict[str, Any], needs: Needs) -> Row:
    name, why, free = "memory there", "of all nodes together", machine["memory"]
    if free is None:
        return (name, "unknown", "/proc/meminfo does not tell", why, "")
    seen = f"{size_text(free)} available" + (f", the lab takes {size_text(needs.memory)}" if needs.memory else "")
    if needs.memory > free and not needs.running:
        return (name, "missing", seen, why, "# lower `memory:` in the lab file, or take labs down there")
    return (name, "ok", seen, why, "")


def _room(machine: dict[str, Any], needs: Needs) -> Row:
    name, why, free = "room there", "of the nodes' disks, and what they are made from", machine["room"]
    seen = f"{size_text(free)} free for {machine['folder']}"
    cure = "nestlab image prune --connect URI\n# or another folder there: URI?nestlab-dir=/PATH"
    if free < needs.footprint:
        return (name, "missing", f"{seen}, the lab takes about {size_text(needs.footprint)}", why, cure)
    return (name, "ok" if free >= _LITTLE_SPACE else "warn", seen, why, "" if free >= _LITTLE_SPACE else cure)


def _accelerator(far: Far, places: Places, *, probe: bool) -> Row:
    name, why = "accelerator there", "KVM is used only after a guest booted on it"
    lab = id_there(places, f"doctor-{secrets.token_hex(4)}")
    with tempfile.TemporaryDirectory(prefix="nestlab-doctor-") as scratch:
        folder = Path(scratch)
        courier = None
        try:
            if probe:
                far.outpost.ask("open", lab=lab, owner=owner_of(places, "doctor", 600))
                courier = Courier(places, folder, far.outpost, _nobody, threading.Event())
            found = verdict_there(far, places, courier, (domain_name(lab, "probe"), folder / "probe"))
        except LabError as error:
            return (name, "unknown", error.message, why, _as_fix(error.hint))
        finally:
            if probe:
                far.take_away(lab)
    if found.accelerator == "kvm":
        return (name, "ok", f"KVM: {found.reason}", why, "")
    status: Status = "warn" if found.proven else "unknown"
    return (name, status, f"emulation (TCG), several times slower: {found.reason}", why, _as_fix(found.fix))


def _as_fix(hint: str | None) -> str:
    """A hint that is told, or a line for another machine, is no command line of this one."""
    return f"# {hint}" if hint else ""


def _nobody(*_: Any, **__: Any) -> None:
    """What little the probe takes is sent without a word."""
