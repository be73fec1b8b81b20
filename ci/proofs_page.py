"""docs/proofs.md: what was really done, L0 by L0, and every record that says so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from builder.model.plan import SystemTraits
from ci import markdown
from ci.exported import TARGETS
from ci.matrix import table
from ci.nightly.variants import section as variants
from ci.nightly.xl_in_dom0 import section as xl_in_dom0
from ci.proof import HERE, Claim

_HEAD = """\
# What was really done

Made from the records in [ci/proofs](../ci/proofs) by `bash ci/generate.sh`; `bash ci/nightly.sh --list` names what
writes them. Each cell is the strongest thing that was done, with its day: *rendered*; *judged* without running, by
programs of others or by this project's own rules, which are named with each table; *booted*; *installed*; *verified* by
the checks. *Stale*: the sources have changed since. *Refused*: a document says that it cannot be (`nestlab explain
firmware`)."""
_HERE = (
    "Judged here are the answers of installers: by the readers of those installers that can be had, and by rules of "
    "this project where none can."
)
_JUDGES = "Judged by dash and shellcheck where there are shell scripts, and by {}."


def page(systems: Mapping[str, SystemTraits], claims: Iterable[Claim], records: Iterable[Path]) -> str:
    found, files = list(claims), list(records)
    parts = [_HEAD, "## QEMU and KVM, where labs run", _HERE, table(systems, found, HERE)]
    for l0, target in TARGETS.items():
        parts += [f"## {target.title}, by `export --to {target.to}`", _JUDGES.format(target.judges)]
        parts += [table(systems, found, l0)]
        parts += [xl_in_dom0(files)] if l0 == "xen" else []
    parts += ["## Machines, controllers, cards and processors under QEMU's emulation", variants(files)]
    return "\n\n".join([*parts, "## Records", _records(files)]) + "\n"


def _records(files: Iterable[Path]) -> str:
    rows = []
    for file in files:
        raw: dict[str, Any] = json.loads(file.read_text("utf-8"))
        versions = ", ".join(f"{name} {value}" for name, value in raw["versions"].items())
        machine = (
            f"{raw['machine']['cpus']} cpus, {raw['machine']['memory_mib'] // 1024} GiB, {raw['machine']['system']}"
        )
        link = f"[{raw['part']}](../ci/proofs/{file.name})"
        rows.append((link, raw["outcome"], raw["date"][:10], raw["commit"], str(len(raw["claims"])), versions, machine))
    return markdown.table(("Part", "Outcome", "Day", "Commit", "Claims", "Versions", "Machine"), rows)
