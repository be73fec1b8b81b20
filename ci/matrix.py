"""The proof matrix: what was really done with each system, from the proofs in `ci/proofs/` and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from builder.model.plan import SystemTraits
from ci.proof import STRENGTHS, Claim, inputs_digest, system_inputs

Column = tuple[str, str]  # path, firmware
COLUMNS: tuple[Column, ...] = (("image", "bios"), ("image", "uefi"), ("medium", "bios"), ("medium", "uefi"))
NEVER = "not run"
_WHERE = {("kvm", "tcg"): "QEMU, emulated", ("kvm", "kvm"): "KVM"}


def strongest(claims: Iterable[Claim], fresh: Callable[[Claim], bool]) -> Claim | None:
    """The strongest fresh claim, else the strongest stale one; of equals the latest."""
    ranked = sorted(claims, key=lambda c: (fresh(c), STRENGTHS.index(c.proof), c.date))
    return ranked[-1] if ranked else None


def cell(claims: Iterable[Claim], fresh: Callable[[Claim], bool]) -> str:
    claim = strongest(claims, fresh)
    if claim is None:
        return NEVER
    where = _WHERE.get((claim.l0, claim.accelerator), f"{claim.l0}, {claim.accelerator}")
    ran = f" ({where})" if claim.l0 else ""
    return f"{claim.proof} {claim.date}{ran}" + ("" if fresh(claim) else ", stale")


def is_fresh(claim: Claim) -> bool:
    """Whether the sources that the claim is about are still those it was made from."""
    return claim.inputs == inputs_digest(*system_inputs(claim.system))


def matrix(
    systems: Mapping[str, SystemTraits], claims: Iterable[Claim], fresh: Callable[[Claim], bool] = is_fresh
) -> str:
    """A Markdown table: a row for each system and release, a column for each path that some system has."""
    found = list(claims)
    columns = [c for c in COLUMNS if any(c[0] in traits.sources for traits in systems.values())]
    titles = [f"{path}, {firmware.upper()}" for path, firmware in columns]
    lines = [f"| System | Release | {' | '.join(titles)} |", "| --- " * (2 + len(columns)) + "|"]
    for name, traits in systems.items():
        for release in traits.releases:
            cells = [
                cell([c for c in found if (c.system, c.release, c.path, c.firmware) == (name, release, *column)], fresh)
                if column[0] in traits.sources
                else ""
                for column in columns
            ]
            lines.append(f"| {name} | {release} | {' | '.join(cells)} |")
    return "\n".join(lines)
