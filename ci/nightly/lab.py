"""Running the `nestlab` command as a user would, with a state of its own so that no other lab is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.proof import ROOT, status_of

NESTLAB = ROOT / ".venv/bin/nestlab"


@dataclass(frozen=True, slots=True)
class Command:
    """`nestlab` with its own state and runtime folders. `mark` is in the paths of everything that it starts."""

    mark: str
    base: Path
    log: Path
    more: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {"NESTLAB_STATE": str(self.base / "state"), "NESTLAB_RUNTIME": str(self.base / "run"), **self.more}

    def run(self, *arguments: str | Path, timeout: float) -> int:
        """The status; what it said is in the log."""
        return status_of([NESTLAB, *arguments], timeout=timeout, env=self.environment, log=self.log)

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start it and return at once, in a process group of its own."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(NESTLAB), *map(str, arguments)], cwd=ROOT, env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def ask(self, *arguments: str | Path, timeout: float = 60) -> Any:
        """Its standard output as JSON. Raises CalledProcessError."""
        done = subprocess.run(
            [str(NESTLAB), *map(str, arguments), "-o", "json"], cwd=ROOT, env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def output(self, *arguments: str | Path, timeout: float = 60) -> str:
        """Its standard output. Raises CalledProcessError."""
        return subprocess.run(
            [str(NESTLAB), *map(str, arguments)], cwd=ROOT, env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=True, text=True,
        ).stdout  # fmt: skip


@contextmanager
def command(log: Path, **more: str) -> Iterator[Command]:
    """A `nestlab` whose state is gone afterwards. The folder is short: sockets below it have 40 bytes."""
    base = Path(tempfile.mkdtemp(prefix="nl-"))
    try:
        yield Command(base.name, base, log, more)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def processes_with(mark: str) -> list[str]:
    """Command lines of the running processes, other than this one, that have `mark` in arguments or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:  # it has ended, or is somebody else's
            continue
        if mark.encode() in line or mark.encode() in environment:
            found.append(f"{entry.name} {line.replace(bytes(1), b' ').decode(errors='replace').strip()[:120]}")
    return found


def sockets_with(mark: str) -> list[str]:
    """UNIX sockets, abstract ones too, whose name has `mark`."""
    lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]
    return [fields[7] for line in lines if len(fields := line.split()) > 7 and mark in fields[7]]


def files_below(folders: Sequence[Path]) -> list[str]:
    """Whatever is left in these folders that is not itself a folder."""
    return [str(path) for folder in folders if folder.exists() for path in folder.rglob("*") if not path.is_dir()]
