"""Lab files in tests: systems that stay as they are when the real ones change, and a mark for 'the problem is here'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from builder.errors import LabFileError, Problem
from builder.model.install import LocalFile, MibSize, Worded
from builder.model.lab import Lab, Value
from builder.model.lint import HostLimits
from builder.model.load import parse_lab
from builder.model.plan import GuestTraits, Minimum, SystemTraits
from builder.model.units import GIB, MIB

HERE = "¦"

HOST = SystemTraits(
    name="host",
    title="A Xen host",
    releases=("9", "8.10", "8.1"),
    default_release="9",
    defaults={
        "memory": "4GiB",
        "disks": [{"size": "16GiB"}],
        "xen": {"dom0_memory": "1GiB", "dom0_max_vcpus": 2, "arguments": ["system=1"]},
    },
    minimum=Minimum(memory=GIB, disk=4 * GIB, source="Host Guide, 2.1"),
    sources=("image", "medium"),
    footprint=GIB,
    guests=GuestTraits(
        managers=("xl", "libvirt"),
        makers=("existing", "debootstrap", "xen-tools", "debian-installer", "INSTALL_XEN3_DOMU"),
        kernel=True,
    ),
    packages=True,
)


class Person(Value):
    """Somebody on an installed host."""

    name: Annotated[str, Worded("[a-z]+", "a login name", "use lower-case letters")] = Field(description="Login name.")
    admin: Annotated[bool, Field(strict=True, description="May everything.")] = False


class Installer(Value):
    """What the installer of the `installed` system is told."""

    swap: MibSize = Field("1GiB", description="Size of the swap volume.")
    colour: Literal["red", "green"] = Field("red", description="Of the screen.")
    people: tuple[Person, ...] = Field((), description="Who may log in.")
    script: LocalFile | None = Field(None, description="Run at the end.")


MEDIUM_ONLY = HOST.model_copy(
    update={
        "name": "installed",
        "title": "An installed host",
        "sources": ("medium",),
        "install": lambda: Installer,
        "guests": GuestTraits(managers=("xl",), makers=("existing", "netbsd-sets"), kernel=False),
        "packages": False,
    }
)
SMALL = SystemTraits(
    name="small",
    title="A small kernel",
    releases=("1", "2"),
    default_release="1",
    defaults={"cpus": 1, "memory": "256MiB", "disks": []},
    minimum=Minimum(memory=128 * MIB, disk=0, source="measured"),
    sources=("image",),
    xen=False,
)
SYSTEMS = {traits.name: traits for traits in (HOST, MEDIUM_ONLY, SMALL)}
LIMITS = HostLimits(memory=16 * GIB, cpus=2, disk_free=3 * GIB)


@dataclass(frozen=True, slots=True)
class Marked:
    """A text without its mark, and the line and column that the mark stood before, from 1; 0, 0 without a mark."""

    text: str
    line: int
    column: int


def marked(text: str) -> Marked:
    before, mark, after = text.partition(HERE)
    assert HERE not in after, "one mark for each case"
    lines = before.split("\n")
    return Marked(before + after, len(lines), len(lines[-1]) + 1) if mark else Marked(text, 0, 0)


def lab_of(text: str, *, limits: HostLimits | None = None) -> Lab:
    return parse_lab(text.encode(), SYSTEMS, limits=limits).lab


def problems_of(content: str | bytes, *, limits: HostLimits | None = None) -> tuple[Problem, ...]:
    """Everything that is wrong with a lab file; nothing when it is right."""
    raw = content.encode() if isinstance(content, str) else content
    try:
        parse_lab(raw, SYSTEMS, limits=limits)
    except LabFileError as error:
        return error.problems
    return ()
