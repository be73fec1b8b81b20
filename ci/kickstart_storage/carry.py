"""From a case to what its disks became: once after the kickstart was carried out, once after a restart."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.drivers.ssh_host import SshHost
from builder.images.store import Image
from builder.systems.machine import machine_of
from ci.kickstart_storage.cases import Case, kickstart
from ci.kickstart_storage.machine import machine
from ci.kickstart_storage.parcel import Anaconda, parcel

HOME = "/root/carry"


@dataclass(slots=True)
class Outcome:
    """`before` and `after` the restart are reports of inside/report.py; `steps` are seconds; `told` is what whoever
    carried the kickstart out had to say."""

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    told: str = ""

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.steps[name] = round(time.monotonic() - started, 1)


def carry_out(case: Case, image: Image, anaconda: Anaconda | None = None) -> Outcome:
    """By anaconda's storage service where its source is given, else by our own calls on blivet.

    Raises LabError, and RuntimeError with what was said when a step inside fails.
    """
    node = case.node()
    outcome = Outcome()
    disks = [disk.path for disk in machine_of(node, "by-id", {}).disks]
    program = "sh anaconda ks.cfg" if anaconda else f"python3 -W ignore execute.py ks.cfg {case.handler}"
    with tempfile.TemporaryDirectory(prefix="ks-", dir="/tmp") as folder, contextlib.ExitStack() as stack:
        with outcome.step("start"):
            running = stack.enter_context(machine(node, image, Path(folder)))
            host = running.host
            _told(host, "tar -C /root -xf -", stdin=parcel(kickstart(node), anaconda))
        # The first synchronisation would keep the disks busy for as long as the case takes; members stay thin.
        _told(host, "modprobe md_mod; cd /proc/sys/dev/raid; echo 0 >speed_limit_min; echo 1 >speed_limit_max")
        with outcome.step("carry out"):
            outcome.told = _told(host, f"cd {HOME}; {program}", timeout=900)
        with outcome.step("report"):
            outcome.before = json.loads(_told(host, f"python3 {HOME}/report.py {' '.join(disks)}"))
            versions = dict(line.split("=", 1) for line in _told(host, f"sh {HOME}/versions").splitlines())
        with outcome.step("restart"):
            running.restart()
            _told(host, "udevadm settle")
        with outcome.step("report again"):
            outcome.after = json.loads(_told(host, f"python3 {HOME}/report.py {' '.join(disks)}"))
    outcome.versions = versions | {"pykickstart": importlib.metadata.version("pykickstart")}
    if anaconda:
        outcome.versions["anaconda"] = anaconda.version
    return outcome


def _told(host: SshHost, script: str, *, stdin: bytes = b"", timeout: float = 300) -> str:
    done = host.run(["sh", "-ec", script], stdin=stdin, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"[-6000:])
    return done.stdout
