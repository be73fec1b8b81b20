"""An XCP-ng host up to date, by yum: the pool's coordinator first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from builder.errors import LabError
from builder.model.host import Host, World
from builder.procedures import xe
from builder.procedures.api import Action, Evidence, Reboot, Refusal, State, Way, holds, run, same, unmet
from builder.procedures.asking import ask, xe_host
from builder.procedures.update_families import YUM_INITRD, YUM_LOOK, YUM_REBUILD, Asked


class YumState(State):
    """`pending`: package -> its new version; `kernels` the last one last; `coordinator`: the host is its pool's;
    `versions` of XAPI here and there. `since`: what was installed after the host's start, of which the old one runs: a
    kernel's name stays the same there. `arrays`: the host has some, so its initrd needs their configuration."""

    passing: ClassVar[frozenset[str]] = frozenset(
        {"pending", "gone", "unfinished", "kernels", "room", "coordinator", "versions", "since", "arrays"}
    )

    running: str
    pending: Mapping[str, str]
    gone: tuple[str, ...]
    unfinished: tuple[str, ...]
    kernels: tuple[str, ...]
    room: int
    coordinator: bool
    versions: Mapping[str, str]
    arrays: bool
    since: tuple[str, ...] = ()


class Xe(Way[Asked, YumState]):
    """XAPI's database is made new with its packages, which nothing makes old again: this way is not undone."""

    state = YumState
    sample = YumState(
        running="4.19.0+1", pending={"xapi-core": "24.19.2-1.9.xcpng8.3", "openssl": "1:1.0.2k-26.2.xcpng8.3"}, gone=(),
        unfinished=(), kernels=("4.19.0+1",), room=400, coordinator=True, versions={"this": "8.3.0", "first": "8.3.0"},
        arrays=False,
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> YumState:  # noqa: ARG002
        said = ask(host, "sh", "-c", YUM_LOOK, timeout=900)
        rows = [words for line in said.splitlines() if len(words := line.split()) > 1]
        mine = xe_host(host)
        first = xe.param(host, "pool", xe.pool(host), "master")
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row[0], []).append(row[1])
        return YumState(
            running=ask(host, "uname", "-r").strip(),
            pending={row[1]: row[3] for row in rows if row[0] == "up"},
            gone=tuple(found.get("gone", ())),
            unfinished=tuple(found.get("unfinished", ())),
            kernels=tuple(found.get("kernel", ())),
            room=int(found.get("room", ["0"])[0]),
            since=tuple(found.get("since", ())),
            coordinator=mine == first,
            versions={
                name: xe.map_key(host, "host", uuid, "software-version", "date")
                + " " + xe.map_key(host, "host", uuid, "software-version", "xapi_build")
                for name, uuid in (("this", mine), ("first", first))
            },
            arrays=bool(ask(host, "sh", "-c", "grep -s '^md' /proc/mdstat; :").strip()),
        )  # fmt: skip

    def refusals(self, state: YumState, asked: Asked) -> tuple[Refusal, ...]:
        rules = (
            (state.coordinator or "xapi-core" not in state.pending or state.versions["this"] != state.versions["first"],
             "coordinator-first", "a new XAPI is pending, and the pool's coordinator runs none newer than this host",
             "nestlab procedure run LAB COORDINATOR host-update"),
            (not state.gone, "removes", f"the update would take away {' '.join(state.gone)}",
             "look why (yum update --assumeno), and do that by hand"),
            (not state.unfinished, "unfinished", f"{' '.join(state.unfinished)} of yum's did not end",
             "yum-complete-transaction, or yum history info NUMBER"),
            (state.room >= asked.room, "no-room", f"/boot has {state.room}MiB free", "remove kernels not needed"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: YumState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        latest = state.kernels[-1] if state.kernels else state.running
        if not state.pending and state.running == latest and not state.since:
            return ()
        return (
            run("yum", "-y", "update", seconds=3600, hint="yum history info last says what was done"),
            run("sh", "-c", YUM_REBUILD, seconds=900),
            Reboot("a new Xen, kernel or XAPI counts from the next start on"),
        )

    def undo(self, state: YumState, before: YumState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        """Raises LabError unless there is nothing to bring back."""
        raise LabError(
            "updates of XCP-ng are not undone: XAPI made its database new with them",
            hint="the host's backup of its state (xe host-backup before) and an installation bring back the one before",
        )

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        inside = ask(host, "sh", "-c", YUM_INITRD, "sh", now.running, timeout=300).split()
        modules = [name for name in inside if name != "mdadm.conf"]
        found = [
            same("packages that could be newer", "none", " ".join(sorted(now.pending)) or "none"),
            same("kernel that runs", now.kernels[-1], now.running),
            same("installed since the host's start", "none", " ".join(now.since) or "none"),
            holds("what its initrd has modules of", now.running, " ".join(modules) or "nothing",
                  modules == [now.running]),
            same("XAPI answers", True, host.run(["xapi-wait-init-complete", "300"], timeout=400).ok),
        ]  # fmt: skip
        if now.arrays:
            found.append(same("the initrd has mdadm.conf, as the host has arrays", True, "mdadm.conf" in inside))
        return tuple(found)
