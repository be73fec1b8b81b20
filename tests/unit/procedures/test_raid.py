"""Software RAID: what is refused, what is advised, which commands; files that disagree with the disks are named."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.procedures import load_procedure
from builder.procedures.api import steps
from builder.procedures.options import parse_options
from builder.procedures.raid import carriers, examined, members, mismatches, with_array, without_array
from builder.procedures.raid_disks import Disk, look_at
from builder.procedures.raid_storage import RaidState
from tests.support.fake_host import FakeHost

PROCEDURE = load_procedure("raid-storage")
XL: Any = PROCEDURE.ways["xl"]
XE: Any = PROCEDURE.ways["xe"]
UUID = "53461f34:2414371e:820f9514:008b6458"
OTHER = "09871a29:26fa7ce1:0c9b040a:60f5cabf"


def asked(**options: str) -> Any:
    return parse_options(PROCEDURE, {"level": "5", "disks": "sdb,sdc,sdd", **options})


def state(**changes: object) -> RaidState:
    made: RaidState = XL.sample.model_copy(update=changes)
    return made


def disks(*holds: str, size: int = 10**12, sector: int = 512) -> tuple[Disk, ...]:
    return tuple(Disk(path=f"/dev/sd{'bcdefgh'[n]}", size=size, sector=sector, holds=h) for n, h in enumerate(holds))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["--level=5", "--bitmap=internal", "--raid-devices=3"]),
        ({"level": "1", "disks": "sdb,sdc"}, ["--level=1", "--raid-devices=2"]),
        ({"level": "6", "disks": "sdb,sdc,sdd,sde"}, ["--level=6", "--raid-devices=4"]),
        ({"level": "10", "disks": "sdb,sdc"}, ["--level=10", "--raid-devices=2"]),
        ({"level": "10"}, ["--level=10", "--raid-devices=3"]),
        ({"policy": "ppl"}, ["--consistency-policy=ppl"]),
        ({"policy": "resync"}, ["--bitmap=none"]),
        ({"policy": "journal", "journal": "nvme0n1"}, ["--write-journal=/dev/nvme0n1"]),
        ({"clean": "true"}, ["--assume-clean"]),
        (
            {"array": "md3", "disks": "/dev/disk/by-id/a,sdc1,nvme0n1"},
            ["/dev/md3", "/dev/disk/by-id/a", "/dev/nvme0n1"],
        ),
    ],
)
def test_the_array_is_made_as_asked(options: dict[str, str], words: list[str]) -> None:
    create = steps(XL.actions(state(), asked(**options)))[0].split()
    assert create[:2] == ["mdadm", "--create"] and "--metadata=1.2" in create and f"--uuid={UUID}" in create
    assert [word for word in words if word not in create] == []
    assert ("--assume-clean" in create) == ("clean" in options)
    assert ("--bitmap=internal" in create) == ("policy" not in options)


@pytest.mark.parametrize(
    ("options", "changes", "codes"),
    [
        ({"disks": "sdb,sdc"}, {}, ["too-few"]),
        ({"level": "6"}, {}, ["too-few"]),
        ({"disks": "sdb,/dev/sdb,sdc"}, {}, ["twice"]),
        ({"level": "6", "disks": "sdb,sdc,sdd,sde", "policy": "ppl"}, {}, ["policy"]),
        ({"level": "1", "policy": "journal", "journal": "sde"}, {}, ["policy"]),
        ({"policy": "journal"}, {}, ["policy"]),
        ({"policy": "journal", "journal": "sdb"}, {}, ["twice"]),
        ({}, {"disks": disks("", "ext4", "linux_raid_member part")}, ["not-empty", "not-empty"]),
        ({}, {"disks": disks("", "mounted:/srv", "absent")}, ["not-empty", "no-disk"]),
        ({}, {"disks": (*disks("", ""), *disks("", sector=4096))}, ["sectors"]),
        ({"clean": "true"}, {"not_zero": ("/dev/sdc",)}, ["not-zero"]),
        ({"disks": "sdb"}, {"disks": disks("ext4")}, ["too-few", "not-empty"]),
        ({}, {"array": OTHER, "level": "raid1"}, ["other-array"]),
        ({}, {"array": OTHER, "level": "raid5", "policy": "bitmap"}, []),
        ({}, {"array": OTHER, "level": "raid5", "policy": "ppl"}, ["other-policy"]),
        ({}, {"array": OTHER, "level": "raid0", "inactive": True}, []),
        ({}, {"array": OTHER, "level": "raid5", "version": "1.0"}, []),
        ({}, {"array": OTHER, "level": "raid5", "version": "0.90"}, ["old-metadata"]),
        ({}, {"dracut": 'add_drivers+=" raid1\n'}, ["broken-quote"]),
        ({}, {"array": OTHER, "level": "raid5", "dracut": with_array("", "/dev/md0", OTHER)[:-2]}, ["broken-quote"]),
    ],
)
def test_nothing_is_overwritten(options: dict[str, str], changes: dict[str, object], codes: list[str]) -> None:
    assert [refusal.code for refusal in XL.refusals(state(**changes), asked(**options))] == codes


def test_xcp_ng_takes_no_disks_of_4096_bytes() -> None:
    four = disks("", "", "", sector=4096)
    assert XL.refusals(state(disks=four), asked()) == ()
    assert [r.code for r in XE.refusals(state(disks=four, dracut=""), asked())] == ["sectors"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"disks": "a,b,c,d"}, "2, 4 or 8 disks of data: here are 3"),
        ({"level": "6", "disks": "a,b,c,d,e"}, "here are 3"),
        ({"level": "10"}, "odd number"),
        ({}, ""),
        ({"level": "6", "disks": "a,b,c,d"}, ""),
    ],
)
def test_the_number_of_disks_is_advised_on(options: dict[str, str], words: str) -> None:
    told = " ".join(XL.advice(state(), asked(**options)))
    assert words in told and bool(told) == bool(words)


def test_disks_of_several_sizes_are_advised_on() -> None:
    assert "partitions=true keeps the rest" in XL.advice(state(disks=(*disks(""), *disks("", "", size=1))), asked())[0]


@pytest.mark.parametrize(
    ("way", "made"),
    [
        (XL, "sh -c 'printf '\"'\"'label: gpt"),
        (XE, "sgdisk --new=1:0:+1021M --typecode=1:fd00 --change-name=1:nestlab-md0 /dev/sdb"),
    ],
    ids=["xl", "xe"],
)
def test_partitions_are_as_large_as_the_smallest_disk_allows(way: Any, made: str) -> None:
    three = (*disks("", size=1 << 30), *disks("", "", size=(1 << 30) - 1)[1:], *disks("", "", "", size=1 << 40)[2:])
    before = way.sample.model_copy(update={"disks": three})
    wanted = asked(partitions="true", disks="sdb,nvme0n1,/dev/disk/by-id/wwn-0x5")
    done = steps(way.actions(before, wanted))
    assert done[0].startswith(made) and done[3] == "udevadm settle --timeout=30"
    assert all(f"1021{'M' if way is XE else ' '}" in line for line in done[:3])
    assert done[4].endswith("--raid-devices=3 /dev/sdb1 /dev/nvme0n1p1 /dev/disk/by-id/wwn-0x5-part1")
    parts = ("/dev/sdc1", "/dev/sdd1", "/dev/nvme0n1p1")
    now = before.model_copy(update={"array": UUID, "members": parts, "parts": ("nvme0n1", "sdc", "sdd")})
    undone = steps(way.undo(now, before, wanted))
    assert undone[2] == f"mdadm --zero-superblock {' '.join(parts)}" and undone[3].endswith(
        f"' sh {way.table} nestlab-md0"
    )
    half = before.model_copy(update={"parts": ("sdb",)})  # the second disk would not take it
    assert [line.rpartition(" ")[2] for line in steps(way.undo(half, before, wanted))] == ["nestlab-md0"]


def test_disks_are_told_apart_by_what_they_hold() -> None:
    said = "/dev/sdb 512 512 disk \n/dev/sdc 512 512 disk ext2 \n/dev/sdd1 512 512 part mounted:LVM2_member lvm\n"
    found = look_at(FakeHost({"sh -c": f"{said}/dev/sdz - - - absent\n"}), ["any"])
    assert [(disk.path, disk.kind, disk.holds) for disk in found] == [
        ("/dev/sdb", "disk", ""), ("/dev/sdc", "disk", "ext2"), ("/dev/sdd1", "part", "mounted:LVM2_member lvm"),
        ("/dev/sdz", "disk", "absent"),
    ]  # fmt: skip


def test_only_whole_disks_are_divided() -> None:
    some = tuple(disk.model_copy(update={"kind": "part"}) if disk.path == "/dev/sdc" else disk
                 for disk in disks("", "", ""))  # fmt: skip
    assert [r.message for r in XL.refusals(state(disks=some), asked(partitions="true"))] == [
        "/dev/sdc is no disk, it is a part"
    ]
    assert XL.refusals(state(disks=some), asked()) == ()


def test_an_array_that_is_there_is_only_made_lasting() -> None:
    done = steps(XL.actions(state(array=OTHER, level="raid5", config="AUTO +all\n"), asked()))
    config = f"AUTO +all\n    ARRAY /dev/md0 metadata=1.2 UUID={OTHER}"
    assert done == [f"write /etc/mdadm/mdadm.conf:\n    {config}", "update-initramfs -u"]
    line = f"ARRAY /dev/md0 metadata=1.2 UUID={OTHER}"
    assert XL.actions(state(array=OTHER, level="raid5", line=line, config=line), asked()) == ()
    assert "metadata=1.0 UUID" in steps(XL.actions(state(array=OTHER, level="raid5", version="1.0"), asked()))[0]


def test_an_array_that_was_put_together_but_not_started_is_started() -> None:
    assert steps(XL.actions(state(inactive=True), asked())) == ["mdadm --run /dev/md0"]
    line = f"ARRAY /dev/md0 metadata=1.2 UUID={OTHER}"
    known = XE.sample.model_copy(update={"inactive": True, "array": OTHER, "version": "1.2", "line": line})
    done = steps(XE.actions(known, asked()))
    assert done[0] == "mdadm --run /dev/md0" and f"rd.md.uuid={OTHER} " in done[1] and len(done) == 3
    assert XL.refusals(state(inactive=True, disks=disks("linux_raid_member")), asked()) == ()


@pytest.mark.parametrize("way", [XL, XE], ids=["xl", "xe"])
def test_undone_the_disks_and_files_are_as_before(way: Any) -> None:
    before = way.sample.model_copy(update={"config": "MAILADDR root\n"})
    line = f"ARRAY /dev/md0 metadata=1.2 UUID={UUID}"
    dracut = None if before.dracut is None else with_array("", "/dev/md0", UUID)
    now = before.model_copy(
        update={
            "array": UUID,
            "line": line,
            "config": f"MAILADDR root\n{line}\n",
            "dracut": dracut,
            "members": ("/dev/sdc", "/dev/sdd", "/dev/sdh"),
        }
    )
    done = steps(way.undo(now, before, asked()))
    assert done[0].startswith("sh -c 'found=$(wipefs -n -p ") and done[0].endswith(" sh /dev/md0")
    assert done[1:3] == ["mdadm --stop /dev/md0", "mdadm --zero-superblock /dev/sdc /dev/sdd /dev/sdh"]
    assert done[3].endswith("mdadm.conf:\n    MAILADDR root")
    assert ("rm -f -- /etc/dracut.conf.d/dracut_mdraid.conf" in done) == (way is XE)
    assert way.undo(before, before, asked()) == ()


LINE = f"ARRAY /dev/md0 metadata=1.2 UUID={UUID}"
STOP = "mdadm --stop /dev/md0"


def unmade(**changes: object) -> list[str]:
    """What is done to the array and its disks, before the files are brought back; its check for content by its name."""
    now = state(line=LINE, config=LINE, **changes)
    done = steps(XL.undo(now, state(uuid=UUID), asked()))
    assert done[-2:] == ["rm -f -- /etc/mdadm/mdadm.conf", "update-initramfs -u"]
    return ["empty?" if line.startswith("sh -c 'found=$(wipefs ") else line for line in done[:-2]]


def test_an_array_that_does_not_run_is_looked_into_and_its_disks_forget_it_too() -> None:
    """Its superblocks would have it put together again at the next start."""
    together = "mdadm --assemble /dev/md0 --readonly --run /dev/sdc /dev/sdd"
    gone = ["empty?", STOP, "mdadm --zero-superblock /dev/sdc /dev/sdd"]
    marked = {UUID: ("/dev/sdc", "/dev/sdd"), OTHER: ("/dev/sdf",)}
    assert unmade(marked=marked) == [together, *gone]
    assert unmade(marked=marked, inactive=True) == [STOP, together, *gone]
    # mdadm tells the UUID of one that was put together and not started, and its device has no content then
    known = {"array": UUID, "inactive": True, "members": ("/dev/sdc", "/dev/sdd")}
    assert unmade(marked=marked, **known) == [STOP, together, *gone]
    assert unmade(marked={OTHER: ("/dev/sdf",)}) == []


def test_a_disk_that_the_array_has_lost_forgets_it_too() -> None:
    now = {"array": UUID, "members": ("/dev/sdc",), "marked": {UUID: ("/dev/sdb", "/dev/sdc")}}
    assert unmade(**now) == ["empty?", STOP, "mdadm --zero-superblock /dev/sdc /dev/sdb"]


def test_a_first_run_that_failed_leaves_the_uuid_of_the_second_in_mdadms_file() -> None:
    line = f"ARRAY /dev/md0 metadata=1.2 UUID={OTHER} name=dom0:0"
    done = steps(XL.undo(state(line=line, config=line, marked={OTHER: ("/dev/sdc",)}), state(), asked()))
    assert "mdadm --zero-superblock /dev/sdc" in done


@pytest.mark.parametrize("before", [{"array": UUID}, {"inactive": True}])
def test_an_array_that_was_there_before_keeps_its_disks(before: dict[str, object]) -> None:
    now = state(array=UUID, members=("/dev/sdc",), marked={UUID: ("/dev/sdc",)}, line=LINE, config=LINE)
    assert not [line for line in steps(XL.undo(now, state(**before), asked())) if line.startswith("mdadm")]


@pytest.mark.parametrize(("uuid", "left"), [(UUID, "/dev/sdc, /dev/sdd, /dev/sdb, /dev/sde"), (OTHER[::-1], "none")])
def test_undone_no_disk_says_that_it_is_of_the_array(uuid: str, left: str) -> None:
    answers: Any = {"mdadm --detail": 1, "mdadm --examine": SCANNED, "cat /proc/mdstat": "", "sh -c": ""}
    host: Any = FakeHost(answers, {"/proc/sys/kernel/random/uuid": "53461f34-2414-371e-820f-9514008b6458\n"})
    found = {each.what: each for each in XL.check_undone(None, host, state(uuid=uuid), asked())}
    seen = found["disks that say they are of the array"]
    assert (seen.seen, seen.ok) == (left, left == "none")


DETAIL = """\
/dev/md0:
           Version : 1.2
        Raid Level : raid5
     Total Devices : 3
              UUID : 53461f34:2414371e:820f9514:008b6458

    Number   Major   Minor   RaidDevice State
       0       8       32        0      active sync   /dev/sdc
       3       8      112        1      spare rebuilding   /dev/sdh
       -       0        0        2      removed

       4       8       64        -      journal   /dev/disk/by-id/wwn-0x5
