"""The drill of arrays: what it does in which order, and what it makes of what goes wrong.

The host is made up: on a real one it takes an hour (ci/nightly, install-raid10). Its disks change their names with each
start, as on a real one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import pytest

from builder.errors import LabError, TimedOut
from builder.model.host import HostFacts, HostResult, World
from builder.model.runtime import DiskStatus
from builder.procedures.raid_drill import RaidDrill, drill_raid
from builder.procedures.raid_look import LOOK

ARRAYS = {"md0": ("raid1", 1), "md1": ("raid10", 2)}
"""Level, and the partition's number on each disk."""


class Machine:
    """Host and world in one. `out` are disks that are not plugged in, `gone` what an array lacks of a disk."""

    def __init__(self, count: int = 4, more: Sequence[str] = (), first: str = "") -> None:
        self.members = [f"disk{number}" for number in range(count)]
        self.turns = [*([first] if first else []), *self.members, *more]
        self.names = dict(zip(sorted(self.turns), "abcdefgh", strict=False))
        self.out: list[str] = []
        self.known = set(self.turns)
        self.lost: dict[str, set[str]] = {name: set() for name in ARRAYS}
        self.done: list[str] = []
        self.files: dict[str, str] = {}
        self.said = ""
        self.started: list[str] = []
        self.level: dict[str, str] = {name: level for name, (level, _) in ARRAYS.items()}
        self.broken_sectors: set[str] = set()
        self.dies_without: set[str] = set()
        self.differ, self.swap = "0", 0
        self.idle = False
        self.forgets = False
        self.never_builds = False
        self.name = "host"

    # The host.

    def facts(self) -> HostFacts:
        return HostFacts(dialect="xl", release="debian 13")

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> HostResult:  # noqa: ARG002
        said = self._said(list(argv))
        status, text = (said, "") if isinstance(said, int) else (0, said)
        return HostResult(argv=tuple(argv), returncode=status, stdout=text, stderr="no" * bool(status))

    def _said(self, argv: list[str]) -> str | int:
        if argv[:2] == ["sh", "-c"]:
            return self._script(argv[2], argv[4:])
        if argv[:2] == ["cat", "/proc/swaps"]:
            return f"Filename Type Size Used Priority\n/dev/dm-1 partition 500 {self.swap} -2\n"
        if argv[:2] == ["mdadm", "--stop"]:
            self.done.append("stop md127")
            self.idle = False
            return ""
        return "" if argv[0] == "rm" else 127

    def _script(self, script: str, words: list[str]) -> str | int:
        if script == LOOK:
            return self._look()
        if "printf" in script:
            self.files[words[0]] = words[1]
            for name in self.lost:  # what is written tells the arrays
                self.lost[name] |= set(self.out)
        elif "scan" in script:
            self.known |= set(self.turns) - set(self.out)
        elif "--re-add" in script:
            assert not self.idle, "an array of old parts has them"
            array, part = words[0].removeprefix("/dev/"), words[1].removeprefix("/dev/")
            disk = next(disk for disk, letter in self.names.items() if f"sd{letter}" == part[:3])
            self.done.append(f"{array} {disk}-part{part[3:]}")
            if not self.never_builds:
                self.lost[array].discard(disk)
        elif "echo check" in script:
            self.done.append(f"check {words[0]}")
        return ""

    def _look(self) -> str:
        lines = []
        for name, (_, number) in ARRAYS.items():
            missing = len(self.lost[name])
            lines.append(f"array {name} {len(self.members)} {missing} idle {self.level[name]}")
            there = [disk for disk in self.members if disk not in self.lost[name]]
            lines += [f"member {name} sd{self.names[disk]}{number} in_sync" for disk in there]
        if self.idle:
            lines.append(f"idle md127 0 0 none\nmember md127 sd{self.names[self.stale]}2 spare")
        for disk in sorted(self.known, key=self.names.__getitem__):
            lines.append(f"disk sd{self.names[disk]} {disk}")
            lines += [f"part sd{self.names[disk]}{number} sd{self.names[disk]} {number}" for number in (1, 2)]
        return "\n".join(lines)

    def read(self, path: str) -> bytes:
        if path.startswith("/sys/"):
            return self.differ.encode()
        if path not in self.files:
            raise LabError(f"{self.name}: cannot read {path}")
        return self.files[path].encode()

    def reboot(self, *, wait: float) -> None:
        if self.dies_without & set(self.out):
            raise TimedOut("another boot id after a reboot", seconds=wait, node=self.name)
        first = self.turns[0]
        self.started.append(first)
        if first in self.broken_sectors:
            self.said += "Boot failed: not a bootable disk\n"
        self.known = set(self.turns)
        letters = sorted(self.names.values())
        self.names = dict(zip(self.names, [*letters[1:], letters[0]], strict=True))
        self.files = {} if self.forgets else self.files

    # The world.

    def host(self, name: str) -> Machine:
        assert name == self.name
        return self

    def disks(self) -> list[DiskStatus]:
        return [
            DiskStatus(node="host", name=disk, bus="lsilogic", size=5 << 30, running=True, plugged=disk not in self.out,
                       place=1, turn=self.turns.index(disk) + 1 if disk in self.turns else 0)
            for disk in self.names
        ]  # fmt: skip

    def pull_disk(self, node: str, disk: str) -> bool:
        assert node == "host"
        self.done.append(f"pull {disk}")
        self.turns.remove(disk)
        self.out.append(disk)
        return True

    def insert_disk(self, node: str, disk: str) -> bool:
        assert node == "host"
        if disk not in self.out:
            return False
        self.done.append(f"insert {disk}")
        self.turns.append(disk)
        self.out.remove(disk)
        self.stale = disk
        return True

    def console(self) -> str:
        said, self.said = self.said, ""
        return said


