"""After XCP-ng was upgraded from its CD: the files that start arrays brought back from the installer's backup."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from builder.errors import LabError
from builder.model.host import Host, World
from builder.procedures import raid, xe
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
    unmet,
)  # fmt: skip
from builder.procedures.asking import inventory, listed, read_text, xe_host
from builder.procedures.raid_save import FILES, copy_of

# A file of a file system that is mounted for this command alone, and not written to (its journal neither).
READ_UNMOUNTED = """\
set -e
mount --make-rprivate /
mount -o "ro,noload$3" "$1" /mnt
[ ! -e "/mnt$2" ] || cat "/mnt$2"
"""
MARK = "/.xen-backup-partition"


class Asked(Options):
    pass


class RestoreState(State):
    """`files` as they are now. `sources`: what was found of each, by where. `found` are the arrays on the disks, by
    their UUIDs, and `arrays` those that the kernel has, by their UUIDs too: they may be called otherwise; `detached`
    connections of storage repositories on arrays that are there, or on the disks. `initrd` names arrays by UUID."""

    passing: ClassVar[frozenset[str]] = frozenset({"sources", "found", "arrays", "detached", "backup", "initrd"})

    files: Mapping[str, str | None]
    backup: str
    sources: Mapping[str, Mapping[str, str]]
    found: Mapping[str, str]
    arrays: Mapping[str, raid.Running]
    detached: tuple[str, ...]
    initrd: tuple[str, ...] = ()


_UUID = "53461f34:2414371e:820f9514:008b6458"
_CONFIG = f"AUTO +all\nARRAY /dev/md0 metadata=1.2 UUID={_UUID}\n"


class _Xe(Way[Asked, RestoreState]):
    state = RestoreState
    sample = RestoreState(
        files={raid.XE_CONFIG: _CONFIG, raid.XE_DRACUT: None},
        backup="/dev/sda2",
        sources={
            raid.XE_CONFIG: {"the backup partition": _CONFIG},
            raid.XE_DRACUT: {"the backup partition": raid.with_array("", "/dev/md0", _UUID)},
        },
        found={"/dev/md0": _UUID},
        arrays={_UUID: raid.Running(state="active", wanted=3, in_step=3)},
        detached=("PBD-UUID",),
    )

    def look(self, host: Host, asked: Asked) -> RestoreState:  # noqa: ARG002
        named = inventory(host, "BACKUP_PARTITION", r"([^']+)'")
        backup = named[1] if named and host.run(["test", "-b", named[1]]).ok else ""
        if backup and not is_backup(host, backup):
            backup = ""
        running = raid.running(host)
        arrays = {name: raid.detail(host, f"/dev/{name}")[0].get("UUID", name) for name in running}
        state = RestoreState(
            files={path: read_text(host, path) for path in FILES},
            backup=backup,
            sources={path: _sources(host, backup, path) for path in FILES},
            found=raid.examined(host.run(["mdadm", "--examine", "--brief", "--scan"]).stdout),
            arrays={uuid: running[name] for name, uuid in arrays.items()},
            detached=(),
            initrd=tuple(sorted(raid.initrd_names(host))),
        )
        nodes = {*state.found, *(f"/dev/{name}" for name in arrays), *_nodes(state)}
        return state.model_copy(update={"detached": _detached(host, nodes)})

    def refusals(self, state: RestoreState, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        nothing = not any(state.sources.values())
        where = f"neither {state.backup or 'the backup partition'} nor /root/nestlab-raid"
        anew = "nestlab procedure run LAB NODE raid-storage with what the array was made of writes both files anew"
        lost = [path for path in FILES if not _sound(state, path, state.files[path]) and not _best(state, path)]
        return unmet([
            (bool(state.found), "no-array", "no disk of this host is of an array", "are the disks there? lsblk"),
            (not nothing or not lost, "no-backup", f"{where} has these files", anew),
            (nothing or not lost, "no-sound-copy", f"no copy of {listed(lost)} says what is on the disks", anew),
        ])  # fmt: skip

    def actions(self, state: RestoreState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        unsound = [path for path in FILES if not _sound(state, path, state.files[path])]
        todo: list[Action] = [Write(path, best) for path in unsound if (best := _best(state, path))]
        if unsound or not _wanted(state, raid.XE_CONFIG) <= set(state.initrd):
            todo += raid.XE_REBUILD
        wanted = _wanted(state, *FILES)
        if any(not _active(state, uuid) and uuid in wanted for uuid in state.found.values()):
            # 1: another array could not be started, which is looked at afterwards
            todo.append(run("mdadm", "--assemble", "--scan", seconds=120, fine=(1, 2)))
        return (*todo, *(run("xe", "pbd-plug", f"uuid={each}", seconds=300) for each in state.detached))

    def undo(self, state: RestoreState, before: RestoreState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo = [as_it_was(path, before.files[path]) for path in FILES if state.files[path] != before.files[path]]
        return (*todo, *raid.XE_REBUILD) if todo else ()

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        wanted, started = _wanted(now, raid.XE_CONFIG), set(now.initrd)
        return (
            *(holds(f"arrays that {path} names", "those on the disks", listed(sorted(raid.named(text or ""))),
                    _sound(now, path, text)) for path, text in now.files.items()),
            holds("arrays that the initrd starts by name", listed(sorted(wanted)), listed(sorted(started)),
                  bool(wanted) and wanted <= started),
            *(holds(f"{name} in /proc/mdstat", "active", str(now.arrays.get(uuid) or "not there"), _active(now, uuid))
              for name, uuid in now.found.items() if uuid in _wanted(now, *FILES)),
            same("storage repositories on arrays that are not attached", "none", listed(now.detached)),
        )  # fmt: skip


def is_backup(host: Host, partition: str, options: str = "") -> bool:
    """The installer leaves an empty file there, as the last thing: without it the copy is not whole."""
    script = f'{READ_UNMOUNTED}[ -e "/mnt$2" ]'
    return host.run(["unshare", "--mount", "sh", "-c", script, "sh", partition, MARK, options]).ok


def read_unmounted(host: Host, partition: str, path: str, options: str = "") -> str | None:
    """A file's text from a partition that is not mounted; None when it is not there. `options` are further ones of
    mount, each behind a comma. Raises LabError."""
    result = host.run(["unshare", "--mount", "sh", "-c", READ_UNMOUNTED, "sh", partition, path, options])
    if not result.ok:
        raise LabError(f"{host.name}: {path} of {partition} cannot be read: {result.stderr.strip()}",
                       hint="is it the backup partition of XCP-ng's installer? blkid names it")  # fmt: skip
    return result.stdout or None


def _sources(host: Host, backup: str, path: str) -> dict[str, str]:
    """Every copy of a file there is, the likeliest first."""
    found = {}
    if backup:
        found["the backup partition"] = read_unmounted(host, backup, path)
        found["the copy on the backup partition"] = read_unmounted(host, backup, copy_of(path))
    found["the copy on this host"] = read_text(host, copy_of(path))
    return {where: text for where, text in found.items() if text}


def _detached(host: Host, nodes: Collection[str]) -> tuple[str, ...]:
    """Connections of storage repositories on these arrays to this host that are not there."""
    pbds = xe.minimal(host, "pbd-list", f"host-uuid={xe_host(host)}", "currently-attached=false")
    return tuple(each for each in pbds if xe.map_key(host, "pbd", each, "device-config", "device") in nodes)


def _wanted(state: RestoreState, *paths: str) -> set[str]:
    """The arrays on the disks that one of these files, as it is or in a copy, names."""
    texts = [text for path in paths for text in (*state.sources[path].values(), state.files[path] or "")]
    return {uuid for text in texts for uuid in raid.named(text)} & set(state.found.values())


def _sound(state: RestoreState, path: str, text: str | None) -> bool:
    """Whether it starts all that it should, and nothing that is not there."""
    if not text or not raid.named(text) or not _wanted(state, path) <= raid.named(text):
        return False
    found = dict(state.found)
    return not (raid.mismatches("", text, found) if path == raid.XE_DRACUT else raid.mismatches(text, None, found))


def _best(state: RestoreState, path: str) -> str:
    return next((text for text in state.sources[path].values() if _sound(state, path, text)), "")


def _nodes(state: RestoreState) -> set[str]:
    """What mdadm.conf, as it is or in a copy, calls the arrays on the disks."""
    texts = (*state.sources[raid.XE_CONFIG].values(), state.files[raid.XE_CONFIG] or "")
    return {each.node for text in texts for each in raid.entries(text) if each.uuid in state.found.values()}


def _active(state: RestoreState, uuid: str) -> bool:
    now = state.arrays.get(uuid)
    return now is not None and now.state == "active"


PROCEDURE = Procedure(
    name="raid-restore",
    title="Arrays after an upgrade from CD",
    summary="XCP-ng's installer keeps /etc/mdadm.conf over an upgrade, and not dracut's settings: arrays then come up "
    "at one start and not at the next. What is missing, or no longer says what is on the disks, is read from the "
    "installer's backup partition, which stays unmounted otherwise, or from the copies that raid-save made; the "
    "initrd is rebuilt, arrays that are not there are started, and their storage repositories attached.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=(
        "XCP-ng guide: Software RAID Storage Repository (updates and upgrades)",
        "xcp-ng/host-installer: upgrade.py (what is backed up, what is brought back), backend.py (BACKUP_PARTITION)",
        "dracut.conf(5), lsinitrd(1), mdadm.conf(5)",
    ),
    refuses={
        "no-array": "no disk of the host is of an array",
        "no-backup": "there is neither a backup partition of the installer's nor a copy",
        "no-sound-copy": "every copy is damaged, or is of other arrays",
    },
    drill=Drill(reason="it needs an XCP-ng host that was upgraded from its CD"),
)
