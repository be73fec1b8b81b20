"""What a system says about a node, as data. Made by `systems` (pure), carried out by `lifecycle`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from pydantic import Field

from builder.model.lab import DiskBus, Firmware, GuestMaker, GuestManager, Node, Value


class File(Value):
    """A file to be put somewhere. `mode` is the permission bits."""

    path: str
    content: str
    mode: int = 0o644


class Answer(Value):
    """An answer file and how the installer gets at it."""

    name: str
    content: str
    delivery: Literal["initrd", "iso", "volume", "http"]


class MediaEdit(Value):
    """A change to an installation medium: a file added or replaced, a file put into the installer's initrd, or
    arguments put on the boot entries, on the line of the `layer` that reads them, and those in `remove` taken off."""

    kind: Literal["add", "replace", "arguments", "initrd"]
    path: str = ""
    content: str = ""
    mode: int = 0o644
    arguments: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    layer: Literal["kernel", "hypervisor"] = "kernel"


class BootArgs(Value):
    """Arguments by the layer that reads them, in order."""

    hypervisor: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()


class Recipe(Value):
    """What a golden image is made from; two equal recipes give one image.

    `disk`: a bootable disk from diskimage-builder elements, with `files` laid over the tree and then `configure`
    run in it (argument lists, inside the tree). `initramfs`: a kernel and a small memory root, booted directly.
    `root_size` is the size of the root file system in bytes.
    """

    kind: Literal["disk", "initramfs"]
    distribution: Literal["debian"] = "debian"
    release: str
    elements: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    configure: tuple[tuple[str, ...], ...] = ()
    root_label: str = "nestlab-root"
    root_size: int = 0


class Cause(Value):
    """Why a node stopped, as a line of its console or of its installer's log tells. `pattern` is a regular expression.
    What is not `sure` is a clue: it ends nothing, and is named when the boot fails without a word of its own. What is
    `vague` says that it failed and not why: another cause that comes within seconds goes before it."""

    pattern: str
    name: str
    message: str
    cure: str
    sure: bool = True
    vague: bool = False


class Phase(Value):
    """A part of a boot. It ends when `awaits` (a regular expression, searched in each console line) is seen, or,
    for `signal` other than console, when that signal comes; with `http`, when a report of the installation is what is
    awaited. `weight` is the seconds it is expected to take under emulation, from which time-outs and progress are
    scaled. `late` is what it means when it never ends, where that can be said."""

    name: str
    awaits: str = ""
    signal: Literal["console", "ssh", "reboot", "power-off", "http"] = "console"
    weight: float = 10
    causes: tuple[Cause, ...] = ()
    late: Cause | None = None


class Boot(Value):
    """One power-on to the end of its last phase. A list of them is install-then-boot as data."""

    name: str
    phases: tuple[Phase, ...]
    medium: bool = False
    on_reboot: Literal["restart", "end"] = "restart"


class Quirk(Value):
    """A setting that is there because something does not work without it."""

    name: str
    reason: str
    source: str


class Finding(Value):
    """What a system's own judge says about the files that it made. `code` is stable: `nestlab explain CODE`. `where`
    is the file, with the line where there is one. An `error` would end the installation or leave it waiting."""

    code: str
    severity: Literal["error", "warning"]
    message: str
    hint: str = ""
    where: str = ""


class SystemPlan(Value):
    """Everything a system decides about a node. `seed` are files given to this node alone at its first boot (never part
    of an image); where it is installed they come on a volume called `volume_label`, below /seed. `checks` name files of
    labs/checks. `findings` are warnings about the answers: with an error there is no plan."""

    system: str
    release: str
    answers: tuple[Answer, ...] = ()
    media_edits: tuple[MediaEdit, ...] = ()
    boot_args: BootArgs = Field(default_factory=BootArgs)
    recipe: Recipe | None = None
    seed: tuple[File, ...] = ()
    boots: tuple[Boot, ...]
    checks: tuple[str, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    findings: tuple[Finding, ...] = ()
    ssh_user: str = "root"
    volume_label: str = "NESTLAB"


class Minimum(Value):
    """The documented floor of a system, in bytes, and where it is written."""

    memory: int
    disk: int
    source: str


class GuestTraits(Value):
    """What guests a system's hosts can have from files. `kernel` says whether the host's own kernel starts a guest."""

    managers: tuple[GuestManager, ...]
    makers: tuple[GuestMaker, ...]
    kernel: bool


_DOCUMENTED_BUSES: Mapping[Firmware, DiskBus] = {"bios": "lsilogic", "uefi": "ide"}


class SystemTraits(Value):
    """What loading a lab file needs to know of a system, without importing it.

    `defaults` are written as in a lab file (`{"memory": "4GiB"}`). A `minimum.disk` of 0 means that the system needs
    no disk; `minima` are of releases that ask for something else. `xen`: the host is a Xen dom0. `buses` is the disk
    bus for each firmware when nobody chose one; OVMF has no driver for the LSI controller, so a UEFI node cannot start
    from it. `footprint` is what one node is expected to write to the disk of the machine that it runs on, in bytes
    (its disks are thin). `dom0_memory`: bytes for the dom0 of a host of so many, when nobody asked for a size and it is
    not in the defaults. `install` gives the type of the lab file's `install:` (made when it is needed: it takes
    time), None for a system without an installer.
    `guests` is None where guests cannot be declared in a lab file. `packages`: ready images are built from packages, to
    which a node may add, and its nodes can serve storage.
    """

    name: str
    title: str
    releases: tuple[str, ...]
    default_release: str
    defaults: Mapping[str, Any]
    minimum: Minimum
    minima: Mapping[str, Minimum] = Field(default_factory=dict)
    sources: tuple[Literal["image", "medium"], ...]
    xen: bool = True
    buses: Mapping[Firmware, DiskBus] = Field(default_factory=lambda: _DOCUMENTED_BUSES)
    footprint: int = 0
    dom0_memory: Callable[[int], int] | None = Field(None, exclude=True)
    install: Callable[[], type[Value]] | None = Field(None, exclude=True)
    guests: GuestTraits | None = None
    packages: bool = False

    def usual_bus(self, firmware: Firmware, machine: str, *, iommu: bool) -> DiskBus:
        """The bus of a disk for which nobody chose one. q35 has no IDE controller: its AHCI ports carry the same
        drives. Behind an IOMMU these were seen to work, and the LSI controller not to (`lint_node`)."""
        documented = self.buses[firmware]
        return "sata" if iommu or (documented == "ide" and machine == "q35") else documented

    def minimum_of(self, release: str) -> Minimum:
        return self.minima.get(release, self.minimum)


class System(Protocol):
    """A kind of host. Pure: a node goes in, data comes out; no I/O, no clock."""

    traits: SystemTraits

    def plan(self, node: Node) -> SystemPlan:
        """Raises LabError when the node asks for what the system's release cannot do."""
        ...
