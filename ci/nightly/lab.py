"""Running the `nestlab` command as a user would, with a state of its own so that no other lab is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.events import read_events
from builder.paths import Places
from ci.proof import ROOT, status_of
from tests.support.lab import own_cache

NESTLAB = ROOT / ".venv/bin/nestlab"


@dataclass(frozen=True, slots=True)
class Command:
    """`nestlab` with its own state and runtime folders."""

    base: Path
    log: Path
    more: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {"NESTLAB_STATE": str(self.base / "state"), "NESTLAB_RUNTIME": str(self.base / "run"), **self.more}

    def run(self, *arguments: str | Path, timeout: float) -> int:
        """The status; what it said is in the log."""
        return status_of([NESTLAB, *arguments], timeout=timeout, env=self.environment, log=self.log)

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

    def keep(self, lab: str | Path) -> None:
        """Evidence of a lab that is up and on which something failed: a folder among the failures beside the log."""
        out = self.log.parent / "failures" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        out.parent.mkdir(exist_ok=True)
        self.run("collect", lab, "--out", out, timeout=300)

    def boot_phases(self, lab: str) -> dict[str, dict[str, float]]:
        """Seconds of each phase of each boot of a lab that is up, as its events tell them."""
        began: dict[tuple[str, str], float] = {}
        took: dict[str, dict[str, float]] = {}
        for event in read_events(self.base / "state/labs" / lab / "events.jsonl"):
            boot, phase = (event.step or "").partition("boot:")[2], event.phase
            if boot and phase and event.kind == "begin":
                began[boot, phase] = event.t_mono
            elif boot and phase and event.kind == "end":
                took.setdefault(boot, {})[phase] = round(event.t_mono - began.get((boot, phase), event.t_mono), 1)
        return took


@contextmanager
def command(log: Path, *, own_images: bool = False, **more: str) -> Iterator[Command]:
    """A `nestlab` whose state is gone afterwards, but for what it kept of failures: that goes into the folder of `log`.
    Its own folder is short: sockets below it have 40 bytes. `own_images` are gone, too."""
    base = Path(tempfile.mkdtemp(prefix="nl-"))
    try:
        if own_images:
            more["NESTLAB_CACHE"] = str(own_cache(Places.from_environment(os.environ).cache, base / "cache"))
        yield Command(base, log, more)
    finally:
        kept = base / "state/failures"
        if kept.is_dir():
            shutil.copytree(kept, log.parent / "failures", dirs_exist_ok=True)
        shutil.rmtree(base, ignore_errors=True)
