"""XCP-ng and XenServer hosts."""

from __future__ import annotations

from pathlib import Path

from builder.model.lab import Node
from builder.model.plan import SystemPlan
from builder.render.templates import Templates
from builder.systems.xcpng.traits import TRAITS


class Xcpng:
    """XCP-ng 8.2 and 8.3, XenServer 8."""

    traits = TRAITS

    def __init__(self, overrides: Path | None = None) -> None:
        self._templates = Templates("xcpng", overrides)

    def plan(self, node: Node) -> SystemPlan:
        """Raises LabError for what the release or the machine cannot do, and for answers that the installer would
        refuse, misread without a word, or ask about."""
        from builder.systems.xcpng.planning import plan  # noqa: PLC0415 - other labs should not pay for it

        return plan(node, self._templates)
