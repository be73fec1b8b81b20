"""Several paths to each disk of an iSCSI target (LIO): one of them may go, and nothing is lost."""

from __future__ import annotations

import re
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
from builder.procedures.asking import ask, read_text

PATH = "/etc/multipath/conf.d/nestlab-lio.conf"
VENDOR = "LIO-ORG"
# One keyword a line: what stands behind a brace is ignored, without an error. `product` is a POSIX expression: "*" is
# none. LIO answers TEST UNIT READY with "good" whatever its disk does, so a path is checked by reading from it: that is
# what Debian 13's multipath-tools has for LIO by itself, and Debian 12's has not.
SETTINGS = f"""\
# Written by `nestlab procedure run`: multipath.
defaults {{
	find_multipaths yes
	user_friendly_names no
}}
devices {{
	device {{
		vendor "{VENDOR}"
		product ".*"
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
# multipath ends with 0 whatever it thought of its settings: it is told on stderr.
JUDGE = (
    'said=$(multipath -t 2>&1 >/dev/null | grep -i -E "invalid|ignoring|missing|unknown|syntax|duplicate|deprecated"); '
    '[ -z "$said" ] || { echo "$said" >&2; exit 1; }'
)
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
# Reads from each map for as long as the file $1 is there, around the host's cache; says how often that went wrong.
_READER = r"""
set -eu
marker=$1
shift
: >"$marker"
for map in "$@"; do
  ( while [ -e "$marker" ]; do
      dd if="/dev/mapper/$map" of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null || echo "$map" >>"$marker.errors"
      echo . >>"$marker.rounds"
    done ) </dev/null >/dev/null 2>&1 &
done
"""
# open-iscsi moved its records in 2.1.10; a record is nodes/TARGET/ADDRESS,PORT,GROUP/INTERFACE.
_AUTOMATIC = "grep -ls '^node.startup = automatic' /etc/iscsi/nodes/*/*/* /var/lib/iscsi/nodes/*/*/*; :"
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
    """`text` is our settings; `sessions` are `PORTAL TARGET`, and `startup` those that are begun with the host."""

    passing: ClassVar[frozenset[str]] = frozenset({"paths", "tools"})

    text: str | None
    sessions: tuple[str, ...]
    startup: tuple[str, ...]
    paths: tuple[Path, ...]
    tools: tuple[str, ...]


class _Xl(Way[Asked, PathState]):
    state = PathState
    sample = PathState(text=None, sessions=(), startup=(), paths=(), tools=("multipathd", "iscsiadm"))

    def look(self, host: Host, asked: Asked) -> PathState:  # noqa: ARG002
        there = host.run(["sh", "-c", "for tool in multipathd iscsiadm; do command -v $tool; done; :"]).stdout.split()
        tools = tuple(path.rpartition("/")[2] for path in there)
        nodes = host.run(["sh", "-c", _AUTOMATIC]).stdout.split()
        return PathState(
            text=read_text(host, PATH),
            sessions=_sessions(host) if "iscsiadm" in tools else (),
            startup=tuple(sorted(_record(path) for path in nodes)),
            paths=_paths(host) if "multipathd" in tools else (),
            tools=tools,
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
            hint = f"{portal} does not answer: is the network up? nestlab net LAB shows it"
            node = ("iscsiadm", "-m", "node", "-p", portal)
            todo += [
                run("iscsiadm", "-m", "discovery", "-t", "sendtargets", "-p", portal, seconds=120, hint=hint),
                run(*node, "--op", "update", "-n", "node.startup", "-v", "automatic"),
                run(*node, "--login", seconds=180, fine=(15,), hint=hint),  # 15: it is logged in
            ]
        if state.text != SETTINGS:
            todo += [run("mkdir", "-p", PATH.rpartition("/")[0]), Write(PATH, SETTINGS)]
            todo.append(run("sh", "-c", JUDGE, hint="multipath does not take the settings"))
        if todo:
            todo += [run("systemctl", "enable", "--now", "multipathd", seconds=120),
                     run("multipathd", "reconfigure", seconds=120)]  # fmt: skip
        return tuple(todo)

    def undo(self, state: PathState, before: PathState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        """Maps that something uses are not taken apart: that is told."""
        todo: list[Action] = []
        known = {*before.sessions, *before.startup}
        ours = [row.split() for row in dict.fromkeys((*state.sessions, *state.startup)) if row not in known]
        if ours:
            disks = dict.fromkeys(path.disk for path in state.paths)
            todo += [run("multipath", "-f", disk, seconds=120, hint="something uses it: stop that first")
                     for disk in disks if disk not in {path.disk for path in before.paths}]  # fmt: skip
        for portal, target in ours:
            node = ("iscsiadm", "-m", "node", "-T", target, "-p", portal)
            todo += [run(*node, "--logout", seconds=120, fine=(21,)), run(*node, "--op", "delete", fine=(21,))]
        if state.text != before.text:
            todo += [as_it_was(PATH, before.text)]
            todo.append(run("multipathd", "reconfigure", seconds=120))
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        host.run(["sh", "-c", _WAIT, "sh", "180", str(asked.paths)], timeout=2400)
        found = list(_counted(host, asked.paths))
        config = ask(host, "multipathd", "show", "config")
        ours = re.search(rf'device \{{\s*vendor "{VENDOR}"\s*product "\.\*".*?\n\t\}}', config, re.DOTALL)
        found.append(same("multipathd's own settings for LIO", True, ours is not None and "alua" in ours[0]))
        if asked.cut:
            found += _without(world, host, asked)
        return tuple(found)


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
    """`tcp: [1] 10.40.1.1:3260,1 iqn.2024-07.internal.nestlab:san (non-flash)`: one line each."""
    shown = host.run(["iscsiadm", "-m", "session"]).stdout
    return tuple(sorted(f"{portal} {target}" for portal, target in re.findall(r"\] (\S+),\d+ (\S+)", shown)))


def _record(path: str) -> str:
    *_, target, portal, _ = path.split("/")
    address, port, *_ = portal.split(",")
    return f"{address}:{port} {target}"


def _whole(portal: str) -> str:
    return portal if ":" in portal else f"{portal}:3260"


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
