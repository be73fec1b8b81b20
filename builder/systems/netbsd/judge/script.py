"""The script that the medium starts: what makes it wait for somebody, or start over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from builder.model.plan import Finding
from builder.systems.netbsd.judge.report import Report

_HASH = re.compile(r"\$(5|6|y|2[bxy])\$")
_SHELL = re.compile(r"#! ?/bin/sh(?: .*)?")
_WORD = r"(?:^|[;&|({{]|\b(?:then|do|else)\b)\s*{}\b"


def judge_script(text: str, where: str = "install.sh") -> tuple[Finding, ...]:
    """What is wrong with it as the program that init starts on the console, again and again."""
    report = Report(where)
    if not _SHELL.fullmatch(text.split("\n", 1)[0]):
        report.add("NLN080", f"it begins with {text[:30]!r}", "#!/bin/sh", line=1)
    for number, line in _code(text):
        if re.search(_WORD.format("exit"), line):
            report.add("NLN081", "the script exits here", "power off, restart, or stay", line=number)
        if re.search(_WORD.format("read"), line) and "while read" not in line:
            report.add("NLN082", f"somebody is asked: {line.strip()[:60]}", "take it out", line=number)
        if re.search(r"\busermod\b", line) and _HASH.search(line):
            report.add("NLN084", "root's password has a hash of another system", "a hash $2a$, $sha1$ or $argon2id$",
                       line=number)  # fmt: skip
    if not re.search(r"\busermod\b.*\broot\b", text):
        report.add("NLN085", "root's password stays empty", "usermod -p '*' root")
    return tuple(report.found)


def judge_end(end: str) -> tuple[Finding, ...]:
    """`end` is what the machine does when it is installed."""
    report = Report("install.end")
    if end == "reboot":
        report.add("NLN083", "a machine that starts from its medium first would install itself again", "end: poweroff")
    return tuple(report.found)


def _code(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#"):
            yield number, line
