"""The files that start arrays, with their owner's settings in them: read as mdadm and dracut do, and brought back."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.procedures import load_procedure
from builder.procedures.api import Write, steps
from builder.procedures.options import parse_options
from builder.procedures.raid import about, broken_quotes, examined, mismatches, named, with_array, without_array
from builder.procedures.raid_sr import _NO_DISKS
from builder.procedures.raid_storage import RaidState
from tests.support.fake_host import FakeHost

PROCEDURE = load_procedure("raid-storage")
XL: Any = PROCEDURE.ways["xl"]
XE: Any = PROCEDURE.ways["xe"]
UUID = "53461f34:2414371e:820f9514:008b6458"
OTHER = "09871a29:26fa7ce1:0c9b040a:60f5cabf"
LINE = f"ARRAY /dev/md0 metadata=1.2 UUID={UUID}"
CONF = "/etc/mdadm/mdadm.conf"
# As Detail() of mdadm prints it.
DETAIL = f"""\
/dev/md0:
           Version : 1.2
        Raid Level : raid5
             State : clean
   Working Devices : 3

Consistency Policy : bitmap

              Name : XCP-ng:0
              UUID : {UUID}
            Events : 18

    Number   Major   Minor   RaidDevice State
       0       8       16        0      active sync   /dev/sdb
       1       8       32        1      active sync   /dev/sdc
       3       8       48        2      active sync   /dev/sdd
