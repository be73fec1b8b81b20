"""200 rounds of `up`, killed at a random moment, and `down`: nothing may be left. Ten a unit, by `ci/kill9.py`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import status_of

ROUNDS = 200
BATCH = 10


def batch(seed: int, desk: Desk) -> Figures:
    """Ten rounds whose moments and victims follow from the seed."""
    report = desk.folder / f"rounds-{seed}.json"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "ci.kill9", "--rounds", str(BATCH), "--seed", str(seed), "--json", str(report)]
    status = status_of(argv, timeout=1200, env={}, log=desk.log)
    if not report.exists():
        return {"ok": False, "rounds": 0, "leftovers": [f"the program ended with {status}: see {desk.log.name}"]}
    figures = json.loads(report.read_text("utf-8"))
    return {"ok": status == 0 and not figures["leftovers"], **figures}


def units() -> Sequence[Unit]:
    return [Unit(f"seed-{seed}", partial(batch, seed), 150) for seed in range(1, ROUNDS // BATCH + 1)]


def judge(done: Mapping[str, Figures]) -> Verdict:
    leftovers = [f"{name}: {line}" for name, figures in done.items() for line in figures["leftovers"]]
    victims: Counter[str] = Counter()
    for figures in done.values():
        victims.update(figures.get("victims", {}))
    rounds = sum(figures["rounds"] for figures in done.values())
    times = [figures["up_seconds"] for figures in done.values() if "up_seconds" in figures]
    figures = {
        "rounds": rounds,
        "leftovers": len(leftovers),
        "what_was_left": leftovers[:20],
        "killed": dict(victims),
        "up_seconds": [min(times), max(times)] if times else [],
    }
    return Verdict(all(f["ok"] for f in done.values()) and rounds == ROUNDS, figures)


PART = Part("kill9", "200 rounds of up, kill -9 and down with tiny guests: nothing is left", units, judge)
