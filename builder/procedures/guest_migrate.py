"""A running guest goes to another host of plain Xen: live where both see its disks, else with its disks copied."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from builder.model.host import Host, World
from builder.model.lab import Value
from builder.procedures import guest_migrate_xe
from builder.procedures.api import (
    Action,
    Card,
    Dead,
    Drill,
    Evidence,
    Procedure,
    Refusal,
    Remove,
    State,
    Way,
    Write,
    holds,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, domains, fields, listed, read_text
from builder.procedures.guests import AUTO, COUNT, DRILL_GUEST, configurations, entries, name_in, written
from builder.procedures.migration import WAY, Asked, Disk, Link, copying, disks_of, left_open, sharing

RESULT = "/var/lib/nestlab/migrated"
ARRIVED = "/var/lib/nestlab/arrived"
"""With the guest's name, on the other host: its disks are all there, so what is there is newer than what is here."""
OVERHEAD = 32
"""MiB that Xen and the toolstack need for a guest beside its own memory."""

# $1 guest, $2 address, $3 ssh, $4 what to ping meanwhile, $5 where results go, $6 a disk that the guest writes to, $7
# what counts blocks on it. What the guest is known by in xenstore
# stays the same over a migration, and is another one when it is started anew.
_MIGRATE = r"""
mkdir -p "${5%/*}"
xenstore-read "/local/domain/$(xl domid "$1")/vm" >"$5"
if [ -n "$4" ]; then
  if command -v ping >/dev/null; then ping -n -i 0.2 "$4" >>"$5" & else busybox ping "$4" >>"$5" & fi
  watcher=$!
  sleep 2
fi
[ -z "${6:-}" ] || echo "written $(sh -c "$7" sh "$6")" >>"$5"
xl migrate -s "$3" "$1" "$2"
status=$?
if [ -n "$4" ]; then
  sleep 3
  kill -INT "$watcher"
  wait "$watcher"
fi
exit "$status"
"""


class There(Value):
    """The other host. `arrived`: disks were copied there, all of them."""

    runs: bool = False
    arrived: bool = False
    config: bool = False
    stranger: bool = False
    """The configuration there is that of another guest."""
    dialect: str = ""
    free: int = 0
    xen: tuple[int, int] = (0, 0)
    features: tuple[int, ...] = ()
    networks: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()
    open: bool = False


class XlState(State):
    """Sizes in MiB, disks in bytes. `here`: the guest runs on this host; `auto` the entries that start it with the
    host, one a line; `plain` those of them that are no links to its configuration. `source` is this host's own address
    on the way to `address`. `open`: a way for migrations is left."""

    passing: ClassVar[frozenset[str]] = frozenset(
        [
            "config",
            "text",
            "size",
            "disks",
            "networks",
            "features",
            "xen",
            "address",
            "source",
            "answers",
            "there",
            "plain",
        ]
    )

    here: bool
    auto: str
    config: str
    text: str
    size: int
    disks: tuple[Disk, ...]
    networks: tuple[str, ...]
    features: tuple[int, ...]
    xen: tuple[int, int]
    address: str
    source: str
    answers: bool
    open: bool
    there: There
    plain: tuple[str, ...] = ()


