"""A guest goes to another host of XAPI: within the pool, or to another pool with its disks streamed there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from builder.model.host import Host, World
from builder.model.lab import Value
from builder.model.units import MIB
from builder.procedures import xe
from builder.procedures.api import Action, Evidence, Refusal, Run, State, Way, run, same, unmet
from builder.procedures.asking import xe_host
from builder.procedures.migration import Asked

# The password is read on the host: no command that is shown or kept has it.
_REMOTE = 'exec xe "$@" remote-password="$(cat "$0")"'


class Guest(Value):
    """The guest as a pool knows it; `vm` is empty where it does not. Disks (VDI and its
    storage) and cards (VIF, its network's name and uuid) by their numbers."""

    vm: str = ""
    power: str = ""
    host: str = ""
    memory: int = 0
    nested: bool = False
    disks: Mapping[str, tuple[str, str]] = {}
    cards: Mapping[str, tuple[str, str, str]] = {}


class XeState(State):
    """`mine` is the guest in this host's pool, `theirs` in the other's, where there are two. `networks` are the other
    pool's by name, `storage` its default one. Sizes in bytes."""

    passing: ClassVar[frozenset[str]] = frozenset(
        [
            "host",
            "name",
            "target",
            "one_pool",
            "mine",
            "theirs",
            "networks",
            "storage",
            "free",
            "dialect",
            "master",
            "home",
        ]
    )

    where: str
    host: str
    name: str
    dialect: str = "xe"
    target: str = ""
    one_pool: bool = True
    mine: Guest
    theirs: Guest = Guest()
    networks: Mapping[str, str] = {}
    storage: str = ""
    free: int = 0
    master: str = ""
    home: str = ""
    """Where the coordinators of the other's pool and of this one are asked: no other host of a pool answers for it."""


class Xe(Way[Asked, XeState]):
    state = XeState
    sample = XeState(
        where="HOST-UUID", host="HOST-UUID", name="alpha", target="TARGET-UUID", free=8 << 30,
        mine=Guest(vm="VM-UUID", power="running", host="HOST-UUID", memory=1 << 30,
                   disks={"0": ("VDI-UUID", "SR-UUID")}, cards={"0": ("VIF-UUID", "lan", "NETWORK-UUID")}),
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> XeState:
        mine = _guest(host, asked.guest)
        return XeState(where=mine.host, host=xe_host(host), name=host.name, mine=mine)

    def see(self, world: World, host: Host, asked: Asked) -> XeState:
        state = self.look(host, asked)
        peer = world.host(asked.to)
        dialect = peer.facts().dialect
        if dialect != "xe":
            return state.model_copy(update={"dialect": dialect})
        target, pool, own = xe_host(peer), xe.pool(peer), xe.pool(host)
        one_pool = pool == own
        theirs = Guest() if one_pool else _guest(peer, asked.guest)
        names = {name for _, name, _ in state.mine.cards.values()}
        return state.model_copy(update={
            "where": state.where or theirs.host,
            "target": target,
            "one_pool": one_pool,
            "theirs": theirs,
            "free": int(xe.param(peer, "host", target, "memory-free")),
            "networks": {name: next(iter(xe.minimal(peer, "network-list", f"name-label={name}")), "")
                         for name in sorted(names)},
            "storage": xe.param(peer, "pool", pool, "default-SR"),
            "master": _coordinator(peer, pool, target, asked.via or asked.to),
            "home": _coordinator(host, own, state.host, host.name),
        })  # fmt: skip

    def refusals(self, state: XeState, asked: Asked) -> tuple[Refusal, ...]:
        if state.dialect != "xe":
            return (Refusal(code="other-kind", message=f"{asked.to} is driven by {state.dialect}, not by xe",
                            hint="a guest goes to a host of the same kind"),)  # fmt: skip
        remote = asked.storage == "copy" or not state.one_pool
        lacks = [name for name, uuid in state.networks.items() if not uuid]
        rules = (
            (state.target != state.host, "same-host", f"{asked.to} is the host that it is asked of", "say another"),
            (state.mine.power == "running", "not-running",
             f"{asked.guest} {'is ' + state.mine.power if state.mine.vm else 'is not in this pool'}",
             "start it first: a live migration moves what runs"),
            (not state.theirs.vm, "runs-there", f"{asked.to}'s pool has a guest of the name {asked.guest}",
             "rename it, or see what it is"),
            (not state.mine.nested, "nested", f"{asked.guest} nests guests of its own: such a guest cannot move",
             "shut it down and take the key away: nested-virt with enable=false"),
            (not remote or bool(asked.password_file), "no-password",
             "disks or guests go to another pool or storage: XAPI wants root's password there",
             "write it to a file on the host, mode 0600, and say password_file=/root/FILE"),
            (not remote or bool(state.storage.replace("<not in database>", "")), "no-storage",
             f"{asked.to}'s pool has no default storage", "xe pool-param-set uuid=POOL default-SR=SR"),
            (state.free >= state.mine.memory, "no-memory",
             f"{asked.to} has {state.free // MIB}MiB free, the guest needs {state.mine.memory // MIB}MiB",
             "take memory from guests there first"),
            (not lacks, "no-network", f"{asked.to} has no network of the name {', '.join(lacks)}",
             "xe network-create name-label=NAME there"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: XeState, asked: Asked) -> tuple[Action, ...]:
        if state.where == state.target:
            return ()
        if state.one_pool and asked.storage == "shared":
            return (_within(state.mine.vm, state.target),)
        stores = dict.fromkeys(state.mine.disks, state.storage)
        networks = {} if state.one_pool else state.networks
        return (_across(asked, state.mine, state.master or asked.via or asked.to, state.target, stores, networks),)

    def undo(self, state: XeState, before: XeState, asked: Asked) -> tuple[Action, ...]:
        """Disks go back to the storages, and cards to the networks, that they were on."""
        if state.where == before.where:
            return ()
        if before.one_pool and asked.storage == "shared":
            return (_within(before.mine.vm, before.host),)
        there = state.mine if before.one_pool else state.theirs
        stores = {number: sr for number, (_, sr) in before.mine.disks.items()}
        networks = {} if before.one_pool else {name: network for _, name, network in before.mine.cards.values()}
        back = _across(asked, there, before.home or before.name, before.host, stores, networks)
        return (back,) if before.one_pool else (Run(back.argv, seconds=back.seconds, on=asked.to),)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        now = self.see(world, host, asked)
        there = now.mine if now.one_pool else now.theirs
        found = [
            same(f"host that {asked.guest} runs on", now.target, there.host),
            same(f"power state of {asked.guest}", "running", there.power),
        ]
        if not now.one_pool:
            found.append(same(f"{asked.guest} in the pool that it came from", "none", now.mine.vm or "none"))
        return tuple(found)


def _coordinator(host: Host, pool: str, itself: str, known: str) -> str:
    """Where XAPI's coordinator of a pool is asked: `known` is where this host of it is."""
    master = xe.param(host, "pool", pool, "master")
    return known if master == itself else xe.param(host, "host", master, "address")


def _guest(host: Host, name: str) -> Guest:
    found = xe.minimal(host, "vm-list", "is-control-domain=false", f"name-label={name}")
    found = found or xe.minimal(host, "vm-list", "is-control-domain=false", f"uuid={name}")
    if len(found) != 1:
        return Guest()
    vm = found[0]
    disks = _columns(host, "vbd", vm, ("type=Disk",), ("userdevice", "vdi-uuid"))
    cards = _columns(host, "vif", vm, (), ("device", "uuid", "network-name-label", "network-uuid"))
    return Guest(
        vm=vm,
        power=xe.param(host, "vm", vm, "power-state"),
        host=xe.param(host, "vm", vm, "resident-on"),
        memory=int(xe.param(host, "vm", vm, "memory-static-max")),
        nested=xe.map_key(host, "vm", vm, "platform", "nested-virt") in {"true", "1"},
        disks={row[0]: (row[1], xe.param(host, "vdi", row[1], "sr-uuid")) for row in disks},
        cards={row[0]: (row[1], row[2], row[3]) for row in cards},
    )


def _columns(host: Host, kind: str, vm: str, such: tuple[str, ...], names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Several fields of a list: one call names one field, all in the same order."""
    lists = [xe.column(host, f"{kind}-list", f"vm-uuid={vm}", *such, f"params={name}") for name in names]
    return sorted(zip(*lists, strict=True))


def _within(vm: str, target: str) -> Run:
    return run("xe", "vm-migrate", f"uuid={vm}", f"host-uuid={target}", "live=true", seconds=1800)


def _across(
    asked: Asked, guest: Guest, master: str, target: str, stores: Mapping[str, str], networks: Mapping[str, str]
) -> Run:
    """`networks`: where cards go, by the name of the network that they are on; none for within a pool."""
    words = [f"vdi:{vdi}={stores[number]}" for number, (vdi, _) in guest.disks.items()]
    words += [f"vif:{vif}={networks[name]}" for vif, name, _ in guest.cards.values() if name in networks]
    call = ("vm-migrate", f"uuid={guest.vm}", f"remote-master={master}", "remote-username=root",
            f"host-uuid={target}", "live=true", *words)  # fmt: skip
    return run("sh", "-c", _REMOTE, asked.password_file, *call, seconds=14400)