"""


def asked(**options: str) -> Any:
    return parse_options(PROCEDURE, {"level": "5", "disks": "sdb,sdc,sdd", **options})


def look(config: str, *, array: bool = True, **options: str) -> RaidState:
    """A host with this mdadm.conf, and an array of three disks."""
    host = FakeHost(
        {
            "mdadm --detail /dev/md0": DETAIL if array else 1,
            "mdadm --examine": "",
            "cat /proc/mdstat": "md0 : active raid5 sdb[0] sdc[1] sdd[3]\n   9 blocks [3/3] [UUU]\n" if array else "",
            "readlink -f /dev/disk/by-id/a": "/dev/sdb\n",
            "sh -c": "",
            "lsblk": "",
        },
        {CONF: config, "/proc/sys/kernel/random/uuid": "53461f34-2414-371e-820f-9514008b6458\n"},
    )
    seen: RaidState = XL.look(host, asked(**options))
    return seen


def config_of(actions: Any) -> str:
    return next(each.content for each in actions if isinstance(each, Write) and each.path == CONF)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (f"ARRAY /dev/md/0  metadata=1.2 UUID={UUID} name=XCP-ng:0", ""),  # mdadm --examine --scan, and Debian's mkconf
        (f"ARRAY /dev/md0 level=raid5\n   UUID={UUID}\n\tdevices=/dev/sdb,/dev/sdc", ""),
        (f"ARRAY /dev/md0 spares=1\n# its disks\n  UUID={UUID} spare-group='a b'", " spares=1 spare-group='a b'"),
        (f"array\tmd0 uuid={UUID.upper().replace(':', '')}  # ours", ""),
        (f"ARRAY /dev/md/store UUID={UUID}", ""),
        (f"ARRAY <ignore> UUID={UUID}", ""),
        (f"ARRAY /dev/md0 UUID={OTHER}\nARRAY /dev/md/0 UUID={UUID}", ""),
    ],
)  # fmt: skip
def test_what_its_owner_wrote_of_an_array_is_not_there_twice(told: str, kept: str) -> None:
    """mdadm starts an array that two lines are about not at all, nor any when two have one name."""
    config = f"MAILADDR root\n{told}\n# the rest\nARRAY /dev/md1 UUID={OTHER[::-1]}"
    before = look(config)
    assert before.line == told
    written = config_of(XL.actions(before, asked()))
    assert written == f"MAILADDR root\n# the rest\nARRAY /dev/md1 UUID={OTHER[::-1]}\n{LINE}{kept}\n"
    now = look(written)
    assert XL.actions(now, asked()) == ()
    assert config_of(XL.undo(now, before, asked())) == config
    later = look(f"{written}ARRAY /dev/md2 UUID={UUID[::-1]}\n")  # somebody else, meanwhile
    back = config_of(XL.undo(later, before, asked()))
    assert about(back, "/dev/md0", UUID) == told and "/dev/md2" in back and LINE not in back


def test_disks_that_mdadm_may_not_look_at_are_told() -> None:
    """ "/dev/sdd not permitted by mdadm.conf", it says at the start."""
    for devices in ("DEVICE /dev/sda /dev/sdb\n  /dev/sdc\n", "device /dev/sd[a-c]\n", "DEV /dev/sd[a-c] containers\n"):
        before = look(devices, array=False)
        assert before.barred == ("/dev/sdd",)
        assert [each.code for each in XL.refusals(before, asked())] == ["devices"]
    there = look(f"DEVICE /dev/sda\n{LINE}\n")
    assert there.barred == ("/dev/sdb", "/dev/sdc", "/dev/sdd")
    for devices in ("", "DEVICE partitions\n", "DEVICE /dev/sd*\n", "# DEVICE /dev/sda\n"):
        assert look(devices, array=False).barred == ()
    assert look("DEVICE /dev/sd*\n", array=False, disks="/dev/disk/by-id/a,sdc,sdd").barred == ()
    assert look("DEVICE /dev/sd?\n", array=False, partitions="true").barred == ("/dev/sdb1", "/dev/sdc1", "/dev/sdd1")
    journal = {"policy": "journal", "journal": "nvme0n1"}
    assert look("DEVICE /dev/sd*\n", array=False, **journal).barred == ("/dev/nvme0n1",)


SHARED = f"""\
# the disks of 2" are old: rd.md.uuid={OTHER}
add_device+=" /dev/md0 /dev/md127 "
kernel_cmdline+=" rd.auto=1 "
"""


def test_a_line_of_dracuts_about_several_arrays_stays() -> None:
    made = with_array(SHARED, "/dev/md0", UUID)
    assert made == f'{SHARED}kernel_cmdline+=" rd.md.uuid={UUID} "\n'
    assert without_array(made, "/dev/md0", UUID, keep=SHARED) == SHARED
    assert with_array(made, "/dev/md0", UUID) == made


def test_comments_in_dracuts_settings_say_nothing() -> None:
    assert broken_quotes(SHARED) == [] and named(SHARED) == set()
    assert mismatches("", SHARED, {"/dev/md0": UUID}) == []
    assert len(broken_quotes("add_drivers+=' raid1\n")) == 1
    assert broken_quotes("add_drivers+=' raid1 '  # it's there\n") == []


def test_the_last_array_takes_the_file_with_it() -> None:
    first = with_array("", "/dev/md0", UUID)
    both = with_array(first, "/dev/md1", OTHER)
    rest = without_array(both, "/dev/md0", UUID)
    assert without_array(rest, "/dev/md1", OTHER, keep=first) == ""


def test_arrays_of_one_name_and_of_none_are_told_apart() -> None:
    """As mdadm 4.2 and 4.4 print them; tests/integration/test_raid_mdadm.py has them do it."""
    found = examined(
        f"ARRAY /dev/md/0  metadata=1.2 UUID={UUID} name=XCP-ng:0\n"
        f"ARRAY /dev/md/0  metadata=1.2 UUID={OTHER} name=other:0\n"
        f"ARRAY  metadata=1.2 UUID={OTHER[::-1]}\n"
    )
    assert sorted(found.values()) == sorted([UUID, OTHER, OTHER[::-1]]) and found["/dev/md0"] == UUID
    assert mismatches(f"{LINE}\n", with_array("", "/dev/md0", UUID), found) == []


def test_an_initrd_that_was_not_rebuilt_is() -> None:
    """nestlab, or the host, was stopped between the files and dracut."""
    there = {"array": UUID, "level": "raid5", "version": "1.2", "line": LINE, "config": f"{LINE}\n",
             "dracut": with_array("", "/dev/md0", UUID)}  # fmt: skip
    half = XE.sample.model_copy(update={**there, "started": (OTHER,)})
    assert [line[:14] for line in steps(XE.actions(half, asked()))] == ["sh -c 'dracut "]
    assert XE.actions(half.model_copy(update={"started": (OTHER, UUID)}), asked()) == ()


@pytest.mark.parametrize(("xe", "status"), [("exit 0", 0), ("echo VDI", 1), ("echo 'Lost connection' >&2; exit 1", 1)])
def test_an_xapi_that_does_not_answer_has_not_said_that_there_are_no_disks(
    xe: str, status: int, tmp_path: Path
) -> None:
    (tmp_path / "xe").write_text(f"#!/bin/sh\n{xe}\n")
    (tmp_path / "xe").chmod(0o755)
    done = subprocess.run(["sh", "-c", _NO_DISKS, "sh", "SR"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False,
                          capture_output=True)  # fmt: skip
    assert done.returncode == status
