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

from builder.paths import locked, write_atomic
from ci.proof import OUT, Claim, inputs_digest, product_digest, write_proof

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

    `seconds` is what it is expected to take; it is not begun when less than that is left. `inputs` are the files and
    folders that its outcome depends on: what it came to holds as long as these stay as they are, beyond the proof that
    it was for. Without them that is all of the product, and every run of the part does it anew.
    """

    name: str
    run: Callable[[Desk], Figures]
    seconds: float
    inputs: tuple[str, ...] = ()


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
    units = part.units()
    progress = Progress.open(folder / "progress.jsonl", units, fresh=fresh)
    desk = Desk(part.name, folder, folder / "output.log", progress.done)
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
    """Finished units, a line each, with the digest of what they depend on: work on other sources counts for nothing."""

    def __init__(self, path: Path, keys: Mapping[str, str], load: tuple[float, ...], done: dict[str, Figures]) -> None:
        self._path = path
        self._keys = keys
        self.load = load
        self.done = done

    @classmethod
    def open(cls, path: Path, units: Sequence[Unit], *, fresh: bool) -> Progress:
        whole = product_digest()
        keys = {unit.name: inputs_digest(*unit.inputs) if unit.inputs else whole for unit in units}
        own = {unit.name for unit in units if unit.inputs}
        rows = [] if fresh else [row for row in _rows(_proven(path)) if row.get("unit") in own]
        rows += [] if fresh else _rows(path)
        kept = {row["unit"]: row["figures"] for row in rows if "unit" in row and row["key"] == keys.get(row["unit"])}
        loads = [row["load"] for row in rows if "load" in row]
        made = cls(path, keys, tuple(loads[-1]) if kept and loads else os.getloadavg(), {})
        # Written anew, so that a line torn by a crash does not spoil the one that follows it.
        write_atomic(path, json.dumps({"load": made.load}) + "\n")
        for name, figures in kept.items():
            made.add(name, figures)
        return made

    def add(self, unit: str, figures: Figures) -> None:
        self.done[unit] = figures
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"unit": unit, "key": self._keys[unit], "figures": figures}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """The part is through; what led to this proof stays to be read."""
        shutil.move(self._path, _proven(self._path))


def _proven(path: Path) -> Path:
    return path.with_suffix(".last.jsonl")


def _rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [row for line in lines if (row := _parse(line)) is not None and ("load" in row or "key" in row)]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
