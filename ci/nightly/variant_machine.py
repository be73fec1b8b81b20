"""One start of a variant under bare QEMU: the command line, what is asked of the host, and why it did not come up."""

from __future__ import annotations

import re
import secrets
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from builder.drivers.ports import PortTable
from builder.drivers.ssh import ssh_argv, wait_banner
from builder.errors import Interrupted, TimedOut
from builder.lifecycle.booting import ovmf
from builder.lifecycle.panics import PANICS
from builder.lifecycle.plan import NodePlan, plan_lab
from builder.model.load import parse_lab
from builder.model.plan import Cause
from builder.model.runtime import SshTarget
from builder.run import die_with_parent
from builder.systems import load_system, traits
from ci.bench.bare import image_of, prepare
from ci.nightly.part import Figures
from ci.nightly.variant_cases import Case

RELEASE_LAB = 'name: variants\nnodes:\n  dom0:\n    system: debian\n    release: "13"\n'

# Each disk's devices, and the driver that has to have it in the end.
_SCSI = "scsi-hd,bus=s0.0,drive=d0,bootindex=1"
DISKS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "lsilogic": (("lsi53c895a,id=s0,addr=0x10", _SCSI), "sym53c8xx"),
    # This controller's driver shows no disk without a SAS address.
    "lsisas1068": (("mptsas1068,id=s0,addr=0x10", f"{_SCSI},scsi-id=0,wwn=0x5525400000000001"), "mptsas"),
    "megasas": (("megasas,id=s0,addr=0x10", _SCSI), "megaraid_sas"),
    "pvscsi": (("pvscsi,id=s0,addr=0x10", _SCSI), "vmw_pvscsi"),
    "virtio": (("virtio-blk-pci,drive=d0,bootindex=1,addr=0x10",), "virtio-pci"),
    "ide": (("ide-hd,bus=ide.0,drive=d0,bootindex=1",), "ata_piix"),
    "sata": (("ich9-ahci,id=a0,addr=0x10", "ide-hd,bus=a0.0,drive=d0,bootindex=1"), "ahci"),
    "nvme": (("nvme,drive=d0,serial=system,bootindex=1,addr=0x10",), "nvme"),
}
CARDS: Mapping[str, tuple[str, str]] = {
    "e1000": ("e1000", "e1000"),
    "e1000e": ("e1000e", "e1000e"),
    "rtl8139": ("rtl8139", "8139cp"),
    "virtio": ("virtio-net-pci", "virtio_net"),
    "vmxnet3": ("vmxnet3", "vmxnet3"),
}
_TRAFFIC = 2 << 20

PROBE = """\
set -eu
info=$(xl info)
echo "xen $(echo "$info" | sed -n 's/^xen_version *: //p')"
echo "capabilities $(echo "$info" | sed -n 's/^virt_caps *: //p')"
for card in /sys/class/net/*/device; do
    echo "card $(basename "$(readlink -f "$card/driver")")"
    echo "rx $(cat "${card%/device}/statistics/rx_bytes")"
    echo "tx $(cat "${card%/device}/statistics/tx_bytes")"
done
root=$(awk '$2 == "/" { print $1 }' /proc/mounts)
path=$(readlink -f "/sys/class/block/${root##*/}")
address=$(echo "$path" | grep -Eo '[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]' | tail -n 1)
echo "disk $(basename "$(readlink -f "/sys/bus/pci/devices/$address/driver")")"
file=/root/.nestlab-variant
head -c 4194304 /dev/urandom >"$file"
sync "$file"
echo "written $(sha256sum <"$file" | cut -d' ' -f1)"
echo 3 >/proc/sys/vm/drop_caches
echo "read $(dd if="$file" iflag=direct bs=1M status=none | sha256sum | cut -d' ' -f1)"
rm "$file"
"""


