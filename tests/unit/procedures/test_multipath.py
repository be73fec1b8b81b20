"""Paths to the disks of a target: made, counted, cut and taken apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from builder.errors import UsageError
from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.multipath import PATH, SETTINGS, _whole
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


def taken(portal: str) -> str:
    """What open-iscsi's str_to_ipport() reads out of a portal, as its session_info_print_flat() prints that: one
    without a dot in brackets."""
    address, port = portal, "3260"
    if "." in portal or (not portal.startswith("[") and portal.count(":") == 1):
        address, _, port = portal.partition(":")
    elif portal.startswith("["):
        address, _, port = portal[1:].partition("]")
    shown = address if "." in address else f"[{address}]"
    return f"{shown}:{port.removeprefix(':') or '3260'}"


class San(FakeHost):
    """A host with two cards to a target of two disks. A network that is cut makes its paths fail."""

    QUESTIONS = (*FakeHost.QUESTIONS, "iscsiadm -m session", "multipathd show")

    def __init__(
        self, *, tools: Sequence[str] = ("multipathd", "iscsiadm"), disks: Sequence[str] = ("w1", "w2")
    ) -> None:
        self.tools, self.disks = tools, disks
        self.sessions: set[str] = set()
        self.records: dict[str, str] = {}
        self.enabled = True
        self.dead: set[str] = set()
        self.maps: set[str] = set()
        self.silent, self.used, self.takes, self.lossy = "", "", True, 0
        self.told = [f"{A}:3260", f"{B}:3260"]
        super().__init__({
            "sh -c": self._shell,
            "iscsiadm -m session": lambda _: "".join(
                f"tcp: [{n}] {portal},1 {TARGET} (non-flash)\n" for n, portal in enumerate(sorted(self.sessions)))
            if self.sessions else 21,
            "iscsiadm -m discovery": self._discovery,
            "iscsiadm -m node": self._node,
            "mkdir -p": "",
            "systemctl -q is-enabled multipathd": lambda _: "" if self.enabled else 1,
            "systemctl enable --now multipathd": lambda _: self._enable(True),
            "systemctl disable multipathd": lambda _: self._enable(False),
            "multipathd reconfigure": "",
            "multipathd show paths": lambda _: self._paths(),
            "multipathd show config": CONFIG,
            "multipath -f": lambda argv: 1 if argv[2] == self.used else "",
        })  # fmt: skip

    @property
    def automatic(self) -> set[str]:
        return {portal for portal, startup in self.records.items() if startup == "automatic"}

    def _enable(self, enabled: bool) -> str:
        self.enabled = enabled
        return ""

    def _discovery(self, argv: Sequence[str]) -> str | int:
        """As open-iscsi's exec_disc_op_on_recs() does it: the target tells all its portals, and without `-o new` what
        is known of them is written over."""
        if argv[-1] == self.silent:
            return 4
        told = dict.fromkeys(self.told, "manual")
        self.records = {**told, **self.records} if tuple(argv[5:7]) == ("-o", "new") else {**self.records, **told}
        return "".join(f"{portal},1 {TARGET}\n" for portal in self.told)

    def _node(self, argv: Sequence[str]) -> str | int:
        portal = taken(argv[argv.index("-p") + 1])
        if portal not in self.records:
            return 21
        if "--login" in argv:
            self.sessions.add(portal)
        elif "--logout" in argv:
            self.sessions.discard(portal)
        elif "delete" in argv:
            del self.records[portal]
        else:
            assert tuple(argv[-4:-1]) == ("-n", "node.startup", "-v")
            self.records[portal] = argv[-1]
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
        if "^node.startup = " in script:
            # as `grep -H` shows what idbm_print() of open-iscsi writes; the folders are named by idbm_rec_write()
            rows = ((*portal.rpartition(":")[::2], startup) for portal, startup in sorted(self.records.items()))
            return "".join(f"/etc/iscsi/nodes/{TARGET}/{at.strip('[]')},{port},1/default:node.startup = {startup}\n"
                           for at, port, startup in rows)  # fmt: skip
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
    assert done.result == "applied" and [each.seen for each in done.evidence] == ["2", "2", "True", "True"]
    assert host.sessions == host.automatic == {f"{A}:3260", f"{B}:3260"}
    assert host.files[PATH].decode() == SETTINGS
    host.changes.clear()
    assert (do(host).result, host.changes) == ("unchanged", [])
    assert undo(host).result == "undone"
    assert (host.sessions, host.records, PATH in host.files) == (set(), {}, False)


def test_sessions_of_others_stay() -> None:
    host = San()
    host.sessions, host.records = {f"{A}:3260"}, {f"{A}:3260": "automatic"}
    done = do(host)
    assert not [line for line in done.actions if line.startswith("iscsiadm") and A in line]
    assert host.automatic == {f"{A}:3260", f"{B}:3260"}
    assert undo(host).result == "undone"
    assert host.sessions == host.automatic == {f"{A}:3260"}


@pytest.mark.parametrize(("sessions", "records"), [
    ({f"{A}:3260"}, {f"{A}:3260": "manual"}),  # in use, and not begun with the host
    (set(), {f"{A}:3260": "automatic"}),  # begun with the host, and down
    (set(), {f"{A}:3260": "onboot", f"{B}:3260": "manual"}),  # known, and neither
    ({f"{A}:3260", f"{B}:3260"}, {f"{A}:3260": "manual", f"{B}:3260": "automatic"}),
])  # fmt: skip
def test_what_was_half_there_is_so_again(sessions: set[str], records: dict[str, str]) -> None:
    host = San()
    host.sessions, host.records, host.enabled = set(sessions), dict(records), False
    assert do(host).result == "applied"
    assert host.sessions == host.automatic == {f"{A}:3260", f"{B}:3260"} and host.enabled
    host.changes.clear()
    assert (do(host).result, host.changes) == ("unchanged", [])
    assert undo(host).result == "undone"
    assert (host.sessions, host.records, host.enabled) == (sessions, records, False)


def test_a_portal_that_the_target_told_and_nobody_asked_for_is_forgotten_too() -> None:
    host = San()
    host.told.append("10.40.3.1:3260")
    do(host)
    assert host.records["10.40.3.1:3260"] == "manual"
    assert undo(host).result == "undone"
    assert (host.sessions, host.records) == (set(), {})


def test_multipathd_that_was_begun_with_the_host_still_is() -> None:
    host = San()
    do(host)
    host.enabled = False  # somebody, meanwhile
    assert do(host).result == "applied" and host.enabled
    assert undo(host).result == "undone" and host.enabled


def test_an_older_journal_is_undone_by_what_it_has() -> None:
    """Written before node.startup and the service were kept."""
    host = San()
    host.sessions, host.records = {f"{A}:3260"}, {f"{A}:3260": "manual"}
    do(host)
    journal = next(path for path in host.files if path.endswith("/multipath.json"))
    record = json.loads(host.files[journal])
    del record["before"]["records"], record["before"]["enabled"]
    host.write(journal, json.dumps(record).encode())
    assert undo(host).result == "undone"
    assert (host.sessions, host.records, host.enabled) == ({f"{A}:3260"}, {f"{A}:3260": "manual"}, True)


def test_records_that_stay_or_are_changed_are_told() -> None:
    host = San()
    host.records = {f"{A}:3260": "onboot"}
    do(host)
    host.answers["iscsiadm -m node"] = ""
    host.sessions.clear()
    with pytest.raises(Unproven) as caught:
        undo(host)
    said = str(caught.value)
    assert f"records that were not there before: expected none, seen {B}:3260 {TARGET}" in said
    assert f"expected {A}:3260 {TARGET} onboot, seen {A}:3260 {TARGET} automatic" in said


@pytest.mark.parametrize("portals", ["fd00:40:1::1,fd00:40:2::1", "[fd00:40:1::1],[fd00:40:2::1]:3260",
                                     "FD00:40:1:0::1,fd00:40:2:0:0:0:0:1"])  # fmt: skip
def test_portals_of_ipv6_are_known_again(portals: str) -> None:
    host = San()
    host.told = ["[fd00:40:1::1]:3260", "[fd00:40:2::1]:3260"]
    assert do(host, portals=portals).result == "applied"
    assert host.sessions == host.automatic == set(host.told)
    host.changes.clear()
    assert (do(host, portals=portals).result, host.changes) == ("unchanged", [])
    assert undo(host).result == "undone"
    assert (host.sessions, host.records) == (set(), {})


@pytest.mark.parametrize(("portal", "whole"), [
    (A, f"{A}:3260"), (f"{A}:3261", f"{A}:3261"), ("san.example:3261", "san.example:3261"), ("san", "san:3260"),
    ("fd00::1", "[fd00::1]:3260"), ("[fd00::1]:3261", "[fd00::1]:3261"), ("[FD00:0::1]", "[fd00::1]:3260"),
])  # fmt: skip
def test_a_portal_is_written_in_one_way(portal: str, whole: str) -> None:
    assert _whole(portal) == whole and _whole(whole) == whole


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


def test_sessions_to_another_target_that_were_begun_since_stay() -> None:
    """Its disks may be in use, and iscsiadm does not ask."""
    host = San()
    do(host)
    ours, theirs = (
        host.answers["iscsiadm -m session"],
        f"tcp: [9] {A}9:3260,1 iqn.2005-10.org.freenas.ctl:vm (non-flash)\n",
    )
    host.answers["iscsiadm -m session"] = lambda argv: (
        (cast(Any, ours)(argv) or "") + theirs if host.sessions else theirs
    )
    undone = undo(host)
    assert undone.result == "undone" and not [line for line in undone.actions if "freenas" in line]
    assert host.sessions == set() and any(f"iqn.2024-07.internal.nestlab:san -p {A}:3260 --logout" in line
                                          for line in undone.actions)  # fmt: skip


def test_names_of_maps_of_other_makes_are_their_owners() -> None:
    """In `defaults` it would give each map of the host another name, and what is mounted is not found."""
    defaults, _, device = SETTINGS.partition("devices {")
    assert "user_friendly_names" not in defaults and "user_friendly_names no" in device
