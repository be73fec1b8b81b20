"""rc.conf: a file of shell assignments. Read by rules of its own, so that nothing in it is ever run here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from builder.systems.netbsd.judge.report import Report

_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_BARE = re.compile(r"[A-Za-z0-9_./:,@%+=-]*")
_DEAD = {"xend": "xencommons", "xenbackendd": "xencommons", "xm": "xl"}
_SOURCE = ". /etc/defaults/rc.conf"
_YES = ("yes", "true", "on", "1")


@dataclass(frozen=True, slots=True)
class Assignment:
    name: str
    value: str
    line: int


def judge_rc_conf(text: str, files: Mapping[str, str], report: Report) -> None:
    """What is wrong with rc.conf. `files` are those of the same host, by path."""
    values: dict[str, str] = {}
    for assignment in _assignments(text, report):
        values[assignment.name] = assignment.value
        today = _DEAD.get(assignment.name)
        if today is not None:
            report.add("NLN034", f"nobody reads {assignment.name} any more", f"{today} is what does it today",
                       line=assignment.line)  # fmt: skip
    if not _on(values.get("rc_configured")):
        report.add("NLN032", "the host would stop in single-user mode", "rc_configured=YES")
    if not _on(values.get("xencommons")):
        report.add("NLN033", "nothing starts xenstored", "xencommons=YES")
    if not _on(values.get("sshd")):
        report.add("NLN036", "sshd is off", "sshd=YES")
    if _on(values.get("npf")) and "/etc/npf.conf" not in files:
        report.add("NLN035", "npf is on and has no rules", "add /etc/npf.conf")


def _on(value: str | None) -> bool:
    return value is not None and value.lower() in _YES


def _assignments(text: str, report: Report) -> Iterator[Assignment]:
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#") or bare.startswith((_SOURCE, f"if [ -r {_SOURCE[2:]} ]")) or bare == "fi":
            continue
        match = _LINE.fullmatch(bare)
        if match is None:
            report.add("NLN030", f"this is no assignment: {bare[:60]}", "NAME=value", line=number)
            continue
        value = _value(match[2])
        if value is None:
            report.add(
                "NLN030", f"the value of {match[1]} does not end where its line ends", 'NAME="value"', line=number
            )
        elif value[1]:
            report.add("NLN031", f"the value of {match[1]} is expanded or run", "quote it with ' '", line=number)
        else:
            yield Assignment(match[1], value[0], number)


def _value(text: str) -> tuple[str, bool] | None:
    """The value and whether a shell would expand it; None for what is more than one word."""
    rest, out, runs = text, "", False
    while rest:
        if rest[0] in " \t":
            return (out, runs) if rest.lstrip().startswith("#") or not rest.strip() else None
        if rest[0] == "'":
            inside, closed, rest = rest[1:].partition("'")
            if not closed:
                return None
            out += inside
            continue
        if rest[0] == '"':
            match = re.match(r'"((?:[^"\\]|\\.)*)"', rest)
            if match is None:
                return None
            runs = runs or bool(re.search(r"(?<!\\)[$`]", match[1]))
            out += re.sub(r'\\([\\"$`])', r"\1", match[1])
            rest = rest[match.end() :]
            continue
        if rest[0] == "\\" and len(rest) > 1:
            out, rest = out + rest[1], rest[2:]
            continue
        if rest[0] in "$`":
            return out + rest, True
        bare = _BARE.match(rest)
        if bare is None or not bare[0]:
            return None
        out, rest = out + bare[0], rest[bare.end() :]
    return out, runs
