"""Two power-ons: the Debian installer, and the host that it made.

The installer is followed by marks that our own scripts print on the console. A question on the console means that it
waits for somebody: `Prompt:` is how its text frontend asks. Titles of errors are those of its templates, from Debian 13
(the same in 12). Weights are seconds under emulation, from one measured installation of 37 minutes.
"""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.debian import phases

_ASKED = Cause(
    pattern=r"Prompt: '\?' for help|\[Press enter to continue\]",
    name="question-asked",
    message="the installer asks a question, and nobody is there",
    cure="the lines before it tell which; give its answer in preseed.cfg",
)
_START = (
    *phases.FIRMWARE,
    Cause(
        pattern=r"Failed to retrieve the preconfiguration file",
        name="answers-missing",
        message="the installer did not find its answers",
        cure="is preseed.cfg in the initrd, on the medium, or at the address that url= names?",
    ),
    Cause(
        pattern=r"Failed to process the preconfiguration file",
        name="answers-refused",
        message="the installer could not read its answers",
        cure="nestlab validate tells the line",
    ),
    Cause(
        pattern=r"Kernel panic - not syncing",
        name="kernel-panic",
        message="the installer's kernel panicked",
        cure="the same line and those before it tell why; 780 MB of memory is the least",
    ),
    Cause(
        pattern=r"Entering low memory mode|Out of memory: Killed process",
        name="memory-too-small",
        message="the machine has less memory than the installer needs",
        cure="raise the node's memory",
    ),
)
_COMPONENTS = (
    Cause(
        pattern=r"Network autoconfiguration failed|No network interfaces detected",
        name="no-network",
        message="the installer has no network",
        cure="is the management card of a model that the installer's initrd drives? e1000 and virtio are",
    ),
    Cause(
        pattern=r"Bad archive mirror|Downloading a file failed|No kernel modules found|"
        r"Loading \S+ failed for unknown reasons",
        name="mirror-failed",
        message="the installer could not get its own components",
        cure="does install.mirror have the release, and components for this installer's kernel?",
    ),
)
_COMMAND = (
    Cause(
        pattern=r"Failed to run preseeded command",
        name="script-failed",
        message="a script of the installation failed",
        cure="the lines before it, and /var/log/syslog of the installer, tell why",
    ),
    Cause(
        pattern=r"nestlab: the installation failed",
        name="installation-failed",
        message="the last script of the installation failed",
        cure="look at the lines before it",
    ),
)
_DISKS = (
    Cause(
        pattern=r"Failed to partition the selected disk|No root file system|Unable to satisfy all constraints|"
        r"Unusable free space|Unexpected error while creating volume group",
        name="disks-refused",
        message="the installer could not lay out the disks as it was told",
        cure="are the disks as large, and named, as the lab file says?",
    ),
    Cause(
        pattern=r"Error while setting up RAID|Not enough RAID partitions specified",
        name="array-refused",
        message="the installer could not make an array",
        cure="are all of its disks there, under the names that preseed.cfg gives them?",
    ),
)
_PACKAGES = (
    Cause(
        pattern=r"Debootstrap Error|Debootstrap warning|Base system installation error|Unable to install the base "
        r"system|Select and install software' failed|Unable to install \S+",
        name="packages-failed",
        message="a package could not be installed",
        cure="does the mirror, or the medium, have it? a small medium has no Xen",
    ),
)
_LOADER = (
    Cause(
        pattern=r"Unable to install GRUB in|GRUB installation failed|Unable to configure GRUB",
        name="loader-failed",
        message="the boot loader could not be installed",
        cure="is grub-installer/bootdev a disk of the machine, and does GPT on a BIOS have its biosgrub partition?",
    ),
)


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
        Phase(name="base system", awaits="nestlab: the base system is installed", weight=1100, causes=packages),
        Phase(name="package sources", awaits="nestlab: packages are next", weight=60, causes=packages),
        Phase(name="packages and boot loader", awaits="nestlab: the host is installed", weight=550, causes=packages),
        Phase(name="end", signal="power-off" if end == "poweroff" else "reboot", weight=200, causes=always),
    )  # fmt: skip
    return (Boot(name="install", phases=installing, medium=True, on_reboot="end"), phases.boot())
