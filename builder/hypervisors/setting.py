"""How a row of the one table of documented settings looks. The rows are in `documented`, and `settings` asks them."""

from __future__ import annotations

from typing import Literal

from builder.model.lab import Value

Rule = Literal["set", "least", "advised", "allowed", "refused"]
"""What a row does. set: this value and no other is documented. least: no less than this. advised: this or more (or
this rather than anything else). allowed: this works, too. refused: this does not work."""

ANY = "any"


class Setting(Value):
    """A documented setting of `system` (`any`: of every Xen host) on the L0 `hypervisor`.

    `key` is where it stands in a node of the lab file, or, with an L0's name before it, what the L0 calls it; `value`
    what it takes there; `says` what the document says in short, and `words` are its own, for messages to quote.
    `releases` are those of the L0 that it is about, none for all. `date` is the last change of the document as it was
    read; where it shows none, the day it was read.
    `contradicted` is what other sources or our own runs say against it.
    """

    key: str
    system: str
    hypervisor: str
    value: str
    says: str
    document: str
    section: str
    date: str
    contradicted: str = ""
    rule: Rule = "set"
    releases: tuple[str, ...] = ()
    words: str = ""

    @property
    def source(self) -> str:
        """The document, its section and its date, for quoting."""
        return f"{self.document}, section '{self.section}', {self.date}"
