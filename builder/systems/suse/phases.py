"""Two power-ons: the installer, which ends by switching the machine off, and the installed host under Xen.

The installation is followed by marks that our own scripts print on the console. linuxrc's words are quoted from its
source (openSUSE/linuxrc 46dd444: linuxrc.c, auto2.c); YaST and Agama write to logs of their own. Weights are rough:
packages over an emulated disk take most of the time.
"""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.causes import LOADER_RESCUE, NO_ROOT, NOTHING_TO_BOOT, XEN, kernel_panic
from builder.systems.suse.releases import Release

_KERNEL = kernel_panic("the installer's kernel")
_LINUXRC = (
    Cause(
        pattern=r"Failed to download AutoYaST file|Failed to read info file",
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
_AGAMA = (
    Cause(
        pattern=r"Skipping the auto-installation|Could not load configuration from",
        name="profile-missing",
        message="Agama did not take the profile",
        cure="the volume that carries autoinst.json is not there, or its schema refuses the profile: the journal of "
        "agama-autoinstall on the medium tells",
    ),
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
    ),
)
_HOST = (LOADER_RESCUE, *XEN, NO_ROOT, kernel_panic("dom0's kernel"))


def boots(release: Release, end: Literal["poweroff", "reboot"]) -> tuple[Boot, ...]:
    """The installation and the first start. `end` is what the answers end with."""
    start = (NOTHING_TO_BOOT, _KERNEL)
    reading = (*start[1:], *(_LINUXRC if release.installer == "autoyast" else _AGAMA))
    known = (_KERNEL, *_FAILED)
    phases = [Phase(name="installer's kernel", awaits=r"Linux version \d", weight=30, causes=start)]
    if release.installer == "autoyast":
        phases.append(Phase(name="linuxrc", awaits=r">>> .* installation program v", weight=60, causes=reading))
    phases += [
        Phase(name="answers", awaits="nestlab: the installer has read its answers", weight=180, causes=reading),
        Phase(name="disks", awaits="nestlab: the disks are ready", weight=180, causes=known),
        Phase(name="packages", awaits="nestlab: the packages are installed", weight=1800, causes=known),
        Phase(name="settings", awaits="nestlab: the host is set up", weight=120, causes=known),
        Phase(name="end", signal="power-off" if end == "poweroff" else "reboot", weight=180, causes=known),
    ]
    host = (
        Phase(name="hypervisor", awaits=r"Xen version \d|\(XEN\) ", weight=15, causes=(NOTHING_TO_BOOT, *_HOST)),
        Phase(name="dom0 kernel", awaits=r"Linux version \d", weight=15, causes=_HOST),
        Phase(name="services", awaits=r"Welcome to |systemd \d+.* running in system mode", weight=30, causes=_HOST),
        Phase(name="ssh", signal="ssh", weight=120, causes=_HOST),
    )
    return (
        Boot(name="install", phases=tuple(phases), medium=True, on_reboot="end"),
        Boot(name="disk", phases=host),
    )
