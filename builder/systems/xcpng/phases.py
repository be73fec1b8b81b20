"""Two power-ons: the installer, followed by its own log, and the installed host.

`rt_answerfile=` puts the installer's log on the console. Its lines are quoted from init, answerfile.py, backend.py and
install.py of host-installer v8.2.1 and v10.10.19.xcpng.5; weights are rough.
"""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.causes import NOTHING_TO_BOOT, kernel_panic

_START = (
    NOTHING_TO_BOOT,
    Cause(
        pattern=r"Panic on CPU \d+:|FATAL TRAP: vec|Xen BUG at",
        name="xen-panic",
        message="the hypervisor panicked",
        cure="the lines after it tell why; nested on Intel, EPT must be there",
    ),
    kernel_panic("dom0's kernel"),
)
_INSTALLER = (
    Cause(
        pattern=r"AnswerfileException|XmlUnwrapError|incorrectly formatted",
        name="answers-refused",
        message="the installer refused the answer file",
        cure="the line names the element; a wrong disk shows as 'No such file or directory' instead",
    ),
    Cause(
        pattern=r"Unable to fetch script|Missing interpreter in|Invalid interpreter",
        name="script-refused",
        message="the installer could not run a script",
        cure="its address must be reachable and its first line name sh, bash or python",
    ),
    Cause(
        pattern=r"nestlab: the host script failed",
        name="host-script-failed",
        message="the script for the host's own files failed",
        cure="/var/log/installer/install-log on the host holds its words",
    ),
    Cause(
        pattern=r"INSTALL FAILED\.|nestlab: the installation failed",
        name="installation-failed",
        message="the installation failed",
        cure="the lines before and after it tell why",
    ),
)
_HOST = (
    *_START,
    Cause(
        pattern=r"dracut-initqueue.*timeout|Entering emergency mode|You are in emergency mode",
        name="no-root",
        message="the host did not find its root file system",
        cure="dom0's kernel has no driver for the disk's controller, or an array is not complete",
    ),
)
_DONE = {
    "fresh": "The installation completed successfully",
    "upgrade": "The installation completed successfully",
    "restore": "The restore operation completed successfully",
}


def boots(
    mode: Literal["fresh", "upgrade", "restore"], end: Literal["poweroff", "reboot", "shell"]
) -> tuple[Boot, ...]:
    """The installation and the first start. With end 'shell' the installer stays up: its last line is the end."""
    known = (*_START, *_INSTALLER)
    phases = [
        Phase(name="hypervisor", awaits=r"Xen version \d|\(XEN\) ", weight=15, causes=_START),
        Phase(name="dom0 kernel", awaits=r"Linux version \d", weight=15, causes=_START),
        Phase(name="installer", awaits=r"Setup - Version|Installer Version ", weight=90, causes=_START),
    ]
    if mode == "restore":
        phases.append(Phase(name="answers", awaits="Processing XML answerfile for restore", weight=30, causes=known))
        phases.append(Phase(name="restore", awaits=_DONE[mode], weight=900, causes=known))
    else:
        phases += [
            Phase(name="answers", awaits="Processing XML answerfile for installation", weight=30, causes=known),
            Phase(name="disks", awaits="NEW PHASE: Reading package information", weight=60, causes=known),
            Phase(name="packages", awaits="NEW PHASE: Completing installation", weight=1500, causes=known),
            Phase(name="settings", awaits=_DONE[mode], weight=300, causes=known),
        ]
    if end != "shell":
        phases.append(Phase(name="end", signal="power-off" if end == "poweroff" else "reboot", weight=60, causes=known))
    host = (
        Phase(name="hypervisor", awaits=r"Xen version \d|\(XEN\) ", weight=10, causes=_HOST),
        Phase(name="dom0 kernel", awaits=r"Linux version \d", weight=10, causes=_HOST),
        Phase(name="services", awaits=r"Welcome to |systemd \d+.* running in system mode", weight=20, causes=_HOST),
        Phase(name="ssh", signal="ssh", weight=240, causes=_HOST),
    )
    return (
        Boot(name="install", phases=tuple(phases), medium=True, on_reboot="end"),
        Boot(name="disk", phases=host),
    )
