"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.code import Code
from builder.systems.dead import DeadSetting

CODES: Mapping[str, Code] = {}
DEAD: Mapping[str, DeadSetting] = {}
