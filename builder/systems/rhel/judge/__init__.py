"""The judge of finished kickstarts: what anaconda would refuse or wait for although the syntax is right.

It reads the text alone and shares nothing with the generator: users' templates go through it as well. pykickstart,
which judges syntax in the tests, is blind to all of this.
"""

from __future__ import annotations

from builder.model.plan import Finding
from builder.systems.rhel.judge.boot import judge_arguments
from builder.systems.rhel.judge.codes import CODES
from builder.systems.rhel.judge.commands import judge_commands
from builder.systems.rhel.judge.disks import judge_disks
from builder.systems.rhel.judge.host import judge_host
from builder.systems.rhel.judge.network import judge_network
from builder.systems.rhel.judge.reading import read_kickstart
from builder.systems.rhel.judge.report import Report
from builder.systems.rhel.judge.screens import judge_screens
from builder.systems.rhel.judge.volumes import judge_volumes
from builder.systems.target import Target

__all__ = ["CODES", "Target", "judge_arguments", "judge_host", "judge_kickstart"]


def judge_kickstart(text: str, release: str, target: Target | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong with a kickstart for that release, in the order of its lines. With a target, its disks
    and cards are held against it as well."""
    report = Report(release)
    script = read_kickstart(text, report)
    for judge in (judge_commands, judge_screens, judge_disks, judge_volumes, judge_network):
        judge(script, report, target)
    return _in_order(report)


def _in_order(report: Report) -> tuple[Finding, ...]:
    return tuple(finding for _, finding in sorted(report.found, key=lambda each: (each[0], each[1].code)))
