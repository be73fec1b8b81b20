"""How much CPU it takes to render every example lab: python -m ci.bench.render_labs [--runs N] [--json FILE]

Every file of every node, as `nestlab render` makes them, in one process from the start of its interpreter. CPU and not
time on the wall: other work on the machine stretches the one far more than the other. Status 1 when it is too much.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LIMIT = 1.0
"""Seconds of CPU for all labs together, with the start of Python and every import."""
LABS = Path(__file__).resolve().parents[2] / "labs"


def child() -> dict[str, float]:
    """Renders in this process. `rendering` leaves out what starting and importing took; `in_all` does not."""
    from builder.cli.render import node_files  # noqa: PLC0415 - measured, so it belongs to the child
    from builder.lifecycle.plan import plan_lab  # noqa: PLC0415
    from builder.model.load import read_lab  # noqa: PLC0415
    from builder.systems import load_system, traits  # noqa: PLC0415

    def render(labs: Sequence[Path]) -> int:
        made = [plan_lab(read_lab(lab, traits()), load_system) for lab in labs]
        return sum(1 for lab in made for node in lab.nodes for _ in node_files(lab, node, "kvm"))

    labs = sorted(LABS.glob("*.yaml"))
    files = render(labs)  # the first time imports what each system needs
    in_all = _cpu()
    assert render(labs) == files
    return {"labs": len(labs), "files": files, "in_all": in_all, "rendering": _cpu() - in_all}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_once() -> dict[str, float]:
    """Raises CalledProcessError when a lab does not render."""
    command = [sys.executable, "-m", "ci.bench.render_labs", "--child"]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ci.bench.render_labs", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        print(json.dumps(child()))
        return 0
    runs = [run_once() for _ in range(options.runs)]
    figures = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]} | {"limit": LIMIT}
    print(
        f"{figures['labs']:.0f} labs, {figures['files']:.0f} files: {figures['rendering']:.2f} s of CPU, "
        f"{figures['in_all']:.2f} s with the start of Python and every import"
    )
    if options.json:
        options.json.write_text(json.dumps(figures), "utf-8")
    return int(figures["in_all"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
