"""What the documents say a nested host wants, setting by setting: how to ask the one table, `documented`."""

from __future__ import annotations

from builder.hypervisors.documented import SETTINGS
from builder.hypervisors.setting import ANY, Rule, Setting


def settings(*, system: str | None = None, hypervisor: str | None = None) -> tuple[Setting, ...]:
    """The rows for a system and an L0, or for any. A row about any Xen host is one for each system."""
    return tuple(
        row
        for row in SETTINGS
        if hypervisor in (None, row.hypervisor) and (system in (None, row.system) or row.system == ANY)
    )


class Documented:
    """The rows that one node on one L0 goes by.

    Where a system has no documents of its own for that L0, those of XCP-ng, the only Xen host whose nesting under all
    of them is documented, choose its devices; its floors (memory, disk) are not taken over.
    """

    def __init__(self, hypervisor: str, system: str, release: str = "") -> None:
        self.rows = tuple(
            row for row in settings(hypervisor=hypervisor) if not release or not row.releases or release in row.releases
        )
        self.own = tuple(row for row in self.rows if row.system in (system, ANY))

    def find(self, key: str, *rules: Rule) -> tuple[Setting, ...]:
        """The rows of a key with one of these rules, the system's own before others."""
        found = [row for row in self.rows if row.key == key and (not rules or row.rule in rules)]
        return tuple(sorted(found, key=lambda row: row not in self.own))

    def floors(self) -> tuple[Setting, ...]:
        """What the system itself needs at least."""
        return tuple(row for row in self.own if row.rule in ("least", "advised"))

    def __getitem__(self, key: str) -> str:
        """The documented value. Raises KeyError where no document sets it: an L0's code asks for what its rows have."""
        found = self.find(key, "set")
        if not found:
            raise KeyError(key)
        return found[0].value