class Failed(Exception):
    """`message` is what was printed, `cause` what it means; `name` is that of a known cause, or empty."""

    def __init__(self, message: str, cause: str, name: str = "") -> None:
        super().__init__(message)
        self.message, self.cause, self.name = message, cause, name


def tried(case: Case, folder: Path, *, seconds: float) -> Figures:
    """What came of the variant. An emulated machine that panicked is started once more; see `panics`."""
    node = node_plan()
    for last in (False, True):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            return {"works": True, **_start(case, node, folder, seconds)}
        except Failed as failed:
            if failed.name in PANICS and not last:
                continue
            return {"works": False, "message": failed.message, "cause": failed.cause, "second_start": last}
        finally:
            (folder / "disk.qcow2").unlink(missing_ok=True)
    raise AssertionError("the second start is the last")


@cache
def node_plan() -> NodePlan:
    """The documented Debian host; its image serves all variants."""
    lab = parse_lab(RELEASE_LAB.encode(), traits(), file=Path("variants.yaml"), folder=Path.cwd()).lab
    return plan_lab(lab, load_system).nodes[0]


def _start(case: Case, node: NodePlan, folder: Path, seconds: float) -> Figures:
    bare = prepare(node, image_of(node), folder)
    started = time.monotonic()
    with _machine(case, node, bare.disk, folder) as machine:
        target = bare.target(machine.port)
        watch = Watch(machine.process, folder, causes(node))
        try:
            wait_banner(target, started + seconds, watch.stop)
            reached = round(time.monotonic() - started, 1)
            return {"ssh_seconds": reached, **_asked(case, target, started + seconds)}
        except (TimedOut, Interrupted):
            raise watch.failure(seconds) from None
        except Failed as failed:
            raise watch.known() or failed from None
        finally:
            watch.end()


@dataclass(frozen=True, slots=True)
class Machine:
    process: subprocess.Popen[bytes]
    port: int


@contextmanager
def _machine(case: Case, node: NodePlan, disk: Path, folder: Path) -> Iterator[Machine]:
    ports = PortTable()
    (port,) = ports.claim(1)
    variables = None
    if case.firmware == "uefi":
        firmware = ovmf(folder)
        variables = (firmware.code, Path(firmware.variables))
        shutil.copyfile(firmware.template, variables[1])
    with (folder / "qemu.log").open("wb") as log:
        process = subprocess.Popen(
            qemu_argv(case, node.node.management_mac, disk, folder / "console.log", port, variables),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, safe between fork and exec
        )  # fmt: skip
        try:
            yield Machine(process, port)
        finally:
            process.kill()
            process.wait()
            ports.release()


def qemu_argv(
    case: Case, mac: str, disk: Path, console: Path, port: int, uefi: tuple[str, Path] | None = None
) -> list[str]:
    """`uefi`: OVMF's code, and the machine's own variables."""
    devices, _ = DISKS[case.bus]
    card, _ = CARDS[case.nic]
    argv = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", f"{case.machine},graphics=off",
        "-cpu", case.cpu, "-m", "4096", "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none",
        "-vga", "none",
        "-serial", f"file:{console}", "-no-reboot",
        "-drive", f"if=none,id=d0,file={disk},format=qcow2,cache=unsafe,discard=unmap,detect-zeroes=unmap",
    ]  # fmt: skip
    for device in devices:
        argv += ["-device", device]
    argv += ["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22"]
    argv += ["-device", f"{card},netdev=n0,mac={mac},addr=0x3,romfile="]
    if uefi is not None:
        code, variables = uefi
        argv += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"]
        argv += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    return argv


def causes(node: NodePlan) -> tuple[Cause, ...]:
    """Why this host may fail to start, as its system knows it: what is sure, what says most first."""
    found = {cause: None for phase in node.system.boots[0].phases for cause in phase.causes if cause.sure}
    return tuple(sorted(found, key=lambda cause: cause.vague))