"""


def test_disks_are_those_that_the_array_has_now() -> None:
    """Names change between starts: what is cleared afterwards is what mdadm says, not what was asked for once."""
    assert members(DETAIL) == ("/dev/sdc", "/dev/sdh", "/dev/disk/by-id/wwn-0x5")


# As brief_examine_super1() and Examine() of mdadm print it.
SCANNED = f"""\
ARRAY /dev/md/0  level=raid5 metadata=1.2 num-devices=3 UUID={UUID} name=dom0:0
   spares=1   devices=/dev/sdc,/dev/sdd,/dev/sdb,/dev/sde
ARRAY /dev/md/127  level=raid1 metadata=1.0 num-devices=2 UUID={OTHER} name=localhost:127
   devices=/dev/sdf,/dev/sdg
"""


def test_a_disk_that_has_come_back_is_taken_in_again() -> None:
    assert carriers(SCANNED, UUID) == ("/dev/sdc", "/dev/sdd", "/dev/sdb", "/dev/sde")
    assert carriers(SCANNED, OTHER) == ("/dev/sdf", "/dev/sdg")
    assert carriers(SCANNED, UUID.replace("5", "6")) == ()
    assert examined(SCANNED) == {"/dev/md0": UUID, "/dev/md127": OTHER}
    line = f"ARRAY /dev/md0 metadata=1.2 UUID={UUID}"
    there = {"array": UUID, "level": "raid5", "line": line, "config": line}
    assert steps(XL.actions(state(**there, lost=("/dev/sdb",)), asked())) == ["mdadm /dev/md0 --add /dev/sdb"]


def look(
    detail: str, mdstat: str = "md0 : active raid5 sdc[0] sdd[1]\n      2093056 blocks [3/2] [UU_]\n"
) -> RaidState:
    """What is seen of a host whose array md0 has these disks."""
    answers = {
        "mdadm --detail /dev/md0": detail,
        "mdadm --examine": SCANNED,
        "cat /proc/mdstat": mdstat,
    }
    host = FakeHost(answers, {"/proc/sys/kernel/random/uuid": "53461f34-2414-371e-820f-9514008b6458\n"})
    seen: RaidState = XL.look(host, asked())
    return seen


@pytest.mark.parametrize(("said", "lost"), [("clean, degraded", ("/dev/sdb", "/dev/sde")), ("clean", ()),
                                            ("clean, FAILED", ())])  # fmt: skip
def test_only_an_array_that_lacks_a_disk_and_runs_is_given_one(said: str, lost: tuple[str, ...]) -> None:
    """To one that has failed nothing is added: its disks may be all that is left of what was on it."""
    rows = "       0       8       32        0      active sync   /dev/sdc\n" \
           "       1       8       48        1      active sync   /dev/sdd\n"  # fmt: skip
    seen = look(f"        Raid Level : raid5\n             State : {said} \n              UUID : {UUID}\n{rows}")
    assert (seen.array, seen.members, seen.lost) == (UUID, ("/dev/sdc", "/dev/sdd"), lost)
    assert seen.marked == {UUID: ("/dev/sdc", "/dev/sdd", "/dev/sdb", "/dev/sde"), OTHER: ("/dev/sdf", "/dev/sdg")}


def test_what_other_arrays_have_in_dracuts_settings_stays() -> None:
    both = with_array(with_array("", "/dev/md0", UUID), "/dev/md1", OTHER)
    assert without_array(both, "/dev/md0", UUID) == with_array("", "/dev/md1", OTHER)
    assert without_array(with_array("", "/dev/md0", UUID), "/dev/md0", UUID) == ""
    mine = 'add_drivers+=" raid1 "\n'
    assert without_array(with_array(mine, "/dev/md0", UUID), "/dev/md0", UUID, keep=mine) == mine
    before = with_array("", "/dev/md0", UUID)
    assert without_array(both, "/dev/md0", UUID, keep=before) == both


def test_dracuts_settings_are_brought_back_when_mdadms_were_right_already() -> None:
    line = f"ARRAY /dev/md0 metadata=1.2 UUID={UUID}"
    before = XE.sample.model_copy(update={"array": UUID, "line": line, "config": line, "level": "raid5"})
    done = XE.actions(before, asked())
    assert steps(done)[0].partition(":")[0] == "write /etc/dracut.conf.d/dracut_mdraid.conf"
    undone = XE.undo(before.model_copy(update={"dracut": done[0].content}), before, asked())
    assert steps(undone)[0] == "rm -f -- /etc/dracut.conf.d/dracut_mdraid.conf" and len(undone) == 2


def test_a_second_array_keeps_the_first_ones_lines() -> None:
    text = with_array(with_array("", "/dev/md0", UUID), "/dev/md1", OTHER)
    assert text.count("add_dracutmodules") == 1
    for node, uuid in (("/dev/md0", UUID), ("/dev/md1", OTHER)):
        assert f'add_device+=" {node} "\n' in text and f'kernel_cmdline+=" rd.md.uuid={uuid} "\n' in text


def test_each_disagreement_is_named() -> None:
    found = examined(f"ARRAY /dev/md/0  metadata=1.2 UUID={UUID} name=XCP-ng:0\n")
    assert found == {"/dev/md0": UUID}
    wrong = UUID.replace("5346", "5364")
    dracut = f'add_drivers+=" raid1\nadd_device+="/dev/md0"\nkernel_cmdline+=" rd.md.uuid={wrong} "\n'
    told = mismatches(f"ARRAY /dev/md0 metadata=1.2 UUID={wrong}\n", dracut, found)
    assert len(told) == 4
    assert told[0] == f"mdadm.conf names /dev/md0 with UUID {wrong}, which no disk has"
    assert "line 1: a quote is not closed" in told[1]
    assert "line 2: spaces are missing" in told[2]
    assert told[3] == f"dracut's settings ask for an array with UUID {wrong}, which no disk has"
    good = with_array("", "/dev/md0", UUID)
    assert mismatches(f"ARRAY /dev/md0 UUID={UUID}\n", good, found) == []


def dracut_reads(text: str, path: Path) -> str:
    """What bash, in which dracut is written, makes of its settings."""
    path.write_text(text)
    done = subprocess.run(["bash", "-c", '. "$1"; echo "[$add_device][$kernel_cmdline]"', "bash", path],
                          capture_output=True, text=True, check=False)  # fmt: skip
    return done.stdout


def test_an_open_quote_takes_in_what_is_added_below_it(tmp_path: Path) -> None:
    """Why such a file is refused, and not just added to."""
    good = with_array('add_drivers+=" raid1 "\n', "/dev/md0", UUID)
    assert dracut_reads(good, tmp_path / "good.conf") == f"[ /dev/md0 ][ rd.md.uuid={UUID} ]\n"
    broken = with_array('add_drivers+=" raid1\n', "/dev/md0", UUID)
    assert "/dev/md0 ]" not in dracut_reads(broken, tmp_path / "broken.conf")
    refused = XE.refusals(XE.sample.model_copy(update={"dracut": broken}), asked())
    assert [each.code for each in refused] == ["broken-quote"] and "line 1: a quote" in refused[0].message
