"""Arguments of the installer's start: what it needs, and each on the line of the layer that reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from builder.model.plan import Finding
from builder.systems.xcpng.judge.report import Report

_ANSWERS = ("answerfile", "rt_answerfile", "answerfile_generator")
_SCHEMES = ("http://", "https://", "ftp://", "nfs://", "file://")
# Who reads what: arguments that are often put on the other line.
_OF_KERNEL = frozenset(
    [
        "answerfile",
        "rt_answerfile",
        "answerfile_generator",
        "install",
        "atexit",
        "network_device",
        "network_config",
        "map_netdev",
        "sshpassword",
        "netinstall",
        "device_mapper_multipath",
        "blacklist",
        "extrarepo",
        "mount",
    ]
)
_OF_XEN = frozenset(
    ["dom0_mem", "dom0_max_vcpus", "dom0_vcpus_pin", "com1", "com2", "loglvl", "guest_loglvl", "noreboot", "watchdog"]
)
_STOPPING = ("no-gpgcheck", "no-repo-gpgcheck")
_REMOTE = re.compile(r">\s*(?:https?|ftp|nfs)://|type=[\"']nfs[\"']")


def judge_arguments(
    hypervisor: Sequence[str], kernel: Sequence[str], release: str, answers: str = ""
) -> tuple[Finding, ...]:
    """What is wrong with the words on Xen's and on dom0's line of the installer. `answers` is the answer file, which
    tells whether something is fetched over the network."""
    report = Report(release, "installer arguments")
    given = {argument.partition("=")[0]: argument.partition("=")[2] for argument in kernel}
    _layers(hypervisor, kernel, report)
    address = next((given[name] for name in _ANSWERS if name in given), None)
    if address is None:
        report.add("NLX070", "", "there is no answerfile=", "rt_answerfile=file:///answerfile.xml")
    elif not address.startswith(_SCHEMES):
        report.add("NLX073", "answerfile", f"answer files do not come from {address}", ", ".join(_SCHEMES))
    if release == "8.2" and "install" not in given:
        report.add("NLX071", "install", "the answer file would be dropped", "add install")
    for name in _STOPPING:
        if name in given:
            report.add("NLX074", name, f"{name} and an answer file make the installer stop", "take it off the line")
    if "netdevice" in given:
        report.add("NLX079", "netdevice", "netdevice means nothing", "map_netdev= pins names, network_device= chooses")
    device = given.get("network_device", given.get("answerfile_device"))
    if device == "all":
        report.add("NLX075", "network_device", "each card is tried, for minutes each", "name one card or its address")
    if given.get("network_config", "").lower().startswith("static") and device in (None, "all"):
        report.add("NLX084", "network_config", "a fixed address with no card of its own", "network_device=MAC")
    local = address is not None and address.startswith("file://")
    if local and device is None and _REMOTE.search(answers):
        report.add("NLX077", "network_device", "no card is brought up to fetch with", "network_device=MAC")
    if given.get("atexit", "reboot") == "reboot":
        report.add("NLX076", "atexit", "a machine that starts from its medium first would install itself again",
                   "atexit=poweroff")  # fmt: skip
    consoles = [argument for argument in kernel if argument.startswith("console=")]
    if not consoles or not consoles[-1].startswith(("console=hvc", "console=ttyS")):
        report.add("NLX072", "console", "the last console is not serial", "end with console=hvc0")
    return tuple(report.found)


def _layers(hypervisor: Sequence[str], kernel: Sequence[str], report: Report) -> None:
    for argument in hypervisor:
        name = argument.partition("=")[0]
        if name in _OF_KERNEL or argument.startswith(("console=hvc", "console=tty")):
            report.add(
                "NLX078", name, f"{argument} is on Xen's line, and dom0's kernel reads it", "put it after vmlinuz"
            )
    for argument in kernel:
        name = argument.partition("=")[0]
        if name in _OF_XEN or argument.startswith("console=com"):
            report.add("NLX078", name, f"{argument} is on dom0's line, and Xen reads it", "put it after xen.gz")
