"""A guest that starts with its host."""

from __future__ import annotations

from typing import ClassVar

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
    Refusal,
    Remove,
    State,
    Way,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import ask
from builder.procedures.guests import (
    AUTO,
    DRILL_GUEST,
    comes_up,
    configurations,
    is_running,
    xendomains,
    xendomains_file,
)


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name (xe: or uuid)")


class _XlState(State):
    """`link` is where AUTO's entry leads, empty for none; `config` is the guest's file."""

    passing: ClassVar[frozenset[str]] = frozenset({"config", "runs", "folder"})

    link: str
    starts_guests: str
    config: str
    runs: bool
    folder: str


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    sample = _XlState(link="", starts_guests="enabled", config=f"/etc/xen/{DRILL_GUEST}.cfg", runs=False, folder=AUTO)

    def look(self, host: Host, asked: Asked) -> _XlState:
        files = configurations(host)
        script = '[ ! -r "$1" ] || . "$1"; echo "${XENDOMAINS_AUTO:-}"'
        return _XlState(
            link=host.run(["readlink", "-f", _entry(asked)]).stdout.strip() if _is_there(host, _entry(asked)) else "",
            starts_guests=xendomains(host),
            config=files.get(asked.guest, ""),
            runs=is_running(host, asked.guest),
            folder=ask(host, "sh", "-c", script, "sh", xendomains_file(host)).strip(),
        )

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:
        found = []
        if not state.config:
            found.append(Refusal(
                code="no-configuration", message=f"no file below /etc/xen has the name {asked.guest}",
                hint="put the guest's configuration into /etc/xen",
            ))  # fmt: skip
        if state.folder != AUTO:
            found.append(Refusal(
                code="other-folder",
                message=f"this host starts guests from {state.folder or 'nowhere'}, not from {AUTO}",
                hint=f"set XENDOMAINS_AUTO={AUTO} in /etc/default/xendomains",
            ))  # fmt: skip
        return tuple(found)

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if not state.link:
            todo += [run("mkdir", "-p", AUTO), run("ln", "-s", state.config, _entry(asked))]
        if state.starts_guests != "enabled":
            todo.append(run("systemctl", "enable", "xendomains", seconds=120))
        if not state.runs:
            todo.append(run("xl", "create", "-q", state.config, seconds=300))
        return tuple(todo)

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if state.link and not before.link:
            todo.append(Remove(_entry(asked)))
        if state.starts_guests == "enabled" != before.starts_guests:
            todo.append(run("systemctl", "disable", "xendomains", seconds=120))
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        return (
            same(f"{asked.guest} runs", True, comes_up(host, asked.guest)),
            same("guests are started with the host", "enabled", xendomains(host)),
        )


def _entry(asked: Asked) -> str:
    return f"{AUTO}/{asked.guest}.cfg"


def _is_there(host: Host, path: str) -> bool:
    return host.run(["test", "-e", path]).ok


class _XeState(State):
    """`others`: whether other guests start with their hosts: then the pool's key is theirs as well."""

    passing: ClassVar[frozenset[str]] = frozenset({"vm", "pool", "pool_key", "others"})

    vm: str
    pool: str
    key: str
    pool_key: str
    others: bool


class _Xe(Way[Asked, _XeState]):
    state = _XeState
    sample = _XeState(vm="VM-UUID", pool="POOL-UUID", key="", pool_key="", others=False)

    def look(self, host: Host, asked: Asked) -> _XeState:
        vm, pool = xe.vm(host, asked.guest), xe.pool(host)
        started = xe.minimal(host, "vm-list", "other-config:auto_poweron=true")
        return _XeState(
            vm=vm,
            pool=pool,
            key=xe.map_key(host, "vm", vm, "other-config", "auto_poweron"),
            pool_key=xe.map_key(host, "pool", pool, "other-config", "auto_poweron"),
            others=bool(set(started) - {vm}),
        )

    def actions(self, state: _XeState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        places = (("pool", state.pool, state.pool_key), ("vm", state.vm, state.key))
        return tuple(xe.set_key(kind, uuid, "other-config", "auto_poweron", "true")
                     for kind, uuid, now in places if now != "true")  # fmt: skip

    def undo(self, state: _XeState, before: _XeState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if state.key != before.key:
            todo.append(xe.set_key("vm", state.vm, "other-config", "auto_poweron", before.key))
        if state.pool_key != before.pool_key and not state.others:
            todo.append(xe.set_key("pool", state.pool, "other-config", "auto_poweron", before.pool_key))
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        vm = xe.vm(host, asked.guest)
        listed = xe.minimal(host, "vm-list", "other-config:auto_poweron=true")
        pools = xe.minimal(host, "pool-list", "other-config:auto_poweron=true")
        return (
            same("XAPI lists the guest among those to start", True, vm in listed),
            same("XAPI starts guests in this pool", True, xe.pool(host) in pools),
        )


PROCEDURE = Procedure(
    name="guest-autostart",
    title="A guest that starts with its host",
    summary="The guest is started whenever its host starts, and now if it does not run (plain Xen). Undone, one that "
    "runs goes on running.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=(
        "XCP-ng guide: Autostart VM on boot",
        "Debian wiki: Xen; /etc/default/xendomains",
        "openSUSE xen README: Automatically starting guests",
    ),
    refuses={
        "no-configuration": "the guest's file is not below /etc/xen",
        "other-folder": "the host starts guests from another folder",
    },
    drill=Drill(options={"guest": DRILL_GUEST}, guest=True),
    dead=(
        Dead(
            says="xe pool-param-set uuid=<VM_UUID> other-config:auto_poweron=true",
            why="the guide's label is wrong: this call takes the pool's uuid; the guest has the same key of its own",
        ),
    ),
    subject="guest",
)
