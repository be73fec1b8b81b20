"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.xcpng.judge.codes import CODES
from builder.systems.xcpng.phases import boots

__all__ = ["CAUSES", "CODES", "DEAD"]

CAUSES = of_boots(boots("fresh", "poweroff"))
"""Why an installation or a boot of such a host may have failed."""

DEAD: Mapping[str, DeadSetting] = {}
