"""What keeps an array's disks in step over a crash, changed while the array is in use."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import raid
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
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, listed

# mdadm changes one thing a call: of a bitmap and a policy together it does the first and says nothing of the second.
_OFF = {"bitmap": "--bitmap=none", "ppl": "--consistency-policy=resync"}
_ON = {"bitmap": "--bitmap=internal", "ppl": "--consistency-policy=ppl"}


class Asked(Options):
    policy: Literal["resync", "bitmap", "ppl"] = Field(
        description="resync: all of it is compared after a crash; bitmap: what was being written; ppl: that, and the "
        "write hole of level 5 is closed"
    )
    array: str = Field("md0", pattern=raid.NAME, description="name of the array")


class PolicyState(State):
    """By mdadm: `policy`, empty without an array. `well`: no disk is missing; `doing`: what goes on, such as a
    resync."""

    passing: ClassVar[frozenset[str]] = frozenset({"level", "version", "well", "doing"})

    policy: str
    level: str
    version: str
    well: bool
    doing: str


class _Either(Way[Asked, PolicyState]):
    """mdadm is the same everywhere; an array's policy is kept on its own disks."""

    state = PolicyState
    sample = PolicyState(policy="bitmap", level="raid5", version="1.2", well=True, doing="")

    def look(self, host: Host, asked: Asked) -> PolicyState:
        array, _ = raid.detail(host, _node(asked))
        now = raid.running(host).get(asked.array)
        return PolicyState(
            policy=array.get("Consistency Policy", ""),
            level=array.get("Raid Level", ""),
            version=array.get("Version", ""),
            well=now is not None and now.state == "active" and now.wanted == now.in_step,
            doing=now.doing if now else "",
        )

    def refusals(self, state: PolicyState, asked: Asked) -> tuple[Refusal, ...]:
        if not state.policy:
            hint = "/proc/mdstat names them; nestlab procedure run LAB NODE raid-storage makes one"
            return unmet([(False, "no-array", f"no array {asked.array} runs", hint)])
        rules = (
            (state.policy != "journal", "journal", f"{asked.array} has a journal, which no running array can lose",
             "the policy of an array with a journal is that of the day it was made"),
            (asked.policy != "ppl" or state.level == "raid5", "level",
             f"partial parity logs are for level 5 alone, and {asked.array} is {state.level}",
             "level 6 has a journal, from the day it is made; levels 1 and 10 have no write hole"),
            (asked.policy != "ppl" or state.version.startswith("1."), "metadata",
             f"metadata of version {state.version} has no room for partial parity logs", "metadata of version 1.2"),
            (not state.doing, "busy", f"{asked.array} is at work: {state.doing}", f"mdadm --wait {_node(asked)}"),
            (state.well or bool(state.doing), "degraded", f"{asked.array} lacks a disk, which would not be told",
             "nestlab procedure run LAB NODE raid-storage takes one in again that has come back"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: PolicyState, asked: Asked) -> tuple[Action, ...]:
        return switch(_node(asked), state.policy, asked.policy)

    def undo(self, state: PolicyState, before: PolicyState, asked: Asked) -> tuple[Action, ...]:
        todo = switch(_node(asked), state.policy, before.policy)
        if todo and state.doing:
            wait = run("mdadm", "--wait", _node(asked), seconds=3600, fine=(1,), hint="the array is still at work")
            return (wait, *todo)
        return todo

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        array, members = raid.detail(host, _node(asked))
        kernel = host.run(["cat", f"/sys/block/{asked.array}/md/consistency_policy"]).stdout.strip()
        kept = sorted({_on_disk(ask(host, "mdadm", "--examine", disk)) for disk in members})
        return (
            same("consistency policy, by mdadm", asked.policy, array.get("Consistency Policy", "")),
            same("the kernel's own", asked.policy, kernel),
            same("what its disks say for the next start", asked.policy, listed(kept)),
        )


def switch(node: str, now: str, wanted: str) -> tuple[Action, ...]:
    """The way from one policy to another goes over none; a call each."""
    if now == wanted:
        return ()
    words = (_OFF.get(now), _ON.get(wanted, "" if now in _OFF else "--consistency-policy=resync"))
    return tuple(run("mdadm", "--grow", word, node, seconds=120) for word in words if word)


def _on_disk(text: str) -> str:
    """A disk's own record, by `mdadm --examine`."""
    if re.search(r"^ *Internal Bitmap :", text, re.MULTILINE):
        return "bitmap"
    return "ppl" if re.search(r"^ *PPL :", text, re.MULTILINE) else "resync"


def _node(asked: Asked) -> str:
    return f"/dev/{asked.array}"


PROCEDURE = Procedure(
    name="raid-policy",
    title="What keeps an array in step over a crash",
    summary="A software RAID array gets another consistency policy while it is in use: none of its own (resync), a "
    "write-intent bitmap, or partial parity logs, which close the write hole of level 5 and make writing slower by "
    "30 to 40 %. And back.",
    options=Asked,
    ways={"xl": _Either(), "xe": _Either()},
    sources=(
        "XCP-ng guide: Software RAID Storage Repository (avoiding the write hole)",
        "mdadm(8), md(4)",
        "Linux: Documentation/driver-api/md/raid5-ppl.rst",
        "mdadm's Grow.c: what it refuses to change",
    ),
    refuses={
        "no-array": "no such array runs",
        "journal": "the array has a journal",
        "level": "ppl for an array of another level than 5",
        "metadata": "ppl for an array with metadata of version 0.90",
        "busy": "the array is being built up, compared or given another shape",
        "degraded": "a disk of the array is missing",
    },
    drill=Drill(
        options={"policy": "ppl"},
        reason="it needs a host with an array, such as raid-storage makes on labs/raid-sr.yaml",
    ),
    dead=(
        Dead(
            says="mdadm --grow --bitmap=none --consistency-policy=ppl /dev/md0",
            why="mdadm takes the bitmap away and forgets the rest of the call: the array is left with neither. Two "
            "calls do it",
        ),
        Dead(
            says="mdadm --grow --bitmap=internal /dev/md0, to come back from PPL",
            why='mdadm refuses: "Cannot add bitmap to array with PPL". The log is switched off first: '
            "--consistency-policy=resync",
        ),
    ),
    subject="array",
)
