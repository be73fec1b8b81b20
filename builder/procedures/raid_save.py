"""Before XCP-ng is upgraded from its CD: arrays seen to be well, and the files that start them copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from builder.model.host import Host, World
from builder.procedures import raid
from builder.procedures.api import (
    Action,
    Drill,
    Evidence,
    Options,
    Procedure,
    Refusal,
    State,
    Way,
    Write,
    as_it_was,
    holds,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import listed, read_text

FOLDER = "/root/nestlab-raid"
"""The installer copies all of the host's own file system to its backup partition, this with it."""
FILES = (raid.XE_CONFIG, raid.XE_DRACUT)


def copy_of(path: str) -> str:
    """Where a file's copy lies."""
    return f"{FOLDER}/{path.rpartition('/')[2]}"


class Asked(Options):
    pass


class SaveState(State):
    """`files` as they are and `copies` of them, by the file's path; `arrays` that the kernel has, `found` those on the
    disks, by mdadm, with their UUIDs."""

    passing: ClassVar[frozenset[str]] = frozenset({"files", "arrays", "found"})

    files: Mapping[str, str | None]
    copies: Mapping[str, str | None]
    arrays: Mapping[str, raid.Running]
    found: Mapping[str, str]


_UUID = "53461f34:2414371e:820f9514:008b6458"


class _Xe(Way[Asked, SaveState]):
    state = SaveState
    sample = SaveState(
        files={
            raid.XE_CONFIG: f"AUTO +all\nARRAY /dev/md0 metadata=1.2 UUID={_UUID}\n",
            raid.XE_DRACUT: raid.with_array("", "/dev/md0", _UUID),
        },
        copies=dict.fromkeys(FILES),
        arrays={"md0": raid.Running(state="active", wanted=3, in_step=3)},
        found={"/dev/md0": _UUID},
    )

    def look(self, host: Host, asked: Asked) -> SaveState:  # noqa: ARG002
        return SaveState(
            files={path: read_text(host, path) for path in FILES},
            copies={path: read_text(host, copy_of(path)) for path in FILES},
            arrays=raid.running(host),
            found=raid.examined(host.run(["mdadm", "--examine", "--brief", "--scan"]).stdout),
        )

    def refusals(self, state: SaveState, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        if not state.found:
            return (Refusal(code="no-array", message="no disk of this host is of an array",
                            hint="there is nothing to save: upgrade it"),)  # fmt: skip
        found = [
            Refusal(code="unwell", message=f"{name} is not whole: {array}",
                    hint="mdadm --wait for what goes on; raid-storage starts an array and takes disks in again; do not "
                    "upgrade before")
            for name, array in state.arrays.items() if not array.well
        ]  # fmt: skip
        config, dracut = state.files[raid.XE_CONFIG] or "", state.files[raid.XE_DRACUT] or ""
        found += [Refusal(code="mismatch", message=told, hint="raid-storage writes it right; do not save what is wrong")
                  for told in raid.mismatches(config, dracut, dict(state.found))]  # fmt: skip
        found += [Refusal(code="not-named", message=f"{path} is not there, or names no array",
                          hint="nestlab procedure run LAB NODE raid-storage, with what the array was made of")
                  for path, text in state.files.items() if not raid.named(text or "")]  # fmt: skip
        return tuple(found)

    def actions(self, state: SaveState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = [Write(copy_of(path), text) for path, text in state.files.items()
                              if text is not None and state.copies[path] != text]  # fmt: skip
        return (run("mkdir", "-p", FOLDER), *todo) if todo else ()

    def undo(self, state: SaveState, before: SaveState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if state.copies == before.copies:
            return ()
        todo = [as_it_was(copy_of(path), text) for path, text in before.copies.items() if state.copies[path] != text]
        return (*todo, run("rmdir", "--ignore-fail-on-non-empty", FOLDER))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        copied = [path for path in FILES if host.run(["cmp", "-s", path, copy_of(path)]).ok]
        started = raid.initrd_names(host)
        return (
            same("files that equal their copies", listed(FILES), listed(copied)),
            *(holds(f"{name} in /proc/mdstat", "active, with all its disks", str(array), array.well)
              for name, array in now.arrays.items()),
            holds("arrays that the initrd of today starts by name", "those of the saved mdadm.conf",
                  listed(sorted(started)), raid.named(now.copies[raid.XE_CONFIG] or "") <= started),
        )  # fmt: skip


PROCEDURE = Procedure(
    name="raid-save",
    title="Arrays before an upgrade from CD",
    summary="To be done before XCP-ng is upgraded from its CD: every array is seen to be whole, the files that start "
    "them to say what is on the disks, and both are copied to /root/nestlab-raid. The installer takes that folder to "
    "its backup partition with the rest. An upgrade by yum leaves both files in place, and the guide has them copied "
    "all the same. raid-restore brings them back afterwards.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=(
        "XCP-ng guide: Software RAID Storage Repository (updates and upgrades)",
        "xcp-ng/host-installer: upgrade.py (what is backed up, what is brought back)",
    ),
    refuses={
        "no-array": "the host has no array",
        "unwell": "an array lacks a disk, is not started, or is being built up",
        "mismatch": "a file names an array that no disk has, or cannot be read as it is meant",
        "not-named": "a file is missing, or names no array",
    },
    drill=Drill(reason="it needs an XCP-ng host with an array, such as raid-storage makes"),
)
