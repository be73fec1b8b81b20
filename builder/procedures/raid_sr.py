"""A storage repository of XCP-ng on an array."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import raid, xe
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
    holds,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, xe_host
from builder.procedures.raid_disks import look_at

# Fails while disks of guests are on the storage repository, and when XAPI does not say.
_NO_DISKS = 'found=$(xe vdi-list sr-uuid="$1" managed=true --minimal) && [ -z "$found" ]'
# The array, or the disk, that a mounted storage repository lies on in the end: the kernel's own chain of devices.
_BELOW = 'lsblk -nsro NAME "$(findmnt -nro SOURCE "/run/sr-mount/$1")"'


class Asked(Options):
    name: str = Field("RAID storage", pattern=r"^[^,;=\"']+$", description="what XAPI calls the storage repository")
    array: str = Field("md0", pattern=raid.NAME, description="name of the array that it is made on")


class SrState(State):
    """`srs` are the storage repositories of that name; `pbd` what connects the one to this host, `attached` whether it
    does now, and `device` what it is on. `state` is the array's, empty without one; `contents` what is on one that runs
    or was made of it."""

    passing: ClassVar[frozenset[str]] = frozenset({"host", "pbd", "state", "contents", "sector"})

    host: str
    srs: tuple[str, ...]
    pbd: str
    attached: str
    device: str
    state: str
    contents: str
    sector: int


class _Xe(Way[Asked, SrState]):
    state = SrState
    sample = SrState(
        host="HOST-UUID", srs=(), pbd="", attached="", device="", state="active", contents="", sector=512
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> SrState:
        node = f"/dev/{asked.array}"
        here = xe_host(host)
        srs = xe.minimal(host, "sr-list", f"name-label={asked.name}")
        pbds = xe.minimal(host, "pbd-list", f"sr-uuid={srs[0]}", f"host-uuid={here}") if len(srs) == 1 else ()
        now = raid.running(host).get(asked.array)
        disk = look_at(host, (node,))[0] if now and now.state == "active" else None
        return SrState(
            host=here,
            srs=srs,
            pbd=pbds[0] if pbds else "",
            attached=xe.param(host, "pbd", pbds[0], "currently-attached") if pbds else "",
            device=xe.map_key(host, "pbd", pbds[0], "device-config", "device") if pbds else "",
            state=now.state if now else "",
            contents=disk.holds if disk else "",
            sector=disk.sector if disk else 0,
        )

    def refusals(self, state: SrState, asked: Asked) -> tuple[Refusal, ...]:
        node = f"/dev/{asked.array}"
        if not state.srs:
            rules = [
                (state.state == "active", "no-array", f"no array {asked.array} runs", "raid-storage makes one"),
                (not state.contents, "not-empty", f"{node} is not empty: {state.contents}",
                 "nothing is overwritten: if it may go, wipefs -a; one that was XAPI's is taken in by xe sr-introduce"),
                (state.sector in {0, 512}, "sectors", f"{node} has sectors of {state.sector} bytes",
                 "an ext storage repository needs 512: such disks take one of type largeblock"),
            ]  # fmt: skip
            return unmet(rules)
        one = len(state.srs) == 1
        return unmet([
            (one, "name-taken", f"{len(state.srs)} storage repositories are called {asked.name}", "another name="),
            (not one or state.device == node, "name-taken",
             f"{asked.name} is there, on {state.device or 'another host'}", "another name="),
            (not one or state.attached == "true" or state.state == "active", "no-array",
             f"no array {asked.array} runs, on which {asked.name} lies", "nestlab procedure run LAB NODE raid-storage"),
        ])  # fmt: skip

    def actions(self, state: SrState, asked: Asked) -> tuple[Action, ...]:
        ours = len(state.srs) == 1 and state.device == f"/dev/{asked.array}"
        if ours and state.attached == "true":
            return ()
        if ours:
            return (run("xe", "pbd-plug", f"uuid={state.pbd}", seconds=300),)
        return (
            run("xe", "sr-create", f"host-uuid={state.host}", f"name-label={asked.name}", "type=ext", "shared=false",
                "content-type=user", f"device-config:device=/dev/{asked.array}", seconds=1800,
                hint="/var/log/SMlog says what its driver had against it"),
        )  # fmt: skip

    def undo(self, state: SrState, before: SrState, asked: Asked) -> tuple[Action, ...]:
        if before.srs or not state.srs:
            return ()
        hint = f"disks of guests are on {asked.name}: move them to another storage repository first"
        todo = [run("sh", "-c", _NO_DISKS, "sh", state.srs[0], hint=hint)]
        if state.attached == "true":
            todo.append(run("xe", "pbd-unplug", f"uuid={state.pbd}", seconds=300))
        return (*todo, run("xe", "sr-destroy", f"uuid={state.srs[0]}", seconds=300))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        below = ask(host, "sh", "-c", _BELOW, "sh", now.srs[0]).split() if now.attached == "true" else []
        return (
            same("XAPI has it attached to this host", "true", now.attached),
            holds("what its mounted file system lies on", asked.array, ", ".join(below), asked.array in below),
            same("its size is known to XAPI", True, _sized(host, now.srs)),
        )


def _sized(host: Host, srs: tuple[str, ...]) -> bool:
    size = xe.param(host, "sr", srs[0], "physical-size") if srs else ""
    return bool(re.fullmatch(r"[1-9][0-9]*", size))


PROCEDURE = Procedure(
    name="raid-sr",
    title="Storage repository on an array",
    summary="XAPI makes a storage repository of type ext on a software RAID array of this host: disks of guests lie "
    "on it as files, as small as what is in them. One that was detached, because its array was not there when the "
    "host started, is attached again. raid-storage makes the array.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=(
        "XCP-ng guide: Software RAID Storage Repository (creating the storage repository)",
        "xe: sr-create, pbd-plug, pbd-unplug, sr-destroy",
    ),
    refuses={
        "no-array": "the array is not there, or not started",
        "not-empty": "something is written on the array",
        "sectors": "the array has sectors of another size than 512 bytes",
        "name-taken": "a storage repository of that name is elsewhere",
    },
    drill=Drill(reason="it needs an XCP-ng host with an array, such as raid-storage makes"),
    dead=(
        Dead(
            says="dd if=/dev/zero over the whole array when the storage repository cannot be made",
            why="what is in the way is told by wipefs, and it takes just that away: seconds, not hours",
        ),
    ),
    subject="array",
)
