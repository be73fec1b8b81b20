"""A host taken out of service: its guests stopped or moved, none started by itself; and back to service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import xe
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Reboot,
    Refusal,
    Shutdown,
    State,
    Way,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import domains, listed, running_guests, xe_host
from builder.procedures.guests import configurations, remaining, xendomains


class Asked(Options):
    guests: Literal["stop", "move"] = Field("stop", description="stop the guests, or (xe) move them to other hosts")
    wait: int = Field(120, ge=1, le=3600, description="seconds that each guest has to shut down")
    force: bool = Field(False, description="destroy a guest that does not shut down, as by pulling its plug")
    then: Literal["stay", "restart", "shutdown"] = Field(
        "stay",
        description="what the host does once no guest runs on it; `nestlab up LAB` starts one that was shut down",
    )
    ha: Literal["keep", "off"] = Field("keep", description="off: no high availability in the pool meanwhile (xe)")


class _XlState(State):
    """`guests`: the file of each running guest, empty where none was found."""

    starts_guests: str
    guests: Mapping[str, str]


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    sample = _XlState(starts_guests="enabled", guests={"web": "/etc/xen/web.cfg"})

    def look(self, host: Host, asked: Asked) -> _XlState:  # noqa: ARG002
        files = configurations(host)
        running = sorted(name for name, number, _ in domains(host) if number)
        return _XlState(starts_guests=xendomains(host), guests={name: files.get(name, "") for name in running})

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:
        lost = [name for name, file in state.guests.items() if not file]
        found = []
        if lost:
            found.append(Refusal(
                code="no-configuration",
                message=f"no file below /etc/xen is that of {listed(lost)}: once stopped it could not be started",
                hint="put the guest's configuration into /etc/xen, or stop it by hand",
            ))  # fmt: skip
        if asked.guests == "move":
            found.append(Refusal(
                code="no-pool", message="plain Xen hosts have no pool: there is nowhere to move guests to by itself",
                hint="guests=stop; or move each with `xl migrate GUEST HOST` first",
            ))  # fmt: skip
        return tuple(found)

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if state.starts_guests == "enabled":
            todo.append(run("systemctl", "disable", "xendomains", seconds=120))
        todo += [_shutdown(name, asked) for name in state.guests]
        return (*todo, *_goes(asked, bool(todo), "poweroff"))

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if before.starts_guests == "enabled" != state.starts_guests:
            todo.append(run("systemctl", "enable", "xendomains", seconds=120))
        todo += [run("xl", "create", "-q", file, seconds=300) for name, file in before.guests.items()
                 if name not in state.guests]  # fmt: skip
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        return (
            same("guests that run", "none", listed(remaining(host))),
            same("guests are started with the host", "disabled", xendomains(host)),
        )


def _goes(asked: Asked, changed: bool, *off: str) -> tuple[Action, ...]:
    """A host that was taken out of service already has been restarted; one that answers has not been shut down."""
    if asked.then == "shutdown":
        return (Shutdown(off),)
    return (Reboot("asked for; no guest runs any more"),) if changed and asked.then == "restart" else ()


def _shutdown(name: str, asked: Asked) -> Action:
    """`xl shutdown -w` itself waits for ever; -F is for guests that know ACPI's power button only."""
    shutdown = ("timeout", str(asked.wait), "xl", "shutdown", "-F", "-w", name)
    if not asked.force:
        hint = f"{name} does not shut down: look at its console (xl console {name}), give it more time with wait=, or "
        return run(*shutdown, seconds=asked.wait + 60, hint=f"{hint}say force=true to destroy it")
    script = '"$@" || xl destroy "${7}"'
    return run("sh", "-c", script, "sh", *shutdown, seconds=asked.wait + 60)


