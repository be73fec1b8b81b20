"""Parts that are a program of their own: the clean root and the benchmarks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import OUT, ROOT, status_of


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


def bench(script: str, desk: Desk) -> Figures:
    """A benchmark prints one JSON object as its last line and ends with 1 when it missed its target."""
    output = desk.folder / "bench.out"
    output.unlink(missing_ok=True)
    status = status_of([sys.executable, ROOT / "ci/bench" / script], timeout=2700, env={}, log=output)
    lines = output.read_text("utf-8", errors="replace").splitlines()
    with desk.log.open("a", encoding="utf-8") as log:
        log.write("\n".join(lines) + "\n")
    figures = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return {**figures, "ok": status == 0 and bool(figures), "status": status}


def bench_part(name: str, script: str, about: str) -> Part:
    def units() -> Sequence[Unit]:
        return [Unit(script, partial(bench, script), 1200)]

    return Part(name, about, units, all_ok)


def all_ok(done: Mapping[str, Figures]) -> Verdict:
    return Verdict(all(figures["ok"] for figures in done.values()), dict(done))


PARTS: Sequence[Callable[[], Part]] = (
    partial(clean_root_part, "12"),
    partial(clean_root_part, "13"),
    partial(bench_part, "bench-boot", "boot.py", "power-on to ssh through nestlab beside bare QEMU, in pairs"),
    partial(
        bench_part, "bench-image", "image_build.py", "an image from empty caches beside mmdebstrap and the assembler"
    ),
)
