"""The policy of an array that is in use: the way there and back, and what mdadm would refuse."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from builder.procedures.errors import Failed, Unproven
from builder.procedures.raid import Running, running
from builder.procedures.raid_policy import switch
from tests.support.fake_host import FakeHost
from tests.unit.procedures.test_network_xe import codes, do, undo

ON_DISK = {
    "bitmap": "Internal Bitmap : 8 sectors from superblock\n",
    "ppl": "            PPL : 2048 sectors at offset 16 sectors from superblock\n",
    "resync": "         Events : 19\n",
}


class Array(FakeHost):
    """An array of three disks, grown by the rules of mdadm's Grow.c: one change a call, never a bitmap and partial
    parity logs together."""

    QUESTIONS = (*FakeHost.QUESTIONS, "mdadm --detail", "mdadm --examine", "mdadm --wait")

    def __init__(self, policy: str = "bitmap", *, level: int = 5, version: str = "1.2", mdstat: str = "[3/3] [UUU]",
                 dialect: str = "xl") -> None:  # fmt: skip
        self.policy, self.level, self.version, self.mdstat = policy, level, version, mdstat
        super().__init__({
            "mdadm --detail": lambda _: self._detail(),
            "mdadm --examine": lambda _: ON_DISK.get(self.policy, ""),
            "mdadm --wait": 1,
            "mdadm --grow": lambda argv: self._grow(argv[2:-1]),
            "cat /proc/mdstat": lambda _: f"md0 : active raid5 sdb[0] sdc[1]\n   9 blocks {self.mdstat}\n",
            "cat /sys/block/md0/md/consistency_policy": lambda _: f"{self.policy}\n",
        }, dialect=dialect)  # fmt: skip

    def _detail(self) -> str | int:
        rows = "".join(f"       {n}       8       {n}        {n}      active sync   /dev/sd{c}\n"
                       for n, c in enumerate("bcd"))  # fmt: skip
        return (
            f"Version : {self.version}\nRaid Level : raid{self.level}\nConsistency Policy : {self.policy}\n{rows}"
            if (self.policy)
            else 4
        )

    def _grow(self, words: Sequence[str]) -> str | int:
        if "--bitmap=none" in words or "--bitmap=internal" in words:  # whatever else is asked for is passed over
            wanted = "resync" if "--bitmap=none" in words else "bitmap"
            if {self.policy, wanted} != {"resync", "bitmap"}:
                return 1
        else:
            wanted = words[0].removeprefix("--consistency-policy=")
            if {self.policy, wanted} != {"resync", "ppl"} or self.level != 5:
                return 1
        self.policy = wanted
        return ""


@pytest.mark.parametrize("dialect", ["xl", "xe"])
@pytest.mark.parametrize("before", ["resync", "bitmap", "ppl"])
@pytest.mark.parametrize("wanted", ["resync", "bitmap", "ppl"])
def test_a_policy_is_changed_and_brought_back(before: str, wanted: str, dialect: str) -> None:
    host = Array(before, dialect=dialect)
    assert do(host, "raid-policy", policy=wanted).result == ("unchanged" if before == wanted else "applied")
    assert host.policy == wanted
    again = do(host, "raid-policy", policy=wanted)
    assert again.result == "unchanged" and all(each.ok for each in again.evidence)
    assert undo(host, "raid-policy").result == ("nothing" if before == wanted else "undone")
    assert host.policy == before


def test_each_call_changes_one_thing() -> None:
    calls = [str(action) for action in switch("/dev/md0", "bitmap", "ppl")]
    assert calls == ["mdadm --grow --bitmap=none /dev/md0", "mdadm --grow --consistency-policy=ppl /dev/md0"]
    assert switch("/dev/md0", "ppl", "ppl") == ()


@pytest.mark.parametrize(
    ("array", "wanted", "expected"),
    [
        (Array(""), "ppl", ["no-array"]),
        (Array("journal", level=6), "resync", ["journal"]),
        (Array(level=6), "ppl", ["level"]),
        (Array(level=10), "ppl", ["level"]),
        (Array(version="0.90"), "ppl", ["metadata"]),
        (Array(mdstat="[3/2] [UU_]"), "resync", ["degraded"]),
        (Array(mdstat="[3/3] [UUU]\n      [>....]  resync =  0.1% (1/9)"), "ppl", ["busy"]),
        (Array(mdstat="[3/2] [UU_]\n      [>....]  recovery = 12.6% (1/9)"), "ppl", ["busy"]),
        (Array(mdstat="[3/3] [UUU]\n      \tresync=DELAYED"), "ppl", ["busy"]),
    ],
)
def test_what_mdadm_would_refuse_is_refused_before(array: Array, wanted: str, expected: list[str]) -> None:
    assert codes(array, "raid-policy", policy=wanted) == expected


def test_an_array_at_work_is_waited_for_when_its_policy_is_brought_back() -> None:
    host = Array()
    do(host, "raid-policy", policy="ppl")
    host.mdstat = "[3/3] [UUU]\n      [==>..]  check = 41.0% (4/9)"
    undone = undo(host, "raid-policy")
    assert undone.actions[0] == "mdadm --wait /dev/md0" and host.policy == "bitmap"


def test_half_a_change_is_brought_back() -> None:
    """The kernel would not take the logs: the array has no policy then, and undo gives it its bitmap."""
    host = Array()
    grow = host.answers["mdadm --grow"]
    host.answers["mdadm --grow --consistency-policy=ppl"] = 1
    with pytest.raises(Failed, match="done: mdadm --grow --bitmap=none"):
        do(host, "raid-policy", policy="ppl")
    assert host.policy == "resync"
    host.answers["mdadm --grow --consistency-policy=ppl"] = grow
    assert undo(host, "raid-policy").result == "undone"
    assert host.policy == "bitmap"


def test_disks_that_say_something_else_for_the_next_start_are_told() -> None:
    host = Array("ppl")
    host.answers["mdadm --examine"] = ON_DISK["resync"]
    with pytest.raises(Unproven, match=r"is set up, but its effect is not there:\n  what its disks say .* seen resync"):
        do(host, "raid-policy", policy="ppl")


def test_what_the_kernel_says_of_arrays_is_read() -> None:
    text = """\
Personalities : [raid1] [raid6] [raid5] [raid4]
md0 : active raid5 sde[2] sdd[1] sdc[0]
      1953260544 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/3] [UUU]
      bitmap: 0/8 pages [0KB], 65536KB chunk

md1 : active (auto-read-only) raid1 sdg[1]
      1046528 blocks super 1.2 [2/1] [_U]
      [=>...................]  recovery =  9.8% (103424/1046528) finish=0.7min speed=20684K/sec

md127 : inactive sdb[1](S) sda[0](S)
      976762432 blocks super 1.0

unused devices: <none>
"""
    found = running(FakeHost({"cat /proc/mdstat": text}))
    assert found == {
        "md0": Running(state="active", wanted=3, in_step=3),
        "md1": Running(state="active", wanted=2, in_step=1, doing="recovery = 9.8%"),
        "md127": Running(state="inactive"),
    }
    assert [array.well for array in found.values()] == [True, False, False]
    assert running(FakeHost({})) == {}
