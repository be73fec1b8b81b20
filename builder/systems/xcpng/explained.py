"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.dead import DeadSetting
from builder.systems.xcpng.judge.codes import CODES

__all__ = ["CODES", "DEAD"]

DEAD: Mapping[str, DeadSetting] = {}
