"""npf.conf: the part of its grammar that a dom0 with guests behind a translation needs, restated from npf.conf(5).

npfctl's own parser cannot be had here. What is not written down below is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from builder.systems.netbsd.judge.report import Report

_NAME = r"[A-Za-z][A-Za-z0-9_]*"
_CARD = r"[a-z][a-z0-9]*[0-9]"
_NET = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*(?:/[0-9]{1,3})?"
_IFADDRS = rf"(?:inet4|inet6|ifaddrs)\((?:\"?{_CARD}\"?|\${_NAME})\)"
_WHERE = rf"(?:{_NET}|{_IFADDRS}|\${_NAME}|any)"
_ON = rf"(?:\"?{_CARD}\"?|\${_NAME})"
_LINES = {
    "variable": re.compile(rf"\${_NAME}\s*=\s*(?:\"[^\"]*\"|{_NET}|{_IFADDRS}|\{{[^{{}}]*\}})"),
    "map": re.compile(rf"map\s+{_ON}\s+dynamic\s+{_WHERE}\s+->\s+{_WHERE}"),
    "group": re.compile(rf"group\s+(?:default|\"[^\"]+\"(?:\s+(?:in|out))?(?:\s+on\s+{_ON})?)\s*\{{"),
    "rule": re.compile(
        rf"(?:pass|block)(?:\s+(?:stateful|stateful-all|return))?(?:\s+(?:in|out))?(?:\s+final)?(?:\s+on\s+{_ON})?"
        rf"(?:\s+family\s+inet[46])?(?:\s+proto\s+[a-z0-9-]+)?"
        rf"(?:\s+(?:all|from\s+{_WHERE}(?:\s+port\s+\S+)?(?:\s+to\s+{_WHERE}(?:\s+port\s+\S+)?)?"
        rf"|to\s+{_WHERE}(?:\s+port\s+\S+)?))?"
    ),
    "end": re.compile(r"\}"),
}


def judge_npf(text: str, files: Mapping[str, str], report: Report) -> set[str]:
    """What is wrong with npf.conf; the cards that it names. `files` are those of the same host, by path."""
    inside, default, translates = False, False, False
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0].strip()
        if not bare:
            continue
        kind = next((kind for kind, pattern in _LINES.items() if pattern.fullmatch(bare)), None)
        good = kind is not None and inside == (kind in ("rule", "end"))
        if not good:
            report.add("NLN040", f"not understood: {bare[:60]}", "see npf.conf(5)", line=number)
            continue
        translates = translates or kind == "map"
        default = default or (kind == "group" and bare.split()[1].startswith("default"))
        inside = kind == "group" or (inside and kind != "end")
    if inside:
        report.add("NLN040", "a group is left open", "}")
    if not default:
        report.add("NLN041", "there is no default group", "group default { pass final all }")
    if translates and not _forwards(files.get("/etc/sysctl.conf", "")):
        report.add("NLN042", "the host does not forward packets", "net.inet.ip.forwarding=1 in /etc/sysctl.conf")
    return set(re.findall(rf"\b(?:map\s+|on\s+|inet[46]\(|ifaddrs\()\"?({_CARD})\b", text))


def _forwards(text: str) -> bool:
    return any(re.fullmatch(r"net\.inet\.ip\.forwarding\s*=\s*1", line.strip()) for line in text.splitlines())
