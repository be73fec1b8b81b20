"""Machines, firmwares, disk controllers, cards and processors that users ask for and sources dispute, tried with
Debian's Xen under QEMU's emulation. What works and what does not, and why, is the record; what a lab file can ask for
has to work.

Tried means: ssh to dom0, bytes over the card in both directions, and a file read back from the disk past the cache; and
that disk and card were driven by the driver that the variant is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from builder.cli import sources
from ci import markdown
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.nightly.variant_cases import DOCUMENTED, Case, cases, is_offered
from ci.proof import inputs_digest, record_of

RELEASE = "13"
INPUTS = sources.VARIANTS
LIMIT = 210
"""Seconds for one start, second start and image not counted: with them a unit stays below four minutes."""


def attempt(case: Case, desk: Desk) -> Figures:
    from ci.nightly.variant_machine import tried  # noqa: PLC0415 - pages are made where no machine is

    found = tried(case, desk.folder / case.name, seconds=LIMIT)
    works = bool(found["works"])
    return {**found, "case": asdict(case), "ok": works or not is_offered(case), "inputs": inputs_digest(*INPUTS)}


def units() -> Sequence[Unit]:
    return [Unit(case.name, partial(attempt, case), 120) for case in cases()]


def judge(done: Mapping[str, Figures]) -> Verdict:
    first = done[DOCUMENTED.name]
    figures = {"variants": list(done.values()), "works": sum(bool(each["works"]) for each in done.values())}
    versions = {f"xen_{RELEASE}": str(first.get("xen", "unknown"))}
    return Verdict(all(each["ok"] for each in done.values()), figures, versions=versions)


PART = Part(
    "variants", "machines, firmwares, disks, cards and processors beside the documented, each tried", units, judge
)


def section(records: Iterable[Path]) -> str:
    """The table of variants as Markdown, from the record of this part among `records`."""
    raw = record_of(PART.name, records)
    if raw is None:
        return "Not run yet (`bash ci/nightly.sh variants`)."
    versions = raw["versions"]
    about = (
        f"Debian {RELEASE} with Xen {versions.get(f'xen_{RELEASE}', 'unknown')} under QEMU {versions['qemu']}, without "
        f"KVM, {raw['date'][:10]}. Works: ssh to dom0, bytes over the card both ways, a file read back from the disk."
    )
    header = ("Machine", "Firmware", "Disk", "Card", "Processor", "Result", "Message", "Cause")
    return f"{about}\n\n{markdown.table(header, map(_cells, raw['figures']['variants']))}"


def _cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    stale = "" if figures["inputs"] == inputs_digest(*INPUTS) else ", stale"
    seconds = figures.get("ssh_seconds")
    result = f"works, ssh after {seconds} s" if figures["works"] else "fails"
    told = [str(figures.get(key, "")).replace("|", "\\|") for key in ("message", "cause")]
    message = f"`{told[0]}`" if told[0] else ""
    return (*figures["case"].values(), result + stale, message, told[1])
