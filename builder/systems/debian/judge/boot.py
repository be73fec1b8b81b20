"""Arguments that the installer is started with."""

from __future__ import annotations

from collections.abc import Sequence

from builder.model.plan import Finding
from builder.systems.debian.judge.reading import read_preseed
from builder.systems.debian.judge.report import Report

_WHERE = "installer arguments"
_URL = ("url", "preseed/url")


def judge_arguments(arguments: Sequence[str], text: str, release: str) -> tuple[Finding, ...]:
    """What is wrong with the words on the installer's command line. `text` is the preseed file that they lead to."""
    report = Report(release)
    answers = read_preseed(text, Report(release))
    said = {name: value for name, _, value in (argument.partition("=") for argument in arguments)}

    def add(code: str, message: str, hint: str) -> None:
        report.add(code, 0, message, hint, where=_WHERE)

    by_url = any(name in said for name in _URL)
    if by_url and said.get("auto", said.get("auto-install/enable")) != "true":
        add("NLD090", "language and keyboard are asked before the answers can be fetched", "auto=true")
    if by_url and answers.value("netcfg/get_ipaddress") and "netcfg/get_ipaddress" not in said:
        add("NLD093", "the address in the answers comes after the network that they are fetched over",
            "netcfg/get_ipaddress=... among these arguments")  # fmt: skip
    if said.get("priority", said.get("debconf/priority")) != "critical":
        add("NLD091", "questions with a default are asked, too", "priority=critical")
    consoles = [argument for argument in arguments if argument.startswith("console=")]
    if not consoles or not consoles[-1].startswith(("console=ttyS", "console=hvc")):
        add("NLD092", f"the last console is not serial: {consoles[-1] if consoles else 'no console='}",
            "end with console=ttyS0,115200n8")  # fmt: skip
    kept = answers.value("debian-installer/add-kernel-opts")
    for argument in ("net.ifnames=0", "biosdevname=0"):
        if argument in arguments and argument not in kept.split():
            add("NLD094", f"{argument} is for the installer alone: the host's cards have other names than those in "
                "its network configuration", "put it after ---, or leave it out")  # fmt: skip
    return report.in_order()
