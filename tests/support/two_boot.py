"""A system of two power-ons, as every installation is: the first writes the disk and reboots, the second finds it.

It is the tiny system with another script; only for tests of what `lifecycle` makes of a list of boots.
"""

from __future__ import annotations

from builder.model.lab import Node
from builder.model.plan import Boot, Cause, File, Phase, SystemPlan
from builder.systems.tiny.system import Tiny

_SCRIPT = """\
if [ "$(head -c 9 /dev/sda)" = installed ]; then
    echo "two-boot: found an installation"
else
    echo "two-boot: installing"
    printf installed >/dev/sda
    sync
    %s
fi
"""


class TwoBoot:
    """`end` is the command that the installation ends with: `reboot -f`, or `poweroff -f`."""

    def __init__(self, end: str = "reboot -f") -> None:
        tiny = Tiny()
        self._tiny = tiny
        self._end = end
        self.traits = tiny.traits.model_copy(update={"name": "two-boot"})

    def plan(self, node: Node) -> SystemPlan:
        whole = self._tiny.plan(node)
        script = File(path="/etc/nestlab/network.sh", content=_SCRIPT % self._end)
        seed = (*(file for file in whole.seed if file.path != script.path), script)
        kernel, ready, ssh = whole.boots[0].phases
        broken = Cause(pattern="two-boot: no disk", name="no-disk", message="there is no disk", cure="give it one")
        install = Boot(
            name="install",
            phases=(
                kernel,
                Phase(name="installation", awaits="two-boot: installing", weight=10, causes=(broken,)),
                Phase(name="end", signal="reboot" if "reboot" in self._end else "power-off", weight=10),
            ),
            on_reboot="end",
        )
        found = Phase(name="installed", awaits="two-boot: found an installation", weight=10)
        disk = Boot(name="disk", phases=(kernel, found, ready, ssh))
        return whole.model_copy(update={"system": "two-boot", "seed": seed, "boots": (install, disk)})
