"""Arrays of XCP-ng hosts: a storage repository on one, and the files that start them over an upgrade from CD."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from builder.procedures.errors import Failed, Unproven
from builder.procedures.raid import XE_CONFIG, XE_DRACUT, with_array
from builder.procedures.raid_save import FOLDER
from tests.support.fake_host import Answer
from tests.support.fake_xapi import FakeXapi, Fields
from tests.unit.procedures.test_network_xe import codes, do, undo
from tests.unit.procedures.test_xe import HOST, INVENTORY

UUID = "53461f34:2414371e:820f9514:008b6458"
BOOT = "09871a29:26fa7ce1:0c9b040a:60f5cabf"
SCANNED = (
    f"ARRAY /dev/md/0  metadata=1.2 UUID={UUID} name=XCP-ng:0\n"
    f"ARRAY /dev/md/127  metadata=1.0 UUID={BOOT} name=localhost:127\n"
)
WELL = (
    "md0 : active raid5 sde[2] sdc[0] sdd[1]\n      1953260544 blocks super 1.2 [3/3] [UUU]\n\n"
    "md127 : active raid1 sda[0] sdb[1]\n      976762432 blocks super 1.0 [2/2] [UU]\n"
)
CONFIG = f"AUTO +all\nMAILADDR root\nARRAY /dev/md0 metadata=1.2 UUID={UUID}\n"
DRACUT = with_array("", "/dev/md0", UUID)


class Repository(FakeXapi):
    """An array on which XAPI makes a storage repository, which is mounted while it is attached."""

    QUESTIONS = (*FakeXapi.QUESTIONS, "xe sr-list", "xe pbd-list", "sh -c 'marks()")

    def __init__(self, *, mdstat: str = WELL, marks: str = "", sector: str = "512", disks: str = "") -> None:
        self.marks, self.disks = marks, disks
        super().__init__(
            {"sr": {}, "pbd": {}},
            {
                "cat /proc/mdstat": mdstat,
                "sh -c 'marks()": lambda argv: f"{argv[-1]} 2146435072 {sector} raid1 {self.marks}\n",
                "sh -c 'lsblk": "XSLocalEXT--SR-SR\nmd0\nsdc\nsdd\nsde\n",
                "sh -c 'found=$(xe vdi-list": lambda _: int(bool(self.disks)),
                "xe sr-create": lambda argv: self._create(argv[2:]),
                "xe pbd-plug": lambda _: self._plug("true"),
                "xe pbd-unplug": lambda _: self._plug("false"),
                "xe sr-destroy": lambda _: self._destroy(),
            },
            INVENTORY,
        )

    def _create(self, words: Sequence[str]) -> str:
        given = dict(word.split("=", 1) for word in words)
        self.objects["sr"]["SR"] = {"name-label": given["name-label"], "physical-size": "2093056"}
        made: Fields = {"sr-uuid": "SR", "host-uuid": given["host-uuid"], "currently-attached": "true",
                        "device-config": {"device": given["device-config:device"]}}  # fmt: skip
        self.objects["pbd"]["PBD"] = made
        self.marks = "LVM2_member"
        return "SR\n"

    def _plug(self, attached: str) -> str:
        self.objects["pbd"]["PBD"]["currently-attached"] = attached
        return ""

    def _destroy(self) -> str | int:
        if self.objects["pbd"]["PBD"]["currently-attached"] == "true":
            return 1
        self.objects["sr"].clear()
        self.objects["pbd"].clear()
        self.marks = ""
        return ""


def test_a_storage_repository_is_made_attached_again_and_destroyed() -> None:
    host = Repository()
    made = do(host, "raid-sr")
    assert made.result == "applied" and f"host-uuid={HOST}" in made.actions[0]
    assert do(host, "raid-sr").result == "unchanged"
    host.objects["pbd"]["PBD"]["currently-attached"] = "false"  # the array was not there when the host started
    assert do(host, "raid-sr").actions == ("xe pbd-plug uuid=PBD",)
    assert undo(host, "raid-sr").result == "undone"
    assert host.objects == {"sr": {}, "pbd": {}}


def test_disks_of_guests_are_not_destroyed() -> None:
    host = Repository()
    do(host, "raid-sr")
    host.disks = "VDI"
    with pytest.raises(Failed, match="nothing was done before it") as caught:
        undo(host, "raid-sr")
    assert "disks of guests are on RAID storage" in str(caught.value.hint)
    assert host.objects["pbd"]["PBD"]["currently-attached"] == "true"


def test_what_stands_against_a_storage_repository() -> None:
    assert codes(Repository(mdstat=""), "raid-sr") == ["no-array"]
    assert codes(Repository(marks="ext4"), "raid-sr") == ["not-empty"]
    assert codes(Repository(sector="4096"), "raid-sr") == ["sectors"]
    other = Repository()
    do(other, "raid-sr")
    other.changes.clear()
    assert codes(other, "raid-sr", array="md127") == ["name-taken"]
    other.objects["sr"]["SR2"] = {"name-label": "RAID storage"}
    assert codes(other, "raid-sr") == ["name-taken"]


class Upgraded(FakeXapi):
    """A host with an array. `backup`: the files on the installer's backup partition, None without one; the initrd
    carries the mdadm.conf of when it was built last."""

    QUESTIONS = (*FakeXapi.QUESTIONS, "mdadm --examine", "mdadm --detail", "unshare", "xe pbd-list", "cmp")

    def __init__(self, files: dict[str, str], backup: dict[str, str] | None = None, *, mdstat: str = WELL,
                 attached: str = "true") -> None:  # fmt: skip
        pbds: dict[str, Fields] = {
            "PBD": {"host-uuid": HOST, "currently-attached": attached, "device-config": {"device": "/dev/md0"}},
            "NFS": {"host-uuid": HOST, "currently-attached": "false", "device-config": {"server": "192.0.2.1"}},
        }
        self.mdstat = mdstat
        self.initrd = files.get(XE_CONFIG, "")
        answers: dict[str, Answer] = {
            "test -b": int(backup is None),
            "mdadm --examine": SCANNED,
            "mdadm --detail /dev/md0": lambda _: f"              UUID : {UUID}\n" if "md0 : " in self.mdstat else 1,
            "mdadm --detail /dev/md127": f"              UUID : {BOOT}\n",
            "cat /proc/mdstat": lambda _: self.mdstat,
            "cmp -s": lambda argv: int(self.files.get(argv[2]) != self.files.get(argv[3])),
            "sh -c 'lsinitrd": lambda _: self.initrd,
            "sh -c 'dracut": lambda _: self._rebuild(),
            "mdadm --assemble": lambda _: self._assemble(),
            "xe pbd-plug": lambda argv: self._plug(argv[2].removeprefix("uuid=")),
            "unshare --mount": lambda argv: (backup or {}).get(argv[7], ""),
            "mkdir -p": "",
            f"rmdir --ignore-fail-on-non-empty {FOLDER}": "",
        }
        inventory = {path: f"{text}BACKUP_PARTITION='/dev/disk/by-id/x-part2'\n" for path, text in INVENTORY.items()}
        super().__init__({"pbd": pbds}, answers, {**inventory, **files})

    def _rebuild(self) -> str:
        self.initrd = self.files.get(XE_CONFIG, b"").decode()
        return ""

    def _assemble(self) -> int:
        self.mdstat = WELL
        return 1

    def _plug(self, uuid: str) -> str:
        assert "md0 : active" in self.mdstat
        self.objects["pbd"][uuid]["currently-attached"] = "true"
        return ""


def test_files_are_copied_before_an_upgrade_and_the_copies_go_again() -> None:
    host = Upgraded({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT})
    assert do(host, "raid-save").result == "applied"
    assert host.files[f"{FOLDER}/mdadm.conf"].decode() == CONFIG
    assert host.files[f"{FOLDER}/dracut_mdraid.conf"].decode() == DRACUT
    assert do(host, "raid-save").result == "unchanged"
    host.mdstat = WELL.replace("[2/2] [UU]", "[2/1] [U_]")  # the copies are there, and now a disk is not
    with pytest.raises(
        Unproven, match="md127 in /proc/mdstat: expected active, with all its disks, seen active, 1 of 2"
    ):
        do(host, "raid-save")
    assert undo(host, "raid-save").result == "undone"
    assert [path for path in host.files if path.startswith(FOLDER)] == []


@pytest.mark.parametrize(
    ("files", "mdstat", "expected"),
    [
        ({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}, WELL.replace("[3/3] [UUU]", "[3/2] [UU_]"), ["unwell"]),
        ({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}, WELL.replace("md0 : active", "md0 : inactive"), ["unwell"]),
        ({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT.replace("5346", "5364")}, WELL, ["mismatch"]),
        ({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT.replace('raid10 "', "raid10 ")}, WELL, ["mismatch"]),
        ({XE_CONFIG: CONFIG}, WELL, ["not-named"]),
        ({XE_CONFIG: "AUTO +all\n", XE_DRACUT: DRACUT}, WELL, ["not-named"]),
    ],
)
def test_what_is_wrong_before_an_upgrade_is_told_before_it(
    files: dict[str, str], mdstat: str, expected: list[str]
) -> None:
    assert codes(Upgraded(files, mdstat=mdstat), "raid-save") == expected


COPIES = {f"{FOLDER}/mdadm.conf": CONFIG, f"{FOLDER}/dracut_mdraid.conf": DRACUT}


@pytest.mark.parametrize(
    ("files", "backup"),
    [
        ({XE_CONFIG: CONFIG}, {XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}),  # as the installer of 8.2 leaves it
        ({}, {XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}),
        ({XE_CONFIG: CONFIG}, {XE_CONFIG: CONFIG, XE_DRACUT: DRACUT.replace('raid10 "', "raid10 "), **COPIES}),
        ({XE_CONFIG: CONFIG.replace("5346", "5364"), **COPIES}, None),
        # the installer's own mdadm.conf names the array that it boots from, dracut's settings do not
        ({XE_CONFIG: f"ARRAY /dev/md127 UUID={BOOT}\n{CONFIG}"}, {XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}),
    ],
)
def test_what_an_upgrade_has_left_out_is_brought_back(files: dict[str, str], backup: dict[str, str] | None) -> None:
    stopped = WELL.partition("\n\n")[2]
    host = Upgraded(files, backup, mdstat=stopped, attached="false")
    before = {path: host.files.get(path) for path in (XE_CONFIG, XE_DRACUT)}
    done = do(host, "raid-restore")
    assert done.result == "applied" and done.actions[-2:] == ("mdadm --assemble --scan", "xe pbd-plug uuid=PBD")
    assert host.files[XE_DRACUT].decode() == DRACUT and UUID in host.initrd
    assert do(host, "raid-restore").result == "unchanged"
    assert undo(host, "raid-restore").result == "undone"
    assert {path: host.files.get(path) for path in (XE_CONFIG, XE_DRACUT)} == before


def test_what_cannot_be_brought_back_is_refused() -> None:
    assert codes(Upgraded({}), "raid-restore") == ["no-backup"]
    other = {path: text.replace("5346", "5364") for path, text in {XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}.items()}
    assert codes(Upgraded({XE_CONFIG: CONFIG}, other), "raid-restore") == ["no-sound-copy"]


def test_files_that_say_what_is_on_the_disks_are_left_alone() -> None:
    host = Upgraded({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}, {XE_CONFIG: "AUTO -all\n", XE_DRACUT: ""})
    assert do(host, "raid-restore").result == "unchanged"
    assert host.changes == []


def test_copies_of_before_and_what_else_lies_beside_them_stay() -> None:
    old = f"{FOLDER}/mdadm.conf"
    host = Upgraded({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT, old: "AUTO -all\n", f"{FOLDER}/notes": "mine\n"})
    assert do(host, "raid-save").result == "applied"
    assert undo(host, "raid-save").result == "undone"
    kept = {path: text.decode() for path, text in host.files.items() if path.startswith(FOLDER)}
    assert kept == {old: "AUTO -all\n", f"{FOLDER}/notes": "mine\n"}


def test_an_initrd_that_was_not_rebuilt_is() -> None:
    """nestlab, or the host, was stopped between the files and dracut: both are right, and start nothing."""
    host = Upgraded({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT})
    host.initrd = "AUTO +all\n"
    done = do(host, "raid-restore")
    assert len(done.actions) == 1 and done.actions[0].startswith("sh -c 'dracut ") and UUID in host.initrd


def test_an_array_is_known_whatever_it_is_called() -> None:
    """Its name in the metadata is "store", and without mdadm.conf it was put together as md126."""
    host = Upgraded({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}, mdstat=WELL.replace("md0 : ", "md126 : "))
    host.answers["mdadm --examine"] = SCANNED.replace("/dev/md/0 ", "/dev/md/store ")
    host.answers["mdadm --detail /dev/md126"] = f"              UUID : {UUID}\n"
    assert do(host, "raid-restore").result == "unchanged"


def test_a_repository_of_an_array_that_is_no_more_is_left_alone() -> None:
    host = Upgraded({XE_CONFIG: CONFIG, XE_DRACUT: DRACUT}, attached="false")
    host.objects["pbd"]["OLD"] = {
        "host-uuid": HOST,
        "currently-attached": "false",
        "device-config": {"device": "/dev/md5"},
    }
    assert do(host, "raid-restore").actions == ("xe pbd-plug uuid=PBD",)
    assert do(host, "raid-restore").result == "unchanged"
