"""Thousands of hostile values in every text of every system's lab files, each judged by the files' own readers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial

from builder.systems import traits
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict

EXAMPLES = 1500


def attack(system: str, desk: Desk) -> Figures:
    """How many settings take free text, how many values were refused, and how many were taken and came out inert."""
    from tests.support.attack import Attack  # noqa: PLC0415 - hypothesis, which naming the parts should not need

    folder = desk.folder / system
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = Attack(system, folder)
    harm = ""
    try:
        made.run(EXAMPLES, same=False)
    except Exception as error:
        harm = "\n".join(str(each) for each in getattr(error, "exceptions", (error,)))[:2000]
        desk.say(f"{system}: {harm}")
    return {
        "ok": not harm,
        "settings": len(made.labs.fields),
        "settings_that_took_one": len(made.accepted),
        "refused": made.counts["refused"],
        "inert": made.counts["accepted"],
        **({"harm": harm} if harm else {}),
    }


def units() -> Sequence[Unit]:
    return [Unit(system, partial(attack, system), 400) for system in traits()]


def judge(done: Mapping[str, Figures]) -> Verdict:
    values = sum(figures["refused"] + figures["inert"] for figures in done.values())
    ok = all(figures["ok"] for figures in done.values()) and values >= 2000
    return Verdict(ok, {"values": values, "systems": dict(done)})


PART = Part(
    "injection", "hostile values in every text of every system's lab files, judged by the readers", units, judge
)
