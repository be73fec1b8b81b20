"""Two power-ons: the installer, which ends by switching the machine off, and the installed host under Xen.

The installation is followed by marks of our own scripts, which they print and post. linuxrc's words are quoted from its
source (openSUSE/linuxrc 46dd444: linuxrc.c, auto2.c, net.c, url.c), YaST's popups from yast-autoinstallation e94d61ec,
Agama's from f0b1e9c1d; both write to logs of their own. Weights are rough: packages over an emulated disk take most of
the time.
"""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.causes import (
    DURING_INSTALLATION,
    GUESTS,
    LOADER_RESCUE,
    NO_NESTED_PAGING,
    NO_ROOT,
    NO_ROOT_YET,
    NOTHING_TO_BOOT,
    RUNNING,
    XEN,
    kernel_panic,
)
from builder.systems.suse.releases import Release

_KERNEL = kernel_panic("the installer's kernel")
_LINUXRC = (
    Cause(
        pattern=r"DHCP configuration failed\.",
        name="no-network",
        message="linuxrc got no address by DHCP",
        cure="is the management card of a model that the installer drives, and does its network answer DHCP?",
    ),
    Cause(
        pattern=r"File not signed\.|Invalid signature\.|Digest verification failed\.",
        name="signature-refused",
        message="linuxrc refused a file of the medium or of the repository",
        cure="is it whole and the vendor's? A file of one's own on the installer's line needs insecure=1",
    ),
    Cause(
        pattern=r"Failed to download AutoYaST file|Failed to read info file|Invalid AutoYaST profile URL"
        r"|An error occurred while fetching the profile",
        name="profile-missing",
        message="linuxrc did not find the profile",
        cure="the volume or the initrd that carries autoinst.xml is not there, or has another label",
    ),
    Cause(
        pattern=r"No repository found\.|Enter the repository URL|a matching boot image is needed",
        name="repository-missing",
        message="linuxrc did not find the installation repository",
        cure="is the medium whole, and reachable what install.url names?",
    ),
)
_YAST = (
    Cause(
        pattern=r"No disks found\.|Error while configuring partitions\.",
        name="disks-refused",
        message="YaST could not lay out the disks as it was told",
        cure="are they as large, and called, as the lab file says (install.disk_names)? The node's YaST log tells more",
    ),
    Cause(
        pattern=r"These packages cannot be found in the software repositories|The package resolver run failed"
        r"|Error while configuring software selections",
        name="packages-missing",
        message="a package or a pattern is in none of the repositories",
        cure="the lines after it name them: which module brings it (install.modules), or is the medium the small one?",
    ),
)
_REPOSITORIES = (
    Cause(
        pattern=r"Failed to find the product in the repositories|Could not (?:read|add) the repositor",
        name="repository-missing",
        message="Agama did not get what it is to install from",
        cure="reachable, and with this product? A small medium needs install.registration, or repositories:",
    ),
)
_AGAMA = (
    Cause(
        pattern=r"Skipping the auto-installation|Could not load configuration from",
        name="profile-missing",
        message="Agama did not take the profile",
        cure="the volume that carries autoinst.json is not there, or its schema refuses the profile: the journal of "
        "agama-autoinstall on the medium tells",
    ),
    *_REPOSITORIES,
)
_NO_ANSWERS = Cause(
    pattern="",
    name="profile-missing",
    message="the installer did not begin by itself: it has no profile, or waits at a screen",
    cure="is the volume there, or the address on the line (autoyast=, inst.auto=)? A screenshot tells",
)
_FAILED = (
    Cause(
        pattern=r"nestlab: the installation failed: no boot entry starts Xen",
        name="no-xen-entry",
        message="the new system has no boot entry with Xen",
        cure="the pattern xen_server, or the packages xen and xen-tools, are missing from the repositories",
    ),
    Cause(
        pattern=r"nestlab: the installation failed",
        name="installation-failed",
        message="the installation failed",
        cure="the same line tells at what; the scripts' logs are in /var/adm/autoinstall/logs, or /var/log/agama",
        vague=True,
    ),
    *DURING_INSTALLATION,
)
_HOST = (LOADER_RESCUE, *XEN, NO_ROOT, NO_ROOT_YET, kernel_panic("dom0's kernel"))
_STARTING = (*_HOST, NO_NESTED_PAGING)
_SERVICES = (*_HOST, *GUESTS)


def boots(release: Release, end: Literal["poweroff", "reboot"]) -> tuple[Boot, ...]:
    """The installation and the first start. `end` is what the answers end with."""
    start = (NOTHING_TO_BOOT, _KERNEL)
    yast = release.installer == "autoyast"
    reading = (*start[1:], *(_LINUXRC if yast else _AGAMA), *DURING_INSTALLATION)
    known = (_KERNEL, *(_YAST if yast else _REPOSITORIES), *_FAILED)
    phases = [Phase(name="installer's kernel", awaits=r"Linux version \d", weight=30, causes=start)]
    if yast:
        phases.append(Phase(name="linuxrc", awaits=r">>> .* installation program v", weight=60, causes=reading))
    phases += [
        Phase(
            name="answers",
            awaits="nestlab: the installer has read its answers",
            weight=180,
            causes=reading,
            late=_NO_ANSWERS,
        ),
        Phase(name="disks", awaits="nestlab: the disks are ready", weight=180, causes=known),
        Phase(name="packages", awaits="nestlab: the packages are installed", weight=1800, causes=known),
        Phase(name="settings", awaits="nestlab: the host is set up", weight=120, causes=known),
        Phase(name="end", signal="power-off" if end == "poweroff" else "reboot", weight=180, causes=known),
    ]
    host = (
        Phase(name="hypervisor", awaits=r"Xen version \d|\(XEN\) ", weight=15, causes=(NOTHING_TO_BOOT, *_STARTING)),
        Phase(name="dom0 kernel", awaits=r"Linux version \d", weight=15, causes=_STARTING),
        Phase(name="services", awaits=RUNNING, weight=30, causes=_SERVICES),
        Phase(name="ssh", signal="ssh", weight=120, causes=_SERVICES),
    )
    return (
        Boot(name="install", phases=tuple(phases), medium=True, on_reboot="end"),
        Boot(name="disk", phases=host),
    )
