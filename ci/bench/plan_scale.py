"""How long a very large lab takes to load and to plan, and how much memory: python -m ci.bench.plan_scale [--nodes N]

The lab is generated; every node has two disks, two cards, arguments of its own, and waits for the one before it. Load
and plan run in a process of their own each, from the start of the interpreter, as `validate` and `plan` do.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

What = Literal["load", "plan"]


@dataclass(frozen=True, slots=True)
class Limit:
    """Seconds of CPU and MiB of resident memory, for a lab of a thousand nodes."""

    cpu: float
    memory: int


LIMITS: dict[What, Limit] = {"load": Limit(1.0, 150), "plan": Limit(2.0, 300)}
LIMITS_ARE_FOR = 1000


@dataclass(frozen=True, slots=True)
class Figure:
    """CPU in seconds (median, least, most), memory in MiB (most)."""

    what: What
    nodes: int
    cpu: float
    cpu_least: float
    cpu_most: float
    memory: int


def large_lab(nodes: int) -> str:
    """The text of a lab file that is right, whatever its size."""
    lines = ["name: large", "networks: {lan: {mtu: 9000}, storage: }", "defaults: {system: debian}", "nodes:"]
    for number in range(nodes):
        lines += [
            f"  node-{number:04}:",
            "    cpus: 2",
            "    memory: 4GiB",
            "    firmware: bios",
            "    disks:",
            "      - {name: root, size: 50GiB}",
            "      - {name: data, size: 100GiB, sector: 512e}",
            "    networks:",
            "      - lan",
            f"      - {{network: storage, trunk: [100], addresses: [10.{16 + (number >> 8)}.{number & 255}.1/16]}}",
            "    xen:",
            "      dom0_memory: 1GiB",
            "      arguments: [ucode=scan]",
        ]
        if number:
            lines.append(f"    after: [node-{number - 1:04}]")
    return "\n".join(lines) + "\n"


def run_once(what: What, lab: Path) -> tuple[float, int]:
    """CPU seconds and MiB of a process that loads or plans the lab. Raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "ci.bench.plan_scale", "--child", what, str(lab)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu, memory = json.loads(done.stdout)
    return cpu, memory


def child(what: What, lab: Path) -> None:
    """Does the work in this process and prints what it took since the interpreter started."""
    from builder.model.load import read_lab  # noqa: PLC0415 - measured, so it belongs to the child
    from builder.systems import load_system, traits  # noqa: PLC0415

    loaded = read_lab(lab, traits())
    if what == "plan":
        from builder.lifecycle.plan import plan_lab  # noqa: PLC0415

        plan_lab(loaded, load_system).model_dump_json()
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not ru_maxrss: it counts what the parent had at the moment of the fork.
    peak = re.findall(r"^VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[0]
    print(json.dumps([used.ru_utime + used.ru_stime, int(peak) // 1024]))


def measure(what: What, nodes: int, runs: int) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        lab = Path(folder) / "large.yaml"
        lab.write_text(large_lab(nodes))
        results = [run_once(what, lab) for _ in range(runs)]
    times = [cpu for cpu, _ in results]
    return Figure(what, nodes, statistics.median(times), min(times), max(times), max(memory for _, memory in results))


def too_much(figure: Figure) -> str | None:
    """What is beyond its limit, or None. The limits grow with the lab, and not below what Python itself takes."""
    share = max(figure.nodes / LIMITS_ARE_FOR, 1)
    limit = LIMITS[figure.what]
    if figure.cpu > limit.cpu * share:
        return f"{figure.what}: {figure.cpu:.2f} s of CPU, limit {limit.cpu * share:.2f} s"
    if figure.memory > limit.memory * share:
        return f"{figure.what}: {figure.memory} MiB, limit {limit.memory * share:.0f} MiB"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ci.bench.plan_scale", description=__doc__)
    parser.add_argument("--nodes", type=int, default=LIMITS_ARE_FOR)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        child("plan" if options.child[0] == "plan" else "load", Path(options.child[1]))
        return 0
    figures = [measure(what, options.nodes, options.runs) for what in LIMITS]
    if options.json:
        print(json.dumps([asdict(figure) for figure in figures]))
    else:
        for each in figures:
            print(
                f"{each.what} {each.nodes} nodes: {each.cpu:.2f} s CPU ({each.cpu_least:.2f} to {each.cpu_most:.2f}), "
                f"{each.memory} MiB"
            )
    found = [text for text in map(too_much, figures) if text]
    for text in found:
        print(f"error: {text}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
