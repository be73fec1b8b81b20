"""Arguments that the installer is started with."""

from __future__ import annotations

from collections.abc import Sequence

from builder.model.plan import Finding
from builder.systems.rhel.judge.report import Report

_WHERE = "installer arguments"
# Names that were the installer's own before they got their prefix: dracut/anaconda-lib.sh.
_UNPREFIXED = frozenset(
    [
        "ks",
        "method",
        "repo",
        "stage2",
        "vnc",
        "vncconnect",
        "vncpassword",
        "sshd",
        "text",
        "cmdline",
        "graphical",
        "noninteractive",
        "nokill",
        "lang",
        "keymap",
        "dd",
        "proxy",
        "updates",
        "askmethod",
        "asknetwork",
        "ksdevice",
        "kssendmac",
        "headless",
        "rescue",
        "gpt",
        "xdriver",
        "resolution",
        "syslog",
    ]
)
_REMOVED = 9


def judge_arguments(arguments: Sequence[str], release: str) -> tuple[Finding, ...]:
    """What is wrong with the words on the installer's command line, in their order."""
    report = Report(release)
    names = [argument.partition("=")[0] for argument in arguments]
    for name in dict.fromkeys(names):
        if report.generation >= _REMOVED and name in _UNPREFIXED:
            report.add("NLK090", 0, f"{name}= is passed over without a word", f"write inst.{name}", where=_WHERE)
        if report.generation < 7 and name.startswith("inst."):
            report.add("NLK091", 0, f"the loader does not know {name}", f"write {name[5:]}", where=_WHERE)
    wanted = "ks" if report.generation < 7 else "inst.ks"
    if not {wanted, *(("ks",) if report.generation < _REMOVED else ())} & set(names):
        report.add("NLK093", 0, f"there is no {wanted}=", f"write {wanted}=hd:LABEL=...:/ks.cfg", where=_WHERE)
    consoles = [argument for argument in arguments if argument.startswith("console=")]
    if not consoles or not consoles[-1].startswith(("console=ttyS", "console=hvc")):
        last = consoles[-1] if consoles else "no console="
        report.add("NLK092", 0, f"the last console is not serial: {last}", "end with console=ttyS0", where=_WHERE)
    return tuple(finding for _, finding in report.found)
