"""Two power-ons: the Debian installer, and the host that it made.

The installer is followed by marks of our own scripts, which they print and post, and by the steps that its log names.
On the console titles of errors and questions can be relied on: `Prompt:` is how its text frontend asks, and means that
it waits for somebody. Titles are those of its templates, from Debian 13 (the same in 12).
Weights are seconds that the emulator itself used in a measured installation: those do not depend on what else runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.causes import DURING_INSTALLATION
from builder.systems.debian import phases

TITLES: Mapping[str, tuple[str, ...]] = {
    "answers-missing": ("Failed to retrieve the preconfiguration file",),
    "answers-refused": ("Failed to process the preconfiguration file",),
    "memory-too-small": ("Entering low memory mode", "Insufficient memory"),
    "no-network": ("Network autoconfiguration failed", "No network interfaces detected", "Ethernet card not found",
                   "Unreachable gateway"),
    "mirror-failed": ("Bad archive mirror", "Architecture not supported", "Failed to load installer component",
                      "Continue the install without loading kernel modules", "Downloading a file failed"),
    "script-failed": ("Failed to run preseeded command",),
    "disk-missing": ("Partitioning method",),
    "disks-refused": ("Failed to partition the selected disk", "No root file system", "Unusable free space",
                      "Unexpected error while creating volume group", "Volume group name already in use",
                      "No physical volume defined in volume group", "LVM configuration failure",
                      "Failed to create a file system", "EFI partition too small", "Device in use"),
    "array-refused": ("Error while setting up RAID", "Not enough RAID partitions specified",
                      "RAID configuration failure", "Software RAID not available"),
    "packages-failed": ("Debootstrap Error", "Base system installation error", "Failed to install the base system",
                        "Cannot install base system", "Cannot install kernel", "Unable to install the selected kernel",
                        "Cannot access repository", "Installation step failed"),
    "loader-failed": ("Unable to install GRUB in", "GRUB installation failed", "Unable to configure GRUB"),
}  # fmt: skip
"""By cause, what the installer's templates call their errors; held against them in the tests."""


def _told(name: str, message: str, cure: str, *, vague: bool = False) -> Cause:
    """A cause that the installer tells by the title of an error."""
    return Cause(pattern="|".join(map(re.escape, TITLES[name])), name=name, message=message, cure=cure, vague=vague)


_ASKED = Cause(
    pattern=r"Prompt: '\?' for help|\[Press enter to continue\]",
    name="question-asked",
    message="the installer asks a question, and nobody is there",
    cure="the lines before it tell which; give its answer in preseed.cfg",
    vague=True,
)
_START = (
    *phases.FIRMWARE,
    _told("answers-missing", "the installer did not find its answers",
          "is preseed.cfg in the initrd, on the medium, or at the address that url= names?"),
    _told("answers-refused", "the installer could not read its answers", "nestlab validate tells the line"),
    Cause(
        pattern=r"Kernel panic - not syncing",
        name="kernel-panic",
        message="the installer's kernel panicked",
        cure="the same line and those before it tell why; 780 MB of memory is the least",
    ),
    _told("memory-too-small", "the machine has less memory than the installer needs", "raise the node's memory"),
)  # fmt: skip
_COMPONENTS = (
    _told("no-network", "the installer has no network",
          "is the management card of a model that the installer's initrd drives? e1000 and virtio are"),
    Cause(
        # net-retriever of 12 and 13 (measured: a suite signed by another key), debootstrap's functions
        pattern=r"error: Bad signature on \S*Release|Release signed by unknown key|Invalid Release signature",
        name="signature-refused",
        message="the installer does not know the key by which the mirror's lists are signed",
        cure="a mirror of one's own needs its key in the installer's /usr/share/keyrings/archive.gpg",
    ),
    _told("mirror-failed", "the installer could not get its own components",
          "does install.mirror answer, with the release, and components for this installer's kernel?", vague=True),
)  # fmt: skip
_COMMAND = (
    _told("script-failed", "a script of the installation failed",
          "the lines before it, and the installer's /var/log/syslog, tell why"),
    Cause(
        pattern=r"nestlab: the installation failed",
        name="installation-failed",
        message="the last script of the installation failed",
        cure="look at the lines before it",
        vague=True,
    ),
    Cause(
        pattern=r"nestlab: step \S+ failed",
        name="step-failed",
        message="a step of the installation failed",
        cure="the installer's log, which came with the report, tells at what",
        vague=True,
    ),
)  # fmt: skip
_DISKS = (
    Cause(
        pattern=r"nestlab: there is no disk \S+",
        name="disk-missing",
        message="a disk of the answers is not in the machine",
        cure="disks are called by their names in the installer: install.disk_names and install.devices say otherwise",
    ),
    _told("disk-missing", "the installer asks how to use the disks: it does not know the one of its answers",
          "disks are called by their names in the installer: install.disk_names and install.devices say otherwise"),
    Cause(
        # partman-auto/not_enough_space, in the lines below the title of the next
        pattern=r"because the selected disk or free space is too",
        name="disk-too-small",
        message="the disks are too small for what is to be on them",
        cure="raise the size of the node's disks, or make the volumes of install: smaller",
    ),
    _told("disks-refused", "the installer could not lay out the disks as it was told",
          "are the disks as large, and named, as the lab file says?", vague=True),
    _told("array-refused", "the installer could not make an array",
          "are all of its disks there, under the names that preseed.cfg gives them?"),
)  # fmt: skip
_PACKAGES = (
    _told("packages-failed", "a package could not be installed",
          "does the mirror, or the medium, have it? a small medium has no Xen"),
)  # fmt: skip
_LOADER = (
    _told("loader-failed", "the boot loader could not be installed",
          "is grub-installer/bootdev a disk of the machine, and has GPT on a BIOS its biosgrub partition?"),
)  # fmt: skip


def boots(end: Literal["poweroff", "reboot"], *, arrays: bool) -> tuple[Boot, ...]:
    """The installation and the first start of the host. `end` is what the answers end with; `arrays` are made and
    formatted in more than twice the time of a single disk."""
    always = (*_COMMAND, _ASKED, *_START[-2:], *DURING_INSTALLATION)
    asking = (*_COMPONENTS, *always)
    partitioning = (*_DISKS, *asking)
    packages = (*_PACKAGES, *_LOADER, *always)
    installing = (
        Phase(name="installer's kernel", awaits=r"Linux version \d", weight=20, causes=_START),
        Phase(name="answers", awaits="nestlab: the installer has read its answers", weight=75,
              causes=(*_START, *always)),
        Phase(name="components", awaits="nestlab: step user-setup-udeb", weight=130, causes=partitioning),
        Phase(name="accounts and clock", awaits="nestlab: the disks are next", weight=40, causes=partitioning),
        Phase(name="disks", awaits="nestlab: the disks are ready", weight=400 if arrays else 150, causes=partitioning),
        Phase(name="base system", awaits="nestlab: the base system is installed", weight=620, causes=packages),
        Phase(name="kernel", awaits="nestlab: packages are next", weight=280, causes=packages),
        Phase(name="packages", awaits="nestlab: step grub-installer", weight=220, causes=packages),
        Phase(name="boot loader", awaits="nestlab: step finish-install", weight=190, causes=packages),
        Phase(name="settings", awaits="nestlab: the host is installed", weight=200, causes=packages),
        Phase(name="end", signal="power-off" if end == "poweroff" else "reboot", weight=60, causes=always),
    )  # fmt: skip
    return (Boot(name="install", phases=installing, medium=True, on_reboot="end"), phases.boot())
