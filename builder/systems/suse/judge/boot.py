"""Arguments that the installer is started with."""

from __future__ import annotations

from collections.abc import Sequence

from builder.model.plan import Finding
from builder.systems.suse.judge.report import AGAMA, Report

_LINUXRCS = (
    "autoyast",
    "autoyast2",
    "ay",
    "install",
    "instsys",
    "textmode",
    "netsetup",
    "ifcfg",
    "self_update",
    "upgrade",
)


def judge_arguments(arguments: Sequence[str], release: str) -> tuple[Finding, ...]:
    """What is wrong with the words on the installer's command line, in their order."""
    report = Report(release, "installer arguments")
    names = [argument.partition("=")[0].lower() for argument in arguments]
    agama = release in AGAMA
    for name in dict.fromkeys(names):
        if agama and name in _LINUXRCS:
            report.add(
                "NLS091", 0, f"{name}= is linuxrc's: Agama passes over it", "write inst.auto=, inst.install_url="
            )
        if not agama and name.startswith("inst."):
            report.add("NLS091", 0, f"{name}= is Agama's: linuxrc passes over it", "write autoyast=, install=")
    wanted = ("inst.auto",) if agama else ("autoyast", "ay", "autoyast2")
    if not set(wanted) & set(names):
        report.add("NLS090", 0, "no answers are named", f"write {wanted[0]}=label://OEMDRV/...")
    finish = next(
        (argument.partition("=")[2] for argument in arguments if argument.startswith("inst.finish=")), "reboot"
    )
    if agama and finish == "reboot":
        report.add("NLS017", 0, "a machine that starts from its medium first would install itself again",
                   "write inst.finish=poweroff, or start from the disk first")  # fmt: skip
    consoles = [argument for argument in arguments if argument.startswith("console=")]
    if not consoles or not consoles[-1].startswith(("console=ttyS", "console=hvc")):
        last = consoles[-1] if consoles else "no console="
        report.add("NLS092", 0, f"the last console is not serial: {last}", "end with console=ttyS0")
    return report.in_order()
