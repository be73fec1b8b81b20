"""A part: units of work gone through in order within a time limit, resumed where the last run stopped."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.paths import locked
from ci.proof import OUT, Claim, product_digest, write_proof

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a unit works: `folder` is the part's own, kept between runs; `log` collects the output of programs;
    `done` holds the figures of the units before it."""

    part: str
    folder: Path
    log: Path
    done: Mapping[str, Figures]

    def say(self, text: str) -> None:
        print(f"{self.part}: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Unit:
    """One step that is done whole or not at all. `run` returns figures; `ok: False` in them is a failure.

    `seconds` is what it is expected to take; it is not begun when less than that is left.
    """

    name: str
    run: Callable[[Desk], Figures]
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the figures of all units come to."""

    ok: bool
    figures: Figures
    claims: tuple[Claim, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    about: str
    units: Callable[[], Sequence[Unit]]
    judge: Callable[[Mapping[str, Figures]], Verdict]


DONE, FAILED, UNFINISHED = 0, 1, 4


def run_part(part: Part, *, minutes: float, fresh: bool, base: Path = OUT / "nightly") -> int:
    """Go through the part. Returns 0 when it is proven, 1 when it failed, 4 when time ran out before its end."""
    folder = base / part.name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", wait=False):
        return _run_locked(part, folder, minutes=minutes, fresh=fresh)


def _run_locked(part: Part, folder: Path, *, minutes: float, fresh: bool) -> int:
    deadline = time.monotonic() + minutes * 60
    progress = Progress.open(folder / "progress.jsonl", key=product_digest(), fresh=fresh)
    desk = Desk(part.name, folder, folder / "output.log", progress.done)
    units = part.units()
    todo = [unit for unit in units if unit.name not in progress.done]
    # All have had their turn and some failed: those get another, and what was proven stays so.
    todo = todo or [unit for unit in units if not progress.done[unit.name]["ok"]]
    for unit in todo:
        if time.monotonic() + unit.seconds > deadline:
            desk.say(f"{len(progress.done)} of {len(units)} done, no time left for {unit.name}; run it again to go on")
            return UNFINISHED
        started = time.monotonic()
        figures = unit.run(desk)
        seconds = round(time.monotonic() - started, 2)
        before = progress.done.get(unit.name)
        attempt = {"attempt": before.get("attempt", 1) + 1} if before else {}
        progress.add(unit.name, {"ok": True, **figures, "seconds": seconds, **attempt})
        desk.say(f"{unit.name}: {'ok' if progress.done[unit.name]['ok'] else 'FAILED'} after {seconds:.0f} s")
    verdict = part.judge(progress.done)
    path = write_proof(
        part.name, ok=verdict.ok, claims=verdict.claims, figures=verdict.figures,
        more_versions=verdict.versions, load_at_start=progress.load,
    )  # fmt: skip
    if verdict.ok:
        progress.close()
    desk.say(f"{'proven' if verdict.ok else 'FAILED'}: {path}")
    return DONE if verdict.ok else FAILED


class Progress:
    """Finished units, a line each. Work on other sources counts for nothing: the file starts with their digest."""

    def __init__(self, path: Path, load: tuple[float, ...], done: dict[str, Figures]) -> None:
        self._path = path
        self.load = load
        self.done = done

    @classmethod
    def open(cls, path: Path, *, key: str, fresh: bool) -> Progress:
        lines = path.read_text("utf-8").splitlines() if path.exists() and not fresh else []
        rows = [row for line in lines if (row := _parse(line)) is not None]
        if rows and rows[0].get("key") == key:
            # Written anew, so that a line torn by a crash does not spoil the one that follows it.
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            return cls(path, tuple(rows[0]["load"]), {row["unit"]: row["figures"] for row in rows[1:]})
        load = os.getloadavg()
        path.write_text(json.dumps({"key": key, "load": load}) + "\n", "utf-8")
        return cls(path, load, {})

    def add(self, unit: str, figures: Figures) -> None:
        self.done[unit] = figures
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"unit": unit, "figures": figures}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """The part is through: the next run starts from nothing, and what led to this proof stays to be read."""
        shutil.move(self._path, self._path.with_suffix(".last.jsonl"))


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
