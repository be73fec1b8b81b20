"""A setting that documents still name and nothing reads any more: a row of the tables that `nestlab explain` reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeadSetting:
    """`was`: what it did, and where. `today`: what does that now, and how to say it in a lab file where there is a
    way. `why`: what became of it. `source` says where that is written, or how it was seen."""

    was: str
    today: str
    why: str
    source: str
