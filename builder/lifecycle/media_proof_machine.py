"""The machine that a medium is booted in: a QEMU run by this very process, which dies with it whatever happens.

No libvirt here: a proof lives as long as the command that makes it, so there is nothing to hand over to a keeper. Each
run has a folder with a held lock below the runtime folder, and QEMU's command line names it; what a killed run left is
known by the free lock and taken away by the next one, or by `reap`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.drivers.embed import leftovers, processes_naming
from builder.errors import LabError
from builder.lifecycle.booting import ovmf
from builder.lifecycle.media_proof_model import Way
from builder.model.runtime import Accelerator
from builder.paths import Busy, Places, locked, private_dir
from builder.run import need, stream

_PREFIX, _LOCK = "proof-", "proofs.lock"
_DAY = 86400.0
_TEXT_AT, _COLUMNS, _ROWS = 0xB8000, 80, 25
"""The memory of a VGA screen in text mode: a character of code page 437 and its colours, row by row."""
_QMP_SECONDS = 10.0


@contextlib.contextmanager
def proof_folder(places: Places) -> Iterator[Path]:
    """A private folder for one proof, gone afterwards. Takes away what killed proofs left, too."""
    private_dir(places.runtime)
    with contextlib.ExitStack() as held:
        with _alone(places):
            _reap(places)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=places.runtime))
            held.enter_context(locked(folder / "lock"))
        try:
            yield folder
        finally:
            leftovers(folder)
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                places.runtime.rmdir()


def reap_proofs(places: Places) -> tuple[str, ...]:
    """End and remove what killed proofs left; returns the names of their folders. Running ones are not touched."""
    if not any(places.runtime.glob(f"{_PREFIX}*")):
        return ()
    with _alone(places):
        return _reap(places)


@contextlib.contextmanager
def _alone(places: Places) -> Iterator[None]:
    """No other proof's folder is made or taken away meanwhile: a new one has no held lock for a moment."""
    path = places.runtime / _LOCK
    with locked(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _reap(places: Places) -> tuple[str, ...]:
    reaped = []
    for folder in sorted(places.runtime.glob(f"{_PREFIX}*")):
        with contextlib.suppress(Busy, OSError), locked(folder / "lock", wait=False):
            leftovers(folder)
            shutil.rmtree(folder, ignore_errors=True)
            reaped.append(folder.name)
    return tuple(reaped)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a machine is made of. `memory` in bytes. `mirrored`: the firmware's and the boot loader's screen is copied
    to the serial console; not for media whose menus write there themselves."""

    iso: Path
    way: Way
    folder: Path
    accelerator: Accelerator
    memory: int
    mirrored: bool = True

    @property
    def console(self) -> Path:
        """The log of the first serial port."""
        return self.folder / "console.log"

    @property
    def monitor(self) -> Path:
        return self.folder / "q"

    def argv(self) -> list[str]:
        """QEMU's command line. Raises HostLacks when QEMU or its UEFI firmware is not installed."""
        qemu = need("qemu-system-x86_64", why="boot the medium", package="qemu-system-x86")
        # TCG crashes Xen's dom0 when the processor has SMAP (measured with QEMU 7.2, see the KVM hypervisor's file).
        cpu = "max,-smap" if self.accelerator == "tcg" else "host"
        accelerator = "tcg,thread=multi" if self.accelerator == "tcg" else "kvm"
        graphics = "off" if self.mirrored else "on"
        return [
            qemu, "-name", f"nestlab-proof-{self.way.name}", "-nodefaults", "-no-user-config", "-no-reboot",
            "-accel", accelerator, "-cpu", cpu, "-smp", "1", "-m", f"{self.memory >> 20}M",
            "-machine", f"pc,graphics={graphics},memory-backend=ram",
            # A file without a name, which this process can read: see media_proof_memory.
            "-object", f"memory-backend-memfd,id=ram,size={self.memory >> 20}M,share=on",
            "-display", "none", "-vga", "std", "-serial", f"file:{self.console}",
            "-qmp", f"unix:{self.monitor},server=on,wait=off", *self._firmware(), *self._medium(),
        ]  # fmt: skip

    def _firmware(self) -> list[str]:
        if self.way.firmware == "bios":
            return []
        found = ovmf(self.folder)
        shutil.copyfile(found.template, found.variables)
        return [
            "-drive", f"if=pflash,format=raw,readonly=on,file={found.code}",
            "-drive", f"if=pflash,format=raw,file={found.variables}",
        ]  # fmt: skip

    def _medium(self) -> list[str]:
        # JSON, because a path may hold what means something in QEMU's own option syntax.
        node = {
            "driver": "raw", "node-name": "medium", "read-only": True,
            "file": {
                "driver": "host_device" if self.iso.is_block_device() else "file",
                "filename": str(self.iso.absolute()),
            },
        }  # fmt: skip
        device = ["-device", "ide-cd,drive=medium,bootindex=0"]
        if self.way.attached == "usb":
            device = ["-device", "qemu-xhci,id=usb", "-device", "usb-storage,bus=usb.0,drive=medium,bootindex=0"]
        return ["-blockdev", json.dumps(node), *device]


class Machine:
    """Runs in a thread of its own from `start` to `end`. `said` is what QEMU itself wrote."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.said: list[str] = []
        self._stop = threading.Event()
        self._error: LabError | None = None
        # QEMU is killed by the kernel when the thread that started it goes away: this one stays until QEMU has ended.
        self._thread = threading.Thread(target=self._run, name=f"proof {setup.way.name}", daemon=True)

    def start(self) -> None:
        """Power on. Raises HostLacks when the host lacks what the machine is made of."""
        self._argv = self.setup.argv()
        self._thread.start()

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        """Pull the plug; fine on a machine that has ended."""
        self._stop.set()
        self._thread.join()

    def pid(self) -> int | None:
        """QEMU's process, None before and after its life."""
        for pid, fd in processes_naming(self.setup.folder, program=b"qemu"):
            os.close(fd)
            return pid
        return None

    def screenshot(self, to: Path) -> bool:
        """Keep what is on the screen as a PNG (older QEMU: a PPM of that name); whether it worked."""
        with contextlib.suppress(OSError, ValueError, LabError):
            for more in ({"format": "png"}, {}):
                if "error" not in self._ask("screendump", filename=str(to), **more):
                    return to.exists()
        return False

    def screen_text(self) -> list[str]:
        """The lines of a screen in text mode; in a graphical one, or without a machine, none that mean anything."""
        kept = self.setup.folder / "screen"
        try:
            self._ask("pmemsave", val=_TEXT_AT, size=2 * _COLUMNS * _ROWS, filename=str(kept))
            text = kept.read_bytes()[::2].decode("cp437")
        except (OSError, ValueError):
            return []
        return [text[at : at + _COLUMNS].rstrip(" \0") for at in range(0, len(text), _COLUMNS)]

    def _run(self) -> None:
        try:
            stream(self._argv, on_line=self.said.append, timeout=_DAY, stop=self._stop)
        except LabError as error:
            self._error = error

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """One question to QEMU's monitor. Raises OSError when it does not answer."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(_QMP_SECONDS)
            channel.connect(str(self.setup.monitor))
            with channel.makefile("rwb") as monitor:
                monitor.readline()
                reply: dict[str, Any] = {}
                for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    monitor.write(json.dumps(request).encode() + b"\n")
                    monitor.flush()
                    reply = {"event": ""}
                    while "event" in reply:
                        reply = json.loads(monitor.readline() or b'{"error": "it ended"}')
                return reply