class _XeState(State):
    """`guests` are uuids of those that run here; `prevent` says which cannot be moved, and why. `heartbeats` are the
    storages that high availability keeps its state on, `failures` the lost hosts that it plans for.
    `leads`: it is the coordinator of other hosts."""

    passing: ClassVar[frozenset[str]] = frozenset(
        {"host", "name", "prevent", "hosts", "ha", "pool", "heartbeats", "failures", "leads"}
    )

    host: str
    name: str
    enabled: str
    guests: tuple[str, ...]
    prevent: str
    hosts: int
    ha: str
    pool: str = ""
    heartbeats: tuple[str, ...] = ()
    failures: str = ""
    leads: bool = False


class _Xe(Way[Asked, _XeState]):
    state = _XeState
    lasting = False  # a host enables itself when it starts
    sample = _XeState(
        host="HOST-UUID", name="host-1", enabled="true", guests=("VM-UUID",), prevent="", hosts=2, ha="false"
    )

    def look(self, host: Host, asked: Asked) -> _XeState:
        uuid = xe_host(host)
        moving = asked.guests == "move"
        listing = ["xe", "host-get-vms-which-prevent-evacuation", f"uuid={uuid}"]
        pool = xe.pool(host)
        ha = xe.param(host, "pool", pool, "ha-enabled")
        files = xe.param(host, "pool", pool, "ha-statefiles") if ha == "true" else ""
        stores = (xe.param(host, "vdi", vdi.strip(), "sr-uuid") for vdi in files.split(";") if vdi.strip())
        hosts = len(xe.minimal(host, "host-list"))
        return _XeState(
            host=uuid,
            name=xe.param(host, "host", uuid, "name-label"),
            enabled=xe.param(host, "host", uuid, "enabled"),
            guests=tuple(sorted(xe.minimal(host, "vm-list", f"resident-on={uuid}", "is-control-domain=false"))),
            prevent=host.run(listing, timeout=120).stdout.strip() if moving else "",
            hosts=hosts,
            leads=hosts > 1 and xe.param(host, "pool", pool, "master") == uuid,
            ha=ha,
            pool=pool,
            heartbeats=tuple(sorted(set(stores))),
            failures=xe.param(host, "pool", pool, "ha-host-failures-to-tolerate") if ha == "true" else "",
        )

    def refusals(self, state: _XeState, asked: Asked) -> tuple[Refusal, ...]:
        last = Refusal(code="coordinator", message="the pool's other hosts are led by this one, which would be off",
                       hint="xe pool-designate-new-master first, or then=restart")  # fmt: skip
        return (*([last] if asked.then == "shutdown" and state.leads else []), *self._moving(state, asked))

    def _moving(self, state: _XeState, asked: Asked) -> tuple[Refusal, ...]:
        if asked.guests != "move" or not state.guests:
            return ()
        if state.hosts == 1:
            return (Refusal(code="only-host", message="the pool has no other host that guests could move to",
                            hint="guests=stop"),)  # fmt: skip
        if not state.prevent:
            return ()
        return (
            Refusal(
                code="not-mobile",
                message=f"some guests cannot be moved: {' '.join(state.prevent.split())}",
                hint="stop them first, or guests=stop (a guest on local storage, or one that nests, cannot move)",
            ),
        )

    def advice(self, state: _XeState, asked: Asked) -> tuple[str, ...]:
        if state.ha != "true" or asked.ha == "off":
            return ()
        return ("high availability is on: the disabled host counts as gone on purpose; ha=off is the other way",)

    def actions(self, state: _XeState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if asked.ha == "off" and state.ha == "true":
            todo.append(run("xe", "pool-ha-disable", seconds=300))
        if state.enabled == "true":
            todo.append(run("xe", "host-disable", f"uuid={state.host}"))
        if state.guests and asked.guests == "move":
            todo.append(run("xe", "host-evacuate", f"uuid={state.host}", seconds=1800))
        elif state.guests:
            todo += [action for uuid in state.guests for action in _stop(uuid, asked)]
        return (*todo, *_goes(asked, bool(todo), "xe", "host-shutdown", f"uuid={state.host}"))

    def undo(self, state: _XeState, before: _XeState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if before.enabled == "true" != state.enabled:
            todo.append(run("xe", "host-enable", f"uuid={state.host}"))
        for uuid in before.guests:
            if uuid in state.guests:
                continue
            if asked.guests == "move":
                todo.append(
                    run("xe", "vm-migrate", f"uuid={uuid}", f"host-uuid={state.host}", "live=true", seconds=1800)
                )
            else:
                todo.append(run("xe", "vm-start", f"uuid={uuid}", f"on={state.name}", seconds=300))
        if before.ha == "true" != state.ha:
            stores = (f"heartbeat-sr-uuids={','.join(before.heartbeats)}",) if before.heartbeats else ()
            todo.append(run("xe", "pool-ha-enable", *stores, seconds=600))
            todo.append(run("xe", "pool-param-set", f"uuid={state.pool}",
                            f"ha-host-failures-to-tolerate={before.failures}", seconds=120))  # fmt: skip
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        """A host that restarted has enabled itself."""
        found = [same("guests that run here", "none", listed(running_guests(host, "xe")))]
        if asked.then != "restart":
            enabled = xe.param(host, "host", xe_host(host), "enabled")
            found.append(same("the host takes guests", "false", enabled))
        if asked.ha == "off":
            now = xe.param(host, "pool", xe.pool(host), "ha-enabled")
            found.append(same("high availability of the pool", "false", now))
        return tuple(found)

    def check_undone(self, world: World, host: Host, before: _XeState, asked: Asked) -> tuple[Evidence, ...]:
        found = super().check_undone(world, host, before, asked)
        if asked.ha == "keep":
            return found
        return (*found, same("high availability of the pool", before.ha, self.look(host, asked).ha))


# XAPI takes no force for a guest that is halted; one may be so by the time that it is asked.
_FORCE = (
    'halted() { [ "$(xe vm-param-get "uuid=$0" param-name=power-state)" = halted ]; }; '
    'halted || xe vm-shutdown "uuid=$0" force=true || halted'
)


def _stop(uuid: str, asked: Asked) -> tuple[Action, ...]:
    """XAPI's force=true is power loss from the first moment on: it comes after a shutdown that was given its time. xe
    ends with 1 for whatever XAPI refuses (a guest that says it cannot be shut down), `timeout` with 124; a shutdown
    that XAPI still waits for then is cancelled by the force."""
    call = ("xe", "vm-shutdown", f"uuid={uuid}")
    if not asked.force:
        return (run(*call, seconds=asked.wait + 60),)
    clean = run("timeout", str(asked.wait), *call, seconds=asked.wait + 60, fine=(1, 124))
    return clean, run("sh", "-c", _FORCE, uuid, seconds=300)


PROCEDURE = Procedure(
    name="maintenance",
    title="Maintenance, restart and shutdown of a host",
    summary="The host goes out of service: no guest is started on it by itself, those that run are shut down (or, in a "
    "pool, moved away); then it stays, restarts or powers off. Undone, it is back in service with the guests that ran "
    "before.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=("XCP-ng guide: Reboot or shutdown a host", "xl(1): shutdown", "Debian: /etc/default/xendomains"),
    refuses={
        "no-configuration": "a running guest's file is not below /etc/xen (plain Xen)",
        "no-pool": "guests=move on plain Xen",
        "only-host": "guests=move in a pool of one host",
        "coordinator": "then=shutdown of a host that other hosts of the pool are led by",
        "not-mobile": "guests=move with a guest that cannot be moved",
    },
    drill=Drill(guest=True),
    dead=(
        Dead(says="xm shutdown", why="xm is gone with xend; xl has the same word"),
        Dead(
            says="guests are hibernated to /var/lib/xen/save when the host goes down",
            why="it fails for want of room and restores what hosts and clocks have left behind: guests are shut down",
        ),
    ),
    stops_guests=True,
)
