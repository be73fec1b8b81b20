"""Memory of a running guest, ballooned down and up again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.model.units import GIB, KIB, MIB, show_size
from builder.procedures import xe
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Mebibytes,
    Options,
    Procedure,
    Refusal,
    State,
    Way,
    holds,
    run,
)  # fmt: skip
from builder.procedures.asking import ask, domains, fields
from builder.procedures.guests import DRILL_GUEST

LEAST = 64 * MIB
NEAR = 4 * MIB
"""How exactly a balloon driver reaches its target: whole pages of its own choosing stay behind."""


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name (xe: or uuid)")
    size: Mebibytes = Field(description="what it is to have, such as 512MiB")


class _XlState(State):
    """Sizes in bytes; `target` is what the guest is to have, its screen's memory included, `most` what it was started
    for. `size` is None for a guest that does not run."""

    passing: ClassVar[frozenset[str]] = frozenset({"most", "free", "size"})

    size: int | None
    target: int
    most: int
    free: int


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    lasting = False
    sample = _XlState(size=1 * GIB, target=1 * GIB, most=2 * GIB, free=4 * GIB)

    def look(self, host: Host, asked: Asked) -> _XlState:
        size = _size(host, asked.guest)
        if size is None:
            return _XlState(size=None, target=0, most=0, free=0)
        number = next(number for name, number, _ in domains(host) if name == asked.guest)
        shown = json.loads(ask(host, "xl", "list", "-l", asked.guest))
        info = (shown[0] if isinstance(shown, list) else shown)["config"]["b_info"]
        target = int(ask(host, "xenstore-read", f"/local/domain/{number}/memory/target")) * KIB
        # xl takes a screen's memory off what it is told, before it writes that (libxl_set_memory_target)
        screen = host.run(["xenstore-read", f"/local/domain/{number}/memory/videoram"]).stdout.strip()
        target += int(screen) * KIB if screen.isdigit() else 0
        most = int(ask(host, "xenstore-read", f"/local/domain/{number}/memory/static-max")) * KIB
        free = int(fields(ask(host, "xl", "info"))["free_memory"]) * MIB
        return _XlState(size=size, target=target, most=max(most, int(info.get("max_memkb", 0)) * KIB), free=free)

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:
        if state.size is None:
            return (Refusal(code="not-running", message=f"{asked.guest} does not run",
                            hint="its memory at start is in its configuration: memory= and maxmem="),)  # fmt: skip
        return tuple(_limits(asked, state.size, state.most, state.free))

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:
        if state.target == asked.size:
            return ()
        return (run("xl", "mem-set", asked.guest, f"{asked.size // MIB}m", seconds=120),)

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:
        if state.size is None or state.target == before.target:
            return ()
        return (run("xl", "mem-set", asked.guest, f"{before.target // KIB}k", seconds=120),)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        return (_reached(host, _LIST, asked.guest, asked.guest, asked.size),)

    def check_undone(self, world: World, host: Host, before: _XlState, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        """A guest that went away meanwhile has nothing that could be brought back."""
        if _size(host, asked.guest) is None:
            return ()
        return (_reached(host, _LIST, asked.guest, asked.guest, before.target),)


@dataclass(frozen=True, slots=True)
class _Meter:
    """Who tells how much a guest has now: shell that prints it for the guest in $1, in units of so many bytes."""

    name: str
    unit: int
    shell: str


_LIST = _Meter("xl list", MIB, 'xl list "$1" | awk "NR==2 {print \\$(NF-3)}"')
_XAPI = _Meter("XAPI", 1, 'xe vm-param-get "uuid=$1" param-name=memory-actual')


def _reached(host: Host, meter: _Meter, guest: str, known: str, size: int) -> Evidence:
    """Waits a minute for the guest's balloon driver. `known` is what the meter calls the guest."""
    script = (
        f"for i in $(seq 60); do now=$({meter.shell}); "
        '[ "$now" -le "$3" ] && [ "$now" -ge "$2" ] && break; sleep 1; done; echo "$now"'
    )
    low, high = (size - NEAR) // meter.unit, (size + NEAR) // meter.unit
    now = ask(host, "sh", "-c", script, "sh", known, str(low), str(high), timeout=600).strip()
    least, most = ((size + away) // MIB for away in (-NEAR, NEAR))
    seen = f"{int(now) * meter.unit // MIB} MiB" if now.isdigit() else now or "nothing"
    fine = now.isdigit() and low <= int(now) <= high
    return holds(f"memory of {guest} by {meter.name}", f"{least} to {most} MiB", seen, fine)


def _size(host: Host, guest: str) -> int | None:
    return next((mib * MIB for name, _, mib in domains(host) if name == guest), None)


def _limits(asked: Asked, size: int, most: int, free: int) -> list[Refusal]:
    found = []
    if asked.size > most:
        found.append(Refusal(
            code="beyond-start",
            message=f"{asked.guest} was started for {show_size(most)} at most: its kernel has no tables for more",
            hint="raise maxmem in its configuration and start it anew",
        ))  # fmt: skip
    elif asked.size - size > free:
        found.append(Refusal(
            code="no-memory", message=f"{(asked.size - size) // MIB}MiB more are asked for, {free // MIB}MiB are free",
            hint="take memory from another guest first",
        ))  # fmt: skip
    if asked.size < LEAST:
        found.append(Refusal(code="too-small", message=f"with {show_size(asked.size)} no system goes on working",
                             hint=f"leave it {show_size(LEAST)} or more"))  # fmt: skip
    return found


class _XeState(State):
    passing: ClassVar[frozenset[str]] = frozenset({"vm", "power", "static_max", "actual", "free"})

    vm: str
    power: str
    low: int
    high: int
    static_max: int
    actual: int
    free: int


class _Xe(Way[Asked, _XeState]):
    state = _XeState
    sample = _XeState(vm="VM-UUID", power="running", low=1 * GIB, high=1 * GIB, static_max=2 * GIB, actual=1 * GIB,
                      free=4 * GIB)  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _XeState:
        vm = xe.vm(host, asked.guest)
        names = ("memory-dynamic-min", "memory-dynamic-max", "memory-static-max", "memory-actual")
        low, high, most, actual = (int(xe.param(host, "vm", vm, name)) for name in names)
        free = int(fields(ask(host, "xl", "info"))["free_memory"]) * MIB
        power = xe.param(host, "vm", vm, "power-state")
        return _XeState(vm=vm, power=power, low=low, high=high, static_max=most, actual=actual, free=free)

    def refusals(self, state: _XeState, asked: Asked) -> tuple[Refusal, ...]:
        if state.power != "running":
            return (Refusal(code="not-running", message=f"{asked.guest} is {state.power}",
                            hint="xe vm-memory-limits-set sets what a halted guest starts with"),)  # fmt: skip
        return tuple(_limits(asked, state.actual, state.static_max, state.free))

    def actions(self, state: _XeState, asked: Asked) -> tuple[Action, ...]:
        return () if state.low == state.high == asked.size else (_range(state.vm, asked.size, asked.size),)

    def undo(self, state: _XeState, before: _XeState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        return (
            () if (state.low, state.high) == (before.low, before.high) else (_range(state.vm, before.low, before.high),)
        )

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        return (_reached(host, _XAPI, asked.guest, xe.vm(host, asked.guest), asked.size),)


def _range(vm: str, low: int, high: int) -> Action:
    return run("xe", "vm-memory-dynamic-range-set", f"uuid={vm}", f"min={low}", f"max={high}", seconds=300)


PROCEDURE = Procedure(
    name="guest-memory",
    title="Memory of a running guest",
    summary="A running guest gives memory back to the host, or gets more, up to what it was started for (maxmem). Its "
    "balloon driver does it.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=("openSUSE xen README: Memory Ballooning in VMs", "NetBSD Xen HowTo: CPU and memory", "xl(1): mem-set"),
    refuses={
        "not-running": "the guest does not run",
        "beyond-start": "the guest was started for less",
        "no-memory": "the host has not that much free",
        "too-small": "no system goes on with so little",
    },
    drill=Drill(options={"guest": DRILL_GUEST, "size": "160MiB"}, guest=True),
    dead=(
        Dead(
            says="trick a guest into more memory with mem= on its kernel's command line",
            why="maxmem in its configuration does that: the kernel reserves its tables for it at start",
        ),
    ),
    subject="guest",
)
