"""The judge of finished files: the loader's rules, the shell's, npf's and RAIDframe's, restated from their sources.

None of NetBSD's own parsers can be had here, so that the rules stand in code of their own, apart from what writes the
files: users' templates go through it as well.
"""

from __future__ import annotations

from builder.systems.netbsd.judge.codes import CODES
from builder.systems.netbsd.judge.files import judge_host_files
from builder.systems.netbsd.judge.host import judge_host
from builder.systems.netbsd.judge.loader import judge_boot_cfg
from builder.systems.netbsd.judge.script import judge_end, judge_script
from builder.systems.target import Target

__all__ = ["CODES", "Target", "judge_boot_cfg", "judge_end", "judge_host", "judge_host_files", "judge_script"]
