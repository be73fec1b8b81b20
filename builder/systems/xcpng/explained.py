"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.living import LivingSetting
from builder.systems.xcpng.judge.codes import CODES
from builder.systems.xcpng.phases import boots

__all__ = ["CAUSES", "CODES", "DEAD", "LIVING"]

CAUSES = of_boots(boots("fresh", "poweroff"))
"""Why an installation or a boot of such a host may have failed."""

_PARTITIONS = DeadSetting(
    was="what became of partitions on the first disk before the installation",
    today="preserve-first-partition of <primary-disk>: install.preserve_first_partition in a lab file",
    why="no release that is installed here reads it",
    source="host-installer answerfile.py, v8.2.1 and v10.10.19.xcpng.5",
)
DEAD: Mapping[str, DeadSetting] = {
    "netinstall-gpg-check": DeadSetting(
        was="an attribute of <installation> in 8.2: whether the repository's signature is checked",
        today="gpgcheck and repo-gpgcheck from 8.3 on: install.check_signatures and check_repository in a lab file, "
        "which nestlab writes by the release's own names",
        why="8.3 passes over it without a word, and so does 8.2 with the newer names",
        source="host-installer answerfile.py, tried with its parser",
    ),
    "initial-partitions": _PARTITIONS,
    "zap-utility-partitions": _PARTITIONS,
    "autoinstall": DeadSetting(
        was="the label of a block device from which the installer took its answer file by itself",
        today="the answer file in install.img, or served: install.delivery in a lab file, `nestlab media build`",
        why="the script that looked for the label was removed in 2014; doc/autoinstall.txt is left over",
        source="host-installer doc/autoinstall.txt and its history",
    ),
    "netdevice": DeadSetting(
        was="an argument that guides name for the card of the installer",
        today="network_device= chooses the card, map_netdev= gives cards their names; nestlab writes the first",
        why="the installer has no argument of that name, and passes over those that it does not know",
        source="host-installer init and doc/parameters.txt",
    ),
}

LIVING: Mapping[str, LivingSetting] = {
    "dom0_mem": LivingSetting(
        does="dom0's memory. No answer file can say it: a script of the installation asks xen-cmdline of the new host.",
        file="filesystem-populated.sh",
        written="dom0_mem=",
        lab="xen.dom0_memory; on a host that is there: nestlab procedure run LAB NODE dom0-memory",
        source="XCP-ng docs, dom0 memory; host-installer backend.py",
    ),
}
