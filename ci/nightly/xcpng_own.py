"""XCP-ng from your own medium, which nobody may pass on: installed by itself, every check, and every procedure that
a host of XAPI without guests can be tried with.

    NESTLAB_ISO_XCPNG_8_3=/path/to/xcp-ng-8.3.0.iso bash ci/nightly.sh xcpng-own

For 8.2 the variable is NESTLAB_ISO_XCPNG_8_2; both may be set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from builder.model.lab import medium_variable
from ci.nightly.lab import Command, command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import HERE, ROOT, Claim, claim_digest, today

SYSTEM = "xcpng"
RELEASES = ("8.3", "8.2")
USAGE = 2
WITH_OPTIONS: Mapping[str, tuple[str, ...]] = {"vlan-trunk": ("card=eth1",), "secure-boot-certs": ("db=default",)}
"""Procedures that most labs cannot try, so that `drill --all` leaves them out; said with options, they are tried."""


def own_media() -> dict[str, str]:
    """Release and path of each medium that the environment names."""
    named = {release: os.environ.get(medium_variable(SYSTEM, release), "") for release in RELEASES}
    return {release: path for release, path in named.items() if path}


def lab_of(release: str, folder: Path) -> Path:
    """The shipped lab, for this release and under a name of its own."""
    text = (ROOT / "labs/xcp-ng-8.3.yaml").read_text("utf-8")
    lab = folder / f"xcpng-own-{release}.yaml"
    text = text.replace("name: xcp-ng-8-3\n", f"name: xcpng-own-{release.replace('.', '-')}\n")
    lab.write_text(text.replace("release: 8.3\n", f"release: {release}\n"), "utf-8")
    return lab


def tried(release: str, desk: Desk) -> Figures:
    """One release: from the medium to drills, and nothing left but the record."""
    medium = own_media().get(release)
    if medium is None:
        desk.say(f"no medium is named: {medium_variable(SYSTEM, release)}=/path/to/the.iso")
        raise SystemExit(USAGE)
    lab = lab_of(release, desk.folder)
    figures: dict[str, Any] = {"ok": False, "reached": "rendered", "inputs": claim_digest(SYSTEM, HERE, "medium")}
    with command(desk.log, own_images=False, **{medium_variable(SYSTEM, release): medium}) as nestlab:
        try:
            if nestlab.run("up", lab, "--reinstall", "host", timeout=7200):
                return figures
            figures |= {"reached": "installed", "accelerator": nestlab.ask("status", lab)["accelerator"]}
            if nestlab.run("test", lab, timeout=2400):
                return figures
            drills = drilled(nestlab, lab, desk)
            return {**figures, "reached": "verified", "ok": all(each["passed"] for each in drills), "drills": drills}
        finally:
            nestlab.run("down", lab, timeout=120)


def drilled(nestlab: Command, lab: Path, desk: Desk) -> list[dict[str, Any]]:
    """What became of each procedure; the record of each is there as far as it came."""
    found: list[dict[str, Any]] = []
    for name, words in (("--all", ()), *WITH_OPTIONS.items()):
        record = desk.folder / f"drill-{name.strip('-')}.json"
        record.unlink(missing_ok=True)
        made: dict[str, Any] = {"date": today(), "drills": []}
        passed = nestlab.run("procedure", "drill", lab, name, *words, "--out", record, timeout=4 * 3600) == 0
        if record.exists():
            made = json.loads(record.read_text("utf-8"))
        found.append({
            "name": name, "passed": passed, "drills": [{"date": made["date"], **each} for each in made["drills"]],
        })  # fmt: skip
    return found


def units() -> Sequence[Unit]:
    """The releases that there is a medium of; of none, the first one says what is missing."""
    return [Unit(release, partial(tried, release), 2400) for release in own_media() or RELEASES]


def judge(done: Mapping[str, Figures]) -> Verdict:
    claims = tuple(
        Claim(
            system=SYSTEM, release=release, l0="kvm", accelerator=figures["accelerator"], path="medium",
            firmware="bios", proof=figures["reached"], inputs=figures["inputs"], date=today(),
        )
        for release, figures in done.items() if figures["reached"] in ("installed", "verified")
    )  # fmt: skip
    return Verdict(all(figures["ok"] for figures in done.values()), dict(done), claims)


PART = Part("xcpng-own", "your own XCP-ng medium (NESTLAB_ISO_XCPNG_8_3=ISO): up, checks, procedures", units, judge)
