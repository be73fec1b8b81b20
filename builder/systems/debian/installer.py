"""Two power-ons: the Debian installer, and the host that it made.

The installer is followed by marks that our own scripts print on the console. A question on the console means that it
waits for somebody: `Prompt:` is how its text frontend asks. Titles of errors are those of its templates, from Debian 13
(the same in 12). Weights are seconds under emulation, from one measured installation of 37 minutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.debian import phases

TITLES: Mapping[str, tuple[str, ...]] = {
    "answers-missing": ("Failed to retrieve the preconfiguration file",),
    "answers-refused": ("Failed to process the preconfiguration file",),
    "memory-too-small": ("Entering low memory mode", "Insufficient memory"),
    "no-network": ("Network autoconfiguration failed", "No network interfaces detected", "Ethernet card not found",
                   "Unreachable gateway"),
    "mirror-failed": ("Bad archive mirror", "Architecture not supported", "Failed to load installer component",
                      "Continue the install without loading kernel modules"),
    "script-failed": ("Failed to run preseeded command",),
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


def _told(name: str, message: str, cure: str) -> Cause:
    """A cause that the installer tells by the title of an error."""
    return Cause(pattern="|".join(map(re.escape, TITLES[name])), name=name, message=message, cure=cure)


_ASKED = Cause(
    pattern=r"Prompt: '\?' for help|\[Press enter to continue\]",
    name="question-asked",
    message="the installer asks a question, and nobody is there",
    cure="the lines before it tell which; give its answer in preseed.cfg",
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
    _told("mirror-failed", "the installer could not get its own components",
          "does install.mirror have the release, and components for this installer's kernel?"),
)  # fmt: skip
_COMMAND = (
    _told("script-failed", "a script of the installation failed",
          "the lines before it, and the installer's /var/log/syslog, tell why"),
    Cause(
        pattern=r"nestlab: the installation failed",
        name="installation-failed",
        message="the last script of the installation failed",
        cure="look at the lines before it",
    ),
)  # fmt: skip
_DISKS = (
    _told("disks-refused", "the installer could not lay out the disks as it was told",
          "are the disks as large, and named, as the lab file says?"),
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


def boots(end: Literal["poweroff", "reboot"]) -> tuple[Boot, ...]:
    """The installation and the first start of the host. `end` is what the answers end with."""
    always = (*_COMMAND, _ASKED, *_START[-2:])
    asking = (*_COMPONENTS, *always)
    partitioning = (*_DISKS, *asking)
    packages = (*_PACKAGES, *_LOADER, *always)
    installing = (
        Phase(name="installer's kernel", awaits=r"Linux version \d", weight=20, causes=_START),
        Phase(name="answers", awaits="nestlab: the installer has read its answers", weight=60,
              causes=(*_START, *always)),
        Phase(name="components", awaits="nestlab: the disks are next", weight=200, causes=partitioning),
        Phase(name="disks", awaits="nestlab: the disks are ready", weight=170, causes=partitioning),
        Phase(name="base system", awaits="nestlab: the base system is installed", weight=500, causes=packages),
        Phase(name="kernel", awaits="nestlab: packages are next", weight=250, causes=packages),
        Phase(name="packages and boot loader", awaits="nestlab: the host is installed", weight=550, causes=packages),
        Phase(name="end", signal="power-off" if end == "poweroff" else "reboot", weight=200, causes=always),
    )  # fmt: skip
    return (Boot(name="install", phases=installing, medium=True, on_reboot="end"), phases.boot())
