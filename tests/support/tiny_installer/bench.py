"""Labs of nodes that this installer installs, by the real command, with an image cache of their own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.events import Event, read_events
from builder.lifecycle.state import read_owner
from builder.paths import Places
from tests.support.lab import ROOT, Bench, bench, own_cache
from tests.support.tiny_installer.medium import tiny_medium


class InstallBench(Bench):
    """`node` is where the lab `t` keeps its node `a`."""

    def __init__(self, here: Bench) -> None:
        self.scratch = here.scratch
        cache = own_cache(Places.from_environment(os.environ).cache, here.scratch / "cache")
        self.places = Places(here.places.state, cache, here.places.runtime)
        self.env = {**here.env, "NESTLAB_CACHE": str(self.places.cache), "PYTHONPATH": str(ROOT)}
        self.medium = tiny_medium()

    def argv(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "tests.support.tiny_installer.command", *map(str, arguments)]

    @property
    def node(self) -> Path:
        return self.places.node("t", "a")

    @property
    def evidence(self) -> Path:
        return self.places.state / "failures/t"

    def lab_of(self, medium: Path | None = None, **install: str) -> Path:
        """One node, told this to its installer."""
        said = "".join(f"      {key}: {value}\n" for key, value in install.items())
        return self.lab(
            "name: t\nnodes:\n  a:\n    system: tiny-installer\n"
            f"    source: {{medium: {medium or self.medium}}}\n" + (f"    install:\n{said}" if said else "")
        )

    def own_medium(self) -> Path:
        """A copy that may be damaged."""
        return Path(shutil.copyfile(self.medium, self.scratch / "own.iso"))

    def await_console(self, text: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        console = self.node / "console.log"
        while not console.exists() or text not in console.read_text(errors="replace"):
            assert time.monotonic() < deadline, f"{text!r} did not come"
            time.sleep(0.1)

    def kill_keeper(self) -> None:
        owner = read_owner(self.places.lab("t") / "lock")
        assert owner is not None
        os.kill(owner.pid, signal.SIGKILL)
        while read_owner(self.places.lab("t") / "lock") is not None:
            time.sleep(0.02)

    def events(self) -> list[Event]:
        return list(read_events(self.places.lab("t") / "events.jsonl"))

    def begun(self) -> list[str]:
        """The steps that the last `up` did, in order; not those whose effect was there already."""
        begun = [event for event in self.events() if event.kind == "begin" and not event.phase]
        last = max(number for number, event in enumerate(begun) if not event.step)
        return [str(event.step).partition("/")[2] for event in begun[last + 1 :]]


@contextmanager
def install_bench() -> Iterator[InstallBench]:
    with bench() as here:
        yield InstallBench(here)
