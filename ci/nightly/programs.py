"""Parts that are a program of their own: the clean root and the benchmarks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ci.bench.media import NO_ROOM
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import OUT, status_of


def clean_root(release: str, what: str, desk: Desk) -> Figures:
    status = status_of(["bash", "ci/clean-root.sh", release, what], timeout=2700, env={}, log=desk.log)
    results = OUT / f"clean-root-{release}"
    return {
        "ok": status == 0,
        "status": status,
        "phases": read_phases(results / "clean-root.json"),
        "inside": read_phases(results / f"{what}.json"),
    }


def read_phases(path: Path) -> dict[str, Any]:
    """Seconds of each phase; empty when the program did not come that far."""
    if not path.exists():
        return {}
    return {row["name"]: row["seconds"] for row in json.loads(path.read_text("utf-8"))["phases"]}


def clean_root_part(release: str) -> Part:
    def units() -> Sequence[Unit]:
        return [Unit(what, partial(clean_root, release, what), 1500) for what in ("quickstart", "test")]

    about = f"quickstart (fresh, again, offline) and all tests in an empty Debian {release}"
    return Part(f"clean-root-{release}", about, units, all_ok)


def bench(module: str, desk: Desk) -> Figures:
    """A benchmark writes its figures, one JSON object, to the file it is given, and ends with 1 when it missed its
    target."""
    report = desk.folder / f"{module}.json"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", f"ci.bench.{module}", "--json", str(report)]
    status = status_of(argv, timeout=2700, env={}, log=desk.log)
    figures = json.loads(report.read_text("utf-8")) if report.exists() else {}
    return {**figures, "ok": status == 0 and bool(figures), "status": status}


def bench_part(name: str, module: str, about: str) -> Part:
    def units() -> Sequence[Unit]:
        return [Unit(module, partial(bench, module), 1200)]

    return Part(name, about, units, all_ok)


def bench_media(image: str, desk: Desk) -> Figures:
    report = desk.folder / f"{image}.json"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "ci.bench.media", "--image", image, "--json", report, "--folder", desk.folder]
    if os.geteuid() == 0:
        argv[:0] = [sys.executable, "-m", "ci.bench.steady"]
    status = status_of([str(a) for a in argv], timeout=2700, env={}, log=desk.log)
    if status == NO_ROOM:
        desk.say(f"no room for {image}: {desk.log} says how much it takes")
        raise SystemExit(NO_ROOM)  # what was not measured has not failed
    figures = json.loads(report.read_text("utf-8")) if report.exists() else {}
    return {**figures, "ok": status == 0 and bool(figures), "status": status}


def bench_media_part() -> Part:
    def units() -> Sequence[Unit]:
        return [Unit("xcp", partial(bench_media, "xcp"), 300), Unit("dvd", partial(bench_media, "dvd"), 1500)]

    about = "remastering 0.6 and 6 GB beside cp, xorriso, mkisofs and pycdlib, in interleaved pairs"
    return Part("bench-media", about, units, all_ok)


def passed(file: str, desk: Desk) -> Figures:
    """Tests that take too long for ci/test.sh."""
    status = status_of([sys.executable, "-m", "pytest", "-q", file], timeout=2640, env={}, log=desk.log)
    return {"ok": status == 0, "status": status}


def tests_part(name: str, file: str, about: str, tests: Sequence[str] = ()) -> Part:
    """`tests` are those of the file, a unit each; without them the file is one."""

    def units() -> Sequence[Unit]:
        return [
            Unit(each or file, partial(passed, f"{file}::{each}" if each else file), 600) for each in tests or ("",)
        ]

    return Part(name, about, units, all_ok)


def all_ok(done: Mapping[str, Figures]) -> Verdict:
    return Verdict(all(figures["ok"] for figures in done.values()), dict(done))


FAULTS = (
    "test_what_debians_installer_cannot_fetch",
    "test_debians_installer_misses_the_disk",
    "test_xcp_ngs_installer_misses_the_disk",
    "test_a_medium_that_goes_away_in_the_middle",
    "test_up_killed_in_each_phase_takes_the_installation_with_it",
    "test_a_keeper_killed_in_each_phase_is_gone_on_from",
    "test_a_keeper_killed_in_the_first_start_does_not_install_again",
)
PARTS: Sequence[Callable[[], Part]] = (
    partial(clean_root_part, "12"),
    partial(clean_root_part, "13"),
    partial(bench_part, "bench-boot", "boot", "power-on to ssh through nestlab beside bare QEMU, in pairs"),
    partial(
        tests_part,
        "installer-reports",
        "tests/nightly/test_installer_reports.py",
        "the real Debian installer reports its steps, and a mirror that is not there ends it by name",
    ),
    partial(
        tests_part,
        "installer-faults",
        "tests/nightly/test_installer_faults.py",
        "what goes wrong in an installation ends by its name, or is gone on from: mirror, answers, disk, medium, kills",
        FAULTS,
    ),
    bench_media_part,
    partial(bench_part, "bench-render", "render_labs", "CPU of rendering every example lab"),
    partial(bench_part, "bench-image", "image_build", "an image from empty caches beside mmdebstrap and the assembler"),
)
