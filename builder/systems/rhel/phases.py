"""Two power-ons: the installer, which ends by switching the machine off, and the installed host.

The installation is followed by marks of our own scripts, which they print and post; anaconda's text screens on the
console tell little. What it tells itself is quoted from its source (rhel7-branch to main 8eddd3c95d), and the words of
EL6's loader are not waited for. Why packages failed is in its logs, which come with the report. Weights are rough:
packages over an emulated disk take most of the time.
"""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.causes import (
    DURING_INSTALLATION,
    LOADER_RESCUE,
    NO_ROOT,
    NO_ROOT_YET,
    NOTHING_TO_BOOT,
    RUNNING,
    kernel_panic,
)
from builder.systems.rhel.releases import Release

_START = (
    NOTHING_TO_BOOT,
    Cause(
        pattern=r"Can't get kickstart from|failed to fetch kickstart|Cannot find kickstart file on|"
        r"Error downloading kickstart file|unknown network kickstart URL",
        name="kickstart-missing",
        message="the installer did not find its kickstart",
        cure="the volume or the initrd that carries ks.cfg is not there, or has another label",
    ),
    Cause(
        pattern=r"failed to fetch stage2 from|can't find installer main ?image path",
        name="stage2-missing",
        message="the installer did not find the rest of itself on the medium",
        cure="the volume id of the medium was changed, or the medium is not whole",
    ),
    Cause(
        pattern=r"requires \S+ MB of memory to install",
        name="memory-too-small",
        message="the machine has less memory than the installer needs",
        cure="raise the node's memory; 2 GiB for a medium, more for a network installation",
    ),
    Cause(
        pattern=r"Media check failed!",
        name="medium-broken",
        message="the medium's own check failed",
        cure="compare the file with the vendor's sum; a medium that was changed has no valid sum, so that its "
        "menu must not ask for the check (rd.live.check)",
    ),
    Cause(
        pattern=r"Kernel panic - not syncing",
        name="kernel-panic",
        message="the installer's kernel panicked",
        cure="the same line and those before it tell why; releases from 9 need newer processor features",
    ),
)
_ANSWERS = (
    Cause(
        pattern=r"An error occurred during reading the kickstart file|The following problem occurred on line \d+ of "
        r"the kickstart file",
        name="kickstart-refused",
        message="the installer refused the kickstart",
        cure="the next lines on the console name the line",
    ),
    Cause(
        pattern=r"GRUB2 does not support installation to a partition",
        name="loader-in-partition",
        message="the kickstart asks for the boot loader in a partition",
        cure="bootloader --location=mbr",
    ),
    Cause(
        pattern=r"Your BIOS-based system needs a special",
        name="biosboot-missing",
        message="a disk with GPT has no biosboot partition",
        cure="one on each disk of the system, or install.label: msdos",
    ),
    Cause(
        pattern=r"Please make (?:a|your) (?:selection|choice) from the (?:above|following)|Please respond 'yes'",
        name="question-asked",
        message="the installer asks a question, and nobody is there",
        cure="the lines before it tell which; give its answer in the kickstart",
    ),
    Cause(
        pattern=r"(?:Disk|Partition|Device) \"\S+\" (?:given in|specified in) \w+ command does not exist|[Ss]pecified "
        r"nonexistent disk|Requested boot drive \"\S+\" doesn't exist|No usable disks",
        name="disk-missing",
        message="a disk of the kickstart is not in the machine",
        cure="disks are called by their names in the installer (sda, vda, nvme0n1): install.disk_names and "
        "install.devices say otherwise",
    ),
    Cause(
        pattern=r"[Nn]ot enough free space on (?:selected )?disks|Unable to allocate requested partition scheme"
        r"|Not enough (?:disk space to download|space in file systems)",
        name="disk-too-small",
        message="the disks are too small for what is to be installed",
        cure="raise the size of the node's disks, or make the kickstart's volumes smaller",
    ),
    Cause(
        pattern=r"GPG signature verification error|GPG check FAILED|Public key for \S+ is not installed",
        name="signature-refused",
        message="the installer refused the repository's or a package's signature",
        cure="is the repository the vendor's, unchanged? its key must be one of the release",
    ),
    Cause(
        pattern=r"Kickstart insufficient|Non interactive installation failed",
        name="kickstart-insufficient",
        message="the kickstart leaves a question open",
        cure="the lines before name it",
    ),
    Cause(
        pattern=r"The following error occurred (?:while (?:installing|setting up the payload)|during the installation)"
        r"|An unknown error has occured",
        name="installation-failed",
        message="the installation failed",
        cure="the lines after it tell why",
        vague=True,
    ),
    Cause(
        pattern=r"nestlab: the installation failed",
        name="installation-failed",
        message="the installation failed",
        cure="look at the lines before it",
        vague=True,
    ),
    *DURING_INSTALLATION,
)
_NO_ANSWERS = Cause(
    pattern="",
    name="kickstart-missing",
    message="the installer waits for its kickstart, or asks its first question",
    cure="without inst.ks= it looks for a volume OEMDRV alone; from a CD it waits for the file for ever",
)
_HOST = (LOADER_RESCUE, NO_ROOT, NO_ROOT_YET, kernel_panic("the host's kernel"))


def boots(release: Release, end: Literal["poweroff", "reboot"]) -> tuple[Boot, ...]:
    """The installation and the first start. `end` is what the kickstart ends with."""
    installing = (*_START[2:], *_ANSWERS)
    phases = [
        Phase(name="installer's kernel", awaits=r"Linux version \d", weight=30, causes=_START),
        Phase(name="answers", awaits="nestlab: the installer has read its answers", weight=150,
              causes=(*_START, *_ANSWERS), late=_NO_ANSWERS),
    ]  # fmt: skip
    if release.pre_install:
        phases.append(Phase(name="disks", awaits="nestlab: the disks are ready", weight=120, causes=installing))
    phases += [
        Phase(name="packages", awaits="nestlab: the packages are installed", weight=1800, causes=installing),
        Phase(name="settings", awaits="nestlab: the host is installed", weight=180, causes=installing),
        Phase(name="end", signal="power-off" if end == "poweroff" else "reboot", weight=60, causes=installing),
    ]
    host = (
        Phase(name="kernel", awaits=r"Linux version \d", weight=25, causes=(_START[0], *_HOST)),
        Phase(name="services", awaits=RUNNING, weight=20, causes=_HOST),
        Phase(name="ssh", signal="ssh", weight=60, causes=_HOST),
    )
    return (
        Boot(name="install", phases=tuple(phases), medium=True, on_reboot="end"),
        Boot(name="disk", phases=host),
    )
