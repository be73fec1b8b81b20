"""This machine as a host: commands are really run here. For what a procedure asks of common programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from builder.errors import LabError
from builder.model.host import HostFacts, HostResult


class LocalHost:
    """Runs commands as they are given; reads and writes files of this machine. Never restarts it."""

    name = "here"

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> HostResult:
        done = subprocess.run([*argv], input=stdin, capture_output=True, timeout=timeout, check=False)
        return HostResult(
            argv=tuple(argv), returncode=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode()
        )

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        Path(path).write_bytes(content)
        Path(path).chmod(mode)

    def reboot(self, *, wait: float) -> None:
        raise LabError(f"this machine is not restarted (waited {wait} s)")

    def facts(self) -> HostFacts:
        return HostFacts(dialect="xe", release="this machine")

    def transcript(self) -> Sequence[HostResult]:
        return ()
