"""The program of ours that runs beside a libvirt daemon on another machine, for one lab, as long as its keeper lives.

It is sent there as text and runs from memory, with the standard library alone (drivers.outpost_link names the modules
that go along). A request is a line of JSON `{"id", "op", ...}`, an answer one of `{"id", "result"}` or `{"id", "error":
{"kind", "message", "hint"}}`. What it holds, ports and the switch and the lab's lock, ends with it: it ends when its
input does, or when nothing was heard for a minute.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from builder.drivers.frames import Capture
from builder.drivers.outpost_files import Depot, nearest, said, user_name
from builder.drivers.ports import PortTable
from builder.drivers.switch import Switch
from builder.errors import HostLacks, LabError, UsageError

SILENCE = 60.0
"""Seconds without a request after which the other end is taken for dead: it asks something every few."""
_SLOW = ("adopt",)
_SOCKETS = {
    "system": ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"),
    "session": ("{runtime}/libvirt/libvirt-sock", "{runtime}/libvirt/virtqemud-sock"),
}


class Outpost:
    """What the requests do that are not about files. `ops` has all of them by their names."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ports = PortTable()
        self._switch = Switch()
        self._captures: dict[int, tuple[str, Capture]] = {}
        depot = Depot(root)
        offered: tuple[Callable[..., Any], ...] = (
            depot.open, depot.placed, depot.remove, depot.labs, depot.begin, depot.adopt, depot.forget, depot.prune,
            self.ping, self.has_file, self.machine, self.libvirt, self.claim, self.release, self.networks, self.plug,
            self.unplug, self.cut, self.impair, self.states, self.capture, self.taken,
        )  # fmt: skip
        self.ops: Mapping[str, Callable[..., Any]] = {each.__name__: each for each in offered}

    def ping(self) -> bool:
        return True

    def has_file(self, path: str) -> bool:
        return Path(path).is_file()

    def machine(self) -> dict[str, Any]:
        """Its name and user, its boot, and the bytes of memory and disk that are free (None: it does not tell)."""
        memory = None
        with contextlib.suppress(OSError):
            for line in Path("/proc/meminfo").read_text().splitlines():
                if line.startswith("MemAvailable:"):
                    memory = int(line.split()[1]) << 10
        boot = said(Path("/proc/sys/kernel/random/boot_id")) or ""
        return {
            "host": socket.gethostname(), "user": user_name(), "boot": boot, "memory": memory,
            "folder": str(self._root),
            "room": shutil.disk_usage(nearest(self._root)).free, "python": ".".join(map(str, sys.version_info[:3])),
            "kvm": os.path.exists("/dev/kvm"),  # noqa: PTH110 - a device
        }  # fmt: skip

    def libvirt(self, kind: str) -> str:
        """The socket of its libvirt daemon. Raises HostLacks when it is not there, or may not be used."""
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        names = [name.format(runtime=runtime) for name in _SOCKETS[kind]]
        for name in names:
            with socket.socket(socket.AF_UNIX) as trial:
                try:
                    trial.connect(name)
                except (FileNotFoundError, ConnectionRefusedError):
                    continue
                except PermissionError:
                    raise HostLacks(
                        f"user {user_name()} may not use {name}",
                        hint=f"there, as root: usermod -aG libvirt {user_name()}   # then log in again",
                    ) from None
                except OSError as error:
                    raise HostLacks(f"{name} cannot be used: {error.strerror}") from None
                return name
        start = "virtlogd -d && libvirtd -d, or systemctl start libvirtd" if kind == "system" else "libvirtd -d"
        raise HostLacks(f"no libvirt daemon listens at {' or '.join(names)}", hint=f"there: {start}")

    # Ports and the switch.

    def claim(self, count: int) -> list[int]:
        return list(self._ports.claim(count))

    def release(self, ports: list[int]) -> bool:
        self._ports.release(ports)
        return True

    def networks(self, mtus: dict[str, int]) -> bool:
        self._switch.networks(mtus)
        return True

    def plug(self, port: int, **card: Any) -> bool:
        self._switch.add(port, **card)
        return True

    def unplug(self, port: int) -> bool:
        self._switch.remove(port)
        return True

    def cut(self, port: int, cut: bool) -> bool:
        self._switch.cut(port, cut)
        return True

    def impair(self, port: int, delay_ms: float, loss: float) -> bool:
        self._switch.impair(port, delay_ms=delay_ms, loss=loss)
        return True

    def states(self) -> list[dict[str, Any]]:
        return [
            {"port": port, "cut": state.cut, "delay": state.delay, "loss": state.loss, "counters": state.counters}
            for port, state in self._switch.states().items()
        ]

    def capture(self, network: str, limit: int) -> int:
        number = max(self._captures, default=0) + 1
        self._captures[number] = (network, self._switch.capture(network, limit=limit))
        return number

    def taken(self, number: int, *, end: bool) -> dict[str, Any]:
        """What was recorded since the last time, in base64."""
        network, capture = self._captures[number]
        if end:
            del self._captures[number]
        data = self._switch.end_capture(network, capture) if end else capture.take()
        return {"data": base64.b64encode(data).decode(), "frames": capture.frames, "missed": capture.missed}


def default_root() -> Path:
    """/var/lib/nestlab for root; for another user one that QEMU's user can pass, which a home often is not."""
    return Path("/var/lib/nestlab") if os.geteuid() == 0 else Path(f"/var/tmp/nestlab-{os.geteuid()}")  # noqa: S108 - checked to be ours


def _error(error: Exception) -> dict[str, Any]:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        error = HostLacks(f"no room is left: {error}", hint="nestlab image prune --connect URI")
    if not isinstance(error, LabError):
        error = LabError(f"{type(error).__name__}: {error}")
    kind = next(kind.__name__ for kind in (HostLacks, UsageError, LabError) if isinstance(error, kind))
    return {"kind": kind, "message": error.message, "hint": error.hint}


def serve(outpost: Outpost, lines: Iterator[bytes], say: Callable[[dict[str, Any]], None]) -> None:
    """Answer requests in their order; those that take long beside the others."""

    def answer(request: dict[str, Any]) -> None:
        number, op = request.pop("id"), request.pop("op")
        try:
            if op not in outpost.ops:
                raise UsageError(f"no such request: {op}")
            say({"id": number, "result": outpost.ops[op](**request)})
        except Exception as error:  # whatever it is, the other end waits for an answer
            say({"id": number, "error": _error(error)})

    for line in lines:
        request = json.loads(line)
        if request["op"] in _SLOW:
            threading.Thread(target=answer, args=(request,), daemon=True).start()
        else:
            answer(request)


def main(root: str | None = None) -> None:
    """Serve standard input and output."""
    heard = time.monotonic()
    saying = threading.Lock()

    def say(message: dict[str, Any]) -> None:
        with saying, contextlib.suppress(OSError):
            sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
            sys.stdout.buffer.flush()

    def lines() -> Iterator[bytes]:
        nonlocal heard
        for line in sys.stdin.buffer:
            heard = time.monotonic()
            yield line

    def watch() -> None:
        while time.monotonic() - heard < SILENCE:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    outpost = Outpost(Path(root) if root else default_root())
    say({"outpost": 1})
    serve(outpost, lines(), say)
    os._exit(0)
