"""Several paths to each disk of an iSCSI target (LIO): one of them may go, and nothing is lost."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.model.lab import Value
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Refusal,
    State,
    Way,
    Words,
    Write,
    as_it_was,
    holds,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import ask, listed, read_text

PATH = "/etc/multipath/conf.d/nestlab-lio.conf"
VENDOR = "LIO-ORG"
# One keyword a line: what stands behind a brace is ignored, without an error. `product` is a POSIX expression: "*" is
# none. LIO answers TEST UNIT READY with "good" whatever its disk does, so a path is checked by reading from it: that is
# what Debian 13's multipath-tools has for LIO by itself, and Debian 12's has not.
SETTINGS = f"""\
# Written by `nestlab procedure run`: multipath.
defaults {{
	find_multipaths yes
}}
devices {{
	device {{
		vendor "{VENDOR}"
		product ".*"
		user_friendly_names no
		path_grouping_policy group_by_prio
		path_checker directio
		detect_checker no
		hardware_handler "1 alua"
		prio alua
		path_selector "round-robin 0"
		failback immediate
		no_path_retry 12
	}}
}}
"""
# multipath ends with 0 whatever it thought of its settings: it is told on stderr, with the file it is about.
# What it has against a file of others is theirs.
JUDGE = f'said=$(multipath -t 2>&1 >/dev/null | grep -F {PATH}); [ -z "$said" ] || {{ echo "$said" >&2; exit 1; }}'
# Waits $1 seconds for every disk of a target to have $2 paths that work.
_WAIT = r"""
for i in $(seq "$1"); do
  multipathd show paths raw format "%w %t %T %s" | awk -v need="$2" '
    $4 ~ /^LIO-ORG/ { all[$1]++; if ($2 == "active" && $3 == "ready") fine[$1]++ }
    END { disks = 0; for (disk in all) { disks++; if (fine[disk] < need) exit 1 }; exit disks == 0 }' && exit 0
  sleep 1
done
:
"""
# Reads from each map, around the host's cache, while the file $1 is there, an hour at most; says how often that failed.
_READER = r"""
set -eu
marker=$1 end=$(($(date +%s) + 3600))
shift
rm -f -- "$marker".* && : >"$marker"
for map in "$@"; do
  ( while [ -e "$marker" ] && [ "$(date +%s)" -lt "$end" ]; do
      dd if="/dev/mapper/$map" of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null || echo "$map" >>"$marker.errors"
      echo . >>"$marker.rounds"
    done ) </dev/null >/dev/null 2>&1 &
done
"""
# open-iscsi moved its records in 2.1.10; a record is nodes/TARGET/ADDRESS,PORT,GROUP/INTERFACE, an IPv6 address without
# brackets.
_STARTUP = "grep -sH '^node.startup = ' /etc/iscsi/nodes/*/*/* /var/lib/iscsi/nodes/*/*/*; :"
_RECORD = re.compile(r"^.*/([^/]+)/([^/]+),(\d+),-?\d+/[^/]+:node\.startup = (\w+)$", re.MULTILINE)
_MARKER = "/run/nestlab-multipath"


class Asked(Options):
    portals: Words = Field((), description="addresses of the target, one for each path: 10.40.1.1,10.40.2.1")
    paths: int = Field(2, ge=1, le=32, description="paths that each disk has to have")
    cut: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="a network of the lab that is cut while disks are read, as a proof",
    )


class Path(Value):
    """A path to a disk: its device, the disk's number, what device-mapper and the checker say of it."""

    device: str
    disk: str
    state: str


class PathState(State):
    """`text` is our settings; `sessions` are `PORTAL TARGET`, and `startup` those that are begun with the host.
    `records` are all that open-iscsi has, with the node.startup of each, and `enabled` says whether multipathd is
    begun with the host: journals of before these were kept have neither."""

    passing: ClassVar[frozenset[str]] = frozenset({"paths", "tools", "records", "enabled"})

    text: str | None
    sessions: tuple[str, ...]
    startup: tuple[str, ...]
    paths: tuple[Path, ...]
    tools: tuple[str, ...]
    records: Mapping[str, str] | None = None
    enabled: bool | None = None

    @property
    def known(self) -> Mapping[str, str]:
        """The records that are there. A journal without them has those of sessions, which are not automatic unless it
        says so: then they are as open-iscsi makes them."""
        if self.records is not None:
            return self.records
        return {**dict.fromkeys(_rows(self.sessions), "manual"), **dict.fromkeys(_rows(self.startup), "automatic")}


