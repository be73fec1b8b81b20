"""Two power-ons: the medium with our script in place of its installer, and the installed host under Xen.

The installation is followed by marks that the script prints, on the console alone: NetBSD's kernel has no command line
that could carry an address to report to. Failures begin with `nestlab: failed:` and name the step. What the loader and
the kernels print is quoted from their sources. Weights are rough: sets and packages over an emulated disk take most of
the time.
"""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.causes import DURING_INSTALLATION, GUESTS, NO_NESTED_PAGING, NOTHING_TO_BOOT, XEN

_START = (
    NOTHING_TO_BOOT,
    Cause(
        pattern=r"Can't open /boot|/boot load failed|Invalid /boot file format",
        name="loader-missing",
        message="the boot blocks did not find their loader, /boot",
        cure="the file system does not begin where the boot blocks look: at the active partition's start",
    ),
    Cause(
        pattern=r"^boot: .*: (?:No such file or directory|Inappropriate file type or format)",
        name="kernel-missing",
        message="the loader did not find or did not take a kernel",
        cure="the entry in boot.cfg names a file that is not there",
    ),
    Cause(
        pattern=r"root device(?: \(default \S+\))?:",
        name="no-root",
        message="the kernel asks for its root file system",
        cure="the disk has another name than boot.cfg says, or the array did not come up",
    ),
    Cause(
        pattern=r"^panic: |fatal .* trap .* in supervisor mode",
        name="kernel-panic",
        message="NetBSD's kernel panicked",
        cure="the lines after it tell where",
    ),
)
_SCRIPT = (
    Cause(
        pattern=r"nestlab: failed: look at the machine",
        name="disk-missing",
        message="a disk of the system has another name than the lab says",
        cure="install.devices gives names by hand; the lines of the kernel above show them",
    ),
    Cause(
        pattern=r"nestlab: failed: .*do not match",
        name="packages-do-not-match",
        message="xenkernel and xentools are of different versions, or one of them is missing",
        cure="put both, built from one version, with all that they depend on, into the folder",
    ),
    Cause(
        pattern=r"nestlab: failed: look at the medium",
        name="medium-incomplete",
        message="the medium lacks a set, a kernel or a package",
        cure="`nestlab media build --add` puts packages into /nestlab/packages of the medium",
    ),
    Cause(
        pattern=r"nestlab: failed: (?:bring up the network|fetch the kernel)",
        name="network-missing",
        message="what is to be fetched could not be reached",
        cure="install.network gives the management card its address",
    ),
    Cause(
        pattern=r"nestlab: failed: prepare the disks",
        name="disks-refused",
        message="a disk could not be partitioned, mirrored or given a file system",
        cure="the line names the command",
    ),
    Cause(
        pattern=r"nestlab: failed: install the packages",
        name="packages-refused",
        message="the packages could not be installed",
        cure="the lines before it are pkg_add's; what a package depends on must be in the same folder",
    ),
    Cause(
        pattern=r"nestlab: failed: ",
        name="installation-failed",
        message="the installation failed",
        cure="the line names the step and the command",
        vague=True,
    ),
    Cause(
        pattern=r"nestlab: this script has run before",
        name="installer-started-twice",
        message="the script ended and was started again",
        cure="the lines before it tell why it ended",
    ),
    *DURING_INSTALLATION,
)
_HOST = (*_START, *XEN)
_STARTING = (*_HOST, NO_NESTED_PAGING)
_SERVICES = (*_HOST, *GUESTS)


def boots(end: Literal["poweroff", "reboot"]) -> tuple[Boot, ...]:
    """The installation and the first start. `end` is what the script does when the host is installed."""
    known = (*_START[2:], *_SCRIPT)
    install = (
        Phase(name="installer's kernel", awaits=r"NetBSD \d+\.\d", weight=40, causes=_START),
        Phase(name="installer", awaits="nestlab: the installer has started", weight=90, causes=(*_START, *_SCRIPT)),
        Phase(name="medium", awaits="nestlab: the medium is complete", weight=30, causes=known),
        Phase(name="disks", awaits="nestlab: the disks are ready", weight=60, causes=known),
        Phase(name="sets", awaits="nestlab: the sets are unpacked", weight=900, causes=known),
        Phase(name="packages", awaits="nestlab: the packages are installed", weight=600, causes=known),
        Phase(name="settings", awaits="nestlab: the boot blocks are written", weight=120, causes=known),
        Phase(name="end", awaits="nestlab: the host is installed", weight=30, causes=known),
        Phase(name="off", signal="power-off" if end == "poweroff" else "reboot", weight=60, causes=known),
    )
    host = (
        Phase(name="hypervisor", awaits=r"Xen version \d|\(XEN\) ", weight=20, causes=_STARTING),
        Phase(name="dom0 kernel", awaits=r"NetBSD \d+\.\d", weight=20, causes=_STARTING),
        Phase(name="services", awaits=r"Starting sshd|^login:", weight=180, causes=_SERVICES),
        Phase(name="ssh", signal="ssh", weight=120, causes=_SERVICES),
    )
    return (
        Boot(name="install", phases=install, medium=True, on_reboot="end"),
        Boot(name="disk", phases=host),
    )
