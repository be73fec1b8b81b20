"""The judge of finished answers: what YaST or Agama would refuse, wait for or take for something else.

It reads the text alone and shares nothing with the generator: users' templates go through it as well. A schema, which
the tests hold profiles against as well, is blind to most of this.
"""

from __future__ import annotations

from builder.model.plan import Finding
from builder.systems.suse.judge.agama import judge_agama
from builder.systems.suse.judge.boot import judge_arguments
from builder.systems.suse.judge.codes import CODES
from builder.systems.suse.judge.network import judge_network
from builder.systems.suse.judge.partitioning import judge_partitioning
from builder.systems.suse.judge.reading import Unreadable, read_profile
from builder.systems.suse.judge.report import Report
from builder.systems.suse.judge.screens import judge_screens
from builder.systems.suse.judge.types import judge_types
from builder.systems.suse.judge.xen import judge_xen
from builder.systems.target import Target

__all__ = ["CODES", "judge_agama", "judge_arguments", "judge_autoyast"]


def judge_autoyast(text: str, release: str, target: Target | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong with an AutoYaST profile for that release, in the order of its lines. With a target, its
    disks and cards are held against it as well."""
    report = Report(release, "autoinst.xml")
    try:
        root = read_profile(text)
    except Unreadable as error:
        report.add("NLS001", 0, f"this is no XML: {error}", "close every element; write & as &amp;")
        return report.in_order()
    judge_types(root, report)
    judge_screens(root, report)
    for judge in (judge_xen, judge_partitioning, judge_network):
        judge(root, report, target)
    return report.in_order()
