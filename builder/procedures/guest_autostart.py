"""A guest that starts with its host."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import guest_disks_wait, xe
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
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask
from builder.procedures.guest_disks_wait import Wait
from builder.procedures.guests import (
    AUTO,
    DRILL_GUEST,
    comes_up,
    configurations,
    entries,
    is_running,
    xendomains,
    xendomains_file,
)


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name (xe: or uuid)")
    disks_wait: int = Field(
        0, ge=0, le=3600, description="seconds that the host's start waits for the guest's disks, where they may come "
        "late: a slow array, iSCSI, NFS; 0: not at all (plain Xen)",
    )  # fmt: skip


class _XlState(State):
    """`link` is where AUTO's entry leads, empty for none; `dangling` what an entry says that leads nowhere. `config` is
    the guest's file, `disks` what it names that can be waited for. `starts` are entries that start the guest, by the
    name in them, `others` those of other guests."""

    passing: ClassVar[frozenset[str]] = frozenset({"config", "runs", "folder", "disks", "starts", "others"})

    link: str
    starts_guests: str
    config: str
    runs: bool
    folder: str
    dangling: str = ""
    wait: Wait = Wait()
    disks: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    sample = _XlState(link="", starts_guests="enabled", config=f"/etc/xen/{DRILL_GUEST}.cfg", runs=False, folder=AUTO)

    def look(self, host: Host, asked: Asked) -> _XlState:
        config = configurations(host).get(asked.guest, "")
        script = '[ ! -r "$1" ] || . "$1"; echo "${XENDOMAINS_AUTO:-}"'
        leads = host.run(["test", "-e", _entry(asked)]).ok
        found = entries(host)
        dangles = not leads and host.run(["test", "-L", _entry(asked)]).ok
        return _XlState(
            link=ask(host, "readlink", "-f", _entry(asked)).strip() if leads else "",
            dangling=ask(host, "readlink", _entry(asked)).strip() if dangles else "",
            starts_guests=xendomains(host),
            config=config,
            runs=is_running(host, asked.guest),
            folder=ask(host, "sh", "-c", script, "sh", xendomains_file(host)).strip(),
            wait=guest_disks_wait.look(host, asked.guest),
            disks=guest_disks_wait.disks_in(host, config) if asked.disks_wait and config else (),
            starts=tuple(path for name, path, _ in found if name == asked.guest),
            others=tuple(path for name, path, _ in found if name != asked.guest),
        )

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:
        rules = (
            (bool(state.config), "no-configuration", f"no file below /etc/xen has the name {asked.guest}",
             "put the guest's configuration into /etc/xen"),
            (state.folder == AUTO, "other-folder",
             f"this host starts guests from {state.folder or 'nowhere'}, not from {AUTO}",
             f"set XENDOMAINS_AUTO={AUTO} in /etc/default/xendomains"),
            (_entry(asked) not in state.others, "other-entry", f"{_entry(asked)} starts another guest",
             "call that entry by the name of its guest"),
            (not asked.disks_wait or not state.config or bool(state.disks), "no-disks",
             f"xl reads no disks in {state.config} that are files or devices of this host",
             f"disks_wait=0; xl create --dryrun {state.config} shows what it reads"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if not state.starts:
            todo += [run("mkdir", "-p", AUTO), _link(state.config, asked)]
        if state.starts_guests != "enabled":
            todo.append(run("systemctl", "enable", "xendomains", seconds=120))
        wait = guest_disks_wait.wanted(asked.guest, asked.disks_wait, state.disks)
        todo += guest_disks_wait.changes(asked.guest, state.wait, wait)
        if not state.runs:
            todo.append(run("xl", "create", "-q", state.config, seconds=300))
        return tuple(todo)

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if before.dangling and state.dangling != before.dangling:
            todo.append(_link(before.dangling, asked))
        elif (state.link or state.dangling) and not (before.link or before.dangling):
            todo.append(Remove(_entry(asked)))
        if state.starts_guests == "enabled" != before.starts_guests and not _came(state, before):
            todo.append(run("systemctl", "disable", "xendomains", seconds=120))
        return (*todo, *guest_disks_wait.changes(asked.guest, state.wait, before.wait))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        found = (
            same(f"{asked.guest} runs", True, comes_up(host, asked.guest)),
            same("guests are started with the host", "enabled", xendomains(host)),
            same(f"something in {AUTO} is of that name", True, any(name == asked.guest for name, *_ in entries(host))),
        )
        if not asked.disks_wait:
            return found
        disks = guest_disks_wait.disks_in(host, configurations(host).get(asked.guest, ""))
        return (*found, *guest_disks_wait.check(host, asked.guest, asked.disks_wait, disks))

    def check_undone(self, world: World, host: Host, before: _XlState, asked: Asked) -> tuple[Evidence, ...]:
        if _came(now := self.look(host, asked), before):
            before = before.model_copy(update={"starts_guests": now.starts_guests})
        return super().check_undone(world, host, before, asked)


def _came(now: _XlState, before: _XlState) -> bool:
    """Whether other guests start with the host since: then what starts them is theirs as well."""
    return not set(now.others) <= set(before.others)


def _entry(asked: Asked) -> str:
    return f"{AUTO}/{asked.guest}.cfg"


def _link(target: str, asked: Asked) -> Action:
    """In the place of an entry that leads nowhere."""
    return run("ln", "-sfn", target, _entry(asked))


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

    def refusals(self, state: _XeState, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        """order= and start-delay= of a guest are for vApps and high availability: what starts guests with their host is
        one `xe vm-start --multiple`, once, when XAPI is up."""
        return unmet([(not asked.disks_wait, "no-wait", "XAPI starts guests once and waits for no disks",
                       "disks_wait=0: XAPI attaches storage repositories before it starts guests")])  # fmt: skip

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
            *((same("seconds that it waits for disks", asked.disks_wait, 0),) if asked.disks_wait else ()),
        )


PROCEDURE = Procedure(
    name="guest-autostart",
    title="A guest that starts with its host",
    summary="The guest is started whenever its host starts, and now if it does not run (plain Xen). With disks_wait= "
    "the host's start waits for the guest's disks first, as long as that; one that does not come is named in the "
    "journal, and the other guests are started. Undone, a guest that runs goes on running.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=(
        "XCP-ng guide: Autostart VM on boot",
        "Debian wiki: Xen; /etc/default/xendomains",
        "openSUSE xen README: Automatically starting guests",
        "openSUSE xen: xendomains-wait-disks",
        "xapi: scripts/xapi-autostart-vms",
    ),
    refuses={
        "no-configuration": "the guest's file is not below /etc/xen",
        "other-entry": "the entry of that name starts another guest (plain Xen)",
        "other-folder": "the host starts guests from another folder",
        "no-disks": "disks_wait= for a guest without disks that are files or devices (plain Xen)",
        "no-wait": "disks_wait= where XAPI starts the guests",
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