@dataclass
class Watch:
    """Ends the waiting when QEMU has ended, or when the console says that nothing more will come."""

    process: subprocess.Popen[bytes]
    folder: Path
    causes: Sequence[Cause]
    stop: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(1):
            if self.process.poll() is not None or named(self.console(), self.causes):
                self._over.wait(3)  # the lines that follow it
                self.stop.set()
                return

    def console(self) -> str:
        path = self.folder / "console.log"
        return plain(path.read_bytes().decode("utf-8", "replace")) if path.exists() else ""

    def known(self) -> Failed | None:
        """What the console names as cause, if it does."""
        found = named(self.console(), self.causes)
        if found is None:
            return None
        cause, line = found
        return Failed(line, f"{cause.message}: {cause.cure}", cause.name)

    def failure(self, seconds: float) -> Failed:
        """What the console or QEMU said last of it."""
        if known := self.known():
            return known
        console = self.console()
        if self.process.poll() is not None:
            said = last_line((self.folder / "qemu.log").read_text("utf-8", "replace"))
            return Failed(said or last_line(console), f"QEMU ended with status {self.process.returncode}")
        return Failed(last_line(console), f"no ssh after {seconds:.0f} s, and no line that tells why")


def named(console: str, known: Sequence[Cause]) -> tuple[Cause, str] | None:
    """The first known cause on the console, and the line that names it; where that one is vague, two more lines."""
    for cause in known:
        found = re.search(cause.pattern, console, re.MULTILINE)
        if found:
            lines = console[console.rfind("\n", 0, found.start()) + 1 :].splitlines()
            told = [line.strip() for line in lines if line.strip()]
            return cause, " ".join(told[: 3 if cause.vague else 1])
    return None


def plain(text: str) -> str:
    """Console text without what terminals obey."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]", "", text.replace("\r", "\n"))


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _asked(case: Case, target: SshTarget, deadline: float) -> Figures:
    """What the host says of itself, after bytes went over its card both ways."""
    sent = secrets.token_bytes(_TRAFFIC)
    came = _ssh(target, ["sh", "-c", "cat >/run/nestlab-variant && cat /run/nestlab-variant"], sent, deadline)
    if came != sent:
        raise Failed("", f"of {len(sent)} bytes sent over the card, {len(came)} came back, and not the same")
    told = answers(_ssh(target, ["sh", "-s"], PROBE.encode(), deadline).decode())
    judge_answers(case, told)
    return {"xen": told["xen"], "capabilities": told["capabilities"], "disk": told["disk"], "card": told["card"]}


def _ssh(target: SshTarget, command: list[str], stdin: bytes, deadline: float) -> bytes:
    left = max(1.0, deadline - time.monotonic())
    try:
        done = subprocess.run(ssh_argv(target, command), input=stdin, capture_output=True, timeout=left, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(shlex.join(command)[:80], "ssh was there, and then did not answer in time") from None
    if done.returncode:
        raise Failed(last_line(done.stderr.decode("utf-8", "replace")), f"a command by ssh failed: {done.returncode}")
    return done.stdout


def answers(text: str) -> dict[str, str]:
    """What PROBE prints: a name and a value in each line."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def judge_answers(case: Case, told: Mapping[str, str]) -> None:
    """Raises Failed unless the disk gave back what was written, and drivers are those that the variant is about."""
    if not told.get("written") or told["written"] != told.get("read"):
        raise Failed(f"{told.get('written')} written, {told.get('read')} read", "the disk gave back other bytes")
    for what, wanted in (("disk", DISKS[case.bus][1]), ("card", CARDS[case.nic][1])):
        if told.get(what) != wanted:
            raise Failed(f"{what}: {told.get(what)}", f"the {what} was to be driven by {wanted}")
    for way in ("rx", "tx"):
        if int(told.get(way) or 0) < _TRAFFIC:
            raise Failed(f"{way} {told.get(way)}", "the card did not carry the bytes that came over ssh")
