"""The proof matrix: what was really done with each system on each L0, from `ci/proofs/` and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from builder.hypervisors.settings import Documented
from builder.model.plan import SystemTraits
from ci import markdown
from ci.exported import FIRMWARES, TARGETS
from ci.proof import HERE, STRENGTHS, Claim, claim_digest

Fresh = Callable[[Claim], bool]
Way = tuple[str, str]  # path, firmware
PATHS = ("image", "medium")
NEVER = "not run"
REFUSED = "refused"
_BY = {"tcg": "QEMU, emulated", "kvm": "KVM"}


def strongest(claims: Iterable[Claim], fresh: Fresh) -> Claim | None:
    """The strongest fresh claim, else the strongest stale one; of equals the latest."""
    ranked = sorted(claims, key=lambda c: (fresh(c), STRENGTHS.index(c.proof), c.date))
    return ranked[-1] if ranked else None


def cell(claims: Iterable[Claim], fresh: Fresh) -> str:
    claim = strongest(claims, fresh)
    if claim is None:
        return NEVER
    ran = f" ({_BY.get(claim.accelerator, claim.accelerator)})" if claim.accelerator else ""
    return f"{claim.proof} {claim.date}{ran}" + ("" if fresh(claim) else ", stale")


def is_fresh(claim: Claim) -> bool:
    """Whether the sources that the claim is about are still those it was made from."""
    return claim.inputs == claim_digest(claim.system, claim.l0, claim.path)


def cells(row: SystemTraits, release: str, l0: str, claims: Iterable[Claim], fresh: Fresh) -> dict[Way, str]:
    """What to say of each way that the system has, on one L0. Answers that were judged (of no L0) count where labs
    run, on `HERE`; a node without a disk cannot be moved elsewhere."""
    if l0 != HERE and not row.minimum.disk:
        return {}
    on = {HERE, ""} if l0 == HERE else {l0}
    found = [c for c in claims if c.l0 in on and (c.system, c.release) == (row.name, release)]
    return {
        (path, firmware): REFUSED
        if is_refused(l0, row.name, firmware)
        else cell([c for c in found if (c.path, c.firmware) == (path, firmware)], fresh)
        for path in row.sources
        for firmware in FIRMWARES
    }


def is_refused(l0: str, system: str, firmware: str) -> bool:
    """Whether a document says that this L0 cannot start the system so."""
    return firmware in {row.value for row in Documented(l0, system).find("firmware", "refused")}


def in_short(told: Mapping[Way, str]) -> str:
    """One text for ways with the same end: `judged ...`, or `BIOS: judged ...; UEFI: not run`."""
    ends: dict[str, list[Way]] = {}
    for way, text in told.items():
        ends.setdefault(text, []).append(way)
    if len(ends) < 2:
        return next(iter(ends), "")
    return "; ".join(f"{_named(ways, told)}: {text}" for text, ways in ends.items())


def _named(ways: list[Way], among: Mapping[Way, str]) -> str:
    """Ways by what tells them apart: their path, their firmware, or both."""
    paths = {path for path, _ in among}
    alike = {tuple(firmware for each, firmware in ways if each == path) for path in paths}
    if len(alike) == 1:
        return " and ".join(firmware.upper() for firmware in next(iter(alike)))
    names = []
    for path in dict.fromkeys(path for path, _ in ways):
        firmwares = [firmware for each, firmware in ways if each == path]
        whole = len(firmwares) == sum(each == path for each, _ in among)
        shown = "" if whole else " and ".join(firmware.upper() for firmware in firmwares)
        names.append(" ".join(word for word in (path if len(paths) > 1 or whole else "", shown) if word))
    return ", ".join(names)


def matrix(systems: Mapping[str, SystemTraits], claims: Iterable[Claim], fresh: Fresh = is_fresh) -> str:
    """A Markdown table: a row for each system and release, columns for where labs run, by path, and for each L0 that
    they are exported to."""
    found = list(claims)
    paths = [path for path in PATHS if any(path in row.sources for row in systems.values())]
    titles = [*(f"QEMU/KVM, {path}" for path in paths), *(target.title for target in TARGETS.values())]
    rows = []
    for name, row in systems.items():
        for release in row.releases:
            here = cells(row, release, HERE, found, fresh)
            shown = [in_short({way: text for way, text in here.items() if way[0] == path}) for path in paths]
            shown += [in_short(cells(row, release, l0, found, fresh)) for l0 in TARGETS]
            rows.append((name, release, *shown))
    return markdown.table(("System", "Release", *titles), rows)


def table(systems: Mapping[str, SystemTraits], claims: Iterable[Claim], l0: str, fresh: Fresh = is_fresh) -> str:
    """A Markdown table of one L0: a row for each system and release, a column for each path and firmware."""
    found = list(claims)
    ways = [(path, firmware) for path in PATHS for firmware in FIRMWARES]
    ways = [way for way in ways if any(way[0] in row.sources for row in systems.values())]
    titles = [f"{path}, {firmware.upper()}" for path, firmware in ways]
    rows = []
    for name, row in systems.items():
        for release in row.releases:
            told = cells(row, release, l0, found, fresh)
            if told:
                rows.append((name, release, *(told.get(way, "") for way in ways)))
    return markdown.table(("System", "Release", *titles), rows)
