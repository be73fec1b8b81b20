"""Two power-ons: the installer, followed by its own log, and the installed host.

The console tells the truth: `rt_answerfile=` puts the installer's log on it. Its lines are quoted from init,
answerfile.py, backend.py, repository.py and install.py of host-installer v8.2.1 and v10.10.19.xcpng.5. What went wrong
stands behind INSTALL FAILED, which says only that something did. Weights are rough: no one has timed the real one here.
"""

from __future__ import annotations

from typing import Literal

from builder.model.plan import Boot, Cause, Phase
from builder.systems.causes import (
    DURING_INSTALLATION,
    NO_NESTED_PAGING,
    NOTHING_TO_BOOT,
    RUNNING,
    XEN,
    kernel_panic,
    no_root,
)

_START = (
    NOTHING_TO_BOOT,
    *XEN,
    NO_NESTED_PAGING,
    kernel_panic("dom0's kernel"),
)
_SCREEN = Cause(
    pattern=r"dropping back to interactive mode",
    name="question-asked",
    message="the installer shows a screen, and nobody is there",
    cure="dom0's line needs install and rt_answerfile= or answerfile=; without install 8.2 drops the answers",
)
_INSTALLER = (
    _SCREEN,
    Cause(
        # The line of the traceback that fails alone when there is no file: a file that is no XML fails in fetch, too.
        pattern=r"util\.fetchFile\(location, ANSWERFILE_PATH\)",
        name="answers-missing",
        message="the installer could not get its answers",
        cure="the last lines tell the address: is the file in the initrd, or served there, and does network_device= "
        "name the card over which it is reached?",
    ),
    Cause(
        # Before what refuses answers: these are AnswerfileExceptions as well. The misspelt word is the installer's.
        pattern=r"Could not locate exsisting backup|Unable to find a backup to restore|Multiple backups were found",
        name="backup-missing",
        message="the installer does not find the one backup that it is to restore",
        cure="a backup is made by an upgrade; of several, leave the one that is meant",
    ),
    Cause(
        pattern=r"AnswerfileException|XmlUnwrapError|incorrectly formatted",
        name="answers-refused",
        message="the installer refused the answer file",
        cure="the line names the element; a wrong disk shows as 'No such file or directory' instead",
    ),
    Cause(
        pattern=r"Failed to read \.treeinfo|No main repository found",
        name="treeinfo-missing",
        message="what is to be installed from is no repository of XCP-ng",
        cure="a repository is the whole content of the medium, with .treeinfo and repodata at its top",
    ),
    Cause(
        pattern=r"Unable to access repository",
        name="repository-missing",
        message="the installer does not find what it is to install from",
        cure="the line names it: does the address answer, and is .treeinfo there? A copy without hidden files lacks it",
    ),
    Cause(
        pattern=r"Signature key import failed|No signature on repository metadata|Repository signature verification "
        r"failure|Missing key for \S+\.rpm|Package not signed: |Cryptography-related yum crash",
        name="signature-refused",
        message="the installer refused the repository's or a package's signature",
        cure="packages were changed, or signed by somebody else: sign the repository anew, or do without the check: "
        "install.check_repository, install.check_signatures",
    ),
    Cause(
        pattern=r"The disk \S+ is smaller than \d+GB",
        name="disk-too-small",
        message="the first disk is smaller than the installer's least",
        cure="46 GiB is the least of 8.2 and 8.3: raise the size of the node's first disk",
    ),
    Cause(
        pattern=r"The disk \S+ could not be found|No such file or directory: u?'/(?:dev|sys/block)/",
        name="disk-missing",
        message="a disk of the answers is not in the machine",
        cure="disks are called by their names in the installer (sda, nvme0n1): install.disk_names and install.devices "
        "say otherwise; an array of 8.3 takes guest_storage: no",
    ),
    Cause(
        pattern=r"Installer mode \(\S+\) is mismatched with target boot mode",
        name="firmware-mismatch",
        message="the host that is to be upgraded starts by another firmware than the installer did",
        cure="start the medium as the host starts: firmware: of the node",
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
        vague=True,
    ),
    *DURING_INSTALLATION,
)
_HOST = (
    *_START,
    *no_root("dom0's kernel has no driver for the disk's controller, or an array is not complete"),
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
        phases.append(
            Phase(name="answers", awaits="Processing XML answerfile for restore", weight=30, causes=known, late=_SCREEN)
        )
        phases.append(Phase(name="restore", awaits=_DONE[mode], weight=900, causes=known))
    else:
        phases += [
            Phase(
                name="answers",
                awaits="Processing XML answerfile for installation",
                weight=30,
                causes=known,
                late=_SCREEN,
            ),
            Phase(name="disks", awaits="NEW PHASE: Reading package information", weight=60, causes=known),
            Phase(name="packages", awaits="NEW PHASE: Completing installation", weight=1500, causes=known),
            Phase(name="settings", awaits=_DONE[mode], weight=300, causes=known),
        ]
    if end != "shell":
        phases.append(Phase(name="end", signal="power-off" if end == "poweroff" else "reboot", weight=60, causes=known))
    host = (
        Phase(name="hypervisor", awaits=r"Xen version \d|\(XEN\) ", weight=10, causes=_HOST),
        Phase(name="dom0 kernel", awaits=r"Linux version \d", weight=10, causes=_HOST),
        Phase(name="services", awaits=RUNNING, weight=20, causes=_HOST),
        Phase(name="ssh", signal="ssh", weight=240, causes=_HOST),
    )
    return (
        Boot(name="install", phases=tuple(phases), medium=True, on_reboot="end"),
        Boot(name="disk", phases=host),
    )
