"""The judge of finished answers: what the Debian installer would refuse, pass over or ask although each line is right.

It reads the text alone and shares nothing with the generator: users' templates go through it as well.
debconf-set-selections, which judges syntax in the tests, is blind to all of this: it looks at no name and at no value.
"""

from __future__ import annotations

from builder.model.plan import Finding
from builder.systems.debian.judge.arrays import judge_arrays
from builder.systems.debian.judge.boot import judge_arguments
from builder.systems.debian.judge.codes import CODES
from builder.systems.debian.judge.disks import judge_disks
from builder.systems.debian.judge.layout import judge_layout
from builder.systems.debian.judge.questions import judge_questions
from builder.systems.debian.judge.reading import read_preseed
from builder.systems.debian.judge.report import Report
from builder.systems.debian.judge.screens import judge_screens
from builder.systems.debian.judge.scripts import judge_commands, judge_script
from builder.systems.target import Target

__all__ = ["CODES", "Target", "judge_arguments", "judge_preseed", "judge_script"]


def judge_preseed(text: str, release: str, target: Target | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong with a preseed file for that release, in the order of its lines. With a target, its
    disks and cards are held against it as well."""
    report = Report(release)
    answers = read_preseed(text, report)
    for judge in (judge_questions, judge_screens, judge_disks, judge_layout, judge_arrays, judge_commands):
        judge(answers, report, target)
    return report.in_order()