class _Xl(Way[Asked, PathState]):
    state = PathState
    sample = PathState(text=None, sessions=(), startup=(), paths=(), tools=("multipathd", "iscsiadm"), records={},
                       enabled=True)  # fmt: skip

    def look(self, host: Host, asked: Asked) -> PathState:  # noqa: ARG002
        there = host.run(["sh", "-c", "for tool in multipathd iscsiadm; do command -v $tool; done; :"]).stdout.split()
        tools = tuple(path.rpartition("/")[2] for path in there)
        records = _records(host)
        return PathState(
            text=read_text(host, PATH),
            sessions=_sessions(host) if "iscsiadm" in tools else (),
            startup=tuple(row for row, startup in records.items() if startup == "automatic"),
            paths=_paths(host) if "multipathd" in tools else (),
            tools=tools,
            records=records,
            enabled=_is_enabled(host),
        )

    def refusals(self, state: PathState, asked: Asked) -> tuple[Refusal, ...]:
        found = []
        if "multipathd" not in state.tools:
            found.append(Refusal(code="no-multipath", message="the host has no multipathd",
                                 hint="in a lab file: packages: [multipath-tools]; else install it"))  # fmt: skip
        if asked.portals and "iscsiadm" not in state.tools:
            found.append(Refusal(code="no-iscsi", message="the host has no iscsiadm",
                                 hint="in a lab file: packages: [open-iscsi]; else install it"))  # fmt: skip
        if asked.portals and len(asked.portals) < asked.paths:
            found.append(Refusal(code="few-portals", message=f"{len(asked.portals)} portals, {asked.paths} paths",
                                 hint="name an address of the target for each path, or ask for fewer"))  # fmt: skip
        return tuple(found)

    def actions(self, state: PathState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        begun = {row.partition(" ")[0] for row in state.sessions}
        lasting = {row.partition(" ")[0] for row in state.startup}
        for portal in (portal for portal in asked.portals if _whole(portal) not in begun & lasting):
            todo += _login(_whole(portal) if ":" in portal else portal)
        if state.text != SETTINGS:
            todo += [run("mkdir", "-p", PATH.rpartition("/")[0]), Write(PATH, SETTINGS)]
            todo.append(run("sh", "-c", JUDGE, hint="multipath does not take the settings"))
        if todo or not state.enabled:
            todo += [run("systemctl", "enable", "--now", "multipathd", seconds=120),
                     run("multipathd", "reconfigure", seconds=120)]  # fmt: skip
        return tuple(todo)

    def undo(self, state: PathState, before: PathState, asked: Asked) -> tuple[Action, ...]:
        """Maps that something uses are not taken apart: that is told. multipathd goes on running, since there may be
        maps of others."""
        todo: list[Action] = []
        ours = [row for row in _mine(state.sessions, (), state, asked) if row not in _rows(before.sessions)]
        if ours:
            disks = dict.fromkeys(path.disk for path in state.paths)
            todo += [run("multipath", "-f", disk, seconds=120, hint="something uses it: stop that first")
                     for disk in disks if disk not in {path.disk for path in before.paths}]  # fmt: skip
        todo += [run(*_node(row), "--logout", seconds=120, fine=(21,)) for row in ours]
        todo += [run(*_node(row), "--op", "delete", fine=(21,)) for row in _made(state, before, asked)]
        todo += [run(*_node(row), "--op", "update", "-n", "node.startup", "-v", startup)
                 for row, startup in before.known.items() if state.known.get(row, startup) != startup]  # fmt: skip
        if state.text != before.text:
            todo += [as_it_was(PATH, before.text), run("multipathd", "reconfigure", seconds=120)]
        if state.enabled and before.enabled is False:
            todo.append(run("systemctl", "disable", "multipathd", seconds=120))
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        host.run(["sh", "-c", _WAIT, "sh", "180", str(asked.paths)], timeout=2400)
        found = list(_counted(host, asked.paths))
        config = ask(host, "multipathd", "show", "config")
        ours = re.search(rf'device \{{\s*vendor "{VENDOR}"\s*product "\.\*".*?\n\t\}}', config, re.DOTALL)
        found.append(same("multipathd's own settings for LIO", True, ours is not None and "alua" in ours[0]))
        found.append(same("multipathd is begun with the host", True, _is_enabled(host)))
        if asked.cut:
            found += _without(world, host, asked)
        return tuple(found)

    def check_undone(self, world: World, host: Host, before: PathState, asked: Asked) -> tuple[Evidence, ...]:
        """What a journal does not say is not asked for. Records that were there may be gone: not by this."""
        now = self.see(world, host, asked)
        found = [
            same("text", before.text, now.text),
            same("sessions", listed(_rows(before.sessions)), listed(_mine(now.sessions, before.sessions, now, asked))),
            same("what is begun with the host", listed(_rows(before.startup)),
                 listed(_mine(now.startup, before.startup, now, asked))),
            same("records that were not there before", "none", listed(_made(now, before, asked))),
        ]  # fmt: skip
        if before.records is not None:
            kept = {row: now.known[row] for row in before.records if row in now.known}
            then = {row: before.records[row] for row in kept}
            found.append(same("node.startup of the records that were there", _shown(then), _shown(kept)))
        if before.enabled is not None:
            found.append(same("multipathd is begun with the host", before.enabled, now.enabled))
        return tuple(found)


def _login(portal: str) -> list[Action]:
    """A target tells all its portals. Without `-o new` iscsiadm makes the records of all of them anew, and what others
    had set in one is lost."""
    hint = f"{portal} does not answer: is the network up? nestlab net LAB shows it"
    node = ("iscsiadm", "-m", "node", "-p", portal)
    return [
        run("iscsiadm", "-m", "discovery", "-t", "sendtargets", "-o", "new", "-p", portal, seconds=120, hint=hint),
        run(*node, "--op", "update", "-n", "node.startup", "-v", "automatic"),
        run(*node, "--login", seconds=180, fine=(15,), hint=hint),  # 15: it is logged in
    ]


def _made(state: PathState, before: PathState, asked: Asked) -> list[str]:
    """The records that are there by us, those of portals that a target told and nobody asked for too. Records of
    targets that were neither asked nor logged in to are somebody's own."""
    begun = {row for row in _mine((*state.sessions, *state.startup), (), state, asked)
             if row not in {*_rows(before.sessions), *_rows(before.startup)}}  # fmt: skip
    portals = {_whole(portal) for portal in asked.portals}
    targets = {row.partition(" ")[2] for row in state.known if row in begun or row.partition(" ")[0] in portals}
    new = [row for row in state.known if row not in before.known]
    # A journal without records does not tell which were there, and neither automatic nor in use.
    return [row for row in new if (row in begun if before.records is None else row.partition(" ")[2] in targets)]


def _mine(rows: Sequence[str], others: Sequence[str], state: PathState, asked: Asked) -> list[str]:
    """What was there, and what is of the targets that were asked: of another one, the disks may be in use since."""
    portals = {_whole(portal) for portal in asked.portals}
    targets = {row.split()[1] for row in (*state.known, *_rows(state.sessions)) if row.split()[0] in portals}
    return [row for row in _rows(rows) if not portals or row in _rows(others) or row.split()[1] in targets]


def _node(row: str) -> tuple[str, ...]:
    portal, target = row.split()
    return ("iscsiadm", "-m", "node", "-T", target, "-p", portal)


def _without(world: World, host: Host, asked: Asked) -> list[Evidence]:
    """Cuts a network while all disks are read, and heals it: from outside, as a cable would go."""
    disks = list(dict.fromkeys(path.disk for path in _paths(host)))
    ask(host, "sh", "-c", _READER, "sh", _MARKER, *disks)
    failed = 0
    try:
        world.cut_path(host.name, asked.cut, cut=True)
        script = (
            'for i in $(seq 240); do now=$(multipathd show paths raw format "%t %s" | grep -c "^failed LIO-ORG"); '
            '[ "$now" -gt 0 ] && break; sleep 1; done; echo "$now"; sleep 10'
        )
        failed = int(ask(host, "sh", "-c", script, timeout=1800))
    finally:
        world.cut_path(host.name, asked.cut, cut=False)
        host.run(["sh", "-c", _WAIT, "sh", "240", str(asked.paths)], timeout=2400)
        script = 'rm -f -- "$1"; sleep 5; cat "$1.errors" 2>/dev/null | wc -l; cat "$1.rounds" | wc -l; rm -f -- "$1".*'
        counts = ask(host, "sh", "-c", script, "sh", _MARKER, timeout=300).split()
    return [
        holds(f"paths that failed while {asked.cut} was cut", "one or more", str(failed), failed > 0),
        same("reads that failed meanwhile", "0", counts[0]),
        holds("reads meanwhile", "some", counts[1], int(counts[1]) > 0),
        *(each.model_copy(update={"what": f"{each.what}, healed"}) for each in _counted(host, asked.paths)),
    ]


def _counted(host: Host, least: int) -> tuple[Evidence, ...]:
    paths = _paths(host)
    disks = dict.fromkeys(path.disk for path in paths)
    if not disks:
        return (holds("disks of the target", "one or more", "none", False),)
    fine = {disk: sum(path.disk == disk and path.state == "active ready" for path in paths) for disk in disks}
    return tuple(holds(f"paths to {disk}", f"{least} or more that work", str(count), count >= least)
                 for disk, count in fine.items())  # fmt: skip


def _paths(host: Host) -> tuple[Path, ...]:
    """Those to LIO's disks, as multipathd sees them. Empty while it does not run."""
    shown = host.run(["multipathd", "show", "paths", "raw", "format", "%d %w %t %T %s"])
    rows = (line.split(maxsplit=4) for line in shown.stdout.splitlines())
    return tuple(Path(device=row[0], disk=row[1], state=f"{row[2]} {row[3]}") for row in rows
                 if len(row) == 5 and row[4].startswith(VENDOR))  # fmt: skip


def _sessions(host: Host) -> tuple[str, ...]:
    """`tcp: [1] 10.40.1.1:3260,1 iqn.2024-07.internal.nestlab:san (non-flash)`: one line each; `[fd00::1]:3260,1`."""
    shown = host.run(["iscsiadm", "-m", "session"]).stdout
    return _rows(f"{portal} {target}" for portal, target in re.findall(r"\] (\S+),\d+ (\S+)", shown))


def _records(host: Host) -> dict[str, str]:
    """node.startup of every record; automatic where one of its interfaces is."""
    found: dict[str, str] = {}
    for target, address, port, startup in _RECORD.findall(host.run(["sh", "-c", _STARTUP]).stdout):
        row = f"{_portal(address, port)} {target}"
        if found.get(row) != "automatic":
            found[row] = startup
    return dict(sorted(found.items()))


def _is_enabled(host: Host) -> bool:
    return host.run(["systemctl", "-q", "is-enabled", "multipathd"]).ok


def _rows(rows: Iterable[str]) -> tuple[str, ...]:
    """`PORTAL TARGET`, each portal with its port and written in one way, as older journals do not have it."""
    parted = (row.split() for row in rows)
    return tuple(sorted(f"{_portal(*portal.rpartition(':')[::2])} {target}" for portal, target in parted))


def _whole(portal: str) -> str:
    """A portal as people write it, with its port: 10.40.1.1, san:3261, fd00::1, [fd00::1]:3261."""
    if portal.startswith("["):
        address, _, rest = portal.partition("]")
        return _portal(address, rest.removeprefix(":") or "3260")
    if portal.count(":") == 1:
        return _portal(*portal.split(":"))
    return _portal(portal, "3260")


def _portal(address: str, port: str) -> str:
    """As iscsiadm prints it and takes it."""
    bare = address.strip("[]")
    with contextlib.suppress(ValueError):  # it may be a name
        bare = str(ipaddress.ip_address(bare))
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _shown(records: Mapping[str, str]) -> str:
    return listed([f"{row} {startup}" for row, startup in records.items()])


PROCEDURE = Procedure(
    name="multipath",
    title="Several paths to disks of an iSCSI target",
    summary="The host logs in to each address of a LIO target and puts the paths to each disk together. With "
    "cut=NETWORK one of the lab's networks is cut while the disks are read: a path fails, no read does, and the path "
    "comes back.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=(
        "XenServer notes: multipath configuration for LIO targets",
        "multipath.conf(5)",
        "iscsiadm(8)",
        "multipath-tools issue 54: LIO and TEST UNIT READY",
    ),
    refuses={
        "no-multipath": "the host has no multipathd",
        "no-iscsi": "portals= and the host has no iscsiadm",
        "few-portals": "fewer portals than paths",
    },
    drill=Drill(
        options={"portals": "10.40.1.1,10.40.2.1", "cut": "path-b"},
        reason="it needs a storage node: nestlab procedure drill multipath multipath portals=10.40.1.1,10.40.2.1 "
        "cut=path-b --node dom0",
    ),
    dead=(
        Dead(
            says='getuid_callout "/sbin/scsi_id -g -u -s /block/%n"',
            why="ignored since 2013: udev tells multipathd the number of a disk",
        ),
        Dead(
            says='prio_callout "/sbin/mpath_prio_alua /dev/%n"',
            why="an invalid keyword: prio alua is the same, built in",
        ),
        Dead(
            says='product "*", rr_min_io 2',
            why='"*" is no regular expression (".*" is); the kernel takes no such number since Linux 4.6',
        ),
        Dead(
            says="path_checker tur",
            why="LIO answers TEST UNIT READY with success always: a path is checked by reading from it",
        ),
    ),
)
