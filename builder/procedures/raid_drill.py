"""Arrays that a host lives on, drilled: each of their disks is pulled in turn, the host starts without it, and the disk
is put back and built up.

Disks go round: the firmware tries one that was plugged in again last. So the disk that is pulled is always the one that
the host would start from, and in the end it has started from every one of them.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping

from builder.errors import LabError, TimedOut
from builder.events import Emit
from builder.model.host import Host, World
from builder.model.lab import Value
from builder.procedures.api import Evidence, holds, same
from builder.procedures.asking import ask, listed
from builder.procedures.drill import Step, attempt
from builder.procedures.raid_look import Seen, look

# Seconds on hardware: what an emulated host gets more of is told by `patience`.
REBOOT_SECONDS = 300
ASSEMBLE_SECONDS = 60
FIND_SECONDS = 60
BUILD_SECONDS = 1800
COMMAND_SECONDS = 60
SERIAL_LENGTH = 20
"""Letters of a disk's name that are its serial number."""

_MARK = "/var/lib/nestlab/raid-drill"
_WRITE = 'umask 077; mkdir -p "${1%/*}" && printf "%s\\n" "$2" >"$1" && sync'
_SCAN = "for host in /sys/class/scsi_host/*; do echo '- - -' >$host/scan; done"
# One that was pulled is older than the others: where no bitmap tells what it missed, it comes back as a new one.
_BACK = 'mdadm "$1" --re-add "$2" || { mdadm --zero-superblock "$2" && mdadm "$1" --add "$2"; }'
_CHECK = "echo check >/sys/block/$1/md/sync_action"
_NO_DISK = "Boot failed"
"""What SeaBIOS says of a disk that it cannot start from, before it tries the next."""


STEPS = ("pull", "start without it", "plug in", "build up")


class DiskDrill(Value):
    """What became of one disk. `started_from` is the one that the host started from while it was out; empty where it
    starts from none of these disks."""

    disk: str
    started_from: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def ok(self) -> bool:
        return len(self.steps) == len(STEPS) and all(step.ok for step in self.steps)


class RaidDrill(Value):
    """What became of a host's arrays: `arrays` are their levels, `disks` all that they are made of, in the order in
    which they were pulled. The drill ends with the first disk that does not come through."""

    node: str
    release: str
    arrays: Mapping[str, str]
    members: tuple[str, ...]
    disks: tuple[DiskDrill, ...]
    check: Step | None
    seconds: float

    @property
    def ok(self) -> bool:
        return all(disk.ok for disk in self.disks) and self.check is not None and self.check.ok


def drill_raid(
    world: World, node: str, *, tell: Emit, patience: float = 1, console: Callable[[], str] = str,
    sleep: Callable[[float], None] = time.sleep,
) -> RaidDrill:  # fmt: skip
    """Go through all disks. `console` gives what the node said on its serial port since it was last called. What fails
    is in the result.

    Raises LabError for a host that cannot be drilled: without an array, with one that is not whole, or that has none to
    spare.
    """
    return _Drill(world, node, tell, patience, console, sleep).go()


