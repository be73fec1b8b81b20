"""A host that anaconda installs, from release 6 of Enterprise Linux to current Fedora."""

from __future__ import annotations

from pathlib import Path

from builder.model.lab import Node
from builder.model.plan import SystemPlan
from builder.render.templates import Templates
from builder.systems.rhel.traits import TRAITS


class Rhel:
    """Enterprise Linux 6 to 10 and current Fedora."""

    traits = TRAITS

    def __init__(self, overrides: Path | None = None) -> None:
        self._templates = Templates("rhel", overrides, folder="kickstarts")

    def plan(self, node: Node) -> SystemPlan:
        """Raises LabError for what the release or the firmware cannot do, and for a kickstart that would end the
        installation or leave it waiting: also for one from a user's template."""
        from builder.systems.rhel.planning import plan  # noqa: PLC0415 - 50 ms that other labs should not pay

        return plan(node, self._templates)
