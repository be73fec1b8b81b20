"""Its system: answers on the medium, an argument that names them, and what both power-ons say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from builder.model.lab import Node, Value
from builder.model.plan import (
    Answer,
    Boot,
    Cause,
    File,
    MediaEdit,
    Minimum,
    Phase,
    SystemPlan,
    SystemTraits,
)
from builder.model.units import KIB, MIB
from builder.systems.fitness import refuse_uninstallable
from builder.systems.tiny.system import READY


class TinyInstall(Value):
    """`pause` is a part and seconds, `fail` a part: what the installer says before it goes on to the next."""

    disk: str = "sda"
    end: Literal["poweroff", "reboot", "shell"] = "poweroff"
    pause: str = ""
    fail: str = ""
    root_keys: tuple[str, ...] = ()


TRAITS = SystemTraits(
    name="tiny-installer",
    title="Tiny installer",
    releases=("1",),
    default_release="1",
    defaults={"cpus": 1, "memory": "320MiB", "disks": [{"size": "128MiB"}]},
    minimum=Minimum(memory=256 * MIB, disk=128 * MIB, source="measured"),
    sources=("medium",),
    xen=False,
    footprint=64 * KIB,  # less than it takes: hosts that run out of room are a test of their own
    install=lambda: TinyInstall,
)
_PANIC = Cause(pattern="Kernel panic - not syncing", name="kernel-panic", message="the kernel panicked", cure="read it")
_CAUSES = (
    _PANIC,
    Cause(
        pattern=r"installer: failed: no disk \S+",
        name="no-disk",
        message="the disk that the answers name is not there",
        cure="name one that is: install.disk",
    ),
    Cause(
        pattern=r"installer: failed: the medium cannot be read",
        name="medium-unreadable",
        message="the medium cannot be read",
        cure="try another copy",
    ),
    Cause(
        pattern=r"installer: failed: ",
        name="installation-failed",
        message="the installation failed",
        cure="the line says where",
    ),
)


class TinyInstaller:
    """`overrides` are no use to it: it has no templates."""

    traits = TRAITS

    def __init__(self, overrides: Path | None = None) -> None:
        assert overrides is None

    def plan(self, node: Node) -> SystemPlan:
        refuse_uninstallable(node, TRAITS)
        options = TinyInstall.model_validate(node.install)
        answers = f"disk='{options.disk}'\nend={options.end}\npause='{options.pause}'\nfail='{options.fail}'\n"
        return SystemPlan(
            system=TRAITS.name,
            release=node.release,
            answers=(Answer(name="answers", content=answers, delivery="iso"),),
            media_edits=(MediaEdit(kind="arguments", arguments=("answers=cdrom",)),),
            seed=(File(path="/etc/hostname", content=f"{node.name}\n"),),
            boots=boots(options.end),
        )


def boots(end: Literal["poweroff", "reboot", "shell"]) -> tuple[Boot, ...]:
    kernel = Phase(name="kernel", awaits=r"Linux version \d", weight=3, causes=(_PANIC,))
    phases = [
        kernel,
        *(Phase(name=part, awaits=f"installer: {part}", weight=5, causes=_CAUSES)
          for part in ("answers", "disk", "files", "seed", "done")),
    ]  # fmt: skip
    if end != "shell":
        phases.append(Phase(name="end", signal="reboot" if end == "reboot" else "power-off", weight=5, causes=_CAUSES))
    host = (
        kernel,
        Phase(name="disk", awaits="host: started from its disk", weight=5, causes=(_PANIC,)),
        Phase(name="ready", awaits=READY, weight=5, causes=(_PANIC,)),
        Phase(name="ssh", signal="ssh", weight=2, causes=(_PANIC,)),
    )
    return (
        Boot(name="install", phases=tuple(phases), medium=True, on_reboot="end"),
        Boot(name="disk", phases=host),
    )
