"""Ends of a boot that the machine tells, and not a line of its console."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from builder.model.plan import Cause

RESETS = 3
"""So many restarts of its own within one boot are a loop: firmware and first boot loaders restart once, at times."""

_CAUSES = (
    Cause(
        pattern="",
        name="timeout",
        message="what was awaited did not come in time",
        cure="all it said: nestlab console LAB NODE --log; a slow host needs more time: --timeout-scale 3",
    ),
    Cause(
        pattern="",
        name="early-power-off",
        message="the node powered off before its time",
        cure="read its last words",
        vague=True,
    ),
    Cause(
        pattern="",
        name="early-reboot",
        message="the node rebooted before its time",
        cure="read its last words",
        vague=True,
    ),
    Cause(
        pattern="",
        name="triple-fault",
        message="the node was reset without a word on its console: most likely a triple fault",
        cure="the kernel or the hypervisor does not run on this processor: another CPU model, the features it needs "
        "(nested paging for hosts of guests), or a whole image if it never came beyond the boot loader",
        vague=True,
    ),
    Cause(
        pattern="",
        name="reset-loop",
        message="the node restarts again and again",
        cure="read what it says before each restart; with xen.noreboot: true the hypervisor stops there",
        vague=True,
    ),
    Cause(
        pattern="",
        name="medium-gone",
        message="the medium went away while the node was reading it",
        cure="was the file moved or its disk unmounted? put it back, and start the installation again: nestlab up",
    ),
    Cause(
        pattern="",
        name="l0-lost",
        message="the machine that the node runs on cannot be reached any more",
        cure="look at it and at the network between; what runs there is removed by: nestlab down LAB",
    ),
    Cause(
        pattern="",
        name="no-space",
        message="this machine has no room left for the node's disks, so that the node was stopped",
        cure="free space where labs are kept (nestlab doctor shows where), and start again: nestlab up",
    ),
)
ENDS: Mapping[str, Cause] = {cause.name: cause for cause in _CAUSES}
"""By their names."""

# The last words of whoever restarts or powers off on purpose: Linux kernel/reboot.c, Xen arch/x86/shutdown.c and
# common/shutdown.c, systemd's shutdown, sysvinit and busybox init, NetBSD kern_reboot.
_WORDS = re.compile(
    r"reboot: |Restarting system|Power down|Rebooting|rebooting|powering off|[Pp]owering down|Dom\w* ?\d+ (?:shutdown|"
    r"crashed)|Resetting|system (?:is going down|will reboot|has halted|has been halted)|panic|sysrq",
)


def told(lines: Iterable[str]) -> bool:
    """Whether the last lines of a console say that the machine restarts or powers off, or why."""
    return any(_WORDS.search(line) for line in lines)
