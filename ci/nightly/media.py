"""The long runs of tests on install media: killed at random moments, and read and planned while spoilt."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from xml.etree import ElementTree

from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import status_of

SINKS = ("file", "qcow2", "inplace")
KILLS = 70
"""Of each sink, while it writes: more than 200 in all."""
FUZZ_SECONDS = 1800


def test(name: str, settings: Mapping[str, str], desk: Desk, *, timeout: float) -> Figures:
    """Run one test; its figures are what it records."""
    report = desk.folder / "junit.xml"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", name]
    status = status_of(argv, timeout=timeout, env=dict(settings), log=desk.log)
    rows = ElementTree.parse(report).iter("property") if report.exists() else ()
    figures = {row.get("name", ""): int(row.get("value", "0")) for row in rows}
    return {**figures, "ok": status == 0, "status": status}


def today() -> int:
    """A seed of its own for each night."""
    return datetime.now(UTC).toordinal()


def kill(sink: str, desk: Desk) -> Figures:
    settings = {"NESTLAB_KILLS": str(KILLS), "NESTLAB_KILL_SEED": str(today())}
    name = f"tests/integration/test_media_sinks.py::test_kill_9_at_random_moments[{sink}]"
    return test(name, settings, desk, timeout=1200)


def fuzz(desk: Desk) -> Figures:
    settings = {"NESTLAB_FUZZ_SECONDS": str(FUZZ_SECONDS), "NESTLAB_FUZZ_SEED": str(today())}
    name = "tests/integration/test_media_fuzz.py::test_spoilt_media_never_crash_hang_or_write"
    return test(name, settings, desk, timeout=FUZZ_SECONDS + 600)


def kills() -> Sequence[Unit]:
    return [Unit(sink, partial(kill, sink), 300) for sink in SINKS]


def judge_kills(done: Mapping[str, Figures]) -> Verdict:
    rounds = sum(figures.get("rounds", 0) for figures in done.values())
    killed = sum(figures.get("killed", 0) for figures in done.values())
    ok = all(figures["ok"] for figures in done.values()) and killed == KILLS * len(SINKS)
    return Verdict(ok, {"rounds": rounds, "killed": killed, "sinks": dict(done)})


def judge_fuzz(done: Mapping[str, Figures]) -> Verdict:
    return Verdict(all(figures["ok"] for figures in done.values()), dict(done))


def fuzzes() -> Sequence[Unit]:
    return [Unit("fuzz", fuzz, FUZZ_SECONDS + 120)]


PARTS = (
    Part("media-kill", "media killed while written, at 210 random moments: nothing half", kills, judge_kills),
    Part("media-fuzz", "30 minutes of spoilt media: no crash, no hang, no write", fuzzes, judge_fuzz),
)
