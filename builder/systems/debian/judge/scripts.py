"""Commands in the answers, and the scripts that they run. The installer has busybox, and nothing else."""

from __future__ import annotations

import re
import shlex

from builder.model.plan import Finding
from builder.systems.debian.judge.reading import Answers
from builder.systems.debian.judge.report import Report
from builder.systems.target import Target

_COMMANDS = ("preseed/early_command", "partman/early_command", "preseed/late_command")
_LONG = 300
_PLAIN_SHELL = re.compile(r"#! ?/bin/(sh|ash|busybox sh)\b")
_OWN_ROOT = re.compile(r">>?\s*/(etc|root|boot|usr|home|var)/")


def judge_commands(answers: Answers, report: Report, _target: Target | None) -> None:
    for name in _COMMANDS:
        answer = answers.get(name)
        if answer is None or not answer.value:
            continue
        try:
            words = shlex.split(answer.value)
        except ValueError:
            report.add("NLD080", answer.line, f"{name} leaves a quote open", "close it")
            continue
        if len(answer.value) > _LONG:
            report.add("NLD081", answer.line, f"{name} has {len(answer.value)} characters of shell in one line",
                       "put a script beside the answers, and run that")  # fmt: skip
        outside = [word for at, word in enumerate(words) if at == 0 or words[at - 1] in ("&&", "||", ";", "|")]
        for word in outside:
            if word.rpartition("/")[2] in ("bash", "python3", "perl"):
                report.add("NLD082", answer.line, f"{name} runs {word}, which the installer does not have",
                           f"in-target {word} ..., or sh")  # fmt: skip
        if name == "preseed/late_command" and _OWN_ROOT.search(_without_quotes(answer.value)):
            report.add("NLD083", answer.line, "late_command writes to the installer's own memory",
                       "write below /target")  # fmt: skip


def _without_quotes(text: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)


def judge_script(name: str, content: str, *, chroot: bool = False) -> tuple[Finding, ...]:
    """What is wrong with a script beside the answers. `chroot`: it runs in the new system."""
    report = Report("")
    first = content.split("\n", 1)[0]
    if "\r" in content:
        report.add("NLD085", 1, "its lines end as on Windows", "save it with plain line ends", where=name)
    if chroot and not first.startswith("#!"):
        report.add("NLD084", 1, "nothing says what runs it in the new system", "begin with #!/bin/sh", where=name)
    if not chroot and first.startswith("#!") and not _PLAIN_SHELL.match(first):
        report.add("NLD082", 1, f"the installer does not have {first[2:].strip()}", "write it for #!/bin/sh, or run it "
                   "in the new system", where=name)  # fmt: skip
    return report.in_order()