def drilled(machine: Machine) -> RaidDrill:
    told: list[Any] = []
    return drill_raid(
        cast(World, cast(Any, machine)), "host", tell=lambda *_, **what: told.append(what), console=machine.console,
        sleep=lambda _: None,
    )  # fmt: skip


@pytest.mark.parametrize("count", [2, 4])
def test_every_disk_is_lost_once_and_started_from_once(count: int) -> None:
    machine = Machine(count)
    done = drilled(machine)
    assert done.ok and done.check is not None
    assert [disk.disk for disk in done.disks] == machine.members
    assert machine.started == [disk.started_from for disk in done.disks]
    assert sorted(machine.started) == machine.members
    each = [[f"pull {disk}", f"insert {disk}", f"md0 {disk}-part1", f"md1 {disk}-part2"] for disk in machine.members]
    assert machine.done == [*itertools.chain(*each), "check md0", "check md1"]
    assert done.arrays == {"md0": "raid1", "md1": "raid10"}


def test_old_parts_that_were_put_together_are_let_go() -> None:
    machine = Machine(2)
    plug = machine.insert_disk

    def insert(node: str, disk: str) -> bool:
        machine.idle = True
        return plug(node, disk)

    machine.insert_disk = insert  # type: ignore[method-assign]
    assert drilled(machine).ok
    assert machine.done[:4] == ["pull disk0", "insert disk0", "stop md127", "md0 disk0-part1"]


def test_disks_of_another_use_are_not_pulled_and_may_be_passed_over() -> None:
    machine = Machine(2, more=["guests"])
    machine.broken_sectors = {"guests"}
    done = drilled(machine)
    assert done.ok and [disk.started_from for disk in done.disks] == ["disk1", "disk0"]


def test_arrays_that_the_host_does_not_start_from() -> None:
    done = drilled(Machine(2, first="boot"))
    assert done.ok and [disk.started_from for disk in done.disks] == ["", ""]


@pytest.mark.parametrize(
    ("change", "step", "said"),
    [
        ({"broken_sectors": {"disk2"}}, "start without it", "seen it was passed over"),
        ({"dies_without": {"disk1"}}, "start without it", "another boot id"),
        ({"forgets": True}, "start without it", "raid-drill"),
        ({"never_builds": True}, "plug in", "md0 has it again"),
    ],
)
def test_what_goes_wrong_ends_it_and_the_disk_is_put_back(change: dict[str, Any], step: str, said: str) -> None:
    machine = Machine()
    vars(machine).update(change)
    done = drilled(machine)
    assert not done.ok and done.check is None
    last = done.disks[-1]
    assert (last.steps[-1].name, last.steps[-1].ok) == (step, False)
    assert said in last.steps[-1].error
    assert machine.out == [] and [disk.ok for disk in done.disks[:-1]] == [True] * (len(done.disks) - 1)


@pytest.mark.parametrize(("differ", "swap", "ok"), [("0", 0, True), ("128", 0, False), ("128", 4, True)])
def test_copies_that_differ_are_a_fault_where_nothing_explains_them(differ: str, swap: int, ok: bool) -> None:
    machine = Machine(2)
    machine.differ, machine.swap = differ, swap
    done = drilled(machine)
    assert done.ok == ok and done.check is not None and differ in done.check.evidence[0].seen


def test_hosts_that_cannot_be_drilled(monkeypatch: pytest.MonkeyPatch) -> None:
    striped = Machine()
    striped.level["md1"] = "raid0"
    partial = Machine()
    partial.lost["md0"] = {"disk3"}
    elsewhere = Machine()
    elsewhere.turns = ["boot"]
    elsewhere.names = {"boot": "a", **{disk: "bcde"[at] for at, disk in enumerate(elsewhere.members)}}
    monkeypatch.setattr(elsewhere, "disks", lambda: [disk for disk in Machine.disks(elsewhere) if disk.name == "boot"])
    for machine, why in ((striped, "lost with any"), (partial, "not whole: 3 of 4"), (elsewhere, "none of the lab's")):
        with pytest.raises(LabError, match=why):
            drilled(machine)
        assert machine.done == []
