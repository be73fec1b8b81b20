"""The same medium in a bare QEMU, started and watched by hand: what the installer takes by itself, to compare with."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.errors import NodeFailed, TimedOut
from builder.model.plan import Phase
from builder.run import die_with_parent, run

POLL = 0.5
"""Seconds between two looks at the console."""
_ANSWER = 300
"""Seconds that a command may take: `xl list` took more than 60 on an emulated host that shares its machine."""
Took = Mapping[str, float]
"""`seconds` that went by, and `cpu_seconds` of the emulator."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The documented one: e1000, and LSI controllers, one for each disk. `memory` is MiB; `disks` are image files by
    their serial numbers; `port` on this machine leads to its ssh server."""

    memory: int
    mac: str
    disks: Mapping[str, Path]
    port: int

    def command(self, serial: Path, media: Sequence[Path]) -> list[str]:
        drives = []
        for number, (name, path) in enumerate(self.disks.items()):
            drives += ["-drive", f"if=none,id=d{number},file={path},cache=unsafe,discard=unmap",
                       "-device", f"lsi53c895a,id=s{number}",
                       "-device", f"scsi-hd,bus=s{number}.0,drive=d{number},serial={name}"]  # fmt: skip
        for number, path in enumerate(media):
            drives += ["-drive", f"if=ide,index={number},media=cdrom,readonly=on,file={path}"]
        return [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "pc", "-cpu", "max,-smap,-xsave",
            "-m", str(self.memory), "-smp", "2", "-nodefaults", "-display", "none", "-serial", f"file:{serial}",
            *drives, "-no-reboot", "-boot", "d" if media else "c",
            "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device", f"e1000,netdev=n,mac={self.mac},romfile=",
        ]  # fmt: skip


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """The folder, empty. Only logs stay in it: disks and media are large."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != ".log":
                path.unlink()


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, safe between fork and exec
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def install(
    machine: Machine, media: Sequence[Path], folder: Path, phases: Sequence[Phase], *, seconds: float
) -> dict[str, Took]:
    """Install, and say what each phase took; the last one ends with the machine.

    Raises NodeFailed for a cause that the phases know, TimedOut after `seconds`.
    """
    serial = folder / "serial.log"
    serial.unlink(missing_ok=True)
    with _running(machine.command(serial, media), folder / "qemu.log") as process:
        return watched(process, serial, phases, seconds)


def watched(process: subprocess.Popen[bytes], serial: Path, phases: Sequence[Phase], seconds: float) -> dict[str, Took]:
    """What `install` says, of a machine that runs and the file that its serial port goes to."""
    took: dict[str, Took] = {}
    began = last = time.monotonic()
    used = spent = 0.0
    read, rest = 0, list(phases)
    while rest:
        spent = cpu_seconds(process.pid) or spent
        ended = process.poll() is not None
        data = serial.read_bytes() if serial.exists() else b""
        new = data[read:].decode("utf-8", "replace")
        match = re.search(rest[0].awaits, new, re.MULTILINE) if rest[0].awaits else None
        for cause in (each for each in rest[0].causes if each.sure and match is None):
            if re.search(cause.pattern, new, re.MULTILINE):
                raise NodeFailed("bare", cause=cause.name, message=cause.message, hint=cause.cure)
        now = time.monotonic()
        if match or (ended and not rest[0].awaits):
            took[rest.pop(0).name] = {"seconds": round(now - last, 1), "cpu_seconds": round(spent - used, 1)}
            last, used = now, spent
            read += len(new[: match.end()].encode()) if match else 0
        elif ended:
            raise NodeFailed("bare", cause="early-end", message=f"the machine went away in {rest[0].name}", hint="")
        elif now - began > seconds:
            raise TimedOut(f"the end of {rest[0].name}", seconds=seconds)
        else:
            time.sleep(POLL)
    return took


def cpu_seconds(pid: int) -> float:
    """What the emulator has used so far: unlike the time that went by it does not depend on what else runs here."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def until_end(machine: Machine, media: Sequence[Path], folder: Path, *, seconds: float) -> bool:
    """Whether a machine that is started from media ends by itself in time; what it says is in serial.log."""
    serial = folder / "serial.log"
    serial.unlink(missing_ok=True)
    with _running(machine.command(serial, media), folder / "qemu.log") as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def first_boot(
    machine: Machine, key: Path, folder: Path, *, seconds: float, ready: str = "xl list",
    ask: str = "xl info; cat /proc/mdstat; lvs; df -h /",
) -> dict[str, float | str]:  # fmt: skip
    """Start the installed host from its disks: seconds until ssh let us in and `ready` succeeded, and what is said to
    `ask`."""
    serial = folder / "boot.log"
    serial.unlink(missing_ok=True)
    ssh = ["ssh", "-i", str(key), "-p", str(machine.port), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
           "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10", "root@127.0.0.1"]  # fmt: skip
    began = time.monotonic()
    with _running(machine.command(serial, ()), folder / "qemu.log") as process:
        while True:
            with contextlib.suppress(TimedOut):
                if run([*ssh, ready], check=False, timeout=_ANSWER).ok:
                    break
            if process.poll() is not None:
                raise NodeFailed("bare", cause="early-end", message="the machine went away", phase="its first boot")
            if time.monotonic() - began > seconds:
                raise TimedOut("ssh", seconds=seconds)
            time.sleep(1)
        took = round(time.monotonic() - began, 1)
        said = run([*ssh, ask], check=False, timeout=_ANSWER).stdout
        return {"seconds": took, "said": said}
