"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.model.plan import Boot
from builder.systems.causes import of_boots
from builder.systems.code import Code
from builder.systems.dead import DeadSetting
from builder.systems.living import LivingSetting
from builder.systems.tiny.system import phases

CAUSES = of_boots([Boot(name="direct", phases=phases())])
CODES: Mapping[str, Code] = {}
DEAD: Mapping[str, DeadSetting] = {}
LIVING: Mapping[str, LivingSetting] = {}
