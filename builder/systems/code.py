"""What a code of a system's judge means: a row of the tables that `nestlab explain` reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """`error`: the installer would stop, ask, or do something else than is written; otherwise a warning. `releases`
    says where it holds, `source` where that is written."""

    error: bool
    explanation: str
    releases: str
    source: str
