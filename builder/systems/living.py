"""A setting that documents name and hosts still read: a row of the tables that `nestlab explain` reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LivingSetting:
    """`does`: what it is for. `written` stands in `file`, of the host or of its installer's answers: the setting by
    the name that it has today. `lab`: how to say it in a lab file. `source` says where that is written."""

    does: str
    file: str
    written: str
    lab: str
    source: str