class _Drill:
    def __init__(
        self, world: World, node: str, tell: Emit, patience: float, console: Callable[[], str],
        sleep: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._world = world
        self._node = node
        self._tell = tell
        self._patience = patience
        self._console = console
        self._sleep = sleep
        self._nonce = secrets.token_hex(16)
        self._members: list[str] = []
        self._starts = False

    @property
    def _host(self) -> Host:
        return self._world.host(self._node)

    def go(self) -> RaidDrill:
        began = time.monotonic()
        release = self._host.facts().release
        before = self._begin()
        turns = self._turns()
        members = self._members = [name for name in turns if before.numbers(_serial(name))]
        if not members:
            raise LabError(f"{self._node}: its arrays are on none of the lab's disks", hint="lsblk -o NAME,SERIAL")
        self._starts = turns[0] in members
        disks: list[DiskDrill] = []
        while len(disks) < len(members) and all(disk.ok for disk in disks):
            rest = [name for name in self._turns() if name in members and name not in {each.disk for each in disks}]
            disks.append(self._disk(rest[0]))
        steps: list[Step] = []
        if all(disk.ok for disk in disks):
            attempt(steps, "check", lambda: self._check(sorted({each.started_from for each in disks})))
            self._host.run(["rm", "-f", "--", _MARK])
        return RaidDrill(
            node=self._node, release=release, members=tuple(members), disks=tuple(disks),
            arrays={array.name: array.level for array in before.arrays.values() if array.active},
            check=steps[0] if steps else None, seconds=round(time.monotonic() - began, 1),
        )  # fmt: skip

    def _begin(self) -> Seen:
        """All arrays, whole and at rest; what is to outlive the drill is written."""
        seen = self._look()
        arrays = [array for array in seen.arrays.values() if array.active]
        if not arrays:
            raise LabError(f"{self._node} has no array that runs", hint="raid: in its lab file, or raid-storage")
        for array in arrays:
            if array.level in ("raid0", "linear"):
                raise LabError(f"{self._node}: {array.name} is {array.level}, and lost with any of its disks")
            if array.missing:
                raise LabError(f"{self._node}: {array.name} is not whole: {array}",
                               hint="put back what it lacks first: cat /proc/mdstat")  # fmt: skip
        seen = self._built({array.name for array in arrays})
        self._write()
        return seen

    def _turns(self) -> list[str]:
        """The disks that are plugged in, as the firmware tries them."""
        disks = [disk for disk in self._world.disks() if disk.node == self._node and disk.plugged]
        return [disk.name for disk in sorted(disks, key=lambda disk: disk.turn)]

    def _starts_from(self, pulled: str) -> str:
        """The first of the arrays' disks that is left; others have no loader, and are passed over."""
        return next(name for name in self._turns() if name in self._members and name != pulled) if self._starts else ""

    def _disk(self, disk: str) -> DiskDrill:
        numbers = self._look().numbers(_serial(disk))
        first = self._starts_from(disk)
        steps: list[Step] = []
        todo = (
            lambda: self._pull(disk, numbers),
            lambda: self._start(disk, first, numbers),
            lambda: self._plug(disk, numbers),
            lambda: self._build(numbers),
        )
        for name, act in zip(STEPS, todo, strict=True):
            self._tell("begin", node=self._node, step=disk, phase=name)
            if attempt(steps, name, act) == "no":
                with contextlib.suppress(LabError):  # as whole as it can be: what failed is told already
                    self._world.insert_disk(self._node, disk)
                break
        return DiskDrill(disk=disk, started_from=first, steps=tuple(steps))

    # The four steps.

    def _pull(self, disk: str, numbers: Mapping[str, int]) -> tuple[Evidence, ...]:
        """The host is not asked. What it writes next tells it."""
        self._world.pull_disk(self._node, disk)
        self._write()
        arrays = self._look().arrays
        noticed = sorted(name for name in numbers if name in arrays and arrays[name].missing)
        return (holds("the host goes on without it", "what it writes can be read", f"noticed by {listed(noticed)}",
                      self._written()),)  # fmt: skip

    def _start(self, disk: str, first: str, numbers: Mapping[str, int]) -> tuple[Evidence, ...]:
        self._console()
        self._host.reboot(wait=self._of(REBOOT_SECONDS))
        seen = self._until(
            lambda seen: all(name in seen.arrays and seen.arrays[name].active for name in numbers),
            "the arrays to run without a disk", ASSEMBLE_SECONDS,
        )  # fmt: skip
        return (
            *self._firmware(first),
            same(f"{disk} is there", False, _serial(disk) in seen.disks),
            *(same(f"disks of {array.name}", f"{array.disks - 1} of {array.disks}", str(array).partition(",")[0])
              for array in map(seen.arrays.__getitem__, numbers)),
            *(holds(f"{array.name} is whole", "it has nothing on that disk", str(array), array.whole)
              for array in seen.arrays.values() if array.active and array.name not in numbers),
            same("what was written is there", True, self._written()),
        )  # fmt: skip

    def _firmware(self, first: str) -> tuple[Evidence, ...]:
        """The console of this start: with a disk of another use before it, it passes over that one rightly."""
        said = self._console()
        turns = self._turns()
        if not first or turns[0] != first:
            return ()
        passed = _NO_DISK in said
        return (holds(f"the firmware starts from {first}", "the first that it tries",
                      "it was passed over" if passed else "it was not passed over", not passed),)  # fmt: skip

    def _plug(self, disk: str, numbers: Mapping[str, int]) -> tuple[Evidence, ...]:
        """Controllers tell nobody of a new disk. What udev made of its old parts alone stands in the way."""
        self._world.insert_disk(self._node, disk)
        self._run("sh", "-c", _SCAN)
        serial = _serial(disk)
        seen = self._until(
            lambda seen: all(seen.part(serial, number) for number in numbers.values()), disk, FIND_SECONDS
        )
        ours = {seen.part(serial, number) for number in numbers.values()}
        for idle in (array for array in seen.arrays.values() if not array.active and ours & set(array.members)):
            self._run("mdadm", "--stop", f"/dev/{idle.name}")
        for name, number in numbers.items():
            part = str(seen.part(serial, number))
            if part not in seen.arrays[name].members:
                self._run("sh", "-c", _BACK, "sh", f"/dev/{name}", f"/dev/{part}")
        seen = self._look()
        return tuple(
            holds(f"{name} has it again", "a member", str(seen.arrays[name]),
                  seen.part(serial, number) in seen.arrays[name].members) for name, number in numbers.items()
        )  # fmt: skip

    def _build(self, numbers: Mapping[str, int]) -> tuple[Evidence, ...]:
        seen = self._built(set(numbers))
        return (
            *(same(f"disks of {name}", f"{array.disks} of {array.disks}", str(array))
              for name, array in ((name, seen.arrays[name]) for name in numbers)),
            same("what was written is there", True, self._written()),
        )  # fmt: skip

    def _check(self, started: list[str]) -> tuple[Evidence, ...]:
        """The kernel reads all copies and compares them. Pages that are swapped out may change on their way to one and
        not to the other, which is no fault: then a difference proves nothing."""
        swaps = ask(self._host, "cat", "/proc/swaps").splitlines()[1:]
        used = any(int(line.split()[3]) for line in swaps)
        note = ", and swap is used" if used else ""
        arrays = [array.name for array in self._look().arrays.values() if array.active]
        for name in arrays:
            self._run("sh", "-c", _CHECK, "sh", name)
        self._built(set(arrays))
        differ = {name: self._host.read(f"/sys/block/{name}/md/mismatch_cnt").decode().strip() for name in arrays}
        return (
            *(holds(f"the copies of {name} are the same", "0 sectors differ", f"{count}{note}", count == "0" or used)
              for name, count in differ.items()),
            *([same("disks that the host has started from", listed(sorted(self._members)), listed(started))]
              if self._starts else []),
        )  # fmt: skip

    # What they are made of.

    def _write(self) -> None:
        self._run("sh", "-c", _WRITE, "sh", _MARK, self._nonce)

    def _written(self) -> bool:
        return self._host.read(_MARK).decode(errors="replace").strip() == self._nonce

    def _built(self, names: set[str]) -> Seen:
        return self._until(
            lambda seen: all(
                name in seen.arrays and seen.arrays[name].whole and seen.arrays[name].action in ("idle", "none")
                for name in names
            ),
            f"{listed(sorted(names))} to be built up", BUILD_SECONDS,
        )  # fmt: skip

    def _until(self, reached: Callable[[Seen], bool], what: str, seconds: float) -> Seen:
        limit, waited, every = self._of(seconds), 0.0, 2.0
        while True:
            seen = self._look()
            if reached(seen):
                return seen
            if waited >= limit:
                arrays = ", ".join(f"{array.name} has {array}" for array in seen.arrays.values())
                raise TimedOut(f"{what}; {arrays or 'no array is there'}", seconds=limit, node=self._node)
            self._sleep(every)
            waited += every

    def _look(self) -> Seen:
        return look(self._host, timeout=self._of(COMMAND_SECONDS))

    def _run(self, *argv: str) -> str:
        return ask(self._host, *argv, timeout=self._of(COMMAND_SECONDS))

    def _of(self, seconds: float) -> float:
        return seconds * self._patience


def _serial(disk: str) -> str:
    return disk[:SERIAL_LENGTH]
