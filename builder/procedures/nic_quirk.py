"""A parameter of dom0's kernel that a network card or its board needs."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from builder.model.units import ARGUMENT_PATTERN
from builder.procedures.api import Dead, Drill, Options, Procedure, Refusal
from builder.procedures.boot import BootSettings, BootWay, Grub, XenCmdline


class Asked(Options):
    key: str = Field("pcie_aspm", pattern=r"^[A-Za-z0-9_.-]+$", description="the parameter's name")
    value: str = Field("off", pattern=ARGUMENT_PATTERN, description="its value")


# These have procedures of their own. To the kernel `-` and `_` are one character.
TAKEN = {"console": "serial-console", "xen_pciback.hide": "pci-hide"}


class _Quirk(BootWay[Asked]):
    name = "nic-quirk"

    def settings(self, asked: Asked) -> BootSettings:
        return BootSettings(kernel_keys=(asked.key,), kernel=(f"{asked.key}={asked.value}",))

    def judge(self, survey: Mapping[str, str], asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        owner = TAKEN.get(asked.key.replace("-", "_"))
        if owner is None:
            return ()
        return (Refusal(code="other-procedure", message=f"{asked.key} is not set here",
                        hint=f"nestlab procedure show {owner}"),)  # fmt: skip

    def file_name(self, asked: Asked) -> str:
        return f"{self.name}-{asked.key}"


PROCEDURE = Procedure(
    name="nic-quirk",
    title="Kernel parameter for a network card",
    summary="dom0's kernel gets one parameter, by default pcie_aspm=off: cards such as the 82574L on Supermicro "
    "X9SCM/X9SCL boards stop after heavy traffic (\"NETDEV WATCHDOG: transmit queue timed out\") when the link saves "
    "power. Each parameter is applied and undone by itself.",
    options=Asked,
    ways={"xl": _Quirk(Grub()), "xe": _Quirk(XenCmdline())},
    sources=(
        "X9SCM / X9SCL Network Timeout (its parameter line is lost; pcie_aspm=off is inferred from like reports)",
        "kernel-parameters: pcie_aspm",
    ),
    refuses={
        "no-update-grub": "the host is no Debian host (plain Xen)",
        "other-procedure": "the parameter belongs to another procedure",
    },
    drill=Drill(),
    dead=(
        Dead(
            says="add the parameter to grub.conf or menu.lst",
            why="GRUB 2 makes its menu from /etc/default/grub; under Xen the parameter is the kernel module's, not "
            "the hypervisor's",
        ),
    ),
    subject="key",
)  # fmt: skip
