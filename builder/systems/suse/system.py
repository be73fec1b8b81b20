"""A SUSE host under Xen, installed by AutoYaST (releases 15) or by Agama (releases 16)."""

from __future__ import annotations

from pathlib import Path

from builder.model.lab import Node
from builder.model.plan import SystemPlan
from builder.render.templates import Templates
from builder.systems.suse.traits import TRAITS


class Suse:
    """openSUSE Leap 15.6 and 16.0, SUSE Linux Enterprise Server 15 and 16."""

    traits = TRAITS

    def __init__(self, overrides: Path | None = None) -> None:
        self._templates = Templates("suse", overrides)

    def plan(self, node: Node) -> SystemPlan:
        """Raises LabError for what the release or the firmware cannot do, and for answers that would end the
        installation or leave it waiting: also for those from a user's template."""
        from builder.systems.suse.planning import plan  # noqa: PLC0415 - 50 ms that other labs should not pay

        return plan(node, self._templates)
