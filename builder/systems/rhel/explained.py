"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.rhel.judge.codes import CODES
from builder.systems.rhel.phases import boots
from builder.systems.rhel.releases import RELEASES

__all__ = ["CAUSES", "CODES", "DEAD"]

CAUSES = of_boots(boot for release in RELEASES.values() for boot in boots(release, "poweroff"))
"""Why an installation or a boot of such a host may have failed."""

DEAD: Mapping[str, DeadSetting] = {}
