"""What every system that installs itself asks of a node before anything is written, and of its judges after."""

from __future__ import annotations

from collections.abc import Sequence

from builder.errors import LabError
from builder.model.lab import MediumSource, Node
from builder.model.plan import Finding, SystemTraits


def refuse_unknown_release(node: Node, traits: SystemTraits) -> None:
    """Raises LabError with the known releases."""
    if node.release not in traits.releases:
        raise LabError(
            f"{node.name}: there is no release '{node.release}' of {traits.title} here",
            hint=f"known: {', '.join(traits.releases)}",
        )


def refuse_uninstallable(node: Node, traits: SystemTraits) -> None:
    """Raises LabError for a release that is not known, for a node without a medium, and for one without a disk."""
    refuse_unknown_release(node, traits)
    if not isinstance(node.source, MediumSource):
        raise LabError(f"{node.name}: {traits.title} is installed from a medium", hint="source: {medium: FILE.iso}")
    if not node.disks:
        raise LabError(f"{node.name}: {traits.title} needs a disk", hint="give the node a disk")


def stop_at_errors(node: Node, answers: str, findings: Sequence[Finding]) -> None:
    """Raises LabError with every finding that is an error. `answers` is what was judged: "the kickstart"."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        told = "".join(f"\n  {each.where}: {each.message} [{each.code}]" for each in errors)
        raise LabError(
            f"{node.name}: {answers} would not install this host:{told}",
            hint=errors[0].hint or f"nestlab explain {errors[0].code}",
        )
