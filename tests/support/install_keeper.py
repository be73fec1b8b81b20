"""The steps of a node that installs itself, done by hand: no machine is started."""

from __future__ import annotations

import copy
import subprocess
import threading
from pathlib import Path
from typing import Any, Literal

from builder.events import EventLog
from builder.images.store import ImageStore
from builder.lifecycle.effects import Effects
from builder.lifecycle.isos import find_media
from builder.lifecycle.plan import plan_lab
from builder.lifecycle.request import UpOptions
from builder.lifecycle.state import LabFolder, StepRecord
from builder.lifecycle.steps import Step
from builder.model.load import parse_lab
from builder.paths import Places
from tests.support.tiny_installer.medium import tiny_medium
from tests.support.tiny_installer.system import TRAITS, TinyInstaller

BEFORE = ("medium", "identity", "remaster", "disks")


class Keeper:
    """The steps of one node, as a keeper that has just started does them. `killed` gives the one after it."""

    def __init__(
        self, places: Places, lab: str, *, reinstall: bool = False, source: str = "", firmware: str = "bios",
        disks: int = 1, **install: str,
    ) -> None:  # fmt: skip
        self.places, self.lab, self.install = places, lab, install
        said = ", ".join(f"{key}: {value}" for key, value in install.items())
        text = (
            f"name: {lab}\ndefaults: {{source: {{medium: {source or tiny_medium()}}}, firmware: {firmware}, "
            f"disks: [{', '.join(['{size: 128MiB}'] * disks)}]}}\n"
            f"nodes: {{a: {{system: tiny-installer, install: {{{said}}}}}}}\n"
        )
        found, _ = find_media(parse_lab(text.encode(), {TRAITS.name: TRAITS}).lab, places, {})
        # The card's address is made from the lab's name: these are to be the same machine.
        node = found.node("a").model_copy(update={"management_mac": "52:54:00:00:00:01"})
        self.plan = plan_lab(found.model_copy(update={"nodes": (node,)}), lambda _name: TinyInstaller())
        self.folder = LabFolder(places, lab)
        self.effects = Effects(places, lab, self.folder, EventLog(lab).emit)
        self.effects.use(self.plan, UpOptions(reinstall=("a",) if reinstall else ()))

    def step(self, name: str) -> Step:
        return next(step for step in self.plan.steps if step.id == f"a/{name}")

    def do(self, *names: str) -> None:
        """Each step as `up` does it: not again when it was done and its effect is there."""
        for name in names:
            step, work = self.step(name), self.effects.work(self.step(name))
            recorded = step.kind == "live" and step.id in self.folder.records("a")
            if recorded and work.is_done(step):
                continue
            if recorded:
                work.undo(step)
            if step.kind == "cached" or not work.is_given(step):
                work.do(step, threading.Event())
            self.record(name)

    def record(self, name: str, state: Literal["begun", "done"] = "done") -> None:
        if self.step(name).kind == "live":
            self.folder.record(self.step(name), StepRecord(key=self.step(name).key, state=state))

    def is_done(self, name: str) -> bool:
        return self.effects.work(self.step(name)).is_done(self.step(name))

    def killed(self, **changes: Any) -> Keeper:
        self.effects.close()
        return Keeper(self.places, self.lab, **{**self.install, **changes})

    def restarted(self) -> Keeper:
        """The same, quickly: of the same plan."""
        self.effects.close()
        again = copy.copy(self)
        again.folder = LabFolder(self.places, self.lab)
        again.effects = Effects(self.places, self.lab, again.folder, EventLog(self.lab).emit)
        again.effects.use(self.plan, UpOptions())
        return again

    @property
    def disk(self) -> Path:
        return self.disks[0]

    @property
    def disks(self) -> list[Path]:
        return [self.folder.disk("a", disk.name) for disk in self.plan.node("a").node.disks]

    @property
    def key(self) -> Path:
        return self.folder.node("a") / "ssh/id_ed25519"

    @property
    def progress(self) -> Path:
        return self.folder.node("a") / "disks/installation"

    def write(self) -> None:
        """What an installation does: it ends with something on the disk."""
        for disk in self.disks:
            subprocess.run(["qemu-io", "-c", "write -q -P 7 0 64k", disk], check=True)
        self.progress.write_text("ended\n")
        self.record("boot:install")


def installed(places: Places, lab: str = "one", disks: int = 1) -> Keeper:
    keeper = Keeper(places, lab, disks=disks)
    keeper.do(*BEFORE)
    keeper.write()
    keeper.do("keep")
    return keeper


def images(places: Places) -> list[Path]:
    return [image.disks[0] for image in ImageStore(places.cache).ls() if image.kind == "installed"]
