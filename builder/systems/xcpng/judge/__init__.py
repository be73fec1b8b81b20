"""The judge of answer files: a strict reading for each release, of what the installer's own parser takes loosely.

That parser passes over unknown elements and attributes, takes any word for `no`, and accepts cards that are not there;
and it cannot be shipped. Its rules are restated here from its source, apart from the code that writes the files.
"""

from __future__ import annotations

from builder.systems.target import Target
from builder.systems.xcpng.judge.answers import judge_answers
from builder.systems.xcpng.judge.boot import judge_arguments
from builder.systems.xcpng.judge.codes import CODES
from builder.systems.xcpng.judge.host import judge_host
from builder.systems.xcpng.judge.scripts import judge_script

__all__ = ["CODES", "Target", "judge_answers", "judge_arguments", "judge_host", "judge_script"]
