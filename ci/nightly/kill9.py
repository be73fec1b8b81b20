"""200 times: `up` is killed with SIGKILL at a random moment, `down` follows, and nothing may be left.

The moments are drawn from a seed that the proof names, over the time that one undisturbed `up` takes and a bit more.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial

from ci.nightly.lab import Command, command, files_below, processes_with, sockets_with
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict

ROUNDS = 200
BATCH = 10
SEED = 9
LAB = """\
name: kill9
networks:
  lan: {}
nodes:
  one: {system: tiny, networks: [lan]}
  two: {system: tiny, networks: [lan]}
"""


def leftovers(nestlab: Command) -> list[str]:
    """What is still there of the lab, after the processes had a moment to end."""
    deadline = time.monotonic() + 3
    while True:
        found = [f"process {line}" for line in processes_with(nestlab.mark)]
        found += [f"socket {name}" for name in sockets_with(nestlab.mark)]
        found += [f"file {name}" for name in files_below([nestlab.base / "state/labs", nestlab.base / "run"])]
        found += [f"lab {row}" for row in nestlab.ask("ls")]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def measure(desk: Desk) -> Figures:
    """Warm caches, then the time of one undisturbed `up`."""
    lab = desk.folder / "kill9.yaml"
    lab.write_text(LAB, "utf-8")
    with command(desk.log) as nestlab:
        nestlab.run("up", lab, timeout=900)
        nestlab.run("down", lab, timeout=60)
        started = time.monotonic()
        status = nestlab.run("up", lab, timeout=300)
        took = time.monotonic() - started
        down = nestlab.run("down", lab, timeout=60)
        left = leftovers(nestlab)
    return {"ok": status == down == 0 and not left, "up_seconds": round(took, 2), "left": left}


def batch(number: int, desk: Desk) -> Figures:
    """Ten rounds: in even ones `up` alone is killed, in odd ones everything of ours that is no machine."""
    longest = float(desk.done["undisturbed"]["up_seconds"]) * 1.2
    failures: list[dict[str, object]] = []
    for index in range(number * BATCH, (number + 1) * BATCH):
        delay = random.Random(SEED * 1000 + index).uniform(0, longest)
        with command(desk.log) as nestlab:
            status, left = kill_round(nestlab, desk, delay=delay, keeper_too=index % 2 == 1)
        if status or left:
            failures.append({"round": index, "delay": round(delay, 3), "down": status, "left": left[:10]})
            desk.say(f"round {index} after {delay:.2f} s: down {status}, left {left[:3]}")
    return {"ok": not failures, "rounds": BATCH, "failures": failures}


def kill_round(nestlab: Command, desk: Desk, *, delay: float, keeper_too: bool) -> tuple[int, list[str]]:
    """The status of `down`, and what was left after it."""
    lab = desk.folder / "kill9.yaml"
    process = nestlab.start("up", lab)
    time.sleep(delay)
    victims = {process.pid} if process.poll() is None else set()
    if keeper_too:
        victims |= {int(line.split()[0]) for line in processes_with(nestlab.mark) if "qemu-system" not in line}
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    return nestlab.run("down", lab, timeout=60), leftovers(nestlab)


def units() -> Sequence[Unit]:
    batches = [Unit(f"rounds-{n * BATCH}", partial(batch, n), 150) for n in range(ROUNDS // BATCH)]
    return [Unit("undisturbed", measure, 300), *batches]


def judge(done: Mapping[str, Figures]) -> Verdict:
    batches = [figures for name, figures in done.items() if name != "undisturbed"]
    failures = [failure for figures in batches for failure in figures["failures"]]
    figures = {
        "rounds": sum(figures["rounds"] for figures in batches),
        "seed": SEED,
        "up_seconds": done["undisturbed"]["up_seconds"],
        "rounds_with_leftovers": len(failures),
        "failures": failures[:20],
    }
    return Verdict(done["undisturbed"]["ok"] and not failures and figures["rounds"] == ROUNDS, figures)


PART = Part("kill9", "200 rounds of up, kill -9 and down with tiny guests: nothing is left", units, judge)
