"""Rounds of `nestlab up`, killed at a random moment, then `nestlab down`: nothing may be left.

    .venv/bin/python ci/kill9.py --rounds 200 [--seed N] [--lab labs/two-tiny.yaml] [--json FILE]

Each round kills, with SIGKILL, one of: `up`; the lab's keeper; both; or sends `up` SIGINT or SIGTERM. After `down` it
looks for processes, listening ports, port claims, files and folders of the lab.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from builder.lifecycle.state import read_owner
from builder.paths import Places

ROOT = Path(__file__).resolve().parent.parent
VICTIMS = ("up", "up", "keeper", "both", "interrupt", "terminate")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lab", type=Path, default=ROOT / "labs/two-tiny.yaml")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A shell starts what runs in its background deaf to SIGINT, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="nl9-", dir="/tmp") as scratch:
        try:
            report = rounds(Path(scratch), args.lab, args.rounds, args.seed)
        except BaseException:
            subprocess.run(_nestlab("down", _lab_name(args.lab)), env=_environment(Path(scratch)), check=False)
            raise
    print(json.dumps(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if report["leftovers"] else 0


def _environment(scratch: Path) -> dict[str, str]:
    """Folders of their own below `scratch`, images from the user's cache."""
    cache = Places.from_environment(os.environ).cache
    return {**os.environ, "NESTLAB_STATE": str(scratch / "state"), "NESTLAB_RUNTIME": str(scratch / "run"),
            "NESTLAB_CACHE": str(cache)}  # fmt: skip


def rounds(scratch: Path, lab: Path, count: int, seed: int) -> dict[str, object]:
    """`count` rounds in folders of their own below `scratch` (a short path), images from the user's cache."""
    chance = random.Random(seed)
    env = _environment(scratch)
    places = Places.from_environment(env)
    name = _lab_name(lab)
    started = time.monotonic()
    subprocess.run(_nestlab("up", str(lab)), env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole = time.monotonic() - started
    subprocess.run(_nestlab("down", name), env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found: list[str] = _left(places, name)
    victims: dict[str, int] = {}
    for number in range(count):
        victim = chance.choice(VICTIMS)
        moment = chance.uniform(0, whole * 1.1)
        victims[victim] = victims.get(victim, 0) + 1
        with (scratch / "up.log").open("wb") as log:
            up = subprocess.Popen(_nestlab("up", str(lab)), env=env, stdout=log, stderr=log, start_new_session=True)
            time.sleep(moment)
            _kill(victim, up, places, name)
            # Sometimes at once, sometimes when things have settled.
            time.sleep(chance.choice((0, 0, 0.2, 1)))
            command = _nestlab("down", name)
            down = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                up.wait(20)
        left = _left(places, name)
        if up.poll() is None:
            left.append(f"`up` itself, pid {up.pid}")
            up.kill()
            up.wait()
        if down.returncode not in (0,):
            left.append(f"down ended with {down.returncode}: {down.stderr.strip()[-400:]}")
        found += [f"round {number} ({victim} at {moment:.2f} s): {what}" for what in left]
        if left:
            print("\n".join(found[-len(left) :]), file=sys.stderr)
    return {"rounds": count, "seed": seed, "lab": name, "up_seconds": round(whole, 2), "victims": victims,
            "leftovers": found, "seconds": round(time.monotonic() - started)}  # fmt: skip


def _kill(victim: str, up: subprocess.Popen[bytes], places: Places, name: str) -> None:
    if victim in ("keeper", "both"):
        owner = read_owner(places.lab(name) / "lock")
        if owner is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGKILL)
    if victim in ("up", "both"):
        up.kill()
    elif victim == "interrupt":
        up.send_signal(signal.SIGINT)
    elif victim == "terminate":
        up.send_signal(signal.SIGTERM)


def _left(places: Places, name: str) -> list[str]:
    """What is there that should not be. Ports are looked at through their claims and through who holds them."""
    left = []
    for folder in (places.lab(name), places.run(name)):
        if folder.exists():
            left.append(f"{folder} with {sorted(str(p.relative_to(folder)) for p in folder.rglob('*'))[:8]}")
    marks = (os.fsencode(places.runtime) + b"/", os.fsencode(places.state) + b"/")
    for _ in range(20):  # a process that is just dying is not left over
        processes = _mentioning(marks)
        if not processes:
            break
        time.sleep(0.05)
    left += processes
    left += [f"port claim of {who}" for who in _claims(places)]
    return left


def _claims(places: Places) -> list[str]:
    """Holders of port claims that are no lab of somebody else: other labs of this host may run meanwhile."""
    text = Path("/proc/net/unix").read_text()
    inodes = set(re.findall(r" (\d+) @nestlab-port-\d+$", text, re.MULTILINE))
    found = []
    for entry in Path("/proc").iterdir() if inodes else ():
        with contextlib.suppress(OSError):
            links = {str(fd.readlink()) for fd in (entry / "fd").iterdir()}
            line = (entry / "cmdline").read_bytes()
            if links & {f"socket:[{inode}]" for inode in inodes} and os.fsencode(places.state) in line:
                found.append(f"process {entry.name}: {line[:120].decode(errors='replace')}")
    return found


def _mentioning(marks: tuple[bytes, ...]) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if any(mark in line for mark in marks):
                    found.append(f"process {entry.name}: {line[:120].decode(errors='replace')}")
    return found


def _lab_name(lab: Path) -> str:
    found = re.search(r"^name: *(\S+)", lab.read_text(), re.MULTILINE)
    assert found, f"{lab} has no name"
    return found[1]


def _nestlab(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "builder", *arguments]


if __name__ == "__main__":
    sys.exit(main())
