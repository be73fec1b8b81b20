"""Software RAID for storage: an array over empty disks that comes up at every start, whatever the disks are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import raid, raid_disks
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
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import ask, listed, read_text
from builder.procedures.raid_disks import EMPTY, ZERO, Disk, device, look_at
from builder.procedures.raid_policy import switch

LEAST: Mapping[str, int] = {"1": 2, "5": 3, "6": 4, "10": 2}
PARITY: Mapping[str, int] = {"5": 1, "6": 2}
DISK = r"^(/dev/)?[a-z0-9][A-Za-z0-9/._:-]*$"


class Asked(Options):
    level: Literal["1", "5", "6", "10"] = Field(description="RAID level")
    disks: Words = Field(description="disks or partitions, empty ones: sdb,sdc,sdd or /dev/disk/by-id/...")
    array: str = Field("md0", pattern=raid.NAME, description="name of the array")
    policy: Literal["resync", "bitmap", "ppl", "journal"] = Field(
        "bitmap", description="what keeps data and parity consistent over a crash; ppl is for level 5, journal for 5, 6"
    )
    journal: str = Field("", pattern=rf"{DISK}|^$", description="the fast disk (or RAID1) of policy=journal")
    partitions: bool = Field(
        False, description="a partition of one size on each disk, where their sizes differ: the rest stays free"
    )
    clean: bool = Field(False, description="do not build up the array: every disk is first read, and must be all zero")


class RaidState(State):
    """`array`: what mdadm says of it, empty where there is none, and `version` of its metadata, `members` its disks as
    they are called now; `lost` were of it and are not now, while it lacks one. `config` is mdadm.conf, `line` what it
    says of the array, `barred` are disks that it does not let mdadm look at; `dracut` the file of the initial memory
    file system's settings (None where the host has no dracut), `asks` its line. `uuid` is a fresh one, which an array
    that is made gets. `parts` are disks with partitions made for the array. `marked` are the disks that say they are of
    an array, by its UUID, whether it runs or not; `started` the arrays that the initrd names, where that is known."""

    passing: ClassVar[frozenset[str]] = frozenset(
        {"disks", "uuid", "not_zero", "config", "dracut", "inactive", "found", "level", "version", "policy", "members",
         "lost", "marked", "barred", "started"}
    )  # fmt: skip

    array: str
    line: str
    disks: tuple[Disk, ...]
    uuid: str
    not_zero: tuple[str, ...]
    config: str
    dracut: str | None
    inactive: bool
    level: str
    found: Mapping[str, str]
    version: str = ""
    policy: str = ""
    members: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    asks: str = ""
    parts: tuple[str, ...] = ()
    marked: Mapping[str, tuple[str, ...]] = {}
    barred: tuple[str, ...] = ()
    started: tuple[str, ...] | None = None


class _Raid(Way[Asked, RaidState]):
    """`config_path` is where mdadm reads its settings; `rebuild` makes the initial memory file system anew; `table` is
    the host's program for partitions."""

    state = RaidState
    config_path: str
    dracut_path = ""
    rebuild: tuple[Action, ...]
    table: raid_disks.Table
    sample = RaidState(
        array="", line="", uuid="53461f34:2414371e:820f9514:008b6458", not_zero=(), config="", dracut=None,
        inactive=False, found={}, level="",
        disks=tuple(Disk(path=f"/dev/sd{letter}", size=10**12, sector=512, holds="") for letter in "bcd"),
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> RaidState:
        node = f"/dev/{asked.array}"
        paths = [*map(device, asked.disks), *([device(asked.journal)] if asked.journal else [])]
        array, members = raid.detail(host, node)
        scanned = host.run(["mdadm", "--examine", "--brief", "--scan", "--verbose"]).stdout
        lacks = "degraded" in array.get("State", "")
        now = raid.running(host).get(asked.array)
        config = read_text(host, self.config_path) or ""
        dracut = (read_text(host, self.dracut_path) or "") if self.dracut_path else None
        fresh = host.read("/proc/sys/kernel/random/uuid").decode().strip().replace("-", "")
        not_zero = ask(host, "sh", "-c", ZERO, "sh", *paths, timeout=3600).split() if asked.clean and not array else ()
        return RaidState(
            array=array.get("UUID", ""),
            level=array.get("Raid Level", ""),
            version=array.get("Version", ""),
            policy=array.get("Consistency Policy", ""),
            members=members,
            lost=tuple(each for each in raid.carriers(scanned, array["UUID"]) if each not in members) if lacks else (),
            line=raid.about(config, node, array.get("UUID", "")),
            disks=() if array else look_at(host, paths),
            uuid=":".join(fresh[at : at + 8] for at in range(0, 32, 8)),
            not_zero=tuple(not_zero),
            config=config,
            dracut=dracut,
            asks=raid.asks(dracut or "", node),
            inactive=now is not None and now.state == "inactive",
            found=raid.examined(scanned),
            parts=raid_disks.disks_with(host, asked.array) if asked.partitions else (),
            marked={uuid: raid.carriers(scanned, uuid) for uuid in re.findall(r"\bUUID=([0-9a-f:]{35})", scanned)},
            barred=raid_disks.barred(host, config, members or (*_members(asked), *paths[len(asked.disks) :])),
            started=self._started(host),
        )

    def refusals(self, state: RaidState, asked: Asked) -> tuple[Refusal, ...]:
        if state.array and not state.inactive and state.level != f"raid{asked.level}":
            return (Refusal(code="other-array", message=f"{asked.array} is there already, and is {state.level}",
                            hint="give the new one another name: array=md1"),)  # fmt: skip
        found = [Refusal(code="broken-quote", message=told, hint="close it: with the space inside, as "
                         "add_device+=\" /dev/md0 \"") for told in raid.broken_quotes(state.dracut)]  # fmt: skip
        if state.barred:
            found.append(Refusal(code="devices", message=f"DEVICE in mdadm.conf leaves out {listed(state.barred)}: "
                                 "at a start mdadm does not look at them",
                                 hint="DEVICE partitions lets it look at all, whatever they are called"))  # fmt: skip
        if state.version.startswith("0"):
            found.append(Refusal(code="old-metadata", message=f"{asked.array} has metadata of version {state.version}, "
                                 "which lies where disks are taken for something else",
                                 hint="save what is on it, and make the array anew"))  # fmt: skip
        if state.policy not in {"", asked.policy}:
            found.append(Refusal(code="other-policy", message=f"{asked.array} is there already, and its policy is "
                                 f"{state.policy}",
                                 hint=f"policy={state.policy}; nestlab procedure run LAB NODE raid-policy changes it "
                                 "while the array is in use"))  # fmt: skip
        if state.array or state.inactive:
            return tuple(found)
        return (*found, *_shape(asked), *_emptiness(state), *_fitness(state), *_wholeness(state, asked))

    def advice(self, state: RaidState, asked: Asked) -> tuple[str, ...]:
        told = raid.mismatches(state.config, state.dracut, dict(state.found))
        data = len(asked.disks) - PARITY.get(asked.level, 0)
        if asked.level in PARITY and data & (data - 1):
            told.append(f"level {asked.level} does best with 2, 4 or 8 disks of data: here are {data}")
        if asked.level == "10" and len(asked.disks) % 2:
            told.append("level 10 works with an odd number of disks, and does best with an even one")
        sizes = {disk.size for disk in state.disks}
        if len(sizes) > 1:
            told.append("the disks differ in size: of each as much is used as the smallest has; partitions=true keeps "
                        "the rest for something else")  # fmt: skip
        return tuple(told)

    def actions(self, state: RaidState, asked: Asked) -> tuple[Action, ...]:
        node = f"/dev/{asked.array}"
        todo: list[Action] = []
        if state.inactive:
            todo.append(run("mdadm", "--run", node, hint="too few of its disks are there to start it"))
        elif not state.array:
            todo += [*self._divide(state, asked), _create(asked, state.uuid)]
        elif state.policy and state.policy != asked.policy:
            todo += switch(node, state.policy, asked.policy)
        todo += [run("mdadm", node, "--add", disk, seconds=120) for disk in state.lost]
        if state.inactive and not state.array:
            return tuple(todo)
        uuid = state.array or state.uuid
        line = raid.entry(state.line, node, uuid, state.version or "1.2")
        changed = state.line != line
        if changed:
            todo.append(Write(self.config_path, f"{raid.others(state.config, state.line)}{line}\n"))
        if state.dracut is not None and uuid not in raid.named(state.dracut):
            todo.append(Write(self.dracut_path, raid.with_array(state.dracut, node, uuid)))
            changed = True
        changed |= state.started is not None and uuid not in state.started
        return (*todo, *self.rebuild) if changed else tuple(todo)

    def undo(self, state: RaidState, before: RaidState, asked: Asked) -> tuple[Action, ...]:
        node = f"/dev/{asked.array}"
        todo: list[Action] = []
        if not before.array and not before.inactive:
            todo += _unmade(state, before, node)
        if state.parts and not before.parts:
            todo.append(raid_disks.clear(self.table, asked.array))
        files = self._files_back(state, before, node)
        return (*todo, *files, *self.rebuild) if files else tuple(todo)

    def _divide(self, state: RaidState, asked: Asked) -> list[Action]:
        if not asked.partitions:
            return []
        own = state.disks[: len(asked.disks)]
        mib = raid_disks.common([disk.size for disk in own])
        settle = run("udevadm", "settle", "--timeout=30")
        return [*(raid_disks.partition(self.table, disk.path, mib, asked.array) for disk in own), settle]

    def _files_back(self, state: RaidState, before: RaidState, node: str) -> list[Action]:
        """What other arrays have in these files meanwhile stays."""
        todo: list[Action] = []
        if state.line != before.line:
            lines, then = raid.others(state.config, state.line), raid.about(before.config, node, before.array)
            text = before.config if lines == raid.others(before.config, then) else lines + (then and f"{then}\n")
            todo.append(as_it_was(self.config_path, text or None))
        if state.dracut is not None and before.dracut is not None:
            uuid = state.array or next(iter(raid.named(state.line) - raid.named(before.line)), "")
            text = raid.without_array(state.dracut, node, uuid, keep=before.dracut)
            if text.splitlines() != state.dracut.splitlines():
                todo.append(as_it_was(self.dracut_path, text or None))
        return todo

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        array, members = raid.detail(host, f"/dev/{asked.array}")
        now = raid.running(host).get(asked.array)
        config, uuid = read_text(host, self.config_path) or "", array.get("UUID", "")
        told = [each.uuid for each in raid.entries(raid.about(config, f"/dev/{asked.array}", uuid))]
        return (
            same(f"{asked.array} in /proc/mdstat", "active", now.state if now else "not there"),
            same("level", f"raid{asked.level}", array.get("Raid Level", "")),
            same("disks that work", str(len(asked.disks) + bool(asked.journal)), array.get("Working Devices", "")),
            same("consistency policy", asked.policy, array.get("Consistency Policy", "")),
            same("the array that mdadm.conf names is the one that runs", uuid, ", ".join(told)),
            same("disks that mdadm.conf leaves out", "none", listed(raid_disks.barred(host, config, members))),
            *((raid_disks.one_size(host, members),) if asked.partitions and not asked.journal else ()),
            *(
                ()
                if (named := self._started(host)) is None
                else (same("the initrd's own mdadm.conf names it", True, uuid in named),)
            ),
        )

    def check_undone(self, world: World, host: Host, before: RaidState, asked: Asked) -> tuple[Evidence, ...]:
        """Disks that still say they are of the array would be put together at the next start."""
        found = super().check_undone(world, host, before, asked)
        if before.array or before.inactive:
            return found
        left = self.look(host, asked).marked.get(before.uuid, ())
        return (*found, same("disks that say they are of the array", "none", listed(left)))

    def _started(self, host: Host) -> tuple[str, ...] | None:  # noqa: ARG002
        """The arrays that the initial memory file system names, where that can be read out."""
        return None


def _unmade(state: RaidState, before: RaidState, node: str) -> list[Action]:
    """The array is stopped and its disks forget it. One that does not run is first put together, to be read only: what
    lies on it is not known otherwise. Its UUID is the one that it got, or what mdadm.conf says since."""
    wipe = run("sh", "-c", EMPTY, "sh", node, hint="something lies on the array: if it may go, take its storage "
               f"repository away, or wipefs -a {node}")  # fmt: skip
    stop = run("mdadm", "--stop", node, seconds=120, hint="something uses the array: unmount it, or take its volume "
               "group or storage repository away first")  # fmt: skip
    written = sorted(raid.named(state.line) - raid.named(before.line))
    todo: list[Action] = [stop] if state.inactive else []
    for uuid in dict.fromkeys(filter(None, (state.array, before.uuid, *written))):
        own = state.members if uuid == state.array else ()
        disks = tuple(dict.fromkeys((*own, *state.marked.get(uuid, ()))))
        if not disks:
            continue
        if uuid != state.array or state.inactive:
            hint = f"what lies on {listed(disks)} cannot be looked at: too few are there, or another array has them " \
                   "(/proc/mdstat). If it may go, mdadm --zero-superblock each"  # fmt: skip
            todo.append(run("mdadm", "--assemble", node, "--readonly", "--run", *disks, seconds=120, hint=hint))
        todo += [wipe, stop, run("mdadm", "--zero-superblock", *disks)]
    return todo


def _create(asked: Asked, uuid: str) -> Action:
    """The array gets the identity that the files are written for."""
    policy = {
        "resync": "--bitmap=none",
        "bitmap": "--bitmap=internal",
        "ppl": "--consistency-policy=ppl",
        "journal": f"--write-journal={device(asked.journal)}",
    }
    words = ["mdadm", "--create", f"/dev/{asked.array}", f"--uuid={uuid}", "--run", f"--level={asked.level}"]
    words += ["--metadata=1.2", policy[asked.policy], *(["--assume-clean"] if asked.clean else [])]
    return run(*words, f"--raid-devices={len(asked.disks)}", *_members(asked), seconds=120)


def _members(asked: Asked) -> tuple[str, ...]:
    return tuple(raid_disks.first(each) if asked.partitions else each for each in map(device, asked.disks))


def _shape(asked: Asked) -> list[Refusal]:
    found = []
    if len(asked.disks) < LEAST[asked.level]:
        found.append(Refusal(code="too-few", message=f"level {asked.level} needs {LEAST[asked.level]} disks or more",
                             hint=f"name {LEAST[asked.level] - len(asked.disks)} more"))  # fmt: skip
    if len({*map(device, asked.disks), device(asked.journal)}) < len(asked.disks) + 1:
        found.append(Refusal(code="twice", message="a disk is named twice", hint="every member is a disk of its own"))
    if asked.policy == "ppl" and asked.level != "5":
        found.append(Refusal(code="policy", message="partial parity logs are for level 5 alone",
                             hint="policy=journal for level 6; levels 1 and 10 have no write hole"))  # fmt: skip
    if (asked.policy == "journal") != bool(asked.journal) or (asked.policy == "journal" and asked.level not in PARITY):
        found.append(Refusal(code="policy", message="a journal is a disk beside an array of level 5 or 6",
                             hint="policy=journal journal=DISK, or neither"))  # fmt: skip
    return found


def _emptiness(state: RaidState) -> list[Refusal]:
    used = [disk for disk in state.disks if disk.holds]
    return [
        Refusal(code="no-disk" if disk.holds == "absent" else "not-empty",
                message=f"there is no disk {disk.path}" if disk.holds == "absent"
                else f"{disk.path} is not empty: {disk.holds}",
                hint="lsblk lists them" if disk.holds == "absent"
                else "nothing is overwritten: if it may go, `wipefs -a` and zeroes over the whole disk first")
        for disk in used
    ]  # fmt: skip


def _fitness(state: RaidState) -> list[Refusal]:
    found = []
    there = [disk for disk in state.disks if disk.holds != "absent"]
    if len({disk.sector for disk in there}) > 1:
        found.append(Refusal(code="sectors", message="the disks differ in the size of their sectors",
                             hint="do not mix disks of 512 and of 4096 bytes"))  # fmt: skip
    if state.dracut is not None and any(disk.sector != 512 for disk in there):
        found.append(Refusal(code="sectors", message="storage of XCP-ng needs disks with sectors of 512 bytes",
                             hint="512e disks do; 4Kn ones need a largeblock SR"))  # fmt: skip
    if state.not_zero:
        found.append(Refusal(code="not-zero", message=f"not all zero: {listed(state.not_zero)}",
                             hint="clean=true is for disks overwritten with zeroes: leave it out"))  # fmt: skip
    return found


def _wholeness(state: RaidState, asked: Asked) -> list[Refusal]:
    parts = [disk for disk in state.disks[: len(asked.disks)] if disk.kind != "disk" and disk.holds != "absent"]
    return [Refusal(code="no-whole-disk", message=f"{disk.path} is no disk, it is a {disk.kind}",
                    hint="partitions=true is for whole disks") for disk in parts if asked.partitions]  # fmt: skip


class _Xl(_Raid):
    config_path = raid.XL_CONFIG
    table = "sfdisk"
    rebuild = raid.XL_REBUILD


class _Xe(_Raid):
    sample = _Raid.sample.model_copy(update={"dracut": ""})
    config_path = raid.XE_CONFIG
    table = "sgdisk"
    dracut_path = raid.XE_DRACUT
    rebuild = raid.XE_REBUILD

    def _started(self, host: Host) -> tuple[str, ...]:
        return tuple(sorted(raid.initrd_names(host)))


PROCEDURE = Procedure(
    name="raid-storage",
    title="Software RAID for storage",
    summary="An array over empty disks, named to mdadm and to the initial memory file system by its UUID, so that it "
    "is put together at every start whatever its disks are called then. One that was not started is started, and a "
    "disk that was away and has come back is taken in again. On XCP-ng raid-sr makes a storage repository on it; "
    "raid-policy changes what keeps it in step over a crash.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=("XCP-ng guide: Software RAID Storage Repository", "mdadm(8)", "mdadm.conf(5)", "dracut.conf(5)"),
    refuses={
        "other-array": "an array of that name is there, of another level",
        "other-policy": "the array that is there has another consistency policy",
        "devices": "DEVICE lines of mdadm.conf leave out a disk",
        "old-metadata": "the array that is there has metadata of version 0.90",
        "broken-quote": "a quote in dracut's settings is not closed (XCP-ng)",
        "too-few": "the level needs more disks",
        "twice": "a disk is named twice",
        "policy": "the level has no such policy, or the journal's disk is not named",
        "no-disk": "a disk is not there",
        "not-empty": "a disk holds something",
        "sectors": "the disks' sectors differ, or are not of 512 bytes (XCP-ng)",
        "no-whole-disk": "partitions=true with what is no whole disk",
        "not-zero": "clean=true with a disk that is not all zero",
    },
    drill=Drill(
        options={"level": "5", "disks": "sdb,sdc,sdd"},
        reason="it needs a host with three empty disks, such as that of labs/raid-sr.yaml: name them with disks=",
    ),
    dead=(
        Dead(
            says="--assume-clean on every new array",
            why="it is only true of disks that are all zero: on others the parity is wrong until it is first written, "
            "and a disk that fails before that is lost data. clean=true reads the disks first",
        ),
    ),
    subject="array",
)  # fmt: skip
