"""The recorded proofs, as far as this copy of nestlab has them: they are in the repository, not in installed packages.

Whether one is stale, made from sources that have changed since, is told by the matrix in the README; here the commit is
named that it was made at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from builder.paths import data_dir

STRENGTHS = ("rendered", "judged", "booted", "installed", "verified")
NONE = "not run"
ELSEWHERE = "recorded in the repository only"


def proof(wanted: Mapping[str, str], folder: Path | None = None) -> str:
    """The strongest thing that was really done with what fits these: system, release, path, firmware, l0."""
    folder = data_dir("ci") / "proofs" if folder is None else folder
    if not folder.is_dir():
        return ELSEWHERE
    found = []
    for file in sorted(folder.glob("*.json")):
        record = json.loads(file.read_text("utf-8"))
        for claim in record.get("claims", ()):
            if all(claim[key] == value for key, value in wanted.items()):
                what = f"{claim['system']} {claim['release']}, {claim['path']}, {claim['firmware'].upper()}"
                where = f"{claim['l0']} by {claim['accelerator']}" if claim["accelerator"] else claim["l0"]
                said = f"{claim['proof']} {claim['date']} ({what} on {where}; commit {record.get('commit', 'unknown')})"
                found.append((STRENGTHS.index(claim["proof"]), claim["date"], said))
    return max(found)[2] if found else NONE
