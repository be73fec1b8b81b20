"""A lab run by the real command, with state of its own and the user's image cache (images are built once)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builder.events import read_events
from builder.lifecycle.panics import PANICS
from builder.paths import Places

ROOT = Path(__file__).resolve().parents[2]


class Bench:
    """`nestlab` in a world of its own. `run` returns the finished process; `places` is where its things are."""

    def __init__(self, scratch: Path) -> None:
        user = Places.from_environment(os.environ)
        self.scratch = scratch
        self.places = Places(scratch / "state", user.cache, scratch / "run")
        self.env = {
            **os.environ,
            "NESTLAB_STATE": str(self.places.state),
            "NESTLAB_CACHE": str(self.places.cache),
            "NESTLAB_RUNTIME": str(self.places.runtime),
            "NO_COLOR": "1",
        }

    def argv(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "builder", *map(str, arguments)]

    def run(
        self, *arguments: str | Path, timeout: float = 240, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*arguments), env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check:
            assert done.returncode == 0, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*arguments), env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def status(self, name: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.run("status", name, "-o", "json", check=True).stdout)
        return loaded

    def followed(self, name: str) -> dict[str, list[tuple[str, str]]]:
        """The phases of each of the nodes' boots, with how they ended, by the step's name. A start that panicked under
        emulation does not count: nestlab tells of it as a fault, and makes a second and last one."""
        boots: dict[str, list[tuple[str, str]]] = {}
        for event in read_events(self.places.lab(name) / "events.jsonl"):
            if event.node and event.step and event.kind == "end" and event.phase:
                boots.setdefault(event.step, []).append((event.phase, str(event.outcome)))
            elif event.step in boots and event.kind == "fault" and event.cause in PANICS:
                del boots[str(event.step)]
        return boots

    def lab(self, text: str) -> Path:
        """A lab file of that text."""
        name = re.search(r"^name: *(\S+)", text, re.MULTILINE)
        assert name
        path = self.scratch / f"{name[1]}.yaml"
        path.write_text(text)
        return path

    def left(self) -> list[str]:
        """What labs left behind here: files, and processes that name our folders."""
        # By os.walk, which does not mind folders that are being removed.
        walks = (os.walk(root) for root in (self.places.labs(), self.places.runtime))
        found = [os.path.join(at, name) for walk in walks for at, folders, files in walk for name in folders + files]
        marks = (os.fsencode(self.places.runtime) + b"/", os.fsencode(self.places.state) + b"/")
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if any(mark in line for mark in marks):
                    found.append(f"process {entry.name}: {line[:100]!r}")
        return found


def private_cache(here: Bench) -> None:
    """Images made in this test are of no use to the user."""
    own = own_cache(here.places.cache, here.scratch / "cache")
    here.places = Places(here.places.state, own, here.places.runtime)
    here.env["NESTLAB_CACHE"] = str(own)


def own_cache(user: Path, own: Path) -> Path:
    """A new cache that knows what nestlab learned of this machine, and nothing else."""
    own.mkdir()
    for name in ("accelerator.json", "qemu-caps"):
        if (user / name).exists():
            (own / name).symlink_to(user / name)
    return own


@contextmanager
def bench() -> Iterator[Bench]:
    """Labs that a failing test left up are taken down; that nothing is left is asserted at the end."""
    # Disks of gigabytes: /tmp may be memory.
    scratch = Path(tempfile.mkdtemp(prefix="nlt-", dir="/var/tmp"))
    here = Bench(scratch)
    try:
        yield here
    finally:
        labs = here.places.labs()
        for lab in sorted(labs.iterdir()) if labs.is_dir() else ():
            here.run("down", lab.name)
        left = here.left()
        shutil.rmtree(scratch, ignore_errors=True)
    assert not left, left
