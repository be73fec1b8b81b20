"""NetBSD hosts that are a Xen dom0."""

from __future__ import annotations

from pathlib import Path

from builder.model.lab import Node
from builder.model.plan import SystemPlan
from builder.render.templates import Templates
from builder.systems.netbsd.traits import TRAITS


class Netbsd:
    """NetBSD 10 on amd64, as the dom0 of a Xen from pkgsrc."""

    traits = TRAITS

    def __init__(self, overrides: Path | None = None) -> None:
        self._templates = Templates("netbsd", overrides)
        self._overrides = overrides

    def plan(self, node: Node) -> SystemPlan:
        """Raises LabError for what the loader or the machine cannot do, and for files that would leave the host
        waiting or cut off: also for those from a user's templates."""
        from builder.systems.netbsd.planning import plan  # noqa: PLC0415 - other labs should not pay for it

        return plan(node, self._templates, self._overrides)
