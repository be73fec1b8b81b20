"""python -m ci.kickstart_storage CASE [--json FILE]: status 0 when every check holds, 1 when not."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from ci.kickstart_storage.carry import carry_out
from ci.kickstart_storage.cases import CASES
from ci.kickstart_storage.image import image
from ci.kickstart_storage.judge import judge
from ci.kickstart_storage.parcel import VARIABLE, anaconda_here


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ci.kickstart_storage", description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--anaconda", action="store_true", help=f"by anaconda itself: its source is in ${VARIABLE}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there")
    options = parser.parse_args(argv)
    case = CASES[options.case]
    anaconda = anaconda_here() if options.anaconda else None
    if options.anaconda and anaconda is None:
        parser.error(f"{VARIABLE} names no source of anaconda")
    # Asked to end, it takes the machine down first, which would go on without it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    base = image()
    started = time.monotonic()
    outcome = carry_out(case, base, anaconda)
    checks = judge(case, outcome.before, outcome.after)
    wrong = [check for check in checks if not check.ok]
    for check in wrong:
        print(f"{case.name}: {check.what}: wanted {check.wanted!r}, found {check.found!r}", file=sys.stderr)
    if options.json:
        figures = {
            "case": asdict(case),
            "checks": len(checks),
            "wrong": [check.what for check in wrong],
            "versions": outcome.versions,
            "steps": outcome.steps,
            "told": outcome.told,
            "seconds": round(time.monotonic() - started, 1),
            "before": outcome.before,
            "after": outcome.after,
        }
        options.json.write_text(json.dumps(figures, indent=1), "utf-8")
    print(f"{case.name}: {len(checks) - len(wrong)} of {len(checks)} checks hold", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