class _Xl(Way[Asked, XlState]):
    state = XlState
    sample = XlState(
        here=True, auto="", config="/etc/xen/web.cfg", text='name = "web"\n', size=512, networks=("xenbr0",),
        features=(0x1,), xen=(4, 20), address="10.20.0.2", source="10.20.0.1", answers=True, open=False,
        disks=(Disk(path="/srv/web.img", kind="file", size=2 << 30, mark="nfs"),),
        there=There(
            dialect="xl", free=2048, xen=(4, 20), features=(0x1,), networks=("xenbr0",),
            disks=(Disk(path="/srv/web.img", kind="file", size=2 << 30, mark="nfs"),),
        ),
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> XlState:
        """This host's part of it."""
        running = {name: mib for name, _, mib in domains(host)}
        details = _details(host, asked.guest) if asked.guest in running else {}
        config = configurations(host).get(asked.guest, "")
        paths = [disk["pdev_path"] for disk in details.get("disks", ()) if disk.get("pdev_path")]
        way = fields(ask(host, "sh", "-c", WAY, "sh", asked.via or asked.to, timeout=120).replace("=", ":"))
        info = fields(ask(host, "xl", "info"))
        auto = {path: kind for name, path, kind in entries(host) if name == asked.guest}
        return XlState(
            here=asked.guest in running,
            auto="\n".join(auto),
            plain=tuple(path for path, kind in auto.items() if kind != "link" or path == config),
            config=config,
            text=read_text(host, config) or "" if config else "",
            size=running.get(asked.guest, 0),
            disks=disks_of(host, paths),
            networks=tuple(sorted({nic["bridge"] for nic in details.get("nics", ()) if nic.get("bridge")})),
            features=_features(info),
            xen=_version(info),
            address=way.get("address", ""),
            source=way.get("source", ""),
            answers=way.get("answers") == "yes",
            open=left_open(host),
            there=There(),
        )

    def see(self, world: World, host: Host, asked: Asked) -> XlState:
        state = self.look(host, asked)
        peer = world.host(asked.to)
        dialect = peer.facts().dialect
        if dialect != "xl":
            return state.model_copy(update={"there": There(dialect=dialect)})
        info = fields(ask(peer, "xl", "info"))
        theirs = read_text(peer, state.config) if state.config else None
        return state.model_copy(update={"there": There(
            dialect=dialect,
            runs=any(name == asked.guest for name, *_ in domains(peer)),
            arrived=peer.run(["test", "-e", f"{ARRIVED}-{asked.guest}"]).ok,
            config=theirs is not None,
            stranger=theirs is not None and name_in(theirs) != asked.guest,
            free=int(info.get("free_memory", 0)),
            xen=_version(info),
            features=_features(info),
            networks=tuple(ask(peer, "ls", "/sys/class/net").split()),
            disks=disks_of(peer, [disk.path for disk in state.disks]),
            open=left_open(peer),
        )})  # fmt: skip

    def refusals(self, state: XlState, asked: Asked) -> tuple[Refusal, ...]:
        there = state.there
        if there.dialect != "xl":
            return (Refusal(code="other-kind", message=f"{asked.to} is driven by {there.dialect}, not by xl",
                            hint="a guest goes to a host of the same kind"),)  # fmt: skip
        if there.runs and not state.here:
            return ()  # it went there: what is left to do is no danger to it
        lacks = [name for name in state.networks if name not in there.networks]
        weak = [mine & ~theirs for mine, theirs in zip(state.features, there.features, strict=False)]
        rules = (
            (state.here, "not-running", f"{asked.guest} does not run here", "start it first: xl create"),
            (not there.runs, "runs-there", f"a guest of the name {asked.guest} runs on {asked.to}", "is it this one?"),
            (bool(state.config), "no-configuration", f"no file below /etc/xen is that of {asked.guest}",
             "put its configuration there: it goes along"),
            (not there.stranger, "other-configuration", f"{state.config} on {asked.to} is that of another guest",
             "call the guest's configuration otherwise here"),
            (not state.plain, "no-link", f"{listed(state.plain)} is no link to the guest's configuration, and has to "
             "go: it would start the guest here as well", f"put it into /etc/xen, and a link to it into {AUTO}"),
            (state.answers, "no-way", f"{asked.via or asked.to} ({state.address or 'an unknown name'}) has no ssh that "
             "answers this host", "via= says by which network; nestlab net shows the links"),
            (there.free >= state.size + OVERHEAD, "no-memory",
             f"{asked.to} has {there.free}MiB free, the guest needs {state.size + OVERHEAD}MiB",
             "take memory from guests there first (guest-memory)"),
            (there.xen >= state.xen, "older-xen",
             f"Xen {there.xen[0]}.{there.xen[1]} there is older than {state.xen[0]}.{state.xen[1]} here",
             "guests go to the same version or a newer one: xen-upgrade there first"),
            (asked.storage == "copy" or not any(weak), "lesser-cpu",
             f"{asked.to}'s processor lacks features that the guest may use: {_words(weak)}",
             "start the guest anew with a cpuid= line that takes them away, or storage=copy"),
            (not lacks, "no-network", f"{asked.to} has no bridge {listed(lacks)}", "nestlab procedure run ... bridge"),
        )  # fmt: skip
        judge = copying if asked.storage == "copy" else sharing
        return (*unmet(rules), *judge(state.disks, there.disks, asked.to))

    def actions(self, state: XlState, asked: Asked) -> tuple[Action, ...]:
        copied = tuple(disk.path for disk in state.disks) if asked.storage == "copy" else ()
        link = Link("", asked.to, state.address, state.source, copied)
        config = () if state.there.config else (Write(state.config, state.text, mode=0o600, on=asked.to),)
        entry = f"{AUTO}/{asked.guest}.cfg"
        auto = (run("mkdir", "-p", AUTO, on=asked.to), run("ln", "-sf", state.config, entry, on=asked.to),
                *map(Remove, state.auto.splitlines())) if state.auto and not state.plain else ()  # fmt: skip
        if state.there.runs and not state.here:
            closing = link.close() if state.open or state.there.open else ()
            return (*(config if auto else ()), *auto, *closing)
        if asked.storage == "shared":
            move: tuple[Action, ...] = (_migrate(link, asked, node=""),)
        else:
            move = (
                run("timeout", str(asked.wait), "xl", "shutdown", "-F", "-w", asked.guest, seconds=asked.wait + 60,
                    hint=f"{asked.guest} does not shut down: give it more time with wait="),
                *(link.put(disk.path) for disk in state.disks),
                Write(f"{ARRIVED}-{asked.guest}", "", on=asked.to),
                run("xl", "create", "-q", state.config, seconds=300, on=asked.to),
            )  # fmt: skip
        return (*link.open(), *config, *move, *auto, *link.close())

    def undo(self, state: XlState, before: XlState, asked: Asked) -> tuple[Action, ...]:
        there = state.there
        back = self._back(state, before, asked)
        if not state.here and (asked.storage == "copy" or not there.runs):
            back = (*back, run("xl", "create", "-q", before.config, seconds=300))
        if state.here and asked.storage == "copy" and there.arrived:
            return back
        left: list[Action] = []
        # What arrived there is only taken away once it is here again: of a guest that somebody started here, it is not.
        if asked.storage == "copy":
            left += [Remove(disk.path, on=asked.to) for disk in before.there.disks if disk.kind == "absent"]
            left.append(Remove(f"{ARRIVED}-{asked.guest}", on=asked.to))
        if not before.there.config:
            left.append(Remove(before.config, on=asked.to))
        gone = [path for path in before.auto.splitlines() if path not in state.auto.splitlines()]
        left += [run("ln", "-sf", before.config, path) for path in gone]
        if before.auto:
            left.append(Remove(f"{AUTO}/{asked.guest}.cfg", on=asked.to))
        return (*back, *left, *(Remove(f"{RESULT}-{asked.guest}", on=node) for node in ("", asked.to)))

    def _back(self, state: XlState, before: XlState, asked: Asked) -> tuple[Action, ...]:
        """The guest, live, or what its disks hold by now; whether it runs there any more or not."""
        forth = Link("", asked.to, before.address, before.source, tuple(disk.path for disk in before.disks))
        if not state.here and asked.storage == "copy" and state.there.arrived:
            stop = run("timeout", str(asked.wait), "xl", "shutdown", "-F", "-w", asked.guest, seconds=asked.wait + 60,
                       on=asked.to)  # fmt: skip
            fetched = (forth.get(disk.path) for disk in before.disks)
            return (*([stop] if state.there.runs else []), *forth.open(), *fetched, *forth.close())
        if not state.here and asked.storage == "shared" and state.there.runs:
            back = Link(asked.to, "", before.source, before.address)
            return (*back.open(), _migrate(back, asked, node=asked.to), *back.close())
        return forth.close() if state.open or state.there.open else ()

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        peer = world.host(asked.to)
        numbers = {name: number for name, number, _ in domains(peer)}
        found = [
            same(f"{asked.guest} runs on {asked.to}", True, asked.guest in numbers),
            same(f"{asked.guest} runs on {host.name}", False, any(name == asked.guest for name, *_ in domains(host))),
            same("ways for migrations that are left open", "none",
                 listed([each.name for each in (host, peer) if left_open(each)])),
        ]  # fmt: skip
        result = (read_text(host, f"{RESULT}-{asked.guest}") or "").splitlines()
        if asked.storage == "shared" and result and asked.guest in numbers:
            now = ask(peer, "xenstore-read", f"/local/domain/{numbers[asked.guest]}/vm").strip()
            found.append(same("it is the same run of the guest: what xenstore knows it by", result[0], now))
        if asked.disk and asked.storage == "shared" and result:
            found += _disk(peer, asked, "\n".join(result))
        counted = re.search(r"(\d+) packets transmitted, (\d+)", "\n".join(result))
        if asked.address and asked.storage == "shared" and result:
            lost = int(counted[1]) - int(counted[2]) if counted else -1
            told = f"{lost} of {counted[1]}" if counted else "nothing was counted"
            found.append(holds("pings lost meanwhile", f"{asked.lost} at most", told, 0 <= lost <= asked.lost))
        return tuple(found)

    def check_undone(self, world: World, host: Host, before: XlState, asked: Asked) -> tuple[Evidence, ...]:
        now = self.see(world, host, asked)
        left = [disk.path for disk in before.there.disks if now.there.arrived]
        return (
            *super().check_undone(world, host, before, asked),
            same(f"disks left on {asked.to}, which may be newer than those here", "none", listed(left)),
        )


def _migrate(link: Link, asked: Asked, *, node: str) -> Action:
    ping = "" if node else asked.address
    disk = "" if node else asked.disk
    words = (asked.guest, link.address, link.ssh, ping, f"{RESULT}-{asked.guest}", *([disk, COUNT] if disk else []))
    return run("sh", "-c", _MIGRATE, "sh", *words, seconds=1800, on=node,
               hint=f"{asked.guest} goes on running where it was")  # fmt: skip


def _disk(peer: Host, asked: Asked, result: str) -> list[Evidence]:
    """What the disk itself holds, by the other host's eyes; and that the guest goes on."""
    began = re.search(r"^written (\d+)", result, re.MULTILINE)
    first, missing = written(peer, asked.disk)
    for _ in range(20):
        later, missing = written(peer, asked.disk)
        if later > first:
            break
    since = first - int(began[1]) if began else 0
    return [
        holds("blocks written to the disk since the migration began", "more than none", str(since), since > 0),
        holds("blocks written while this was looked at", "more than none", str(later - first), later > first),
        same("blocks that are missing on the disk", 0, missing),
    ]


def _details(host: Host, guest: str) -> Mapping[str, Any]:
    shown = json.loads(ask(host, "xl", "list", "-l", guest))
    found: Mapping[str, Any] = (shown[0] if isinstance(shown, list) else shown)["config"]
    return found


def _features(info: Mapping[str, str]) -> tuple[int, ...]:
    """The processor's feature words, as Xen levelled them for all guests."""
    return tuple(int(word, 16) for word in info.get("hw_caps", "").split(":") if word)


def _words(weak: list[int]) -> str:
    return ", ".join(f"word {number}: {bits:08x}" for number, bits in enumerate(weak) if bits)


def _version(info: Mapping[str, str]) -> tuple[int, int]:
    return int(info.get("xen_major", 0)), int(info.get("xen_minor", 0))


PROCEDURE = Procedure(
    name="guest-migrate",
    title="A guest goes to another host",
    summary="Live, where both hosts see the guest's disks (or it has none); with storage=copy its disks are streamed "
    "to the other host and compared, without a file in between. The way between the hosts is a key that may do "
    "nothing but this, from one address alone, and is gone afterwards.",
    options=Asked,
    ways={"xl": _Xl(), "xe": guest_migrate_xe.Xe()},
    sources=(
        "XenServer notes: Migrate a VM without a pool or shared storage",
        "openSUSE xen README: Security (relocation)",
        "xl(1): migrate; xapi: vm-migrate",
        "sshd(8): AUTHORIZED_KEYS FILE FORMAT",
    ),
    refuses={
        "other-kind": "the other host is of another kind",
        "not-running": "the guest does not run",
        "runs-there": "a guest of that name runs on the other host",
        "no-configuration": "the guest's file is not below /etc/xen (plain Xen)",
        "other-configuration": "the other host's file of that path is another guest's (plain Xen)",
        "no-link": "what starts the guest with this host is not a link to its file in /etc/xen (plain Xen)",
        "no-way": "the other host cannot be reached by ssh (plain Xen)",
        "no-memory": "the other host has not enough memory free",
        "older-xen": "the other host has an older Xen (plain Xen)",
        "lesser-cpu": "the other host's processor lacks features that this one has (live, plain Xen)",
        "no-network": "the other host lacks a network that the guest is on",
        "no-disk": "live, and the other host does not have a disk",
        "not-shared": "live, and a disk cannot be told to be the same on both hosts",
        "not-a-file": "storage=copy of what is no file (plain Xen)",
        "disk-there": "storage=copy over a file that is there (plain Xen)",
        "no-room": "storage=copy, and the disks do not fit there (plain Xen)",
        "same-host": "the guest is to go where it is (xe)",
        "no-password": "hosts of two pools and no password_file= (xe)",
        "no-storage": "the other pool has no default storage (xe)",
        "nested": "the guest nests guests of its own: it is not mobile (xe)",
    },
    drill=Drill(
        options={"guest": DRILL_GUEST, "to": "beta", "via": "beta.migration", "address": "10.10.0.77"},
        guest=True,
        card=Card("xenbr1", "10.10.0.77/24"),
        disk="disk",
        reason="it needs two hosts: nestlab procedure drill two-dom0 guest-migrate "
        f"guest={DRILL_GUEST} to=beta via=beta.migration address=10.10.0.77 --node alpha",
    ),
    dead=(
        Dead(
            says="the receiving machine listens on TCP port 8002 for relocations; put a firewall in front of it",
            why="that port was xend's. xl goes by ssh, encrypted: here by a key of its own, which is taken away again",
        ),
        Dead(
            says="migratevm -sh SOURCE -dh DESTINATION, a program for XenServer 5.6 to 6.5",
            why="vm-migrate does it since 6.1, live too; on plain Xen it is the copy that is made here",
        ),
    ),
    subject="guest",
    bound=("to", "storage"),
)
