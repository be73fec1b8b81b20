"""Paths to the disks of a target: made, counted, cut and taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from builder.errors import UsageError
from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.multipath import PATH, SETTINGS
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost, FakeWorld

TARGET = "iqn.2024-07.internal.nestlab:san"
A, B = "10.40.1.1", "10.40.2.1"
CONFIG = """\
devices {
\tdevice {
\t\tvendor "LIO-ORG"
\t\tproduct ".*"
\t\thardware_handler "1 alua"
\t}
\tdevice {
\t\tvendor "NETAPP"
\t\tproduct "LUN"
\t}
}
"""


class San(FakeHost):
    """A host with two cards to a target of two disks. A network that is cut makes its paths fail."""

    QUESTIONS = (*FakeHost.QUESTIONS, "iscsiadm -m session", "multipathd show")

    def __init__(
        self, *, tools: Sequence[str] = ("multipathd", "iscsiadm"), disks: Sequence[str] = ("w1", "w2")
    ) -> None:
        self.tools, self.disks = tools, disks
        self.sessions: set[str] = set()
        self.automatic: set[str] = set()
        self.dead: set[str] = set()
        self.maps: set[str] = set()
        self.silent, self.used, self.takes, self.lossy = "", "", True, 0
        super().__init__({
            "sh -c": self._shell,
            "iscsiadm -m session": lambda _: "".join(
                f"tcp: [{n}] {portal},1 {TARGET} (non-flash)\n" for n, portal in enumerate(sorted(self.sessions)))
            if self.sessions else 21,
            "iscsiadm -m discovery": lambda argv: 4 if argv[6] == self.silent else f"{argv[6]}:3260,1 {TARGET}\n",
            "iscsiadm -m node": self._node,
            "mkdir -p": "",
            "systemctl enable": "",
            "multipathd reconfigure": "",
            "multipathd show paths": lambda _: self._paths(),
            "multipathd show config": CONFIG,
            "multipath -f": lambda argv: 1 if argv[2] == self.used else "",
        })  # fmt: skip

    def _node(self, argv: Sequence[str]) -> str | int:
        portal = argv[argv.index("-p") + 1]
        portal = portal if ":" in portal else f"{portal}:3260"
        if "--login" in argv:
            self.sessions.add(portal)
        elif "--logout" in argv:
            self.sessions.discard(portal)
        elif "delete" in argv:
            self.automatic.discard(portal)
        else:
            self.automatic.add(portal)
        return ""

    def _paths(self) -> str:
        rows = ["sda - undef undef ATA,disk"]
        for number, portal in enumerate(sorted(self.sessions)):
            state = "failed faulty" if portal in self.dead else "active ready"
            rows += [f"sd{number}{disk} {disk} {state} LIO-ORG,{disk},4.0" for disk in self.disks]
        return "".join(f"{row}\n" for row in rows)

    def _shell(self, argv: Sequence[str]) -> str | int:
        script = argv[2]
        if "command -v $tool" in script:
            return "".join(f"/usr/sbin/{tool}\n" for tool in self.tools)
        if "node.startup = automatic" in script:
            return "".join(
                f"/etc/iscsi/nodes/{TARGET}/{p.replace(':', ',')},1/default\n" for p in sorted(self.automatic)
            )
        if "multipath -t" in script:
            return "" if self.takes else 1
        if "sleep 10" in script:
            return f"{sum(len(self.disks) for portal in self.sessions if portal in self.dead)}\n"
        if ".rounds" in script and "wc -l" in script:
            return f"{self.lossy}\n40\n"
        return ""


class Cuts(FakeWorld):
    """What is cut is dead until it is healed, or for ever."""

    heals = True

    def cut_path(self, node: str, network: str, *, cut: bool = True) -> bool:
        host = cast(San, self.host(node))
        portal = {"path-a": f"{A}:3260", "path-b": f"{B}:3260"}.get(network, "")
        if cut:
            host.dead.add(portal)
        elif self.heals:
            host.dead.discard(portal)
        return True


def engine(host: San, world: FakeWorld | None = None) -> Engine:
    return Engine(cast(Any, world or Cuts(host)), sleep=lambda _: None)


def do(host: San, world: FakeWorld | None = None, /, **options: str) -> Outcome:
    procedure = load_procedure("multipath")
    return engine(host, world).run("dom0", procedure, parse_options(procedure, {"portals": f"{A},{B}", **options}))


def undo(host: San) -> Outcome:
    return engine(host).undo("dom0", load_procedure("multipath"))


def test_each_disk_has_its_paths_until_that_is_undone() -> None:
    host = San()
    done = do(host)
    assert done.result == "applied" and {each.seen for each in done.evidence} == {"2", "True"}
    assert host.sessions == host.automatic == {f"{A}:3260", f"{B}:3260"}
    assert host.files[PATH].decode() == SETTINGS
    host.changes.clear()
    assert (do(host).result, host.changes) == ("unchanged", [])
    assert undo(host).result == "undone"
    assert (host.sessions, host.automatic, PATH in host.files) == (set(), set(), False)


def test_sessions_of_others_stay() -> None:
    host = San()
    host.sessions, host.automatic = {f"{A}:3260"}, {f"{A}:3260"}
    done = do(host)
    assert not [line for line in done.actions if line.startswith("iscsiadm") and A in line]
    assert undo(host).result == "undone"
    assert host.sessions == host.automatic == {f"{A}:3260"}


def test_a_path_that_is_cut_costs_no_read_and_comes_back() -> None:
    done = do(San(), cut="path-b")
    seen = {each.what: each.seen for each in done.evidence}
    assert seen["paths that failed while path-b was cut"] == "2"
    assert seen["reads that failed meanwhile"] == "0" and seen["paths to w1, healed"] == "2"


def test_lost_reads_a_path_that_stays_away_and_a_cut_that_cuts_nothing_are_told() -> None:
    host = San()
    host.lossy = 3
    with pytest.raises(Unproven, match="reads that failed meanwhile: expected 0, seen 3"):
        do(host, cut="path-b")
    host = San()
    world = Cuts(host)
    world.heals = False
    with pytest.raises(Unproven, match="paths to w1, healed: expected 2 or more that work, seen 1"):
        do(host, world, cut="path-a")
    with pytest.raises(Unproven, match="while elsewhere was cut: expected one or more, seen 0"):
        do(San(), cut="elsewhere")


def test_fewer_paths_than_asked_for_and_no_disks_are_told() -> None:
    host = San()
    host.sessions = {f"{A}:3260"}
    with pytest.raises(Unproven, match="paths to w1: expected 2 or more that work, seen 1"):
        do(host, portals="")
    with pytest.raises(Unproven, match="disks of the target"):
        do(San(disks=()))


def test_what_fails_on_the_way_is_told_and_undone() -> None:
    host = San()
    host.silent = B
    with pytest.raises(Failed, match=f"{B} does not answer"):
        do(host)
    assert undo(host).result == "undone" and host.sessions == set()
    host = San()
    host.takes = False
    with pytest.raises(Failed, match="multipath does not take the settings"):
        do(host)
    host = San()
    do(host)
    host.used = "w2"
    with pytest.raises(Failed, match="something uses it"):
        undo(host)
    assert len(host.sessions) == 2


@pytest.mark.parametrize(("tools", "options", "codes"), [
    ((), {}, ["no-multipath", "no-iscsi"]), (("iscsiadm",), {"portals": ""}, ["no-multipath"]),
    (("multipathd", "iscsiadm"), {"paths": "3"}, ["few-portals"]),
])  # fmt: skip
def test_reasons_against_it(tools: Sequence[str], options: dict[str, str], codes: list[str]) -> None:
    host = San(tools=tools)
    with pytest.raises(Refused) as caught:
        do(host, **options)
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert host.changes == []


def test_no_paths_is_no_number() -> None:
    with pytest.raises(UsageError):
        do(San(), paths="0")
