"""Every release of Debian, by BIOS and by UEFI: up, all checks, down. The claims of the proof matrix come from here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from ci.nightly.lab import Command, command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import HERE, Claim, claim_digest, today

SYSTEM = "debian"
Firmware = Literal["bios", "uefi"]
CASES: tuple[tuple[str, Firmware], ...] = (("13", "bios"), ("13", "uefi"), ("12", "bios"), ("12", "uefi"))


def lab_text(release: str, firmware: str) -> str:
    return (
        f"name: boots-{release}-{firmware}\n"
        f"description: Debian {release} with Xen by {firmware.upper()}.\n"
        "nodes:\n"
        "  dom0:\n"
        f"    system: {SYSTEM}\n"
        f'    release: "{release}"\n'
        f"    firmware: {firmware}\n"
    )


def boot(release: str, firmware: str, desk: Desk) -> Figures:
    lab = desk.folder / f"boots-{release}-{firmware}.yaml"
    lab.write_text(lab_text(release, firmware), "utf-8")
    with command(desk.log) as nestlab:
        try:
            if nestlab.run("image", "build", lab, timeout=1200):
                return {"ok": False, "reached": "nothing", "inputs": _inputs()}
            if nestlab.run("up", lab, timeout=1500):
                return {"ok": False, "reached": "rendered", "inputs": _inputs()}
            facts = {"accelerator": nestlab.ask("status", lab)["accelerator"], **xen_facts(nestlab, str(lab))}
            verified = nestlab.run("test", lab, timeout=1200) == 0
            return {"ok": verified, "reached": "verified" if verified else "booted", "inputs": _inputs(), **facts}
        finally:
            nestlab.run("down", lab, timeout=120)


def _inputs() -> str:
    return claim_digest(SYSTEM, HERE, "image")


def xen_facts(nestlab: Command, lab: str, node: str = "dom0") -> dict[str, str]:
    """Version of the hypervisor and of the dom0 kernel, as the host itself says."""
    info = nestlab.output("exec", lab, node, "--", "xl", "info", timeout=300)
    wanted = {"xen_version": "xen", "release": "dom0_kernel"}
    pairs = (re.match(r"(\w+)\s*: (.*)", line) for line in info.splitlines())
    return {wanted[pair[1]]: pair[2].strip() for pair in pairs if pair and pair[1] in wanted}


def units() -> Sequence[Unit]:
    return [Unit(f"{release}-{firmware}", partial(boot, release, firmware), 600) for release, firmware in CASES]


def judge(done: Mapping[str, Figures]) -> Verdict:
    claims = tuple(
        Claim(
            system=SYSTEM, release=release, l0="kvm", accelerator=figures["accelerator"], path="image",
            firmware=firmware, proof=figures["reached"], inputs=figures["inputs"], date=today(),
        )
        for release, firmware in CASES
        if (figures := done[f"{release}-{firmware}"])["reached"] in {"booted", "verified"}
    )  # fmt: skip
    versions = {
        f"{what}_{release}": str(done[f"{release}-bios"].get(what, "unknown"))
        for release in ("12", "13")
        for what in ("xen", "dom0_kernel")
    }
    return Verdict(all(f["ok"] for f in done.values()), {"boots": dict(done)}, claims, versions)


PART = Part("boots", "Debian 12 and 13 by BIOS and UEFI: up, every check, down", units, judge)
